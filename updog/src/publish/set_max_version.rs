//! `updata set-max-version`: the ceiling of every update in a manifest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use semver::Version;
use serde::Serialize;

use super::manifest_file::{self, ManifestFileError};

/// Which ceiling.
#[derive(Debug, Clone, Args)]
pub struct SetMaxVersionArgs {
    /// The manifest
    pub file: PathBuf,
    /// The highest version offered, of whatever variant and architecture
    #[arg(short = 'v', long, value_name = "VERSION")]
    pub max_version: Version,
}

/// The ceiling that was set.
#[derive(Debug, Clone, Serialize)]
pub struct SetMaxVersionOutcome {
    /// The manifest.
    pub file: PathBuf,
    /// The ceiling.
    pub max_version: Version,
    /// How many updates there are.
    pub changed: usize,
}

/// Sets it for every update.
pub fn run(args: &SetMaxVersionArgs) -> Result<SetMaxVersionOutcome, ManifestFileError> {
    let changed = manifest_file::edit(&args.file, |manifest| {
        Ok(manifest.set_max_version(&args.max_version))
    })?;
    Ok(SetMaxVersionOutcome {
        file: args.file.clone(),
        max_version: args.max_version.clone(),
        changed,
    })
}

impl fmt::Display for SetMaxVersionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: max_version {} for {} update(s)",
            self.file.display(),
            self.max_version,
            self.changed
        )
    }
}
