//! Why a table could not be read or written, and what to do about it.

use std::io;

use snafu::Snafu;

use super::{RenderError, TailFault};
use crate::gpt::{Fault, Side};

/// Why a table could not be read or written.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[non_exhaustive]
pub enum Error {
    /// There is no table on the disk.
    #[snafu(display("{disk} has no GUID partition table"))]
    NoTable {
        /// The disk.
        disk: String,
    },
    /// There is a table, and no copy of it can be trusted.
    #[snafu(display(
        "both partition tables of {disk} are damaged: of the primary, {primary}; of the backup, \
         {backup}"
    ))]
    BothDamaged {
        /// The disk.
        disk: String,
        /// What is wrong with the primary.
        primary: Fault,
        /// What is wrong with the backup.
        backup: Fault,
    },
    /// The new table could not be made. Nothing was written.
    #[snafu(display("changing the partition table of {disk} in memory"))]
    Render {
        /// The disk.
        disk: String,
        /// What went wrong.
        source: RenderError,
    },
    /// Somebody else changed the table after it was read. Nothing was written.
    #[snafu(display("the partition table of {disk} has changed since it was read"))]
    Stale {
        /// The disk.
        disk: String,
    },
    /// The backup is not in the last sector, and cannot be put there. Nothing was written: were the
    /// power to go while the primary header is written, no loader would find the backup.
    #[snafu(display(
        "the backup partition table of {disk} is at sector {lba}, not at the end of the disk, and \
         cannot be moved there: {source}"
    ))]
    BackupNotAtEnd {
        /// The disk.
        disk: String,
        /// The sector of its header.
        lba: u64,
        /// Why it cannot be moved.
        source: TailFault,
    },
    /// What was written before could not be made durable.
    #[snafu(display("syncing {disk}"))]
    Flush {
        /// The disk.
        disk: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A new protective MBR could not be written. Both copies of the table are sound.
    #[snafu(display("writing the protective MBR of {disk}"))]
    Mbr {
        /// The disk.
        disk: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A sector could not be written. The other copy is sound.
    #[snafu(display("writing the {side} partition table of {disk} at offset {offset}"))]
    Write {
        /// The disk.
        disk: String,
        /// The copy.
        side: Side,
        /// Where.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// What was written could not be made durable. The other copy is sound.
    #[snafu(display("syncing the {side} partition table of {disk}"))]
    Sync {
        /// The disk.
        disk: String,
        /// The copy.
        side: Side,
        /// The system's answer.
        source: io::Error,
    },
    /// What was written could not be read again. The other copy is sound.
    #[snafu(display("reading back the {side} partition table of {disk} at offset {offset}"))]
    ReadBack {
        /// The disk.
        disk: String,
        /// The copy.
        side: Side,
        /// Where.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk does not hold what was written. The other copy is sound.
    #[snafu(display(
        "the {side} partition table of {disk} does not hold what was written at offset {offset}"
    ))]
    Mismatch {
        /// The disk.
        disk: String,
        /// The copy.
        side: Side,
        /// Where.
        offset: u64,
    },
}

impl Error {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoTable { .. } => Some("name the disk that the system boots from with `--disk`"),
            Self::BothDamaged { .. } => Some(
                "nothing was written; save both ends of the disk with dd, then rebuild the table \
                 with `sgdisk --load-backup=FILE` from a saved one, or from the partition plan of \
                 the image, and set the bits anew",
            ),
            Self::Stale { .. } => Some("nothing was written; run the command again"),
            Self::BackupNotAtEnd { .. } => Some(
                "nothing was written; move it with `sgdisk -e DISK`, then run the command again",
            ),
            Self::Flush { .. } | Self::Mbr { .. } => {
                Some("check the disk, then run the command again")
            }
            Self::Render { .. } => Some("nothing was written; look at the table with `sgdisk -v`"),
            Self::Write { .. }
            | Self::Sync { .. }
            | Self::ReadBack { .. }
            | Self::Mismatch { .. } => Some(
                "the other copy of the table is sound; check the disk, then run the command again",
            ),
        }
    }
}
