//! The power goes while a loader is at work.

use super::*;

/// What becomes of the sector that is being written when the power goes.
#[derive(Clone, Copy, Debug)]
enum Torn {
    Old,
    New,
    Garbage,
}

/// Every disk that a cut within these steps can leave: the writes before it are there, the sectors
/// of one write up to a place, and the sector at that place in each of its three states. Garbage
/// takes the whole physical block with it.
fn after_cuts(raw: &Raw, steps: &[Step], physical: usize) -> Vec<Raw> {
    let mut left = Vec::new();
    let mut durable = raw.clone();
    for step in steps {
        let Step::Write { lba, bytes } = step else {
            continue;
        };
        let start = usize::try_from(*lba).unwrap() * raw.sector;
        for (nth, sector) in bytes.chunks(raw.sector).enumerate() {
            let at = start + nth * raw.sector;
            for torn in [Torn::Old, Torn::New, Torn::Garbage] {
                let mut cut = durable.clone();
                match torn {
                    Torn::Old => {}
                    Torn::New => cut.bytes[at..at + sector.len()].copy_from_slice(sector),
                    Torn::Garbage => {
                        let block = at - at % physical;
                        let end = (block + physical).min(cut.bytes.len());
                        cut.bytes[block..end].fill(0x1b);
                    }
                }
                left.push(cut);
            }
            durable.bytes[at..at + sector.len()].copy_from_slice(sector);
        }
    }
    left.push(durable);
    left
}

const DISKS: [(u32, usize); 3] = [(512, 512), (512, 4096), (4096, 4096)];

#[test]
fn a_cut_while_the_try_is_spent_leaves_it_spent_or_not_and_something_to_boot() {
    for (sector, physical) in DISKS {
        let raw = disk(sector, 0x101, 0x012);
        for (name, loader) in LOADERS {
            let run = loader(&Disk::new(&raw));
            let mut picks = BTreeSet::new();
            for left in after_cuts(&raw, &run.steps, physical) {
                for (then, loader) in LOADERS {
                    let pick = loader(&Disk::new(&left)).pick;
                    assert!(pick.is_some(), "{name} cut, then {then}");
                    picks.insert(pick);
                }
            }
            assert_eq!(
                picks,
                BTreeSet::from([Some(Slot::A), Some(Slot::B)]),
                "{name}"
            );
        }
    }
}

#[test]
fn a_cut_while_grub_repairs_leaves_a_disk_that_it_repairs_next_time() {
    for (sector, physical) in DISKS {
        for side in SIDES {
            for part in [0, 1] {
                let good = disk(sector, 0x101, 0x002);
                let mut bad = good.clone();
                let place = [bad.header(side).start + 16, bad.entries(side).start][part];
                bad.bytes[place] ^= 1;
                let run = grub_boot(&Disk::new(&bad));
                for left in after_cuts(&bad, &run.steps, physical) {
                    let again = grub_boot(&Disk::new(&left));
                    assert_eq!(again.pick, Some(Slot::A), "{side}");
                    let repaired = after(&left, &again.steps);
                    assert!(tables(&repaired) == tables(&good), "{side}");
                    assert_eq!(strict_boot(&Disk::new(&left)).pick, Some(Slot::A), "{side}");
                }
            }
        }
    }
}

/// The same steps without the syncs in between, so that the sectors of the primary may arrive in any
/// order: this is what the order is for.
#[test]
fn without_the_order_a_cut_can_leave_nothing_for_grub_to_boot() {
    let raw = disk(512, 0x101, 0x012);
    let run = grub_boot(&Disk::new(&raw));
    let mut wrong = run.steps;
    // The primary's header, sync, entries, sync are the last four.
    let last = wrong.len() - 4;
    wrong.swap(last, last + 2);
    let dead = after_cuts(&raw, &wrong, 512)
        .iter()
        .filter(|left| grub_boot(&Disk::new(left)).pick.is_none())
        .count();
    assert!(dead > 0);
}
