//! What is written, and that nothing else is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::super::*;
use crate::testing::raw::{BOOT_A, BOOT_B, Raw, SIDES};
use crate::testing::{MemoryDevice, Operation, RecordingDevice};

const READY: u64 = 0x0012_0000_0000_0000;

fn recording(raw: &Raw) -> RecordingDevice {
    RecordingDevice::new(Arc::new(raw.device()))
}

/// Writes and syncs, with the offsets of the writes.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Write(usize),
    Sync,
}

fn done(operations: Vec<Operation>, sector: usize) -> Vec<Done> {
    operations
        .into_iter()
        .map(|operation| match operation {
            Operation::Write { offset, bytes } => {
                assert_eq!(bytes.len(), sector, "one sector at a time");
                Done::Write(usize::try_from(offset).unwrap())
            }
            Operation::Sync => Done::Sync,
        })
        .collect()
}

/// The sectors of a copy that change with one boot partition's bits, the header durable first.
fn one_change(raw: &Raw, side: Side, number: u32) -> [Done; 4] {
    let entry = raw.entry(side, number).start;
    [
        Done::Write(raw.header(side).start),
        Done::Sync,
        Done::Write(entry - entry % raw.sector),
        Done::Sync,
    ]
}

/// Every sector of a copy, the header durable first.
fn whole(raw: &Raw, side: Side) -> Vec<Done> {
    let entries = raw.entries(side).step_by(raw.sector).map(Done::Write);
    [Done::Write(raw.header(side).start), Done::Sync]
        .into_iter()
        .chain(entries)
        .chain([Done::Sync])
        .collect()
}

#[test]
fn the_backup_is_written_and_synced_before_the_primary_and_only_changed_sectors_are() {
    for sector in [512, 4096] {
        let raw = Raw::new(sector);
        let device = recording(&raw);
        let mut table = Table::read(&device).unwrap();
        table.set_attributes(BOOT_B, READY).unwrap();
        assert_eq!(table.write(&device).unwrap(), Written::Changed);
        let expected: Vec<_> = [Side::Backup, Side::Primary]
            .into_iter()
            .flat_map(|side| one_change(&raw, side, BOOT_B))
            .collect();
        assert_eq!(done(device.take(), raw.sector), expected);
        assert_eq!(
            Table::read(&device).unwrap().attributes(BOOT_B),
            Some(READY)
        );
    }
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let raw = Raw::new(512);
    let device = recording(&raw);
    let mut table = Table::read(&device).unwrap();
    assert_eq!(table.write(&device).unwrap(), Written::Nothing);
    let bits = table.attributes(BOOT_A).unwrap();
    table.set_attributes(BOOT_A, bits).unwrap();
    assert_eq!(table.write(&device).unwrap(), Written::Nothing);
    table.set_attributes(BOOT_B, READY).unwrap();
    table.set_attributes(BOOT_B, 0).unwrap();
    assert_eq!(table.write(&device).unwrap(), Written::Nothing);
    // Whoever wrote it may not have come as far as this.
    assert_eq!(
        device.take(),
        [Operation::Sync, Operation::Sync, Operation::Sync]
    );
}

#[test]
fn a_damaged_primary_is_made_whole_before_the_backup_is_touched() {
    let raw = Raw::new(512);
    let mut bad = raw.clone();
    bad.bytes[512 + 16] ^= 1;
    let device = recording(&bad);
    let mut table = Table::read(&device).unwrap();
    table.set_attributes(BOOT_B, READY).unwrap();
    table.write(&device).unwrap();
    let mut expected = whole(&raw, Side::Primary);
    expected.extend(one_change(&raw, Side::Backup, BOOT_B));
    expected.extend(one_change(&raw, Side::Primary, BOOT_B));
    assert_eq!(done(device.take(), 512), expected);
    assert_eq!(table.damage(), None);
    assert_eq!(Table::read(&device).unwrap().damage(), None);
}

#[test]
fn a_backup_that_differs_is_made_a_copy_of_the_primary_first() {
    let mut raw = Raw::new(512);
    raw.set_attributes(Side::Backup, BOOT_A, 0);
    let device = recording(&raw);
    let mut table = Table::read(&device).unwrap();
    table.set_attributes(BOOT_B, READY).unwrap();
    table.write(&device).unwrap();
    let mut expected = whole(&raw, Side::Backup);
    expected.extend(one_change(&raw, Side::Backup, BOOT_B));
    expected.extend(one_change(&raw, Side::Primary, BOOT_B));
    assert_eq!(done(device.take(), 512), expected);
}

