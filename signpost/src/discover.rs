//! Which disk the running system booted from, and which of its partitions it runs from.
//!
//! The kernel says so in sysfs, and nothing else is asked. The root file system is on a device
//! `MAJ:MIN`. If that is a device-mapper device (dm-verity), the devices it is built on are listed
//! in `/sys/dev/block/MAJ:MIN/slaves`, and they are the root and hash partition of the running set;
//! if it is a partition itself, that is the one. The folder of a partition lies in the folder of its
//! disk. Where the answer is not that plain, this says so and does not guess: the caller can be told
//! the disk and the set.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::device::DeviceNumber;
use crate::layout::Layout;
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

/// Why the disk or the set could not be found.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The root folder could not be looked at.
    #[snafu(display("looking at {}", path.display()))]
    Root {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file or folder of sysfs could not be read.
    #[snafu(display("reading {}", path.display()))]
    Sysfs {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of sysfs does not hold what it should.
    #[snafu(display("{} holds {text:?}, which is not {expected}", path.display()))]
    Content {
        /// The path.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What it should.
        expected: &'static str,
    },
    /// The kernel knows no block device under the root file system's number.
    #[snafu(display("the root file system is on device {device}, which is not a block device"))]
    NoDevice {
        /// The number.
        device: DeviceNumber,
    },
    /// The kernel knows no block device under a disk's number: sysfs is not there.
    #[snafu(display("there is no {}, so that nothing is known about the partitions in use", path.display()))]
    NoSysfs {
        /// The folder that should be there.
        path: PathBuf,
    },
    /// The root file system's device is neither a partition nor built on any.
    #[snafu(display("the root file system's device {device} is not built on a partition"))]
    NoPartition {
        /// The number.
        device: DeviceNumber,
    },
    /// The root file system's device is built on something that is not a partition.
    #[snafu(display("the root file system is built on {}, which is not a partition", path.display()))]
    NotAPartition {
        /// The folder of that device in sysfs.
        path: PathBuf,
    },
    /// The root file system's device is built on partitions of different disks.
    #[snafu(display(
        "the root file system is on {} and on {}", one.display(), other.display()
    ))]
    SeveralDisks {
        /// One disk.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// None of the partitions that the root file system is on belongs to a set.
    #[snafu(display(
        "the root file system is on partition {}, which is in neither set",
        list(partitions)
    ))]
    InNoSet {
        /// The partitions.
        partitions: Vec<u32>,
    },
    /// The root file system is on partitions of both sets.
    #[snafu(display(
        "the root file system is on partitions {}, which belong to both sets",
        list(partitions)
    ))]
    InBothSets {
        /// The partitions.
        partitions: Vec<u32>,
    },
}

