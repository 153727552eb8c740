//! The signed metadata of a release: made, tried, and written in the order that keeps the old
//! repository valid until the new one is whole.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU64;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::TargetName;
use tough::schema::{Hashes, Metafile, Role, Snapshot, Target, Targets, Timestamp};
use update_metadata::Digest;

use super::existing;
use super::place::PlacedTarget;
use super::rehearsal::{self, RehearsalError};
use crate::publish::bounded;
use crate::publish::durable::{self, DurableError};
use crate::publish::keyring::RoleKey;
use crate::publish::period::Period;
use crate::publish::signatures::SignedBytes;
use crate::publish::tuf::{self, RootFile, SPEC_VERSION, TufError};

/// The one name that clients ask for without knowing a version, so the last to be written.
pub(in crate::publish) const TIMESTAMP: &str = "timestamp.json";
/// What the timestamp role calls the snapshot.
pub(in crate::publish) const SNAPSHOT: &str = "snapshot.json";
/// What the snapshot role calls the targets.
pub(in crate::publish) const TARGETS: &str = "targets.json";

/// Why there are no new metadata.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum MetadataError {
    /// No version is left above the published one.
    #[snafu(display("the published metadata have version {highest}; there is none above it"))]
    NoVersion { highest: u64 },
    /// A target's name is already that of other bytes.
    #[snafu(display(
        "the target {name} is published with other content; hosts may rely on it, choose another name"
    ))]
    TargetTaken { name: String },
    /// A name that cannot be a target's.
    #[snafu(display("'{name}' cannot name a target"))]
    TargetName {
        name: String,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// A role cannot be signed.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// A client would refuse the result.
    #[snafu(transparent)]
    Rehearsal { source: RehearsalError },
    /// A file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl MetadataError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::TargetTaken { .. }
                | Self::Rehearsal {
                    source: RehearsalError::TooLarge { .. }
                }
        )
    }
}

/// How long each role stays valid.
#[derive(Debug, Clone, Copy)]
pub struct Periods {
    /// Of `targets.json`.
    pub targets: Period,
    /// Of `snapshot.json`.
    pub snapshot: Period,
    /// Of `timestamp.json`.
    pub timestamp: Period,
}

/// When each role stops being valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiries {
    /// `targets.json`.
    pub targets: DateTime<Utc>,
    /// `snapshot.json`.
    pub snapshot: DateTime<Utc>,
    /// `timestamp.json`.
    pub timestamp: DateTime<Utc>,
}

impl Expiries {
    /// The ends of the periods that start now.
    ///
    /// # Errors
    /// [`TufError::Calendar`].
    pub fn of(periods: Periods, now: DateTime<Utc>) -> Result<Self, TufError> {
        Ok(Self {
            targets: tuf::end_of(periods.targets, now)?,
            snapshot: tuf::end_of(periods.snapshot, now)?,
            timestamp: tuf::end_of(periods.timestamp, now)?,
        })
    }
}

