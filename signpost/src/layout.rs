//! Pure: which partitions of a table make up the sets.
//!
//! The rules, and whose they are:
//!
//! * Entries are taken in the order of their numbers. The first of each type (boot, root, hash)
//!   belongs to set A, the second to set B; a disk without a second boot partition has set A
//!   only. The first private partition is the private partition, and there must be one.
//!   (Bottlerocket's signpost finds them so.)
//! * Within a set the numbers are boot, then root = boot + 1, then hash = boot + 2. GRUB hands the
//!   kernel only the boot partition's identifier, and the kernel finds the other two by counting
//!   from it, so a set in any other order would boot with somebody else's root.
//! * No partition of a set overlaps any other partition of the disk, and there are at most two
//!   boot partitions. This crate opens partitions for writing on the word of the table alone; where
//!   the table is ambiguous it does not choose.

use alloc::vec::Vec;

use snafu::{OptionExt, Snafu, ensure};

use crate::guid::{self, Guid};
use crate::slot::{Partition, PartitionKind, PartitionSet, PerSlot, Sets, Slot};

/// Bytes on a disk: `start` and the `length - 1` that follow it. Never empty, and its end is not
/// above `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    length: u64,
}

impl ByteRange {
    /// The range, or nothing when it would be empty or reach past `u64::MAX`.
    pub const fn new(start: u64, length: u64) -> Option<Self> {
        if length == 0 || start.checked_add(length).is_none() {
            return None;
        }
        Some(Self { start, length })
    }

    /// The offset of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// How many bytes there are.
    pub const fn length(self) -> u64 {
        self.length
    }

    /// The offset of the last byte.
    const fn last(self) -> u64 {
        self.start + (self.length - 1)
    }

    /// Whether a byte lies in both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last() && other.start <= self.last()
    }
}

/// A used entry of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u32,
    /// The type of the partition.
    pub type_guid: Guid,
    /// The partition's own identifier.
    pub guid: Guid,
    /// Where the partition is; nothing when the entry gives no place on this disk (it ends before
    /// it starts, or beyond the last byte).
    pub range: Option<ByteRange>,
    /// All 64 attribute bits.
    pub attributes: u64,
}

/// Why a table's partitions do not make up sets.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// A type that every disk must have is missing.
    #[snafu(display("there is no {kind} partition (type {type_guid}) for set {slot}"))]
    Missing {
        /// What the partition would be for.
        kind: PartitionKind,
        /// The set that lacks it.
        slot: Slot,
        /// The type that was looked for.
        type_guid: Guid,
    },
    /// There is no private partition.
    #[snafu(display("there is no private partition (type {})", guid::PRIVATE))]
    NoPrivate,
    /// More boot partitions than there are sets.
    #[snafu(display("there are {count} boot partitions, and a disk has at most two sets"))]
    TooManyBoot {
        /// How many there are.
        count: usize,
    },
    /// The numbers of a set are not in sequence.
    #[snafu(display(
        "set {slot} has boot, root and hash as partitions {boot}, {root} and {hash}, but the boot \
         loader finds them only in sequence"
    ))]
    OutOfSequence {
        /// The set.
        slot: Slot,
        /// The number of its boot partition.
        boot: u32,
        /// The number of its root partition.
        root: u32,
        /// The number of its hash partition.
        hash: u32,
    },
    /// A partition of a set is not on the disk.
    #[snafu(display("partition {number} does not lie within the disk"))]
    OutsideDisk {
        /// The partition.
        number: u32,
    },
    /// A partition of a set shares bytes with another one.
    #[snafu(display("partitions {number} and {other} overlap"))]
    Overlap {
        /// The partition of a set, or the private one.
        number: u32,
        /// The one it overlaps.
        other: u32,
    },
}

/// Where a disk's sets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The partitions of each set that the disk has.
    pub sets: Sets<PartitionSet>,
    /// The partition that records whether any set ever booted.
    pub private: Partition,
}

impl Layout {
    /// Sorts a table's entries into sets, by the rules at the head of this module.
    ///
    /// `entries` are the used ones, in any order; those of other types only matter in that no set
    /// may overlap them.
    ///
    /// # Errors
    /// When the entries break one of the rules.
    pub fn from_entries(entries: &[Entry]) -> Result<Self, Error> {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|entry| entry.number);
        let boots = of_type(&entries, guid::BOOT);
        ensure!(boots.len() <= 2, TooManyBootSnafu { count: boots.len() });

