use signpost::PartitionKind;
use signpost::testing::MemoryDevice;
use update_metadata::block_map::Codec;

use super::super::index::Index;
use super::super::plan::Found;
use super::super::samples::{
    BLOCK, FromMemory, block, content, image, known, partition, plain, with_tree,
};
use super::super::verity::Geometry;
use super::*;
use crate::cancel::{Cancel, Signal};
use crate::image::judge::{Key, UNKNOWN};

const THREADS: usize = 3;

fn keys(judge: &Judge, bytes: &[u8]) -> Vec<Key> {
    bytes
        .chunks(BLOCK)
        .map(|block| Judge::key(&judge.hash(block)))
        .collect()
}

fn index(judge: &Judge, bytes: &[u8]) -> Index {
    Index::new(keys(judge, bytes), Judge::key(judge.zero()))
}

struct Case {
    kind: ImageKind,
    map: BlockMap,
    judge: Judge,
    partition: InactivePartition,
    active: MemoryDevice,
}

impl Case {
    fn boot(map: BlockMap, active: &[u8]) -> Self {
        Self {
            kind: ImageKind::Boot,
            map,
            judge: Judge::plain(4096),
            partition: partition(PartitionKind::Root).1,
            active: MemoryDevice::new(active.to_vec(), 512),
        }
    }

    fn plan(&self, kept: &[bool], active: Option<&Index>) -> Plan {
        let kept = &known(kept);
        Plan::new(&self.map, &self.judge, Found { kept, active })
    }

    fn apply(
        &self,
        plan: &Plan,
        hashes: &mut [Hash],
        fetched: &mut dyn Fetched,
    ) -> Result<Vec<usize>, ApplyError> {
        self.apply_on(THREADS, plan, hashes, fetched)
    }

    fn apply_on(
        &self,
        threads: usize,
        plan: &Plan,
        hashes: &mut [Hash],
        fetched: &mut dyn Fetched,
    ) -> Result<Vec<usize>, ApplyError> {
        let image = Image {
            kind: self.kind,
            map: &self.map,
            judge: &self.judge,
            partition: &self.partition,
            active: Some(&self.active),
        };
        apply(image, plan, hashes, fetched, threads, &Watch::nobody())
    }

    fn hashes(&self) -> Vec<Hash> {
        vec![UNKNOWN; self.map.block_count()]
    }
}

/// More than two pieces, with a last block that is short where it may be.
fn blocks() -> Vec<u16> {
    (0..700)
        .map(|number| if number % 5 == 0 { 0 } else { number })
        .collect()
}

#[test]
fn an_image_is_put_together_from_everywhere() {
    let mut wanted = image(&blocks());
    wanted.truncate(wanted.len() - 1000);
    for (codec, blocks_in_frame) in [(Codec::Lz4, 16), (Codec::Zstd, 3), (Codec::Lz4, 1024)] {
        let (file, map) = plain(&wanted, codec, blocks_in_frame);
        // The running set has some of it, elsewhere; some is in its place.
        let active = image(&(100..400).rev().collect::<Vec<u16>>());
        let case = Case::boot(map, &active);
        case.partition.write_at(0, &wanted[..50 * BLOCK]).unwrap();
        let kept = [true; 50];
        let index = index(&case.judge, &active);
        let plan = case.plan(&kept, Some(&index));
        let mut hashes = case.hashes();
        let mut fetched = FromMemory::new(&file, &plan);
        let lacking = case.apply(&plan, &mut hashes, &mut fetched).unwrap();
        assert!(lacking.is_empty());
        assert_eq!(u64::try_from(fetched.given).unwrap(), plan.fetched());
        assert!(content(&case.partition, wanted.len()) == wanted);
        for (hash, block) in hashes.iter().zip(wanted.chunks(BLOCK)) {
            assert_eq!(*hash, case.judge.hash(block));
        }
    }
}