/// Metadata that verify, in the order in which they are to be written.
#[derive(Debug)]
pub struct SignedMetadata {
    /// The version of targets, snapshot and timestamp.
    pub version: NonZeroU64,
    /// File names and contents: root, targets, snapshot, timestamp.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Pure: the version of the next metadata: the second of its making, as Bottlerocket's publisher
/// has it, but above every older one whatever the clock says.
///
/// # Errors
/// [`MetadataError::NoVersion`] at the end of all numbers.
pub fn next_version(now: DateTime<Utc>, highest: Option<u64>) -> Result<NonZeroU64, MetadataError> {
    let clock = u64::try_from(now.timestamp()).unwrap_or(0).max(1);
    let above = match highest {
        Some(highest) => highest.checked_add(1).context(NoVersionSnafu { highest })?,
        None => 1,
    };
    Ok(NonZeroU64::new(clock.max(above)).expect("the clock's part is at least 1"))
}

/// Pure: the targets of the new role: the old ones with all that is said of them, and what was
/// placed now.
///
/// # Errors
/// [`MetadataError::TargetTaken`] when a name that `may_change` forbids would change its content.
pub(in crate::publish) fn merge_targets(
    old: HashMap<TargetName, Target>,
    placed: &[PlacedTarget],
    may_change: impl Fn(&str) -> bool,
) -> Result<HashMap<TargetName, Target>, MetadataError> {
    let mut targets = old;
    for PlacedTarget {
        name,
        length,
        sha256,
        ..
    } in placed
    {
        let key = TargetName::new(name.as_str()).context(TargetNameSnafu { name })?;
        match targets.entry(key) {
            // As it was listed: another tool's digests and custom fields stay with it.
            Entry::Occupied(old) if is_same(old.get(), *length, sha256) => {}
            Entry::Occupied(mut old) => {
                ensure!(may_change(name), TargetTakenSnafu { name });
                let old = old.get_mut();
                old.length = *length;
                old.hashes = hashes(sha256.as_bytes());
            }
            Entry::Vacant(free) => {
                free.insert(Target {
                    length: *length,
                    hashes: hashes(sha256.as_bytes()),
                    custom: HashMap::new(),
                    _extra: HashMap::new(),
                });
            }
        }
    }
    Ok(targets)
}

/// Signs the three roles, and loads them as a client would.
pub fn sign(
    mut targets: Targets,
    version: NonZeroU64,
    periods: Periods,
    root: &RootFile,
    keys: &[RoleKey],
    now: DateTime<Utc>,
) -> Result<SignedMetadata, MetadataError> {
    targets.version = version;
    targets.expires = tuf::expiry(periods.targets, now)?;
    tuf::block_on(async {
        let targets = tuf::sign(targets, root.root(), keys).await?;
        let expires = tuf::expiry(periods.snapshot, now)?;
        let snapshot = snapshot_of(&targets, version, expires);
        let snapshot = tuf::sign(snapshot, root.root(), keys).await?;
        let expires = tuf::expiry(periods.timestamp, now)?;
        let timestamp = timestamp_of(&snapshot, version, expires);
        let timestamp = tuf::sign(timestamp, root.root(), keys).await?;
        SignedMetadata::rehearsed(root, &targets, &snapshot, &timestamp).await
    })?
}

/// Pure: the snapshot role that leads to `targets`.
pub fn snapshot_of(
    targets: &SignedBytes<Targets>,
    version: NonZeroU64,
    expires: jiff::Timestamp,
) -> Snapshot {
    let mut snapshot = Snapshot::new(SPEC_VERSION.to_owned(), version, expires);
    let meta = metafile(targets);
    snapshot.meta.insert(TARGETS.to_owned(), meta);
    snapshot
}

/// Pure: the timestamp role that leads to `snapshot`.
pub fn timestamp_of(
    snapshot: &SignedBytes<Snapshot>,
    version: NonZeroU64,
    expires: jiff::Timestamp,
) -> Timestamp {
    let mut timestamp = Timestamp::new(SPEC_VERSION.to_owned(), version, expires);
    let meta = metafile(snapshot);
    timestamp.meta.insert(SNAPSHOT.to_owned(), meta);
    timestamp
}

impl SignedMetadata {
    /// The files of three signed roles and their root role, loaded as a client would.
    ///
    /// # Errors
    /// [`MetadataError::Rehearsal`] when a client would refuse them.
    pub async fn rehearsed(
        root: &RootFile,
        targets: &SignedBytes<Targets>,
        snapshot: &SignedBytes<Snapshot>,
        timestamp: &SignedBytes<Timestamp>,
    ) -> Result<Self, MetadataError> {
        let files = vec![
            (existing::root_name(root), root.bytes.clone()),
            (targets.role().filename(true), targets.buffer().clone()),
            (snapshot.role().filename(true), snapshot.buffer().clone()),
            (TIMESTAMP.to_owned(), timestamp.buffer().clone()),
        ];
        rehearsal::load(root, &files, targets.role()).await?;
        Ok(Self {
            version: timestamp.role().version,
            files,
        })
    }

    /// Puts the root role last, behind the timestamp: right where the metadata satisfy the root role
    /// before it too, so that a client finds them valid at either of the two.
    pub fn root_last(&mut self) {
        self.files.rotate_left(1);
    }

    /// Puts the root role next to the timestamp and before it: what is between them, clients that
    /// come in between cannot follow.
    pub fn root_before_timestamp(&mut self) {
        if let Some(before) = self.files.len().checked_sub(1) {
            self.files[..before].rotate_left(1);
        }
    }

