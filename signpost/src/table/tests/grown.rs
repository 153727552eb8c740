//! A disk that is larger than the image it was made from: the backup has to come to its end.

use std::sync::Arc;

use super::super::*;
use crate::testing::raw::{BOOT_B, Raw, SIDES, grown};
use crate::testing::{Operation, RecordingDevice};

const READY: u64 = 0x0012_0000_0000_0000;
const GROWTH: usize = 1 << 20;

fn change(raw: &Raw) -> (Table, Result<Written, Error>, Vec<u8>) {
    let device = raw.device();
    let mut table = Table::read(&device).unwrap();
    table.set_attributes(BOOT_B, READY).unwrap();
    let written = table.write(&device);
    (table, written, device.to_bytes())
}

fn refused(raw: &Raw) -> TailFault {
    let (_, written, bytes) = change(raw);
    let error = written.unwrap_err();
    assert!(bytes == raw.bytes, "something was written");
    assert!(error.advice().unwrap().contains("sgdisk -e"), "{error}");
    let Error::BackupNotAtEnd { source, .. } = error else {
        panic!("{error}");
    };
    source
}

fn last_sector(raw: &Raw) -> usize {
    raw.bytes.len() - raw.sector
}

#[test]
fn a_change_on_a_larger_disk_moves_the_backup_to_its_end_and_says_so() {
    for sector in [512, 4096] {
        let raw = grown(sector, GROWTH);
        let (table, written, bytes) = change(&raw);
        assert_eq!(written.unwrap(), Written::Changed);
        assert!(matches!(table.repaired(), [Repaired::BackupMoved { .. }]));
        let after = Raw {
            bytes,
            ..raw.clone()
        };
        assert_eq!(after.header(Side::Backup).start, last_sector(&raw));
        for side in SIDES {
            assert_eq!(after.attributes(side, BOOT_B), READY);
            let mut fixed = after.clone();
            fixed.fix(side);
            assert!(fixed.bytes == after.bytes, "{side}");
        }
        // Of the primary only the header and one sector of entries; what lies between stays.
        let entries = raw.entries(Side::Primary).end;
        let tail = 32 * 512 + raw.sector;
        assert!(after.bytes[entries..][..GROWTH] == raw.bytes[entries..][..GROWTH]);
        let old_end = raw.bytes.len() - GROWTH;
        assert!(
            after.bytes[..raw.bytes.len() - tail][old_end..]
                .iter()
                .all(|byte| *byte == 0)
        );
    }
}

#[test]
fn a_repair_and_a_rewrite_move_it_too_and_a_second_one_has_nothing_to_move() {
    for sector in [512, 4096] {
        let raw = grown(sector, GROWTH);
        let device = raw.device();
        assert_eq!(
            Table::read(&device).unwrap().repair(&device).unwrap(),
            Written::Changed
        );
        let moved = device.to_bytes();
        assert_eq!(
            Table::read(&device).unwrap().repair(&device).unwrap(),
            Written::Nothing
        );
        let other = raw.device();
        Table::read(&other).unwrap().rewrite(&other).unwrap();
        assert!(other.to_bytes() == moved);
    }
}

/// The new backup is whole, synced and read back before a byte of the primary is written.
#[test]
fn the_primary_is_not_touched_before_there_is_a_backup_at_the_end() {
    let raw = grown(512, GROWTH);
    let device = RecordingDevice::new(Arc::new(raw.device()));
    Table::read(&device).unwrap().repair(&device).unwrap();
    let is_primary = |operation: &Operation| matches!(operation, Operation::Write { offset, .. } if *offset < 34 * 512);
    let operations = device.take();
    let first = operations.iter().position(is_primary).unwrap();
    // A header, a sync, 32 sectors of entries, a sync.
    assert_eq!((first, &operations[first - 1]), (35, &Operation::Sync));
    assert_eq!(operations.iter().filter(|done| is_primary(done)).count(), 1);
}

#[test]
fn an_older_table_at_the_end_does_not_count_and_is_written_over() {
    let mut raw = grown(512, GROWTH);
    // Sound, with another identifier of the disk and other bits, at the end of this disk.
    let mut old = Raw::new(512);
    let guid = old.header(Side::Backup).start + 56;
    old.bytes[guid] ^= 1;
    old.set_attributes(Side::Backup, BOOT_B, 0x0101 << 48);
    let old_backup = old.bytes.len() - 33 * 512;
    let end = raw.bytes.len() - 33 * 512;
    raw.bytes[end..].copy_from_slice(&old.bytes[old_backup..]);
    let (last, header) = (raw.bytes.len() / 512 - 1, last_sector(&raw));
    raw.put_u64(header + 24, u64::try_from(last).unwrap());
    raw.put_u64(header + 72, u64::try_from(last - 32).unwrap());
    let sum_of = |raw: &Raw| crate::testing::raw::crc32(&raw.bytes[header..header + 92]);
    raw.put_u32(header + 16, 0);
    raw.put_u32(header + 16, sum_of(&raw));

    let (table, written, _) = change(&raw);
    assert_eq!(written.unwrap(), Written::Changed);
    assert!(matches!(table.repaired(), [Repaired::BackupMoved { .. }]));
    assert_eq!(table.attributes(BOOT_B), Some(READY));

    // When the primary header is lost nobody knows better; but it is said.
    raw.bytes[512] ^= 1;
    let table = Table::read(&raw.device()).unwrap();
    assert_eq!(table.attributes(BOOT_B), Some(0x0101 << 48));
    assert_eq!(
        table.damage().unwrap().to_string(),
        "the primary partition table is not in order: it has no signature (the copy in the last \
         sector is the only one)"
    );
}

#[test]
fn where_the_end_of_the_disk_is_taken_nothing_is_written() {
    let raw = grown(512, GROWTH);
    for back in [512, 512 + 32 * 512] {
        let mut taken = raw.clone();
        let at = taken.bytes.len() - back;
        taken.bytes[at] = 1;
        let lba = u64::try_from(at / 512).unwrap();
        assert_eq!(refused(&taken), TailFault::Data { lba });
    }
    let mut taken = raw.clone();
    let at = taken.bytes.len() - 512 - 32 * 512 - 1;
    taken.bytes[at] = 1;
    assert!(change(&taken).1.is_ok(), "one byte before");

    let mut reached = raw.clone();
    let last = u64::try_from(raw.bytes.len() / 512).unwrap() - 33;
    for side in SIDES {
        let entry = reached.entry(side, 13).start;
        reached.put_u64(entry + 40, last);
        reached.fix(side);
    }
    assert_eq!(refused(&reached), TailFault::Partition { number: 13 });
}

/// The new backup would take up sectors of the old one, which is all there is.
#[test]
fn the_only_sound_copy_is_not_written_over_on_a_slightly_larger_disk() {
    let raw = grown(512, 8 * 512);
    let (table, written, _) = change(&raw);
    assert_eq!(written.unwrap(), Written::Changed, "the primary is sound");
    assert_eq!(table.damage(), None);
    let mut torn = raw.clone();
    let entry = torn.entry(Side::Primary, BOOT_B).start;
    torn.bytes[entry] ^= 1;
    assert_eq!(refused(&torn), TailFault::OnlyCopy);
}
