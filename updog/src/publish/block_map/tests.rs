//! Files made by other encoders, taken apart and put together again, and files that are refused.

use std::error::Error as _;
use std::io::Write as _;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;
use crate::exit::chain;
use crate::image::verity::{Geometry, TreeBuilder};

const BLOCK: usize = 4096;

/// Bytes of which some stretches are zero, some repeat and some do not compress.
fn content(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length)
        .map(|at| match at / 50_000 % 3 {
            0 => u8::try_from(at / 7 % 251).unwrap(),
            1 => 0,
            _ => noise(),
        })
        .collect()
}

fn info() -> FrameInfo {
    FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent)
        .content_checksum(true)
}

fn packed(content: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An LZ4 frame of blocks that are stored as they are.
fn stored(blocks: &[&[u8]]) -> Vec<u8> {
    let mut file = packed(b"", info());
    let end = file.split_off(7);
    for block in blocks {
        let size = u32::try_from(block.len()).unwrap() | 1 << 31;
        file.extend_from_slice(&size.to_le_bytes());
        file.extend_from_slice(block);
    }
    [file, end].concat()
}

fn zstd_frames(content: &[u8], length: usize) -> Vec<u8> {
    content
        .chunks(length)
        .flat_map(|chunk| ::zstd::bulk::compress(chunk, 3).unwrap())
        .collect()
}

/// The map, or in words why there is none.
fn map(file: &[u8], codec: Codec) -> Result<BlockMap, String> {
    let mut digests = Vec::new();
    let sink = &mut |piece: &[u8]| digests.extend(hashes(piece, 4096));
    let layout = split(file, codec, 4096, sink).map_err(|error| chain(&error))?;
    let hashes = BlockHashes::Whole(digests);
    layout.with(hashes).map_err(|error| chain(&error))
}

/// What frame `index` decodes to, by its bytes alone.
fn decode_alone(map: &BlockMap, index: usize, file: &[u8]) -> Vec<u8> {
    let range = map.frame_range(index);
    let bytes = &file[range.start.try_into().unwrap()..range.end.try_into().unwrap()];
    let frame = map.parts().frames[index];
    assert_eq!(frame.sha256.as_bytes()[..], Sha256::digest(bytes)[..]);
    match map.parts().codec {
        Codec::Zstd => ::zstd::decode_all(bytes).unwrap(),
        Codec::Lz4 => {
            let size = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            let length = usize::try_from(size & !(1 << 31)).unwrap();
            let block = &bytes[4..4 + length];
            if size & 1 << 31 == 0 {
                lz4_flex::block::decompress(block, 4 << 20).unwrap()
            } else {
                block.to_vec()
            }
        }
    }
}

/// The map says all of the file and of its content, and each frame decodes alone.
fn assert_is_of(map: &BlockMap, file: &[u8], content: &[u8]) {
    let parts = map.parts();
    for (image, bytes) in [(&parts.compressed, file), (&parts.raw, content)] {
        assert_eq!(image.length, u64::try_from(bytes.len()).unwrap());
        assert_eq!(image.sha256.as_bytes()[..], Sha256::digest(bytes)[..]);
    }
    let decoded: Vec<_> = (0..map.frame_count())
        .map(|index| decode_alone(map, index, file))
        .collect();
    for (index, frame) in decoded.iter().enumerate() {
        assert_eq!(
            map.frame_raw_length(index),
            u32::try_from(frame.len()).unwrap()
        );
    }
    assert!(decoded.concat() == content);
    for (index, block) in content.chunks(BLOCK).enumerate() {
        assert!(parts.hashes.admits(index, &Sha256::digest(block).into()));
    }
}

#[test]
fn each_block_of_an_lz4_frame_is_decoded_alone() {
    let sizes = [
        (BlockSize::Max64KB, 64 << 10),
        (BlockSize::Max256KB, 256 << 10),
        (BlockSize::Max1MB, 1 << 20),
        (BlockSize::Max4MB, 4 << 20),
    ];
    for length in [1, 4096, 65_536, 65_537, 400_000] {
        let content = content(length);
        for (size, bytes) in sizes {
            for checksums in [false, true] {
                let info = info()
                    .block_size(size)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then(|| u64::try_from(length).unwrap()));
                let file = packed(&content, info);
                let map = map(&file, Codec::Lz4).unwrap();
                assert_is_of(&map, &file, &content);
                assert_eq!(map.frame_count(), length.div_ceil(bytes));
                let parts = map.parts();
                assert_eq!(parts.header_length, if checksums { 15 } else { 7 });
                if length > bytes {
                    assert_eq!(parts.frame_length, u32::try_from(bytes).unwrap());
                }
            }
        }
    }
}

