//! Pure: what is known of a repository when it is judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use semver::Version;
use update_metadata::{Digest, ImageKind, Manifest, RawImage, Verity};

use crate::publish::period::Period;

/// What the rules measure by.
#[derive(Debug, Clone)]
pub struct Yardstick {
    /// The time of this run.
    pub now: DateTime<Utc>,
    /// The disks that hosts have, as `updata disk` plans them.
    pub os_image_size_gib: Option<u16>,
    /// How long the timestamp has to stay valid.
    pub timestamp_horizon: Period,
    /// How long every other role has to stay valid.
    pub horizon: Period,
}

/// Files in the targets folder that no metadata folder lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// The targets folder.
    pub folder: PathBuf,
    /// How many.
    pub count: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// The first of their names, in order.
    pub first: Vec<String>,
}

/// The metadata folder of a variant and architecture.
#[derive(Debug, Clone)]
pub struct FolderFacts {
    /// Where it is.
    pub folder: PathBuf,
    /// What its root role says.
    pub root: RootFacts,
    /// Root, timestamp, snapshot and targets.
    pub roles: Vec<RoleFacts>,
    /// Whether targets are delegated to other roles.
    pub delegates: bool,
    /// The listed targets, by name.
    pub targets: BTreeMap<String, TargetFacts>,
    /// What is offered.
    pub manifest: Manifest,
    /// What is known of each update of the manifest, in its order.
    pub updates: Vec<UpdateFacts>,
    /// The version that is about to be published, if one is.
    pub releasing: Option<Version>,
}

/// What a root role says.
#[derive(Debug, Clone, Default)]
pub struct RootFacts {
    /// Whether files are asked for by version and digest.
    pub consistent_snapshot: bool,
    /// Each listed key: its id, and the bytes that make it the key it is.
    pub keys: Vec<(String, Vec<u8>)>,
    /// Of each role its name, the ids of its keys, and how many of them must sign.
    pub roles: Vec<(&'static str, Vec<String>, u64)>,
}

/// A role's metadata.
#[derive(Debug, Clone, Copy)]
pub struct RoleFacts {
    /// Its name.
    pub role: &'static str,
    /// When it stops being valid.
    pub expires: DateTime<Utc>,
    /// Bytes of its file; unknown before it is signed.
    pub bytes: Option<u64>,
}

/// A listed target.
#[derive(Debug, Clone)]
pub struct TargetFacts {
    /// Bytes, as signed; unknown of what is still to be placed.
    pub length: Option<u64>,
    /// SHA-256, as signed; unknown of what is still to be placed.
    pub sha256: Option<Digest>,
    /// What is in its place.
    pub found: Found,
    /// What was read of it.
    pub content: Option<Content>,
}

/// What is where a target should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No such file.
    Absent(PathBuf),
    /// A file of so many bytes.
    File(PathBuf, u64),
    /// The release under way places it.
    ToBePlaced,
}

/// What was read of a target, to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// What it decodes to, or why it does not; none where it need not be compressed.
    pub decoded: Option<Result<RawImage, String>>,
}

/// What was read of an update's images.
#[derive(Debug, Clone, Default)]
pub struct UpdateFacts {
    /// Whether the root hash of the manifest stands in the boot image.
    pub boot_names_root_hash: Option<bool>,
    /// The facts of the tree over the root image if the hash image is that tree, or why it is not.
    pub tree: Option<Result<Verity, String>>,
    /// What is wrong with the block maps.
    pub map_problems: BTreeMap<ImageKind, String>,
}
