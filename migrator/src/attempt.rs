//! The folder in which one run makes its stores. What is in it is not finished.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::host;
use crate::links::STRAY_PREFIX;

/// Removed when it goes out of scope; when that is cut off, by the next run.
pub(crate) struct Attempt<'a> {
    effects: &'a dyn Folder,
    path: PathBuf,
}

impl<'a> Attempt<'a> {
    pub(crate) fn begin(effects: &'a dyn Folder, folder: &Path) -> io::Result<Self> {
        let name = format!("{STRAY_PREFIX}attempt-{}", host::random_name(16)?);
        let path = folder.join(name);
        effects.make_dir(&path)?;
        Ok(Self { effects, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.effects.remove_tree(&self.path) {
            tracing::warn!("removing {}: {error}", self.path.display());
        }
    }
}

/// Locks the folder of a datastore for this process; `None` while another one has it. The kernel
/// lets go of it when the process ends, however that happens, and a folder needs no file for it.
pub(crate) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
