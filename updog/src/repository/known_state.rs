//! PURE: which of the kept metadata still count, and whether a server's timestamp is news.

use std::cmp::Ordering;

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
    /// Newer than what is trusted, or nothing is.
    Newer,
    /// Of the version that is trusted.
    Same,
    /// Older than what is trusted.
    Older,
}

impl KeptFiles {
    /// Timestamp and snapshot with the names of their files, as far as they may stand for what was
    /// trusted last time, for a host whose newest root is `root`.
    pub(super) fn trusted(&self, root: &Root) -> Vec<(&'static str, Vec<u8>)> {
        if self.are_void(root, root) {
            return Vec::new();
        }
        let timestamp = self.counting::<Timestamp>(root, self.timestamp.as_deref());
        let snapshot = self.counting::<Snapshot>(root, self.snapshot.as_deref());
        let timestamp = timestamp.map(|file| ("timestamp.json", file.bytes));
        let snapshot = snapshot.map(|file| ("snapshot.json", file.bytes));
        timestamp.into_iter().chain(snapshot).collect()
    }

    fn are_void(&self, root: &Root, start: &Root) -> bool {
        match &self.versions {
            Some(versions) => !versions.binds(root),
            None => rotates(start, root),
        }
    }

    /// The file, if enough keys of `root` signed it and it is the one whose version was written
    /// down: one of another version was left behind by a cut between the two.
    fn counting<T: Role + Serialize + DeserializeOwned>(
        &self,
        root: &Root,
        bytes: Option<&[u8]>,
    ) -> Option<Kept<T>> {
        let file = verified::<T>(root, bytes)?;
        let seen = self.versions.as_ref().map(|seen| seen.get(T::TYPE));
        seen.is_none_or(|seen| seen == file.signed.version().get())
            .then_some(file)
    }
}

impl KnownState {
    /// What counts under `root`, for a host whose newest root was `start` when the run
    /// began. The files are void once a root names other timestamp or snapshot keys.
    pub(super) fn under(root: &Root, start: &Root, files: &KeptFiles) -> Self {
        if files.are_void(root, start) {
            Self::default()
        } else {
            Self::of(root, files)
        }
    }

    /// What of `files` is signed by the keys of `root`, each named by the one before.
    pub(super) fn of(root: &Root, files: &KeptFiles) -> Self {
        let timestamp = files.counting::<Timestamp>(root, files.timestamp.as_deref());
        let snapshot = timestamp.as_ref().and_then(|timestamp| {
            let listed = timestamp.signed.meta.get("snapshot.json")?;
            let file = files.counting::<Snapshot>(root, files.snapshot.as_deref());
            named(listed, file?)
        });
        let targets = snapshot.as_ref().and_then(|snapshot| {
            let listed = snapshot.signed.meta.get("targets.json")?;
            let file = files.counting::<Targets>(root, files.targets.as_deref());
            named(listed, file?)
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

    /// Judges `bytes`, which a server sent as its timestamp. `None` where the keys of `root` did not
    /// sign it: the library will refuse it.
    pub(super) fn judge(&self, root: &Root, bytes: &[u8]) -> Option<News> {
        let timestamp = verified::<Timestamp>(root, Some(bytes))?;
        let version = timestamp.signed.version.get();
        Some(match version.cmp(&self.highest_timestamp) {
            Ordering::Greater => News::Newer,
            Ordering::Equal => News::Same,
            Ordering::Less => News::Older,
        })
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
