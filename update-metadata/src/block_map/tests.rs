use std::io::{ErrorKind, Read};

use proptest::prelude::*;

use super::*;

const BLOCK: u32 = 4096;
const FRAME: u32 = 65_536;

/// From memory, which does not fail.
fn read(bytes: &[u8]) -> Result<BlockMap, BlockMapError> {
    BlockMap::read(bytes).map_err(|error| match error {
        ReadMapError::Map { source } => source,
        error => panic!("{error}"),
    })
}

fn digest(byte: u8) -> Digest {
    Digest::from([byte; 32])
}

/// An image of two frames and a half, each compressed to 1000 bytes.
fn whole() -> Parts {
    let length = u64::from(FRAME) * 2 + 30_000;
    Parts {
        codec: Codec::Lz4,
        compressed: RawImage {
            length: 7 + 3000 + 8,
            sha256: digest(1),
        },
        raw: RawImage {
            length,
            sha256: digest(2),
        },
        block_length: BLOCK,
        frame_length: FRAME,
        header_length: 7,
        frames: (3..6)
            .map(|byte| Frame {
                length: 1000,
                sha256: digest(byte),
            })
            .collect(),
        hashes: BlockHashes::Whole((0..40).map(digest).collect()),
    }
}

/// The same with a verity tree: two frames and a half of whole blocks.
fn leaves() -> Parts {
    let parts = whole();
    Parts {
        codec: Codec::Zstd,
        raw: RawImage {
            length: u64::from(BLOCK) * 40,
            ..parts.raw
        },
        hashes: BlockHashes::Leaves {
            prefixes: (0..40).map(|byte| [byte; 6]).collect(),
            hash_image: HashImage {
                superblock: Box::new([9; 512]),
                raw: RawImage {
                    length: 8192,
                    sha256: digest(8),
                },
            },
        },
        ..parts
    }
}

fn refused(parts: Parts) -> String {
    BlockMap::new(parts).unwrap_err().to_string()
}

#[test]
fn frames_tile_the_compressed_file_and_blocks_the_frames() {
    let map = BlockMap::new(whole()).unwrap();
    assert_eq!((map.frame_count(), map.block_count()), (3, 40));
    assert_eq!(map.blocks_in_frame(), 16);
    let ranges: Vec<_> = (0..5).map(|index| map.frame_range(index)).collect();
    assert_eq!(
        ranges,
        [7..1007, 1007..2007, 2007..3007, 3007..3007, 3007..3007]
    );
    let lengths: Vec<_> = (0..4).map(|index| map.frame_raw_length(index)).collect();
    assert_eq!(lengths, [FRAME, FRAME, 30_000, 0]);
}

#[test]
fn a_hash_is_admitted_by_what_is_known_of_it() {
    let map = BlockMap::new(whole()).unwrap();
    let hashes = &map.parts().hashes;
    assert!(hashes.admits(7, &[7; 32]));
    let mut other = [7; 32];
    other[31] = 0;
    assert!(!hashes.admits(7, &other));
    assert!(!hashes.admits(40, &[40; 32]));
    assert_eq!(hashes.key(7), Some([7; 6]));
    assert_eq!(hashes.key(40), None);

    let map = BlockMap::new(leaves()).unwrap();
    let hashes = &map.parts().hashes;
    assert!(hashes.admits(7, &other));
    other[5] = 0;
    assert!(!hashes.admits(7, &other));
    assert_eq!(hashes.key(7), Some([7; 6]));
    assert_eq!(hashes.key(40), None);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    type Change = fn(&mut Parts);
    let sizes: [(Change, &str); 10] = [
        (
            |p| p.block_length = 0,
            "block of 0 bytes is not a power of two from 512 to 65536",
        ),
        (
            |p| p.block_length = 256,
            "block of 256 bytes is not a power of two from 512 to 65536",
        ),
        (
            |p| p.block_length = 3000,
            "block of 3000 bytes is not a power of two from 512 to 65536",
        ),
        (
            |p| p.frame_length = 0,
            "frame of 0 bytes is not a number of whole blocks, at most 4 MiB",
        ),
        (
            |p| p.frame_length = 65_000,
            "frame of 65000 bytes is not a number of whole blocks, at most 4 MiB",
        ),
        (
            |p| p.frame_length = 8 << 20,
            "frame of 8388608 bytes is not a number of whole blocks, at most 4 MiB",
        ),
        (
            |p| p.header_length = 65,
            "header of 65 bytes is not at most 64 bytes",
        ),
        (
            |p| p.raw.length = 0,
            "image of 0 bytes is not more than none",
        ),
        (
            |p| p.compressed.length = 3006,
            "compressed file of 3006 bytes is not what its frames add up to",
        ),
        (
            |p| p.compressed.length = 3072,
            "compressed file of 3072 bytes is not what its frames add up to",
        ),
    ];
    for (change, expected) in sizes {
        let mut parts = whole();
        change(&mut parts);
        assert_eq!(refused(parts), format!("its {expected}"));
    }
    let counts: [(Change, &str); 6] = [
        (
            |p| p.frames.truncate(2),
            "it has 2 frames, and an image of 161072 bytes has 3",
        ),
        (
            |p| p.raw.length = 60_000,
            "it has 3 frames, and an image of 60000 bytes has 1",
        ),
        (
            |p| p.raw.length = u64::MAX,
            "it has 3 frames, and an image of 18446744073709551615 bytes has 281474976710656",
        ),
        (
            |p| p.hashes = BlockHashes::Whole(vec![digest(0); 39]),
            "it has 39 block hashes, and an image of 161072 bytes has 40",
        ),
        (
            |p| p.frames[1].length = 0,
            "its frame 1 of 0 bytes decodes to 65536 bytes",
        ),
        (
            |p| p.frames[2].length = 30_299,
            "its frame 2 of 30299 bytes decodes to 30000 bytes",
        ),
    ];
    for (change, expected) in counts {
        let mut parts = whole();
        change(&mut parts);
        assert_eq!(refused(parts), expected);
    }
}

