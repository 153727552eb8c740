//! What is promised of any bytes that should be a superblock of dm-verity.
//!
//! * Nothing panics.
//! * What is read is written again, and reads the same.
//! * Both lengths are those of a simpler calculation, and fit in 64 bits.
//! * The tree of a small image is that of a simpler calculation, in whatever pieces the image
//!   comes; with more or less than the announced data there is none.
//!
//! The input is a byte of flags, then the start of a superblock. With [`FIX`] what never varies is
//! made right; with [`SMALL`] the number of blocks is made small enough for a tree.

use sha2::{Digest as _, Sha256};
use updog::image::verity::{Geometry, SUPERBLOCK_BYTES, Tree, TreeBuilder, VerityError};

/// Signature, version, hash type and algorithm are made right.
pub const FIX: u8 = 0x01;
/// There are at most 256 blocks.
pub const SMALL: u8 = 0x02;

/// The longest image that gets a tree.
const LONGEST: u64 = 256 << 10;

/// Checks every promise.
pub fn run(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else {
        return;
    };
    let short = Geometry::from_superblock(rest);
    assert!(rest.len() >= SUPERBLOCK_BYTES || short.is_err());
    let mut block = [0; SUPERBLOCK_BYTES];
    let length = rest.len().min(SUPERBLOCK_BYTES);
    block[..length].copy_from_slice(&rest[..length]);
    if flags & FIX != 0 {
        block[..8].copy_from_slice(b"verity\0\0");
        block[8..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
        block[32..39].copy_from_slice(b"sha256\0");
    }
    if flags & SMALL != 0 {
        block[73..80].fill(0);
    }
    match Geometry::from_superblock(&block) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(geometry) => check(&geometry, block[16..32].try_into().expect("16 bytes"), rest),
    }
}

fn check(geometry: &Geometry, uuid: [u8; 16], bytes: &[u8]) {
    let again = geometry.to_superblock(uuid);
    assert_eq!(again[16..32], uuid);
    assert_eq!(Geometry::from_superblock(&again).as_ref(), Ok(geometry));

    let data_length = u128::from(geometry.data_blocks) * u128::from(geometry.data_block_size);
    assert_eq!(u128::from(geometry.data_length()), data_length);
    assert_eq!(u128::from(geometry.hash_length()), hash_length(geometry));
    if geometry.data_length() > LONGEST {
        // Data that do not come cost nothing, however much was announced.
        let mut builder = TreeBuilder::new(geometry.clone());
        builder.update(bytes);
        assert!(builder.finish().is_err());
        return;
    }
    let length = usize::try_from(geometry.data_length()).expect("small");
    let data: Vec<u8> = bytes.iter().copied().cycle().take(length).collect();
    let whole = tree(geometry, &data, length).expect("as much as announced");
    let expected = Reference::of(geometry, &data);
    assert_eq!(*whole.root_hash().as_bytes(), expected.root_hash);
    let image = whole.to_hash_image(uuid);
    assert_eq!(image.len() as u64, geometry.hash_length());
    let start = usize::try_from(geometry.hash_block_size).expect("at most 65,536");
    assert_eq!(image[..SUPERBLOCK_BYTES], again);
    assert!(image[SUPERBLOCK_BYTES..start].iter().all(|byte| *byte == 0));
    assert!(image[start..] == expected.levels, "another tree");
    assert_eq!(Geometry::of(&whole.facts()).as_ref(), Ok(geometry));

    let piece = bytes
        .iter()
        .take(2)
        .fold(0, |sum, byte| sum * 256 + usize::from(*byte))
        + 1;
    let pieced = tree(geometry, &data, piece).expect("as much as announced");
    assert_eq!(
        pieced.root_hash(),
        whole.root_hash(),
        "in pieces of {piece}"
    );
    assert!(tree(geometry, &data[1..], piece).is_err());
    assert!(tree(geometry, &[&data[..], &[0]].concat(), piece).is_err());
}

fn tree(geometry: &Geometry, data: &[u8], piece: usize) -> Result<Tree, VerityError> {
    let mut builder = TreeBuilder::new(geometry.clone());
    for piece in data.chunks(piece) {
        builder.update(piece);
    }
    builder.finish()
}

/// The superblock's block, and for each level as many blocks as its hashes fill.
fn hash_length(geometry: &Geometry) -> u128 {
    let block = u128::from(geometry.hash_block_size);
    let (mut blocks, mut below) = (1, u128::from(geometry.data_blocks));
    while below > 1 {
        below = (below * 32).div_ceil(block);
        blocks += below;
    }
    blocks * block
}

/// The tree as one would write it down.
struct Reference {
    root_hash: [u8; 32],
    /// The top level first.
    levels: Vec<u8>,
}

impl Reference {
    fn of(geometry: &Geometry, data: &[u8]) -> Self {
        let hashes = |bytes: &[u8], block: u32| -> Vec<u8> {
            let block = usize::try_from(block).expect("at most 65,536");
            let hash = |block: &[u8]| Sha256::digest([&geometry.salt, block].concat());
            bytes.chunks(block).flat_map(hash).collect()
        };
        let mut below = hashes(data, geometry.data_block_size);
        let mut levels = Vec::new();
        while below.len() > 32 {
            let block = usize::try_from(geometry.hash_block_size).expect("at most 65,536");
            below.resize(below.len().next_multiple_of(block), 0);
            levels = [below.clone(), levels].concat();
            below = hashes(&below, geometry.hash_block_size);
        }
        let root_hash = below.try_into().expect("one hash");
        Self { root_hash, levels }
    }
}
