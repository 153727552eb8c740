//! The power goes in the middle of a write: what can be read then, and what a boot loader boots.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::*;
use crate::device::DeviceSectors;
use crate::loader::{grub_boot, strict_boot};
use crate::slot::Slot;
use crate::testing::raw::{BOOT_A, BOOT_B, PRIVATE, Raw, SIDES, grown};
use crate::testing::{MemoryDevice, Operation, RecordingDevice};

/// What the table says about set A, set B and the private partition.
type Bits = [u64; 3];

const NUMBERS: [u32; 3] = [BOOT_A, BOOT_B, PRIVATE];

const OLD: Bits = [0x0101 << 48, 0x0010 << 48, 0];
/// One sector of entries changes.
const NEW: Bits = [0x0101 << 48, 0x0012 << 48, 0];
/// Three do.
const ALL_NEW: Bits = [0x0100 << 48, 0x0102 << 48, 0x0200 << 48];

/// Samples of what became of many writes, besides every place at which they stopped.
const SAMPLES: usize = 30;

fn bits(table: &Table) -> Bits {
    NUMBERS.map(|number| table.attributes(number).unwrap())
}

fn write(device: &dyn BlockDevice, new: Bits) -> Result<Table, Error> {
    let mut table = Table::read(device)?;
    for (number, bits) in NUMBERS.into_iter().zip(new) {
        table.set_attributes(number, bits)?;
    }
    table.write(device)?;
    Ok(table)
}

/// What becomes of the writes since the last sync when the power goes: of each whether it arrived,
/// did not, or left its whole physical block as garbage.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Arrived,
    Garbage,
}

const FATES: [Fate; 3] = [Fate::Lost, Fate::Arrived, Fate::Garbage];

fn land(bytes: &mut [u8], offset: u64, data: &[u8], fate: Fate, physical: usize) {
    let start = usize::try_from(offset).unwrap();
    match fate {
        Fate::Lost => {}
        Fate::Arrived => bytes[start..start + data.len()].copy_from_slice(data),
        Fate::Garbage => {
            let block = start - start % physical;
            let end = (block + physical).min(bytes.len());
            bytes[block..end].fill(0xe5);
        }
    }
}

/// What became of so many writes, in every case that is tried: all combinations of few; of many each
/// place at which the writing stopped, with each fate of the last one, and samples, always the same.
fn fates(count: usize, random: &mut impl FnMut() -> usize) -> Vec<Vec<Fate>> {
    if count <= 4 {
        let all = 0..3usize.pow(u32::try_from(count).unwrap());
        let digit = |cut: usize, nth: usize| cut / 3usize.pow(u32::try_from(nth).unwrap()) % 3;
        return all
            .map(|cut| (0..count).map(|nth| FATES[digit(cut, nth)]).collect())
            .collect();
    }
    let mut cases = Vec::new();
    for cut in 0..3 * count {
        let fate = |nth: usize| match nth.cmp(&(cut / 3)) {
            Ordering::Less => Fate::Arrived,
            Ordering::Equal => FATES[cut % 3],
            Ordering::Greater => Fate::Lost,
        };
        cases.push((0..count).map(fate).collect());
    }
    for _ in 0..SAMPLES {
        // Garbage is rare: a drive tears the block that it is writing, not all of them.
        let fate = |chance: usize| {
            FATES[if chance.is_multiple_of(16) {
                2
            } else {
                chance % 2
            }]
        };
        cases.push((0..count).map(|_| fate(random())).collect());
    }
    cases
}

/// Every disk that a cut during these operations can leave behind.
fn after_cuts(raw: &Raw, operations: &[Operation], physical: usize, mut see: impl FnMut(Vec<u8>)) {
    let mut durable = raw.bytes.clone();
    let mut seed = 0x9e37_79b9u32;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        usize::try_from(seed >> 8).unwrap()
    };
    for group in operations.split_inclusive(|operation| *operation == Operation::Sync) {
        let writes: Vec<_> = group
            .iter()
            .filter_map(|operation| match operation {
                Operation::Write { offset, bytes } => Some((*offset, bytes)),
                Operation::Sync => None,
            })
            .collect();
        for fates in fates(writes.len(), &mut random) {
            let mut bytes = durable.clone();
            for ((offset, data), fate) in writes.iter().zip(fates) {
                land(&mut bytes, *offset, data, fate, physical);
            }
            see(bytes);
        }
        for (offset, data) in &writes {
            land(&mut durable, *offset, data, Fate::Arrived, physical);
        }
    }
    see(durable);
}

