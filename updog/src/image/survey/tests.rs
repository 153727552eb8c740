use signpost::PartitionKind;
use signpost::testing::MemoryDevice;
use update_metadata::block_map::Codec;

use super::super::samples::{BLOCK, image, partition, plain, with_tree};
use super::*;

fn survey(watch: &Watch) -> Survey<'_> {
    Survey { threads: 2, watch }
}

fn device(bytes: &[u8]) -> MemoryDevice {
    MemoryDevice::new(bytes.to_vec(), 512)
}

#[test]
fn what_a_partition_has_is_found_by_reading_it() {
    let watch = Watch::nobody();
    let judge = Judge::plain(4096);
    let mut bytes = image(&(0..900).collect::<Vec<u16>>());
    // A rest that is no block.
    bytes.extend_from_slice(&[1; 100]);
    let index = survey(&watch)
        .read_through(&device(&bytes), &judge)
        .unwrap();
    for number in [1, 255, 256, 899] {
        let key = Judge::key(&judge.hash(&image(&[number])));
        assert_eq!(index.find(key, None), Some(u32::from(number)), "{number}");
    }
    assert_eq!(index.find(Judge::key(judge.zero()), None), None);
}

#[test]
fn a_tree_with_the_same_salt_says_what_its_image_has() {
    let bytes = image(&(0..900).collect::<Vec<u16>>());
    let (_, _, hash_image) = with_tree(&bytes, 16);
    let geometry = Geometry::from_superblock(&hash_image).unwrap();
    let judge = Judge::leaves(&geometry);
    let index = from_tree(&device(&hash_image), &geometry, &judge).unwrap();
    for number in [1, 127, 128, 899] {
        let key = Judge::key(&judge.hash(&image(&[number])));
        assert_eq!(index.find(key, None), Some(u32::from(number)), "{number}");
    }
    let other = Geometry {
        salt: b"other".to_vec(),
        ..geometry.clone()
    };
    assert!(from_tree(&device(&hash_image), &other, &judge).is_none());
    // Cut short, and no superblock at all.
    assert!(
        from_tree(
            &device(&hash_image[..hash_image.len() - 1]),
            &geometry,
            &judge
        )
        .is_none()
    );
    assert!(from_tree(&device(&[0; 8192]), &geometry, &judge).is_none());
}

#[test]
fn what_an_interrupted_run_wrote_is_found_in_its_place() {
    let watch = Watch::nobody();
    let judge = Judge::plain(4096);
    let wanted = image(&(0..1000).collect::<Vec<u16>>());
    let (_, map) = plain(&wanted, Codec::Lz4, 16);
    let (_, partition) = partition(PartitionKind::Root);
    let found = survey(&watch).in_place(&partition, &map, &judge).unwrap();
    assert!(found.is_empty());

    partition.write_at(0, &wanted[..600 * BLOCK]).unwrap();
    partition.write_at(550 * 4096, &[0xff; BLOCK]).unwrap();
    // The first block of a stretch does not speak for all of it.
    partition.write_at(256 * 4096, &[0xff; BLOCK]).unwrap();
    let found = survey(&watch).in_place(&partition, &map, &judge).unwrap();
    for (number, (found, block)) in found.iter().zip(wanted.chunks(BLOCK)).enumerate() {
        let is_there = number < 600 && number != 550 && number != 256;
        let expected = if is_there { judge.hash(block) } else { UNKNOWN };
        assert_eq!(*found, expected, "{number}");
    }
}

#[test]
fn a_last_block_that_is_short_is_found_in_its_place() {
    let watch = Watch::nobody();
    let judge = Judge::plain(4096);
    let mut wanted = image(&(1..300).collect::<Vec<u16>>());
    wanted.truncate(wanted.len() - 1000);
    let (_, map) = plain(&wanted, Codec::Lz4, 16);
    let (_, partition) = partition(PartitionKind::Root);
    partition.write_at(0, &wanted).unwrap();
    let found = survey(&watch).in_place(&partition, &map, &judge).unwrap();
    assert_eq!(found.len(), 299);
    assert!(!found.contains(&UNKNOWN));
}
