//! Why the disk or the running set could not be found, and what to do about it.

use std::io;
use std::path::PathBuf;

use snafu::Snafu;

use crate::device::DeviceNumber;

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
    /// The kernel knows no block device under a number: sysfs is not there.
    #[snafu(display(
        "there is no {}, so that nothing is known about the partitions in use", path.display()
    ))]
    NoSysfs {
        /// The folder that should be there.
        path: PathBuf,
    },
    /// The root file system is one that has no block device of its own.
    #[snafu(display(
        "the root file system has no block device of its own (device {device}), as is so with \
         overlay, btrfs and network file systems"
    ))]
    NoBlockDevice {
        /// The number that the kernel made up for it.
        device: DeviceNumber,
    },
    /// The kernel knows no block device under the root file system's number.
    #[snafu(display("the root file system is on device {device}, which the kernel does not know"))]
    NoDevice {
        /// The number.
        device: DeviceNumber,
    },
    /// The root file system's device, or one that it is built on, is not a partition and built on
    /// nothing.
    #[snafu(display(
        "the root file system is on {}, which is neither a partition nor built on one",
        device.display()
    ))]
    NotAPartition {
        /// The device node.
        device: PathBuf,
    },
    /// The root file system's device is built on partitions of different disks.
    #[snafu(display(
        "the root file system is on partitions of {} and of {}", one.display(), other.display()
    ))]
    SeveralDisks {
        /// One disk.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// None of the partitions that the root file system is on belongs to a set.
    #[snafu(display("the root file system is on {}, in neither set", list(partitions)))]
    InNoSet {
        /// The partitions, each with its number and what it is.
        partitions: Vec<String>,
    },
    /// The root file system is on partitions of both sets: neither is inactive.
    #[snafu(display("the root file system is on {}, in both sets", list(partitions)))]
    InBothSets {
        /// The partitions, each with its number and what it is.
        partitions: Vec<String>,
    },
}

/// What of the disk and its sets has to be named for a command to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The disk.
    Disk,
    /// The disk, and which of its sets runs.
    DiskAndSet,
    /// Which set runs.
    Set,
    /// No set: what runs is known.
    NoSet,
}

impl Error {
    /// What the operator can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoSysfs { .. } => "mount sysfs on /sys",
            Self::NoBlockDevice { .. } => {
                "name the disk with `--disk PATH` and the running set with `--active A` or \
                 `--active B`; `findmnt` and `lsblk` show what the system runs from"
            }
            Self::InBothSets { .. } => {
                "no set can be written while the system runs from both; boot from one of them"
            }
            _ => {
                "name the disk with `--disk PATH` and the running set with `--active A` or \
                 `--active B`"
            }
        }
    }

    /// As [`crate::store::Error::naming`].
    pub(crate) const fn naming(&self) -> Option<Naming> {
        match self {
            Self::NoSysfs { .. } | Self::InBothSets { .. } => None,
            _ => Some(Naming::DiskAndSet),
        }
    }

    /// Whether naming the running set settles it: what sysfs says does not contradict any name.
    pub(crate) const fn can_be_named(&self) -> bool {
        !matches!(self, Self::InBothSets { .. })
    }
}

/// `partition 4 (root)`, `partitions 4 (root) and 5 (hash)`
fn list(partitions: &[String]) -> String {
    let noun = match partitions {
        [_] => "partition",
        _ => "partitions",
    };
    format!("{noun} {}", partitions.join(" and "))
}