/// What the loaders boot from a disk: GRUB, then a strict one.
fn booted(device: &MemoryDevice, sector: usize) -> [Option<Slot>; 2] {
    let sectors = DeviceSectors::new(device, sector);
    [grub_boot(&sectors).pick, strict_boot(&sectors).pick]
}

/// What becomes of the same command when it is given again after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rerun {
    Finishes,
    /// Not when the header that was to lie there was torn into something that nobody can tell from
    /// somebody's data. The old backup is still good then, and the primary points to it.
    FinishesUnlessTheEndIsTorn,
}

/// Makes the change on `raw`, cuts it short in every way, and finishes the job with the same change.
fn survives(raw: &Raw, physical: usize, new: Bits, rerun: Rerun) {
    let device = RecordingDevice::new(Arc::new(raw.device()));
    assert_eq!(bits(&Table::read(&device).unwrap()), OLD);
    write(&device, new).unwrap();

    let (mut seen_new, mut unfinished) = (false, 0);
    after_cuts(raw, &device.take(), physical, |bytes| {
        let device = MemoryDevice::new(bytes, u32::try_from(raw.sector).unwrap());
        let picks = booted(&device, raw.sector);
        let found = bits(&Table::read(&device).expect("one copy is sound at every instant"));
        // By the old bits A boots, by the new ones B, and a loader reads them as we do.
        let expected = if found == OLD { Slot::A } else { Slot::B };
        assert_eq!(picks, [Some(expected); 2]);
        assert!(found == OLD || found == new, "{found:x?}");
        seen_new |= found == new;
        match write(&device, new) {
            Ok(_) => {
                let finished = Table::read(&device).unwrap();
                assert_eq!((bits(&finished), finished.damage()), (new, None));
                assert_eq!(finished.mbr_fault(), None);
                assert_eq!(booted(&device, raw.sector), [Some(Slot::B); 2]);
            }
            Err(Error::BackupNotAtEnd { .. }) if found == OLD => unfinished += 1,
            Err(error) => panic!("{error}"),
        }
    });
    assert!(seen_new);
    assert_eq!(unfinished > 0, rerun == Rerun::FinishesUnlessTheEndIsTorn);
}

fn with_old_bits(mut raw: Raw) -> Raw {
    for side in SIDES {
        raw.set_attributes(side, BOOT_B, OLD[1]);
    }
    raw
}

fn old(sector: u32) -> Raw {
    with_old_bits(Raw::new(sector))
}

/// The sizes of logical and physical sectors.
const DISKS: [(u32, usize); 3] = [(512, 512), (512, 4096), (4096, 4096)];

#[test]
fn a_cut_at_any_instant_leaves_the_old_bits_or_the_new_ones() {
    for (sector, physical) in DISKS {
        for new in [NEW, ALL_NEW] {
            survives(&old(sector), physical, new, Rerun::Finishes);
        }
    }
}

#[test]
fn a_cut_while_a_damaged_copy_is_restored_leaves_the_other_one() {
    for (sector, physical) in DISKS {
        for side in SIDES {
            let raw = old(sector);
            for place in [raw.header(side).start + 16, raw.entry(side, BOOT_B).start] {
                let mut raw = raw.clone();
                raw.bytes[place] ^= 1;
                survives(&raw, physical, NEW, Rerun::Finishes);
                survives(&raw, physical, ALL_NEW, Rerun::Finishes);
            }
        }
    }
}

