//! What a run asks the host: random names, and what the booting image says of itself.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use semver::Version;
use snafu::{ResultExt, Snafu};
use update_metadata::MAX_OS_RELEASE_BYTES;

/// Why the booting version is not known.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum OsReleaseError {
    /// The file cannot be read, or is not text.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// It does not say.
    #[snafu(display("{}", path.display()))]
    Meaning {
        path: PathBuf,
        source: update_metadata::OsReleaseError,
    },
}

/// The booting image's `os-release`.
#[derive(Debug, Clone)]
pub struct OsRelease {
    path: PathBuf,
    text: String,
}

impl OsRelease {
    /// Reads the file, at most 1 MiB of it.
    ///
    /// # Errors
    /// [`OsReleaseError::Read`].
    pub fn load(path: &Path) -> Result<Self, OsReleaseError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_OS_RELEASE_BYTES).read_to_string(&mut text))
            .context(ReadSnafu { path })?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// `VERSION_ID`.
    ///
    /// # Errors
    /// [`OsReleaseError::Meaning`].
    pub fn version(&self) -> Result<Version, OsReleaseError> {
        let system = update_metadata::OsRelease(&self.text);
        system.version().context(MeaningSnafu { path: &self.path })
    }

    /// `VARIANT_ID`.
    ///
    /// # Errors
    /// [`OsReleaseError::Meaning`].
    pub fn variant(&self) -> Result<String, OsReleaseError> {
        let system = update_metadata::OsRelease(&self.text);
        let variant = system
            .variant()
            .context(MeaningSnafu { path: &self.path })?;
        Ok(variant.to_owned())
    }
}

/// Opens a plain file that others may have put something else in the place of: a link is not
/// followed, and a pipe not waited for.
///
/// # Errors
/// When there is none; of kind [`io::ErrorKind::Other`] when there is something else.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link")),
        other => other?,
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no plain file"));
    }
    Ok(file.into())
}

/// So many letters and digits, from the kernel.
///
/// # Errors
/// When it gives none.
pub(crate) fn random_name(length: usize) -> io::Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::new();
    while name.len() < length {
        let mut bytes = [0_u8; 32];
        let (filled, _) =
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
                .map(|count| bytes.split_at(count.min(32)))?;
        for byte in filled {
            // 62 does not divide 256; what is above 4 * 62 would favour some letters.
            if let Some(letter) = (*byte < 248).then(|| LETTERS.get(usize::from(*byte) % 62)) {
                name.extend(letter.map(|letter| char::from(*letter)));
            }
        }
    }
    name.truncate(length);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_are_letters_and_digits_and_differ() {
        let names = [random_name(16).unwrap(), random_name(16).unwrap()];
        for name in &names {
            assert_eq!(name.len(), 16);
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{name}"
            );
        }
        assert_ne!(names[0], names[1]);
    }
}
