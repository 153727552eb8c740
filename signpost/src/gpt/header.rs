//! Pure: the header of a copy.

use snafu::{OptionExt, ensure};

use super::fault::{
    AddressSnafu, EntryCountSnafu, EntrySizeSnafu, Fault, HeaderChecksumSnafu, HeaderSizeSnafu,
    NoSignatureSnafu, RevisionSnafu, Side,
};
use super::{CHECKSUM, ENTRY_SIZE, Geometry, HEADER_SIZE, MAX_ENTRIES, PRIMARY_LBA};
use crate::guid::Guid;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
/// Where the header's own checksum is; it counts as 0 when the sum is made.
const CHECKSUM_AT: usize = 16;

/// A header of which every field has been checked.
///
/// Signature, revision, header size and entry size are not here: they can only be what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Four bytes that should be 0. Kept as they are found.
    pub reserved: u32,
    /// The sector of this header.
    pub own_lba: u64,
    /// The sector of the other copy's header.
    pub twin_lba: u64,
    /// The first sector that a partition may have.
    pub first_usable_lba: u64,
    /// The last one.
    pub last_usable_lba: u64,
    /// The disk's identifier.
    pub disk_guid: Guid,
    /// The first sector of the entries.
    pub entries_lba: u64,
    /// How many entries there are, used or not.
    pub entry_count: u32,
    /// The checksum of the entries.
    pub entries_checksum: u32,
}

impl Header {
    /// Checks the sector that was read at `lba`, where the header of `side` should be.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in the order in which the fields can be trusted.
    pub fn parse(sector: &[u8], side: Side, lba: u64, geometry: &Geometry) -> Result<Self, Fault> {
        let raw: &[u8; HEADER_SIZE] = sector.first_chunk().context(NoSignatureSnafu)?;
        ensure!(raw.starts_with(SIGNATURE), NoSignatureSnafu);
        let revision = u32_at(raw, 8);
        ensure!(revision == REVISION, RevisionSnafu { revision });
        let bytes = u32_at(raw, 12);
        ensure!(
            usize::try_from(bytes) == Ok(HEADER_SIZE),
            HeaderSizeSnafu { size: bytes }
        );
        ensure!(
            u32_at(raw, CHECKSUM_AT) == checksum(raw),
            HeaderChecksumSnafu
        );
        let bytes = u32_at(raw, 84);
        ensure!(
            usize::try_from(bytes) == Ok(ENTRY_SIZE),
            EntrySizeSnafu { size: bytes }
        );
        let header = Self {
            reserved: u32_at(raw, 20),
            own_lba: u64_at(raw, 24),
            twin_lba: u64_at(raw, 32),
            first_usable_lba: u64_at(raw, 40),
            last_usable_lba: u64_at(raw, 48),
            disk_guid: Guid(bytes_at(raw, 56)),
            entries_lba: u64_at(raw, 72),
            entry_count: u32_at(raw, 80),
            entries_checksum: u32_at(raw, 88),
        };
        let count = header.entry_count;
        ensure!(
            (1..=MAX_ENTRIES).contains(&count),
            EntryCountSnafu { count }
        );
        header.check_addresses(side, lba, geometry)?;
        Ok(header)
    }

    fn check_addresses(&self, side: Side, lba: u64, geometry: &Geometry) -> Result<(), Fault> {
        let address = |field, lba, good: bool| {
            ensure!(good, AddressSnafu { field, lba });
            Ok(())
        };
        address("own place", self.own_lba, self.own_lba == lba)?;
        let (first, last) = (self.first_usable_lba, self.last_usable_lba);
        address("last usable sector", last, last < geometry.last_lba())?;
        address("first usable sector", first, first <= last)?;

        let twin = self.twin_lba;
        let twin_is_right = match side {
            Side::Primary => twin > last && twin <= geometry.last_lba(),
            Side::Backup => twin == PRIMARY_LBA,
        };
        address("other header", twin, twin_is_right)?;

        let entries = self.entries_lba;
        let end = entries.checked_add(geometry.entries_sectors(self.entry_count));
        let entries_are_right = end.is_some_and(|end| match side {
            Side::Primary => entries > PRIMARY_LBA && end <= first,
            Side::Backup => entries > last && end <= lba,
        });
        address("entry array", entries, entries_are_right)
    }

    /// The header's 92 bytes, with their checksum made anew.
    pub fn to_bytes(&self) -> [u8; HEADER_SIZE] {
        let mut raw = [0; HEADER_SIZE];
        let fields: [(usize, &[u8]); 13] = [
            (0, SIGNATURE),
            (8, &REVISION.to_le_bytes()),
            // 92 and 128, as the format writes them.
            (12, &92u32.to_le_bytes()),
            (20, &self.reserved.to_le_bytes()),
            (24, &self.own_lba.to_le_bytes()),
            (32, &self.twin_lba.to_le_bytes()),
            (40, &self.first_usable_lba.to_le_bytes()),
            (48, &self.last_usable_lba.to_le_bytes()),
            (56, &self.disk_guid.bytes()),
            (72, &self.entries_lba.to_le_bytes()),
            (80, &self.entry_count.to_le_bytes()),
            (84, &128u32.to_le_bytes()),
            (88, &self.entries_checksum.to_le_bytes()),
        ];
        for (at, bytes) in fields {
            raw[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let sum = checksum(&raw);
        raw[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
        raw
    }

    /// Whether `other`, which is on the other side, says the same about the same disk.
    ///
    /// GRUB asks exactly this before it lets a backup count beside a sound primary header.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.own_lba == other.twin_lba
            && self.twin_lba == other.own_lba
            && self.first_usable_lba == other.first_usable_lba
            && self.last_usable_lba == other.last_usable_lba
            && self.disk_guid == other.disk_guid
            && self.entry_count == other.entry_count
            && self.entries_checksum == other.entries_checksum
    }
}

/// The sum of the header with its own checksum as 0.
fn checksum(raw: &[u8; HEADER_SIZE]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&raw[..CHECKSUM_AT]);
    digest.update(&[0; 4]);
    digest.update(&raw[CHECKSUM_AT + 4..]);
    digest.finalize()
}

/// The bytes at a place that is a constant of the format, within the 92.
fn bytes_at<const N: usize>(raw: &[u8; HEADER_SIZE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[at..at + N]);
    bytes
}

fn u32_at(raw: &[u8; HEADER_SIZE], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(raw, at))
}

fn u64_at(raw: &[u8; HEADER_SIZE], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(raw, at))
}
