//! Folders that a run works in and leaves nothing of, not even when it is killed.
//!
//! A run holds a lock on its folder, which goes with the process. So the next run in the same place
//! finds what a killed one left, and removes it; the folder of one that is at work stays.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use tempfile::TempDir;

const PREFIX: &str = ".scratch-";
/// A run that looks for strays may take a new folder for one, before it is locked; that often in a
/// row it does not.
const TRIES: usize = 16;

/// No folder to work in.
#[derive(Debug, Snafu)]
#[snafu(display("making a folder to work in, in {}", parent.display()))]
pub struct ScratchError {
    parent: PathBuf,
    source: io::Error,
}

/// An empty folder of this run, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    _lock: File,
}

impl Scratch {
    /// A folder in `parent`, which exists. What killed runs left there is removed.
    ///
    /// After a crash: at most the folder, until the next run makes its own.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn new(parent: &Path) -> Result<Self, ScratchError> {
        remove_strays(parent);
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::make(parent) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
                made => return made.context(ScratchSnafu { parent }),
            }
        }
    }

    /// `NotFound` where somebody took it for a stray.
    fn make(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::open(dir.path())?;
        lock.lock()?;
        // Still there now that it is locked: it stays.
        fs::metadata(dir.path())?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn remove_strays(parent: &Path) {
    // A folder that cannot be read is one in which nothing can be made either; that is told.
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_scratch = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_scratch && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_if_unused(&entry.path());
        }
    }
}

fn remove_if_unused(path: &Path) {
    let removed = File::open(path).and_then(|folder| match folder.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        // Another run works there.
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    });
    match removed {
        // Another run was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // It costs space, nothing else; the next run tries again.
        Err(error) => tracing::warn!("removing the stray folder {}: {error}", path.display()),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_another_works_in_stays() {
        let parent = tempfile::tempdir().unwrap();
        for name in [".scratch-left", "other"] {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("file"), "x").unwrap();
        }
        fs::write(parent.path().join(".scratch-file"), "x").unwrap();
        let first = Scratch::new(parent.path()).unwrap();
        let second = Scratch::new(parent.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        assert_ne!(first.path(), second.path());
        assert_eq!(names(parent.path()).len(), 4);
        drop((first, second));
        assert_eq!(names(parent.path()), [".scratch-file", "other"]);
    }

    #[test]
    fn runs_that_begin_at_once_do_not_take_each_others_folder() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let scratch = Scratch::new(parent.path()).unwrap();
                        fs::write(scratch.path().join("file"), "x").unwrap();
                    }
                });
            }
        });
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Scratch::new(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "making a folder to work in, in /no/such/folder"
        );
    }
}