#[test]
fn each_zstd_frame_is_decoded_alone() {
    for length in [1, 4096, 65_537, 400_000] {
        let content = content(length);
        for frame in [4096, 64 << 10, 4 << 20] {
            let file = zstd_frames(&content, frame);
            let map = map(&file, Codec::Zstd).unwrap();
            assert_is_of(&map, &file, &content);
            assert_eq!(map.frame_count(), length.div_ceil(frame));
            assert_eq!(map.parts().header_length, 0);
        }
    }
}

#[test]
fn zstd_frames_of_a_stream_are_found_without_their_length() {
    // Blocks of 128 KiB, a window, a checksum; no length in the header.
    let content = content(400_000);
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&content).unwrap();
    let file = encoder.finish().unwrap();
    let map = map(&file, Codec::Zstd).unwrap();
    assert_is_of(&map, &file, &content);
    assert_eq!((map.frame_count(), map.block_count()), (1, 98));
}

#[test]
fn an_lz4_file_that_has_no_map_is_refused_by_what_is_wrong() {
    let whole = packed(&content(150_000), info());
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut file = whole.clone();
        edit(&mut file);
        file
    };
    let linked = info().block_mode(BlockMode::Linked);
    for (file, message) in [
        (vec![], "it ends in its LZ4 header"),
        (whole[..6].to_vec(), "it ends in its LZ4 header"),
        (whole[..9].to_vec(), "it ends in its LZ4 blocks"),
        (whole[..5000].to_vec(), "it ends in its LZ4 blocks"),
        (
            whole[..whole.len() - 8].to_vec(),
            "it ends in its LZ4 blocks",
        ),
        (
            whole[..whole.len() - 1].to_vec(),
            "it ends in its content checksum",
        ),
        (
            with(&|file| file.push(0)),
            "it goes on behind its LZ4 frame",
        ),
        (
            [&whole[..], &whole].concat(),
            "it goes on behind its LZ4 frame",
        ),
        (zstd_frames(b"abc", 4096), "at byte 0 there is no LZ4 frame"),
        (
            with(&|file| file[4] |= 1),
            "it was compressed with a dictionary, which no host has",
        ),
        (
            with(&|file| file[4] ^= 0xc0),
            "its LZ4 header's first byte of flags is 0xa4, which is not known here",
        ),
        (
            with(&|file| file[5] = 0x30),
            "its LZ4 header's byte of sizes is 0x30, which is not known here",
        ),
        (
            packed(&content(150_000), linked),
            "its LZ4 blocks depend on each other; compress it with independent blocks, as `lz4` \
             does without -BD",
        ),
        (packed(b"", info()), "its frame 0 decodes to nothing"),
        (stored(&[b""]), "its frame 0 decodes to nothing"),
        (
            stored(&[&vec![1; 65_537]]),
            "its frame 0 is of more than 65536 bytes",
        ),
        (
            stored(&[&[1; 4096], &[1; 8192]]),
            "its frame 1 decodes to 8192 bytes: all frames but the last must decode to the same \
             number of whole blocks of 4096",
        ),
        (
            stored(&[&[1; 8192], &[1; 4096], &[1; 4096]]),
            "its frame 2 decodes to 4096 bytes: all frames but the last must decode to the same \
             number of whole blocks of 4096",
        ),
        (
            stored(&[&[1; 100], &[1; 100]]),
            "its frame 1 decodes to 100 bytes: all frames but the last must decode to the same \
             number of whole blocks of 4096",
        ),
    ] {
        assert_eq!(map(&file, Codec::Lz4).unwrap_err(), message);
    }
    // The first offset of the first block leads to before its start.
    let damaged = with(&|file| file[11..40].fill(0xff));
    let error = map(&damaged, Codec::Lz4).unwrap_err();
    assert!(
        error.starts_with("its frame 0 does not decode: "),
        "{error}"
    );
}