#[test]
fn zeros_are_written_where_a_device_makes_none() {
    let wanted = image(&[0; 700]);
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    let before = vec![7; wanted.len() + BLOCK];
    case.partition.write_at(0, &before).unwrap();
    assert!(!case.partition.zero_at(0, BLOCK).unwrap());
    let plan = case.plan(&[], None);
    let mut hashes = case.hashes();
    let mut fetched = FromMemory::new(&file, &plan);
    let lacking = case.apply(&plan, &mut hashes, &mut fetched).unwrap();
    assert!(lacking.is_empty() && fetched.given == 0);
    let expected = [&wanted[..], &[7; BLOCK]].concat();
    assert!(content(&case.partition, expected.len()) == expected);
    assert!(hashes.iter().all(|hash| hash == case.judge.zero()));
}

#[test]
fn a_server_that_sends_everything_is_as_good() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    case.partition.write_at(0, &wanted[..400 * BLOCK]).unwrap();
    let plan = case.plan(&[true; 400], None);
    let lacking = case
        .apply(&plan, &mut case.hashes(), &mut FromMemory::whole(&file))
        .unwrap();
    assert!(lacking.is_empty());
    assert!(content(&case.partition, wanted.len()) == wanted);
}

#[test]
fn an_index_that_lies_costs_a_second_plan_and_lets_no_block_in() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    // The index is of what is wanted, but the disk has other blocks, and ends early.
    let case = Case::boot(map, &image(&[9; 300]));
    let index = index(&case.judge, &wanted);
    let plan = case.plan(&[true], Some(&index));
    assert_eq!(plan.fetched(), 0);
    let mut hashes = case.hashes();
    let lacking = case
        .apply(&plan, &mut hashes, &mut FromMemory::new(&file, &plan))
        .unwrap();
    // Those of zeros need nobody; block 9 is the one that is there.
    let expected: Vec<usize> = (0..700)
        .filter(|number| number % 5 != 0 && *number != 9)
        .collect();
    assert_eq!(lacking, expected);

    let mut kept = vec![true; case.map.block_count()];
    for &block in &lacking {
        kept[block] = false;
    }
    let plan = case.plan(&kept, None);
    let lacking = case
        .apply(&plan, &mut hashes, &mut FromMemory::new(&file, &plan))
        .unwrap();
    assert!(lacking.is_empty());
    assert!(content(&case.partition, wanted.len()) == wanted);
}

