//! A manifest in a file of its own: what the editing verbs read, change and write back.

use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use update_metadata::{EditError, MAX_MANIFEST_BYTES, Manifest, ManifestError};

use super::bounded;
use super::durable::{self, DurableError};

/// Why a manifest's file is as it was.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ManifestFileError {
    /// The file cannot be read.
    #[snafu(display("reading the manifest {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is no manifest.
    #[snafu(display("{} is not a manifest", path.display()))]
    Parse {
        path: PathBuf,
        source: ManifestError,
    },
    /// The change is not allowed.
    #[snafu(display("changing the manifest {}", path.display()))]
    Edit { path: PathBuf, source: EditError },
    /// The file cannot be written.
    #[snafu(transparent)]
    Write { source: DurableError },
}

impl ManifestFileError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Edit { .. } => true,
            Self::Write { source } => source.is_refusal(),
            Self::Read { .. } | Self::Parse { .. } => false,
        }
    }
}

/// Reads a manifest.
pub fn read(path: &Path) -> Result<Manifest, ManifestFileError> {
    let bytes = bounded::read(path, MAX_MANIFEST_BYTES).context(ReadSnafu { path })?;
    Manifest::from_slice(&bytes).context(ParseSnafu { path })
}

/// Writes a manifest that did not exist.
pub fn create(path: &Path, manifest: &Manifest) -> Result<(), ManifestFileError> {
    Ok(durable::create(path, &manifest.to_json_pretty())?)
}

/// Reads, changes and writes back. The file is the old or the new one, whatever happens; it is not
/// touched when `change` fails.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Manifest) -> Result<T, EditError>,
) -> Result<T, ManifestFileError> {
    let mut manifest = read(path)?;
    let result = change(&mut manifest).context(EditSnafu { path })?;
    durable::replace(path, &manifest.to_json_pretty())?;
    Ok(result)
}