#[test]
fn a_hash_image_covers_whole_blocks_and_is_no_larger_than_its_image() {
    let mut parts = leaves();
    parts.raw.length -= 1;
    assert_eq!(
        refused(parts),
        "its image with a verity tree of 163839 bytes is not a number of whole blocks"
    );
    for length in [511, (1 << 20) + 163_841] {
        let mut parts = leaves();
        if let BlockHashes::Leaves { hash_image, .. } = &mut parts.hashes {
            hash_image.raw.length = length;
        }
        assert_eq!(
            refused(parts),
            format!("its hash image of {length} bytes is not a superblock and a tree")
        );
    }
}

#[test]
fn what_is_written_is_read_back_and_every_cut_is_noticed() {
    for parts in [whole(), leaves()] {
        let map = BlockMap::new(parts).unwrap();
        let bytes = map.to_vec();
        assert_eq!(read(&bytes).as_ref(), Ok(&map));
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(
                matches!(error, BlockMapError::Short { .. }),
                "{length}: {error}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(read(&longer), Err(BlockMapError::Long { bytes: 1 }));
    }
}

/// An input that fails.
struct Fails(ErrorKind);

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(self.0, "it broke"))
    }
}

#[test]
fn a_map_is_believed_at_the_end_of_its_input_and_a_bad_end_says_more_than_its_content() {
    let bytes = BlockMap::new(leaves()).unwrap().to_vec();
    for kind in [ErrorKind::InvalidData, ErrorKind::UnexpectedEof] {
        for bytes in [&[][..], &bytes[..20], &bytes, b"no map"] {
            let error = BlockMap::read(bytes.chain(Fails(kind))).unwrap_err();
            assert!(
                matches!(&error, ReadMapError::Read { source } if source.kind() == kind),
                "{}: {error}",
                bytes.len()
            );
        }
    }
}

#[test]
fn an_input_without_an_end_is_not_read_for_ever() {
    for bytes in [BlockMap::new(whole()).unwrap().to_vec(), b"no map".to_vec()] {
        let endless = || bytes.chain(io::repeat(0));
        let error = BlockMap::read(endless()).unwrap_err();
        assert!(matches!(error, ReadMapError::TooLong), "{error}");
        // As long as the longest.
        let error = BlockMap::read(endless().take(MAX_BLOCK_MAP_BYTES)).unwrap_err();
        assert!(matches!(error, ReadMapError::Map { .. }), "{error}");
    }
}

#[test]
fn other_forms_are_named() {
    let bytes = BlockMap::new(whole()).unwrap().to_vec();
    for (at, expected) in [
        (0, "it does not begin as a block map"),
        (8, "its version is 77, which is not known here"),
        (12, "its codec is 77, which is not known here"),
        (16, "its kind of hashes is 77, which is not known here"),
    ] {
        let mut other = bytes.clone();
        other[at] = 77;
        assert_eq!(read(&other).unwrap_err().to_string(), expected);
    }
    let mut other = bytes;
    other[20..24].copy_from_slice(&[0; 4]);
    assert!(matches!(
        read(&other),
        Err(BlockMapError::Size { what: "block", .. })
    ));
}

#[test]
fn counts_that_nothing_follows_cost_no_memory() {
    let mut bytes = BlockMap::new(whole()).unwrap().to_vec();
    // The number of frames, and the image's length.
    bytes[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes[76..84].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(read(&bytes), Err(BlockMapError::Short { what: "frames" }));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..2000, value: u8) {
        let _ = read(&bytes);
        for parts in [whole(), leaves()] {
            let mut bent = BlockMap::new(parts).unwrap().to_vec();
            let at = at % bent.len();
            bent[at] = value;
            if let Ok(map) = read(&bent) {
                // What was accepted is what was read.
                prop_assert_eq!(map.to_vec(), bent);
            }
        }
    }
}
