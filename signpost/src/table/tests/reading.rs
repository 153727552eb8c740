//! What is made of a table, above all of a bad one.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::super::*;
use crate::guid;
use crate::layout::Layout;
use crate::testing::MemoryDevice;
use crate::testing::raw::{BOOT_A, BOOT_B, Raw, SIDES, UNIT};

const FACTORY_A: u64 = 0x0101_0000_0000_0000;

fn read(raw: &Raw) -> Result<Table, Error> {
    Table::read(&raw.device())
}

/// The one damage of a table that can still be read.
fn damage(raw: &Raw) -> Option<(Side, Fault)> {
    let table = read(raw).unwrap();
    assert_eq!(table.attributes(BOOT_A), Some(FACTORY_A));
    table
        .damage()
        .map(|damage| (damage.side, damage.fault.clone()))
}

#[test]
fn a_sound_table_is_read_at_either_sector_size() {
    for sector in [512, 4096] {
        let table = read(&Raw::new(sector)).unwrap();
        assert_eq!(table.sector_size(), usize::try_from(sector).unwrap());
        assert_eq!(table.damage(), None);
        let entries = table.entries();
        assert_eq!(
            entries.iter().map(|e| e.number).collect::<Vec<_>>(),
            (1..14).collect::<Vec<_>>()
        );
        let boot_a = entries[2];
        assert_eq!(
            (boot_a.type_guid, boot_a.attributes),
            (guid::BOOT, FACTORY_A)
        );
        assert_eq!(boot_a.range, crate::layout::ByteRange::new(3 * UNIT, UNIT));
        assert_eq!(table.attributes(BOOT_B), Some(0));
        assert_eq!(table.attributes(14), None, "unused");
        assert_eq!(table.attributes(0), None);
        assert_eq!(table.attributes(u32::MAX), None);
        assert!(Layout::from_entries(&entries).is_ok());
    }
}

#[test]
fn a_disk_image_of_large_sectors_is_recognised_in_a_file_that_has_none() {
    for (sector, hint) in [(4096, 512), (512, 4096), (512, 0), (4096, 2048)] {
        let device = MemoryDevice::new(Raw::new(sector).bytes, hint);
        let table = Table::read(&device).unwrap();
        assert_eq!(
            table.sector_size(),
            usize::try_from(sector).unwrap(),
            "hint {hint}"
        );
    }
}

#[test]
fn every_damaged_byte_of_one_copy_makes_the_other_one_count() {
    let raw = Raw::new(512);
    for side in SIDES {
        let places = raw.header(side).chain(raw.entries(side).step_by(61));
        for place in places {
            let mut bad = raw.clone();
            bad.bytes[place] ^= 0x40;
            let found = damage(&bad);
            assert_eq!(
                found.as_ref().map(|(side, _)| *side),
                Some(side),
                "byte {place}"
            );
            assert_ne!(found.unwrap().1, Fault::Differs, "byte {place}");
        }
    }
}

/// A change of a header field, with the checksum made right again so that only the field is wrong.
fn with_field(side: Side, offset: usize, value: &[u8]) -> Raw {
    let mut raw = Raw::new(512);
    let header = raw.header(side);
    let before = raw.clone();
    let at = header.start + offset;
    raw.bytes[at..at + value.len()].copy_from_slice(value);
    // The header's place is looked up in the header, which may just have been made to lie.
    raw.put_u32(header.start + 16, 0);
    let sum = crate::testing::raw::crc32(&raw.bytes[header.clone()]);
    raw.put_u32(header.start + 16, sum);
    assert_ne!(raw.bytes[header.clone()], before.bytes[header]);
    raw
}

