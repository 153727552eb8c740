//! Pure: the two copies of a table, and what can be wrong with one.

use alloc::string::String;
use core::fmt;

use serde::Serialize;
use snafu::Snafu;

use super::MAX_ENTRIES;

/// Which of a disk's two copies of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// At the start of the disk. Counts when both are sound.
    Primary,
    /// At its end.
    Backup,
}

impl Side {
    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Backup,
            Self::Backup => Self::Primary,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// What is wrong with a copy of a table.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Fault {
    /// Its bytes could not be read.
    #[snafu(display("its {length} bytes at offset {offset} cannot be read ({reason})"))]
    Unreadable {
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
        /// The system's answer.
        reason: String,
    },
    /// There is nothing that looks like a header.
    #[snafu(display("it has no signature"))]
    NoSignature,
    /// The header is of a format that nobody has defined yet.
    #[snafu(display("its revision is {revision:#010x}, not 1.0"))]
    Revision {
        /// What it says.
        revision: u32,
    },
    /// The header is not 92 bytes long.
    #[snafu(display("its header size is {size}, not 92"))]
    HeaderSize {
        /// What it says.
        size: u32,
    },
    /// The header's checksum does not match.
    #[snafu(display("the checksum of its header does not match"))]
    HeaderChecksum,
    /// The entries are not 128 bytes each.
    #[snafu(display("its entry size is {size}, not 128"))]
    EntrySize {
        /// What it says.
        size: u32,
    },
    /// There are no entries, or unreasonably many.
    #[snafu(display("it has {count} entries, not 1 to {MAX_ENTRIES}"))]
    EntryCount {
        /// What it says.
        count: u32,
    },
    /// An address in the header points where it cannot.
    #[snafu(display("its {field} is sector {lba}, which cannot be"))]
    Address {
        /// Which address.
        field: &'static str,
        /// What it says.
        lba: u64,
    },
    /// The checksum of the entries does not match.
    #[snafu(display("the checksum of its entries does not match"))]
    EntriesChecksum,
    /// gptman would not have it, for a reason that the checks here do not know.
    #[snafu(display("it cannot be parsed ({reason})"))]
    Unparsable {
        /// The parser's answer.
        reason: String,
    },
    /// It is sound in itself, but not a copy of the primary table.
    #[snafu(display("it differs from the primary table"))]
    Differs,
}
