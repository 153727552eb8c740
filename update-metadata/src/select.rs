//! Which update a host takes, and why it takes no other.
//!
//! Every update of the manifest is put to the same gates; the decision is the highest version that
//! passes them all. So the explanation cannot contradict the decision: it is what the decision was
//! made from.
//!
//! Versions are compared as the `semver` crate orders them, build metadata included, so that any
//! two different versions have an order.

use crate::gate::filter_gates;
use crate::held::{Held, HeldKind};
use crate::manifest::{Manifest, Update};
use crate::seed::Seed;
use crate::version_lock::VersionLock;
use crate::wave::time_text;
use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::fmt;

pub use crate::gate::{Explanation, Gate, GateName};

/// What is known of the host that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The variant that it runs.
    pub variant: String,
    /// Its architecture, as manifests name it: `x86_64` or `aarch64`.
    pub arch: String,
    /// The version that it runs.
    pub version: Version,
    /// Its place in the fleet.
    pub seed: Seed,
}

/// Whether an update has to wait for its wave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaveCheck {
    /// It has to.
    #[default]
    Respect,
    /// It is ready at once. For hosts where an operator does the pacing.
    Ignore,
}

/// What the host's settings and its operator ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpdatePolicy {
    /// The version the host is meant to run.
    pub lock: VersionLock,
    /// The version asked for this once. It overrides the lock, the running version and what is held
    /// back, and neither the waves nor the ceiling.
    pub forced: Option<Version>,
    /// Whether to wait for the wave.
    pub waves: WaveCheck,
    /// Updates that this host does not take again by itself.
    pub held: Vec<Held>,
}

impl UpdatePolicy {
    /// Why `update` is held back in this way, if it is.
    pub(crate) fn held_back(&self, update: &Update, kind: HeldKind) -> Option<&Held> {
        self.held
            .iter()
            .find(|held| held.kind == kind && held.is(update))
    }
}

/// A decision, and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// What to do.
    pub decision: Decision,
    /// What every gate said about every update of the manifest, from the highest version down.
    /// Updates of the same version keep the manifest's order.
    pub explanations: Vec<Explanation>,
}

/// What a host is to do.
///
/// All but the first mean that nothing is to be done now. They are outcomes, not errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// Take this update.
    Update {
        /// The update.
        update: Box<Update>,
        /// How its version stands to the running one.
        direction: UpdateDirection,
        /// Why this one, as a plain clause.
        reason: String,
    },
    /// There is an update, and only its wave has not reached this host.
    NotYet {
        /// Its version. Of several, the one that becomes ready first.
        version: Version,
        /// When it becomes ready.
        at: DateTime<Utc>,
    },
    /// The host runs the version it is locked to, or follows the latest and nothing offered to it
    /// is newer.
    UpToDate,
    /// Nothing offered can be taken.
    NoCandidate {
        /// Why, as a plain clause.
        reason: String,
    },
    /// The host is locked to a version that it neither runs nor can get.
    LockedOut {
        /// The lock.
        lock: VersionLock,
        /// Why the version cannot be got, as a plain clause.
        reason: String,
    },
}

/// How an update's version stands to the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateDirection {
    /// It is higher.
    Upgrade,
    /// It is lower.
    Downgrade,
    /// It is the same.
    Reinstall,
}

/// Chooses what `host` is to do.
///
/// An update is a candidate if it is for the host's variant and architecture, is not above its own
/// ceiling, and its wave has come or is ignored. Then the first of these that applies decides:
///
/// 1. a forced version: the candidate of that version, even if it runs already;
/// 2. a version lock: nothing if that version runs, else the candidate of that version, up or down;
/// 3. the latest: the highest candidate that is newer than the running version, or whose ceiling is
///    below the running version. The second is how a withdrawn release is left again.
///
/// An update that is held back on this host is taken only if it is forced.
///
/// If the manifest lists the same update twice, the first counts.
pub fn select(
    manifest: &Manifest,
    host: &Host,
    policy: &UpdatePolicy,
    now: DateTime<Utc>,
) -> Selection {
    let updates = descending(manifest.updates.iter().collect());
    let explanations: Vec<Explanation> = updates
        .iter()
        .map(|update| Explanation::new(update, host, policy, now))
        .collect();
    let chosen = updates
        .iter()
        .zip(&explanations)
        .find(|(_, explanation)| explanation.passed());
    let decision = match chosen {
        Some((update, _)) => take(update, host, policy),
        None => take_nothing(&explanations, host, policy),
    };
    Selection {
        decision,
        explanations,
    }
}

