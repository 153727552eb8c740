//! `update-apply` and `update-revert`: which set boots next. No network, nothing written but bits.

use signpost::store::Error as StoreError;
use signpost::{Command, Force, Slot, SlotStore};
use snafu::{ResultExt, ensure};

use super::verify::{known_facts, verify_set};
use super::{DamagedSnafu, Locked, RebootSnafu, SessionError, StoreSnafu, change_bits};
use crate::env::Env;

/// Lets the written set boot next, once, and returns it. Given again, it finds that done.
///
/// # Errors
/// [`SessionError::Store`] with the refusal when the inactive set was not written and verified.
pub fn apply(env: &Env) -> Result<Slot, SessionError> {
    let mut locked = Locked::take(env, "update-apply")?;
    arm(env, &mut locked.store)?;
    Ok(locked.store.inactive())
}

/// Lets the running set boot next after all, and returns it. The written set stays, and can be applied again.
///
/// # Errors
/// [`SessionError::Store`], with the refusal on the first boot of a set that is not marked
/// successful.
pub fn revert(env: &Env) -> Result<Slot, SessionError> {
    let mut locked = Locked::take(env, "update-revert")?;
    change_bits(&mut locked.store, Command::CancelUpgrade)?;
    Ok(locked.store.active())
}

/// Reboots by the configured command. Whatever boots next was decided before.
///
/// # Errors
/// [`SessionError::Reboot`].
pub fn reboot(env: &Env) -> Result<(), SessionError> {
    crate::reboot::reboot(&env.config.reboot_command).context(RebootSnafu)
}

/// Arms the inactive set, unless it is armed. A set that was verified in an earlier boot is
/// verified again first: since then the disk may have decayed, or somebody may have written to it.
pub(super) fn arm(env: &Env, store: &mut SlotStore) -> Result<(), SessionError> {
    let state = store.state();
    let inactive = state.inactive();
    let bits = state.get(inactive);
    if state.next() == Some(inactive) && bits.is_some_and(|bits| bits.tries_left() > 0) {
        tracing::info!("set {inactive} boots next already");
        return Ok(());
    }
    // What is refused for its bits is refused before it is read.
    state
        .apply(Command::UpgradeToInactive, &Force::No)
        .map_err(|refusal| StoreError::Refused { refusal })
        .context(StoreSnafu)?;
    verify_if_stale(env, store, inactive)?;
    change_bits(store, Command::UpgradeToInactive)?;
    Ok(())
}

fn verify_if_stale(env: &Env, store: &SlotStore, slot: Slot) -> Result<(), SessionError> {
    let Some(facts) = known_facts(env, store, slot)? else {
        tracing::warn!(
            "what set {slot} holds is not recorded: it is not verified again, and boots because it \
             was marked valid"
        );
        return Ok(());
    };
    if !env.boot_id.is_empty() && facts.verified.boot_id == env.boot_id {
        return Ok(());
    }
    let findings = verify_set(env, store, slot, facts)?;
    ensure!(findings.is_empty(), DamagedSnafu { slot, findings });
    Ok(())
}
