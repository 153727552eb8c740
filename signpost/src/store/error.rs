//! Why something about the sets could not be done, and what to do about it.

use std::io;
use std::path::PathBuf;

use snafu::Snafu;

use crate::attributes::BootAttributes;
use crate::discover::Naming;
use crate::slot::{Partition, PartitionKind, Slot};
use crate::state::Refusal;
use crate::table::Damage;
use crate::{boot_disk, device, discover};

/// Why something about the sets could not be done.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[non_exhaustive]
pub enum Error {
    /// The rules forbid it. The disk is as it was.
    #[snafu(display("{refusal}"))]
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// The disk could not be read or written.
    #[snafu(transparent)]
    Disk {
        /// Why.
        source: boot_disk::Error,
    },
    /// Which set runs could not be found out.
    #[snafu(display("finding the running partition set of {disk}"))]
    Discover {
        /// The disk.
        disk: String,
        /// Why.
        source: discover::Error,
    },
    /// The disk is not the one that the system runs from.
    #[snafu(display("no set of {disk} is known to be the running one"))]
    ActiveUnknown {
        /// The disk.
        disk: String,
    },
    /// The set that was said to run is not the one that does.
    #[snafu(display("the system runs from set {running} of {disk}, not from set {named}"))]
    ActiveContradicted {
        /// The disk.
        disk: String,
        /// The set that was named.
        named: Slot,
        /// The set that runs.
        running: Slot,
    },
    /// The set that was said to run does not exist.
    #[snafu(display("{disk} has no set {slot}"))]
    NoSuchSet {
        /// The disk.
        disk: String,
        /// The set.
        slot: Slot,
    },
    /// The disk was opened for reading only.
    #[snafu(display("{disk} was opened for reading only"))]
    ReadOnly {
        /// The disk.
        disk: String,
    },
    /// The set could still boot while it is being written.
    #[snafu(display("set {slot} of {disk} has not been cleared ({bits})"))]
    NotCleared {
        /// The disk.
        disk: String,
        /// The inactive set.
        slot: Slot,
        /// Its bits.
        bits: BootAttributes,
    },
    /// A copy of the table is not as it should be, so that what the other one says may not be what
    /// the machine goes by after a cut.
    #[snafu(display("no set of {disk} can be written now: {damage}"))]
    NotInOrder {
        /// The disk.
        disk: String,
        /// What is wrong.
        damage: Damage,
    },
    /// The kernel and the table disagree about where a partition is.
    #[snafu(display(
        "{} is {length} bytes at {start}, but the partition table of {disk} has {} bytes at {}",
        node.display(), partition.length, partition.start
    ))]
    NodeDisagrees {
        /// The partition's device node.
        node: PathBuf,
        /// Where the kernel has it on the disk.
        start: u64,
        /// How long the kernel has it.
        length: u64,
        /// The disk.
        disk: String,
        /// Where the table has it.
        partition: Partition,
    },
    /// The device node of a partition is that of something else.
    #[snafu(display("{} is not the device {expected}", node.display()))]
    OtherNode {
        /// The device node.
        node: PathBuf,
        /// The number that it should have.
        expected: device::DeviceNumber,
    },
    /// A partition could not be opened.
    #[snafu(display("opening the {kind} partition of set {slot}"))]
    Partition {
        /// What the partition is for.
        kind: PartitionKind,
        /// Its set.
        slot: Slot,
        /// Why.
        source: device::Error,
    },
    /// A partition does not fit on its disk.
    #[snafu(display("opening the {kind} partition of set {slot} on {disk}"))]
    Outside {
        /// What the partition is for.
        kind: PartitionKind,
        /// Its set.
        slot: Slot,
        /// The disk.
        disk: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused { refusal } => Some(refusal.advice()),
            Self::Disk { source } => source.advice(),
            Self::Discover { source, .. } => Some(source.advice()),
            Self::ActiveUnknown { .. } => {
                Some("name the running set with `--active A` or `--active B`")
            }
            Self::ActiveContradicted { .. } => Some("leave out `--active`"),
            Self::NoSuchSet { .. } => Some("name the set that the disk has, `--active A`"),
            Self::NotInOrder { .. } => Some("give `signpost repair` first"),
            Self::NotCleared { .. } => Some("give `clear-inactive` before writing to the set"),
            Self::NodeDisagrees { .. } => {
                Some("the kernel has an older partition table; run `partprobe`, or reboot")
            }
            Self::Partition { source, .. } => source.advice(),
            Self::ReadOnly { .. } | Self::OtherNode { .. } | Self::Outside { .. } => None,
        }
    }

    /// What has to be named, or not, where that is all that can be done about it. [`Self::advice`] says
    /// it in the options of `signpost`; a program that is told in another way has its own words.
    pub const fn naming(&self) -> Option<Naming> {
        match self {
            Self::Disk { source } => source.naming(),
            Self::Discover { source, .. } => source.naming(),
            Self::ActiveUnknown { .. } | Self::NoSuchSet { .. } => Some(Naming::Set),
            Self::ActiveContradicted { .. } => Some(Naming::NoSet),
            _ => None,
        }
    }

    /// The refusal, if the rules forbid it rather than that it failed.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal } => Some(*refusal),
            _ => None,
        }
    }

    /// Whether nothing was changed because of a rule, or because another program held the lock.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Disk { source } => source.is_refusal(),
            _ => false,
        }
    }
}
