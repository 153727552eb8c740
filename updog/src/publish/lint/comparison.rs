//! Pure: compares a hash image that arrives in pieces with the tree that it should be.
//!
//! The block of the superblock is passed over: what it says made the tree.

use crate::image::verity::Tree;

/// What was compared so far.
pub(super) struct Comparison<'a> {
    /// What is still expected, the block of the superblock first.
    expected: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    /// The rest of the piece that is compared now.
    piece: &'a [u8],
    /// Bytes of the superblock's block that are still to be passed over.
    superblock: u64,
    at: u64,
    differs: Option<u64>,
}

impl<'a> Comparison<'a> {
    /// Nothing was compared yet.
    pub(super) fn with(tree: &'a Tree) -> Self {
        Self {
            expected: Box::new(tree.levels_from_top()),
            piece: &[],
            superblock: u64::from(tree.geometry().hash_block_size),
            at: 0,
            differs: None,
        }
    }

    /// The next bytes of the hash image.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let skip = usize::try_from(self.superblock).map_or(bytes.len(), |n| n.min(bytes.len()));
        let skipped = u64::try_from(skip).unwrap_or(self.superblock);
        bytes = &bytes[skip..];
        self.superblock = self.superblock.saturating_sub(skipped);
        self.at = self.at.saturating_add(skipped);
        while !bytes.is_empty() && self.differs.is_none() {
            if self.piece.is_empty() {
                let Some(piece) = self.expected.next() else {
                    self.differs = Some(self.at);
                    break;
                };
                self.piece = piece;
            }
            let length = bytes.len().min(self.piece.len());
            let (found, rest) = bytes.split_at(length);
            let (expected, later) = self.piece.split_at(length);
            let same = found.iter().zip(expected).position(|(a, b)| a != b);
            let passed = u64::try_from(same.unwrap_or(length)).unwrap_or(u64::MAX);
            self.at = self.at.saturating_add(passed);
            self.differs = same.map(|_| self.at);
            (bytes, self.piece) = (rest, later);
        }
    }

    /// The first byte that differs; the end where the hash image is too short.
    pub(super) fn finish(mut self) -> Option<u64> {
        let more = !self.piece.is_empty() || self.expected.next().is_some();
        self.differs.or(more.then_some(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::verity::{Geometry, TreeBuilder};

    /// The tree of a root image of 200 blocks, which has two levels, and its hash image.
    fn tree() -> (Tree, Vec<u8>) {
        let length = 200 * 4096_u32;
        let mut builder = TreeBuilder::new(Geometry::for_image(length.into(), vec![7]).unwrap());
        let image: Vec<u8> = (0..length)
            .map(|i| u8::try_from(i / 5 % 251).unwrap())
            .collect();
        builder.update(&image);
        let tree = builder.finish().unwrap();
        let image = tree.to_hash_image([9; 16]);
        (tree, image)
    }

    fn compared(tree: &Tree, image: &[u8], piece: usize) -> Option<u64> {
        let mut comparison = Comparison::with(tree);
        image
            .chunks(piece)
            .for_each(|piece| comparison.update(piece));
        comparison.finish()
    }

    #[test]
    fn the_first_byte_that_differs_is_named_however_the_image_is_cut() {
        let (tree, image) = tree();
        for piece in [1, 511, 4096, 5000, image.len()] {
            assert_eq!(compared(&tree, &image, piece), None, "{piece}");
            for at in [4096, 8191, 8192, image.len() - 1] {
                let mut other = image.clone();
                other[at] ^= 1;
                let at = u64::try_from(at).unwrap();
                assert_eq!(compared(&tree, &other, piece), Some(at), "{piece}");
            }
        }
    }

    #[test]
    fn an_image_that_is_shorter_or_longer_than_its_tree_differs_at_its_end() {
        let (tree, image) = tree();
        let end = u64::try_from(image.len()).unwrap();
        assert_eq!(
            compared(&tree, &image[..image.len() - 1], 4096),
            Some(end - 1)
        );
        assert_eq!(
            compared(&tree, &[&image[..], &[0]].concat(), 4096),
            Some(end)
        );
        assert_eq!(compared(&tree, &[], 4096), Some(0));
    }
}
