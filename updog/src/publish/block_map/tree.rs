//! Pure: the block hashes of a root image, which are the leaves of its verity tree.

use std::io::{self, ErrorKind, Read};

use update_metadata::Digest;
use update_metadata::block_map::{BlockHashes, HashImage, LEAF_PREFIX_BYTES, SUPERBLOCK_BYTES};

use crate::image::verity::{Geometry, Tree};
use crate::publish::hashed::Hashed;

const CHUNK_BYTES: usize = 64 << 10;

/// The hashes of the image that `tree` is over; nothing unless the hash image can be made from them: it
/// consists of a superblock that says how, zeros up to the next block, the tree from its top, and zeros
/// to its end.
///
/// # Errors
/// Those of reading the hash image.
pub(super) fn leaves(tree: &Tree, hash_image: impl Read) -> io::Result<Option<BlockHashes>> {
    let mut input = Hashed::new(hash_image);
    let Some(superblock) = superblock_of(tree, &mut input)? else {
        return Ok(None);
    };
    let (_, raw) = input.finish();
    Ok(Some(BlockHashes::Leaves {
        prefixes: prefixes(tree),
        hash_image: HashImage { superblock, raw },
    }))
}

/// The first bytes of a hash image; nothing where it is shorter.
///
/// # Errors
/// Those of reading it.
pub(super) fn read_superblock(
    hash_image: &mut impl Read,
) -> io::Result<Option<Box<[u8; SUPERBLOCK_BYTES]>>> {
    let mut superblock = Box::new([0; SUPERBLOCK_BYTES]);
    match hash_image.read_exact(&mut superblock[..]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(superblock)),
    }
}

fn superblock_of(
    tree: &Tree,
    hash_image: &mut impl Read,
) -> io::Result<Option<Box<[u8; SUPERBLOCK_BYTES]>>> {
    let Some(superblock) = read_superblock(hash_image)? else {
        return Ok(None);
    };
    let geometry = tree.geometry();
    if Geometry::from_superblock(&superblock[..]).as_ref() != Ok(geometry) {
        return Ok(None);
    }
    let block = usize::try_from(geometry.hash_block_size).unwrap_or(SUPERBLOCK_BYTES);
    let padding = vec![0; block.saturating_sub(SUPERBLOCK_BYTES)];
    let pieces = std::iter::once(&padding[..]).chain(tree.levels_from_top());
    for piece in pieces.flat_map(|piece| piece.chunks(CHUNK_BYTES)) {
        let mut found = Vec::with_capacity(piece.len());
        let most = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        hash_image.take(most).read_to_end(&mut found)?;
        if found != piece {
            return Ok(None);
        }
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match hash_image.read(&mut chunk) {
            Ok(0) => return Ok(Some(superblock)),
            Ok(read) if chunk[..read].iter().all(|&byte| byte == 0) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The start of each leaf. They fill the tree's lowest level; of an image of one block the leaf is the
/// root hash, and there is no level.
fn prefixes(tree: &Tree) -> Vec<[u8; LEAF_PREFIX_BYTES]> {
    let root_hash = tree.root_hash();
    let leaves = tree.levels_from_top().last();
    let leaves = leaves.unwrap_or(root_hash.as_bytes());
    let blocks = usize::try_from(tree.geometry().data_blocks).unwrap_or(usize::MAX);
    leaves
        .chunks_exact(size_of::<Digest>())
        .take(blocks)
        .filter_map(|leaf| leaf.first_chunk().copied())
        .collect()
}
