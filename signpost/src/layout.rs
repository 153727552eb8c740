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
//! * Every partition of a set, and the private one, lies between the first and the last sector that
//!   the table says partitions may have: beside both copies of the table itself.

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

    /// Whether every byte of `other` is one of these.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.last() <= self.last()
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
    /// A partition of a set lies where the table itself is.
    #[snafu(display(
        "partition {number} does not lie between the first and the last usable sector: it could \
         overwrite the partition table"
    ))]
    OnTable {
        /// The partition of a set, or the private one.
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
    /// Both sets' boot partitions have one identifier.
    #[snafu(display(
        "boot partitions {a} and {b} have the same identifier {guid}, by which the kernel finds the \
         set that the boot loader picked"
    ))]
    SameIdentifier {
        /// The number of set A's boot partition.
        a: u32,
        /// The number of set B's.
        b: u32,
        /// The identifier of both.
        guid: Guid,
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

    /// An error unless the sets can be told apart by what the boot loader hands to the kernel, which
    /// is the identifier of the boot partition.
    ///
    /// # Errors
    /// [`Error::SameIdentifier`].
    pub fn check_identifiers(&self) -> Result<(), Error> {
        if let Sets::Dual(PerSlot { a, b }) = &self.sets {
            ensure!(
                a.boot.guid != b.boot.guid,
                SameIdentifierSnafu {
                    a: a.boot.number,
                    b: b.boot.number,
                    guid: a.boot.guid
                }
            );
        }
        Ok(())
    }

    /// An error unless every partition of a set, and the private one, is within `usable`, the bytes
    /// that the table leaves to partitions, and shares none with any of `extents`.
    ///
    /// Those are the used entries once more, each with what it takes up of this disk also when it
    /// ends beyond: [`from_entries`](Self::from_entries) does not know of such a place.
    ///
    /// # Errors
    /// [`Error::OnTable`] and [`Error::Overlap`].
    pub fn check_places(&self, usable: ByteRange, extents: &[Entry]) -> Result<(), Error> {
        for partition in self.partitions() {
            let range = ByteRange::new(partition.start, partition.length);
            ensure!(
                range.is_some_and(|range| usable.contains(range)),
                OnTableSnafu {
                    number: partition.number
                }
            );
        }
        self.check_overlaps(extents)
    }

    /// The partitions of all sets, and the private one.
    fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.sets
            .iter()
            .flat_map(|(_, set)| [set.boot, set.root, set.hash])
            .chain([self.private])
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
        for partition in self.partitions() {
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
mod tests;
