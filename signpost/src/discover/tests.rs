//! Discovery in folders that are laid out like sysfs.

use super::fake::{FakeSys, factory};
use super::*;
use crate::device::BlockDevice;
use crate::table::Table;
use crate::testing::DiskBuilder;

fn layout() -> Layout {
    let disk = DiskBuilder::new().build();
    Layout::from_entries(&Table::read(&disk as &dyn BlockDevice).unwrap().entries()).unwrap()
}

fn vda() -> DiskNode {
    DiskNode {
        path: "/dev/vda".into(),
        number: DeviceNumber {
            major: 254,
            minor: 0,
        },
    }
}

#[test]
fn a_verity_root_leads_to_its_disk_and_set() {
    for (slaves, partitions, slot) in [
        (["pci/vda/vda4", "pci/vda/vda5"], [4, 5], Slot::A),
        (["pci/vda/vda10", "pci/vda/vda9"], [9, 10], Slot::B),
    ] {
        let sys = factory().mapped("dm-0", "253:0", &slaves);
        let running = sys.system((253, 0)).running().unwrap();
        assert_eq!(
            running,
            Running {
                disk: vda(),
                partitions: partitions.to_vec()
            }
        );
        assert_eq!(running.slot(&layout()).unwrap(), slot);
    }
}

#[test]
fn a_root_directly_on_a_partition_leads_to_its_disk() {
    let running = factory().system((254, 9)).running().unwrap();
    assert_eq!(
        running,
        Running {
            disk: vda(),
            partitions: vec![9]
        }
    );
}

#[test]
fn a_minor_number_above_255_is_not_cut_off() {
    let sys = factory().mapped("dm-300", "253:300", &["pci/vda/vda4"]);
    let root = DeviceNumber::from_raw(rustix::fs::makedev(253, 300));
    let running = System::new(sys.path(), "/dev", root).running().unwrap();
    assert_eq!(running.partitions, [4]);
}

#[test]
fn a_device_in_a_folder_of_dev_is_found_by_the_kernels_name_for_it() {
    let sys = FakeSys::new()
        .disk("cciss!c0d0", "104:0")
        .partition("cciss!c0d0", "cciss!c0d0p4", 4, "104:4")
        .mapped("dm-0", "253:0", &["pci/cciss!c0d0/cciss!c0d0p4"]);
    let running = sys.system((253, 0)).running().unwrap();
    assert_eq!(running.disk.path, Path::new("/dev/cciss/c0d0"));
}

#[test]
fn a_root_that_is_no_plain_case_is_not_guessed_at() {
    let none = factory().system((0, 35)).running();
    assert!(matches!(none, Err(Error::NoDevice { .. })), "{none:?}");

    let whole_disk = factory().system((254, 0)).running();
    assert!(
        matches!(whole_disk, Err(Error::NoPartition { .. })),
        "{whole_disk:?}"
    );

    let nested = factory().mapped("dm-0", "253:0", &["pci/vda/vda4"]).mapped(
        "dm-1",
        "253:1",
        &["virtual/dm-0"],
    );
    let nested = nested.system((253, 1)).running();
    assert!(
        matches!(nested, Err(Error::NotAPartition { .. })),
        "{nested:?}"
    );

    let two = factory()
        .disk("vdb", "254:16")
        .partition("vdb", "vdb5", 5, "254:21")
        .mapped("dm-0", "253:0", &["pci/vda/vda4", "pci/vdb/vdb5"]);
    let two = two.system((253, 0)).running();
    assert!(matches!(two, Err(Error::SeveralDisks { .. })), "{two:?}");
}

#[test]
fn a_root_on_no_set_or_on_both_has_no_slot() {
    let slot = |partitions: &[u32]| {
        Running {
            disk: vda(),
            partitions: partitions.to_vec(),
        }
        .slot(&layout())
    };
    let error = slot(&[13]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the root file system is on partition 13, which is in neither set"
    );
    let error = slot(&[4, 10]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the root file system is on partitions 4 and 10, which belong to both sets"
    );
    assert_eq!(slot(&[4, 5]).unwrap(), Slot::A);
}

#[test]
fn a_partition_of_a_disk_is_found_by_its_number_in_the_table() {
    let sys = factory();
    let system = sys.system((254, 4));
    let disk = DeviceNumber {
        major: 254,
        minor: 0,
    };
    assert_eq!(
        system.partition(disk, 9).unwrap(),
        Some(PartitionNode {
            path: "/dev/vda9".into(),
            number: DeviceNumber {
                major: 254,
                minor: 9
            },
            start: 9 * 1024 * 1024,
            length: 2 * 1024 * 1024,
        })
    );
    assert_eq!(system.partition(disk, 8).unwrap(), None);
    // Without sysfs it is not known whether the partition is in use.
    let elsewhere = DeviceNumber { major: 7, minor: 0 };
    let error = system.partition(elsewhere, 9).unwrap_err();
    assert_eq!(error.advice(), "mount sysfs on /sys");
}

#[test]
fn nonsense_in_sysfs_is_named_with_its_file() {
    let sys = factory();
    let file = sys.path().join("devices/pci/vda/vda4/partition");
    fs::write(&file, "four\n").unwrap();
    let error = sys.system((254, 4)).running().unwrap_err();
    let expected = format!(
        "{} holds \"four\\n\", which is not the number of a partition",
        file.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn this_machine_can_be_asked() {
    let system = System::host().unwrap();
    assert_eq!(system.sys, Path::new("/sys"));
    // What it runs from depends on where the test runs; only that it answers is tested.
    let _ = system.running();
}
