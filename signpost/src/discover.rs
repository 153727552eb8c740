//! Which disk the running system booted from, and which of its partitions it runs from.
//!
//! The kernel says so in sysfs, and nothing else is asked. The root file system is on a device
//! `MAJ:MIN`. If that is a partition, it is the one. If it is built on others, as dm-verity is, they
//! are listed in `/sys/dev/block/MAJ:MIN/slaves`, and so are those that they are built on, down to
//! partitions: for dm-verity the root and the hash partition of the running set. The folder of a
//! partition lies in the folder of its disk. No name is taken apart, so that `vda3`, `nvme0n1p3`,
//! `mmcblk0p3` and `loop0p3` are all the same.
//!
//! Where the answer is not plain, this says why and does not guess: not when a device at the bottom
//! is not a partition, when there are two disks, when the partitions are of no set or of both. The
//! caller can be told the disk and the set.

mod error;
#[cfg(test)]
pub(crate) mod fake;
mod sysfs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use snafu::{OptionExt, ResultExt, ensure};

pub use self::error::{Error, Naming};

use self::error::{
    ContentSnafu, InBothSetsSnafu, InNoSetSnafu, NoBlockDeviceSnafu, NoDeviceSnafu, NoSysfsSnafu,
    NotAPartitionSnafu, RootSnafu, SeveralDisksSnafu,
};
use crate::device::DeviceNumber;
use crate::layout::{Entry, Layout};
use crate::slot::Slot;

/// sysfs counts in these, whatever the disk's sectors are.
const SYSFS_SECTOR: u64 = 512;

/// Which disk to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskChoice {
    /// The one that the running system booted from.
    Auto,
    /// This block device or disk image.
    Path(PathBuf),
}

/// Which set counts as the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveChoice {
    /// The one that the root file system is on.
    Auto,
    /// This one. Refused if the root file system is on the other one of that very disk.
    Set(Slot),
}

/// A disk, as sysfs knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskNode {
    /// Its device node.
    pub path: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
}

/// What the running system runs from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The disk.
    pub disk: DiskNode,
    /// The numbers of the partitions on it that the root file system is built on.
    pub partitions: Vec<u32>,
}

impl Running {
    /// The set that the running system runs from.
    ///
    /// `layout` and `entries` are those of the disk's table.
    ///
    /// # Errors
    /// When its partitions are in no set, or in both.
    pub fn slot(&self, layout: &Layout, entries: &[Entry]) -> Result<Slot, Error> {
        let described = || self.described(entries);
        let mut slots = self
            .partitions
            .iter()
            .filter_map(|number| layout.slot_of(*number));
        let slot = slots.next().with_context(|| InNoSetSnafu {
            partitions: described(),
        })?;
        ensure!(
            slots.all(|other| other == slot),
            InBothSetsSnafu {
                partitions: described()
            }
        );
        Ok(slot)
    }

    /// The partitions, each with what the table says that it is.
    fn described(&self, entries: &[Entry]) -> Vec<String> {
        let describe = |number: &u32| {
            let entry = entries.iter().find(|entry| entry.number == *number);
            let Some(Entry { type_guid, .. }) = entry else {
                return format!("{number} (not in the partition table)");
            };
            match type_guid.type_name() {
                Some(name) => format!("{number} ({name})"),
                None => format!("{number} (type {type_guid})"),
            }
        };
        self.partitions.iter().map(describe).collect()
    }
}

/// A partition, as sysfs knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionNode {
    /// Its device node.
    pub path: PathBuf,
    /// Its number as a device, not in the table.
    pub number: DeviceNumber,
    /// The offset of its first byte on the disk.
    pub start: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// The parts of a running system that discovery looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    sys: PathBuf,
    dev: PathBuf,
    root_device: DeviceNumber,
}

impl System {
    /// This machine.
    ///
    /// # Errors
    /// When `/` cannot be looked at.
    pub fn host() -> Result<Self, Error> {
        let path = Path::new("/");
        let root = rustix::fs::stat(path)
            .map_err(io::Error::from)
            .context(RootSnafu { path })?;
        Ok(Self::new(
            "/sys",
            "/dev",
            DeviceNumber::from_raw(root.st_dev),
        ))
    }

