//! What an operator can have done to this host: find an update, write it, arm it, take it back.
//!
//! The order of effects, cheapest failure first:
//!
//! 1. take the lock, read the table, refuse while the running set is not marked successful;
//! 2. refresh the repository, choose, look up every target, compare sizes with the partitions;
//! 3. stage migrations and metadata for the next boot, beside those in use;
//! 4. remember the attempt, clear the inactive set's boot bits, and sync them to the disk; then put
//!    the staged migrations in the place of the old ones;
//! 5. write hash, root and boot image, sync each, read each back and compare;
//! 6. mark the set valid; then, for an update, let it boot next.
//!
//! A failure up to 3 leaves the disk as it was. A failure or power cut from 4 on leaves the
//! inactive set unbootable and the running set untouched. Either way the same command, run again,
//! does the whole job.

mod activate;
mod by_blocks;
mod choose;
mod explain;
pub mod history;
mod holds;
mod inactive_set;
mod interrupted;
mod look;
pub mod machine;
mod maps;
mod mirror;
mod plan;
mod prepare;
pub mod record;
mod rehearse;
mod rollback;
mod standing;
pub mod status;
mod update_session;
mod verify;

use semver::Version;
use signpost::store::{Error as StoreError, Naming};
use signpost::{Command, Force, SlotStore};
use snafu::{ResultExt, Snafu};

pub use self::activate::{Other, Reverted, apply, reboot, revert};
pub use self::choose::{Choice, Offer, choose, choose_for};
pub use self::explain::{Explained, explain};
pub use self::holds::{HistoryReport, history, release_hold};
use self::interrupted::doing;
pub use self::interrupted::standing;
pub(crate) use self::look::held;
pub use self::look::{Look, look};
pub use self::mirror::{MirrorOutcome, Mirrored, OtherHost, mirror};
pub use self::plan::{Obstacle, PlannedImage, PlannedUpdate, UpdatePlan, plan_update};
pub use self::prepare::{Outcome, prepare, update};
pub use self::rollback::{RolledBack, rollback};
pub use self::status::{host_status, status};
pub use self::verify::{Verification, WhichSet, verify};
use crate::cancel::Cancelled;
use crate::env::HostError;
use crate::exit::Exit;
use crate::image::read_back::ReadBackError;
use crate::image::write::WriteError;
use crate::lock::LockError;
use crate::reboot::RebootError;
use crate::rehearsal::RehearsalError;
use crate::repository::RepositoryError;
use crate::repository::cache::CacheError;
use crate::repository::mirror::MirrorError;
use crate::sets::{FactsError, Finding, KnownError, VerifyError};
use crate::state_file::StateFileError;

/// Why a session ended without doing what was asked.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum SessionError {
    /// Another session is at work.
    #[snafu(display("nothing was changed"))]
    Lock { source: LockError },
    /// The running system is not known.
    #[snafu(display("choosing an update"))]
    Host { source: HostError },
    /// The repository cannot be used.
    #[snafu(display("looking for an update"))]
    Repository { source: RepositoryError },
    /// The boot bits cannot be read or changed.
    #[snafu(display("handling the partition sets"))]
    Store { source: StoreError },
    /// There would be no way back.
    #[snafu(display(
        "the running set {slot} has not been marked successful: the other set is the only way back, \
         and is not overwritten"
    ))]
    NotYetGood { slot: signpost::Slot },
    /// The machine has no such way.
    #[snafu(display("{refusal} (set {slot})"))]
    Refused {
        refusal: machine::Refusal,
        slot: signpost::Slot,
    },
    /// What was about to be done is not what was planned. A mistake of ours.
    #[snafu(display("{effect:?} is not what comes next ({planned:?}); nothing more was done"))]
    OutOfOrder {
        effect: machine::Effect,
        planned: Option<machine::Effect>,
    },
    /// The run was told to stop.
    #[snafu(display("before {}", doing(*effect)))]
    Interrupted {
        effect: machine::Effect,
        source: Cancelled,
    },
    /// What was tried before cannot be read, or this attempt not be remembered.
    #[snafu(display("looking at what was tried before"))]
    Record { source: StateFileError },
    /// The migrations do not work with this host's settings, or nobody can tell.
    #[snafu(display("rehearsing the migrations to {version}"))]
    Rehearsal {
        version: Version,
        source: RehearsalError,
    },
    /// Which version runs is not known.
    #[snafu(display(
        "which version runs from set {slot} is not known: the os-release file cannot be read, and \
         there is no record of the set"
    ))]
    NotRunning { slot: signpost::Slot },
    /// The image cannot fit.
    #[snafu(display(
        "the {kind} image of {version} has {length} bytes, its partition {partition} only {limit}"
    ))]
    DoesNotFit {
        kind: update_metadata::ImageKind,
        version: Version,
        length: u64,
        partition: String,
        limit: u64,
    },
    /// The manifest contradicts itself.
    #[snafu(display("the manifest says of {version} that {what}"))]
    Inconsistent { version: Version, what: String },
    /// No migrations lead to the update.
    #[snafu(display("preparing the migration of settings"))]
    Migration {
        source: update_metadata::MissingMigration,
    },
    /// The migrations cannot be cached.
    #[snafu(display("preparing the migration of settings"))]
    Cache { source: CacheError },
    /// The folder is not complete.
    #[snafu(display("mirroring the update"))]
    Mirror { source: MirrorError },
    /// An image cannot be written.
    #[snafu(display("writing {version} to set {slot}"))]
    Write {
        version: Version,
        slot: signpost::Slot,
        source: WriteError,
    },
    /// The disk does not hold what was written.
    #[snafu(display("verifying {version} in set {slot}"))]
    ReadBack {
        version: Version,
        slot: signpost::Slot,
        source: ReadBackError,
    },
    /// The record of a set cannot be written.
    #[snafu(display("recording what the set holds"))]
    Facts { source: FactsError },
    /// What a set holds cannot be looked up.
    #[snafu(display("finding out what the set holds"))]
    Known { source: KnownError },
    /// Nothing is known of what a set holds.
    #[snafu(display(
        "what set {slot} holds is not known: there is no record of it, and no cached manifest lists \
         its root hash"
    ))]
    NotKnown { slot: signpost::Slot },
    /// A set cannot be verified.
    #[snafu(display("verifying set {slot}"))]
    Verify {
        slot: signpost::Slot,
        source: VerifyError,
    },
    /// A set does not hold what was written to it.
    #[snafu(display("set {slot} is damaged: {}", list(findings)))]
    Damaged {
        slot: signpost::Slot,
        findings: Vec<Finding>,
    },
    /// The reboot did not start.
    #[snafu(display("rebooting"))]
    Reboot { source: RebootError },
}

