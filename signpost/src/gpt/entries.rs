//! Pure: the array of entries of a copy.

use alloc::vec::Vec;

use super::{CHECKSUM, ENTRY_SIZE, Geometry};
use crate::guid::Guid;
use crate::layout;

/// Where an entry's attribute bits are.
const ATTRIBUTES_AT: usize = 48;

/// The entries of a table as bytes, to the end of their last sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    bytes: Vec<u8>,
    count: usize,
}

/// A used entry, as it stands in the table. Its name is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u32,
    /// The type of the partition.
    pub type_guid: Guid,
    /// The partition's own identifier.
    pub guid: Guid,
    /// Its first sector, whether or not the disk has it.
    pub first_lba: u64,
    /// Its last sector, which counts too.
    pub last_lba: u64,
    /// All 64 attribute bits.
    pub attributes: u64,
}

impl Entries {
    /// `count` entries in these bytes, or nothing when there are not so many bytes.
    pub fn new(bytes: Vec<u8>, count: u32) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        (count.checked_mul(ENTRY_SIZE)? <= bytes.len()).then_some(Self { bytes, count })
    }

    /// All bytes, also those after the last entry.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sum of the entries, used or not, without what follows the last one.
    pub fn checksum(&self) -> u32 {
        CHECKSUM.checksum(self.array())
    }

    /// Whether both have the same entries, used or not.
    pub fn agree_with(&self, other: &Self) -> bool {
        self.array() == other.array()
    }

    fn array(&self) -> &[u8] {
        &self.bytes[..self.count * ENTRY_SIZE]
    }

    /// The used entries, in the order of their numbers.
    pub fn used(&self) -> impl Iterator<Item = Entry> {
        let (entries, _) = self.bytes.as_chunks();
        (1..)
            .zip(entries.iter().take(self.count))
            .map(|(number, raw)| Entry::of(number, raw))
            .filter(|entry| !entry.type_guid.is_nil())
    }

    /// The same bytes with other attribute bits of one entry, or nothing when there is no such entry.
    #[must_use]
    pub fn with_attributes(&self, number: u32, bits: u64) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let mut changed = self.clone();
        let entry = (index < self.count)
            .then(|| changed.bytes.chunks_exact_mut(ENTRY_SIZE).nth(index))
            .flatten()?;
        entry
            .get_mut(ATTRIBUTES_AT..ATTRIBUTES_AT + 8)?
            .copy_from_slice(&bits.to_le_bytes());
        Some(changed)
    }
}

impl Entry {
    fn of(number: u32, raw: &[u8; ENTRY_SIZE]) -> Self {
        Self {
            number,
            type_guid: Guid(bytes_at(raw, 0)),
            guid: Guid(bytes_at(raw, 16)),
            first_lba: u64::from_le_bytes(bytes_at(raw, 32)),
            last_lba: u64::from_le_bytes(bytes_at(raw, 40)),
            attributes: u64::from_le_bytes(bytes_at(raw, ATTRIBUTES_AT)),
        }
    }

    /// The entry with its place in bytes, for finding sets.
    pub fn on(&self, geometry: &Geometry) -> layout::Entry {
        layout::Entry {
            number: self.number,
            type_guid: self.type_guid,
            guid: self.guid,
            range: geometry.range(self.first_lba, self.last_lba),
            attributes: self.attributes,
        }
    }
}

/// The bytes at a place that is a constant of the format, within the 128.
fn bytes_at<const N: usize>(raw: &[u8; ENTRY_SIZE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[at..at + N]);
    bytes
}
