//! The gates an update has to pass on a host, each with the sentence that an operator reads.

use crate::held::HeldKind;
use crate::manifest::Update;
use crate::select::{Host, UpdatePolicy, WaveCheck};
use crate::version_lock::VersionLock;
use crate::wave::time_text;
use chrono::{DateTime, Utc};
use semver::Version;
use serde::Serialize;

/// One reason for which an update may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateName {
    /// The update is for the host's variant.
    Variant,
    /// The update is for the host's architecture.
    Architecture,
    /// The update's version is not above its own ceiling.
    MaxVersion,
    /// The update did not fail to boot on this host before.
    Quarantine,
    /// The update was not left by hand on this host.
    Hold,
    /// The update's wave has reached the host's seed.
    Wave,
    /// The update is the version that was forced, or else the one that the host is locked to.
    Lock,
    /// The host has a reason to leave the version that it runs for this one.
    AlreadyRunning,
}

/// What one gate says about one update on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// Which gate.
    pub name: GateName,
    /// Whether the update passes it.
    pub passed: bool,
    /// Why, as a plain clause without a full stop.
    pub reason: String,
    /// When the wave reaches this host, past or to come. Only the wave gate has one, and only if
    /// the update has waves and they are respected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligible_at: Option<DateTime<Utc>>,
}

/// What every gate says about one update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The update's version.
    pub version: Version,
    /// The update's variant.
    pub variant: String,
    /// The update's architecture.
    pub arch: String,
    /// Every gate, in the order of [`GateName`].
    pub gates: Vec<Gate>,
}

impl Explanation {
    /// Whether the update passes every gate.
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed)
    }

    /// When the update will pass every gate, if its wave is all that holds it back.
    pub fn eligible_at(&self) -> Option<DateTime<Utc>> {
        let mut failed = self.gates.iter().filter(|gate| !gate.passed);
        let only = failed.next().filter(|gate| gate.name == GateName::Wave)?;
        if failed.next().is_some() {
            None
        } else {
            only.eligible_at
        }
    }

    /// The first gate that the update does not pass.
    pub fn first_failed(&self) -> Option<&Gate> {
        self.gates.iter().find(|gate| !gate.passed)
    }

    /// Whether the update passes this gate.
    pub(crate) fn passes(&self, name: GateName) -> bool {
        self.gates
            .iter()
            .any(|gate| gate.name == name && gate.passed)
    }

    /// Puts every gate to one update.
    pub(crate) fn new(
        update: &Update,
        host: &Host,
        policy: &UpdatePolicy,
        now: DateTime<Utc>,
    ) -> Self {
        let [variant, arch, max_version, wave] = filter_gates(update, host, policy.waves, now);
        let gates = vec![
            variant,
            arch,
            max_version,
            // Before the wave: time does not help against these.
            held_gate(GateName::Quarantine, update, policy),
            held_gate(GateName::Hold, update, policy),
            wave,
            lock_gate(update, policy),
            already_running_gate(update, host, policy),
        ];
        Self {
            version: update.version.clone(),
            variant: update.variant.clone(),
            arch: update.arch.clone(),
            gates,
        }
    }
}

/// The gates that make an update a candidate, before lock and running version are looked at.
pub(crate) fn filter_gates(
    update: &Update,
    host: &Host,
    waves: WaveCheck,
    now: DateTime<Utc>,
) -> [Gate; 4] {
    [
        same_gate(GateName::Variant, "variant", &update.variant, &host.variant),
        same_gate(
            GateName::Architecture,
            "architecture",
            &update.arch,
            &host.arch,
        ),
        max_version_gate(update),
        wave_gate(update, host, waves, now),
    ]
}

fn gate(name: GateName, passed: bool, reason: String) -> Gate {
    Gate {
        name,
        passed,
        reason,
        eligible_at: None,
    }
}

fn same_gate(name: GateName, what: &str, offered: &str, wanted: &str) -> Gate {
    if offered == wanted {
        gate(name, true, format!("{what} is {wanted}"))
    } else {
        gate(
            name,
            false,
            format!("{what} is {offered}, this host's is {wanted}"),
        )
    }
}

fn max_version_gate(update: &Update) -> Gate {
    let Update {
        version,
        max_version,
        ..
    } = update;
    if version <= max_version {
        gate(
            GateName::MaxVersion,
            true,
            format!("max version {max_version} allows {version}"),
        )
    } else {
        let reason = format!("max version {max_version} is lower than {version}");
        gate(GateName::MaxVersion, false, reason)
    }
}

fn wave_gate(update: &Update, host: &Host, waves: WaveCheck, now: DateTime<Utc>) -> Gate {
    let seed = host.seed;
    if waves == WaveCheck::Ignore {
        return gate(GateName::Wave, true, "waves are ignored".to_owned());
    }
    let Some(at) = update.waves.ready_at(seed) else {
        let reason = if update.waves.is_empty() {
            "the update has no waves".to_owned()
        } else {
            format!("no wave holds seed {seed} back")
        };
        return gate(GateName::Wave, true, reason);
    };
    let passed = at <= now;
    let opens = if passed { "opened" } else { "opens" };
    let reason = format!("wave {opens} for seed {seed} at {}", time_text(at));
    Gate {
        name: GateName::Wave,
        passed,
        reason,
        eligible_at: Some(at),
    }
}

fn lock_gate(update: &Update, policy: &UpdatePolicy) -> Gate {
    let (passed, reason) = match (&policy.forced, &policy.lock) {
        (Some(forced), _) => (
            update.version == *forced,
            format!("forced version is {forced}"),
        ),
        (None, VersionLock::Exactly(locked)) => (
            update.version == *locked,
            format!("version lock is {locked}"),
        ),
        (None, VersionLock::Latest) => (true, "no version lock".to_owned()),
    };
    gate(GateName::Lock, passed, reason)
}

fn already_running_gate(update: &Update, host: &Host, policy: &UpdatePolicy) -> Gate {
    let Update {
        version,
        max_version,
        ..
    } = update;
    let running = &host.version;
    let (passed, reason) = if policy.forced.is_some() {
        (
            true,
            format!("a forced version replaces the running {running}, whatever it is"),
        )
    } else if running == version {
        (false, format!("this host runs {running} already"))
    } else if policy.lock != VersionLock::Latest {
        (true, format!("this host runs {running}"))
    } else if running < version {
        (true, format!("this host runs the older {running}"))
    } else if running > max_version {
        (
            true,
            format!("this host runs {running}, withdrawn by max version {max_version}"),
        )
    } else {
        (false, format!("this host runs the newer {running}"))
    };
    gate(GateName::AlreadyRunning, passed, reason)
}

fn held_gate(name: GateName, update: &Update, policy: &UpdatePolicy) -> Gate {
    let version = &update.version;
    let kind = match name {
        GateName::Quarantine => HeldKind::Quarantined,
        _ => HeldKind::Left,
    };
    match (policy.held_back(update, kind), &policy.forced) {
        (None, _) => gate(name, true, format!("{version} is not {kind}")),
        (Some(held), None) => gate(name, false, format!("{version} is {kind}: {}", held.reason)),
        (Some(held), Some(_)) => gate(
            name,
            true,
            format!("{version} is {kind}, but forced: {}", held.reason),
        ),
    }
}
