//! The store on disks in memory, with and without a kernel that knows them.

mod cached;
mod table;

use super::*;
use crate::attributes::{BootAttributes, Priority, TriesLeft};
use crate::device::DeviceNumber;
use crate::discover::fake::{FakeSys, factory};
use crate::layout;
use crate::slot::{PerSlot, Sets};
use crate::table::{Side, Table};
use crate::testing::raw::Raw;
use crate::testing::{DiskBuilder, MemoryDevice, Operation, RecordingDevice};

const MIB: u64 = 1024 * 1024;

fn bits(priority: u8, tries: u8, successful: bool) -> BootAttributes {
    BootAttributes::default()
        .with_priority(Priority::new(priority).unwrap())
        .with_tries_left(TriesLeft::new(tries).unwrap())
        .with_successful(successful)
}

/// A disk in memory, watched.
struct Disk {
    memory: Arc<MemoryDevice>,
    recording: Arc<RecordingDevice>,
}

impl Disk {
    fn of(builder: &DiskBuilder) -> Self {
        let memory = Arc::new(builder.build());
        let device = Arc::clone(&memory) as Arc<dyn BlockDevice>;
        Self {
            memory,
            recording: Arc::new(RecordingDevice::new(device)),
        }
    }

    fn factory() -> Self {
        Self::of(&DiskBuilder::new())
    }

    /// B runs for the first time.
    fn first_boot() -> Self {
        Self::of(&DiskBuilder::new().bits(Slot::B, bits(2, 0, false)))
    }

    fn device(&self) -> Arc<dyn BlockDevice> {
        Arc::clone(&self.recording) as Arc<dyn BlockDevice>
    }

    fn store(&self, active: Slot) -> SlotStore {
        SlotStore::from_device(self.device(), ActiveChoice::Set(active)).unwrap()
    }

    fn writes(&self) -> usize {
        let is_write = |operation: &Operation| matches!(operation, Operation::Write { .. });
        self.recording
            .take()
            .iter()
            .filter(|operation| is_write(operation))
            .count()
    }

    /// The bits that somebody who opens the disk now finds.
    fn on_disk(&self) -> PerSlot<BootAttributes> {
        BootDisk::read(self.device()).unwrap().bits()
    }
}

#[test]
fn an_update_and_a_good_boot_end_up_on_the_disk() {
    let disk = Disk::factory();
    let mut store = disk.store(Slot::A);
    assert_eq!((store.active(), store.inactive()), (Slot::A, Slot::B));
    assert_eq!(store.state().next(), Some(Slot::A));
    let steps = [
        (Command::ClearInactive, false, bits(0, 0, false)),
        (Command::MarkInactiveValid, true, bits(0, 1, false)),
        (Command::UpgradeToInactive, true, bits(2, 1, false)),
    ];
    for (command, changed, b) in steps {
        let outcome = store.run(command, &Force::No).unwrap();
        assert_eq!(outcome.changed, changed, "{command}");
        assert_eq!(outcome.after, store.state());
        assert_eq!(
            disk.on_disk(),
            PerSlot {
                a: bits(1, 0, true),
                b
            },
            "{command}"
        );
        // One sector of entries and one header, in each copy.
        assert_eq!(disk.writes(), if changed { 4 } else { 0 }, "{command}");
    }
    let pick = store.select(SpendTry::No).unwrap().unwrap();
    assert_eq!((pick.slot, disk.writes()), (Slot::B, 0));
    let pick = store.select(SpendTry::Yes).unwrap().unwrap();
    assert_eq!((pick.slot, disk.writes()), (Slot::B, 4));

    let mut booted = disk.store(Slot::B);
    let outcome = booted.run(Command::MarkSuccessfulBoot, &Force::No).unwrap();
    assert!(!outcome.before.has_boot_ever_succeeded());
    assert!(outcome.after.has_boot_ever_succeeded());
    assert_eq!(
        disk.on_disk(),
        PerSlot {
            a: bits(1, 0, true),
            b: bits(2, 0, true)
        }
    );
    assert!(disk.store(Slot::B).state().has_boot_ever_succeeded());
}

