//! `updata add-update`: one more update in a manifest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use semver::Version;
use serde::Serialize;
use update_metadata::{Images, NewUpdate};

use super::manifest_file::{self, ManifestFileError};
use super::word::ARCHES;

/// Which update, and the target names of its images.
#[derive(Debug, Clone, Args)]
pub struct AddUpdateArgs {
    /// The manifest
    pub file: PathBuf,
    /// The variant
    #[arg(short = 'f', long)]
    pub variant: String,
    /// The version
    #[arg(short = 'v', long)]
    pub version: Version,
    /// The architecture: `x86_64` or `aarch64`
    #[arg(short = 'a', long)]
    pub arch: String,
    /// The highest version offered to this variant and architecture from now on; without it the
    /// higher of the present one and the new version
    #[arg(short = 'm', long)]
    pub max_version: Option<Version>,
    /// The target name of the root image
    #[arg(short = 'r', long, value_name = "TARGET")]
    pub root: String,
    /// The target name of the boot image
    #[arg(short = 'b', long, value_name = "TARGET")]
    pub boot: String,
    /// The target name of the hash image
    #[arg(short = 'h', long, value_name = "TARGET")]
    pub hash: String,
}

/// The update that was added.
#[derive(Debug, Clone, Serialize)]
pub struct AddUpdateOutcome {
    /// The manifest.
    pub file: PathBuf,
    /// The variant.
    pub variant: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: Version,
    /// The ceiling of every update of this variant and architecture.
    pub max_version: Version,
}

impl AddUpdateOutcome {
    /// What to tell of an update that no host will find.
    pub fn warning(&self) -> Option<String> {
        let arch = &self.arch;
        (!ARCHES.contains(&arch.as_str())).then(|| {
            format!(
                "warning: no host is {arch}: manifests name the architectures {}",
                ARCHES.join(" and ")
            )
        })
    }
}

/// Adds the update, without waves, and sets the ceiling of its variant and architecture.
///
/// # Errors
/// A refusal when the manifest lists the same variant, architecture and version already.
pub fn run(args: &AddUpdateArgs) -> Result<AddUpdateOutcome, ManifestFileError> {
    let update = NewUpdate {
        variant: args.variant.clone(),
        arch: args.arch.clone(),
        version: args.version.clone(),
        max_version: args.max_version.clone(),
        images: Images {
            boot: args.boot.clone(),
            root: args.root.clone(),
            hash: args.hash.clone(),
        },
        verity: None,
        raw_images: None,
        block_maps: None,
    };
    let max_version = manifest_file::edit(&args.file, |manifest| {
        manifest.add_update(update)?;
        let added = manifest
            .updates
            .last()
            .expect("an update was added just now");
        Ok(added.max_version.clone())
    })?;
    Ok(AddUpdateOutcome {
        file: args.file.clone(),
        variant: args.variant.clone(),
        arch: args.arch.clone(),
        version: args.version.clone(),
        max_version,
    })
}

impl fmt::Display for AddUpdateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            variant,
            arch,
            version,
            max_version,
        } = self;
        let file = file.display();
        write!(
            f,
            "{file}: added {variant} {arch} {version}, max_version {max_version}"
        )
    }
}
