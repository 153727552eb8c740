//! A new store on the disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use snafu::{ResultExt, ensure};

use super::Stray;
use super::error::{DatastoreError, ExistsSnafu, StrayPathSnafu, WriteSnafu};

const FILE_MODE: Mode = Mode::from_bits_retain(0o644);
const FOLDER_MODE: Mode = Mode::from_bits_retain(0o755);

/// What is to be written, by the parts of its path; a folder that has to be there even when it is
/// empty has no bytes.
#[derive(Default)]
pub(super) struct Entries(BTreeMap<Vec<OsString>, Option<Vec<u8>>>);

impl Entries {
    pub(super) fn folder(&mut self, components: Vec<OsString>) {
        self.0.insert(components, None);
    }

    pub(super) fn file(&mut self, components: Vec<OsString>, bytes: Vec<u8>) {
        self.0.insert(components, Some(bytes));
    }

    /// A stray, unless its place is taken. Strays come last.
    pub(super) fn stray(&mut self, stray: &Stray) -> Result<(), DatastoreError> {
        let mut components = Vec::new();
        for component in stray.path.components() {
            let Component::Normal(part) = component else {
                return StrayPathSnafu { path: &stray.path }.fail();
            };
            components.push(part.to_owned());
        }
        ensure!(!components.is_empty(), StrayPathSnafu { path: &stray.path });
        let below_a_file = (1..components.len())
            .filter_map(|length| self.0.get(components.get(..length)?))
            .any(Option::is_some);
        let from_here = (Bound::Included(&components), Bound::Unbounded);
        let is_taken = self
            .0
            .range::<Vec<OsString>, _>(from_here)
            .next()
            .is_some_and(|(next, _)| next.starts_with(&components));
        if !below_a_file && !is_taken {
            self.file(components, stray.bytes.clone());
        }
        Ok(())
    }

    /// Writes them below the new folder `dir`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), DatastoreError> {
        match mkdirat(CWD, dir, FOLDER_MODE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return ExistsSnafu { path: dir }.fail(),
            Err(error) => {
                return Err(io::Error::from(error)).context(WriteSnafu { path: dir });
            }
        }
        let root = open_folder(CWD, dir.as_os_str()).context(WriteSnafu { path: dir })?;
        let mut open = Open {
            root,
            below: Vec::new(),
        };
        for (components, bytes) in &self.0 {
            open.put(components, bytes.as_deref())
                .with_context(|_| WriteSnafu {
                    path: components
                        .iter()
                        .fold(dir.to_owned(), |path, part| path.join(part)),
                })?;
        }
        Ok(())
    }
}

/// The folders on the way to the last entry, which is also the way to most of the next ones: entries
/// come in order.
struct Open<'a> {
    root: OwnedFd,
    below: Vec<(&'a OsStr, OwnedFd)>,
}

impl<'a> Open<'a> {
    fn put(&mut self, components: &'a [OsString], bytes: Option<&[u8]>) -> io::Result<()> {
        let (Some(bytes), Some((name, folders))) = (bytes, components.split_last()) else {
            self.enter(components)?;
            return Ok(());
        };
        let folder = self.enter(folders)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(folder, name, flags, FILE_MODE)?;
        fchmod(&file, FILE_MODE)?;
        File::from(file).write_all(bytes)
    }

    fn enter(&mut self, folders: &'a [OsString]) -> io::Result<&OwnedFd> {
        let common = self
            .below
            .iter()
            .zip(folders)
            .take_while(|((open, _), wanted)| open == wanted)
            .count();
        self.below.truncate(common);
        for name in folders.iter().skip(common) {
            let parent = self.below.last().map_or(&self.root, |(_, folder)| folder);
            mkdirat(parent, name, FOLDER_MODE)?;
            let folder = open_folder(parent, name)?;
            self.below.push((name, folder));
        }
        Ok(self.below.last().map_or(&self.root, |(_, folder)| folder))
    }
}

fn open_folder(parent: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    fchmod(&folder, FOLDER_MODE)?;
    Ok(folder)
}
