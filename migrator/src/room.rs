//! Room on the file system of the datastore.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

/// What a store takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Bytes of blocks on the disk.
    pub bytes: u64,
    /// Files and folders.
    pub entries: u64,
}

/// What a file system has left for us; `None` where it does not count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Free {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders. Some file systems make them as needed.
    pub entries: Option<u64>,
}

/// How much of a folder is counted.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub Size);

impl Size {
    /// Whether neither number is above the other's.
    pub fn fits(self, other: Self) -> bool {
        self.bytes <= other.bytes && self.entries <= other.entries
    }

    /// Both sums.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    /// Both so many times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_mul(count),
            entries: self.entries.saturating_mul(count),
        }
    }
}

impl Free {
    /// What is left on the file system of `path`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            bytes: found.f_bavail.saturating_mul(found.f_frsize),
            entries: (found.f_files > 0).then_some(found.f_favail),
        })
    }

    /// Whether so much fits.
    pub fn holds(self, size: Size) -> bool {
        size.bytes <= self.bytes && self.entries.is_none_or(|entries| size.entries <= entries)
    }
}

/// What the folder `dir` takes, itself included. Links are not followed. Ends at `limit`: what is
/// larger is told by a size that does not fit it.
///
/// # Errors
/// Those of the file system. Whatever vanishes while it is counted is not counted.
pub fn measure(dir: &Path, Limit(limit): Limit) -> io::Result<Size> {
    let mut size = Size::default();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != dir => continue,
            other => other?,
        };
        size.entries = size.entries.saturating_add(1);
        for entry in entries {
            let entry = entry?;
            let found = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            size.bytes = size
                .bytes
                .saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                folders.push(entry.path());
            } else {
                size.entries = size.entries.saturating_add(1);
            }
            if !size.fits(limit) {
                return Ok(size);
            }
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limit = Limit(Size {
        bytes: u64::MAX,
        entries: u64::MAX,
    });

    #[test]
    fn everything_is_counted_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), vec![1; 10_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("a/link")).unwrap();
        let size = measure(dir.path(), ALL).unwrap();
        assert_eq!(size.entries, 5);
        assert!(size.bytes >= 10_000, "{size:?}");
    }

    #[test]
    fn counting_ends_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..100 {
            fs::write(dir.path().join(index.to_string()), "").unwrap();
        }
        let limit = Size {
            bytes: u64::MAX,
            entries: 10,
        };
        assert_eq!(measure(dir.path(), Limit(limit)).unwrap().entries, 11);
    }

    #[test]
    fn the_file_system_says_what_is_left() {
        let free = Free::at(Path::new("/")).unwrap();
        assert!(free.holds(Size::default()));
        let everything = Size {
            bytes: u64::MAX,
            entries: 0,
        };
        assert!(!free.holds(everything));
    }
}
