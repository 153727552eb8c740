//! PURE: what `status` reports. The JSON is made of these as they are.

use std::error::Error;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::Serialize;
use signpost::{BootAttributes, Sets, Slot};
use update_metadata::Digest;

use crate::exit::chain;
use crate::repository::TrustedRole;
use crate::repository::cached::CachedTarget;
use crate::session::history::{Attempt, Hold};
use crate::session::machine::State;

/// A part of the report: what is known, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// It could be read.
    Known(T),
    /// It could not.
    Unknown {
        /// The whole chain of causes.
        error: String,
    },
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The time of the run.
    pub at: DateTime<Utc>,
    /// What runs, by the os-release file.
    pub running: Part<Running>,
    /// Who is at work.
    pub session: Part<Session>,
    /// The two sets.
    pub disk: Part<DiskStatus>,
    /// What was tried before.
    pub history: Part<Tried>,
    /// What the migrator of the next boot would find.
    pub migrations: Part<CachedMigrations>,
    /// Where updates come from.
    pub repository: RepositoryStatus,
    /// What somebody should look at, in plain clauses.
    pub warnings: Vec<String>,
}

/// The parts of it that take no long reading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as in `Status`
pub struct HostStatus {
    pub running: Part<Running>,
    pub session: Part<Session>,
    pub disk: Part<DiskStatus>,
    pub history: Part<Tried>,
    pub repository: RepositoryStatus,
}

/// What the running image says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // named as in the manifest
pub struct Running {
    pub variant: String,
    pub arch: &'static str,
    pub version: Version,
}

/// Whether another process is at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Whether the session lock is held.
    pub is_held: bool,
    /// By whom and since when, in the holder's words.
    pub holder: Option<String>,
}

/// Where the host stands, by its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// The disk.
    pub name: String,
    /// What the boot bits mean.
    pub state: State,
    /// The same in words.
    pub summary: String,
    /// What can be done next.
    pub next_step: String,
    /// The set that runs.
    pub active: Slot,
    /// The set that GRUB boots next.
    pub next: Option<Slot>,
    /// Each set.
    pub sets: Sets<SetStatus>,
    /// What is wrong with the partition table.
    pub table_damage: Option<String>,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetStatus {
    /// Its boot bits.
    #[serde(flatten)]
    pub bits: BootAttributes,
    /// Whether it runs.
    pub runs: bool,
    /// Whether GRUB boots it next.
    pub boots_next: bool,
    /// What is in it.
    pub contents: Part<Contents>,
}

/// What is in a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// By its dm-verity tree, computed from the disk; `None` where there is no tree.
    pub root_hash: Option<Digest>,
    /// By the record of the set, or the cached manifest, or, of the set that runs, the os-release
    /// file; `None` where nothing tells.
    pub version: Option<Version>,
    /// The same.
    pub variant: Option<String>,
    /// Whether the root hash is the recorded one; `None` where there is no record.
    pub is_as_recorded: Option<bool>,
    /// When every byte was last read and compared.
    pub verified: Option<DateTime<Utc>>,
    /// Whether that was in this boot.
    pub verified_in_this_boot: bool,
}

/// What is remembered of earlier attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// The newest attempt.
    pub last_attempt: Option<Attempt>,
    /// What is not taken again.
    pub holds: Vec<Hold>,
}

/// What is cached for the way between the two sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedMigrations {
    /// The running version.
    pub from: Option<Version>,
    /// That of the other set.
    pub to: Option<Version>,
    /// What the way between them needs, the manifest last; empty where nothing is cached.
    pub targets: Vec<CachedTarget>,
    /// Whether all of it is there; `None` where nothing is cached, or where it is not known which
    /// way it is for.
    pub is_complete: Option<bool>,
}

/// Where updates come from, and what is trusted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryStatus {
    /// Without credentials.
    pub metadata_base_url: String,
    /// The same.
    pub targets_base_url: String,
    /// What is trusted.
    pub trust: Part<Trust>,
}

/// What is trusted of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The time at which expiry is judged; the clock's, unless that is behind.
    pub judged_at: DateTime<Utc>,
    /// The last refresh that succeeded; `None` before the first.
    pub refreshed: Option<DateTime<Utc>>,
    /// In the order in which they are verified; before the first refresh only the root.
    pub roles: Vec<Role>,
}

/// A role, and how long it is still good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// What it is.
    #[serde(flatten)]
    pub role: TrustedRole,
    /// Below zero once it has expired.
    pub seconds_left: i64,
}

impl<T> Part<T> {
    pub(super) fn of<E: Error + 'static>(result: Result<T, E>) -> Self {
        match result {
            Ok(known) => Self::Known(known),
            Err(error) => Self::Unknown {
                error: chain(&error),
            },
        }
    }

    /// What is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unknown { .. } => None,
        }
    }
}

impl Status {
    /// Whether everything could be read.
    pub fn is_whole(&self) -> bool {
        let are_sets_known = |disk: &DiskStatus| {
            let mut sets = disk.sets.iter();
            sets.all(|(_, set)| set.contents.known().is_some())
        };
        self.running.known().is_some()
            && self.session.known().is_some()
            && self.disk.known().is_some_and(are_sets_known)
            && self.history.known().is_some()
            && self.migrations.known().is_some()
            && self.repository.trust.known().is_some()
    }
}
