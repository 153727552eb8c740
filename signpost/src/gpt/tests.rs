//! Our reading of the format against gptman's and against the types of `gpt_disk_types`, on tables
//! that are good, damaged, and damaged with right checksums.

use std::io::{Cursor, Seek, SeekFrom};

use gpt_disk_types::{GptHeader, GptPartitionEntry};
use gptman::{GPTHeader, GPTPartitionEntry};
use proptest::prelude::*;

use super::*;
use crate::device::DeviceSectors;
use crate::guid::Guid;
use crate::testing::raw::{Raw, SIDES};

/// One copy as we read it, with the place of its header.
fn ours(raw: &Raw, side: Side) -> (u64, Result<SoundCopy, Unusable>) {
    let length = u64::try_from(raw.bytes.len()).unwrap();
    let geometry = Geometry::of_length(length, raw.sector).unwrap();
    let lba = match side {
        Side::Primary => PRIMARY_LBA,
        Side::Backup => geometry.last_lba(),
    };
    let device = raw.device();
    let disk = DeviceSectors::new(&device, raw.sector);
    (lba, SoundCopy::read(&disk, side, lba, &geometry))
}

/// What a parser that judges signature, revision, size and checksum only makes of a header that we
/// have found at fault.
fn is_header_by_itself(fault: &Fault) -> bool {
    !matches!(
        fault,
        Fault::NoSignature
            | Fault::Revision { .. }
            | Fault::HeaderSize { .. }
            | Fault::HeaderChecksum
    )
}

fn gptman_header(raw: &Raw, lba: u64) -> Option<GPTHeader> {
    let mut disk = Cursor::new(&raw.bytes);
    let offset = lba * u64::try_from(raw.sector).unwrap();
    disk.seek(SeekFrom::Start(offset)).unwrap();
    GPTHeader::read_from(&mut disk).ok()
}

/// The entries as gptman reads them; only for a header that we have passed.
fn gptman_entries(raw: &Raw, header: &GPTHeader) -> Option<Vec<GPTPartitionEntry>> {
    // It reads a little past the last entry.
    let mut bytes = raw.bytes.clone();
    bytes.extend([0; 128]);
    let sector = u64::try_from(raw.sector).unwrap();
    header.read_partitions(&mut Cursor::new(bytes), sector).ok()
}

fn type_at<T: bytemuck::AnyBitPattern>(raw: &Raw, offset: usize) -> T {
    let bytes = &raw.bytes[offset..offset + size_of::<T>()];
    bytemuck::pod_read_unaligned(bytes)
}

/// Both copies of a disk through all three.
fn compare(raw: &Raw) -> Result<(), TestCaseError> {
    for side in SIDES {
        let (lba, copy) = ours(raw, side);
        let header_at = usize::try_from(lba).unwrap() * raw.sector;
        let theirs = gptman_header(raw, lba);
        let typed: GptHeader = type_at(raw, header_at);
        let by_itself = match &copy {
            Ok(_) => true,
            Err(unusable) => is_header_by_itself(&unusable.fault),
        };
        prop_assert_eq!(by_itself, theirs.is_some(), "{} {:?}", side, copy);
        let by_type = typed.is_signature_valid()
            && typed.revision.0.to_u32() == 0x0001_0000
            && typed.header_size.to_u32() == 92
            && typed.calculate_header_crc32() == typed.header_crc32;
        prop_assert_eq!(by_itself, by_type, "{} {:?}", side, copy);

        let header = match &copy {
            Ok(copy) => Some(&copy.header),
            Err(unusable) => unusable.header.as_ref(),
        };
        if let (Some(header), Some(theirs)) = (header, theirs) {
            same_header(header, &theirs, &typed)?;
            prop_assert_eq!(
                &header.to_bytes()[..],
                &raw.bytes[header_at..header_at + 92]
            );
            let entries = gptman_entries(raw, &theirs);
            prop_assert_eq!(copy.is_ok(), entries.is_some(), "{} {:?}", side, copy);
            if let (Ok(copy), Some(entries)) = (&copy, entries) {
                same_entries(raw, copy, &entries)?;
            }
        }
    }
    Ok(())
}

