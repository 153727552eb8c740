//! The power goes in the middle of a write: what can be read then, and what a boot loader boots.

use std::sync::Arc;

use super::super::*;
use crate::device::DeviceSectors;
use crate::loader::{grub_boot, strict_boot};
use crate::slot::Slot;
use crate::testing::raw::{BOOT_A, BOOT_B, Raw, SIDES};
use crate::testing::{MemoryDevice, Operation, RecordingDevice};

/// What the table says about both sets.
type Bits = [u64; 2];

const OLD: Bits = [0x0101 << 48, 0x0010 << 48];
const NEW: Bits = [0x0101 << 48, 0x0012 << 48];

fn bits(table: &Table) -> Bits {
    [BOOT_A, BOOT_B].map(|number| table.attributes(number).unwrap())
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

/// Every disk that a cut during these operations can leave behind.
fn after_cuts(raw: &Raw, operations: &[Operation], physical: usize, mut see: impl FnMut(Vec<u8>)) {
    let mut durable = raw.bytes.clone();
    for group in operations.split_inclusive(|operation| *operation == Operation::Sync) {
        let writes: Vec<_> = group
            .iter()
            .filter_map(|operation| match operation {
                Operation::Write { offset, bytes } => Some((*offset, bytes)),
                Operation::Sync => None,
            })
            .collect();
        // All combinations of fates for a few writes; for a whole copy, each place at which the
        // writing stopped, and what became of the last one.
        let few = writes.len() <= 4;
        let cuts = if few {
            3usize.pow(u32::try_from(writes.len()).unwrap())
        } else {
            3 * writes.len()
        };
        for cut in 0..cuts {
            let mut bytes = durable.clone();
            let mut rest = cut;
            for (nth, (offset, data)) in writes.iter().enumerate() {
                let fate = if few {
                    let fate = FATES[rest % 3];
                    rest /= 3;
                    fate
                } else if nth < cut / 3 {
                    Fate::Arrived
                } else if nth == cut / 3 {
                    FATES[cut % 3]
                } else {
                    Fate::Lost
                };
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

/// Makes the change on `raw`, cuts it short in every way, and finishes the job afterwards.
fn survives(raw: &Raw, physical: usize) {
    let device = RecordingDevice::new(Arc::new(raw.device()));
    let mut table = Table::read(&device).unwrap();
    assert_eq!(bits(&table), OLD);
    table.set_attributes(BOOT_B, NEW[1]).unwrap();
    table.write(&device).unwrap();

    let mut seen_new = false;
    after_cuts(raw, &device.take(), physical, |bytes| {
        let device = MemoryDevice::new(bytes, u32::try_from(raw.sector).unwrap());
        let picks = booted(&device, raw.sector);
        let mut table = Table::read(&device).expect("one copy is sound at every instant");
        let found = bits(&table);
        // By the old bits A boots, by the new ones B, and a loader reads them as we do.
        let expected = if found == OLD { Slot::A } else { Slot::B };
        assert_eq!(picks, [Some(expected); 2]);
        assert!(found == OLD || found == NEW, "{found:x?}");
        seen_new |= found == NEW;
        table.set_attributes(BOOT_B, NEW[1]).unwrap();
        table.write(&device).unwrap();
        table.rewrite(&device).unwrap();
        let finished = Table::read(&device).unwrap();
        assert_eq!((bits(&finished), finished.damage()), (NEW, None));
    });
    assert!(seen_new);
}

fn old(sector: u32) -> Raw {
    let mut raw = Raw::new(sector);
    for side in SIDES {
        raw.set_attributes(side, BOOT_B, OLD[1]);
    }
    raw
}

#[test]
fn a_cut_at_any_instant_leaves_the_old_bits_or_the_new_ones() {
    for (sector, physical) in [(512, 512), (512, 4096), (4096, 4096)] {
        survives(&old(sector), physical);
    }
}

#[test]
fn a_cut_while_a_damaged_copy_is_restored_leaves_the_other_one() {
    for side in SIDES {
        let mut raw = old(512);
        let header = raw.header(side).start;
        raw.bytes[header + 16] ^= 1;
        survives(&raw, 512);
        survives(&raw, 4096);
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
    survives(&raw, 512);
}

/// The operations that change both copies of a table, in the order of the real ones.
fn operations(raw: &Raw) -> Vec<Operation> {
    let device = RecordingDevice::new(Arc::new(raw.device()));
    let mut table = Table::read(&device).unwrap();
    table.set_attributes(BOOT_B, NEW[1]).unwrap();
    table.write(&device).unwrap();
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
