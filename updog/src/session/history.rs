//! PURE: what was tried on this host, how it ended, and what therefore is not tried again.
//!
//! An attempt is on record from the moment the inactive set is given up for it. How it goes on is
//! read from the disk, whenever a session begins: the boot bits say whether the set boots next,
//! runs, was marked good, or was tried and fell back. So the record can be lost or late, and is
//! never wrong for long; where the two disagree, the disk is right ([`History::reconcile`]).
//!
//! ```text
//! writing --> staged <--> ready --> trial --> good --> left
//!    |          |           |         |
//!    v          v           +--> lost <+
//!  failed    replaced
//! ```
//!
//! A version whose boot was lost without a sign of life may have met a power cut: it is tried once
//! more. One that came as far as user space, or was lost twice, is quarantined. A version that an
//! operator left by hand is held. Both end when a newer version has proved itself, when the version
//! is published with other images, or when an operator releases it.

mod follow;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use signpost::{BootState, Slot};
use update_metadata::{Digest, Held, HeldKind};

use self::follow::{Seen, is_lost};

/// Attempts that are remembered; older ones are forgotten.
pub const MAX_ATTEMPTS: usize = 64;
/// Versions that are held back at once; the oldest is forgotten.
pub const MAX_HOLDS: usize = 64;
/// Lost boots of a version without a sign of life, after which it is quarantined.
const MAX_SILENT_LOSSES: usize = 2;

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The id that the next attempt gets.
    next_id: u64,
    /// Oldest first.
    attempts: Vec<Attempt>,
    /// Oldest first.
    holds: Vec<Hold>,
}

/// One update or rollback of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts up.
    pub id: u64,
    /// What was meant.
    pub kind: AttemptKind,
    /// The version that ran.
    pub from: Version,
    /// The version that was to run; not always known of a rollback.
    pub to: Option<Release>,
    /// The set that it is in.
    pub slot: Slot,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When its result was first seen.
    pub ended: Option<DateTime<Utc>>,
    /// Bytes that were fetched for it.
    pub bytes: u64,
    /// How far it has come.
    pub result: AttemptResult,
    /// Why it ended so, where that is known.
    pub reason: Option<String>,
    /// Whether the version was seen running.
    pub seen_running: bool,
}

/// What was meant by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptKind {
    /// To write a version and boot it.
    Update,
    /// To boot the version that ran before.
    Rollback,
}

/// A version and the images that it came as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What it is for.
    pub variant: String,
    /// The same.
    pub arch: String,
    /// The version.
    pub version: Version,
    /// SHA-256 of the signed targets of its boot, root and hash image; empty where not known.
    pub targets: Vec<Digest>,
    /// The dm-verity root hash, where it is known.
    pub root_hash: Option<Digest>,
}

/// How far an attempt has come, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// The set is being written.
    Writing,
    /// The set is whole and does not boot next.
    Staged,
    /// The set boots next.
    Ready,
    /// The set runs and has not been marked good.
    Trial,
    /// The set ran and was marked good.
    Good,
    /// The set was tried and the other one runs again.
    Lost,
    /// Somebody went back from it by hand, after it was good.
    Left,
    /// Writing failed, or was interrupted.
    Failed,
    /// The set was given to something else before it ever ran.
    Replaced,
}

impl AttemptResult {
    /// Whether nothing more can come of it but that somebody leaves a good version.
    fn has_ended(self) -> bool {
        !matches!(
            self,
            Self::Writing | Self::Staged | Self::Ready | Self::Trial
        )
    }
}

/// A version that this host does not take again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Which.
    pub release: Release,
    /// Whether it failed, or was left.
    pub kind: HeldKind,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The attempts that led to it.
    pub attempts: Vec<u64>,
    /// What happened, as a plain clause.
    pub reason: String,
}

/// How somebody looks at the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// Holding the session lock: what is being written is written by nobody.
    Alone,
    /// Without it: another process may be at work.
    Beside,
}

impl Release {
    /// Whether both are known to be the same images, or nothing else is known than the version.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_version = self.version == other.version
            && self.variant == other.variant
            && self.arch == other.arch;
        if !self.targets.is_empty() && !other.targets.is_empty() {
            return same_version && self.targets == other.targets;
        }
        match (self.root_hash, other.root_hash) {
            (Some(ours), Some(theirs)) => same_version && ours == theirs,
            _ => same_version,
        }
    }
}

