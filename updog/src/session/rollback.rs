//! `rollback`: back to the system that ran before this one. No network, nothing written but bits.

use semver::Version;
use signpost::{Command, Slot};
use snafu::{OptionExt, ensure};

use super::history::{AttemptKind, Release};
use super::machine::{self, Effect, Offer};
use super::update_session::UpdateSession;
use super::verify::{known_facts, verify_set};
use super::{DamagedSnafu, NotRunningSnafu, SessionError, change_bits};
use crate::env::Env;
use crate::os_release::{self, OsRelease};

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
    let mut done = RolledBack {
        slot,
        to: to.as_ref().map(|to| to.version.clone()),
        from: from.version.clone(),
        can_fall_back: false,
        was_ready: steps.is_done(),
    };
    if !done.was_ready {
        steps.begin(Effect::Verify)?;
        if let Some(facts) = known_facts(env, &session.store, slot)? {
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
        change_bits(&mut session.store, Command::RollbackOnce)?;
    }
    let bits = session.store.state().get(slot).unwrap_or_default();
    done.can_fall_back = !bits.successful();
    Ok(done)
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