#[test]
fn selecting_a_set_without_tries_writes_nothing() {
    let disk = Disk::factory();
    let mut store = disk.store(Slot::A);
    let pick = store.select(SpendTry::Yes).unwrap().unwrap();
    assert_eq!(
        (pick.slot, pick.last_resort, disk.writes()),
        (Slot::A, false, 0)
    );
}

#[test]
fn a_refused_command_writes_nothing() {
    let disk = Disk::first_boot();
    let mut store = disk.store(Slot::B);
    for command in [Command::ClearInactive, Command::CancelUpgrade] {
        let error = store.run(command, &Force::No).unwrap_err();
        let refusal = Refusal::NothingWouldBoot { command };
        assert_eq!(error.refusal(), Some(refusal));
        assert_eq!(error.to_string(), refusal.to_string());
        assert!(error.advice().unwrap().contains("mark-successful-boot"));
    }
    assert_eq!(disk.writes(), 0);
    let force = Force::Because("the lab will reinstall it".parse().unwrap());
    store.run(Command::ClearInactive, &force).unwrap();
    assert_eq!(disk.on_disk().a, bits(0, 0, false));
}

#[test]
fn a_command_decides_on_what_is_on_the_disk_now() {
    let disk = Disk::factory();
    let mut late = disk.store(Slot::A);
    let mut early = disk.store(Slot::A);
    early.run(Command::MarkInactiveValid, &Force::No).unwrap();
    early.run(Command::UpgradeToInactive, &Force::No).unwrap();
    assert_eq!(late.state().bits().b, bits(0, 0, false), "read before");
    let outcome = late.run(Command::CancelUpgrade, &Force::No).unwrap();
    assert_eq!(outcome.before.bits().b, bits(2, 1, false));
    assert_eq!(
        disk.on_disk(),
        PerSlot {
            a: bits(2, 0, true),
            b: bits(0, 1, false)
        }
    );
}

#[test]
fn entries_that_others_change_meanwhile_keep_their_change() {
    let disk = Disk::factory();
    let mut store = disk.store(Slot::A);
    let theirs = 0x8000_0000_0000_0000;
    let mut table = Table::read(&*disk.memory).unwrap();
    table.set_attributes(13, theirs).unwrap();
    table.write(&*disk.memory).unwrap();
    store.run(Command::MarkInactiveValid, &Force::No).unwrap();
    assert_eq!(
        Table::read(&*disk.memory).unwrap().attributes(13),
        Some(theirs)
    );
}

#[test]
fn when_the_partitions_have_moved_nothing_is_done() {
    let disk = Disk::factory();
    let mut store = disk.store(Slot::A);
    let other = DiskBuilder::new().hash_mib(2).build().to_bytes();
    let length = usize::try_from(disk.memory.len()).unwrap();
    let single = DiskBuilder::new().root_mib(10).hash_mib(2).single();
    assert!(single.length() <= disk.memory.len());
    disk.memory.edit(|bytes| {
        // The front of another disk, whose backup is not where this one ends.
        bytes.copy_from_slice(&other[..length]);
    });
    let damaged = store.run(Command::ClearInactive, &Force::No).unwrap_err();
    assert!(
        damaged.to_string().contains("both partition tables"),
        "{damaged}"
    );

    let moved = single.build().to_bytes();
    disk.memory
        .edit(|bytes| bytes[..moved.len()].copy_from_slice(&moved));
    let error = store.run(Command::ClearInactive, &Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the partitions of memory have been changed by another program"
    );
    let error = store.open_inactive(PartitionKind::Root).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the partitions of memory have been changed by another program"
    );
    assert_eq!(disk.writes(), 0);
}

