//! What is done to the folder of the datastore: one method, one change. Nothing here decides.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::datastore::{DatastoreError, Store};
use crate::kept::{KeptError, KeptFile};

/// PORT: every change of the datastore's folder. A test stops after any of them.
pub trait Folder {
    /// Makes a folder that only its owner may enter.
    ///
    /// # Errors
    /// Those of the file system, also when there is something already.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes a whole store to `dir`, which does not exist.
    ///
    /// # Errors
    /// Those of [`Store::write`]; a part of it may then be there.
    fn write_store(&self, store: &Store, dir: &Path) -> Result<(), DatastoreError>;

    /// Writes kept values, if there are any.
    ///
    /// # Errors
    /// Those of [`KeptFile::save`].
    fn write_kept(&self, kept: &KeptFile, path: &Path) -> Result<(), KeptError>;

    /// Makes a link `link` to `target`.
    ///
    /// # Errors
    /// Those of the file system, also when there is something already.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;

    /// Renames, over what is at `to`.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file or a link.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with all that is in it; links are not followed.
    ///
    /// # Errors
    /// Those of the file system; a part of it may then be gone.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;

    /// Writes a file whole: temporary file, sync, rename, sync of the folder.
    ///
    /// # Errors
    /// Those of the file system; the old file is then still there.
    fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes everything on the file system of `dir` durable: one sync for a store of many files.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_file_system(&self, dir: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Folder for Disk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn write_store(&self, store: &Store, dir: &Path) -> Result<(), DatastoreError> {
        store.write(dir)
    }

    fn write_kept(&self, kept: &KeptFile, path: &Path) -> Result<(), KeptError> {
        kept.save(path)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        symlink(target, link)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            // Each folder on the way down takes a descriptor there, and there are so many only.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => remove_deep(path),
            other => other,
        }
    }

    fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut file = tempfile::Builder::new()
            .prefix(crate::links::STRAY_PREFIX)
            .tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        self.sync_dir(parent)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }
}

/// Removes a folder whatever its depth, with two descriptors. For folders that nobody changes any
/// more: it finds its way up by `..`.
fn remove_deep(path: &Path) -> io::Result<()> {
    const FOLDER: OFlags = OFlags::RDONLY
        .union(OFlags::DIRECTORY)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::CLOEXEC);
    let mut folder = openat(CWD, path, FOLDER, Mode::empty())?;
    let mut names = Vec::new();
    loop {
        if let Some(below) = remove_files(&folder)? {
            folder = openat(&folder, &below, FOLDER, Mode::empty())?;
            names.push(below);
        } else if let Some(name) = names.pop() {
            folder = openat(&folder, "..", FOLDER, Mode::empty())?;
            unlinkat(&folder, &name, AtFlags::REMOVEDIR)?;
        } else {
            return fs::remove_dir(path);
        }
    }
}

/// Removes what is in `folder` up to the first folder there, whose name this is.
fn remove_files(folder: &OwnedFd) -> io::Result<Option<CString>> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(found.st_mode)
            }
            known => known,
        };
        if kind == FileType::Directory {
            return Ok(Some(name.to_owned()));
        }
        unlinkat(folder, name, AtFlags::empty())?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_any_depth_is_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, top) = (dir.path().join("kept"), dir.path().join("top"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        fs::create_dir(&top).unwrap();
        let mut folder = File::open(&top).unwrap().into();
        // Deeper than a path can say, and than this process may have files open.
        for _ in 0..3000 {
            folder = deeper(&folder, &kept);
        }
        drop(folder);
        remove_deep(&top).unwrap();
        assert!(!top.exists());
        assert!(kept.join("file").exists());
    }

    fn deeper(folder: &OwnedFd, kept: &Path) -> OwnedFd {
        for name in ["a", "b"] {
            rustix::fs::mkdirat(folder, name, Mode::RWXU).unwrap();
        }
        rustix::fs::symlinkat(kept, folder, "link").unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        openat(folder, "b", flags, Mode::empty()).unwrap()
    }
}