/// No state is dead: there is a backup at the end before the primary is touched.
#[test]
fn a_cut_while_the_backup_is_moved_to_the_end_of_a_larger_disk_leaves_something_to_boot() {
    for (sector, physical) in DISKS {
        let raw = with_old_bits(grown(sector, 64 * 1024));
        for new in [NEW, ALL_NEW] {
            survives(&raw, physical, new, Rerun::FinishesUnlessTheEndIsTorn);
        }
        // With either copy damaged; without its header the primary would not be found any more.
        let places = [
            raw.entry(Side::Primary, BOOT_B).start,
            raw.header(Side::Backup).start + 16,
            raw.entry(Side::Backup, BOOT_B).start,
        ];
        for place in places {
            let mut raw = raw.clone();
            raw.bytes[place] ^= 1;
            survives(&raw, physical, NEW, Rerun::FinishesUnlessTheEndIsTorn);
        }
    }
}

/// What it was before: the same change with the backup where it is.
#[test]
fn without_the_move_a_cut_on_a_larger_disk_can_leave_nothing_to_boot() {
    let raw = with_old_bits(grown(512, 64 * 1024));
    let small = old(512);
    let device = RecordingDevice::new(Arc::new(small.device()));
    write(&device, NEW).unwrap();
    assert!(dead(&raw, &device.take()) > 0);
}

#[test]
fn a_cut_while_the_mbr_is_written_anew_leaves_the_backup() {
    for (sector, physical) in DISKS {
        let mut raw = old(sector);
        raw.bytes[510..512].fill(0);
        survives(&raw, physical, NEW, Rerun::Finishes);
    }
}

#[test]
fn a_cut_while_a_copy_is_repaired_leaves_a_disk_that_boots_and_can_be_repaired() {
    for (side, physical) in SIDES
        .into_iter()
        .flat_map(|side| [(side, 512), (side, 4096)])
    {
        let mut raw = old(512);
        let header = raw.header(side).start;
        raw.bytes[header + 16] ^= 1;
        let device = RecordingDevice::new(Arc::new(raw.device()));
        Table::read(&device).unwrap().repair(&device).unwrap();
        after_cuts(&raw, &device.take(), physical, |bytes| {
            let device = MemoryDevice::new(bytes, 512);
            assert_eq!(booted(&device, raw.sector), [Some(Slot::A); 2]);
            Table::read(&device).unwrap().repair(&device).unwrap();
            let repaired = Table::read(&device).unwrap();
            assert_eq!((bits(&repaired), repaired.damage()), (OLD, None));
        });
    }
}

#[test]
fn a_cut_between_the_copies_is_finished_by_the_next_write() {
    let mut raw = old(512);
    raw.set_attributes(Side::Backup, BOOT_B, NEW[1]);
    survives(&raw, 512, NEW, Rerun::Finishes);
}

/// The operations that change both copies of a table, in the order of the real ones.
fn operations(raw: &Raw) -> Vec<Operation> {
    let device = RecordingDevice::new(Arc::new(raw.device()));
    write(&device, NEW).unwrap();
    device.take()
}

/// How many of the disks that a cut can leave GRUB does not boot.
fn dead(raw: &Raw, operations: &[Operation]) -> usize {
    let mut dead = 0;
    after_cuts(raw, operations, 512, |bytes| {
        let device = MemoryDevice::new(bytes, 512);
        if booted(&device, raw.sector)[0].is_none() {
            dead += 1;
        }
    });
    dead
}

#[test]
fn each_wrong_order_of_the_same_writes_can_leave_a_disk_that_does_not_boot() {
    let raw = old(512);
    let right = operations(&raw);
    let [b_header, _, b_entries, _, p_header, _, p_entries, _] = right.as_slice() else {
        panic!("two writes and two syncs a copy: {right:?}");
    };
    let sync = Operation::Sync;
    let list = |operations: &[&Operation]| operations.iter().copied().cloned().collect::<Vec<_>>();
    let entries_first = list(&[
        b_header, &sync, b_entries, &sync, p_entries, &sync, p_header, &sync,
    ]);
    let header_not_synced = list(&[
        b_header, &sync, b_entries, &sync, p_header, p_entries, &sync,
    ]);
    let copies_not_synced = list(&[b_header, b_entries, p_header, p_entries, &sync]);

    assert_eq!(dead(&raw, &right), 0);
    for wrong in [entries_first, header_not_synced, copies_not_synced] {
        assert!(dead(&raw, &wrong) > 0, "{wrong:?}");
    }
}
