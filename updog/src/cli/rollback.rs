//! `rollback`.

use serde::Serialize;
use signpost::Slot;
use snafu::ResultExt;

use super::activate::reboot;
use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, RolledBack};

/// What `rollback --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    set: Slot,
    from: &'a semver::Version,
    to: Option<&'a semver::Version>,
    can_fall_back: bool,
}

/// Lets the system from before this one boot next.
pub(super) fn rollback(env: &Env, then_reboot: bool, printer: Printer) -> Result<Exit, CliError> {
    let RolledBack {
        slot,
        to,
        from,
        can_fall_back,
        from_was_good,
        was_ready: _,
    } = session::rollback(env)?;
    let system = to
        .as_ref()
        .map_or_else(|| "the system from before".to_owned(), ToString::to_string);
    let fallback = if can_fall_back {
        format!("once; if it does not come up, {from} boots again by itself")
    } else {
        format!("and {from}, which was not marked successful, does not boot again by itself")
    };
    let stay = if from_was_good {
        "updog update-revert"
    } else {
        "signpost mark-successful-boot, then updog update-revert"
    };
    Printer::note(&format!(
        "updog: {system} in set {slot} boots next, {fallback}. {from} is not taken again until a \
         newer version comes, or: updog release-hold {from}. To stay with {from} after all: {stay}"
    ));
    let report = Report {
        set: slot,
        from: &from,
        to: to.as_ref(),
        can_fall_back,
    };
    let told = printer.data(&report, [format!("rolled back from {from} to {system}")]);
    if then_reboot {
        reboot(env)?;
    }
    told.context(PrintSnafu)?;
    Ok(Exit::Done)
}
