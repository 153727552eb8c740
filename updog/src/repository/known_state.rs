//! PURE: which of the kept metadata still count, and whether a server's timestamp is news.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tough::schema::{Metafile, Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp};

use super::versions::{Versions, rotates};

/// The files of the last run, unverified, as they are on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptFiles {
    pub(super) timestamp: Option<Vec<u8>>,
    pub(super) snapshot: Option<Vec<u8>>,
    pub(super) targets: Option<Vec<u8>>,
    pub(super) versions: Option<Versions>,
}

/// A metadata file as it was received, and what it says.
#[derive(Debug, Clone)]
pub(super) struct Kept<T> {
    pub(super) bytes: Vec<u8>,
    pub(super) signed: T,
}

/// Those of the kept files that count under a root: each is signed by its keys, and each is the one
/// that the file before it names.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownState {
    pub(super) timestamp: Option<Kept<Timestamp>>,
    pub(super) snapshot: Option<Kept<Snapshot>>,
    pub(super) targets: Option<Kept<Targets>>,
    /// The highest version of a timestamp that was verified; 0 is none.
    highest_timestamp: u64,
}

/// What a server's timestamp is to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Newer than what is trusted, or nothing is; or nothing that the root's keys signed.
    Newer,
    /// Of the version that is trusted.
    Same,
    /// Older than what is trusted.
    Older,
}

impl KnownState {
    /// What counts under `root`, for a host whose newest root was `start` when the run began. The
    /// files are void once a root names other timestamp or snapshot keys.
    pub(super) fn under(root: &Root, start: &Root, files: &KeptFiles) -> Self {
        let is_void = match &files.versions {
            Some(versions) => !versions.binds(root),
            None => rotates(start, root),
        };
        if is_void {
            return Self::default();
        }
        let timestamp = verified::<Timestamp>(root, files.timestamp.as_deref());
        let snapshot = timestamp.as_ref().and_then(|timestamp| {
            let listed = timestamp.signed.meta.get("snapshot.json")?;
            named(
                listed,
                verified::<Snapshot>(root, files.snapshot.as_deref())?,
            )
        });
        let targets = snapshot.as_ref().and_then(|snapshot| {
            let listed = snapshot.signed.meta.get("targets.json")?;
            named(listed, verified::<Targets>(root, files.targets.as_deref())?)
        });
        let kept = timestamp
            .as_ref()
            .map_or(0, |kept| kept.signed.version.get());
        let seen = files
            .versions
            .as_ref()
            .map_or(0, |seen| seen.get(RoleType::Timestamp));
        Self {
            timestamp,
            snapshot,
            targets,
            highest_timestamp: kept.max(seen),
        }
    }

    /// Judges `bytes`, which a server sent as its timestamp. What `root` does not verify is none
    /// of the two that are no news: the library refuses it.
    pub(super) fn judge(&self, root: &Root, bytes: &[u8]) -> News {
        let Some(timestamp) = verified::<Timestamp>(root, Some(bytes)) else {
            return News::Newer;
        };
        let version = timestamp.signed.version.get();
        match version.cmp(&self.highest_timestamp) {
            std::cmp::Ordering::Greater => News::Newer,
            std::cmp::Ordering::Equal => News::Same,
            std::cmp::Ordering::Less => News::Older,
        }
    }
}

/// The file, if enough keys of `root` signed it.
fn verified<T: Role + Serialize + DeserializeOwned>(
    root: &Root,
    bytes: Option<&[u8]>,
) -> Option<Kept<T>> {
    let bytes = bytes?;
    let signed: Signed<T> = serde_json::from_slice(bytes).ok()?;
    root.verify_role(&signed).ok()?;
    Some(Kept {
        bytes: bytes.to_vec(),
        signed: signed.signed,
    })
}

/// The file, if it is the one that `listed` names.
fn named<T: Role>(listed: &Metafile, file: Kept<T>) -> Option<Kept<T>> {
    let is_named = listed.version == file.signed.version()
        && listed
            .hashes
            .as_ref()
            .is_none_or(|hashes| hashes.sha256.as_ref() == Sha256::digest(&file.bytes).as_slice());
    is_named.then_some(file)
}
