//! Files that are either the old one or the new one, also after a power cut.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

/// A file could not be replaced; the old one, if any, is still there.
#[derive(Debug, Snafu)]
#[snafu(display("writing {}", path.display()))]
pub struct ReplaceError {
    path: PathBuf,
    source: io::Error,
}

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Whom the umask lets.
    Everyone,
}

impl Readers {
    /// The mode of a new file, of which the umask takes its part.
    pub fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o644,
        }
    }
}

/// Makes `path` a file with exactly `bytes`, readable by its owner alone (0600).
///
/// Before: anything. After: the new content, on disk. After a crash in the middle: the old file or
/// the new one, and at most a stray temporary file beside it, whose name starts with `.tmp`.
///
/// # Errors
/// Names `path`, whichever step failed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    replace_for(Readers::Owner, path, bytes)
}

/// The same, unless `path` holds exactly `bytes` already. Returns whether it was written.
///
/// # Errors
/// Those of [`replace`].
pub fn replace_if_changed(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
) -> Result<bool, ReplaceError> {
    // A file of another size or kind is replaced; it is at most as large as what we write.
    let same = fs::metadata(path)
        .is_ok_and(|m| m.is_file() && m.len() == u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        && fs::read(path).is_ok_and(|old| old == bytes);
    if !same {
        replace_for(readers, path, bytes)?;
    }
    Ok(!same)
}

pub(crate) fn replace_for(readers: Readers, path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let write = || {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(readers.mode()))
            .tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_dir(parent)
    };
    write().context(ReplaceSnafu { path })
}

/// The first `most` bytes of the file at `path`; `None` where there is none. Never waits, as it would
/// for somebody to write into a pipe.
///
/// # Errors
/// Those of opening and reading, and for what is no file.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes the entries of `dir` durable.
///
/// # Errors
/// Those of opening and syncing the folder.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes what [`replace`] and its like left in `dir` when they were cut off. Only for folders
/// whose one writer holds the session lock.
pub fn remove_strays(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp")
            && let Err(error) = fs::remove_file(entry.path())
        {
            // It costs space, nothing else; the next run tries again.
            tracing::warn!(
                "removing the stray file {}: {error}",
                entry.path().display()
            );
        }
    }
}

/// Without a process: a fork would hold the locks that other tests give up.
#[cfg(test)]
pub(crate) fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"a longer old content").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_keeps_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/such/file");
        let error = replace(&path, b"x").unwrap_err();
        assert_eq!(error.to_string(), format!("writing {}", path.display()));
    }

    #[test]
    fn nobody_waits_for_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path, 9).unwrap(), None);
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"012345678");
        fs::remove_file(&path).unwrap();
        make_pipe(&path);
        assert_eq!(read(&path, 9).unwrap_err().to_string(), "not a file");
        assert!(read(dir.path(), 9).is_err());
    }

    #[test]
    fn strays_of_a_cut_write_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".tmpAbC123", "timestamp.json", ".hidden"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        remove_strays(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".hidden", "timestamp.json"]);
    }
}
