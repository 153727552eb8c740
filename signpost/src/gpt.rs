//! Pure: one copy of a GUID partition table, judged byte by byte before anybody acts on its word.
//!
//! A disk has two copies, at its start and at its end. [`Header::parse`] and [`SoundCopy::read`]
//! say of each whether it can be trusted, and if not, what the [`Fault`] is. They are stricter than
//! the format: the one header size and the one entry size that exist, a bounded number of entries,
//! every address inside the disk and on its proper side of the partitions. So nothing here computes
//! or allocates on a number that has not been checked, and what passes here any parser can be given.
//!
//! [`check_mbr`] says whether sector 0 announces a table.
//!
//! The loader models stand on this alone, and the module `table` asks it before it lets gptman
//! see a header. It needs neither an operating system nor gptman: a boot loader can share it.

mod entries;
mod fault;
mod geometry;
mod header;
mod mbr;
mod sectors;
#[cfg(test)]
mod tests;

pub use self::entries::{Entries, Entry};
pub use self::fault::{Fault, Side};
pub use self::geometry::Geometry;
pub use self::header::Header;
pub use self::mbr::{MbrFault, check_mbr, protective_mbr};
pub use self::sectors::{ReadSectors, SoundCopy, Unreadable, Unusable};

#[cfg(feature = "std")]
pub(crate) use self::fault::{AddressSnafu, UnparsableSnafu};

use crc::{CRC_32_ISO_HDLC, Crc};

/// The bytes of a header that mean something.
pub const HEADER_SIZE: usize = 92;
/// The bytes of an entry.
pub const ENTRY_SIZE: usize = 128;
/// The most entries a table may have; eight times what everybody uses.
pub const MAX_ENTRIES: u32 = 1024;
/// Where the primary header is. Sector 0 holds the protective MBR.
pub const PRIMARY_LBA: u64 = 1;

/// The checksum of headers and entries.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
