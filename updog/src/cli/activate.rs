//! `update-apply`, `update-revert`, and the reboot.

use super::CliError;
use super::printer::Printer;
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, Other, Reverted};

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
    let Reverted { slot, other } = session::revert(env)?;
    let stays = match other {
        Other::WasGood => "; the system from before stays: updog rollback",
        Other::Prepared => "; what was prepared stays: updog update-apply",
        Other::Nothing => "",
    };
    Printer::note(&format!("updog: the running set {slot} boots next{stays}"));
    Ok(Exit::Done)
}

/// Reboots by the configured command.
pub(super) fn reboot(env: &Env) -> Result<(), CliError> {
    tracing::info!("rebooting");
    session::reboot(env)?;
    Ok(())
}
