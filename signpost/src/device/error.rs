//! Why a disk cannot be had.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use snafu::Snafu;

/// Why a disk could not be opened.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum Error {
    /// It could not be looked at.
    #[snafu(display("looking at {}", path.display()))]
    Inspect {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is neither a block device nor a regular file.
    #[snafu(display("{} is {kind}, not a block device or a disk image", path.display()))]
    NotADisk {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        kind: &'static str,
    },
    /// It could not be opened.
    #[snafu(display("opening {}", path.display()))]
    Open {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel uses it for something else, such as a mounted file system.
    #[snafu(display("{} is in use: it is mounted, or another device is built on it", path.display()))]
    InUse {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Its length could not be found out.
    #[snafu(display("finding the length of {}", path.display()))]
    Length {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Open { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("disks belong to root; run this as root")
            }
            Self::InUse { .. } => Some("unmount it, or stop what uses it; `lsblk` shows what does"),
            Self::NotADisk { .. } => Some("name a whole disk or a disk image with `--disk PATH`"),
            Self::Inspect { source, .. } if source.kind() == ErrorKind::NotFound => {
                Some("is the path right?")
            }
            Self::Inspect { .. } | Self::Open { .. } | Self::Length { .. } => None,
        }
    }
}
