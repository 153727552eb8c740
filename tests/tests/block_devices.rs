//! Real block devices: loop devices with partitions. They need root, and are skipped without.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use signpost::store::Error;
use signpost::testing::DiskBuilder;
use signpost::{
    Access, ActiveChoice, BlockDevice, DiskChoice, FileDevice, PartitionKind, Slot, SlotStore,
    SpendTry, device, state,
};
use system_tests::host::Host;
use system_tests::oracle;
use system_tests::publisher::Publisher;
use system_tests::server::Server;
use tempfile::TempDir;

/// A disk image attached to a loop device with its partitions; detached when dropped.
struct Loop {
    folder: TempDir,
    path: PathBuf,
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {talk}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Loop {
    fn attach(builder: &DiskBuilder, sector: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let image = folder.path().join("os.img");
        builder.build_file(&image).unwrap();
        Self::of_file(&image, sector, folder)
    }

    /// `folder` lives as long as the device.
    fn of_file(image: &Path, sector: &str, folder: TempDir) -> Self {
        let image = image.to_str().unwrap();
        let args = [
            "--find",
            "--show",
            "--partscan",
            "--sector-size",
            sector,
            image,
        ];
        let path = PathBuf::from(output_of("losetup", &args));
        // A kernel that does not read these tables itself is told about the partitions.
        let device = Self { folder, path };
        let node = device.path.to_str().unwrap();
        output_of("partx", &["--update", "--sector-size", sector, node]);
        device
    }

    fn store(&self, active: Slot) -> SlotStore {
        let disk = DiskChoice::Path(self.path.clone());
        SlotStore::open(&disk, ActiveChoice::Set(active), Access::ReadWrite).unwrap()
    }

    fn partition(&self, number: u32) -> String {
        format!("{}p{number}", self.path.display())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.path)
            .status();
    }
}

#[test]
fn bits_change_on_a_block_device_and_are_in_the_image_behind_it() {
    if !oracle::has_loop_devices("bits_change_on_a_block_device_and_are_in_the_image_behind_it") {
        return;
    }
    for sector in ["512", "4096"] {
        let size = sector.parse().unwrap();
        let device = Loop::attach(&DiskBuilder::new().sector_size(size), sector);
        let opened = FileDevice::open(&device.path, Access::ReadOnly).unwrap();
        assert_eq!(opened.block_size(), size);
        let mut store = device.store(Slot::A);
        for command in [
            state::Command::ClearInactive,
            state::Command::MarkInactiveValid,
            state::Command::UpgradeToInactive,
        ] {
            store.run(command, &state::Force::No).unwrap();
        }
        let image = DiskChoice::Path(device.folder.path().join("os.img"));
        let mut image =
            SlotStore::open(&image, ActiveChoice::Set(Slot::A), Access::ReadOnly).unwrap();
        let pick = image.select(SpendTry::No).unwrap().unwrap();
        assert_eq!(pick.slot, Slot::B);
    }
}

#[test]
fn an_inactive_partition_is_its_own_device_node_and_ends_where_it_ends() {
    if !oracle::has_loop_devices(
        "an_inactive_partition_is_its_own_device_node_and_ends_where_it_ends",
    ) {
        return;
    }
    let device = Loop::attach(&DiskBuilder::new(), "512");
    let store = device.store(Slot::A);
    let root = store.open_inactive(PartitionKind::Root).unwrap();
    assert_eq!(root.name(), device.partition(9));
    let name = store.partition_name(Slot::B, PartitionKind::Root).unwrap();
    assert_eq!(name, Some(device.partition(9)));
    let last = root.len() - 3;
    root.write_at(last, b"end").unwrap();
    root.sync().unwrap();
    let mut found = [0; 3];
    root.read_back_at(last, &mut found).unwrap();
    assert_eq!(&found, b"end");
    assert!(root.write_at(last, b"ends").is_err());

    let start = store
        .layout()
        .partition(Slot::B, PartitionKind::Root)
        .unwrap()
        .start;
    let image = FileDevice::open(device.folder.path().join("os.img"), Access::ReadOnly).unwrap();
    image.read_back_at(start + last, &mut found).unwrap();
    assert_eq!(&found, b"end");
    // While it is open nobody else can claim it.
    let again = store.open_inactive(PartitionKind::Root).unwrap_err();
    assert!(matches!(
        again,
        Error::Partition {
            source: device::Error::InUse { .. },
            ..
        }
    ));
}

#[test]
fn a_mounted_partition_is_not_opened_for_writing() {
    if !oracle::has_loop_devices("a_mounted_partition_is_not_opened_for_writing") {
        return;
    }
    let device = Loop::attach(&DiskBuilder::new().root_mib(8), "512");
    let node = device.partition(9);
    output_of("mkfs.ext4", &["-q", &node]);
    let mount = TempDir::new().unwrap();
    output_of("mount", &[&node, mount.path().to_str().unwrap()]);
    let error = device.store(Slot::A).open_inactive(PartitionKind::Root);
    let check = device.store(Slot::A).check_inactive_unused();
    let read = device
        .store(Slot::A)
        .open_partition(Slot::B, PartitionKind::Root)
        .map(|w| w.len());
    output_of("umount", &[mount.path().to_str().unwrap()]);
    assert!(matches!(
        error.unwrap_err(),
        Error::Partition {
            source: device::Error::InUse { .. },
            ..
        }
    ));
    assert!(check.is_err());
    assert_eq!(read.unwrap(), 8 << 20);
    assert!(
        device
            .store(Slot::A)
            .open_inactive(PartitionKind::Root)
            .is_ok()
    );
}

#[test]
fn a_disk_that_the_system_does_not_run_from_needs_its_set_named() {
    if !oracle::has_loop_devices("a_disk_that_the_system_does_not_run_from_needs_its_set_named") {
        return;
    }
    let device = Loop::attach(&DiskBuilder::new(), "512");
    let disk = DiskChoice::Path(device.path.clone());
    let error = SlotStore::open(&disk, ActiveChoice::Auto, Access::ReadOnly).unwrap_err();
    assert!(error.advice().unwrap().contains("--active A"), "{error}");
    assert!(Path::new("/sys/dev/block").exists());
}

#[test]
fn a_whole_update_goes_through_partition_nodes_of_a_block_device() {
    if !oracle::has_loop_devices("a_whole_update_goes_through_partition_nodes_of_a_block_device") {
        return;
    }
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let new = publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let mut host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let device = Loop::of_file(&host.disk(), "512", TempDir::new().unwrap());
    host.see_through(&device.path);
    host.updog(&["update"]).done();
    for (number, image) in [(8, &new.boot), (9, &new.root), (10, &new.hash)] {
        let image = std::fs::read(image).unwrap();
        let partition = std::fs::read(device.partition(number)).unwrap();
        assert_eq!(partition[..image.len()], image, "partition {number}");
    }
    host.updog(&["verify"]).done();
    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    host.signpost(&["mark-successful-boot"]).done();
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 1]]);

    // A set that is in use is not given up: nothing is cleared.
    publisher.release("1.2.0");
    let boot = device.partition(3);
    let holder = FileDevice::open_exclusive(&boot, Access::ReadOnly).unwrap();
    host.updog(&["update"]).expect(1).says(&boot);
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 1]]);
    drop(holder);
    host.updog(&["update"]).done();
    assert_eq!(host.bits(), [[2, 1, 0], [1, 0, 1]]);
}
