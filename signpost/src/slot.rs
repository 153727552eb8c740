//! Pure: the words for a disk's two partition sets and what is in them.

use core::fmt;
use core::ops::{Index, IndexMut};
use core::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::guid::Guid;

/// One of the two places that an operating system can live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// The set whose partitions have the lower numbers; the factory image starts in it.
    A,
    /// The set whose partitions have the higher numbers.
    B,
}

impl Slot {
    /// Both, in the order in which a boot loader meets them.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// The text names neither set.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(display("a partition set is A or B"))]
pub struct UnknownSlot;

impl FromStr for Slot {
    type Err = UnknownSlot;

    fn from_str(text: &str) -> Result<Self, UnknownSlot> {
        match text {
            "A" | "a" => Ok(Self::A),
            "B" | "b" => Ok(Self::B),
            _ => Err(UnknownSlot),
        }
    }
}

/// One value for each set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerSlot<T> {
    /// Set A's.
    pub a: T,
    /// Set B's.
    pub b: T,
}

impl<T> PerSlot<T> {
    /// The value of `slot`; the same as indexing.
    pub const fn get(&self, slot: Slot) -> &T {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The value of `slot`, to change.
    pub const fn get_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    /// The same shape with `f` of each value.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> PerSlot<U> {
        PerSlot {
            a: f(self.a),
            b: f(self.b),
        }
    }

    /// Each slot with its value, A first.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        Slot::BOTH.into_iter().map(|slot| (slot, self.get(slot)))
    }
}

impl<T> Index<Slot> for PerSlot<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        self.get(slot)
    }
}

impl<T> IndexMut<Slot> for PerSlot<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.get_mut(slot)
    }
}

/// One value for each set that the disk has: a disk made without in-place updates has only A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sets<T> {
    /// The disk has set A and no other.
    Single(T),
    /// The disk has both sets.
    Dual(PerSlot<T>),
}

impl<T> Sets<T> {
    /// The value of `slot`, if the disk has that set.
    pub const fn get(&self, slot: Slot) -> Option<&T> {
        match (self, slot) {
            (Self::Single(a), Slot::A) => Some(a),
            (Self::Single(_), Slot::B) => None,
            (Self::Dual(both), slot) => Some(both.get(slot)),
        }
    }

    /// Set A's value, which every disk has.
    pub const fn a(&self) -> &T {
        match self {
            Self::Single(a) | Self::Dual(PerSlot { a, .. }) => a,
        }
    }

    /// Set B's value, if the disk has that set.
    pub const fn b(&self) -> Option<&T> {
        self.get(Slot::B)
    }

    /// Each set that the disk has with its value, A first.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        Slot::BOTH
            .into_iter()
            .filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// The same sets with `f` of each value.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sets<U> {
        match self {
            Self::Single(a) => Sets::Single(f(a)),
            Self::Dual(both) => Sets::Dual(both.map(f)),
        }
    }

    /// The same sets with `f` of each slot and its value, or the first error.
    pub fn try_map<U, E>(self, mut f: impl FnMut(Slot, T) -> Result<U, E>) -> Result<Sets<U>, E> {
        Ok(match self {
            Self::Single(a) => Sets::Single(f(Slot::A, a)?),
            Self::Dual(PerSlot { a, b }) => Sets::Dual(PerSlot {
                a: f(Slot::A, a)?,
                b: f(Slot::B, b)?,
            }),
        })
    }
}

/// An object with the key `A`, and `B` if the disk has that set.
impl<T: Serialize> Serialize for Sets<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (slot, value) in self.iter() {
            map.serialize_entry(&slot, value)?;
        }
        map.end()
    }
}

/// What a partition of a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionKind {
    /// Kernel and boot configuration. Its table entry carries the set's boot bits.
    Boot,
    /// The root file system.
    Root,
    /// The dm-verity hash tree over the root file system.
    Hash,
}

impl PartitionKind {
    /// All three, in the order of their numbers on the disk.
    pub const ALL: [Self; 3] = [Self::Boot, Self::Root, Self::Hash];
}

impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "boot",
            Self::Root => "root",
            Self::Hash => "hash",
        })
    }
}

/// Where a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partition {
    /// Its number in the table, from 1.
    pub number: u32,
    /// The offset of its first byte on the disk.
    pub start: u64,
    /// How many bytes it has.
    pub length: u64,
    /// Its own identifier (`PARTUUID`).
    pub guid: Guid,
}

/// The three partitions of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionSet {
    /// Kernel and boot configuration; carries the boot bits.
    pub boot: Partition,
    /// The root file system.
    pub root: Partition,
    /// The hash tree over the root file system.
    pub hash: Partition,
}

impl PartitionSet {
    /// The partition that is for `kind`.
    pub const fn get(&self, kind: PartitionKind) -> &Partition {
        match kind {
            PartitionKind::Boot => &self.boot,
            PartitionKind::Root => &self.root,
            PartitionKind::Hash => &self.hash,
        }
    }

    /// Each partition with what it is for, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionKind, &Partition)> {
        PartitionKind::ALL
            .into_iter()
            .map(|kind| (kind, self.get(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_reads_back_what_it_prints() {
        for slot in Slot::BOTH {
            assert_eq!(slot.to_string().parse(), Ok(slot));
            assert_eq!(slot.other().other(), slot);
            assert_ne!(slot.other(), slot);
        }
        assert_eq!("b".parse(), Ok(Slot::B));
        for text in ["", "C", "AB", " A", "set A"] {
            assert_eq!(text.parse::<Slot>(), Err(UnknownSlot), "{text}");
        }
    }

    #[test]
    fn a_slot_is_one_letter_in_json() {
        assert_eq!(serde_json::to_string(&Slot::A).unwrap(), r#""A""#);
        assert_eq!(serde_json::from_str::<Slot>(r#""B""#).unwrap(), Slot::B);
    }

    #[test]
    fn each_slot_has_its_own_value() {
        let mut numbers = PerSlot { a: 1, b: 2 };
        numbers[Slot::B] = 3;
        assert_eq!((numbers[Slot::A], *numbers.get(Slot::B)), (1, 3));
        assert_eq!(numbers.map(|n| n * 10), PerSlot { a: 10, b: 30 });
        assert_eq!(
            numbers.iter().collect::<Vec<_>>(),
            [(Slot::A, &1), (Slot::B, &3)]
        );
    }

    #[test]
    fn a_single_set_has_no_b() {
        let single = Sets::Single(1);
        assert_eq!((single.a(), single.b()), (&1, None));
        assert_eq!(serde_json::to_string(&single).unwrap(), r#"{"A":1}"#);
        let dual = Sets::Dual(PerSlot { a: 1, b: 2 });
        assert_eq!((dual.a(), dual.b()), (&1, Some(&2)));
        assert_eq!(serde_json::to_string(&dual).unwrap(), r#"{"A":1,"B":2}"#);
        let odd = |slot, n: i32| if n % 2 == 1 { Ok(n) } else { Err(slot) };
        assert_eq!(single.try_map(odd), Ok(single));
        assert_eq!(dual.try_map(odd), Err(Slot::B));
        assert_eq!(
            dual.map(|n| n + 1)
                .iter()
                .map(|(_, n)| *n)
                .collect::<Vec<_>>(),
            [2, 3]
        );
    }
}