impl SessionError {
    /// How a program ends that meets this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Lock {
                source: LockError::Held { .. },
            }
            | Self::NotYetGood { .. }
            | Self::Refused { .. }
            | Self::Mirror {
                source: MirrorError::Busy { .. },
            } => Exit::Refused,
            Self::Store { source } if source.refusal().is_some() => Exit::Refused,
            _ => Exit::Failed,
        }
    }

    /// What the operator can do next, where that is known.
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Repository { source } if source.is_remote() => {
                "nothing was written to the partition sets; once the repository can be reached and \
                 is good, run the command again"
            }
            Self::Repository {
                source: RepositoryError::Trust { .. },
            } => RepositoryError::TRUST_ADVICE,
            Self::Lock {
                source: LockError::Held { .. },
            } => "wait until it is done, then run the command again",
            Self::Lock { .. } => {
                "see that the file and its folder, which the key lock_file names, can be written"
            }
            Self::NotYetGood { .. } => {
                "once this boot is known to be good, run: signpost mark-successful-boot; to leave \
                 it: updog rollback"
            }
            Self::Refused { refusal, .. } => match refusal {
                machine::Refusal::NotYetGood => return None,
                machine::Refusal::RollbackReady => {
                    "reboot to take it; or, to stay with the running set: updog update-revert, then \
                     run the command again"
                }
                machine::Refusal::NothingPrepared => "write an update first: updog prepare",
                machine::Refusal::NoPrevious => {
                    "to stay with the running set: updog update-revert; another version is had \
                     with: updog update --image VERSION"
                }
            },
            Self::Record { .. } => {
                "nothing was written to the partition sets; see that the file can be read and \
                 written, or remove it"
            }
            Self::NotRunning { .. }
            | Self::Host {
                source: HostError::OsRelease { .. },
            } => "see that the key os_release names the right file",
            Self::Store { source } => match source.naming() {
                Some(naming) => named(naming),
                None => source.advice()?,
            },
            Self::Write { slot, .. } | Self::ReadBack { slot, .. } => {
                return Some(format!(
                    "set {slot} cannot boot and the running set is untouched; run the command \
                     again: of a release with block maps, what is on the disk already is kept"
                ));
            }
            Self::Migration { .. } | Self::Inconsistent { .. } => {
                "nothing was written to the partition sets; the publisher has to mend the manifest"
            }
            Self::Rehearsal { source, .. } => source.advice(),
            Self::Cache {
                source: CacheError::Swap { .. },
            } => {
                "the inactive set cannot boot and the running set is untouched; once the cause is \
                 mended, run the command again"
            }
            Self::Cache { .. } => {
                "nothing was written to the partition sets; once the cause is mended, run the \
                 command again"
            }
            Self::Host {
                source: HostError::Seed { .. },
            } => "set the key, or do not wait for the waves: --now",
            Self::Known { .. } | Self::Facts { .. } => {
                "see that disk and folder can be read and written, then run the command again"
            }
            Self::Verify { .. } => "the disk may be failing: look at the kernel's log",
            Self::Mirror { source } => source.advice(),
            Self::DoesNotFit { .. } => {
                "partitions cannot grow in place: the publisher must make the image smaller"
            }
            Self::Damaged { .. } => "it was not armed; write it again with: updog prepare",
            Self::NotKnown { .. } => {
                "sets are recorded when they are written; updog prepare also caches the manifest, \
                 which knows every published version"
            }
            Self::Reboot { .. } => "the boot bits are set: any reboot takes the new set",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// What `signpost` takes as options are keys of the configuration here.
fn named(naming: Naming) -> &'static str {
    match naming {
        Naming::Disk => "name the disk that the system boots from: the configuration's key `disk`",
        Naming::DiskAndSet => {
            "name the disk and the running set: the configuration's keys `disk` and `active`; \
             `findmnt` and `lsblk` show what the system runs from"
        }
        Naming::Set => "name the running set, A or B: the configuration's key `active`",
        Naming::NoSet => "leave out the configuration's key `active`, or correct it",
    }
}

fn list(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Changes the boot bits, and tells the log what was put right in the partition table first.
fn change_bits(store: &mut SlotStore, command: Command) -> Result<signpost::Outcome, SessionError> {
    let result = store.run(command, &Force::No);
    for repaired in store.repaired() {
        tracing::warn!("the partition table was not in order: {repaired}");
    }
    result.context(StoreSnafu)
}
