//! Puts targets into the repository's shared folder, as `<sha256>.<name>`.
//!
//! A file there is complete and durable or absent. One that exists is compared with its name and
//! kept: the name is its digest, so nothing a client relies on is ever rewritten.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{Digest, RawImage};

use super::pack::{Packer, Packing};
use crate::publish::durable::{self, DurableError, NewFile};
use crate::publish::event::Observer;
use crate::publish::image_file::{self, ImageFile, ImageFileError};
use crate::publish::standing;

/// Why a target is not in its place.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(in crate::publish)))]
#[allow(missing_docs)] // the message says what each field is
pub enum PlaceError {
    /// The target could not be written.
    #[snafu(display("writing {name} into {}", folder.display()))]
    Write {
        name: String,
        folder: PathBuf,
        source: io::Error,
    },
    /// A file that exists cannot be read.
    #[snafu(display("reading the published target {}", path.display()))]
    ReadExisting { path: PathBuf, source: io::Error },
    /// A file that exists is not what its name says.
    #[snafu(display(
        "the published target {} is damaged: its content does not have the digest of its name; \
         restore it, or remove it and publish again",
        path.display()
    ))]
    Damaged { path: PathBuf },
    /// The folder or the file cannot be made.
    #[snafu(transparent)]
    Durable { source: DurableError },
    /// The image cannot be read.
    #[snafu(transparent)]
    Image { source: ImageFileError },
}

/// A target in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedTarget {
    /// The target's name.
    pub name: String,
    /// Its bytes.
    pub length: u64,
    /// Their digest.
    pub sha256: Digest,
    /// Whether the file was there already.
    pub existed: bool,
}

impl fmt::Display for PlacedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            length,
            sha256,
            existed,
        } = self;
        let existed = if *existed { "  (was there)" } else { "" };
        write!(f, "{sha256}  {length:>12}  {name}{existed}")
    }
}

/// The folder of targets.
#[derive(Debug)]
pub struct TargetsFolder {
    path: PathBuf,
}

impl TargetsFolder {
    /// Makes the folder where it does not exist.
    pub fn open(path: &Path) -> Result<Self, PlaceError> {
        durable::create_dir_all(path)?;
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// Compresses an image, in bounded memory. `expected` is what an earlier pass over the image saw.
    ///
    /// # Errors
    /// [`ImageFileError::Changed`] when this pass sees something else.
    pub fn place_image(
        &self,
        name: &str,
        image: &mut ImageFile,
        expected: Option<&RawImage>,
        packing: Packing,
        observer: Observer<'_>,
    ) -> Result<PlacedTarget, PlaceError> {
        let length = image.length();
        let folder = &self.path;
        self.compress(name, packing, length, |frame| {
            let seen = image.pass("compressing", observer, |chunk| {
                frame.write_all(chunk).context(WriteSnafu { name, folder })
            })?;
            if let Some(expected) = expected {
                image.ensure_same(expected, &seen)?;
            }
            Ok(())
        })
    }

    /// Compresses bytes into one LZ4 frame.
    pub fn place_compressed(&self, name: &str, bytes: &[u8]) -> Result<PlacedTarget, PlaceError> {
        let length = u64::try_from(bytes.len()).expect("a slice's length fits in 64 bits");
        let folder = &self.path;
        self.compress(name, Packing::Whole, length, |frame| {
            frame.write_all(bytes).context(WriteSnafu { name, folder })
        })
    }

    /// Places bytes as they are.
    pub fn place(&self, name: &str, bytes: &[u8]) -> Result<PlacedTarget, PlaceError> {
        let mut new = NewFile::beside(&self.path.join(name))?;
        let mut counted = Counted::new(new.file());
        counted.write_all(bytes).context(WriteSnafu {
            name,
            folder: &self.path,
        })?;
        let (length, sha256) = counted.finish();
        self.commit(new, name, length, sha256)
    }

    /// The file of a target that was placed.
    pub fn file(&self, placed: &PlacedTarget) -> PathBuf {
        self.path.join(format!("{}.{}", placed.sha256, placed.name))
    }

    fn compress(
        &self,
        name: &str,
        packing: Packing,
        length: u64,
        feed: impl FnOnce(&mut dyn Write) -> Result<(), PlaceError>,
    ) -> Result<PlacedTarget, PlaceError> {
        let folder = &self.path;
        let mut new = NewFile::beside(&folder.join(name))?;
        let counted = BufWriter::new(Counted::new(new.file()));
        let mut packer =
            Packer::new(packing, length, counted).context(WriteSnafu { name, folder })?;
        feed(&mut packer)?;
        let counted = packer
            .finish()
            .and_then(|buffered| {
                buffered
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)
            })
            .context(WriteSnafu { name, folder })?;
        let (length, sha256) = counted.finish();
        self.commit(new, name, length, sha256)
    }

