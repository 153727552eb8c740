//! Which partitions make up sets, and what is refused, with its exact words.

use super::*;

const MIB: u64 = 1024 * 1024;

/// Entries of these types and numbers, a MiB each, one after the other in the order given.
fn entries(list: &[(u32, Guid)]) -> Vec<Entry> {
    let mut start = MIB;
    list.iter()
        .map(|&(number, type_guid)| {
            let range = ByteRange::new(start, MIB);
            start += MIB;
            let guid = Guid([u8::try_from(number).unwrap(); 16]);
            Entry {
                number,
                type_guid,
                guid,
                range,
                attributes: 0,
            }
        })
        .collect()
}

fn factory() -> Vec<Entry> {
    entries(&[
        (1, guid::BIOS_BOOT),
        (2, guid::EFI_SYSTEM),
        (3, guid::BOOT),
        (4, guid::ROOT),
        (5, guid::HASH),
        (6, guid::RESERVED),
        (7, guid::EFI_BACKUP),
        (8, guid::BOOT),
        (9, guid::ROOT),
        (10, guid::HASH),
        (11, guid::RESERVED),
        (12, guid::PRIVATE),
        (13, guid::DATA),
    ])
}

fn numbers(set: &PartitionSet) -> [u32; 3] {
    PartitionKind::ALL.map(|kind| set.get(kind).number)
}

#[test]
fn the_first_of_each_type_is_a_and_the_second_is_b() {
    let layout = Layout::from_entries(&factory()).unwrap();
    assert_eq!(numbers(layout.sets.a()), [3, 4, 5]);
    assert_eq!(numbers(layout.sets.b().unwrap()), [8, 9, 10]);
    assert_eq!(layout.private.number, 12);
    let root_b = layout.partition(Slot::B, PartitionKind::Root).unwrap();
    let guid = Guid([9; 16]);
    assert_eq!(
        *root_b,
        Partition {
            number: 9,
            start: 9 * MIB,
            length: MIB,
            guid
        }
    );
    assert_eq!(layout.slot_of(5), Some(Slot::A));
    assert_eq!(layout.slot_of(8), Some(Slot::B));
    assert_eq!(layout.slot_of(12), None);
}

#[test]
fn numbers_decide_and_not_the_order_in_memory() {
    let mut reversed = factory();
    reversed.reverse();
    assert_eq!(
        Layout::from_entries(&reversed),
        Layout::from_entries(&factory())
    );
}

#[test]
fn a_disk_with_one_boot_partition_has_set_a_only() {
    let single: Vec<_> = factory()
        .into_iter()
        .filter(|e| !(7..=11).contains(&e.number))
        .collect();
    let layout = Layout::from_entries(&single).unwrap();
    assert_eq!(numbers(layout.sets.a()), [3, 4, 5]);
    assert_eq!(layout.sets.b(), None);
    assert_eq!(layout.partition(Slot::B, PartitionKind::Boot), None);
}

#[test]
fn tables_that_break_a_rule_are_refused() {
    let without = |number: u32| -> Vec<Entry> {
        factory()
            .into_iter()
            .filter(|entry| entry.number != number)
            .collect()
    };
    let missing = |kind, slot, type_guid| Error::Missing {
        kind,
        slot,
        type_guid,
    };
    let third_boot = [factory(), entries(&[(14, guid::BOOT)])].concat();
    let cases = [
        (
            Vec::new(),
            missing(PartitionKind::Boot, Slot::A, guid::BOOT),
        ),
        (
            without(10),
            missing(PartitionKind::Hash, Slot::B, guid::HASH),
        ),
        (
            without(9),
            missing(PartitionKind::Root, Slot::B, guid::ROOT),
        ),
        (without(12), Error::NoPrivate),
        (third_boot, Error::TooManyBoot { count: 3 }),
        // Without A's root, B's root is the first of its type.
        (
            without(4),
            Error::OutOfSequence {
                slot: Slot::A,
                boot: 3,
                root: 9,
                hash: 5,
            },
        ),
        (
            entries(&[
                (3, guid::BOOT),
                (5, guid::ROOT),
                (4, guid::HASH),
                (6, guid::PRIVATE),
            ]),
            Error::OutOfSequence {
                slot: Slot::A,
                boot: 3,
                root: 5,
                hash: 4,
            },
        ),
        (
            entries(&[
                (3, guid::BOOT),
                (4, guid::ROOT),
                (6, guid::HASH),
                (7, guid::PRIVATE),
            ]),
            Error::OutOfSequence {
                slot: Slot::A,
                boot: 3,
                root: 4,
                hash: 6,
            },
        ),
        (
            entries(&[
                (2, guid::ROOT),
                (3, guid::BOOT),
                (4, guid::HASH),
                (7, guid::PRIVATE),
            ]),
            Error::OutOfSequence {
                slot: Slot::A,
                boot: 3,
                root: 2,
                hash: 4,
            },
        ),
    ];
    for (table, error) in cases {
        assert_eq!(Layout::from_entries(&table), Err(error));
    }
}

