//! `update-apply`, `update-revert`, and the reboot.

use super::CliError;
use super::printer::Printer;
use crate::env::Env;
use crate::exit::Exit;
use crate::session;

/// Lets the written set boot next.
pub(super) fn apply(env: &Env, then_reboot: bool) -> Result<Exit, CliError> {
    let slot = session::apply(env)?;
    Printer::note(&format!(
        "updog: set {slot} boots next, once; to stay with the running set: updog update-revert"
    ));
    if then_reboot {
        reboot(env)?;
    }
    Ok(Exit::Done)
}

/// Lets the running set boot next after all.
pub(super) fn revert(env: &Env) -> Result<Exit, CliError> {
    let slot = session::revert(env)?;
    Printer::note(&format!(
        "updog: the running set {slot} boots next; what was prepared stays: updog update-apply"
    ));
    Ok(Exit::Done)
}

/// Reboots by the configured command.
pub(super) fn reboot(env: &Env) -> Result<(), CliError> {
    tracing::info!("rebooting");
    session::reboot(env)?;
    Ok(())
}