impl History {
    /// The attempts, oldest first.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The last attempt.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Whether the other set boots next because of a rollback.
    pub fn is_rolling_back(&self) -> bool {
        self.last().is_some_and(|last| {
            last.kind == AttemptKind::Rollback && last.result == AttemptResult::Ready
        })
    }

    /// Whether `slot` holds the system from before, of which a rollback was taken back: one that
    /// was good, and waits with the try that the rollback gave it.
    pub fn was_rolling_back_to(&self, slot: Slot) -> bool {
        self.last().is_some_and(|last| {
            last.kind == AttemptKind::Rollback
                && last.result == AttemptResult::Staged
                && last.slot == slot
        })
    }

    /// What is held back, oldest first.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Why `release`, as it is offered now, is held back on this host.
    pub fn held(&self, release: &Release) -> Vec<Held> {
        self.holds
            .iter()
            .filter(|hold| hold.release.is_same(release))
            .map(|hold| Held {
                variant: release.variant.clone(),
                arch: release.arch.clone(),
                version: release.version.clone(),
                kind: hold.kind,
                reason: format!(
                    "{}; to take it again: updog release-hold {}",
                    hold.reason, release.version
                ),
            })
            .collect()
    }

    /// Begins an attempt; what was open before it is over.
    pub fn begin(
        &mut self,
        kind: AttemptKind,
        from: &Version,
        to: Option<Release>,
        slot: Slot,
        now: DateTime<Utc>,
    ) {
        if let Some(last) = self.open_mut() {
            let result = match (kind, last.result) {
                (AttemptKind::Rollback, AttemptResult::Trial) => AttemptResult::Left,
                _ => AttemptResult::Replaced,
            };
            last.end(result, now, None);
        }
        let result = match kind {
            AttemptKind::Update => AttemptResult::Writing,
            AttemptKind::Rollback => AttemptResult::Ready,
        };
        self.attempts.push(Attempt {
            id: self.next_id,
            kind,
            from: from.clone(),
            to,
            slot,
            started: now,
            ended: None,
            bytes: 0,
            result,
            reason: None,
            seen_running: false,
        });
        self.next_id = self.next_id.saturating_add(1);
        self.forget_attempts();
    }

    /// The attempt under way has written its set.
    pub fn written(&mut self, root_hash: Digest, bytes: u64) {
        if let Some(last) = self.open_mut() {
            last.result = AttemptResult::Staged;
            last.bytes = bytes;
            if let Some(to) = &mut last.to {
                to.root_hash = Some(root_hash);
            }
        }
    }

    /// The attempt under way has failed.
    pub fn failed(&mut self, reason: &str, now: DateTime<Utc>) {
        if let Some(last) = self.open_mut() {
            last.end(AttemptResult::Failed, now, Some(reason));
        }
    }

    /// Holds back `release`, which is left by the last attempt.
    pub fn hold_left(&mut self, release: Release, now: DateTime<Utc>, reason: &str) {
        self.hold(Hold {
            release,
            kind: HeldKind::Left,
            since: now,
            attempts: self.last().map(|last| last.id).into_iter().collect(),
            reason: reason.to_owned(),
        });
    }

    /// Releases every hold on `version`. Whether there was one.
    pub fn release(&mut self, version: &Version) -> bool {
        let before = self.holds.len();
        self.holds.retain(|hold| hold.release.version != *version);
        self.holds.len() < before
    }

    /// Brings the record up to what the disk says, before anything else is done. What was open when
    /// its process ended, by itself or not, is seen here for the first time.
    ///
    /// `running` is what runs, and `inactive` what the other set holds, where that is known: with
    /// a lost record a set that was tried and did not come up is still found out.
    pub fn reconcile(
        &mut self,
        state: &BootState,
        running: Option<&Version>,
        inactive: Option<&Release>,
        looks: Looks,
        now: DateTime<Utc>,
    ) {
        if let Some(last) = self.attempts.last_mut() {
            let slot = last.slot;
            let runs = state.active() == slot;
            let holds_it = last.to.as_ref().is_some_and(|to| {
                if runs {
                    running == Some(&to.version)
                } else {
                    inactive.is_some_and(|found| to.is_same(found))
                }
            });
            let seen = Seen {
                runs,
                boots_next: state.next() == Some(slot),
                bits: state.get(slot).unwrap_or_default(),
                holds_it,
            };
            let is_at_work = last.result == AttemptResult::Writing && looks == Looks::Beside;
            if is_at_work || !last.see(seen, now) {
                return;
            }
        } else if let (Some(release), Some(running)) = (inactive, running) {
            let bits = state.get(state.inactive()).unwrap_or_default();
            let (result, reason) = if is_lost(bits) {
                (AttemptResult::Lost, "its record is lost")
            } else if bits.successful() && release.version > *running {
                // Nobody comes from a newer version that is good to an older one by himself.
                (AttemptResult::Left, "its record is lost")
            } else {
                return;
            };
            let (kind, slot) = (AttemptKind::Update, state.inactive());
            self.begin(kind, running, Some(release.clone()), slot, now);
            if let Some(last) = self.attempts.last_mut() {
                last.end(result, now, Some(reason));
            }
        }
        self.settle_holds(now);
    }

