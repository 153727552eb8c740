//! The folders of sysfs: each device has one, and a partition's lies in that of its disk. What a
//! device is says what is in its folder, never its name.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use snafu::{OptionExt, ResultExt};

use super::error::{ContentSnafu, Error, SysfsSnafu};
use crate::device::DeviceNumber;

/// The real folder that a link of sysfs leads to, or nothing when there is no such link.
pub(super) fn resolve(link: &Path) -> Result<Option<PathBuf>, Error> {
    match fs::canonicalize(link) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(SysfsSnafu { path: link }),
    }
}

/// The real folders in a folder of sysfs; none when there is no such folder.
pub(super) fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
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
pub(super) fn partition_number(folder: &Path) -> Result<Option<u32>, Error> {
    let path = folder.join("partition");
    if !path.exists() {
        return Ok(None);
    }
    parse(&path, "the number of a partition").map(Some)
}

pub(super) fn device_number(folder: &Path) -> Result<DeviceNumber, Error> {
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

pub(super) fn parse<T: std::str::FromStr>(path: &Path, expected: &'static str) -> Result<T, Error> {
    let text = fs::read_to_string(path).context(SysfsSnafu { path })?;
    let value = text.trim().parse().ok();
    value.context(ContentSnafu {
        path,
        text,
        expected,
    })
}

/// The kernel's name for the device that has this folder, under the folder of device nodes. The
/// kernel has it in `uevent`: in sysfs itself a `/` in the name is another character.
pub(super) fn name(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("uevent");
    let text = fs::read_to_string(&path).context(SysfsSnafu { path: &path })?;
    match text.lines().find_map(|line| line.strip_prefix("DEVNAME=")) {
        Some(name) => Ok(name.into()),
        None => ContentSnafu {
            path,
            text,
            expected: "the name of a device",
        }
        .fail(),
    }
}
