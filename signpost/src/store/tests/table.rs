//! What a command makes of a table that is not in order, whether or not it changes a bit itself.

use super::*;
use crate::table::Repaired;

/// B is valid and A runs; one copy is damaged.
fn damaged(side: Side) -> (Disk, Vec<u8>) {
    let disk = Disk::of(&DiskBuilder::new().bits(Slot::B, bits(0, 1, false)));
    let good = disk.memory.to_bytes();
    let header = match side {
        Side::Primary => 512,
        Side::Backup => good.len() - 512,
    };
    disk.memory.edit(|bytes| bytes[header] ^= 1);
    (disk, good)
}

#[test]
fn a_command_whose_bits_are_there_already_repairs_the_copy_that_a_cut_has_damaged() {
    for side in [Side::Primary, Side::Backup] {
        let (disk, good) = damaged(side);
        let mut store = disk.store(Slot::A);
        let outcome = store.run(Command::MarkInactiveValid, &Force::No).unwrap();
        assert_eq!(outcome.damage.map(|damage| damage.side), Some(side));
        assert!(!outcome.changed);
        assert!(disk.memory.to_bytes() == good, "{side}");
        assert_eq!(store.damage(), None);
    }
}

#[test]
fn a_refused_command_repairs_first_and_changes_no_bit() {
    for side in [Side::Primary, Side::Backup] {
        let (disk, good) = damaged(side);
        let mut store = disk.store(Slot::A);
        let error = store
            .run(Command::RollbackToInactive, &Force::No)
            .unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert!(matches!(store.repaired(), [Repaired::Copy(damage)] if damage.side == side));
        assert!(disk.memory.to_bytes() == good, "{side}");
    }
}

#[test]
fn a_loader_that_finds_no_try_to_spend_repairs_all_the_same() {
    let (disk, _) = damaged(Side::Primary);
    disk.store(Slot::A).select(SpendTry::Yes).unwrap();
    assert_eq!(disk.store(Slot::A).damage(), None);
}

#[test]
fn an_upgrade_given_again_is_told_that_the_set_boots_next_already() {
    let disk = Disk::of(&DiskBuilder::new().bits(Slot::B, bits(0, 1, false)));
    let mut store = disk.store(Slot::A);
    store.run(Command::UpgradeToInactive, &Force::No).unwrap();
    let error = store
        .run(Command::UpgradeToInactive, &Force::No)
        .unwrap_err();
    assert!(error.advice().unwrap().contains("boots next already"));
    // Its try is spent: it did not come up, and does not boot next.
    store.select(SpendTry::Yes).unwrap();
    let error = store
        .run(Command::UpgradeToInactive, &Force::No)
        .unwrap_err();
    assert!(error.advice().unwrap().starts_with("to start over"));
}

/// The kernel has the partitions elsewhere, so that none of them can be claimed.
#[test]
fn what_the_inactive_set_holds_is_not_given_up_while_its_partitions_cannot_be_had() {
    let disk = Disk::of(&DiskBuilder::new().bits(Slot::B, bits(0, 1, false)));
    let sys = factory();
    let mut store = known(&disk, &sys, (254, 4), ActiveChoice::Auto).unwrap();
    for command in [
        Command::ClearInactive,
        Command::MarkInactiveValid,
        Command::UpgradeToInactive,
    ] {
        let error = store.run(command, &Force::No).unwrap_err();
        assert!(
            matches!(error, Error::NodeDisagrees { .. }),
            "{command}: {error}"
        );
    }
    assert_eq!(disk.writes(), 0);
    store.run(Command::CancelUpgrade, &Force::No).unwrap();
}

/// A table in which one entry has this place, in sectors.
fn with_place(number: u32, first: u64, last: u64) -> Raw {
    let mut raw = Raw::new(512);
    for side in [Side::Primary, Side::Backup] {
        let entry = raw.entry(side, number).start;
        raw.put_u64(entry + 32, first);
        raw.put_u64(entry + 40, last);
        raw.fix(side);
    }
    raw
}

fn refusal(raw: &Raw) -> String {
    let error = BootDisk::read(Arc::new(raw.device())).unwrap_err();
    let boot_disk::Error::Layout { source, .. } = error else {
        panic!("{error}");
    };
    source.to_string()
}

#[test]
fn a_partition_of_a_set_that_lies_on_the_table_is_refused() {
    let last = u64::try_from(Raw::new(512).bytes.len()).unwrap() / 512 - 1;
    for (number, first, end) in [
        (9, 0, 63),
        (8, 1, 33),
        (8, 33, 40),
        (10, last - 33, last),
        (10, last - 33, last - 32),
        (12, 2, 3),
    ] {
        assert_eq!(
            refusal(&with_place(number, first, end)),
            format!(
                "partition {number} does not lie between the first and the last usable sector: it \
                 could overwrite the partition table"
            ),
            "{first}..={end}"
        );
    }
}

#[test]
fn a_foreign_partition_that_ends_past_the_disk_still_overlaps_the_set_it_starts_in() {
    let raw = Raw::new(512);
    let root_b = raw.u64_at(raw.entry(Side::Primary, 9).start + 32);
    for last in [1 << 40, u64::MAX] {
        let overlaps = refusal(&with_place(13, root_b + 1, last));
        assert_eq!(overlaps, "partitions 9 and 13 overlap");
    }
    let beyond = u64::try_from(raw.bytes.len()).unwrap() / 512;
    assert!(BootDisk::read(Arc::new(with_place(13, beyond, u64::MAX).device())).is_ok());
}
