//! `rollback`: back to the system that ran before this one. No network, nothing written but bits.

use semver::Version;
use signpost::{BootAttributes, Command, Slot, SlotStore};
use snafu::{OptionExt, ensure};

use super::history::{AttemptKind, Release};
use super::machine::{self, Effect, Offer};
use super::update_session::UpdateSession;
use super::verify::{known_facts, verify_set};
use super::{DamagedSnafu, NotRunningSnafu, SessionError, change_bits};
use crate::env::Env;
use crate::exit::chain;
use crate::os_release::{self, OsRelease};
use crate::sets::{KnownError, SetFacts};

/// What boots next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The set.
    pub slot: Slot,
    /// What it holds, where that is known.
    pub to: Option<Version>,
    /// The version that is left, and held.
    pub from: Version,
    /// Whether the boot loader returns to the running set if the old one does not come up.
    pub can_fall_back: bool,
    /// Whether the running set is good: only then it is let boot next by `update-revert`.
    pub from_was_good: bool,
    /// Whether that was so already.
    pub was_ready: bool,
}

/// Verifies the other set and lets it boot next; the running version is not taken again until a
/// newer one comes or the hold is released.
///
/// # Errors
/// [`SessionError::Refused`] when the other set never was a good system; [`SessionError::Damaged`].
pub fn rollback(env: &Env) -> Result<RolledBack, SessionError> {
    let mut session = UpdateSession::begin(env, "rollback")?;
    let mut steps = session.plan(machine::Command::Rollback, Offer::Unknown)?;
    let (active, slot) = (session.store.active(), session.store.inactive());
    let to = session.release_in(slot);
    let from = running(&session, active)?;
    let bits = session.store.state();
    let mut done = RolledBack {
        slot,
        from_was_good: bits.get(active).is_some_and(BootAttributes::successful),
        to: to.as_ref().map(|to| to.version.clone()),
        from: from.version.clone(),
        can_fall_back: false,
        was_ready: steps.is_done(),
    };
    if !done.was_ready {
        steps.begin(Effect::Verify)?;
        if let Some(facts) = recorded(env, &session.store, slot)? {
            let findings = verify_set(env, &session.store, slot, facts)?;
            ensure!(findings.is_empty(), DamagedSnafu { slot, findings });
        } else {
            tracing::warn!(
                "what set {slot} holds is not recorded: it is not verified, and boots because it \
                 was good once"
            );
        }
        steps.begin(Effect::Hold)?;
        let history = &mut session.record.history;
        history.begin(AttemptKind::Rollback, &from.version, to, slot, env.now);
        let reason = format!("{} was left by hand with updog rollback", from.version);
        history.hold_left(from, env.now, &reason);
        // A way back is not given up because it cannot be remembered.
        session.try_to_remember();
        steps.begin(Effect::ArmBack)?;
        change_bits(&mut session.store, arming(bits.get(slot)))?;
    }
    let bits = session.store.state().get(slot).unwrap_or_default();
    done.can_fall_back = !bits.successful();
    Ok(done)
}

/// What is known of `slot`; a record that cannot be read is none. Where the set itself cannot be read
/// there is nothing to go back to.
fn recorded(env: &Env, store: &SlotStore, slot: Slot) -> Result<Option<SetFacts>, SessionError> {
    match known_facts(env, store, slot) {
        Err(SessionError::Known {
            source: KnownError::Facts { source },
        }) => {
            tracing::warn!("the record of set {slot} is of no use: {}", chain(&source));
            Ok(None)
        }
        known => known,
    }
}

/// What lets a set with these bits boot next. One of which a rollback was taken back has its try
/// already, and waits for it as an update does.
fn arming(other: Option<BootAttributes>) -> Command {
    match other {
        Some(bits) if !bits.successful() && bits.priority() == 0 => Command::UpgradeToInactive,
        _ => Command::RollbackOnce,
    }
}

/// What runs, as it is to be held.
fn running(session: &UpdateSession<'_>, active: Slot) -> Result<Release, SessionError> {
    if let Some(release) = session.release_in(active) {
        return Ok(release);
    }
    let os = OsRelease::load(&session.env.config.os_release).ok();
    let os = os.context(NotRunningSnafu { slot: active })?;
    Ok(Release {
        variant: os.variant,
        arch: os_release::ARCH.to_owned(),
        version: os.version,
        targets: Vec::new(),
        root_hash: None,
    })
}