impl Error {
    /// What the operator can do about it.
    pub const fn advice(&self) -> &'static str {
        if let Self::NoSysfs { .. } = self {
            return "mount sysfs on /sys";
        }
        "name the disk with `--disk PATH` and the running set with `--active A` or `--active B`"
    }
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
    /// # Errors
    /// When its partitions are in no set, or in both.
    pub fn slot(&self, layout: &Layout) -> Result<Slot, Error> {
        let partitions = &self.partitions;
        let mut slots = partitions
            .iter()
            .filter_map(|number| layout.slot_of(*number));
        let slot = slots.next().context(InNoSetSnafu {
            partitions: partitions.as_slice(),
        })?;
        ensure!(
            slots.all(|other| other == slot),
            InBothSetsSnafu {
                partitions: partitions.as_slice()
            }
        );
        Ok(slot)
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
    /// When sysfs does not lead from the root file system to partitions of one disk.
    pub fn running(&self) -> Result<Running, Error> {
        let device = self.root_device;
        let link = self.block(device);
        let Some(folder) = resolve(&link)? else {
            return NoDeviceSnafu { device }.fail();
        };
        let folders = if partition_number(&folder)?.is_some() {
            vec![folder]
        } else {
            children(&folder.join("slaves"))?
        };

        let mut running: Option<Running> = None;
        for folder in folders {
            let found = self.partition_of_disk(&folder)?;
            match &mut running {
                None => running = Some(found),
                Some(running) => {
                    ensure!(
                        running.disk == found.disk,
                        SeveralDisksSnafu {
                            one: &running.disk.path,
                            other: found.disk.path
                        }
                    );
                    running.partitions.extend(found.partitions);
                }
            }
        }
        let mut running = running.context(NoPartitionSnafu { device })?;
        running.partitions.sort_unstable();
        Ok(running)
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
        let folder = resolve(&path)?.context(NoSysfsSnafu { path })?;
        for child in children(&folder)? {
            if partition_number(&child)? == Some(number) {
                let bytes = |name| {
                    let path = child.join(name);
                    let sectors: u64 = parse(&path, "a number of sectors")?;
                    sectors.checked_mul(SYSFS_SECTOR).context(ContentSnafu {
                        path,
                        text: sectors.to_string(),
                        expected: "a number of sectors",
                    })
                };
                return Ok(Some(PartitionNode {
                    path: self.node(&child)?,
                    number: device_number(&child)?,
                    start: bytes("start")?,
                    length: bytes("size")?,
                }));
            }
        }
        Ok(None)
    }

    fn partition_of_disk(&self, folder: &Path) -> Result<Running, Error> {
        let number =
            partition_number(folder)?.with_context(|| NotAPartitionSnafu { path: folder })?;
        let disk = folder
            .parent()
            .with_context(|| NotAPartitionSnafu { path: folder })?;
        let disk = DiskNode {
            path: self.node(disk)?,
            number: device_number(disk)?,
        };
        Ok(Running {
            disk,
            partitions: vec![number],
        })
    }

    fn block(&self, device: DeviceNumber) -> PathBuf {
        self.sys.join("dev/block").join(device.to_string())
    }

    /// The device node of the device that has this folder. The kernel names it in `uevent`.
    fn node(&self, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join("uevent");
        let text = fs::read_to_string(&path).context(SysfsSnafu { path: &path })?;
        match text.lines().find_map(|line| line.strip_prefix("DEVNAME=")) {
            Some(name) => Ok(self.dev.join(name)),
            None => ContentSnafu {
                path,
                text,
                expected: "the name of a device",
            }
            .fail(),
        }
    }
}

/// The real folder that a link of sysfs leads to, or nothing when there is no such link.
fn resolve(link: &Path) -> Result<Option<PathBuf>, Error> {
    match fs::canonicalize(link) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(SysfsSnafu { path: link }),
    }
}

/// The real folders in a folder of sysfs; none when there is no such folder.
fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(SysfsSnafu { path: folder }),
    };
    let mut children = Vec::new();
    for entry in entries {
        let path = entry.context(SysfsSnafu { path: folder })?.path();
        // A device may go away while its neighbours are listed.
        if let Some(child) = resolve(&path)?.filter(|child| child.is_dir()) {
            children.push(child);
        }
    }
    Ok(children)
}

/// The number in the partition table, if the folder is that of a partition.
fn partition_number(folder: &Path) -> Result<Option<u32>, Error> {
    let path = folder.join("partition");
    if !path.exists() {
        return Ok(None);
    }
    parse(&path, "the number of a partition").map(Some)
}

fn device_number(folder: &Path) -> Result<DeviceNumber, Error> {
    let path = folder.join("dev");
    let text = fs::read_to_string(&path).context(SysfsSnafu { path: &path })?;
    let number = text.trim().split_once(':').and_then(|(major, minor)| {
        Some(DeviceNumber {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    });
    number.context(ContentSnafu {
        path,
        text,
        expected: "a device number",
    })
}

fn parse<T: std::str::FromStr>(path: &Path, expected: &'static str) -> Result<T, Error> {
    let text = fs::read_to_string(path).context(SysfsSnafu { path })?;
    let value = text.trim().parse().ok();
    value.context(ContentSnafu {
        path,
        text,
        expected,
    })
}

fn list(numbers: &[u32]) -> String {
    numbers
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