    fn commit(
        &self,
        mut new: NewFile,
        name: &str,
        length: u64,
        sha256: Digest,
    ) -> Result<PlacedTarget, PlaceError> {
        let mut placed = PlacedTarget {
            name: name.to_owned(),
            length,
            sha256,
            existed: false,
        };
        let path = self.file(&placed);
        placed.existed = standing::is_there(&path).context(ReadExistingSnafu { path: &path })?;
        if placed.existed {
            let found = File::open(&path)
                .and_then(|mut file| image_file::raw_image(&mut file))
                .context(ReadExistingSnafu { path: &path })?;
            ensure!(found.sha256 == sha256, DamagedSnafu { path });
            // Whoever placed it may have stopped between the rename and the sync.
            durable::sync_dir(&self.path)?;
        } else {
            new.rename_to(path);
            new.commit_new()?;
        }
        Ok(placed)
    }
}

/// Removes what interrupted publishers left in `folder`: files that never got their name. Only for
/// the holder of the lock.
///
/// # Errors
/// Those of listing and removing; a folder that does not exist holds nothing.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(durable::TEMP_PREFIX) && entry.file_type()?.is_file()
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Counts and hashes what passes.
struct Counted<W> {
    inner: W,
    hasher: Sha256,
    length: u64,
}

impl<W: Write> Counted<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
        }
    }

    fn finish(self) -> (u64, Digest) {
        (
            self.length,
            Digest::from(<[u8; 32]>::from(self.hasher.finalize())),
        )
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += u64::try_from(written).expect("a slice's length fits in 64 bits");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::event::ignore;

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_same_target_twice_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = TargetsFolder::open(dir.path()).unwrap();
        let first = folder.place_compressed("h.lz4", &[7; 5000]).unwrap();
        let second = folder.place_compressed("h.lz4", &[7; 5000]).unwrap();
        assert_eq!((first.existed, second.existed), (false, true));
        assert_eq!(first.sha256, second.sha256);
        assert_eq!(files(dir.path()), [format!("{}.h.lz4", first.sha256)]);
    }

    #[test]
    fn a_damaged_target_is_found_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = TargetsFolder::open(dir.path()).unwrap();
        let placed = folder.place("manifest.json", b"{}").unwrap();
        let path = dir.path().join(format!("{}.manifest.json", placed.sha256));
        fs::write(&path, "damaged").unwrap();
        let error = folder.place("manifest.json", b"{}").unwrap_err();
        assert!(matches!(error, PlaceError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[test]
    fn an_image_that_changed_since_it_was_hashed_is_not_placed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = TargetsFolder::open(&dir.path().join("targets")).unwrap();
        let image = dir.path().join("image");
        fs::write(&image, [1; 4096]).unwrap();
        let mut opened = ImageFile::open(&image).unwrap();
        let seen = opened
            .pass::<ImageFileError>("", &mut ignore, |_| Ok(()))
            .unwrap();
        fs::write(&image, [2; 4096]).unwrap();
        let error = folder
            .place_image("a", &mut opened, Some(&seen), Packing::Whole, &mut ignore)
            .unwrap_err();
        assert!(
            matches!(
                error,
                PlaceError::Image {
                    source: ImageFileError::Changed { .. }
                }
            ),
            "{error}"
        );
        assert!(files(&folder.path).is_empty());
    }

    #[test]
    fn only_leftovers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".updata-abc123", ".updata.lock", "1.root.json"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_leftovers(dir.path()).unwrap();
        let mut left = files(dir.path());
        left.sort();
        assert_eq!(left, [".updata.lock", "1.root.json"]);
        remove_leftovers(&dir.path().join("absent")).unwrap();
    }
}