/// The candidates for `host`, from the highest version down.
///
/// These pass the first four gates only: lock, forced and running version are not looked at, so
/// older versions and the running one are among them.
pub fn candidates<'a>(
    manifest: &'a Manifest,
    host: &Host,
    waves: WaveCheck,
    now: DateTime<Utc>,
) -> Vec<&'a Update> {
    let is_candidate = |update: &&Update| {
        filter_gates(update, host, waves, now)
            .iter()
            .all(|gate| gate.passed)
    };
    descending(manifest.updates.iter().filter(is_candidate).collect())
}

/// From the highest version down; equal versions keep their order.
fn descending(mut updates: Vec<&Update>) -> Vec<&Update> {
    updates.sort_by_key(|update| Reverse(&update.version));
    updates
}

/// The decision for an update that passed every gate.
fn take(update: &Update, host: &Host, policy: &UpdatePolicy) -> Decision {
    let Update {
        version,
        max_version,
        ..
    } = update;
    let running = &host.version;
    let direction = match version.cmp(running) {
        Ordering::Greater => UpdateDirection::Upgrade,
        Ordering::Less => UpdateDirection::Downgrade,
        Ordering::Equal => UpdateDirection::Reinstall,
    };
    let reason = match (&policy.forced, &policy.lock, direction) {
        (Some(_), _, _) => format!("version {version} was forced"),
        (None, VersionLock::Exactly(_), _) => format!("version lock is {version}"),
        (None, VersionLock::Latest, UpdateDirection::Downgrade) => format!(
            "the running {running} is withdrawn: the highest version offered up to max version \
             {max_version} is {version}"
        ),
        (None, VersionLock::Latest, _) => format!("{version} is newer than the running {running}"),
    };
    Decision::Update {
        update: Box::new(update.clone()),
        direction,
        reason,
    }
}

/// The decision when no update passed every gate.
fn take_nothing(explanations: &[Explanation], host: &Host, policy: &UpdatePolicy) -> Decision {
    let pending = explanations
        .iter()
        .filter_map(|explanation| Some((explanation, explanation.eligible_at()?)))
        // The first of equal ones, which has the highest version.
        .min_by_key(|(_, at)| *at);
    if let Some((explanation, at)) = pending {
        return Decision::NotYet {
            version: explanation.version.clone(),
            at,
        };
    }

    let offered = || {
        explanations.iter().filter(|explanation| {
            explanation.passes(GateName::Variant) && explanation.passes(GateName::Architecture)
        })
    };
    let Host {
        variant,
        arch,
        version: running,
        ..
    } = host;
    // Why an offered version was not taken, or that it is not offered.
    let held_back = |version: &Version| {
        offered()
            .find(|explanation| explanation.version == *version)
            .and_then(Explanation::first_failed)
            .map_or_else(
                || format!("the manifest has no {version} for {variant} on {arch}"),
                |gate| gate.reason.clone(),
            )
    };
    match (&policy.forced, &policy.lock) {
        (Some(forced), _) => Decision::NoCandidate {
            reason: held_back(forced),
        },
        (None, VersionLock::Exactly(locked)) if locked == running => Decision::UpToDate,
        (None, VersionLock::Exactly(locked)) => Decision::LockedOut {
            lock: policy.lock.clone(),
            reason: held_back(locked),
        },
        (None, VersionLock::Latest) => {
            let allowed = offered().find(|explanation| explanation.passes(GateName::MaxVersion));
            match (allowed, offered().next()) {
                // The host runs the newest version that is given out, or a later one that its
                // publisher does not call withdrawn.
                (Some(allowed), _) if allowed.version <= *running => Decision::UpToDate,
                (Some(held), _) | (None, Some(held)) => Decision::NoCandidate {
                    reason: held_back(&held.version),
                },
                (None, None) => Decision::NoCandidate {
                    reason: format!("the manifest has no update for {variant} on {arch}"),
                },
            }
        }
    }
}

/// As part of a sentence: a version follows.
impl fmt::Display for UpdateDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "upgrade to",
            Self::Downgrade => "downgrade to",
            Self::Reinstall => "reinstall",
        })
    }
}

/// One line for an operator, without a full stop.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update {
                update,
                direction,
                reason,
            } => {
                write!(f, "{direction} {}: {reason}", update.version)
            }
            Self::NotYet { version, at } => {
                write!(
                    f,
                    "{version} becomes ready for this host at {}",
                    time_text(*at)
                )
            }
            Self::UpToDate => f.write_str("this host is up to date"),
            Self::NoCandidate { reason } => write!(f, "no update: {reason}"),
            Self::LockedOut { lock, reason } => {
                write!(f, "version lock {lock} cannot be met: {reason}")
            }
        }
    }
}
