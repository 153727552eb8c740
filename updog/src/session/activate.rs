//! `update-apply` and `update-revert`: which set boots next. No network, nothing written but bits.

use signpost::store::Error as StoreError;
use signpost::{Command, Force, Slot, SlotStore};
use snafu::{ResultExt, ensure};

use super::history::Looks;
use super::machine::{self, Effect, Offer, State};
use super::update_session::{Steps, UpdateSession, reconcile};
use super::verify::{known_facts, verify_set};
use super::{DamagedSnafu, RebootSnafu, SessionError, StoreSnafu, change_bits};
use crate::env::Env;

/// Lets the written set boot next, once, and returns it. Given again, it finds that done.
///
/// # Errors
/// [`SessionError::Store`] with the refusal when the inactive set was not written and verified.
pub fn apply(env: &Env) -> Result<Slot, SessionError> {
    let mut session = UpdateSession::begin(env, "update-apply")?;
    let mut steps = session.plan(machine::Command::Apply, Offer::Unknown)?;
    arm(&mut session, &mut steps)?;
    Ok(session.store.inactive())
}

/// What boots next after [`revert`], and what the other set is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reverted {
    /// The running set, which boots next.
    pub slot: Slot,
    /// What stays in the other one.
    pub other: Other,
}

/// What a set that does not boot next holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// A system that was good, for a rollback.
    WasGood,
    /// An update that was never booted.
    Prepared,
    /// Nothing that boots.
    Nothing,
}

/// Lets the running set boot next after all. The written set stays, and can be applied again.
///
/// # Errors
/// [`SessionError::Store`], with the refusal on the first boot of a set that is not marked
/// successful.
pub fn revert(env: &Env) -> Result<Reverted, SessionError> {
    let mut session = UpdateSession::begin(env, "update-revert")?;
    let mut steps = session.plan(machine::Command::Revert, Offer::Unknown)?;
    if steps.is_done() {
        tracing::info!("the running set boots next already");
    } else {
        steps.begin(Effect::Disarm)?;
        change_bits(&mut session.store, Command::CancelUpgrade)?;
    }
    reconcile(env, &session.store, &mut session.record, Looks::Alone);
    let facts = session.facts(Offer::Unknown);
    let other = match facts.state {
        _ if facts.other_was_good => Other::WasGood,
        State::Staged => Other::Prepared,
        _ => Other::Nothing,
    };
    Ok(Reverted {
        slot: session.store.active(),
        other,
    })
}

/// Reboots by the configured command. Whatever boots next was decided before.
///
/// # Errors
/// [`SessionError::Reboot`].
pub fn reboot(env: &Env) -> Result<(), SessionError> {
    crate::reboot::reboot(&env.config.reboot_command, &env.cancel).context(RebootSnafu)
}

/// What is left of a plan that ends with [`Effect::Arm`]. A set that was verified in an earlier
/// boot is verified again first: since then the disk may have decayed, or somebody may have written
/// to it.
pub(super) fn arm(session: &mut UpdateSession<'_>, steps: &mut Steps) -> Result<(), SessionError> {
    let inactive = session.store.inactive();
    if steps.is_done() {
        tracing::info!("set {inactive} boots next already");
        return Ok(());
    }
    // What is refused for its bits is refused before it is read.
    let state = session.store.state();
    state
        .apply(Command::UpgradeToInactive, &Force::No)
        .map_err(|refusal| StoreError::Refused { refusal })
        .context(StoreSnafu)?;
    if steps.has_next(Effect::Verify) {
        steps.begin(Effect::Verify)?;
        verify_known(session.env, &session.store, inactive)?;
    }
    steps.begin(Effect::Arm)?;
    change_bits(&mut session.store, Command::UpgradeToInactive)?;
    Ok(())
}

fn verify_known(env: &Env, store: &SlotStore, slot: Slot) -> Result<(), SessionError> {
    let Some(facts) = known_facts(env, store, slot)? else {
        tracing::warn!(
            "what set {slot} holds is not recorded: it is not verified again, and boots because it \
             was marked valid"
        );
        return Ok(());
    };
    let findings = verify_set(env, store, slot, facts)?;
    ensure!(findings.is_empty(), DamagedSnafu { slot, findings });
    Ok(())
}
