//! Pure: at which place of a partition a block with a given hash may be.
//!
//! A place that an index names is a candidate and no more: whoever reads the block there hashes it.

use super::judge::Key;

/// Bytes of an entry: a key, then the number of a block, high byte first, so that entries sort by key
/// and then by place.
const ENTRY_BYTES: usize = size_of::<Key>() + size_of::<u32>();

/// The keys of a partition's blocks. About 16 bytes a block.
#[derive(Debug, Default)]
pub struct Index {
    keys: Vec<Key>,
    entries: Vec<[u8; ENTRY_BYTES]>,
}

impl Index {
    /// The index of blocks with these keys, in the order of the partition; `zero` is the key of a block
    /// of zeros, which nobody looks for. Blocks past the first 2³² are not found.
    pub fn new(keys: Vec<Key>, zero: Key) -> Self {
        let told = || keys.iter().zip(0_u32..).filter(|(key, _)| **key != zero);
        // No more than they need: there is one for nearly each block.
        let mut entries = Vec::with_capacity(told().count());
        entries.extend(told().map(|(key, block)| entry(*key, block)));
        entries.sort_unstable();
        Self { keys, entries }
    }

    /// A block that may have `key`: `likely`, if it does, so that neighbours are copied together, and
    /// else the first one.
    pub fn find(&self, key: Key, likely: Option<u32>) -> Option<u32> {
        let is_there = |block: u32| {
            let block = usize::try_from(block).ok()?;
            (*self.keys.get(block)? == key).then_some(())
        };
        if let Some(block) = likely.filter(|&block| is_there(block).is_some()) {
            return Some(block);
        }
        let first = self.entries.partition_point(|found| found[..] < key[..]);
        let (found, block) = self.entries.get(first)?.split_first_chunk()?;
        (*found == key).then_some(u32::from_be_bytes(*block.first_chunk()?))
    }
}

fn entry(key: Key, block: u32) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let (head, tail) = entry.split_at_mut(key.len());
    head.copy_from_slice(&key);
    tail.copy_from_slice(&block.to_be_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_likely_place_comes_first_and_zeros_are_not_found() {
        let keys = [3, 0, 5, 3, 9, 3].map(|byte| [byte; 6]);
        let index = Index::new(keys.to_vec(), [0; 6]);
        for (key, likely, expected) in [
            (3, None, Some(0)),
            (3, Some(5), Some(5)),
            (3, Some(4), Some(0)),
            (3, Some(6), Some(0)),
            (9, None, Some(4)),
            (0, None, None),
            (4, None, None),
            (10, None, None),
        ] {
            assert_eq!(index.find([key; 6], likely), expected, "{key} {likely:?}");
        }
        assert_eq!(Index::default().find([1; 6], Some(0)), None);
    }

    proptest! {
        #[test]
        fn what_is_found_has_the_key_and_what_is_there_is_found(
            keys in prop::collection::vec(prop::array::uniform6(0_u8..3), 0..200),
            wanted in prop::array::uniform6(0_u8..3),
            likely in prop::option::of(0_u32..250),
        ) {
            let index = Index::new(keys.clone(), [0; 6]);
            let found = index.find(wanted, likely);
            match found {
                Some(block) => prop_assert_eq!(keys[usize::try_from(block).unwrap()], wanted),
                None => prop_assert!(wanted == [0; 6] || !keys.contains(&wanted)),
            }
        }
    }
}