#[test]
fn what_is_known_to_be_there_is_left_alone() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    let plan = case.plan(&[true; 700], None);
    let mut hashes = known(&[true; 700]);
    // Nobody looks at the disk, which is empty.
    let lacking = case
        .apply(&plan, &mut hashes, &mut FromMemory::new(&file, &plan))
        .unwrap();
    assert!(lacking.is_empty());
    assert!(
        content(&case.partition, wanted.len())
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn the_leaves_are_those_of_the_tree() {
    let wanted = image(&blocks());
    let (file, map, hash_image) = with_tree(&wanted, 16);
    let geometry = Geometry::from_superblock(&hash_image).unwrap();
    let case = Case {
        kind: ImageKind::Root,
        map,
        judge: Judge::leaves(&geometry),
        partition: partition(PartitionKind::Root).1,
        active: MemoryDevice::new(Vec::new(), 512),
    };
    let plan = case.plan(&[], None);
    let mut hashes = case.hashes();
    case.apply(&plan, &mut hashes, &mut FromMemory::new(&file, &plan))
        .unwrap();
    let leaves = usize::try_from(geometry.leaves_offset().unwrap()).unwrap();
    assert!(hash_image[leaves..].starts_with(&hashes.into_flattened()));
}

#[test]
fn other_bytes_than_the_signed_ones_are_refused() {
    let wanted = image(&blocks());
    let (mut file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    let plan = case.plan(&[], None);
    let range = case.map.frame_range(20);
    let at = usize::try_from(range.start).unwrap();
    file[at + 5] ^= 1;
    let error = case
        .apply(
            &plan,
            &mut case.hashes(),
            &mut FromMemory::new(&file, &plan),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the bytes {} to {} of the compressed boot image are not what was signed",
            range.start, range.end
        )
    );
}

/// With frames longer than a piece there are no more buffers than threads.
#[test]
fn a_frame_that_is_refused_ends_it_however_few_buffers_there_are() {
    let wanted = image(&blocks());
    for (threads, blocks_in_frame) in [(1, 16), (2, 16), (1, 128), (2, 128), (9, 128)] {
        let (mut file, map) = plain(&wanted, Codec::Lz4, blocks_in_frame);
        let case = Case::boot(map, &wanted);
        let plan = case.plan(&[], None);
        let mut hashes = case.hashes();
        let mut fetched = FromMemory::new(&file, &plan);
        let lacking = case.apply_on(threads, &plan, &mut hashes, &mut fetched);
        assert!(lacking.unwrap().is_empty());

        let at = usize::try_from(case.map.frame_range(0).start).unwrap();
        file[at + 5] ^= 1;
        let mut hashes = case.hashes();
        let mut fetched = FromMemory::new(&file, &plan);
        let error = case.apply_on(threads, &plan, &mut hashes, &mut fetched);
        assert!(
            matches!(error, Err(ApplyError::OtherFrame { start: 7, .. })),
            "{threads} {blocks_in_frame}: {error:?}"
        );

        // Pieces for which nothing is fetched take a buffer, too.
        let index = index(&case.judge, &wanted);
        let plan = case.plan(&[], Some(&index));
        assert_eq!(plan.fetched(), 0);
        let mut hashes = case.hashes();
        let mut fetched = FromMemory::new(&file, &plan);
        let lacking = case.apply_on(threads, &plan, &mut hashes, &mut fetched);
        assert!(lacking.unwrap().is_empty());
    }
}

#[test]
fn a_map_that_was_signed_for_other_blocks_is_refused() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let mut parts = map.parts().clone();
    if let update_metadata::block_map::BlockHashes::Whole(hashes) = &mut parts.hashes {
        hashes[17] = hashes[18];
    }
    let case = Case::boot(BlockMap::new(parts).unwrap(), &[]);
    let plan = case.plan(&[], None);
    let error = case
        .apply(
            &plan,
            &mut case.hashes(),
            &mut FromMemory::new(&file, &plan),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the boot image decodes to another block at offset 69632 than its block map says"
    );
}

#[test]
fn a_transfer_that_ends_early_names_the_place() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    let plan = case.plan(&[], None);
    let range = case.map.frame_range(30);
    let end = usize::try_from(range.end).unwrap();
    let error = case
        .apply(
            &plan,
            &mut case.hashes(),
            &mut FromMemory::whole(&file[..end - 1]),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "fetching the boot image, at byte {} of its file",
            range.start
        )
    );
}

#[test]
fn a_disk_that_refuses_every_write_ends_it() {
    // Many more pieces than there are threads.
    let wanted = image(&(1..5000).collect::<Vec<u16>>());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    assert!(case.map.parts().raw.length > case.partition.len());
    let plan = case.plan(&[], None);
    let mut hashes = case.hashes();
    let mut fetched = FromMemory::new(&file, &plan);
    let error = case.apply(&plan, &mut hashes, &mut fetched).unwrap_err();
    assert!(
        matches!(error, ApplyError::Write { offset, .. } if offset >= case.partition.len()),
        "{error}"
    );
}

#[test]
fn a_run_that_is_to_stop_stops() {
    let wanted = image(&blocks());
    let (file, map) = plain(&wanted, Codec::Lz4, 16);
    let case = Case::boot(map, &[]);
    let plan = case.plan(&[], None);
    let cancel = Cancel::default();
    cancel.cancel(Signal::Interrupt);
    let watch = Watch::new(std::sync::Arc::new(crate::event::Unobserved), cancel);
    let image = Image {
        kind: case.kind,
        map: &case.map,
        judge: &case.judge,
        partition: &case.partition,
        active: None,
    };
    let ended = apply(
        image,
        &plan,
        &mut case.hashes(),
        &mut FromMemory::new(&file, &plan),
        THREADS,
        &watch,
    );
    assert!(matches!(ended, Err(ApplyError::Cancelled { .. })));
    assert!(content(&case.partition, BLOCK) == block(0));
}