    /// Lost boots are forgotten last: they are counted, and a repository that cannot be reached for
    /// some days leaves as many failed attempts as there is room for.
    fn forget_attempts(&mut self) {
        while self.attempts.len() > MAX_ATTEMPTS {
            let before_last = self.attempts.len().saturating_sub(1);
            let is_counted = |attempt: &Attempt| attempt.result == AttemptResult::Lost;
            let mut earlier = self.attempts.iter().take(before_last);
            let oldest = earlier.position(|attempt| !is_counted(attempt));
            self.attempts.remove(oldest.unwrap_or(0));
        }
    }

    fn open_mut(&mut self) -> Option<&mut Attempt> {
        let last = self.attempts.last_mut()?;
        (!last.result.has_ended()).then_some(last)
    }

    /// Quarantines what failed, holds what was left, and forgets what a newer version made moot.
    fn settle_holds(&mut self, now: DateTime<Utc>) {
        let Some(last) = self.attempts.last() else {
            return;
        };
        let (id, from, result) = (last.id, last.from.clone(), last.result);
        match (last.kind, last.to.clone()) {
            (AttemptKind::Update, Some(to)) => match result {
                AttemptResult::Lost => self.quarantine(to, now),
                AttemptResult::Left if !self.is_held(&to) => {
                    let reason = format!("{} was left by hand for {from}", to.version);
                    self.hold_left(to, now, &reason);
                }
                // It has proved itself, whatever was thought of it and of older ones.
                AttemptResult::Good => self.holds.retain(|hold| {
                    hold.release.version >= to.version && !hold.release.is_same(&to)
                }),
                _ => {}
            },
            (AttemptKind::Update, None) => {}
            (AttemptKind::Rollback, to) => match result {
                // One that was taken back before it came to anything leaves nothing.
                AttemptResult::Staged | AttemptResult::Replaced => {
                    self.holds
                        .retain(|hold| hold.kind != HeldKind::Left || hold.attempts != [id]);
                }
                // What somebody went back to by hand is left no longer.
                AttemptResult::Good => {
                    let is_it =
                        |hold: &Hold| to.as_ref().is_some_and(|to| to.is_same(&hold.release));
                    self.holds
                        .retain(|hold| hold.kind != HeldKind::Left || !is_it(hold));
                }
                _ => {}
            },
        }
    }

    fn quarantine(&mut self, release: Release, now: DateTime<Utc>) {
        let lost: Vec<&Attempt> = self
            .attempts
            .iter()
            .filter(|attempt| {
                attempt.result == AttemptResult::Lost
                    && attempt.kind == AttemptKind::Update
                    && attempt.to.as_ref().is_some_and(|to| to.is_same(&release))
            })
            .collect();
        let was_alive = lost.iter().any(|attempt| attempt.seen_running);
        if self.is_held(&release) || !was_alive && lost.len() < MAX_SILENT_LOSSES {
            return;
        }
        let reason = if was_alive {
            format!(
                "{} started, was not marked successful, and the boot loader fell back",
                release.version
            )
        } else {
            format!("{} did not come up {} times", release.version, lost.len())
        };
        let attempts = lost.iter().map(|attempt| attempt.id).collect();
        self.hold(Hold {
            release,
            kind: HeldKind::Quarantined,
            since: now,
            attempts,
            reason,
        });
    }

    fn is_held(&self, release: &Release) -> bool {
        self.holds.iter().any(|hold| hold.release.is_same(release))
    }

    fn hold(&mut self, hold: Hold) {
        self.holds
            .retain(|other| other.kind != hold.kind || !other.release.is_same(&hold.release));
        self.holds.push(hold);
        forget_oldest(&mut self.holds, MAX_HOLDS);
    }
}

fn forget_oldest<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

#[cfg(test)]
mod tests;
