//! `updata remove-update`: one update less in a manifest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use semver::Version;
use serde::Serialize;

use super::manifest_file::{self, ManifestFileError};

/// Which update.
#[derive(Debug, Clone, Args)]
pub struct RemoveUpdateArgs {
    /// The manifest
    pub file: PathBuf,
    /// The variant
    #[arg(short = 'l', long)]
    pub variant: String,
    /// The version
    #[arg(short = 'v', long)]
    pub version: Version,
    /// The architecture: `x86_64` or `aarch64`
    #[arg(short = 'a', long)]
    pub arch: String,
}

/// What was removed.
#[derive(Debug, Clone, Serialize)]
pub struct RemoveUpdateOutcome {
    /// The manifest.
    pub file: PathBuf,
    /// How many updates matched; 0 is a success.
    pub removed: usize,
}

/// Removes the update. The ceiling of the others stays as it is.
pub fn run(args: &RemoveUpdateArgs) -> Result<RemoveUpdateOutcome, ManifestFileError> {
    let removed = manifest_file::edit(&args.file, |manifest| {
        Ok(manifest.remove_update(&args.variant, &args.arch, &args.version))
    })?;
    Ok(RemoveUpdateOutcome {
        file: args.file.clone(),
        removed,
    })
}

impl fmt::Display for RemoveUpdateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.removed {
            0 => write!(f, "{file}: no such update, 0 removed"),
            removed => write!(f, "{file}: {removed} update(s) removed"),
        }
    }
}