#[test]
fn a_set_that_shares_a_byte_with_any_partition_is_refused() {
    let overlapping = |number: usize, start: u64, length: u64| {
        let mut table = factory();
        table[number - 1].range = ByteRange::new(start, length);
        Layout::from_entries(&table)
    };
    // Root B grows one byte into hash B.
    let error = Err(Error::Overlap {
        number: 9,
        other: 10,
    });
    assert_eq!(overlapping(9, 9 * MIB, MIB + 1), error);
    // A foreign partition whose last byte is boot A's first.
    let error = Err(Error::Overlap {
        number: 3,
        other: 2,
    });
    assert_eq!(overlapping(2, 2 * MIB, MIB + 1), error);
    // The whole of set A within the data partition.
    assert_eq!(
        overlapping(13, 3 * MIB, 3 * MIB),
        Err(Error::Overlap {
            number: 3,
            other: 13
        })
    );
    // Two foreign partitions may do as they like.
    assert!(overlapping(1, 2 * MIB, MIB).is_ok());
}

#[test]
fn only_a_sets_own_partitions_have_to_be_on_the_disk() {
    let outside = |number: usize| {
        let mut table = factory();
        table[number - 1].range = None;
        Layout::from_entries(&table)
    };
    assert_eq!(outside(9), Err(Error::OutsideDisk { number: 9 }));
    assert_eq!(outside(12), Err(Error::OutsideDisk { number: 12 }));
    assert!(outside(13).is_ok());
}

#[test]
fn a_range_is_never_empty_and_never_past_the_end_of_numbers() {
    assert_eq!(ByteRange::new(5, 0), None);
    assert_eq!(ByteRange::new(u64::MAX, 1), None);
    assert_eq!(ByteRange::new(1, u64::MAX), None);
    let high = ByteRange::new(u64::MAX - 2, 2).unwrap();
    assert!(high.overlaps(ByteRange::new(0, u64::MAX).unwrap()));
    assert!(!high.overlaps(ByteRange::new(0, u64::MAX - 2).unwrap()));
}

#[test]
fn each_refusal_says_what_is_wrong_with_which_partition() {
    let changed = |number: usize, change: &dyn Fn(&mut Entry)| {
        let mut table = factory();
        change(&mut table[number - 1]);
        table
    };
    let without = |number: u32| -> Vec<Entry> {
        let kept = factory().into_iter();
        kept.filter(|entry| entry.number != number).collect()
    };
    let cases = [
        (
            Vec::new(),
            "there is no boot partition (type 6b636168-7420-6568-2070-6c616e657421) for set A",
        ),
        (
            without(10),
            "there is no hash partition (type 598f10af-c955-4456-6a99-7720068a6cea) for set B",
        ),
        (
            without(12),
            "there is no private partition (type 440408bb-eb0b-4328-a6e5-a29038fad706)",
        ),
        (
            changed(13, &|entry| entry.type_guid = guid::BOOT),
            "there are 3 boot partitions, and a disk has at most two sets",
        ),
        (
            changed(9, &|entry| entry.number = 14),
            "set B has boot, root and hash as partitions 8, 14 and 10, but the boot loader finds \
             them only in sequence",
        ),
        (
            changed(4, &|entry| entry.range = None),
            "partition 4 does not lie within the disk",
        ),
        (
            changed(8, &|entry| entry.range = factory()[2].range),
            "partitions 3 and 8 overlap",
        ),
    ];
    for (table, text) in cases {
        assert_eq!(Layout::from_entries(&table).unwrap_err().to_string(), text);
    }
}

#[test]
fn sets_with_one_identifier_cannot_be_told_apart() {
    let mut table = factory();
    assert_eq!(
        Layout::from_entries(&table).unwrap().check_identifiers(),
        Ok(())
    );
    table[7].guid = table[2].guid;
    let same = Layout::from_entries(&table).unwrap().check_identifiers();
    let guid = Guid([3; 16]);
    assert_eq!(same, Err(Error::SameIdentifier { a: 3, b: 8, guid }));
    let single: Vec<_> = factory()
        .into_iter()
        .filter(|e| e.number < 7 || e.number > 11)
        .collect();
    assert_eq!(
        Layout::from_entries(&single).unwrap().check_identifiers(),
        Ok(())
    );
}
