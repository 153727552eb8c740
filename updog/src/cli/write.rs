//! `prepare` (alias `update-image`) and `update`.

use snafu::ResultExt;
use update_metadata::Decision;

use super::activate::reboot;
use super::check_update::line;
use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, Choice, Outcome};

/// Writes and verifies the chosen update.
pub(super) fn prepare(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    let update = match session::prepare(env, choice)? {
        Outcome::Written(update) | Outcome::AlreadyWritten(update) => update,
        Outcome::NothingToDo(decision) => return Ok(nothing_to_do(&decision, choice)),
    };
    Printer::note("updog: the running version still boots next; to go on: updog update-apply");
    printer
        .data(&update, [format!("prepared {}", line(&update))])
        .context(PrintSnafu)?;
    Ok(Exit::Done)
}

/// Writes and verifies the chosen update, and lets it boot next.
pub(super) fn update(
    env: &Env,
    choice: &Choice,
    then_reboot: bool,
    printer: Printer,
) -> Result<Exit, CliError> {
    let update = match session::update(env, choice)? {
        Outcome::Written(update) | Outcome::AlreadyWritten(update) => update,
        Outcome::NothingToDo(decision) => return Ok(nothing_to_do(&decision, choice)),
    };
    Printer::note(&format!(
        "updog: {} boots next. If it does not come up, the running version boots again by itself; \
         to stay with the running version: updog update-revert",
        update.version
    ));
    // A reader that is gone does not keep the host from what it was asked to do.
    let told = printer.data(&update, [format!("updated to {}", line(&update))]);
    if then_reboot {
        reboot(env)?;
    }
    told.context(PrintSnafu)?;
    Ok(Exit::Done)
}

/// Nothing was written. That is no failure, unless somebody asked for exactly this version.
fn nothing_to_do(decision: &Decision, choice: &Choice) -> Exit {
    match decision {
        Decision::NoCandidate { reason } if choice.forced.is_some() => {
            Printer::note(&format!("updog: nothing was written: {reason}"));
            Exit::Failed
        }
        Decision::NoCandidate { reason } => {
            Printer::note(&format!("updog: no update required: {reason}"));
            Exit::Done
        }
        other => {
            Printer::note(&format!("updog: no update required: {other}"));
            Exit::Done
        }
    }
}
