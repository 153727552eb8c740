//! The session lock: one process at a time changes the disk.
//!
//! An advisory lock on a file (flock). It goes with its holder, so nobody has to clean up after a
//! crash. The file is 0600: flock needs no write permission, and whoever can open the file could
//! hold up every update of this host. It names its holder, for the message that a second session
//! gets.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;

use chrono::{DateTime, SecondsFormat, Utc};
use snafu::{ResultExt, Snafu};

/// Why the lock is not ours.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum LockError {
    /// Another process has it; `holder` is what it wrote about itself.
    #[snafu(display("another session holds {}: {holder}", path.display()))]
    Held { path: PathBuf, holder: String },
    /// The file or its folder cannot be made, opened, locked or written.
    #[snafu(display("taking the lock {}", path.display()))]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Held until dropped.
#[derive(Debug)]
pub struct SessionLock {
    _file: File,
}

impl SessionLock {
    /// Takes the lock at `path` without waiting; makes the file, and its folder (0700) where that
    /// does not exist. `verb` and `now` tell the next session who is here.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn take(path: &Path, verb: &str, now: DateTime<Utc>) -> Result<Self, LockError> {
        if let Some(parent) = path.parent()
            && !parent.exists()
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .context(IoSnafu { path })?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .context(IoSnafu { path })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return HeldSnafu {
                    path,
                    holder: holder(&file),
                }
                .fail();
            }
            Err(TryLockError::Error(source)) => return Err(source).context(IoSnafu { path }),
        }
        let since = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| {
                write!(
                    file,
                    "updog {verb}, process {}, since {since}",
                    process::id()
                )
            })
            .context(IoSnafu { path })?;
        Ok(Self { _file: file })
    }
}

/// What the holder wrote; it may be in the middle of writing, so anything is possible.
fn holder(file: &File) -> String {
    let mut bytes = Vec::new();
    let known = file.take(200).read_to_end(&mut bytes).is_ok() && !bytes.is_empty();
    if known {
        String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|c| !c.is_control())
            .collect()
    } else {
        "it has not said who it is yet".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_session_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/updog/lock");
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let first = SessionLock::take(&path, "update", now).unwrap();
        let error = SessionLock::take(&path, "prepare", now).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another session holds {}: updog update, process {}, since 2031-03-01T01:00:00Z",
                path.display(),
                process::id()
            )
        );
        drop(first);
        SessionLock::take(&path, "prepare", now).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}
