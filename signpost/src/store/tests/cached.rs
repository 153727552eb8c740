//! The system's memory and the medium say two things: a sync that failed, a program that died.

use super::*;
use crate::device::DeviceSectors;
use crate::loader::{grub_boot, strict_boot};
use crate::testing::CachedDevice;

/// A write and a sync for header and entries of each copy.
const OPERATIONS_OF_A_CHANGE: u32 = 8;
const SYNCS_OF_A_CHANGE: u32 = 4;

/// A runs, and B is armed by a rollback: to clear it is what an update begins with.
fn armed() -> Arc<CachedDevice> {
    let builder = DiskBuilder::new()
        .unit(32 * 1024)
        .bits(Slot::B, bits(2, 0, true));
    Arc::new(CachedDevice::new(builder.build().to_bytes(), 512))
}

fn store(device: &Arc<CachedDevice>) -> SlotStore {
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    SlotStore::from_device(device, ActiveChoice::Set(Slot::A)).unwrap()
}

/// What both loaders boot after a power cut.
fn after_a_cut(device: &CachedDevice) -> [Option<Slot>; 2] {
    device.cut_power();
    let sectors = DeviceSectors::new(device, 512);
    [grub_boot(&sectors).pick, strict_boot(&sectors).pick]
}

/// What goes wrong in the first run.
type Trouble = fn(&CachedDevice, u32);
const SYNC_FAILS: Trouble = |device, after| device.fail_sync_after(after);
const DIES: Trouble = |device, after| device.die_after(after);

/// Clears B, which goes wrong at one place, and clears it again.
fn clears_again(trouble: Trouble, at: u32) {
    let device = armed();
    trouble(&device, at);
    let failed = store(&device).run(Command::ClearInactive, &Force::No);
    assert!(failed.is_err(), "at {at}");
    device.revive();

    let mut again = store(&device);
    again.run(Command::ClearInactive, &Force::No).unwrap();
    for kind in PartitionKind::ALL {
        again.open_inactive(kind).unwrap();
    }
    assert_eq!(after_a_cut(&device), [Some(Slot::A); 2], "at {at}");
    let now = store(&device);
    assert_eq!(now.state().bits().b, bits(0, 0, false), "at {at}");
    assert_eq!(now.damage(), None, "at {at}");
}

#[test]
fn a_command_run_again_after_a_failed_sync_does_not_believe_the_cache() {
    for at in 0..SYNCS_OF_A_CHANGE {
        clears_again(SYNC_FAILS, at);
    }
}

#[test]
fn a_command_run_again_after_a_death_before_the_sync_makes_it_durable() {
    for at in 0..OPERATIONS_OF_A_CHANGE {
        clears_again(DIES, at);
    }
}

/// Without the command again: the set was never cleared on the medium.
#[test]
fn a_set_that_is_cleared_in_the_cache_only_is_not_opened_for_writing() {
    for at in 0..SYNCS_OF_A_CHANGE {
        let device = armed();
        device.fail_sync_after(at);
        let failed = store(&device).run(Command::ClearInactive, &Force::No);
        assert!(failed.is_err(), "at {at}");
        let opened = store(&device).open_inactive(PartitionKind::Root);
        assert!(opened.is_err(), "at {at}");
        assert!(after_a_cut(&device)[0].is_some(), "at {at}");
    }
}

/// It may be: what is in the cache becomes durable before the set is given out.
#[test]
fn a_set_that_is_given_out_after_a_death_is_not_booted_after_a_cut() {
    let mut given_out = 0;
    for at in 0..OPERATIONS_OF_A_CHANGE {
        let device = armed();
        device.die_after(at);
        let failed = store(&device).run(Command::ClearInactive, &Force::No);
        assert!(failed.is_err(), "at {at}");
        device.revive();
        let opened = store(&device).open_inactive(PartitionKind::Root).is_ok();
        given_out += u32::from(opened);
        let boots_b = after_a_cut(&device).contains(&Some(Slot::B));
        assert!(!(opened && boots_b), "at {at}");
    }
    assert!(given_out > 0, "after the last write it is");
}

#[test]
fn other_commands_and_repairs_after_a_failed_sync_leave_memory_and_medium_alike() {
    for at in 0..SYNCS_OF_A_CHANGE {
        for command in [
            Some(Command::MarkInactiveValid),
            Some(Command::CancelUpgrade),
            None,
        ] {
            let device = armed();
            device.fail_sync_after(at);
            let failed = store(&device).run(Command::ClearInactive, &Force::No);
            assert!(failed.is_err(), "at {at}");
            let mut again = store(&device);
            match command {
                Some(command) => drop(again.run(command, &Force::No).unwrap()),
                None => drop(again.repair().unwrap()),
            }
            let before = store(&device).state();
            assert!(after_a_cut(&device)[0].is_some());
            let now = store(&device);
            assert_eq!((now.state(), now.damage()), (before, None), "at {at}");
        }
    }
}
