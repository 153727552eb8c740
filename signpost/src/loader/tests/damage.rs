//! One bad copy, or two.

use super::*;

/// The places in a copy of which each byte counts, thinned out for the entries.
fn places(raw: &Raw, side: Side) -> impl Iterator<Item = usize> {
    raw.header(side).chain(raw.entries(side).step_by(419))
}

#[test]
fn grub_repairs_every_damage_of_one_copy_and_boots_as_if_there_were_none() {
    for sector in [512, 4096] {
        let good = disk(sector, 0x101, 0x002);
        for side in SIDES {
            for place in places(&good, side) {
                let mut bad = good.clone();
                bad.bytes[place] ^= 0x20;
                let run = grub_boot(&Disk::new(&bad));
                assert_eq!(run.pick, Some(Slot::A), "{side} byte {place}");
                assert!(
                    after(&bad, &run.steps).bytes == good.bytes,
                    "{side} byte {place}"
                );
            }
        }
    }
}

#[test]
fn grub_writes_only_the_damaged_copy_and_then_the_try() {
    for damaged in SIDES {
        let good = disk(512, 0x101, 0x012);
        let mut bad = good.clone();
        let header = bad.header(damaged).start;
        bad.bytes[header + 60] ^= 1;
        let run = grub_boot(&Disk::new(&bad));
        let copy = |side| {
            let header = Some(lba(&good, good.header(side).start));
            let entries = Some(lba(&good, good.entries(side).start));
            [header, None, entries, None]
        };
        let expected = [copy(damaged), copy(Side::Backup), copy(Side::Primary)].concat();
        assert_eq!((run.pick, order(&run.steps)), (Some(Slot::B), expected));
        let spent = disk(512, 0x101, 0x002);
        assert!(after(&bad, &run.steps).bytes == spent.bytes);
    }
}

#[test]
fn a_strict_loader_boots_from_the_other_copy_and_repairs_nothing() {
    for sector in [512, 4096] {
        let good = disk(sector, 0x101, 0x012);
        for side in SIDES {
            for place in places(&good, side) {
                let mut bad = good.clone();
                bad.bytes[place] ^= 0x20;
                let run = strict_boot(&Disk::new(&bad));
                assert_eq!(run.pick, Some(Slot::B), "{side} byte {place}");
                // The damage stays, and the try is off in the other copy.
                let mut expected = good.clone();
                expected.set_attributes(side.other(), BOOT_B, bits(0x002));
                expected.bytes[place] ^= 0x20;
                assert!(
                    after(&bad, &run.steps).bytes == expected.bytes,
                    "{side} byte {place}"
                );
            }
        }
    }
}

#[test]
fn with_both_copies_damaged_nothing_boots_and_nothing_is_written() {
    let good = disk(512, 0x101, 0x012);
    for primary in places(&good, Side::Primary).step_by(7) {
        for backup in places(&good, Side::Backup).step_by(7) {
            let mut bad = good.clone();
            bad.bytes[primary] ^= 1;
            bad.bytes[backup] ^= 1;
            for (name, loader) in LOADERS {
                let run = loader(&Disk::new(&bad));
                assert_eq!(run, LoaderRun::default(), "{name} {primary} {backup}");
            }
        }
    }
}

#[test]
fn of_two_good_copies_that_differ_the_primary_counts() {
    let mut raw = disk(512, 0x101, 0x000);
    raw.set_attributes(Side::Backup, BOOT_B, bits(0x012));
    let run = grub_boot(&Disk::new(&raw));
    assert_eq!(run.pick, Some(Slot::A));
    assert!(after(&raw, &run.steps).bytes == disk(512, 0x101, 0x000).bytes);
    let run = strict_boot(&Disk::new(&raw));
    assert_eq!((run.pick, run.steps), (Some(Slot::A), Vec::new()));

    let mut raw = disk(512, 0x101, 0x012);
    raw.set_attributes(Side::Backup, BOOT_B, 0);
    let run = grub_boot(&Disk::new(&raw));
    assert_eq!(run.pick, Some(Slot::B));
    assert!(after(&raw, &run.steps).bytes == disk(512, 0x101, 0x002).bytes);
    let run = strict_boot(&Disk::new(&raw));
    assert_eq!(run.pick, Some(Slot::B));
    let mut expected = disk(512, 0x101, 0x002);
    expected.set_attributes(Side::Backup, BOOT_B, 0);
    assert!(after(&raw, &run.steps).bytes == expected.bytes);
}

#[test]
fn a_sector_that_cannot_be_read_is_a_damaged_copy() {
    let raw = disk(512, 0x101, 0x002);
    for side in SIDES {
        let entries = raw.entries(side);
        let last = lba(&raw, entries.end - 1);
        for bad in [
            lba(&raw, raw.header(side).start),
            lba(&raw, entries.start),
            last,
        ] {
            for (name, loader) in LOADERS {
                let run = loader(&Disk::with_bad(&raw, [bad]));
                assert_eq!(run.pick, Some(Slot::A), "{name} sector {bad}");
                let writes = order(&run.steps).iter().flatten().count();
                assert_eq!(
                    writes,
                    if name == "grub" { 2 } else { 0 },
                    "{name} sector {bad}"
                );
                assert!(after(&raw, &run.steps).bytes == raw.bytes);
            }
        }
    }
    let both = SIDES.map(|side| lba(&raw, raw.header(side).start));
    for (name, loader) in LOADERS {
        let run = loader(&Disk::with_bad(&raw, both));
        assert_eq!(run, LoaderRun::default(), "{name}");
    }
}

/// The primary as it is when its entries were written and its header was not, beside a new backup.
#[test]
fn new_entries_under_the_old_header_are_a_disk_that_grub_does_not_boot() {
    let (old, new) = (disk(512, 0x101, 0x010), disk(512, 0x101, 0x012));
    let mut entries_first = new.clone();
    let header = old.header(Side::Primary);
    entries_first.bytes[header.clone()].copy_from_slice(&old.bytes[header.clone()]);
    assert_eq!(grub_boot(&Disk::new(&entries_first)), LoaderRun::default());
    let strict = strict_boot(&Disk::new(&entries_first));
    assert_eq!(strict.pick, Some(Slot::B));

    let mut header_first = new.clone();
    let entries = old.entries(Side::Primary);
    header_first.bytes[entries.clone()].copy_from_slice(&old.bytes[entries]);
    for (name, loader) in LOADERS {
        let run = loader(&Disk::new(&header_first));
        assert_eq!(run.pick, Some(Slot::B), "{name}");
    }
    let run = grub_boot(&Disk::new(&header_first));
    assert!(after(&header_first, &run.steps).bytes == disk(512, 0x101, 0x002).bytes);
}
