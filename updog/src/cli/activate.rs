//! `update-apply`, `update-revert`, and the reboot.

use super::CliError;
use crate::env::Env;
use crate::exit::Exit;
use crate::session;

/// Lets the written set boot next.
pub(super) fn apply(env: &Env, then_reboot: bool) -> Result<Exit, CliError> {
    session::apply(env)?;
    if then_reboot {
        reboot(env)?;
    }
    Ok(Exit::Done)
}

/// Lets the running set boot next after all.
pub(super) fn revert(env: &Env) -> Result<Exit, CliError> {
    session::revert(env)?;
    Ok(Exit::Done)
}

/// Reboots by the configured command.
pub(super) fn reboot(env: &Env) -> Result<(), CliError> {
    tracing::info!("rebooting");
    session::reboot(env)?;
    Ok(())
}
