//! Discovery in folders that are laid out like sysfs.

use std::fs;

use super::fake::{FakeSys, factory};
use super::*;
use crate::device::BlockDevice;
use crate::table::Table;
use crate::testing::DiskBuilder;

fn entries() -> Vec<Entry> {
    let disk = DiskBuilder::new().build();
    Table::read(&disk as &dyn BlockDevice).unwrap().entries()
}

fn layout() -> Layout {
    Layout::from_entries(&entries()).unwrap()
}

/// The text of the refusal when the root file system is on this device.
fn refusal(sys: &FakeSys, root: (u32, u32)) -> String {
    sys.system(root).running().unwrap_err().to_string()
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
        assert_eq!(running.slot(&layout(), &entries()).unwrap(), slot);
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

/// What a name looks like says nothing, and is not looked at: the last ones are misleading.
#[test]
fn a_disk_of_any_kind_is_found_from_its_partition_and_from_verity_on_it() {
    // Disk, its number, and the names and numbers of its partitions 3, 4 and 5.
    let disks = [
        (
            "sda",
            "8:0",
            ["sda3", "sda4", "sda5"],
            ["8:3", "8:4", "8:5"],
        ),
        (
            "sdzz",
            "8:1048560",
            ["sdzz3", "sdzz4", "sdzz5"],
            ["8:1048563", "8:1048564", "8:1048565"],
        ),
        (
            "vda",
            "254:0",
            ["vda3", "vda4", "vda5"],
            ["254:3", "254:4", "254:5"],
        ),
        (
            "nvme0n1",
            "259:0",
            ["nvme0n1p3", "nvme0n1p4", "nvme0n1p5"],
            ["259:3", "259:300", "259:4"],
        ),
        (
            "mmcblk0",
            "179:0",
            ["mmcblk0p3", "mmcblk0p4", "mmcblk0p5"],
            ["179:3", "179:4", "179:5"],
        ),
        (
            "loop0",
            "7:0",
            ["loop0p3", "loop0p4", "loop0p5"],
            ["259:1", "259:2", "259:70000"],
        ),
        (
            "md0",
            "9:0",
            ["md0p3", "md0p4", "md0p5"],
            ["259:7", "259:8", "259:9"],
        ),
        (
            "xvda1",
            "202:1",
            ["xvda13", "xvda14", "xvda15"],
            ["202:3", "202:4", "202:5"],
        ),
        (
            "disk",
            "240:0",
            ["vda9", "vda8", "vda10"],
            ["240:1", "240:2", "240:3"],
        ),
    ];
    for (disk, disk_number, names, numbers) in disks {
        let mut sys = FakeSys::new().disk(disk, disk_number);
        for (partition, (name, number)) in (3..).zip(names.into_iter().zip(numbers)) {
            sys = sys.partition(disk, name, partition, number);
        }
        let on = [1, 2].map(|nth: usize| format!("pci/{disk}/{}", names[nth]));
        let sys = sys.mapped("dm-0", "253:0", &[&on[0], &on[1]]);
        let parse = |number: &str| {
            let (major, minor) = number.split_once(':').unwrap();
            (major.parse().unwrap(), minor.parse().unwrap())
        };
        let (major, minor) = parse(disk_number);
        let found = |partitions: &[u32]| Running {
            disk: DiskNode {
                path: Path::new("/dev").join(disk),
                number: DeviceNumber { major, minor },
            },
            partitions: partitions.to_vec(),
        };
        assert_eq!(sys.system((253, 0)).running().unwrap(), found(&[4, 5]));
        for (partition, number) in (3..).zip(numbers) {
            let running = sys.system(parse(number)).running().unwrap();
            assert_eq!(running, found(&[partition]), "{disk}");
            assert_eq!(running.slot(&layout(), &entries()).unwrap(), Slot::A);
        }
    }
}

#[test]
fn a_root_on_a_device_on_a_device_leads_to_the_partitions_below() {
    let sys = factory()
        // verity on a crypt device and a linear one, one of them with two layers.
        .mapped("dm-0", "253:0", &["pci/vda/vda9"])
        .mapped("dm-1", "253:1", &["virtual/dm-0"])
        .mapped("dm-2", "253:2", &["pci/vda/vda10"])
        .mapped("dm-3", "253:3", &["virtual/dm-1", "virtual/dm-2"])
        // The same partition by two ways counts once.
        .mapped("dm-4", "253:4", &["virtual/dm-3", "virtual/dm-0", "pci/vda/vda9"]);
    for minor in [3, 4] {
        let running = sys.system((253, minor)).running().unwrap();
        assert_eq!(
            (&running.disk, running.partitions.as_slice()),
            (&vda(), &[9, 10][..])
        );
        assert_eq!(running.slot(&layout(), &entries()).unwrap(), Slot::B);
    }
}

#[test]
fn devices_built_on_each_other_in_a_circle_have_an_end() {
    let sys = factory()
        .mapped("dm-0", "253:0", &["pci/vda/vda4"])
        .mapped("dm-1", "253:1", &["virtual/dm-0"])
        .built_on("dm-0", "virtual/dm-1");
    let running = sys.system((253, 1)).running().unwrap();
    assert_eq!(running.partitions, [4]);
    let sys = FakeSys::new()
        .mapped("dm-0", "253:0", &[])
        .built_on("dm-0", "virtual/dm-0");
    assert_eq!(
        refusal(&sys, (253, 0)),
        "the root file system is on device 253:0, which the kernel does not know"
    );
}

#[test]
fn a_root_without_a_block_device_is_refused_with_what_it_may_be() {
    for device in [(0, 0), (0, 35)] {
        let error = factory().system(device).running().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the root file system has no block device of its own (device 0:{}), as is so with \
                 overlay, btrfs and network file systems",
                device.1
            )
        );
        assert_eq!(
            error.advice(),
            "name the disk with `--disk PATH` and the running set with `--active A` or \
             `--active B`; `findmnt` and `lsblk` show what the system runs from"
        );
    }
}