#[test]
fn damage_is_reported_and_repaired_by_the_next_change() {
    let disk = Disk::factory();
    disk.memory.edit(|bytes| bytes[512] = 0);
    let mut store = disk.store(Slot::A);
    assert_eq!(
        store.damage().map(|damage| damage.side),
        Some(Side::Primary)
    );
    let error = store.open_inactive(PartitionKind::Root).unwrap_err();
    assert!(matches!(error, Error::NotInOrder { .. }), "{error}");
    assert_eq!(error.advice(), Some("give `signpost repair` first"));
    assert_eq!(disk.writes(), 0);
    let changed = store.run(Command::MarkInactiveValid, &Force::No).unwrap();
    assert!(changed.changed && changed.damage.is_some());
    assert_eq!(store.damage(), None);
    assert_eq!(disk.store(Slot::A).damage(), None);
}

#[test]
fn rewriting_repairs_without_changing_the_bits() {
    let disk = Disk::factory();
    let before = disk.memory.to_bytes();
    disk.memory.edit(|bytes| bytes[1024..2048].fill(0));
    let mut store = disk.store(Slot::A);
    let damage = store.rewrite_table().unwrap().unwrap();
    assert_eq!(damage.side, Side::Primary);
    assert!(disk.memory.to_bytes() == before);
    assert_eq!(store.rewrite_table().unwrap(), None);
    assert!(disk.memory.to_bytes() == before);
}

#[test]
fn a_disk_with_one_set_has_nothing_inactive() {
    let disk = Disk::of(&DiskBuilder::new().single());
    let mut store = disk.store(Slot::A);
    assert!(matches!(store.layout().sets, Sets::Single(_)));
    let error = store.run(Command::ClearInactive, &Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        "inactive set not available: this disk has a single partition set"
    );
    let error = store.open_inactive(PartitionKind::Boot).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NoInactiveSet));
    let error = store
        .open_partition(Slot::B, PartitionKind::Boot)
        .unwrap_err();
    assert_eq!(error.to_string(), "memory has no set B");
    assert_eq!(
        store.partition_name(Slot::B, PartitionKind::Boot).unwrap(),
        None
    );
    store.run(Command::MarkSuccessfulBoot, &Force::No).unwrap();
    assert_eq!(
        store.select(SpendTry::Yes).unwrap().map(|pick| pick.slot),
        Some(Slot::A)
    );

    let error = SlotStore::from_device(disk.device(), ActiveChoice::Set(Slot::B)).unwrap_err();
    assert_eq!(error.to_string(), "memory has no set B");
}

#[test]
fn a_disk_that_the_kernel_does_not_know_needs_to_be_told_which_set_runs() {
    let error = SlotStore::from_device(Disk::factory().device(), ActiveChoice::Auto).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no set of memory is known to be the running one"
    );
    assert_eq!(
        error.advice(),
        Some("name the running set with `--active A` or `--active B`")
    );
}

#[test]
fn a_table_without_sets_is_refused_with_the_rule() {
    let disk = Disk::factory();
    let mut table = Table::read(&*disk.memory).unwrap();
    let without_private: Vec<_> = table
        .entries()
        .into_iter()
        .filter(|entry| entry.number != 12)
        .collect();
    assert_eq!(
        Layout::from_entries(&without_private),
        Err(layout::Error::NoPrivate)
    );
    assert!(table.set_attributes(12, 0).is_ok());
}