#[test]
fn a_damaged_copy_is_made_whole_also_when_nothing_changes() {
    for side in SIDES {
        let raw = Raw::new(512);
        let mut bad = raw.clone();
        let header = bad.header(side).start;
        bad.bytes[header] = 0;
        let device = recording(&bad);
        let mut table = Table::read(&device).unwrap();
        assert_eq!(table.write(&device).unwrap(), Written::Changed);
        assert_eq!(done(device.take(), 512), whole(&raw, side));
        assert!(matches!(table.repaired(), [Repaired::Copy(damage)] if damage.side == side));
    }
}

/// Only the entries are damaged; nobody knows what the bytes after the header mean.
#[test]
fn what_follows_a_sound_header_outlives_the_repair_of_its_entries() {
    for side in SIDES {
        let good = Raw::with_foreign_bytes(512);
        let mut bad = good.clone();
        let entry = bad.entry(side, BOOT_A).start;
        bad.bytes[entry] ^= 1;
        let device = bad.device();
        Table::read(&device).unwrap().repair(&device).unwrap();
        assert!(device.to_bytes() == good.bytes, "{side}");
    }
}

#[test]
fn rewriting_writes_both_copies_whole_and_changes_not_a_byte_of_a_sound_table() {
    for sector in [512, 4096] {
        let raw = Raw::with_foreign_bytes(sector);
        let memory = Arc::new(raw.device());
        let device = RecordingDevice::new(Arc::clone(&memory) as Arc<dyn BlockDevice>);
        Table::read(&device).unwrap().rewrite(&device).unwrap();
        let mut expected = whole(&raw, Side::Backup);
        expected.extend(whole(&raw, Side::Primary));
        assert_eq!(done(device.take(), raw.sector), expected);
        assert!(memory.to_bytes() == raw.bytes);
    }
}

/// Both copies, as they were, when one of them was wiped.
#[test]
fn a_wiped_copy_is_restored_byte_for_byte() {
    for sector in [512, 4096] {
        let raw = Raw::new(sector);
        for side in SIDES {
            for wiped in [
                vec![raw.header(side)],
                vec![raw.entries(side)],
                vec![raw.header(side), raw.entries(side)],
            ] {
                let mut bad = raw.clone();
                for range in wiped {
                    bad.bytes[range].fill(0xff);
                }
                let device = bad.device();
                Table::read(&device).unwrap().rewrite(&device).unwrap();
                let mut restored = Raw {
                    bytes: device.to_bytes(),
                    ..raw.clone()
                };
                // What followed the header was wiped too, and is zero as the format wants it.
                let header = restored.header(side);
                restored.bytes[header.end..header.start + restored.sector].fill(0);
                assert!(restored.bytes == raw.bytes, "{side} at {sector}");
            }
        }
    }
}

#[test]
fn a_table_that_fills_its_last_sector_only_in_part_keeps_what_follows() {
    let mut raw = Raw::new(512);
    for side in SIDES {
        let header = raw.header(side).start;
        raw.put_u32(header + 80, 13);
        let end = raw.entries(side).end;
        raw.bytes[end..end + 100].fill(0x3c);
        raw.fix(side);
    }
    let device = raw.device();
    let mut table = Table::read(&device).unwrap();
    assert_eq!(table.damage(), None);
    table.set_attributes(13, 7).unwrap();
    table.write(&device).unwrap();
    for side in SIDES {
        raw.set_attributes(side, 13, 7);
    }
    assert!(device.to_bytes() == raw.bytes);
}

#[test]
fn an_entry_that_is_not_there_cannot_be_changed() {
    let device = Raw::new(512).device();
    let mut table = Table::read(&device).unwrap();
    for number in [0, 14, 128, 129, u32::MAX] {
        let error = table.set_attributes(number, 1).unwrap_err();
        assert!(matches!(
            error,
            Error::Render {
                source: RenderError::NoEntry { .. },
                ..
            }
        ));
    }
    assert_eq!(table.write(&device).unwrap(), Written::Nothing);
}

#[test]
fn a_table_that_somebody_else_has_changed_is_not_overwritten() {
    for side in SIDES {
        let raw = Raw::new(512);
        let memory = Arc::new(raw.device());
        let device = RecordingDevice::new(Arc::clone(&memory) as Arc<dyn BlockDevice>);
        let mut table = Table::read(&device).unwrap();
        let mut theirs = raw.clone();
        theirs.set_attributes(side, 13, 4);
        memory.edit(|bytes| bytes.copy_from_slice(&theirs.bytes));
        table.set_attributes(BOOT_B, READY).unwrap();
        let error = table.write(&device).unwrap_err();
        assert!(matches!(error, Error::Stale { .. }), "{error}");
        assert_eq!(device.take(), []);
    }
}

