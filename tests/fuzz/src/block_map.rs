//! What is promised of any bytes that should be a block map.
//!
//! * Nothing panics, and memory is in proportion to the bytes, whatever they announce.
//! * What is read is written again as it was.
//! * Frames lie one behind the other within the compressed file, and decode to the image together.
//! * There is a hash for each block, and a block is admitted by its own.

use update_metadata::block_map::{BlockHashes, BlockMap};

/// Checks every promise.
pub fn run(data: &[u8]) {
    let map = match BlockMap::read(data) {
        Ok(map) => map,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(map.to_vec(), data);
    let parts = map.parts();
    let mut at = u64::from(parts.header_length);
    let mut raw = 0_u64;
    for index in 0..map.frame_count() {
        let range = map.frame_range(index);
        assert_eq!(range.start, at, "frame {index}");
        assert_eq!(
            range.end - range.start,
            u64::from(parts.frames[index].length)
        );
        at = range.end;
        raw += u64::from(map.frame_raw_length(index));
    }
    assert!(at <= parts.compressed.length);
    assert_eq!(raw, parts.raw.length);
    let blocks = parts.raw.length.div_ceil(u64::from(parts.block_length));
    assert_eq!(u64::try_from(map.block_count()), Ok(blocks));
    let per_frame = parts.frame_length / parts.block_length;
    assert_eq!(u32::try_from(map.blocks_in_frame()), Ok(per_frame));
    assert_eq!(parts.hashes.len(), map.block_count());
    for index in 0..map.block_count() {
        let hash = match &parts.hashes {
            BlockHashes::Whole(hashes) => *hashes[index].as_bytes(),
            BlockHashes::Leaves { prefixes, .. } => {
                let mut hash = [7; 32];
                hash[..6].copy_from_slice(&prefixes[index]);
                hash
            }
        };
        assert!(parts.hashes.admits(index, &hash));
        let mut other = hash;
        other[5] ^= 1;
        assert!(!parts.hashes.admits(index, &other));
        assert_eq!(parts.hashes.key(index).as_ref(), hash.first_chunk());
    }
    assert!(!parts.hashes.admits(map.block_count(), &[0; 32]));
}

/// Maps of both kinds, small enough for a fuzzer.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let number = |number: u32| number.to_le_bytes();
    let image = |length: u64, byte: u8| [&length.to_le_bytes()[..], &[byte; 32]].concat();
    let mut seeds = Vec::new();
    for (name, codec, kind) in [
        ("lz4-whole", 1, 1),
        ("zstd-whole", 2, 1),
        ("lz4-leaves", 1, 2),
    ] {
        let mut map = b"blockmap".to_vec();
        // Three blocks of 512 bytes in frames of two.
        for field in [1, codec, kind, 512, 1024, if codec == 1 { 7 } else { 0 }, 2] {
            map.extend_from_slice(&number(field));
        }
        let header = if codec == 1 { 7 } else { 0 };
        map.extend(image(header + 100 + 60, 1));
        map.extend(image(1536, 2));
        if kind == 2 {
            map.extend([5; 512]);
            map.extend(image(8192, 3));
        }
        for length in [100, 60] {
            map.extend_from_slice(&number(length));
            map.extend([4; 32]);
        }
        let hash = if kind == 1 { 32 } else { 6 };
        map.extend((0..3).flat_map(|block: u8| vec![block; hash]));
        seeds.push((name.to_owned(), map));
    }
    seeds
}
