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

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use signpost::{BootAttributes, BootState, Slot};
use update_metadata::{Digest, Held, HeldKind};

/// Attempts that are remembered; older ones are forgotten.
pub const MAX_ATTEMPTS: usize = 64;
/// Versions that are held back at once; the oldest is forgotten.
pub const MAX_HOLDS: usize = 64;
/// Lost boots of a version without a sign of life, after which it is quarantined.
const MAX_SILENT_LOSSES: usize = 2;
/// Characters of a reason; what a server said may be part of it.
const MAX_REASON: usize = 1000;

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

/// What the disk says of the set that an attempt is about, and of the system that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    runs: bool,
    boots_next: bool,
    bits: BootAttributes,
    /// Whether the set is known to hold what the attempt was to write.
    holds_it: bool,
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
        forget_oldest(&mut self.attempts, MAX_ATTEMPTS);
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
            let is_it = |(to, found): (&Release, &Release)| to.is_same(found);
            let seen = Seen {
                runs: state.active() == slot,
                boots_next: state.next() == Some(slot),
                bits: state.get(slot).unwrap_or_default(),
                holds_it: last.to.as_ref().zip(inactive).is_some_and(is_it),
            };
            let is_at_work = last.result == AttemptResult::Writing && looks == Looks::Beside;
            if is_at_work || !last.see(seen, now) {
                return;
            }
        } else if let (Some(release), Some(running)) = (inactive, running)
            && is_lost(state.get(state.inactive()).unwrap_or_default())
        {
            self.begin(
                AttemptKind::Update,
                running,
                Some(release.clone()),
                state.inactive(),
                now,
            );
            if let Some(last) = self.attempts.last_mut() {
                last.end(AttemptResult::Lost, now, Some("its record is lost"));
            }
        }
        self.settle_holds(now);
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
                AttemptResult::Good => {
                    self.holds.retain(|hold| hold.release.version >= to.version);
                }
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

impl Attempt {
    /// Follows what the disk says. Whether that is news.
    fn see(&mut self, seen: Seen, now: DateTime<Utc>) -> bool {
        use AttemptResult::{Failed, Good, Left, Lost, Ready, Replaced, Staged, Trial, Writing};
        let bits = seen.bits;
        let (result, reason) = match self.result {
            Writing if bits.tries_left() == 0 || seen.runs || !seen.holds_it => {
                (Failed, Some("its process ended before the set was written"))
            }
            Staged | Ready | Trial | Good | Lost | Left if seen.runs && bits.successful() => {
                (Good, None)
            }
            Staged | Ready | Trial | Lost | Left if seen.runs => (Trial, None),
            Writing | Staged | Ready if is_lost(bits) => (Lost, Some("the boot loader fell back")),
            Writing | Staged | Ready if seen.boots_next => (Ready, None),
            Writing | Staged | Ready if self.kind == AttemptKind::Update && bits.successful() => {
                (Left, Some("it was good, and was left by hand"))
            }
            Writing | Staged | Ready if bits.tries_left() > 0 || bits.successful() => {
                (Staged, None)
            }
            Writing | Staged | Ready => (Replaced, Some("the set was cleared")),
            Good | Trial if bits.successful() => (Left, Some("it was left by hand")),
            Trial if seen.boots_next => (Ready, None),
            Trial => (
                Lost,
                Some("the boot loader fell back before it was marked successful"),
            ),
            Good | Lost | Left | Failed | Replaced => return false,
        };
        let is_news = result != self.result;
        self.seen_running |= seen.runs;
        if result.has_ended() {
            if is_news {
                self.end(result, now, reason);
            }
        } else {
            self.result = result;
            self.ended = None;
        }
        is_news
    }

    fn end(&mut self, result: AttemptResult, now: DateTime<Utc>, reason: Option<&str>) {
        self.result = result;
        self.ended = Some(now);
        self.reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect());
    }
}

/// Whether a set with these bits, while the other one runs, was tried and did not come up.
fn is_lost(bits: BootAttributes) -> bool {
    bits.priority() > 0 && bits.tries_left() == 0 && !bits.successful()
}

fn forget_oldest<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

#[cfg(test)]
mod tests;