#[test]
fn fields_that_would_lead_the_parser_astray_are_caught_before_it_sees_them() {
    let last = u64::try_from(Raw::new(512).bytes.len()).unwrap() / 512 - 1;
    let address = |field, lba| Fault::Address { field, lba };
    let own = |lba| address("own place", lba);
    let twin = |lba| address("other header", lba);
    let first_usable = |lba| address("first usable sector", lba);
    let last_usable = |lba| address("last usable sector", lba);
    let array = |lba| address("entry array", lba);
    let word = |value: u32| value.to_le_bytes().to_vec();
    let long = |value: u64| value.to_le_bytes().to_vec();
    let (primary, backup) = (Side::Primary, Side::Backup);

    let cases: Vec<(Side, usize, Vec<u8>, Fault)> = vec![
        (primary, 0, b"EFI PARK".to_vec(), Fault::NoSignature),
        (
            primary,
            8,
            word(0x0002_0000),
            Fault::Revision {
                revision: 0x0002_0000,
            },
        ),
        (primary, 12, word(0), Fault::HeaderSize { size: 0 }),
        (primary, 12, word(96), Fault::HeaderSize { size: 96 }),
        (
            backup,
            12,
            word(u32::MAX),
            Fault::HeaderSize { size: u32::MAX },
        ),
        (primary, 24, long(2), own(2)),
        (backup, 24, long(last - 1), own(last - 1)),
        (primary, 32, long(0), twin(0)),
        (primary, 32, long(1), twin(1)),
        (primary, 32, long(last + 1), twin(last + 1)),
        (primary, 32, long(u64::MAX), twin(u64::MAX)),
        (backup, 32, long(2), twin(2)),
        (primary, 40, long(u64::MAX), first_usable(u64::MAX)),
        (primary, 40, long(33), array(2)),
        (primary, 48, long(u64::MAX), last_usable(u64::MAX)),
        (backup, 48, long(last), last_usable(last)),
        (primary, 72, long(0), array(0)),
        (primary, 72, long(1), array(1)),
        (primary, 72, long(3), array(3)),
        (primary, 72, long(u64::MAX), array(u64::MAX)),
        (backup, 72, long(last), array(last)),
        (backup, 72, long(34), array(34)),
        (backup, 72, long(u64::MAX - 16), array(u64::MAX - 16)),
        (primary, 80, word(0), Fault::EntryCount { count: 0 }),
        (backup, 80, word(1025), Fault::EntryCount { count: 1025 }),
        (
            primary,
            80,
            word(u32::MAX),
            Fault::EntryCount { count: u32::MAX },
        ),
        (primary, 80, word(1024), array(2)),
        (primary, 80, word(127), Fault::EntriesChecksum),
        (primary, 84, word(0), Fault::EntrySize { size: 0 }),
        (primary, 84, word(256), Fault::EntrySize { size: 256 }),
        (
            backup,
            84,
            word(u32::MAX),
            Fault::EntrySize { size: u32::MAX },
        ),
        (primary, 88, word(0), Fault::EntriesChecksum),
    ];
    for (side, offset, value, fault) in cases {
        let raw = with_field(side, offset, &value);
        // When the primary lies about the backup's place, that is where it is still found: at the
        // end of the disk.
        assert_eq!(
            damage(&raw),
            Some((side, fault)),
            "{side} {offset} {value:?}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_told_from_wrong_fields() {
    for side in SIDES {
        let mut raw = Raw::new(512);
        let sum = raw.header(side).start + 16;
        raw.bytes[sum] ^= 1;
        assert_eq!(damage(&raw), Some((side, Fault::HeaderChecksum)));
        let mut raw = Raw::new(512);
        let entry = raw.entry(side, 1).start;
        raw.bytes[entry] ^= 1;
        assert_eq!(damage(&raw), Some((side, Fault::EntriesChecksum)));
    }
}

#[test]
fn of_two_sound_copies_that_differ_the_primary_counts() {
    let mut raw = Raw::new(512);
    raw.set_attributes(Side::Backup, BOOT_A, 0);
    assert_eq!(damage(&raw), Some((Side::Backup, Fault::Differs)));

    let mut raw = Raw::new(512);
    raw.set_attributes(Side::Primary, BOOT_B, 0x0012 << 48);
    let table = read(&raw).unwrap();
    assert_eq!(table.attributes(BOOT_B), Some(0x0012 << 48));
    assert_eq!(table.damage().map(|d| d.side), Some(Side::Backup));

    let mut raw = Raw::new(512);
    let disk_guid = raw.header(Side::Backup).start + 56;
    raw.bytes[disk_guid] ^= 1;
    raw.fix_header(Side::Backup);
    assert_eq!(damage(&raw), Some((Side::Backup, Fault::Differs)));
}

#[test]
fn two_damaged_copies_are_refused_with_what_is_wrong_with_each() {
    let mut raw = Raw::new(512);
    let (primary, backup) = (
        raw.header(Side::Primary).start,
        raw.entry(Side::Backup, 1).start,
    );
    raw.bytes[primary + 16] ^= 1;
    raw.bytes[backup] ^= 1;
    let error = read(&raw).unwrap_err();
    assert_eq!(
        error.to_string(),
        "both partition tables of memory are damaged: of the primary, the checksum of its header \
         does not match; of the backup, the checksum of its entries does not match"
    );
    assert!(error.advice().unwrap().contains("sgdisk --load-backup"));
}

#[test]
fn a_disk_without_a_table_is_said_to_have_none() {
    for length in [0, 1, 511, 512, 1024, 1536, 4096, 12_288, 1 << 20] {
        let device = MemoryDevice::new(vec![0; length], 512);
        let error = Table::read(&device).unwrap_err();
        assert!(matches!(error, Error::NoTable { .. }), "{length}: {error}");
        assert_eq!(error.to_string(), "memory has no GUID partition table");
    }
}

#[test]
fn a_truncated_image_is_refused_because_its_partitions_are_gone() {
    let raw = Raw::new(512);
    for length in [
        raw.bytes.len() - 512,
        raw.bytes.len() / 2,
        34 * 512,
        3 * 512,
        1024,
    ] {
        let device = MemoryDevice::new(raw.bytes[..length].to_vec(), 512);
        let error = Table::read(&device).unwrap_err();
        let damaged = matches!(error, Error::BothDamaged { .. });
        assert!(damaged || length == 1024, "{length}: {error}");
    }
}

/// The image as it is after it was put onto a larger disk.
fn grown() -> Raw {
    let mut raw = Raw::new(512);
    raw.bytes.resize(raw.bytes.len() + (1 << 20) + 512, 0);
    raw
}

#[test]
fn on_a_larger_disk_the_backup_is_where_the_primary_says() {
    assert_eq!(damage(&grown()), None);
    let mut raw = grown();
    let entry = raw.entry(Side::Primary, 1).start;
    raw.bytes[entry] ^= 1;
    assert_eq!(damage(&raw), Some((Side::Primary, Fault::EntriesChecksum)));
    let mut raw = grown();
    raw.bytes[512] = 0;
    assert!(matches!(
        read(&raw),
        Err(Error::BothDamaged { .. } | Error::NoTable { .. })
    ));
}

#[test]
fn a_foreign_entry_without_a_place_on_the_disk_is_nobodys_business() {
    for (first, last) in [
        (5, 4),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
        (1 << 40, 1 << 41),
    ] {
        let mut raw = Raw::new(512);
        for side in SIDES {
            let entry = raw.entry(side, 13).start;
            raw.put_u64(entry + 32, first);
            raw.put_u64(entry + 40, last);
            raw.fix(side);
        }
        let entries = read(&raw).unwrap().entries();
        assert_eq!(entries[12].range, None, "{first}..={last}");
        assert!(Layout::from_entries(&entries).is_ok());
    }
}

/// A disk some of whose bytes cannot be read.
#[derive(Debug)]
struct BadSectors {
    device: MemoryDevice,
    bad: Range<u64>,
    healed: AtomicBool,
}

impl BlockDevice for BadSectors {
    fn len(&self) -> u64 {
        self.device.len()
    }
    fn block_size(&self) -> u32 {
        self.device.block_size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset + u64::try_from(buf.len()).unwrap();
        let healed = self.healed.load(Ordering::Relaxed);
        if !healed && offset < self.bad.end && self.bad.start < end {
            return Err(io::Error::other("medium error"));
        }
        self.device.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        // Writing heals a sector, and the tests write all of them or none.
        self.healed.store(true, Ordering::Relaxed);
        self.device.write_at(offset, buf)
    }
    fn sync(&self) -> io::Result<()> {
        self.device.sync()
    }
    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
    fn name(&self) -> String {
        "bad".to_owned()
    }
}

#[test]
fn an_unreadable_copy_is_a_damaged_copy_and_is_written_anew() {
    let raw = Raw::new(512);
    for side in SIDES {
        for range in [raw.header(side), raw.entry(side, 1)] {
            let bad = u64::try_from(range.start).unwrap()..u64::try_from(range.end).unwrap();
            let device = Arc::new(BadSectors {
                device: raw.device(),
                bad,
                healed: AtomicBool::new(false),
            });
            let mut table = Table::read(&*device).unwrap();
            let Damage {
                side: found, fault, ..
            } = table.damage().unwrap().clone();
            assert!(matches!(fault, Fault::Unreadable { .. }), "{fault}");
            assert_eq!(found, side);
            table.set_attributes(BOOT_B, 0x0010 << 48).unwrap();
            assert_eq!(table.write(&*device).unwrap(), Written::Changed);
            let healed = Table::read(&device.device).unwrap();
            assert_eq!(healed.damage(), None);
            assert_eq!(healed.attributes(BOOT_B), Some(0x0010 << 48));
        }
    }
}

#[test]
fn an_unreadable_sector_0_is_a_lost_protective_mbr_and_is_written_anew() {
    let raw = Raw::new(512);
    let device = BadSectors {
        device: raw.device(),
        bad: 0..512,
        healed: AtomicBool::new(false),
    };
    let mut table = Table::read(&device).unwrap();
    assert!(matches!(
        table.mbr_fault(),
        Some(MbrFault::Unreadable { .. })
    ));
    assert_eq!(table.damage(), None);
    assert_eq!(table.write(&device).unwrap(), Written::Changed);
    assert!(device.device.to_bytes() == raw.bytes);
}

#[test]
fn a_disk_that_cannot_be_read_at_all_is_damaged_and_not_empty() {
    let device = MemoryDevice::new(vec![0; 1 << 20], 512);
    let device = BadSectors {
        device,
        bad: 0..1 << 20,
        healed: AtomicBool::new(false),
    };
    let error = Table::read(&device).unwrap_err();
    assert!(matches!(error, Error::BothDamaged { .. }), "{error}");
}

/// Reads, and if it is a table, changes and writes it, and reads it again.
fn exercise(bytes: Vec<u8>, hint: u32) {
    let device = MemoryDevice::new(bytes, hint);
    let Ok(mut table) = Table::read(&device) else {
        return;
    };
    let entries = table.entries();
    let _ = Layout::from_entries(&entries);
    let Some(entry) = entries.first() else { return };
    table
        .set_attributes(entry.number, !entry.attributes)
        .unwrap();
    if table.write(&device).is_ok() {
        let again = Table::read(&device).unwrap();
        assert_eq!(again.damage(), None);
        assert_eq!(again.attributes(entry.number), Some(!entry.attributes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000), large: bool
    ) {
        exercise(bytes, if large { 4096 } else { 512 });
    }

    #[test]
    fn headers_of_random_fields_with_right_checksums_never_panic(
        changes in proptest::collection::vec((any::<bool>(), 2usize..23, any::<u32>(), 0u8..4), 1..4)
    ) {
        let mut raw = Raw::new(512);
        let places = SIDES.map(|side| raw.header(side));
        for (backup, field, random, how) in changes {
            let header = places[usize::from(backup)].clone();
            let at = header.start + field * 4;
            // Around what is there, and around the limits, more often than anywhere.
            let value = match how {
                0 => random,
                1 => raw.u32_at(at).wrapping_add(random % 3).wrapping_sub(1),
                2 => random % 4,
                _ => u32::MAX - random % 4,
            };
            raw.put_u32(at, value);
            raw.put_u32(header.start + 16, 0);
            let sum = crate::testing::raw::crc32(&raw.bytes[header.clone()]);
            raw.put_u32(header.start + 16, sum);
        }
        exercise(raw.bytes, 512);
    }
}
