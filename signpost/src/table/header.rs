//! Pure: judges the raw bytes of a table header before anything is done on their word.
//!
//! gptman allocates and computes on these fields as it finds them, and asserts some of them. So
//! what it is given has passed here first: the one header size and entry size that exist, a bounded
//! number of entries, and every address inside the disk and on its proper side of the partitions.

use std::fmt;
use std::io::Cursor;

use gptman::GPTHeader;
use serde::Serialize;
use snafu::{OptionExt, Snafu, ensure};

/// The bytes of a header that mean something.
const HEADER_SIZE: usize = 92;
/// The bytes of an entry.
pub(super) const ENTRY_SIZE: usize = 128;
/// The most entries a table may have; eight times what everybody uses.
const MAX_ENTRIES: u32 = 1024;
/// Where the primary header is. Sector 0 holds the protective MBR.
pub(super) const PRIMARY_LBA: u64 = 1;

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
#[snafu(visibility(pub(super)))]
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

/// How a disk is cut into sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a sector: 512 or 4096.
    pub(super) sector: usize,
    /// Whole sectors of the disk.
    pub(super) sectors: u64,
}

impl Geometry {
    /// The geometry, or nothing when the disk is too small for two headers and something between.
    pub(super) fn new(length: u64, sector: usize) -> Option<Self> {
        let sectors = length.checked_div(u64::try_from(sector).ok()?)?;
        (sectors > 2).then_some(Self { sector, sectors })
    }

    /// Bytes of a sector, as an offset.
    pub(super) fn sector_bytes(&self) -> u64 {
        u64::try_from(self.sector).expect("512 or 4096")
    }

    /// The offset of a sector's first byte. `lba` is inside the disk, so this is too.
    pub(super) fn offset(&self, lba: u64) -> u64 {
        lba.saturating_mul(self.sector_bytes())
    }

    pub(super) const fn last_lba(&self) -> u64 {
        self.sectors - 1
    }

    /// The bytes that `count` entries take up, to the end of their last sector.
    pub(super) fn entries_length(&self, count: u32) -> usize {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        count
            .saturating_mul(ENTRY_SIZE)
            .div_ceil(self.sector)
            .saturating_mul(self.sector)
    }

    /// The sectors that `count` entries take up.
    pub(super) fn entries_sectors(&self, count: u32) -> u64 {
        let sectors = self.entries_length(count) / self.sector;
        u64::try_from(sectors).unwrap_or(u64::MAX)
    }
}

/// A header whose checksum matches and whose every field has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// All fields. `primary_lba` is where this header is and `backup_lba` where the other one is,
    /// on either side.
    pub(super) fields: GPTHeader,
}

impl Header {
    /// Checks the sector that was read at `lba`, where the header of `side` should be.
    pub(super) fn parse(
        sector: &[u8],
        side: Side,
        lba: u64,
        geometry: &Geometry,
    ) -> Result<Self, Fault> {
        let raw: &[u8; HEADER_SIZE] = sector.first_chunk().context(NoSignatureSnafu)?;
        ensure!(raw.starts_with(b"EFI PART"), NoSignatureSnafu);
        let revision = u32_at(raw, 8);
        ensure!(revision == 0x0001_0000, RevisionSnafu { revision });
        let bytes = u32_at(raw, 12);
        ensure!(
            usize::try_from(bytes) == Ok(HEADER_SIZE),
            HeaderSizeSnafu { size: bytes }
        );
        // The three fields that gptman insists on are right, so that it can now check the sum.
        let fields =
            GPTHeader::read_from(&mut Cursor::new(sector)).map_err(|error| match error {
                gptman::Error::InvalidChecksum(..) => Fault::HeaderChecksum,
                other => Fault::Unparsable {
                    reason: other.to_string(),
                },
            })?;

        let bytes = fields.size_of_partition_entry;
        ensure!(
            usize::try_from(bytes) == Ok(ENTRY_SIZE),
            EntrySizeSnafu { size: bytes }
        );
        let count = fields.number_of_partition_entries;
        ensure!(
            (1..=MAX_ENTRIES).contains(&count),
            EntryCountSnafu { count }
        );
        check_addresses(&fields, side, lba, geometry)?;
        Ok(Self { fields })
    }

    /// Where the header of the other side is.
    pub(super) const fn twin_lba(&self) -> u64 {
        self.fields.backup_lba
    }
}

fn check_addresses(
    fields: &GPTHeader,
    side: Side,
    lba: u64,
    geometry: &Geometry,
) -> Result<(), Fault> {
    let address = |field, lba, good: bool| {
        ensure!(good, AddressSnafu { field, lba });
        Ok(())
    };
    address("own place", fields.primary_lba, fields.primary_lba == lba)?;
    let (first, last) = (fields.first_usable_lba, fields.last_usable_lba);
    address("last usable sector", last, last < geometry.last_lba())?;
    address("first usable sector", first, first <= last)?;

    let twin = fields.backup_lba;
    let twin_is_right = match side {
        Side::Primary => twin > last && twin <= geometry.last_lba(),
        Side::Backup => twin == PRIMARY_LBA,
    };
    address("other header", twin, twin_is_right)?;

    let entries = fields.partition_entry_lba;
    let end = entries.checked_add(geometry.entries_sectors(fields.number_of_partition_entries));
    let entries_are_right = end.is_some_and(|end| match side {
        Side::Primary => entries > PRIMARY_LBA && end <= first,
        Side::Backup => entries > last && end <= lba,
    });
    address("entry array", entries, entries_are_right)
}

fn u32_at(raw: &[u8; HEADER_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}
