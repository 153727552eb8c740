//! `updata validate`: whether a file is a manifest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::manifest_file::{self, ManifestFileError};

/// Which file.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The manifest
    pub file: PathBuf,
}

/// A valid manifest.
#[derive(Debug, Clone, Serialize)]
pub struct ValidateOutcome {
    /// Its file.
    pub file: PathBuf,
    /// How many updates it lists.
    pub updates: usize,
    /// Between how many pairs of versions it has migrations, if only empty ones.
    pub migrations: usize,
}

/// Reads the manifest and changes nothing.
pub fn run(args: &ValidateArgs) -> Result<ValidateOutcome, ManifestFileError> {
    let manifest = manifest_file::read(&args.file)?;
    Ok(ValidateOutcome {
        file: args.file.clone(),
        updates: manifest.updates.len(),
        migrations: manifest.migrations.len(),
    })
}

impl fmt::Display for ValidateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: valid, {} update(s), migrations between {} pair(s) of versions",
            self.file.display(),
            self.updates,
            self.migrations
        )
    }
}