fn same_header(
    header: &Header,
    theirs: &GPTHeader,
    typed: &GptHeader,
) -> Result<(), TestCaseError> {
    let gptman = Header {
        reserved: u32::from_le_bytes(theirs.reserved),
        own_lba: theirs.primary_lba,
        twin_lba: theirs.backup_lba,
        first_usable_lba: theirs.first_usable_lba,
        last_usable_lba: theirs.last_usable_lba,
        disk_guid: Guid(theirs.disk_guid),
        entries_lba: theirs.partition_entry_lba,
        entry_count: theirs.number_of_partition_entries,
        entries_checksum: theirs.partition_entry_array_crc32,
    };
    let by_type = Header {
        reserved: typed.reserved.to_u32(),
        own_lba: typed.my_lba.to_u64(),
        twin_lba: typed.alternate_lba.to_u64(),
        first_usable_lba: typed.first_usable_lba.to_u64(),
        last_usable_lba: typed.last_usable_lba.to_u64(),
        disk_guid: Guid({ typed.disk_guid }.to_bytes()),
        entries_lba: typed.partition_entry_lba.to_u64(),
        entry_count: typed.number_of_partition_entries.to_u32(),
        entries_checksum: typed.partition_entry_array_crc32.0.to_u32(),
    };
    prop_assert_eq!(header, &gptman);
    prop_assert_eq!(header, &by_type);
    Ok(())
}

fn same_entries(
    raw: &Raw,
    copy: &SoundCopy,
    theirs: &[GPTPartitionEntry],
) -> Result<(), TestCaseError> {
    let gptman = (1..).zip(theirs).filter(|(_, entry)| entry.is_used());
    let gptman = gptman.map(|(number, entry)| Entry {
        number,
        type_guid: Guid(entry.partition_type_guid),
        guid: Guid(entry.unique_partition_guid),
        first_lba: entry.starting_lba,
        last_lba: entry.ending_lba,
        attributes: entry.attribute_bits,
    });
    let start = usize::try_from(copy.header.entries_lba).unwrap() * raw.sector;
    let types = (1..=copy.header.entry_count)
        .zip((start..).step_by(ENTRY_SIZE))
        .map(|(number, at)| (number, type_at::<GptPartitionEntry>(raw, at)))
        .filter(|(_, entry)| entry.is_used())
        .map(|(number, entry)| Entry {
            number,
            type_guid: Guid({ entry.partition_type_guid }.0.to_bytes()),
            guid: Guid({ entry.unique_partition_guid }.to_bytes()),
            first_lba: entry.starting_lba.to_u64(),
            last_lba: entry.ending_lba.to_u64(),
            attributes: entry.attributes.0.to_u64(),
        });
    let used: Vec<_> = copy.entries.used().collect();
    prop_assert_eq!(&used, &gptman.collect::<Vec<_>>());
    prop_assert_eq!(&used, &types.collect::<Vec<_>>());
    Ok(())
}

/// Which checksums are made right again after the damage, so that the fields behind them are looked
/// at.
#[derive(Clone, Copy, Debug)]
enum Mended {
    Nothing,
    Header,
    Both,
}