        let a = set_of(&entries, Slot::A)?;
        let sets = if boots.len() == 2 {
            Sets::Dual(PerSlot {
                a,
                b: set_of(&entries, Slot::B)?,
            })
        } else {
            Sets::Single(a)
        };
        let private = of_type(&entries, guid::PRIVATE)
            .first()
            .copied()
            .context(NoPrivateSnafu)?;
        let layout = Self {
            sets,
            private: partition_of(private)?,
        };
        layout.check_overlaps(&entries)?;
        Ok(layout)
    }

    /// The partition of `slot` that is for `kind`, if the disk has that set.
    pub fn partition(&self, slot: Slot, kind: PartitionKind) -> Option<&Partition> {
        self.sets.get(slot).map(|set| set.get(kind))
    }

    /// The set that the partition with this number belongs to.
    pub fn slot_of(&self, number: u32) -> Option<Slot> {
        self.sets
            .iter()
            .find(|(_, set)| set.iter().any(|(_, partition)| partition.number == number))
            .map(|(slot, _)| slot)
    }

    fn check_overlaps(&self, entries: &[Entry]) -> Result<(), Error> {
        let sets = self
            .sets
            .iter()
            .flat_map(|(_, set)| [set.boot, set.root, set.hash]);
        for partition in sets.chain([self.private]) {
            let range = ByteRange::new(partition.start, partition.length);
            let overlaps = |other: &&Entry| {
                other.number != partition.number
                    && matches!((range, other.range), (Some(one), Some(two)) if one.overlaps(two))
            };
            if let Some(other) = entries.iter().find(overlaps) {
                return OverlapSnafu {
                    number: partition.number,
                    other: other.number,
                }
                .fail();
            }
        }
        Ok(())
    }
}

fn of_type(entries: &[Entry], type_guid: Guid) -> Vec<&Entry> {
    entries
        .iter()
        .filter(|entry| entry.type_guid == type_guid)
        .collect()
}

fn set_of(entries: &[Entry], slot: Slot) -> Result<PartitionSet, Error> {
    let find = |kind, type_guid| {
        let nth = match slot {
            Slot::A => 0,
            Slot::B => 1,
        };
        let found = of_type(entries, type_guid).get(nth).copied();
        found.context(MissingSnafu {
            kind,
            slot,
            type_guid,
        })
    };
    let boot = find(PartitionKind::Boot, guid::BOOT)?;
    let root = find(PartitionKind::Root, guid::ROOT)?;
    let hash = find(PartitionKind::Hash, guid::HASH)?;
    let in_sequence = boot.number.checked_add(1) == Some(root.number)
        && root.number.checked_add(1) == Some(hash.number);
    ensure!(
        in_sequence,
        OutOfSequenceSnafu {
            slot,
            boot: boot.number,
            root: root.number,
            hash: hash.number
        }
    );
    Ok(PartitionSet {
        boot: partition_of(boot)?,
        root: partition_of(root)?,
        hash: partition_of(hash)?,
    })
}