#[test]
fn a_repair_writes_the_damaged_copy_and_nothing_else() {
    for sector in [512, 4096] {
        for side in SIDES {
            let good = Raw::with_foreign_bytes(sector);
            // The entries, so that the bytes after the header stay what they are.
            let mut bad = good.clone();
            let entry = bad.entry(side, BOOT_A).start;
            bad.bytes[entry] ^= 1;
            let memory = Arc::new(bad.device());
            let device = RecordingDevice::new(Arc::clone(&memory) as Arc<dyn BlockDevice>);
            let mut table = Table::read(&device).unwrap();
            table.set_attributes(BOOT_B, READY).unwrap();
            assert_eq!(table.repair(&device).unwrap(), Written::Changed);
            assert_eq!(done(device.take(), good.sector), whole(&good, side));
            assert_eq!(table.damage(), None);
            let found = Table::read(&device).unwrap();
            assert_eq!((found.damage(), found.attributes(BOOT_B)), (None, Some(0)));
            // It is whole now, and what was planned is planned still.
            assert_eq!(table.repair(&device).unwrap(), Written::Nothing);
            assert_eq!(device.take(), [Operation::Sync]);
            assert_eq!(table.write(&device).unwrap(), Written::Changed);
            let changed = Table::read(&device).unwrap().attributes(BOOT_B);
            assert_eq!(changed, Some(READY));
        }
    }
}

/// A disk that goes wrong from its `good`th write or sync on.
#[derive(Debug)]
struct Failing {
    device: MemoryDevice,
    good: AtomicU32,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It says so.
    Error,
    /// It says that all is well, and forgets what it was given.
    Lie,
}

impl Failing {
    fn new(raw: &Raw, good: u32, how: How) -> Self {
        Self {
            device: raw.device(),
            good: AtomicU32::new(good),
            how,
        }
    }

    fn fails(&self) -> bool {
        self.good
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_err()
    }
}

impl BlockDevice for Failing {
    fn len(&self) -> u64 {
        self.device.len()
    }
    fn block_size(&self) -> u32 {
        self.device.block_size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        match (self.fails(), self.how) {
            (false, _) => self.device.write_at(offset, buf),
            (true, How::Lie) => Ok(()),
            (true, How::Error) => Err(io::Error::other("broken")),
        }
    }
    fn sync(&self) -> io::Result<()> {
        if self.fails() && self.how == How::Error {
            return Err(io::Error::other("broken"));
        }
        Ok(())
    }
    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_back_at(offset, buf)
    }
    fn name(&self) -> String {
        "failing".to_owned()
    }
}

/// Two sectors and two syncs for each copy: eight operations in all.
#[test]
fn when_the_disk_fails_one_copy_is_sound_and_the_job_can_be_finished() {
    let raw = Raw::new(512);
    for how in [How::Error, How::Lie] {
        for good in 0..8 {
            let failing = Failing::new(&raw, good, how);
            let mut table = Table::read(&failing).unwrap();
            table.set_attributes(BOOT_B, READY).unwrap();
            let result = table.write(&failing);
            if how == How::Lie && matches!(good, 1 | 3 | 5 | 7) {
                // Only the sync did nothing, which is not to be noticed in memory.
                continue;
            }
            let error = result.unwrap_err();
            let side = if good < 4 { "backup" } else { "primary" };
            assert!(
                error
                    .to_string()
                    .contains(&format!("the {side} partition table")),
                "{error}"
            );
            if good < 4 {
                let bytes = failing.device.to_bytes();
                assert!(
                    bytes[..40 * 512] == raw.bytes[..40 * 512],
                    "the primary was touched"
                );
            }
            let mut table = Table::read(&failing.device).unwrap();
            table.set_attributes(BOOT_B, READY).unwrap();
            table.write(&failing.device).unwrap();
            let mut expected = raw.clone();
            for side in SIDES {
                expected.set_attributes(side, BOOT_B, READY);
            }
            assert!(failing.device.to_bytes() == expected.bytes);
        }
    }
}

#[test]
fn a_disk_that_forgets_is_named_with_the_place() {
    let raw = Raw::new(512);
    let failing = Failing::new(&raw, 0, How::Lie);
    let mut table = Table::read(&failing).unwrap();
    table.set_attributes(BOOT_B, READY).unwrap();
    let error = table.write(&failing).unwrap_err();
    let place = raw.header(Side::Backup).start;
    assert_eq!(
        error.to_string(),
        format!(
            "the backup partition table of failing does not hold what was written at offset {place}"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The whole disk afterwards, against the same change made by hand.
    #[test]
    fn nothing_changes_but_the_bits_that_were_asked_for_and_the_checksums(
        changes in proptest::collection::btree_map(1u32..14, any::<u64>(), 1..5), large: bool
    ) {
        let mut raw = Raw::with_foreign_bytes(if large { 4096 } else { 512 });
        let device = raw.device();
        let mut table = Table::read(&device).unwrap();
        for (number, bits) in changes {
            table.set_attributes(number, bits).unwrap();
            for side in SIDES {
                raw.set_attributes(side, number, bits);
            }
        }
        table.write(&device).unwrap();
        prop_assert!(device.to_bytes() == raw.bytes);
    }
}
