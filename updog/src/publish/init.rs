//! `updata init`: an empty manifest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use update_metadata::Manifest;

use super::manifest_file::{self, ManifestFileError};

/// Which file.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The manifest to make; it must not exist
    pub file: PathBuf,
}

/// The manifest that was made.
#[derive(Debug, Clone, Serialize)]
pub struct InitOutcome {
    /// Its file.
    pub file: PathBuf,
}

/// Writes a manifest without updates and without migrations.
pub fn run(args: &InitArgs) -> Result<InitOutcome, ManifestFileError> {
    manifest_file::create(&args.file, &Manifest::default())?;
    Ok(InitOutcome {
        file: args.file.clone(),
    })
}

impl fmt::Display for InitOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: an empty manifest", self.file.display())
    }
}
