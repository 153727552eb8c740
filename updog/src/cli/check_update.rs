//! `check-update`, alias `whats`.

use snafu::ResultExt;
use update_metadata::{Decision, Update};

use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{Choice, choose};

/// Prints the chosen update.
pub(super) fn check(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    let offer = choose(env, choice)?;
    match &offer.selection.decision {
        Decision::Update { update, .. } => {
            printer.data(update, [line(update)]).context(PrintSnafu)?;
            Ok(Exit::Done)
        }
        nothing => {
            Printer::note(&format!("updog: {nothing}"));
            Ok(Exit::NothingToUpdate)
        }
    }
}

/// Prints every candidate, the highest version first.
pub(super) fn list(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    let offer = choose(env, choice)?;
    let candidates = offer.candidates();
    let lines = candidates.iter().map(|update| line(update));
    printer.data(&candidates, lines).context(PrintSnafu)?;
    Ok(Exit::Done)
}

/// `VARIANT VERSION`, as scripts expect it.
pub(super) fn line(update: &Update) -> String {
    format!("{} {}", update.variant, update.version)
}