#[test]
fn an_inactive_partition_writes_its_own_bytes_and_no_others() {
    let disk = Disk::factory();
    let store = disk.store(Slot::A);
    let before = disk.memory.to_bytes();
    let mut expected = before.clone();
    for (nth, kind) in (1u8..).zip(PartitionKind::ALL) {
        let partition = *store.layout().partition(Slot::B, kind).unwrap();
        let inactive = store.open_inactive(kind).unwrap();
        assert_eq!((inactive.slot(), inactive.kind()), (Slot::B, kind));
        assert_eq!(inactive.len(), partition.length);
        assert_eq!(inactive.name(), format!("memory@{}", partition.start));
        let length = usize::try_from(partition.length).unwrap();
        let start = usize::try_from(partition.start).unwrap();
        inactive.write_at(0, &vec![nth; length]).unwrap();
        inactive.sync().unwrap();
        assert!(inactive.write_at(partition.length, &[9]).is_err());
        assert!(inactive.write_at(partition.length - 1, &[9, 9]).is_err());
        expected[start..start + length].fill(nth);
        let mut found = vec![0; length];
        inactive.read_back_at(0, &mut found).unwrap();
        assert!(found.iter().all(|byte| *byte == nth));
        inactive.read_at(1, &mut found[1..]).unwrap();
    }
    assert!(disk.memory.to_bytes() == expected);
}

#[test]
fn a_set_that_could_boot_is_not_opened_for_writing() {
    let disk = Disk::factory();
    let store = disk.store(Slot::A);
    // Somebody marks it valid after the store was opened.
    disk.store(Slot::A)
        .run(Command::MarkInactiveValid, &Force::No)
        .unwrap();
    let error = store.open_inactive(PartitionKind::Root).unwrap_err();
    assert_eq!(
        error.to_string(),
        "set B of memory has not been cleared (priority=0 tries_left=1 successful=false)"
    );
    assert_eq!(
        error.advice(),
        Some("give `clear-inactive` before writing to the set")
    );
    for leftover in [bits(2, 0, false), bits(0, 0, true), bits(1, 0, true)] {
        let disk = Disk::of(&DiskBuilder::new().bits(Slot::B, leftover));
        assert!(
            disk.store(Slot::A)
                .open_inactive(PartitionKind::Boot)
                .is_err()
        );
    }
}

#[test]
fn a_partition_opened_for_reading_is_not_written() {
    let disk = Disk::factory();
    let store = disk.store(Slot::A);
    for slot in Slot::BOTH {
        let window = store.open_partition(slot, PartitionKind::Hash).unwrap();
        assert_eq!(window.len(), MIB);
        assert!(window.write_at(0, &[1]).is_err());
    }
    assert_eq!(disk.writes(), 0);
}

/// A disk in memory of which the kernel says this.
fn known(
    disk: &Disk,
    sys: &FakeSys,
    root: (u32, u32),
    active: ActiveChoice,
) -> Result<SlotStore, Error> {
    let number = DeviceNumber {
        major: 254,
        minor: 0,
    };
    let kernel = Kernel {
        system: sys.system(root),
        number,
    };
    let disk = BootDisk::read(disk.device())?;
    let active = kernel.active(&disk, active)?;
    SlotStore::checked(disk, active, Access::ReadWrite, Some(kernel))
}

#[test]
fn the_running_set_is_the_one_under_the_root_file_system() {
    let sys = factory().mapped("dm-0", "253:0", &["pci/vda/vda9", "pci/vda/vda10"]);
    let disk = Disk::factory();
    let root = (253, 0);
    assert_eq!(
        known(&disk, &sys, root, ActiveChoice::Auto)
            .unwrap()
            .active(),
        Slot::B
    );
    assert_eq!(
        known(&disk, &sys, root, ActiveChoice::Set(Slot::B))
            .unwrap()
            .active(),
        Slot::B
    );
}

/// Whoever is wrong about which set runs would overwrite the running one.
#[test]
fn a_name_that_contradicts_the_kernel_is_refused() {
    let sys = factory().mapped("dm-0", "253:0", &["pci/vda/vda9", "pci/vda/vda10"]);
    let disk = Disk::factory();
    let error = known(&disk, &sys, (253, 0), ActiveChoice::Set(Slot::A)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the system runs from set B of memory, not from set A"
    );
}

