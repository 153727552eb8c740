//! Folders that are laid out like sysfs, for tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::System;
use crate::device::DeviceNumber;

/// A sysfs with disks, partitions and device-mapper devices.
pub(crate) struct FakeSys {
    dir: TempDir,
}

impl FakeSys {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("dev/block")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn device(&self, folder: &str, number: &str, name: &str) -> PathBuf {
        let folder = self.dir.path().join("devices").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
        fs::write(folder.join("uevent"), format!("MAJOR=0\nDEVNAME={name}\n")).unwrap();
        symlink(&folder, self.dir.path().join("dev/block").join(number)).unwrap();
        folder
    }

    pub(crate) fn disk(self, name: &str, number: &str) -> Self {
        let folder = self.device(&format!("pci/{name}"), number, &name.replace('!', "/"));
        fs::create_dir_all(folder.join("queue")).unwrap();
        fs::create_dir_all(folder.join("slaves")).unwrap();
        self
    }

    pub(crate) fn partition(self, disk: &str, name: &str, partition: u32, number: &str) -> Self {
        let folder = self.device(
            &format!("pci/{disk}/{name}"),
            number,
            &name.replace('!', "/"),
        );
        fs::write(folder.join("partition"), format!("{partition}\n")).unwrap();
        fs::write(
            folder.join("start"),
            format!("{}\n", u64::from(partition) * 2048),
        )
        .unwrap();
        fs::write(folder.join("size"), "4096\n").unwrap();
        self
    }

    pub(crate) fn mapped(self, name: &str, number: &str, on: &[&str]) -> Self {
        let folder = self.device(&format!("virtual/{name}"), number, name);
        fs::create_dir_all(folder.join("slaves")).unwrap();
        for slave in on {
            let target = self.dir.path().join("devices").join(slave);
            let name = target.file_name().unwrap();
            symlink(&target, folder.join("slaves").join(name)).unwrap();
        }
        self
    }

    /// Builds a mapped device on one more device, which may come after it.
    pub(crate) fn built_on(self, name: &str, slave: &str) -> Self {
        let devices = self.dir.path().join("devices");
        let target = devices.join(slave);
        let slaves = devices.join("virtual").join(name).join("slaves");
        symlink(&target, slaves.join(target.file_name().unwrap())).unwrap();
        self
    }

    pub(crate) fn logical_block_size(self, disk: &str, bytes: u32) -> Self {
        let queue = self.dir.path().join("devices/pci").join(disk).join("queue");
        fs::write(queue.join("logical_block_size"), format!("{bytes}\n")).unwrap();
        self
    }

    pub(crate) fn system(&self, root: (u32, u32)) -> System {
        let number = DeviceNumber {
            major: root.0,
            minor: root.1,
        };
        System::new(self.dir.path(), "/dev", number)
    }
}

pub(crate) fn factory() -> FakeSys {
    FakeSys::new()
        .disk("vda", "254:0")
        .partition("vda", "vda3", 3, "254:3")
        .partition("vda", "vda4", 4, "254:4")
        .partition("vda", "vda5", 5, "254:5")
        .partition("vda", "vda9", 9, "254:9")
        .partition("vda", "vda10", 10, "254:10")
}