    /// Writes the files into `folder`, each whole and durable before the next.
    ///
    /// Before the last rename clients see the old repository, after it the new one: everything else
    /// is asked for by a version that the timestamp leads to. A leftover of the same version from a
    /// publisher that stopped halfway is replaced, since no client was ever led to it.
    pub fn write(&self, folder: &Path) -> Result<(), DurableError> {
        durable::create_dir_all(folder)?;
        self.files.iter().try_for_each(|(name, bytes)| {
            let path = folder.join(name);
            // What is the same stays: a refresh does not touch the root role and the targets.
            let max = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if bounded::read(&path, max).is_ok_and(|old| old == *bytes) {
                return durable::sync_dir(folder);
            }
            durable::replace(&path, bytes)
        })
    }
}

fn metafile<T: Role>(role: &SignedBytes<T>) -> Metafile {
    Metafile {
        length: u64::try_from(role.buffer().len()).ok(),
        hashes: Some(hashes(role.sha256().as_bytes())),
        version: role.role().version(),
        _extra: HashMap::new(),
    }
}

fn hashes(sha256: &[u8]) -> Hashes {
    Hashes {
        sha256: sha256.to_vec().into(),
        _extra: HashMap::new(),
    }
}

fn is_same(target: &Target, length: u64, sha256: &Digest) -> bool {
    target.length == length && *target.hashes.sha256 == sha256.as_bytes()[..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_second_of_its_making_but_always_above_the_last() {
        let at = |seconds| DateTime::from_timestamp(seconds, 999).unwrap();
        for (now, highest, expected) in [
            (1_930_000_000, None, 1_930_000_000),
            (1_930_000_000, Some(1_929_999_999), 1_930_000_000),
            (1_930_000_000, Some(1_930_000_000), 1_930_000_001),
            // The clock was ahead once; it does not lock the publisher out.
            (1_930_000_000, Some(4_000_000_000), 4_000_000_001),
            (0, None, 1),
            (-5, Some(7), 8),
        ] {
            assert_eq!(next_version(at(now), highest).unwrap().get(), expected);
        }
        assert!(matches!(
            next_version(at(0), Some(u64::MAX)),
            Err(MetadataError::NoVersion { highest: u64::MAX })
        ));
    }

    fn placed(name: &str, byte: u8) -> PlacedTarget {
        PlacedTarget {
            name: name.to_owned(),
            length: u64::from(byte),
            sha256: Digest::from([byte; 32]),
            existed: false,
        }
    }

    #[test]
    fn old_targets_stay_and_only_the_manifest_changes() {
        let is_manifest = |name: &str| name == "manifest.json";
        let old = merge_targets(
            HashMap::new(),
            &[placed("a", 1), placed("manifest.json", 2)],
            is_manifest,
        )
        .unwrap();
        let new = [placed("a", 1), placed("b", 3), placed("manifest.json", 4)];
        let merged = merge_targets(old.clone(), &new, is_manifest).unwrap();
        let length = |name: &str| merged[&TargetName::new(name).unwrap()].length;
        assert_eq!(
            (length("a"), length("b"), length("manifest.json")),
            (1, 3, 4)
        );
        assert_eq!(merged.len(), 3);

        // What another tool said of a target stays with it.
        let mut told = old.clone();
        for target in told.values_mut() {
            target.custom.insert("made".to_owned(), "elsewhere".into());
            target
                .hashes
                ._extra
                .insert("sha512".to_owned(), "00".into());
        }
        let merged = merge_targets(told, &new, is_manifest).unwrap();
        let target = |name: &str| &merged[&TargetName::new(name).unwrap()];
        assert_eq!(target("a").custom["made"], "elsewhere");
        assert_eq!(target("a").hashes._extra["sha512"], "00");
        // Of the manifest the digests are others.
        assert_eq!(target("manifest.json").custom["made"], "elsewhere");
        assert!(target("manifest.json").hashes._extra.is_empty());

        let error = merge_targets(old, &[placed("a", 9)], is_manifest).unwrap_err();
        assert!(error.is_refusal());
        assert_eq!(
            error.to_string(),
            "the target a is published with other content; hosts may rely on it, choose another name"
        );
    }
}