    /// A machine whose sysfs and device nodes are in these folders and whose root file system is on
    /// this device.
    pub fn new(
        sys: impl Into<PathBuf>,
        dev: impl Into<PathBuf>,
        root_device: DeviceNumber,
    ) -> Self {
        Self {
            sys: sys.into(),
            dev: dev.into(),
            root_device,
        }
    }

    /// What the running system runs from.
    ///
    /// # Errors
    /// When sysfs does not lead from the root file system to partitions, all of one disk.
    pub fn running(&self) -> Result<Running, Error> {
        let device = self.root_device;
        ensure!(device.major != 0, NoBlockDeviceSnafu { device });
        let link = self.block(device);
        let Some(folder) = sysfs::resolve(&link)? else {
            let path = self.sys.join("dev/block");
            ensure!(path.exists(), NoSysfsSnafu { path });
            return NoDeviceSnafu { device }.fail();
        };

        let mut disk: Option<DiskNode> = None;
        let mut partitions = Vec::new();
        for (folder, number) in self.partitions_under(folder)? {
            let found = self.disk_of(&folder)?;
            if let Some(disk) = &disk {
                ensure!(
                    *disk == found,
                    SeveralDisksSnafu {
                        one: &disk.path,
                        other: found.path
                    }
                );
            }
            disk = Some(found);
            partitions.push(number);
        }
        partitions.sort_unstable();
        let disk = disk.context(NoDeviceSnafu { device })?;
        Ok(Running { disk, partitions })
    }

    /// The folders and numbers of the partitions that a device is built on, however many devices
    /// lie in between; of a partition, it itself. There is at least one.
    fn partitions_under(&self, folder: PathBuf) -> Result<BTreeMap<PathBuf, u32>, Error> {
        let mut partitions = BTreeMap::new();
        let mut seen = BTreeSet::from([folder.clone()]);
        let mut rest = vec![folder];
        while let Some(folder) = rest.pop() {
            if let Some(number) = sysfs::partition_number(&folder)? {
                partitions.insert(folder, number);
                continue;
            }
            let below = sysfs::children(&folder.join("slaves"))?;
            if below.is_empty() {
                let device = self.node(&folder)?;
                return NotAPartitionSnafu { device }.fail();
            }
            rest.extend(
                below
                    .into_iter()
                    .filter(|folder| seen.insert(folder.clone())),
            );
        }
        Ok(partitions)
    }

    /// The device node of a disk's partition, or nothing when the kernel has none for it.
    ///
    /// # Errors
    /// When sysfs does not have the disk, so that the answer is not known, or when it has the
    /// partition but not its place.
    pub fn partition(
        &self,
        disk: DeviceNumber,
        number: u32,
    ) -> Result<Option<PartitionNode>, Error> {
        let path = self.block(disk);
        let folder = sysfs::resolve(&path)?.context(NoSysfsSnafu { path })?;
        for child in sysfs::children(&folder)? {
            if sysfs::partition_number(&child)? == Some(number) {
                let bytes = |name| {
                    let path = child.join(name);
                    let sectors: u64 = sysfs::parse(&path, "a number of sectors")?;
                    sectors.checked_mul(SYSFS_SECTOR).context(ContentSnafu {
                        path,
                        text: sectors.to_string(),
                        expected: "a number of sectors",
                    })
                };
                return Ok(Some(PartitionNode {
                    path: self.node(&child)?,
                    number: sysfs::device_number(&child)?,
                    start: bytes("start")?,
                    length: bytes("size")?,
                }));
            }
        }
        Ok(None)
    }

    /// The disk of the partition that has this folder.
    fn disk_of(&self, partition: &Path) -> Result<DiskNode, Error> {
        let disk = partition.parent().unwrap_or(partition);
        Ok(DiskNode {
            path: self.node(disk)?,
            number: sysfs::device_number(disk)?,
        })
    }

    fn block(&self, device: DeviceNumber) -> PathBuf {
        self.sys.join("dev/block").join(device.to_string())
    }

    fn node(&self, folder: &Path) -> Result<PathBuf, Error> {
        Ok(self.dev.join(sysfs::name(folder)?))
    }
}