fn partition_of(entry: &Entry) -> Result<Partition, Error> {
    let range = entry.range.context(OutsideDiskSnafu {
        number: entry.number,
    })?;
    Ok(Partition {
        number: entry.number,
        start: range.start(),
        length: range.length(),
        guid: entry.guid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Entries of these types and numbers, a MiB each, one after the other in the order given.
    fn entries(list: &[(u32, Guid)]) -> Vec<Entry> {
        let mut start = MIB;
        list.iter()
            .map(|&(number, type_guid)| {
                let range = ByteRange::new(start, MIB);
                start += MIB;
                let guid = Guid([u8::try_from(number).unwrap(); 16]);
                Entry {
                    number,
                    type_guid,
                    guid,
                    range,
                    attributes: 0,
                }
            })
            .collect()
    }

    fn factory() -> Vec<Entry> {
        entries(&[
            (1, guid::BIOS_BOOT),
            (2, guid::EFI_SYSTEM),
            (3, guid::BOOT),
            (4, guid::ROOT),
            (5, guid::HASH),
            (6, guid::RESERVED),
            (7, guid::EFI_BACKUP),
            (8, guid::BOOT),
            (9, guid::ROOT),
            (10, guid::HASH),
            (11, guid::RESERVED),
            (12, guid::PRIVATE),
            (13, guid::DATA),
        ])
    }

    fn numbers(set: &PartitionSet) -> [u32; 3] {
        PartitionKind::ALL.map(|kind| set.get(kind).number)
    }

    #[test]
    fn the_first_of_each_type_is_a_and_the_second_is_b() {
        let layout = Layout::from_entries(&factory()).unwrap();
        assert_eq!(numbers(layout.sets.a()), [3, 4, 5]);
        assert_eq!(numbers(layout.sets.b().unwrap()), [8, 9, 10]);
        assert_eq!(layout.private.number, 12);
        let root_b = layout.partition(Slot::B, PartitionKind::Root).unwrap();
        let guid = Guid([9; 16]);
        assert_eq!(
            *root_b,
            Partition {
                number: 9,
                start: 9 * MIB,
                length: MIB,
                guid
            }
        );
        assert_eq!(layout.slot_of(5), Some(Slot::A));
        assert_eq!(layout.slot_of(8), Some(Slot::B));
        assert_eq!(layout.slot_of(12), None);
    }

    #[test]
    fn numbers_decide_and_not_the_order_in_memory() {
        let mut reversed = factory();
        reversed.reverse();
        assert_eq!(
            Layout::from_entries(&reversed),
            Layout::from_entries(&factory())
        );
    }

    #[test]
    fn a_disk_with_one_boot_partition_has_set_a_only() {
        let single: Vec<_> = factory()
            .into_iter()
            .filter(|e| !(7..=11).contains(&e.number))
            .collect();
        let layout = Layout::from_entries(&single).unwrap();
        assert_eq!(numbers(layout.sets.a()), [3, 4, 5]);
        assert_eq!(layout.sets.b(), None);
        assert_eq!(layout.partition(Slot::B, PartitionKind::Boot), None);
    }

    #[test]
    fn tables_that_break_a_rule_are_refused() {
        let without = |number: u32| -> Vec<Entry> {
            factory()
                .into_iter()
                .filter(|entry| entry.number != number)
                .collect()
        };
        let missing = |kind, slot, type_guid| Error::Missing {
            kind,
            slot,
            type_guid,
        };
        let third_boot = [factory(), entries(&[(14, guid::BOOT)])].concat();
        let cases = [
            (
                Vec::new(),
                missing(PartitionKind::Boot, Slot::A, guid::BOOT),
            ),
            (
                without(10),
                missing(PartitionKind::Hash, Slot::B, guid::HASH),
            ),
            (
                without(9),
                missing(PartitionKind::Root, Slot::B, guid::ROOT),
            ),
            (without(12), Error::NoPrivate),
            (third_boot, Error::TooManyBoot { count: 3 }),
            // Without A's root, B's root is the first of its type.
            (
                without(4),
                Error::OutOfSequence {
                    slot: Slot::A,
                    boot: 3,
                    root: 9,
                    hash: 5,
                },
            ),
            (
                entries(&[
                    (3, guid::BOOT),
                    (5, guid::ROOT),
                    (4, guid::HASH),
                    (6, guid::PRIVATE),
                ]),
                Error::OutOfSequence {
                    slot: Slot::A,
                    boot: 3,
                    root: 5,
                    hash: 4,
                },
            ),
            (
                entries(&[
                    (3, guid::BOOT),
                    (4, guid::ROOT),
                    (6, guid::HASH),
                    (7, guid::PRIVATE),
                ]),
                Error::OutOfSequence {
                    slot: Slot::A,
                    boot: 3,
                    root: 4,
                    hash: 6,
                },
            ),
            (
                entries(&[
                    (2, guid::ROOT),
                    (3, guid::BOOT),
                    (4, guid::HASH),
                    (7, guid::PRIVATE),
                ]),
                Error::OutOfSequence {
                    slot: Slot::A,
                    boot: 3,
                    root: 2,
                    hash: 4,
                },
            ),
        ];
        for (table, error) in cases {
            assert_eq!(Layout::from_entries(&table), Err(error));
        }
    }

    #[test]
    fn a_set_that_shares_a_byte_with_any_partition_is_refused() {
        let overlapping = |number: usize, start: u64, length: u64| {
            let mut table = factory();
            table[number - 1].range = ByteRange::new(start, length);
            Layout::from_entries(&table)
        };
        // Root B grows one byte into hash B.
        let error = Err(Error::Overlap {
            number: 9,
            other: 10,
        });
        assert_eq!(overlapping(9, 9 * MIB, MIB + 1), error);
        // A foreign partition whose last byte is boot A's first.
        let error = Err(Error::Overlap {
            number: 3,
            other: 2,
        });
        assert_eq!(overlapping(2, 2 * MIB, MIB + 1), error);
        // The whole of set A within the data partition.
        assert_eq!(
            overlapping(13, 3 * MIB, 3 * MIB),
            Err(Error::Overlap {
                number: 3,
                other: 13
            })
        );
        // Two foreign partitions may do as they like.
        assert!(overlapping(1, 2 * MIB, MIB).is_ok());
    }

    #[test]
    fn only_a_sets_own_partitions_have_to_be_on_the_disk() {
        let outside = |number: usize| {
            let mut table = factory();
            table[number - 1].range = None;
            Layout::from_entries(&table)
        };
        assert_eq!(outside(9), Err(Error::OutsideDisk { number: 9 }));
        assert_eq!(outside(12), Err(Error::OutsideDisk { number: 12 }));
        assert!(outside(13).is_ok());
    }

    #[test]
    fn a_range_is_never_empty_and_never_past_the_end_of_numbers() {
        assert_eq!(ByteRange::new(5, 0), None);
        assert_eq!(ByteRange::new(u64::MAX, 1), None);
        assert_eq!(ByteRange::new(1, u64::MAX), None);
        let high = ByteRange::new(u64::MAX - 2, 2).unwrap();
        assert!(high.overlaps(ByteRange::new(0, u64::MAX).unwrap()));
        assert!(!high.overlaps(ByteRange::new(0, u64::MAX - 2).unwrap()));
    }
}
