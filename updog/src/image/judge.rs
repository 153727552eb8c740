//! What the blocks of an image hash to, and whether one is the block that is wanted.

use std::iter;

use sha2::{Digest as _, Sha256};
use update_metadata::block_map::{BlockHashes, LEAF_PREFIX_BYTES};

use super::sha256_pair;
use super::verity::Geometry;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// A hash.
pub type Hash = [u8; HASH_BYTES];
/// In place of a hash that is not known; no block has this one.
pub const UNKNOWN: Hash = [0; HASH_BYTES];
/// The first bytes of one, by which blocks are found.
pub type Key = [u8; LEAF_PREFIX_BYTES];

/// Hashes the blocks of one image.
#[derive(Debug, Clone)]
pub struct Judge {
    /// What is hashed before each block.
    salt: Vec<u8>,
    /// With that taken in.
    salted: Sha256,
    block_length: usize,
    zero: Hash,
}

impl Judge {
    /// Of blocks that are hashed as they are.
    pub fn plain(block_length: u32) -> Self {
        Self::new(&[], block_length)
    }

    /// Of the leaves of a verity tree.
    pub fn leaves(geometry: &Geometry) -> Self {
        Self::new(&geometry.salt, geometry.data_block_size)
    }

    fn new(salt: &[u8], block_length: u32) -> Self {
        let block_length = usize::try_from(block_length).unwrap_or(usize::MAX);
        let salted = Sha256::new_with_prefix(salt);
        let zero = salted.clone().chain_update(vec![0; block_length]);
        Self {
            zero: zero.finalize().into(),
            salt: salt.to_vec(),
            salted,
            block_length,
        }
    }

    /// Bytes of a block.
    pub fn block_length(&self) -> usize {
        self.block_length
    }

    /// The hash of a block, or of a last one that is shorter.
    pub fn hash(&self, block: &[u8]) -> Hash {
        self.salted.clone().chain_update(block).finalize().into()
    }

    /// The hashes of blocks, in order: of two at once, where the processor can do that, and of none for
    /// zeros.
    pub fn hashes<'a>(
        &'a self,
        mut blocks: impl Iterator<Item = &'a [u8]>,
    ) -> impl Iterator<Item = Hash> {
        let mut second = None;
        iter::from_fn(move || {
            if let Some(hash) = second.take() {
                return Some(hash);
            }
            let one = blocks.next()?;
            let Some(other) = blocks.next() else {
                return Some(self.hash_or_zero(one));
            };
            let is_pair = !self.holds_nothing(one) && !self.holds_nothing(other);
            let pair = is_pair.then(|| sha256_pair::hash(&self.salt, [one, other]));
            let pair = pair.flatten();
            let [one, other] =
                pair.unwrap_or_else(|| [one, other].map(|block| self.hash_or_zero(block)));
            second = Some(other);
            Some(one)
        })
    }

    fn hash_or_zero(&self, block: &[u8]) -> Hash {
        if self.holds_nothing(block) {
            self.zero
        } else {
            self.hash(block)
        }
    }

    /// Whether `block` is a whole one of zeros.
    fn holds_nothing(&self, block: &[u8]) -> bool {
        let rest = block.get(1..).unwrap_or_default();
        // Each byte is as the one before: that is compared as quickly as memory is read.
        block.len() == self.block_length
            && block.first() == Some(&0)
            && rest == &block[..rest.len()]
    }

    /// The hash of a block of zeros.
    pub fn zero(&self) -> &Hash {
        &self.zero
    }

    /// Whether block `index` of an image with these hashes consists of zeros.
    pub fn is_zero(&self, wanted: &BlockHashes, index: usize) -> bool {
        wanted.admits(index, &self.zero)
    }

    /// The key of a hash.
    pub fn key(hash: &Hash) -> Key {
        *hash.first_chunk().expect("a hash is longer than its key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_hashed_after_the_salt() {
        let geometry = Geometry::for_image(8192, b"salt".to_vec()).unwrap();
        let judge = Judge::leaves(&geometry);
        let block = [7; 4096];
        assert_eq!(
            judge.hash(&block),
            *geometry.hash_of_block(&block).as_bytes()
        );
        assert_eq!(judge.zero(), geometry.hash_of_block(&[0; 4096]).as_bytes());
        let plain = Judge::plain(4096);
        let expected: Hash = Sha256::digest(&block[..10]).into();
        assert_eq!(plain.hash(&block[..10]), expected);
    }

    #[test]
    fn nothing_is_in_a_block_only_if_every_byte_is_zero() {
        let judge = Judge::plain(4096);
        assert!(judge.holds_nothing(&[0; 4096]));
        assert!(!judge.holds_nothing(&[0; 4095]));
        assert!(!judge.holds_nothing(&[]));
        assert!(!judge.holds_nothing(&[7; 4096]));
        for at in [0, 1, 2, 100, 4094, 4095] {
            let mut block = [0; 4096];
            block[at] = 1;
            assert!(!judge.holds_nothing(&block), "{at}");
        }
    }

    #[test]
    fn many_blocks_hash_as_each_alone() {
        let geometry = Geometry::for_image(8192, b"salt".to_vec()).unwrap();
        // Blocks of zeros, of sevens, and a last one that is shorter.
        for kinds in [
            "", "7", "0", "77", "70", "07", "00", "77707", "7077.", "0.", "7.",
        ] {
            let blocks: Vec<Vec<u8>> = kinds
                .bytes()
                .zip(0..)
                .map(|(kind, number)| match kind {
                    b'0' => vec![0; 4096],
                    b'7' => vec![7 + number; 4096],
                    _ => vec![0; 1000],
                })
                .collect();
            for judge in [Judge::leaves(&geometry), Judge::plain(4096)] {
                let blocks = || blocks.iter().map(Vec::as_slice);
                let each: Vec<Hash> = blocks().map(|block| judge.hash(block)).collect();
                let all: Vec<Hash> = judge.hashes(blocks()).collect();
                assert_eq!(all, each, "{kinds}");
            }
        }
    }
}
