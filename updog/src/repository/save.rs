//! A target as a file: whole and verified, or not there.
//!
//! Bytes go to a file without a name of its own (`.updog-part-...`) in the folder of the
//! destination. It gets its name only after the last byte came, length and digest were the signed
//! ones, and everything was synced. The unfinished file of a run that was cut off is removed by the
//! next run in the same folder; of one that is at work it is not, since that holds a lock on it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};
use tempfile::NamedTempFile;
use url::Url;

use super::error::shown;
use super::{SignedTarget, UpdateRepository};
use crate::cancel::Cancel;
use crate::digest;
use crate::durable::{self, Readers};
use crate::event::Wait;

const PART_PREFIX: &str = ".updog-part-";
const CHUNK_BYTES: usize = 1 << 20;

/// Why a target is not in its file. What was there before still is.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum SaveError {
    /// Something else has the name.
    #[snafu(display("{} exists and is not target {name} of {length} bytes", path.display()))]
    Exists {
        path: PathBuf,
        name: String,
        length: u64,
    },
    /// A folder, a device or the like has the name.
    #[snafu(display("{} is not a regular file and is not replaced", path.display()))]
    NotRegular { path: PathBuf },
    /// The file system is too full.
    #[snafu(display(
        "{} has {free} bytes free, and {needed} are needed", folder.display()
    ))]
    NoRoom {
        folder: PathBuf,
        needed: u64,
        free: u64,
    },
    /// The target did not come, or is not what was signed.
    #[snafu(display("fetching target {name} of {length} bytes from {}", shown(url)))]
    Fetch {
        name: String,
        length: u64,
        url: Url,
        source: io::Error,
    },
    /// The file cannot be looked at, made, written, synced or renamed.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
}

impl SaveError {
    /// Whether a rule forbade it, rather than something failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Exists { .. } | Self::NotRegular { .. })
    }

    /// What the operator can do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "choose another name, or replace the file: --force",
            Self::NotRegular { .. } => "choose another name",
            Self::NoRoom { .. } => "make room, or choose a folder of another file system",
            Self::Fetch { .. } => {
                "nothing was left behind; once the target can be had and is good, run the command \
                 again"
            }
            Self::Write { .. } => {
                "nothing was left behind; once the cause is mended, run the command again"
            }
        }
    }
}

/// What happens to another file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the target is not saved.
    Keep,
    /// The target takes its place.
    Replace,
}

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// The target was fetched.
    Written,
    /// The file was there and right.
    AlreadyThere,
}

impl UpdateRepository {
    /// Makes `path` a file that holds `target`; a right one is left as it is.
    ///
    /// After a crash in the middle: what was there before, and at most a stray file beside it.
    ///
    /// # Errors
    /// Every [`SaveError`].
    pub fn save(
        &self,
        target: &SignedTarget,
        path: &Path,
        existing: Existing,
        readers: Readers,
    ) -> Result<Saved, SaveError> {
        if holds(path, target, self.watch().cancel()).context(WriteSnafu { path })? {
            return Ok(Saved::AlreadyThere);
        }
        match fs::metadata(path) {
            Ok(found) => {
                ensure!(found.is_file(), NotRegularSnafu { path });
                ensure!(
                    existing == Existing::Replace,
                    ExistsSnafu {
                        path,
                        name: target.name(),
                        length: target.length
                    }
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(source).context(WriteSnafu { path }),
        }
        let folder = folder_of(path);
        remove_strays(folder);
        check_room(folder, target.length)?;
        let part = self.part(target, path, readers)?;
        let named = match existing {
            Existing::Replace => part.persist(path),
            Existing::Keep => part.persist_noclobber(path),
        };
        named
            .map_err(|error| error.error)
            .and_then(|_| durable::sync_dir(folder))
            .context(WriteSnafu { path })?;
        Ok(Saved::Written)
    }

    /// The whole target in a file that has no name yet, on disk.
    fn part(
        &self,
        target: &SignedTarget,
        path: &Path,
        readers: Readers,
    ) -> Result<NamedTempFile, SaveError> {
        let mut part = tempfile::Builder::new()
            .prefix(PART_PREFIX)
            .permissions(Permissions::from_mode(readers.mode()))
            .tempfile_in(folder_of(path))
            .context(WriteSnafu { path })?;
        // Never contended: nobody else knows the name yet but whoever looks for strays, and then
        // the rename fails and the next run does better.
        part.as_file().lock().context(WriteSnafu { path })?;
        let total = target.length;
        let mut reader = self.open(target);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            // Ends only when the bytes were the signed ones.
            let read = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(source).context(FetchSnafu {
                        name: target.name(),
                        length: target.length,
                        url: self.settings.targets_base_url.clone(),
                    });
                }
            };
            part.write_all(&chunk[..read])
                .context(WriteSnafu { path })?;
            self.watch().progress(reader.received(), total);
            // What came is judged by the reader; a run that is to stop does not wait for more.
            self.watch()
                .check()
                .map_err(io::Error::from)
                .context(WriteSnafu { path })?;
        }
        self.watch()
            .while_waiting(Wait::Sync, || part.as_file().sync_all())
            .context(WriteSnafu { path })?;
        Ok(part)
    }
}

/// Whether `path` is a file that holds exactly `target`.
pub(super) fn holds(path: &Path, target: &SignedTarget, cancel: &Cancel) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() == target.length => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let file = cancel.guard(File::open(path)?);
    let found = digest::of_reader(file.take(target.length.saturating_add(1)))?;
    Ok(found == (target.length, target.sha256))
}

/// Refuses what cannot fit before the first byte is fetched.
pub(super) fn check_room(folder: &Path, needed: u64) -> Result<(), SaveError> {
    // A file system that cannot say how full it is finds out itself.
    let Some(free) = free_bytes(folder) else {
        return Ok(());
    };
    ensure!(
        needed <= free,
        NoRoomSnafu {
            folder,
            needed,
            free
        }
    );
    Ok(())
}

/// Bytes that the file system of `folder` has left for programs; `None` where it does not say.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn remove_strays(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_part = entry.file_name().to_string_lossy().starts_with(PART_PREFIX);
        if is_part && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove_if_unused(&entry.path());
        }
    }
}

fn remove_if_unused(path: &Path) {
    let removed = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
        .and_then(|file| match file.try_lock() {
            Ok(()) => fs::remove_file(path),
            // Another run writes it.
            Err(fs::TryLockError::WouldBlock) => Ok(()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        });
    if let Err(error) = removed {
        // It costs space, nothing else; the next run tries again.
        tracing::warn!("removing the stray file {}: {error}", path.display());
    }
}

/// The folder in which `path` names something.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_nobody_writes_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in [".updog-part-old", ".updog-part-busy", ".tmpOther", "file"] {
            fs::write(path(name), "x").unwrap();
        }
        let busy = File::open(path(".updog-part-busy")).unwrap();
        busy.lock().unwrap();
        remove_strays(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".tmpOther", ".updog-part-busy", "file"]);
    }

    #[test]
    fn what_cannot_fit_is_refused_with_the_numbers() {
        let dir = tempfile::tempdir().unwrap();
        check_room(dir.path(), 1).unwrap();
        let error = check_room(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{} has ", dir.path().display()))
                && error.ends_with(" bytes free, and 18446744073709551615 are needed"),
            "{error}"
        );
    }

    #[test]
    fn a_name_without_a_folder_is_in_this_one() {
        assert_eq!(folder_of(Path::new("x")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/x")), Path::new("a"));
        assert_eq!(folder_of(Path::new("/x")), Path::new("/"));
    }
}
