//! Images with maps, and partitions in memory, for tests.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use signpost::testing::{DiskBuilder, MemoryDevice};
use signpost::{
    ActiveChoice, BlockDevice, Command, Force, InactivePartition, PartitionKind, Slot, SlotStore,
};
use update_metadata::block_map::{BlockHashes, BlockMap, Codec, Frame, HashImage, Parts};
use update_metadata::{Digest, RawImage};

use super::apply::Fetched;
use super::judge::{Hash, Judge, UNKNOWN};
use super::plan::Plan;
use super::verity::{Geometry, TreeBuilder};

pub(super) const BLOCK: usize = 4096;

/// The length of things that fit into memory.
fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

fn raw_image(bytes: &[u8]) -> RawImage {
    RawImage {
        length: number(bytes.len()),
        sha256: Digest::from(<[u8; 32]>::from(Sha256::digest(bytes))),
    }
}

/// A block by a number, of which it consists; 0 is a block of zeros.
pub(super) fn block(number: u16) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK / 2)
}

/// An image of such blocks.
pub(super) fn image(blocks: &[u16]) -> Vec<u8> {
    blocks.iter().flat_map(|&number| block(number)).collect()
}

/// A compressed image: the file, and its parts.
fn compressed(
    image: &[u8],
    codec: Codec,
    blocks_in_frame: usize,
    hashes: BlockHashes,
) -> (Vec<u8>, Parts) {
    let mut file = vec![0xaa; 7];
    let frames = image.chunks(blocks_in_frame * BLOCK).map(|raw| {
        let bytes = match codec {
            Codec::Lz4 => {
                let data = lz4::block::compress(raw, None, false).unwrap();
                [&u32::try_from(data.len()).unwrap().to_le_bytes()[..], &data].concat()
            }
            Codec::Zstd => zstd::bulk::compress(raw, 1).unwrap(),
        };
        file.extend_from_slice(&bytes);
        Frame {
            length: u32::try_from(bytes.len()).unwrap(),
            sha256: raw_image(&bytes).sha256,
        }
    });
    let frames = frames.collect();
    let parts = Parts {
        codec,
        compressed: raw_image(&file),
        raw: raw_image(image),
        block_length: 4096,
        frame_length: u32::try_from(blocks_in_frame * BLOCK).unwrap(),
        header_length: 7,
        frames,
        hashes,
    };
    (file, parts)
}

/// Hashes for a plan, which only looks whether they are known.
pub(super) fn known(kept: &[bool]) -> Vec<Hash> {
    let hash = |&is_known: &bool| if is_known { [1; 32] } else { UNKNOWN };
    kept.iter().map(hash).collect()
}

/// An image with whole block hashes: its compressed file and its map.
pub(super) fn plain(image: &[u8], codec: Codec, blocks_in_frame: usize) -> (Vec<u8>, BlockMap) {
    let judge = Judge::plain(4096);
    let hashes = image
        .chunks(BLOCK)
        .map(|block| Digest::from(judge.hash(block)));
    let hashes = BlockHashes::Whole(hashes.collect());
    let (file, parts) = compressed(image, codec, blocks_in_frame, hashes);
    (file, BlockMap::new(parts).unwrap())
}

/// An image with a verity tree: its compressed file, its map and its hash image.
pub(super) fn with_tree(image: &[u8], blocks_in_frame: usize) -> (Vec<u8>, BlockMap, Vec<u8>) {
    let geometry = Geometry::for_image(number(image.len()), b"salt".to_vec()).unwrap();
    let judge = Judge::leaves(&geometry);
    let mut tree = TreeBuilder::new(geometry);
    tree.update(image);
    let hash_image = tree.finish().unwrap().to_hash_image([1; 16]);
    let hashes = BlockHashes::Leaves {
        prefixes: image
            .chunks(BLOCK)
            .map(|block| Judge::key(&judge.hash(block)))
            .collect(),
        hash_image: HashImage {
            superblock: Box::new(*hash_image.first_chunk().unwrap()),
            raw: raw_image(&hash_image),
        },
    };
    let (file, parts) = compressed(image, Codec::Lz4, blocks_in_frame, hashes);
    (file, BlockMap::new(parts).unwrap(), hash_image)
}

/// A partition of the cleared set of a disk in memory.
pub(super) fn partition(kind: PartitionKind) -> (Arc<MemoryDevice>, InactivePartition) {
    let device = Arc::new(DiskBuilder::new().build());
    let disk: Arc<dyn BlockDevice> = device.clone();
    let mut store = SlotStore::from_device(disk, ActiveChoice::Set(Slot::A)).unwrap();
    store.run(Command::ClearInactive, &Force::No).unwrap();
    let partition = store.open_inactive(kind).unwrap();
    (device, partition)
}

/// The start of what a partition holds.
pub(super) fn content(partition: &dyn BlockDevice, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    partition.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Gives the ranges of a plan, in chunks of an odd length, and counts.
pub(super) struct FromMemory<'a> {
    file: &'a [u8],
    left: Vec<(usize, usize)>,
    pub(super) given: usize,
}

impl<'a> FromMemory<'a> {
    pub(super) fn new(file: &'a [u8], plan: &Plan) -> Self {
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let mut left: Vec<_> = plan
            .ranges()
            .iter()
            .map(|range| (at(range.start), at(range.end)))
            .collect();
        left.reverse();
        Self {
            file,
            left,
            given: 0,
        }
    }

    /// The whole file, whatever was wanted of it.
    pub(super) fn whole(file: &'a [u8]) -> Self {
        Self {
            file,
            left: vec![(0, file.len())],
            given: 0,
        }
    }
}

impl Fetched for FromMemory<'_> {
    fn next(&mut self) -> io::Result<Option<(u64, Bytes)>> {
        let Some((start, end)) = self.left.pop() else {
            return Ok(None);
        };
        let cut = end.min(start + 777);
        if cut < end {
            self.left.push((cut, end));
        }
        self.given += cut - start;
        Ok(Some((
            number(start),
            Bytes::copy_from_slice(&self.file[start..cut]),
        )))
    }
}
