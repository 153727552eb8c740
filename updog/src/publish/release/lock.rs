//! One publisher at a time: an advisory lock on a file in the repository.
//!
//! It goes with its holder, so nobody has to clean up after a crash. The file stays and is empty.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

use crate::lock;

/// The file's name; no target and no metadata is called so.
const FILE_NAME: &str = ".updata.lock";

/// Why the repository is not ours.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum LockError {
    /// Another publisher has it.
    #[snafu(display(
        "another updata is publishing to {}; run again when it is done", repo.display()
    ))]
    Held { repo: PathBuf },
    /// There is nothing to publish to.
    #[snafu(display("no such repository: {}", repo.display()))]
    NoRepository { repo: PathBuf },
    /// The file cannot be made or locked.
    #[snafu(display("locking {}", path.display()))]
    Io { path: PathBuf, source: io::Error },
}

/// Held until dropped.
#[derive(Debug)]
pub struct PublisherLock {
    _file: File,
}

impl PublisherLock {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process, or another call in this one, has it;
    /// [`LockError::NoRepository`] when the folder does not exist.
    pub fn take(repo: &Path) -> Result<Self, LockError> {
        let path = repo.join(FILE_NAME);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match file {
            // The file is made where it is missing, so what is missing is the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return NoRepositorySnafu { repo }.fail();
            }
            opened => opened.context(IoSnafu { path: &path })?,
        };
        match lock::try_lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => HeldSnafu { repo }.fail(),
            Err(TryLockError::Error(source)) => Err(source).context(IoSnafu { path }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_publisher_is_refused_until_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let first = PublisherLock::take(dir.path()).unwrap();
        assert_eq!(
            PublisherLock::take(dir.path()).unwrap_err().to_string(),
            format!(
                "another updata is publishing to {}; run again when it is done",
                dir.path().display()
            )
        );
        drop(first);
        PublisherLock::take(dir.path()).unwrap();
    }
}
