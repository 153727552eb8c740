//! `prepare` (alias `update-image`) and `update`.

use snafu::ResultExt;
use update_metadata::Decision;

use super::activate::reboot;
use super::check_update::line;
use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::event::{Event, Note};
use crate::exit::Exit;
use crate::session::{self, Choice, Outcome};

/// Writes and verifies the chosen update.
pub(super) fn prepare(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    let update = match session::prepare(env, choice)? {
        Outcome::Written(update) | Outcome::AlreadyWritten(update) => update,
        Outcome::NothingToDo(decision) => return Ok(nothing_to_do(env, &decision, choice)),
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
        Outcome::NothingToDo(decision) => return Ok(nothing_to_do(env, &decision, choice)),
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
fn nothing_to_do(env: &Env, decision: &Decision, choice: &Choice) -> Exit {
    let reason = match decision {
        Decision::NoCandidate { reason } => reason.clone(),
        other => other.to_string(),
    };
    let is_none = matches!(decision, Decision::NoCandidate { .. });
    let (note, exit) = if is_none && choice.forced.is_some() {
        (Note::NotOffered { reason }, Exit::Failed)
    } else {
        (Note::NothingToDo { reason }, Exit::Done)
    };
    env.observer.observe(&Event::Note(note));
    exit
}
