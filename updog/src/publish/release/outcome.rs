//! What a release put into the repository.

use std::fmt;
use std::path::PathBuf;

use semver::Version;
use serde::Serialize;
use update_metadata::{Digest, RawImages, Salt, WaveSchedule};

use super::metadata::Expiries;
use super::place::PlacedTarget;
use super::signing::Staged;
use crate::publish::lint::finding::Finding;
use crate::publish::word::Word;

/// A published release.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseOutcome {
    /// The variant.
    pub variant: Word,
    /// The architecture.
    pub arch: Word,
    /// The version.
    pub version: Version,
    /// The highest version offered to this variant and architecture.
    pub max_version: Version,
    /// The folder of the metadata: what a client's `metadata_base_url` points to.
    pub metadata: PathBuf,
    /// The folder of the targets: what a client's `targets_base_url` points to.
    pub targets_folder: PathBuf,
    /// The version of targets, snapshot and timestamp.
    pub metadata_version: u64,
    /// Where the metadata wait for signatures; nothing is published then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// When they stop being valid. Snapshot and timestamp of a prepared release are made later, and
    /// stay valid as long from then on.
    pub expires: Expiries,
    /// The root hash of the root image.
    pub root_hash: Digest,
    /// The salt of its hash tree.
    pub salt: Salt,
    /// Length and digest of each image, not compressed.
    pub images: RawImages,
    /// The targets of this release, the manifest last.
    pub targets: Vec<PlacedTarget>,
    /// The migrations it added to the manifest.
    pub migrations: Vec<MigrationSummary>,
    /// Its waves; none means the whole fleet at once.
    pub waves: WaveSchedule,
    /// What `updata lint` has to say of it: warnings, and what was allowed.
    pub findings: Vec<Finding>,
}

/// Migrations between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationSummary {
    /// The lower version.
    pub from: Version,
    /// The higher version.
    pub to: Version,
    /// The targets in the order in which they run upward.
    pub targets: Vec<String>,
}

impl fmt::Display for ReleaseOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in &self.targets {
            writeln!(f, "{target}")?;
        }
        for MigrationSummary { from, to, targets } in &self.migrations {
            let what = if targets.is_empty() {
                "none".to_owned()
            } else {
                targets.join(", ")
            };
            writeln!(f, "migrations {from} to {to}: {what}")?;
        }
        let waves = match self.waves.len() {
            0 => "to all hosts at once".to_owned(),
            waves => format!("in {waves} wave(s)"),
        };
        let Self {
            variant,
            arch,
            version,
            max_version,
            ..
        } = self;
        let done = match &self.staged {
            Some(_) => "prepared, not published:",
            None => "published",
        };
        writeln!(
            f,
            "{done} {variant} {arch} {version} {waves}, max_version {max_version}, root hash {}",
            self.root_hash
        )?;
        if let Some(staged) = &self.staged {
            return write!(f, "{staged}");
        }
        write!(
            f,
            "metadata version {} in {}, valid until {} unless published again",
            self.metadata_version,
            self.metadata.display(),
            self.expires.timestamp.format("%Y-%m-%dT%H:%M:%SZ")
        )
    }
}