#[test]
fn a_root_that_leads_nowhere_is_refused_with_the_device_at_which_it_ends() {
    let on = |device: &str| {
        format!(
            "the root file system is on {device}, which is neither a partition nor built on one"
        )
    };
    assert_eq!(refusal(&factory(), (254, 0)), on("/dev/vda"));
    let nested = |below: &str| {
        factory()
            .disk("sdb", "8:16")
            .disk("loop0", "7:0")
            .mapped("dm-0", "253:0", &[below])
            .mapped("dm-1", "253:1", &["pci/vda/vda4", "virtual/dm-0"])
    };
    assert_eq!(refusal(&nested("pci/sdb"), (253, 1)), on("/dev/sdb"));
    assert_eq!(refusal(&nested("pci/loop0"), (253, 1)), on("/dev/loop0"));
    let bare = factory().mapped("dm-0", "253:0", &[]);
    assert_eq!(refusal(&bare, (253, 0)), on("/dev/dm-0"));
    let loop_root = FakeSys::new().disk("loop0", "7:0");
    assert_eq!(refusal(&loop_root, (7, 0)), on("/dev/loop0"));
}

#[test]
fn a_device_that_the_kernel_does_not_know_is_told_from_a_missing_sysfs() {
    assert_eq!(
        refusal(&factory(), (8, 1)),
        "the root file system is on device 8:1, which the kernel does not know"
    );
    let empty = tempfile::TempDir::new().unwrap();
    let system = System::new(empty.path(), "/dev", DeviceNumber { major: 8, minor: 1 });
    let error = system.running().unwrap_err();
    let path = empty.path().join("dev/block");
    assert_eq!(
        error.to_string(),
        format!(
            "there is no {}, so that nothing is known about the partitions in use",
            path.display()
        )
    );
    assert_eq!(error.advice(), "mount sysfs on /sys");
}

#[test]
fn a_root_on_two_disks_is_refused_with_both() {
    let sys = factory()
        .disk("nvme0n1", "259:0")
        .partition("nvme0n1", "nvme0n1p5", 5, "259:5")
        .mapped("dm-0", "253:0", &["pci/vda/vda4", "pci/nvme0n1/nvme0n1p5"])
        .mapped("dm-1", "253:1", &["pci/nvme0n1/nvme0n1p5"])
        .mapped("dm-2", "253:2", &["pci/vda/vda4", "virtual/dm-1"]);
    for minor in [0, 2] {
        let error = sys.system((253, minor)).running().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the root file system is on partitions of /dev/nvme0n1 and of /dev/vda"
        );
        assert_eq!(
            error.advice(),
            "name the disk with `--disk PATH` and the running set with `--active A` or \
             `--active B`"
        );
    }
}

fn slot(partitions: &[u32]) -> Result<Slot, Error> {
    let running = Running {
        disk: vda(),
        partitions: partitions.to_vec(),
    };
    running.slot(&layout(), &entries())
}

#[test]
fn a_root_on_no_set_is_refused_with_what_it_is_on() {
    for (partitions, on) in [
        (&[1][..], "partition 1 (BIOS boot)"),
        (&[2], "partition 2 (EFI system)"),
        (&[7], "partition 7 (EFI backup)"),
        (&[6, 12], "partitions 6 (reserved) and 12 (private)"),
        (&[13], "partition 13 (data)"),
        (&[14], "partition 14 (not in the partition table)"),
    ] {
        assert_eq!(
            slot(partitions).unwrap_err().to_string(),
            format!("the root file system is on {on}, in neither set")
        );
    }
    let mut entries = entries();
    entries[12].type_guid = "0fc63daf-8483-4772-8e79-3d69d8477de4".parse().unwrap();
    let running = Running {
        disk: vda(),
        partitions: vec![13],
    };
    assert_eq!(
        running.slot(&layout(), &entries).unwrap_err().to_string(),
        "the root file system is on partition 13 (type 0fc63daf-8483-4772-8e79-3d69d8477de4), in \
         neither set"
    );
    assert_eq!(slot(&[4, 13]).unwrap(), Slot::A, "a set and something else");
}

#[test]
fn a_root_on_both_sets_is_refused_and_no_name_helps() {
    let error = slot(&[4, 10]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the root file system is on partitions 4 (root) and 10 (hash), in both sets"
    );
    assert_eq!(
        error.advice(),
        "no set can be written while the system runs from both; boot from one of them"
    );
    assert!(!error.can_be_named());
    assert!(slot(&[13]).unwrap_err().can_be_named());
}

/// sysfs counts in 512 bytes whatever the sectors of the disk are.
#[test]
fn a_partition_of_a_disk_with_large_sectors_is_where_the_kernel_says() {
    let sys = factory().logical_block_size("vda", 4096);
    let disk = vda().number;
    let node = sys.system((254, 4)).partition(disk, 9).unwrap().unwrap();
    assert_eq!(
        (node.start, node.length),
        (9 * 1024 * 1024, 2 * 1024 * 1024)
    );
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
