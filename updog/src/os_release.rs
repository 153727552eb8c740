//! Which version and variant runs: the `os-release` file of this image.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use semver::Version;
use snafu::{ResultExt, Snafu};
use update_metadata::MAX_OS_RELEASE_BYTES;

/// Why the running version is not known.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum OsReleaseError {
    /// The file cannot be read, or is not text.
    #[snafu(display("reading {}", path.display()))]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// It does not say what the engine needs.
    #[snafu(display("{}", path.display()))]
    Meaning {
        path: PathBuf,
        source: update_metadata::OsReleaseError,
    },
}

/// What the running image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `VARIANT_ID`.
    pub variant: String,
    /// `VERSION_ID`.
    pub version: Version,
    /// `PRETTY_NAME`; empty where there is none.
    pub pretty_name: String,
    /// `BUILD_ID`; the same.
    pub build_id: String,
}

impl OsRelease {
    /// Reads the file at `path`, at most 1 MiB of it.
    ///
    /// # Errors
    /// Every [`OsReleaseError`].
    pub fn load(path: &Path) -> Result<Self, OsReleaseError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_OS_RELEASE_BYTES).read_to_string(&mut text))
            .context(ReadSnafu { path })?;
        let system = update_metadata::OsRelease(&text);
        Ok(Self {
            version: system.version().context(MeaningSnafu { path })?,
            pretty_name: system.pretty_name().unwrap_or_default().to_owned(),
            build_id: system.build_id().unwrap_or_default().to_owned(),
            variant: system.variant().context(MeaningSnafu { path })?.to_owned(),
        })
    }
}

/// The architecture that this program was built for, as manifests name it.
pub const ARCH: &str = std::env::consts::ARCH;