#[test]
fn a_zstd_file_that_has_no_map_is_refused_by_what_is_wrong() {
    let whole = zstd_frames(&content(150_000), 64 << 10);
    let first = map(&whole, Codec::Zstd).unwrap().frame_range(1).start;
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut file = whole.clone();
        edit(&mut file);
        file
    };
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
    for (file, message) in [
        (vec![], "its frame 0 decodes to nothing".to_owned()),
        (whole[..4].to_vec(), "it ends in its zstd header".to_owned()),
        (
            whole[..200].to_vec(),
            "it ends in its zstd blocks".to_owned(),
        ),
        (
            with(&|file| file.push(0)),
            "it ends in its zstd header".to_owned(),
        ),
        (
            with(&|file| file.extend_from_slice(&[0; 5])),
            format!("at byte {} there is no zstd frame", whole.len()),
        ),
        (
            with(&|file| file[usize::try_from(first).unwrap()] ^= 1),
            format!("at byte {first} there is no zstd frame"),
        ),
        (
            [&skippable[..], &whole].concat(),
            "at byte 0 there is no zstd frame".to_owned(),
        ),
        (
            packed(b"abc", info()),
            "at byte 0 there is no zstd frame".to_owned(),
        ),
        (
            with(&|file| file[4] |= 1),
            "it was compressed with a dictionary, which no host has".to_owned(),
        ),
        (
            with(&|file| file[4] |= 8),
            "its zstd header's byte of flags is 0x68, which is not known here".to_owned(),
        ),
        (
            zstd_frames(&vec![7; (4 << 20) + 1], 8 << 20),
            "its frame 0 is of more than 4194304 bytes".to_owned(),
        ),
        (
            [zstd_frames(&[1; 4096], 4096), zstd_frames(&[1; 5000], 5000)].concat(),
            "its frame 1 decodes to 5000 bytes: all frames but the last must decode to the same \
             number of whole blocks of 4096"
                .to_owned(),
        ),
    ] {
        assert_eq!(map(&file, Codec::Zstd).unwrap_err(), message);
    }
    // The first block of the first frame is of no kind.
    let damaged = with(&|file| file[7] |= 0b110);
    let error = map(&damaged, Codec::Zstd).unwrap_err();
    assert!(
        error.starts_with("its frame 0 does not decode: "),
        "{error}"
    );
}

#[test]
fn a_failing_disk_is_no_damaged_file() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let start = packed(&content(150_000), info());
    for input in [&start[..0], &start[..3000]] {
        let error = split(input.chain(Failing), Codec::Lz4, 4096, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "reading it");
        assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
    }
}

/// A root image's tree and its hash image; `blocks` decide how many levels the tree has.
fn tree_over(content: &[u8]) -> (crate::image::verity::Tree, Vec<u8>) {
    let length = u64::try_from(content.len()).unwrap();
    let mut builder = TreeBuilder::new(Geometry::for_image(length, vec![0x5a, 0x17]).unwrap());
    builder.update(content);
    let tree = builder.finish().unwrap();
    let image = tree.to_hash_image([9; 16]);
    (tree, image)
}

#[test]
fn leaves_begin_as_the_salted_hashes_of_the_blocks() {
    for blocks in [1, 2, 128, 300] {
        let content = content(blocks * BLOCK);
        let (tree, image) = tree_over(&content);
        let leaves = tree::leaves(&tree, &image[..]).unwrap().unwrap();
        assert_eq!(leaves.len(), blocks);
        for (index, block) in content.chunks(BLOCK).enumerate() {
            let salted = [&[0x5a, 0x17][..], block].concat();
            let hash = Sha256::digest(salted);
            assert_eq!(leaves.key(index).unwrap()[..], hash[..6]);
        }
        let BlockHashes::Leaves { hash_image, .. } = leaves else {
            panic!("whole hashes");
        };
        assert_eq!(hash_image.superblock[..], image[..512]);
        assert_eq!(
            hash_image.raw.sha256.as_bytes()[..],
            Sha256::digest(&image)[..]
        );
    }
}

#[test]
fn only_a_hash_image_that_can_be_made_again_is_left_out() {
    let (tree, image) = tree_over(&content(300 * BLOCK));
    let leaves = |image: &[u8]| tree::leaves(&tree, image).unwrap();
    let with = |at: usize| {
        let mut other = [&image[..], &[0; 5000]].concat();
        other[at] ^= 1;
        other
    };
    // Zeros at the end are cheap to make.
    assert!(leaves(&[&image[..], &vec![0; 200_000]].concat()).is_some());
    // The UUID is part of the superblock, which is kept as it is.
    assert!(leaves(&with(16)).is_some());
    for at in [
        8,
        88,
        512,
        4095,
        4096,
        2 * 4096,
        image.len() - 1,
        image.len(),
        image.len() + 4999,
    ] {
        assert!(leaves(&with(at)).is_none(), "{at}");
    }
    for length in [0, 511, 512, 4096, image.len() - 1] {
        assert!(leaves(&image[..length]).is_none(), "{length}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..400,
        value: u8,
    ) {
        for (codec, whole) in [
            (Codec::Lz4, packed(&content(300), info())),
            (Codec::Zstd, zstd_frames(&content(300), 64)),
        ] {
            let _ = map(&bytes, codec);
            let mut bent = whole;
            let at = at % bent.len();
            bent[at] = value;
            if let Ok(map) = map(&bent, codec) {
                prop_assert_eq!(map.parts().compressed.length, u64::try_from(bent.len()).unwrap());
            }
            // A part of a file is another file, or none.
            bent.truncate(at);
            if let Ok(map) = map(&bent, codec) {
                prop_assert_eq!(map.parts().compressed.length, u64::try_from(at).unwrap());
            }
        }
    }
}
