//! `history` and `release-hold`.

use std::fmt::Write as _;

use semver::Version;
use snafu::ResultExt;

use super::printer::Printer;
use super::time::stamp;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::history::{Attempt, AttemptKind, AttemptResult, History};
use crate::session::{self, HistoryReport};

/// Prints what was tried on this host, the newest first, and what is held back.
pub(super) fn history(env: &Env, printer: Printer) -> Result<Exit, CliError> {
    let history = session::history(env)?;
    printer
        .data(&HistoryReport::of(&history), lines(&history))
        .context(PrintSnafu)?;
    Ok(Exit::Done)
}

fn lines(history: &History) -> Vec<String> {
    let mut lines: Vec<String> = history.attempts().iter().rev().map(line).collect();
    if lines.is_empty() {
        lines.push("no update was tried on this host, as far as it remembers".to_owned());
    }
    lines.extend(history.holds().iter().map(|hold| {
        format!(
            "{} is {} since {}: {}",
            hold.release.version,
            hold.kind,
            stamp(hold.since),
            hold.reason
        )
    }));
    lines
}

fn line(attempt: &Attempt) -> String {
    let mut line = format!(
        "{:>4}  {}  {}: {}",
        attempt.id,
        stamp(attempt.started),
        what(attempt),
        result(attempt.result),
    );
    if let Some(reason) = &attempt.reason {
        write!(line, ": {reason}").expect("writing to a String cannot fail");
    }
    line
}

/// What an attempt was to do, in words.
pub(super) fn what(attempt: &Attempt) -> String {
    let kind = match attempt.kind {
        AttemptKind::Update => "update",
        AttemptKind::Rollback => "rollback",
    };
    let to = attempt
        .to
        .as_ref()
        .map_or_else(|| "what ran before".to_owned(), |to| to.version.to_string());
    format!("{kind} {} -> {to} in set {}", attempt.from, attempt.slot)
}

/// How an attempt stands, in words.
pub(super) fn result(result: AttemptResult) -> &'static str {
    match result {
        AttemptResult::Writing => "is being written",
        AttemptResult::Staged => "written, does not boot next",
        AttemptResult::Ready => "boots next",
        AttemptResult::Trial => "runs, not yet marked successful",
        AttemptResult::Good => "good",
        AttemptResult::Lost => "did not come up",
        AttemptResult::Left => "left by hand",
        AttemptResult::Failed => "failed",
        AttemptResult::Replaced => "replaced before it ran",
    }
}

/// Lets a version be taken again; exit code 3 when it was not held.
pub(super) fn release_hold(env: &Env, version: &Version) -> Result<Exit, CliError> {
    if session::release_hold(env, version)? {
        Printer::note(&format!("updog: {version} may be taken again"));
        Ok(Exit::Done)
    } else {
        Printer::note(&format!("updog: {version} is not held back on this host"));
        Ok(Exit::NothingToUpdate)
    }
}
