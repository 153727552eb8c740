//! Where a root image and its hash image are damaged, told from the signed root hash down.
//!
//! Each block of the tree has a hash in the block above it, the top one is the signed root hash.
//! Two candidates exist for every block: the one in the hash image, and the one computed from the
//! root image as it is now. Whichever has the right hash is the signed one, and vouches for the
//! hashes below it; where neither has, both images are damaged there, and no more can be known of
//! what lies below than that.

use std::io;

use update_metadata::Digest;

use crate::image::verity::Tree;

const DIGEST_BYTES: usize = 32;

/// The first damage of each of the two images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TreeDamage {
    /// The first block of the hash image that is not the signed one, counted in hash blocks from
    /// its start, where the superblock's is 0.
    pub(super) hash: Option<u64>,
    /// The blocks of the root image among which the first bad one is.
    pub(super) data: Option<DataDamage>,
}

/// Blocks of the root image, at least one of which is not the signed one; nothing before `first`
/// is known to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataDamage {
    /// The first of them.
    pub(super) first: u64,
    /// The last of them: `first` itself where the block is known.
    pub(super) last: u64,
}

/// Compares `computed`, the tree of the root image as it is, and the hash image's blocks as `read`
/// gives them, with what `signed` vouches for. `read` takes the number of a hash block and fills
/// the buffer; a block that cannot be read is a bad one.
pub(super) fn find(
    computed: &Tree,
    signed: Digest,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> TreeDamage {
    let geometry = computed.geometry();
    let data_blocks = geometry.data_blocks;
    let mut damage = TreeDamage::default();
    let mut bad_data = |first: u64, last: u64| {
        if damage.data.is_none_or(|known| first < known.first) {
            damage.data = Some(DataDamage { first, last });
        }
    };
    let block_size = usize::try_from(geometry.hash_block_size).unwrap_or(usize::MAX);
    let fan_out = u64::from(geometry.hash_block_size) / 32;
    let levels: Vec<&[u8]> = computed.levels_from_top().collect();
    // A single data block has no tree above it.
    if levels.is_empty() && computed.root_hash() != signed {
        bad_data(0, 0);
    }

    let mut on_disk = vec![0; if levels.is_empty() { 0 } else { block_size }];
    let mut hash_block = 0_u64;
    // What is known of the hashes of the present level's blocks.
    let mut known = vec![Some(signed)];
    for (depth, level) in levels.iter().enumerate() {
        // Data blocks under one block of this level.
        let below = (depth..levels.len()).fold(1_u64, |span, _| span.saturating_mul(fan_out));
        let is_last = depth + 1 == levels.len();
        let mut next = Vec::new();
        for (at, (block, expected)) in (0_u64..).zip(level.chunks_exact(block_size).zip(&known)) {
            hash_block += 1;
            let first = at.saturating_mul(below);
            let last = first.saturating_add(below).min(data_blocks) - 1;
            let Some(expected) = *expected else {
                next.resize(next.len() + block.len() / DIGEST_BYTES, None);
                continue;
            };
            let is_good = |block: &[u8]| geometry.hash_of_block(block) == expected;
            let disk_is_good = read(hash_block, &mut on_disk).is_ok() && is_good(&on_disk);
            if !disk_is_good && damage.hash.is_none() {
                damage.hash = Some(hash_block);
            }
            let signed_block = if disk_is_good {
                &on_disk[..]
            } else if is_good(block) {
                block
            } else {
                bad_data(first, last);
                next.resize(next.len() + block.len() / DIGEST_BYTES, None);
                continue;
            };
            let hashes = signed_block.chunks_exact(DIGEST_BYTES);
            if is_last {
                let other = hashes
                    .zip(block.chunks_exact(DIGEST_BYTES))
                    .position(|(signed, found)| signed != found);
                if let Some(other) = other.and_then(|other| u64::try_from(other).ok()) {
                    let bad = first.saturating_add(other).min(last);
                    bad_data(bad, bad);
                }
            } else {
                next.extend(hashes.map(|hash| {
                    hash.try_into()
                        .ok()
                        .map(|hash: [u8; 32]| Digest::from(hash))
                }));
            }
        }
        known = next;
    }
    damage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::verity::{Geometry, TreeBuilder};

    /// Small hash blocks make deep trees: 16 hashes in each.
    const BLOCK: usize = 512;
    const DATA_BLOCKS: usize = 700;

    struct Images {
        data: Vec<u8>,
        hash: Vec<u8>,
        root_hash: Digest,
    }

    fn geometry(data_blocks: usize) -> Geometry {
        Geometry {
            salt: vec![9; 32],
            data_block_size: 512,
            hash_block_size: 512,
            data_blocks: u64::try_from(data_blocks).unwrap(),
        }
    }

    fn tree(data: &[u8]) -> Tree {
        let mut builder = TreeBuilder::new(geometry(data.len() / BLOCK));
        builder.update(data);
        builder.finish().unwrap()
    }

    fn images(data_blocks: usize) -> Images {
        let data: Vec<u8> = (0..data_blocks * BLOCK)
            .map(|at| u8::try_from(at / BLOCK % 251).unwrap())
            .collect();
        let tree = tree(&data);
        Images {
            hash: tree.to_hash_image([0; 16]),
            root_hash: tree.root_hash(),
            data,
        }
    }

    impl Images {
        fn flip_data(mut self, block: usize) -> Self {
            self.data[block * BLOCK + 3] ^= 1;
            self
        }

        fn flip_hash(mut self, block: usize) -> Self {
            self.hash[block * BLOCK + 3] ^= 1;
            self
        }

        fn damage(&self) -> TreeDamage {
            find(&tree(&self.data), self.root_hash, |block, buf| {
                let at = usize::try_from(block).unwrap() * BLOCK;
                buf.copy_from_slice(&self.hash[at..at + BLOCK]);
                Ok(())
            })
        }
    }

    fn damage(hash: Option<u64>, data: Option<(u64, u64)>) -> TreeDamage {
        let data = data.map(|(first, last)| DataDamage { first, last });
        TreeDamage { hash, data }
    }

    /// 700 blocks under 44 + 3 + 1 hash blocks: the top is hash block 1, the middle 2 to 4, the
    /// leaves' 5 to 48.
    #[test]
    fn the_first_bad_block_of_each_image_is_named() {
        let images = || images(DATA_BLOCKS);
        for (images, expected) in [
            (images(), damage(None, None)),
            (images().flip_data(0), damage(None, Some((0, 0)))),
            (images().flip_data(699), damage(None, Some((699, 699)))),
            (
                images().flip_data(500).flip_data(17),
                damage(None, Some((17, 17))),
            ),
            (images().flip_hash(1), damage(Some(1), None)),
            (images().flip_hash(48), damage(Some(48), None)),
            // Damage elsewhere in the hash image does not hide which data block it is.
            (
                images().flip_data(17).flip_hash(48),
                damage(Some(48), Some((17, 17))),
            ),
            (
                images().flip_data(17).flip_hash(3),
                damage(Some(3), Some((17, 17))),
            ),
            (
                images().flip_data(699).flip_hash(5),
                damage(Some(5), Some((699, 699))),
            ),
            // Right above it, it does: 16 blocks, 256, or all.
            (
                images().flip_data(17).flip_hash(6),
                damage(Some(6), Some((16, 31))),
            ),
            (
                images().flip_data(17).flip_hash(2),
                damage(Some(2), Some((0, 255))),
            ),
            (
                images().flip_data(690).flip_hash(4),
                damage(Some(4), Some((512, 699))),
            ),
            (
                images().flip_data(17).flip_hash(1),
                damage(Some(1), Some((0, 699))),
            ),
            // A known block before an unknown range, and after it.
            (
                images().flip_data(3).flip_data(600).flip_hash(4),
                damage(Some(4), Some((3, 3))),
            ),
            (
                images().flip_data(3).flip_data(600).flip_hash(2),
                damage(Some(2), Some((0, 255))),
            ),
        ] {
            assert_eq!(images.damage(), expected);
        }
    }

    #[test]
    fn an_image_of_one_block_has_no_tree_to_read() {
        assert_eq!(images(1).damage(), damage(None, None));
        assert_eq!(images(1).flip_data(0).damage(), damage(None, Some((0, 0))));
    }

    #[test]
    fn a_hash_block_that_cannot_be_read_is_a_bad_one() {
        let images = images(DATA_BLOCKS);
        let found = find(&tree(&images.data), images.root_hash, |block, buf| {
            if block == 4 {
                return Err(io::Error::other("bad sector"));
            }
            let at = usize::try_from(block).unwrap() * BLOCK;
            buf.copy_from_slice(&images.hash[at..at + BLOCK]);
            Ok(())
        });
        assert_eq!(found, damage(Some(4), None));
    }
}
