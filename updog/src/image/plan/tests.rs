use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use update_metadata::block_map::{BlockHashes, Codec, Frame, Parts};
use update_metadata::{Digest, RawImage};

use super::*;
use crate::image::judge::Key;
use crate::image::samples::known;

const BLOCK: usize = 512;

/// Blocks by a byte that all of their bytes have; 0 is a block of zeros.
fn map(blocks: &[u8], blocks_in_frame: usize, frame_bytes: u32) -> BlockMap {
    let frames = blocks.len().div_ceil(blocks_in_frame);
    let number = |number: usize| u64::try_from(number).unwrap();
    BlockMap::new(Parts {
        codec: Codec::Lz4,
        compressed: RawImage {
            length: 7 + number(frames) * u64::from(frame_bytes),
            sha256: Digest::from([1; 32]),
        },
        raw: RawImage {
            length: number(blocks.len() * BLOCK),
            sha256: Digest::from([2; 32]),
        },
        block_length: 512,
        frame_length: u32::try_from(blocks_in_frame * BLOCK).unwrap(),
        header_length: 7,
        frames: vec![
            Frame {
                length: frame_bytes,
                sha256: Digest::from([3; 32]),
            };
            frames
        ],
        hashes: BlockHashes::Whole(blocks.iter().map(|&byte| hash(byte)).collect()),
    })
    .unwrap()
}

fn hash(byte: u8) -> Digest {
    let hash: [u8; 32] = Sha256::digest([byte; BLOCK]).into();
    Digest::from(hash)
}

fn key(byte: u8) -> Key {
    *hash(byte).as_bytes().first_chunk().unwrap()
}

fn index(blocks: &[u8]) -> Index {
    Index::new(blocks.iter().map(|&byte| key(byte)).collect(), key(0))
}

fn planned(map: &BlockMap, kept: &[bool], active: Option<&Index>) -> Plan {
    let kept = &known(kept);
    Plan::new(map, &Judge::plain(512), Found { kept, active })
}

fn run(first: usize, count: usize, source: Source) -> Run {
    Run {
        first,
        count,
        source,
    }
}

#[test]
fn each_block_comes_from_the_cheapest_place() {
    use Source::{CopyFromActive, Fetch, Keep, Zero};
    //                 frame 0      frame 1      frame 2      frame 3
    let map = map(&[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9, 10, 11, 12, 1, 2], 4, 200);
    let active = index(&[9, 10, 1, 2, 3, 5, 1]);
    let kept = [false, false, false, true];
    let plan = planned(&map, &kept, Some(&active));
    assert_eq!(
        plan.runs(),
        [
            run(0, 3, CopyFromActive(2)),
            run(3, 1, Keep),
            run(4, 4, Fetch),
            run(8, 2, Zero),
            run(10, 2, CopyFromActive(0)),
            run(12, 4, Fetch),
        ]
    );
    // The 200 bytes between are cheaper than a second request.
    let [range] = plan.ranges() else {
        panic!("{:?}", plan.ranges());
    };
    assert_eq!(*range, 207..807);
    assert_eq!(plan.fetched(), 600);
    let bytes = |blocks: u64| blocks * 512;
    assert_eq!(
        plan.sums(),
        Sums {
            zero: bytes(2),
            kept: bytes(1),
            copied: bytes(5),
            decoded: bytes(8),
        }
    );
    let part: Vec<_> = plan.within(1..5).collect();
    assert_eq!(
        part,
        [
            run(1, 2, CopyFromActive(3)),
            run(3, 1, Keep),
            run(4, 1, Fetch),
        ]
    );
    assert_eq!(plan.within(20..30).count(), 0);
}

#[test]
fn nothing_is_fetched_of_what_is_there() {
    let map = map(&[1, 2, 3], 2, 200);
    let plan = planned(&map, &[true; 3], None);
    assert_eq!(plan.runs(), [run(0, 3, Source::Keep)]);
    assert_eq!((plan.ranges().len(), plan.fetched()), (0, 0));
}

