//! The files that an API server shares with us: its lock, the status that it hands out, and the
//! version lock that it configures.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use snafu::{ResultExt, Snafu};
use update_metadata::VersionLock;

use crate::api::updates::UpdatesStatus;
use crate::durable::{self, Readers, ReplaceError};
use crate::lock;

pub(super) const VERSION_LOCK: &str = "/etc/thar-be-updates.toml";
pub(super) const STATUS: &str = "/run/cache/thar-be-updates/status.json";
pub(super) const LOCK: &str = "/run/lock/thar-be-updates.lock";
/// A larger file has no version lock.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why the files cannot be had.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub(super) enum PlaceError {
    /// Somebody has the lock.
    #[snafu(display("another command is under way, or the status is being read: {} is held", path.display()))]
    Held { path: PathBuf },
    /// The lock cannot be had.
    #[snafu(display("taking the lock {}", path.display()))]
    Lock { path: PathBuf, source: io::Error },
    /// The folder of the status cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// The status cannot be written.
    #[snafu(transparent)]
    Write { source: ReplaceError },
    /// The version lock cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The version lock means nothing.
    #[snafu(display("{}: {what}", path.display()))]
    VersionLock { path: PathBuf, what: String },
}

/// Where lock and status are.
#[derive(Debug)]
pub(super) struct Place<'a> {
    status: &'a Path,
    lock: &'a Path,
}

impl<'a> Place<'a> {
    pub(super) fn new(status: &'a Path, lock: &'a Path) -> Self {
        Self { status, lock }
    }

    /// Takes the lock without waiting for long.
    pub(super) fn lock(&self) -> Result<File, PlaceError> {
        let path = self.lock;
        let file = lock::open(path).context(LockSnafu { path })?;
        match lock::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => HeldSnafu { path }.fail(),
            Err(TryLockError::Error(source)) => Err(source).context(LockSnafu { path }),
        }
    }

    /// Replaces the status: whoever reads sees the old one or the new one.
    pub(super) fn write(&self, status: &UpdatesStatus) -> Result<(), PlaceError> {
        if let Some(path) = self.status.parent() {
            fs::create_dir_all(path).context(MakeFolderSnafu { path })?;
        }
        let mut json = serde_json::to_vec_pretty(status).expect("plain data with string keys");
        json.push(b'\n');
        durable::replace_for(Readers::Everyone, self.status, &json)?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(rename = "version-lock")]
    version_lock: String,
}

/// The lock that the file at `path` has; none where there is no file.
pub(super) fn version_lock(path: &Path) -> Result<Option<VersionLock>, PlaceError> {
    let Some(bytes) = durable::read(path, MAX_FILE_BYTES).context(ReadSnafu { path })? else {
        return Ok(None);
    };
    let wrong = |what: String| VersionLockSnafu { path, what }.build();
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    let written: Written =
        toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
    let lock = written.version_lock.parse();
    lock.map(Some)
        .map_err(|error: update_metadata::VersionLockError| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_lock_is_read_or_said_to_be_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tbu.toml");
        assert_eq!(version_lock(&path).unwrap(), None, "no file");
        for (text, expected) in [
            ("version-lock = \"latest\"", Some("latest")),
            ("version-lock = \"1.2.3\"\nother = 1", Some("1.2.3")),
            ("version-lock = \"1.2\"", None),
            ("version_lock = \"latest\"", None),
            ("version-lock = 1", None),
            ("=", None),
        ] {
            fs::write(&path, text).unwrap();
            let lock = version_lock(&path);
            match expected {
                Some(expected) => {
                    assert_eq!(lock.unwrap().unwrap().to_string(), expected, "{text}");
                }
                None => assert!(lock.is_err(), "{text}"),
            }
        }
    }
}
