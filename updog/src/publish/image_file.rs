//! An image as the publisher was given it: a plain file, read from start to end more than once.
//!
//! Nothing here keeps an image in memory. Every pass computes length and digest again, so that an
//! image that changes between two passes is noticed.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{Digest, RawImage};

use super::event::{Observer, Watched};
use crate::digest;

const CHUNK_BYTES: usize = 1 << 20;
const LZ4_FRAME_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Why an image cannot be used.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ImageFileError {
    /// The file cannot be opened.
    #[snafu(display("opening {}", path.display()))]
    Open { path: PathBuf, source: io::Error },
    /// The file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// There is nothing in it.
    #[snafu(display("{} is empty", path.display()))]
    Empty { path: PathBuf },
    /// The file is compressed already.
    #[snafu(display(
        "{} is compressed already; give the plain file, updata compresses it", path.display()
    ))]
    Compressed { path: PathBuf },
    /// Two passes saw different bytes.
    #[snafu(display("{} changed while it was being read; start again", path.display()))]
    Changed { path: PathBuf },
}

/// An open image.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl ImageFile {
    /// Opens a plain image.
    ///
    /// # Errors
    /// [`ImageFileError::Compressed`] for an LZ4 frame, [`ImageFileError::Empty`] for no bytes.
    pub fn open(path: &Path) -> Result<Self, ImageFileError> {
        let mut file = File::open(path).context(OpenSnafu { path })?;
        // The end, not the metadata's length, so that a block device works too.
        let length = file.seek(SeekFrom::End(0)).context(ReadSnafu { path })?;
        ensure!(length > 0, EmptySnafu { path });
        file.rewind().context(ReadSnafu { path })?;
        let mut start = Vec::new();
        (&file)
            .take(4)
            .read_to_end(&mut start)
            .context(ReadSnafu { path })?;
        ensure!(start != LZ4_FRAME_MAGIC, CompressedSnafu { path });
        Ok(Self {
            path: path.to_path_buf(),
            file,
            length,
        })
    }

    /// Where the image is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long it was when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// One pass: hands each piece to `sink` and returns what the pass saw. `doing` says what for,
    /// as in `hashing`.
    ///
    /// # Errors
    /// Those of `sink`, and [`ImageFileError`] as `E`.
    pub fn pass<E: From<ImageFileError>>(
        &mut self,
        doing: &str,
        observer: Observer<'_>,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<RawImage, E> {
        let path = &self.path;
        self.file.rewind().context(ReadSnafu { path })?;
        let step = format!("{doing} {}", path.display());
        // One byte more than announced is read, so that a file that grew is noticed too.
        let limited = (&self.file).take(self.length.saturating_add(1));
        let mut reader = Watched::start(step, self.length, limited, observer);
        let mut hasher = Sha256::new();
        let length = each_chunk(&mut reader, path, |chunk| {
            hasher.update(chunk);
            sink(chunk)
        })?;
        reader.finish();
        ensure!(length == self.length, ChangedSnafu { path });
        Ok(RawImage {
            length,
            sha256: Digest::from(<[u8; 32]>::from(hasher.finalize())),
        })
    }

    /// [`ImageFileError::Changed`] unless two passes saw the same.
    pub fn ensure_same(&self, first: &RawImage, second: &RawImage) -> Result<(), ImageFileError> {
        ensure!(first == second, ChangedSnafu { path: &self.path });
        Ok(())
    }
}

/// Length and digest of everything that is left to read.
pub fn raw_image(reader: &mut impl Read) -> io::Result<RawImage> {
    let (length, sha256) = digest::of_reader(reader)?;
    Ok(RawImage { length, sha256 })
}

/// Length and digest of bytes in memory.
pub fn raw_image_of(bytes: &[u8]) -> RawImage {
    RawImage {
        length: u64::try_from(bytes.len()).expect("a slice's length fits in 64 bits"),
        sha256: Digest::from(<[u8; 32]>::from(Sha256::digest(bytes))),
    }
}

/// Reads to the end in pieces; the number of bytes.
fn each_chunk<E: From<ImageFileError>>(
    reader: &mut impl Read,
    path: &Path,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut total = 0_u64;
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(ImageFileError::Read {
                    path: path.to_path_buf(),
                    source,
                }
                .into());
            }
        };
        total += u64::try_from(length).expect("a buffer's length fits in 64 bits");
        sink(&buffer[..length])?;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::event::ignore;
    use super::*;

    fn pass(image: &mut ImageFile) -> Result<RawImage, ImageFileError> {
        image.pass("hashing", &mut ignore, |_| Ok(()))
    }

    #[test]
    fn every_pass_sees_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let content: Vec<u8> = (0..2_500_000_u32)
            .map(|i| u8::try_from(i % 253).unwrap())
            .collect();
        fs::write(&path, &content).unwrap();
        let mut image = ImageFile::open(&path).unwrap();
        let mut seen = Vec::new();
        let first = image
            .pass::<ImageFileError>("hashing", &mut ignore, |chunk| {
                seen.extend_from_slice(chunk);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, content);
        assert_eq!(first.length, 2_500_000);
        let digest: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!(first.sha256, Digest::from(digest));
        let second = pass(&mut image).unwrap();
        image.ensure_same(&first, &second).unwrap();
    }

    #[test]
    fn an_image_that_grows_shrinks_or_changes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        for other in ["abcdX", "abc", "abcD"] {
            fs::write(&path, "abcd").unwrap();
            let mut image = ImageFile::open(&path).unwrap();
            let first = pass(&mut image).unwrap();
            fs::write(&path, other).unwrap();
            let changed = pass(&mut image).and_then(|second| image.ensure_same(&first, &second));
            assert!(
                matches!(changed, Err(ImageFileError::Changed { .. })),
                "{other}"
            );
        }
    }

    #[test]
    fn empty_compressed_and_absent_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        assert!(matches!(
            ImageFile::open(&path),
            Err(ImageFileError::Open { .. })
        ));
        fs::write(&path, "").unwrap();
        assert!(matches!(
            ImageFile::open(&path),
            Err(ImageFileError::Empty { .. })
        ));
        fs::write(&path, [0x04, 0x22, 0x4d, 0x18, 0x60]).unwrap();
        assert_eq!(
            ImageFile::open(&path).unwrap_err().to_string(),
            format!(
                "{} is compressed already; give the plain file, updata compresses it",
                path.display()
            )
        );
    }
}