#[test]
fn gaps_grow_before_there_are_too_many_requests() {
    // Every second frame is there, and each is longer than a gap worth fetching.
    let blocks: Vec<u8> = (0..=255).map(|block| block | 1).collect();
    let map = map(&blocks, 1, 500);
    let every = |step: usize| (0..256).map(|block| block % step == 0).collect::<Vec<_>>();
    assert_eq!(planned(&map, &every(2), None).ranges().len(), 1);

    let long = |blocks: &[u8]| super::tests::map(blocks, 128, 40_000);
    let blocks = vec![7; 128 * 300];
    let kept: Vec<bool> = (0..blocks.len())
        .map(|block| block / 128 % 2 == 0)
        .collect();
    let plan = planned(&long(&blocks), &kept, None);
    assert_eq!(plan.ranges().len(), 1);
    let kept: Vec<bool> = (0..blocks.len())
        .map(|block| block / 128 % 6 != 0)
        .collect();
    let plan = planned(&long(&blocks), &kept, None);
    assert_eq!((plan.ranges().len(), plan.fetched()), (50, 50 * 40_000));
}

proptest! {
    /// Every block once, what is needed lies in the ranges, and copies are of blocks with that hash.
    #[test]
    fn a_plan_has_every_block(
        blocks in prop::collection::vec(0_u8..20, 1..200),
        there in prop::collection::vec(0_u8..20, 0..100),
        kept in prop::collection::vec(any::<bool>(), 0..220),
        blocks_in_frame in 1_usize..9,
        frame_bytes in 1_u32..500,
    ) {
        let map = map(&blocks, blocks_in_frame, frame_bytes);
        let index = index(&there);
        let plan = planned(&map, &kept, Some(&index));
        let mut next = 0;
        for run in plan.runs() {
            prop_assert_eq!(run.first, next);
            prop_assert!(run.count > 0);
            next = run.end();
            for (nth, block) in (run.first..run.end()).enumerate() {
                match run.source {
                    Source::Zero => prop_assert_eq!(blocks[block], 0),
                    Source::Keep => prop_assert!(kept[block]),
                    Source::CopyFromActive(from) => {
                        let from = usize::try_from(from).unwrap() + nth;
                        prop_assert_eq!(there[from], blocks[block]);
                    }
                    Source::Fetch => {
                        let frame = map.frame_range(block / blocks_in_frame);
                        let is_fetched = |range: &Range<u64>| {
                            range.start <= frame.start && frame.end <= range.end
                        };
                        prop_assert!(plan.ranges().iter().any(is_fetched));
                    }
                }
            }
        }
        prop_assert_eq!(next, blocks.len());
        prop_assert!(plan.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        let sums = plan.sums();
        prop_assert_eq!(sums.zero + sums.kept + sums.copied + sums.decoded, map.parts().raw.length);
        let end = blocks.len();
        let parts: usize = plan.within(end / 3..end / 2).map(|run| run.count).sum();
        prop_assert_eq!(parts, end / 2 - end / 3);
    }
}

#[test]
fn what_turned_out_to_be_others_counts_as_fetched_and_the_sum_stays() {
    let planned = Sums {
        zero: 1,
        kept: 20,
        copied: 30,
        decoded: 40,
    };
    for (again, copied, kept) in [(0, 30, 20), (10, 20, 20), (30, 0, 20), (45, 0, 5)] {
        let decoded = Sums {
            decoded: again,
            kept: 91 - again,
            ..Sums::default()
        };
        let sums = planned.instead(decoded);
        let expected = Sums {
            copied,
            kept,
            decoded: 40 + again,
            ..planned
        };
        assert_eq!(sums, expected, "{again}");
        assert_eq!(sums.zero + sums.kept + sums.copied + sums.decoded, 91);
    }
}