fn mended() -> impl Strategy<Value = Mended> {
    prop_oneof![
        Just(Mended::Nothing),
        Just(Mended::Header),
        Just(Mended::Both)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn generated_tables_read_the_same(
        entries in proptest::collection::vec((1u32..=128, any::<[u8; 128]>()), 0..6), large: bool
    ) {
        let mut raw = Raw::with_foreign_bytes(if large { 4096 } else { 512 });
        for side in SIDES {
            for (number, bytes) in &entries {
                let place = raw.entry(side, *number);
                raw.bytes[place].copy_from_slice(bytes);
            }
            raw.fix(side);
            prop_assert!(ours(&raw, side).1.is_ok());
        }
        compare(&raw)?;
    }

    #[test]
    fn damaged_tables_are_judged_the_same(
        damage in proptest::collection::vec((any::<bool>(), 0usize..92 + 128 * 14, 1u8..), 1..4),
        mended in mended(),
        large: bool
    ) {
        let mut raw = Raw::new(if large { 4096 } else { 512 });
        let places = SIDES.map(|side| (raw.header(side), raw.entries(side)));
        for (second, place, xor) in damage {
            let (header, entries) = &places[usize::from(second)];
            let at = match place.checked_sub(92) {
                None => header.start + place,
                Some(place) => entries.start + place,
            };
            raw.bytes[at] ^= xor;
        }
        for (header, entries) in &places {
            if matches!(mended, Mended::Both) {
                let sum = crate::testing::raw::crc32(&raw.bytes[entries.clone()]);
                raw.put_u32(header.start + 88, sum);
            }
            if !matches!(mended, Mended::Nothing) {
                raw.put_u32(header.start + 16, 0);
                let sum = crate::testing::raw::crc32(&raw.bytes[header.clone()]);
                raw.put_u32(header.start + 16, sum);
            }
        }
        compare(&raw)?;
    }

    #[test]
    fn a_header_of_any_fields_is_parsed_back_from_its_bytes(
        fields: [u64; 5], guid: [u8; 16], words: [u32; 3]
    ) {
        let [own_lba, twin_lba, first_usable_lba, last_usable_lba, entries_lba] = fields;
        let [reserved, entry_count, entries_checksum] = words;
        let header = Header {
            reserved, own_lba, twin_lba, first_usable_lba, last_usable_lba,
            disk_guid: Guid(guid), entries_lba, entry_count, entries_checksum,
        };
        let bytes = header.to_bytes();
        let typed: GptHeader = bytemuck::pod_read_unaligned(&bytes);
        // It reads a little past the header.
        let mut sector = bytes.to_vec();
        sector.resize(512, 0);
        let theirs = GPTHeader::read_from(&mut Cursor::new(sector)).unwrap();
        same_header(&header, &theirs, &typed)?;
    }
}

#[test]
fn every_damaged_byte_of_either_copy_is_judged_the_same() {
    for sector in [512, 4096] {
        let good = Raw::new(sector);
        for side in SIDES {
            let places = good.header(side).chain(good.entries(side).step_by(331));
            for place in places {
                let mut bad = good.clone();
                bad.bytes[place] ^= 0x10;
                assert!(ours(&bad, side).1.is_err(), "{side} byte {place}");
                compare(&bad).unwrap();
            }
        }
    }
}

#[test]
fn other_attribute_bits_are_those_eight_bytes_and_no_more() {
    let mut raw = Raw::with_foreign_bytes(512);
    let (_, copy) = ours(&raw, Side::Primary);
    let entries = copy.unwrap().entries;
    let changed = entries.with_attributes(8, 0x1122_3344_5566_7788).unwrap();
    raw.set_attributes(Side::Primary, 8, 0x1122_3344_5566_7788);
    assert!(changed.bytes() == &raw.bytes[raw.entries(Side::Primary)]);
    assert!(!changed.agree_with(&entries));
    for number in [0, 129, u32::MAX] {
        assert_eq!(entries.with_attributes(number, 0), None);
    }
    assert_eq!(Entries::new(vec![0; 127], 1), None);
    assert_eq!(Entries::new(vec![0; 128], u32::MAX), None);
}

#[test]
fn headers_agree_only_if_they_point_at_each_other_and_say_the_same() {
    let raw = Raw::new(512);
    let [primary, backup] = SIDES.map(|side| ours(&raw, side).1.unwrap().header);
    assert!(primary.agrees_with(&backup) && backup.agrees_with(&primary));
    assert!(!primary.agrees_with(&primary));
    // Where the entries are, and the reserved bytes, are each copy's own.
    let own = Header {
        entries_lba: backup.entries_lba - 1,
        reserved: 1,
        ..backup.clone()
    };
    assert!(primary.agrees_with(&own));
    let changes: [fn(&mut Header); 7] = [
        |header| header.own_lba -= 1,
        |header| header.twin_lba += 1,
        |header| header.first_usable_lba += 1,
        |header| header.last_usable_lba -= 1,
        |header| header.disk_guid = Guid([0; 16]),
        |header| header.entry_count -= 1,
        |header| header.entries_checksum ^= 1,
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut other = backup.clone();
        change(&mut other);
        assert!(!primary.agrees_with(&other), "change {nth}");
    }
}
