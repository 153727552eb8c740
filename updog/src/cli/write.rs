//! `prepare` (alias `update-image`) and `update`.

use snafu::ResultExt;

use super::activate::reboot;
use super::check_update::line;
use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, Choice, Outcome};

/// Writes and verifies the chosen update.
pub(super) fn prepare(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    report(&session::prepare(env, choice)?, printer)?;
    Ok(Exit::Done)
}

/// Writes and verifies the chosen update, and lets it boot next.
pub(super) fn update(
    env: &Env,
    choice: &Choice,
    then_reboot: bool,
    printer: Printer,
) -> Result<Exit, CliError> {
    let outcome = session::update(env, choice)?;
    report(&outcome, printer)?;
    match outcome {
        Outcome::Written(update) => {
            Printer::note(&format!(
                "updog: {} boots next. If it does not come up, the running version boots again by \
                 itself; to stay with the running version: updog update-revert",
                update.version
            ));
            if then_reboot {
                reboot(env)?;
            }
        }
        Outcome::NothingToDo(_) => {}
    }
    Ok(Exit::Done)
}

fn report(outcome: &Outcome, printer: Printer) -> Result<(), CliError> {
    match outcome {
        Outcome::Written(update) => printer
            .data(update, [format!("updated to {}", line(update))])
            .context(PrintSnafu),
        Outcome::NothingToDo(decision) => {
            Printer::note(&format!("updog: no update required: {decision}"));
            Ok(())
        }
    }
}
