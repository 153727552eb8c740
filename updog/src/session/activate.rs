//! `update-apply` and `update-revert`: which set boots next. No network, nothing written but bits.

use signpost::{Command, Force, SlotStore};
use snafu::ResultExt;

use super::{Locked, RebootSnafu, SessionError, StoreSnafu};
use crate::env::Env;

/// Lets the written set boot next, once. Given again, it finds that done.
///
/// # Errors
/// [`SessionError::Store`] with the refusal when the inactive set was not written and verified.
pub fn apply(env: &Env) -> Result<(), SessionError> {
    let mut locked = Locked::take(env, "update-apply")?;
    arm(&mut locked.store)
}

/// Lets the running set boot next after all. The written set stays, and can be applied again.
///
/// # Errors
/// [`SessionError::Store`], with the refusal on the first boot of a set that is not marked
/// successful.
pub fn revert(env: &Env) -> Result<(), SessionError> {
    let mut locked = Locked::take(env, "update-revert")?;
    locked
        .store
        .run(Command::CancelUpgrade, &Force::No)
        .context(StoreSnafu)?;
    Ok(())
}

/// Reboots by the configured command. Whatever boots next was decided before.
///
/// # Errors
/// [`SessionError::Reboot`].
pub fn reboot(env: &Env) -> Result<(), SessionError> {
    crate::reboot::reboot(&env.config.reboot_command).context(RebootSnafu)
}

/// Arms the inactive set, unless it is armed.
pub(super) fn arm(store: &mut SlotStore) -> Result<(), SessionError> {
    let state = store.state();
    let inactive = state.inactive();
    let armed = state.next() == Some(inactive)
        && state
            .get(inactive)
            .is_some_and(|bits| bits.tries_left() > 0);
    if armed {
        tracing::info!("set {inactive} boots next already");
        return Ok(());
    }
    store
        .run(Command::UpgradeToInactive, &Force::No)
        .context(StoreSnafu)?;
    Ok(())
}
