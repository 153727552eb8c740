//! PURE: the digests of an image's blocks, by which damage is found in an image that has no hash
//! tree.
//!
//! They are taken from bytes that were just found to be the signed ones as a whole, so they are as
//! good as the signed digest of the image; and they only ever say *where* an image is damaged,
//! never that it is not.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use update_metadata::Digest;

/// No smaller block is told apart from its neighbours.
const MIN_BLOCK_BYTES: u32 = 4096;
/// A record stays small: about 70 bytes of JSON a block.
const MAX_BLOCKS: u64 = 2048;

/// SHA-256 of each block of an image, the last of which may be shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDigests {
    /// Bytes of a block: a power of two, which follows from the image's length.
    pub block_size: u32,
    /// In the order of the image.
    pub sha256: Vec<Digest>,
}

impl BlockDigests {
    /// The first block that differs from `found`, the digests of what an image holds now. `None`
    /// where the two are of different images, or equal.
    pub fn first_other(&self, found: &Self) -> Option<u64> {
        let comparable =
            self.block_size == found.block_size && self.sha256.len() == found.sha256.len();
        let mut pairs = self.sha256.iter().zip(&found.sha256);
        let first = pairs.position(|(signed, found)| signed != found)?;
        u64::try_from(first).ok().filter(|_| comparable)
    }
}

/// The block size for an image of `length` bytes: the smallest with at most 2,048 blocks. `None`
/// for an image of terabytes, which has no use for them.
fn block_size(length: u64) -> Option<u32> {
    let wanted = length.div_ceil(MAX_BLOCKS).checked_next_power_of_two()?;
    Some(u32::try_from(wanted).ok()?.max(MIN_BLOCK_BYTES))
}

/// Computes [`BlockDigests`] of an image that comes piece by piece.
#[derive(Debug)]
pub struct BlockHasher {
    block_size: u32,
    /// Bytes that the block under way lacks.
    missing: usize,
    hasher: Sha256,
    done: Vec<Digest>,
}

impl BlockHasher {
    /// For an image of `length` bytes; `None` where it has too many for any record.
    pub fn new(length: u64) -> Option<Self> {
        let block_size = block_size(length)?;
        let blocks = usize::try_from(length.div_ceil(u64::from(block_size))).ok()?;
        Some(Self {
            block_size,
            missing: usize::try_from(block_size).ok()?,
            hasher: Sha256::new(),
            done: Vec::with_capacity(blocks),
        })
    }

    /// The next bytes of the image.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (block, rest) = bytes.split_at(self.missing.min(bytes.len()));
            self.hasher.update(block);
            self.missing -= block.len();
            bytes = rest;
            if self.missing == 0 {
                self.end_block();
            }
        }
    }

    /// The digests of all that came.
    pub fn finish(mut self) -> BlockDigests {
        if self.missing < self.block_bytes() {
            self.end_block();
        }
        BlockDigests {
            block_size: self.block_size,
            sha256: self.done,
        }
    }

    fn end_block(&mut self) {
        let digest = self.hasher.finalize_reset();
        self.done.push(Digest::from(<[u8; 32]>::from(digest)));
        self.missing = self.block_bytes();
    }

    fn block_bytes(&self) -> usize {
        usize::try_from(self.block_size).expect("converted when made")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digests(image: &[u8], pieces: usize) -> BlockDigests {
        let mut hasher = BlockHasher::new(u64::try_from(image.len()).unwrap()).unwrap();
        for piece in image.chunks(pieces) {
            hasher.update(piece);
        }
        hasher.finish()
    }

    #[test]
    fn blocks_are_as_small_as_a_record_allows() {
        const MIB: u64 = 1 << 20;
        for (length, expected) in [
            (0, Some(4096)),
            (1, Some(4096)),
            (8 * MIB, Some(4096)),
            (8 * MIB + 1, Some(8192)),
            (40 * MIB, Some(32_768)),
            (512 * MIB, Some(262_144)),
            (u64::MAX, None),
        ] {
            assert_eq!(block_size(length), expected, "{length}");
        }
    }

    #[test]
    fn digests_of_other_images_are_not_compared() {
        let digests = |block_size, count| BlockDigests {
            block_size,
            sha256: vec![Digest::from([block_size.to_le_bytes()[1]; 32]); count],
        };
        assert_eq!(digests(4096, 3).first_other(&digests(8192, 3)), None);
        let mut other = digests(4096, 2);
        other.sha256[0] = Digest::from([0; 32]);
        assert_eq!(digests(4096, 3).first_other(&other), None);
        assert_eq!(digests(4096, 2).first_other(&other), Some(0));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_found_in_its_block_however_the_bytes_come(
            length in 1_usize..40_000,
            at in any::<prop::sample::Index>(),
            pieces in 1_usize..10_000,
        ) {
            let image = vec![7; length];
            let mut damaged = image.clone();
            let at = at.index(length);
            damaged[at] ^= 1;
            let signed = digests(&image, length);
            prop_assert_eq!(&signed, &digests(&image, pieces));
            prop_assert_eq!(signed.sha256.len(), length.div_ceil(4096));
            let block = u64::try_from(at / 4096).unwrap();
            prop_assert_eq!(signed.first_other(&digests(&damaged, pieces)), Some(block));
        }
    }
}