#[test]
fn on_another_disk_than_the_systems_the_set_must_be_named() {
    let sys = factory()
        .disk("vdb", "254:16")
        .partition("vdb", "vdb4", 4, "254:20")
        .mapped("dm-0", "253:0", &["pci/vdb/vdb4"]);
    let disk = Disk::factory();
    let error = known(&disk, &sys, (253, 0), ActiveChoice::Auto).unwrap_err();
    assert!(matches!(error, Error::ActiveUnknown { .. }), "{error}");
    let store = known(&disk, &sys, (253, 0), ActiveChoice::Set(Slot::A)).unwrap();
    assert_eq!(store.active(), Slot::A);
}

#[test]
fn when_sysfs_does_not_tell_the_set_must_be_named() {
    let sys = factory();
    let disk = Disk::factory();
    let error = known(&disk, &sys, (0, 35), ActiveChoice::Auto).unwrap_err();
    assert_eq!(
        error.to_string(),
        "finding the running partition set of memory"
    );
    assert!(error.advice().unwrap().contains("--active A"));
    assert!(known(&disk, &sys, (0, 35), ActiveChoice::Set(Slot::B)).is_ok());
}

/// There is no inactive set then, whatever it is called.
#[test]
fn a_root_on_both_sets_is_refused_also_when_a_set_is_named() {
    let sys = factory().mapped("dm-0", "253:0", &["pci/vda/vda4", "pci/vda/vda10"]);
    let disk = Disk::factory();
    for active in [
        ActiveChoice::Auto,
        ActiveChoice::Set(Slot::A),
        ActiveChoice::Set(Slot::B),
    ] {
        let error = known(&disk, &sys, (253, 0), active).unwrap_err();
        let Error::Discover { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(
            source.to_string(),
            "the root file system is on partitions 4 (root) and 10 (hash), in both sets"
        );
    }
}

#[test]
fn sets_that_the_kernel_could_not_tell_apart_are_refused() {
    for sector in [512, 4096] {
        let mut raw = Raw::new(sector);
        for side in [Side::Primary, Side::Backup] {
            let [a, b] = [3, 8].map(|number| raw.entry(side, number).start + 16);
            raw.bytes.copy_within(a..a + 16, b);
            raw.fix(side);
        }
        let error = BootDisk::read(Arc::new(raw.device())).unwrap_err();
        let boot_disk::Error::Layout { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(
            source.to_string(),
            "boot partitions 3 and 8 have the same identifier \
             00000003-0000-4000-8000-000000000001, by which the kernel finds the set that the boot \
             loader picked"
        );
    }
}

#[test]
fn a_partition_has_the_name_of_its_node_if_the_kernel_agrees_where_it_is() {
    let disk = Disk::factory();
    // In this sysfs partition `n` begins at `n` MiB and is 2 MiB long.
    let sys = factory();
    let store = known(&disk, &sys, (254, 4), ActiveChoice::Auto).unwrap();
    let name = |kind| store.partition_name(Slot::A, kind);
    let error = name(PartitionKind::Boot).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/dev/vda3 is 2097152 bytes at 3145728, but the partition table of memory has 1048576 \
         bytes at 3145728"
    );
    assert!(error.advice().unwrap().contains("partprobe"));
    assert!(store.open_partition(Slot::A, PartitionKind::Boot).is_err());

    let two = DiskBuilder::new().boot_mib(2).root_mib(1).hash_mib(1);
    let store = known(&Disk::of(&two), &sys, (254, 4), ActiveChoice::Auto).unwrap();
    let boot = store.partition_name(Slot::A, PartitionKind::Boot).unwrap();
    assert_eq!(boot.as_deref(), Some("/dev/vda3"));
    // The kernel of this test has no node for it.
    let boot_b = store.partition_name(Slot::B, PartitionKind::Boot).unwrap();
    assert_eq!(boot_b, Some(format!("memory@{}", 9 * MIB)));
}
