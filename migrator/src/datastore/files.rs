//! The files of a store, as they lie on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use snafu::{ResultExt, ensure};

use super::error::{
    DatastoreError, LargeFileSnafu, LinkSnafu, ReadSnafu, SpecialSnafu, TooDeepSnafu,
    TooLargeSnafu, TooManySnafu,
};

/// The most files and folders in a store.
pub const MAX_ENTRIES: usize = 1 << 17;
/// The most bytes in one file. What users hand to containers as one string takes some ten thousand.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most bytes in all files together.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// The most folders on the way to a file: a name of 255 bytes has at most 128 segments.
pub const MAX_DEPTH: usize = 132;

/// Every file and folder below a folder, by the parts of its path.
#[derive(Default)]
pub(super) struct Files {
    pub(super) contents: BTreeMap<Vec<OsString>, Vec<u8>>,
    pub(super) folders: BTreeSet<Vec<OsString>>,
    bytes: u64,
    max_entries: usize,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Reads everything below `dir`, at most `max_entries` files and folders.
pub(super) fn read(dir: &Path, max_entries: usize) -> Result<Files, DatastoreError> {
    let folder = openat(CWD, dir, FOLDER, Mode::empty())
        .map_err(io::Error::from)
        .context(ReadSnafu { path: dir })?;
    let mut files = Files {
        max_entries,
        ..Files::default()
    };
    files.walk(dir, &folder, &mut Vec::new())?;
    Ok(files)
}

impl Files {
    /// Reads what is in the open `folder`, which is `at` below `dir`. Every name is opened from the
    /// folder that it stands in, so that nothing on the way can be exchanged for a link.
    fn walk(
        &mut self,
        dir: &Path,
        folder: &OwnedFd,
        at: &mut Vec<OsString>,
    ) -> Result<(), DatastoreError> {
        let path = |at: &[OsString]| at.iter().fold(dir.to_owned(), |path, part| path.join(part));
        ensure!(at.len() <= MAX_DEPTH, TooDeepSnafu { path: path(at) });
        let entries = Dir::read_from(folder)
            .map_err(io::Error::from)
            .with_context(|_| ReadSnafu { path: path(at) })?;
        for entry in entries {
            let entry = entry
                .map_err(io::Error::from)
                .with_context(|_| ReadSnafu { path: path(at) })?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let seen = self.contents.len().checked_add(self.folders.len());
            ensure!(
                seen.is_some_and(|seen| seen < self.max_entries),
                TooManySnafu { path: dir }
            );
            at.push(name.to_owned());
            let kind = kind(folder, name, entry.file_type())
                .with_context(|_| ReadSnafu { path: path(at) })?;
            match kind {
                FileType::Directory => {
                    let below = open(folder, name, FOLDER, || path(at))?;
                    self.folders.insert(at.clone());
                    self.walk(dir, &below, at)?;
                }
                FileType::RegularFile => {
                    let bytes = self.content(folder, name, || path(at))?;
                    ensure!(self.bytes <= MAX_TOTAL_BYTES, TooLargeSnafu { path: dir });
                    self.contents.insert(at.clone(), bytes);
                }
                FileType::Symlink => return LinkSnafu { path: path(at) }.fail(),
                _ => return SpecialSnafu { path: path(at) }.fail(),
            }
            at.pop();
        }
        Ok(())
    }

    fn content(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: impl Fn() -> PathBuf,
    ) -> Result<Vec<u8>, DatastoreError> {
        let reading = || ReadSnafu { path: path() };
        // Without blocking, should a pipe have taken the file's place since the folder was read.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(folder, name, flags, &path)?;
        let status = fstat(&file)
            .map_err(io::Error::from)
            .with_context(|_| reading())?;
        ensure!(
            FileType::from_raw_mode(status.st_mode) == FileType::RegularFile,
            SpecialSnafu { path: path() }
        );
        let mut bytes = Vec::new();
        let read = File::from(file)
            .take(MAX_FILE_BYTES.saturating_add(1))
            .read_to_end(&mut bytes)
            .with_context(|_| reading())?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        ensure!(read <= MAX_FILE_BYTES, LargeFileSnafu { path: path() });
        self.bytes = self.bytes.saturating_add(read);
        Ok(bytes)
    }
}

/// What `name` is, of file systems that do not say so in the folder, too.
fn kind(folder: &OwnedFd, name: &OsStr, said: FileType) -> io::Result<FileType> {
    if said != FileType::Unknown {
        return Ok(said);
    }
    let status = statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(status.st_mode))
}

fn open(
    folder: &OwnedFd,
    name: &OsStr,
    flags: OFlags,
    path: impl Fn() -> PathBuf,
) -> Result<OwnedFd, DatastoreError> {
    match openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(file) => Ok(file),
        // It has become a link since the folder was read.
        Err(Errno::LOOP | Errno::MLINK) => LinkSnafu { path: path() }.fail(),
        Err(error) => Err(io::Error::from(error)).with_context(|_| ReadSnafu { path: path() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::mknodat;

    use super::*;

    #[test]
    fn what_takes_a_files_place_after_the_folder_was_read_is_not_read() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("/etc/passwd", dir.join("link")).unwrap();
        symlink("/", dir.join("folder")).unwrap();
        let folder = openat(CWD, dir, FOLDER, Mode::empty()).unwrap();
        let content = |name: &str| {
            let read = Files::default().content(&folder, OsStr::new(name), || dir.join(name));
            read.unwrap_err()
        };
        assert!(matches!(content("pipe"), DatastoreError::Special { .. }));
        assert!(matches!(content("link"), DatastoreError::Link { .. }));
        // As a folder, a link is told apart only by what it is not.
        let below = open(&folder, OsStr::new("folder"), FOLDER, || dir.join("folder"));
        assert!(matches!(
            below.unwrap_err(),
            DatastoreError::Link { .. } | DatastoreError::Read { .. }
        ));
    }
}
