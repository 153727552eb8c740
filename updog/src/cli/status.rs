//! `status`.

use chrono::{DateTime, TimeDelta, Utc};
use signpost::Slot;
use snafu::ResultExt;

use super::history::{result, what};
use super::printer::Printer;
use super::time::{since, span, stamp};
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session;
use crate::session::history::{Attempt, Hold};
use crate::session::status::{
    CachedMigrations, Contents, DiskStatus, Part, Role, Session, SetStatus, Status, Tried, Trust,
};

/// Digits of a root hash that a person compares.
const SHORT_HASH: usize = 12;

/// Prints how this host stands; exit code 1 when a part of it is not known.
pub(super) fn status(env: &Env, printer: Printer) -> Result<Exit, CliError> {
    let status = session::status(env);
    printer.data(&status, lines(&status)).context(PrintSnafu)?;
    Ok(if status.is_whole() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    match &status.disk {
        Part::Known(disk) => {
            lines.push(disk.summary.clone());
            lines.push(disk.next_step.clone());
        }
        Part::Unknown { error } => {
            lines.push(format!("where this host stands is not known: {error}"));
        }
    }
    let warnings = status.warnings.iter();
    lines.extend(warnings.map(|warning| format!("WARNING: {warning}")));
    lines.push(String::new());
    lines.push(row(
        "running",
        &part(&status.running, |running| {
            format!(
                "{} {} on {}",
                running.variant, running.version, running.arch
            )
        }),
    ));
    if let Part::Known(disk) = &status.disk {
        lines.push(row("disk", &disk.name));
        lines.extend(sets(disk));
    }
    lines.push(row("session", &part(&status.session, session)));
    lines.extend(history(&status.history, status.at));
    lines.push(row("migrations", &part(&status.migrations, migrations)));
    let repository = &status.repository;
    lines.push(row("metadata", &repository.metadata_base_url));
    lines.push(row("targets", &repository.targets_base_url));
    lines.extend(trust(&repository.trust, status.at));
    lines
}

/// A line of the table. What goes on in the next line has an empty name.
fn row(name: &str, text: &str) -> String {
    format!("{name:12}  {text}")
}

fn part<T>(part: &Part<T>, words: impl FnOnce(&T) -> String) -> String {
    match part {
        Part::Known(known) => words(known),
        Part::Unknown { error } => unknown(error),
    }
}

fn unknown(error: &str) -> String {
    format!("not known: {error}")
}

fn sets(disk: &DiskStatus) -> Vec<String> {
    let of = |(slot, status): (Slot, &SetStatus)| {
        let role = match (status.runs, status.boots_next) {
            (true, true) => ", runs and boots next",
            (true, false) => ", runs",
            (false, true) => ", boots next",
            (false, false) => "",
        };
        let contents = part(&status.contents, contents);
        let bits = row("", &status.bits.to_string());
        [
            row(&format!("set {slot}"), &format!("{contents}{role}")),
            bits,
        ]
    };
    disk.sets.iter().flat_map(of).collect()
}

fn contents(contents: &Contents) -> String {
    let system = match (&contents.variant, &contents.version) {
        (Some(variant), Some(version)) => format!("{variant} {version}"),
        _ if contents.root_hash.is_some() => "a system that is not on record".to_owned(),
        _ => return "no system".to_owned(),
    };
    let hash = contents.root_hash.map(|hash| hash.to_string());
    let hash = hash.as_ref().map_or_else(
        || "no hash tree".to_owned(),
        |hash| format!("root hash {}", hash.get(..SHORT_HASH).unwrap_or(hash)),
    );
    let verified = match contents.verified {
        None => "never verified here".to_owned(),
        Some(at) if contents.verified_in_this_boot => {
            format!("verified at {} in this boot", stamp(at))
        }
        Some(at) => format!("verified at {}", stamp(at)),
    };
    format!("{system}, {hash}, {verified}")
}

fn session(session: &Session) -> String {
    match &session.holder {
        Some(holder) => format!("at work: {holder}"),
        None => "nobody is at work".to_owned(),
    }
}

fn history(history: &Part<Tried>, now: DateTime<Utc>) -> Vec<String> {
    let Tried {
        last_attempt,
        holds,
    } = match history {
        Part::Known(tried) => tried,
        Part::Unknown { error } => return vec![row("last attempt", &unknown(error))],
    };
    let last = last_attempt.as_ref().map_or_else(
        || "none that is remembered".to_owned(),
        |last| attempt(last, now),
    );
    let mut lines = vec![row("last attempt", &last)];
    lines.extend(holds.iter().map(|hold| row("held back", &held(hold))));
    lines
}

fn attempt(attempt: &Attempt, now: DateTime<Utc>) -> String {
    format!(
        "{} {}: {}",
        what(attempt),
        since(attempt.started, now),
        result(attempt.result)
    )
}

fn held(hold: &Hold) -> String {
    let version = &hold.release.version;
    format!(
        "{version} is {}: {}; to take it again: updog release-hold {version}",
        hold.kind, hold.reason
    )
}

fn migrations(cached: &CachedMigrations) -> String {
    if cached.targets.is_empty() {
        return "none cached".to_owned();
    }
    let way = match (&cached.from, &cached.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        _ => "between the sets".to_owned(),
    };
    let verdict = match cached.is_complete {
        Some(true) => "complete",
        Some(false) => "NOT complete",
        None => "not known whether complete",
    };
    let names: Vec<String> = cached
        .targets
        .iter()
        .map(|target| {
            let missing = if target.is_cached { "" } else { " (missing)" };
            format!("{}{missing}", target.name)
        })
        .collect();
    format!("{way}, {verdict}: {}", names.join(", "))
}

fn trust(trust: &Part<Trust>, now: DateTime<Utc>) -> Vec<String> {
    let trust = match trust {
        Part::Known(trust) => trust,
        Part::Unknown { error } => return vec![row("trusted", &unknown(error))],
    };
    let refreshed = trust.refreshed.map_or_else(
        || "the repository was never refreshed here".to_owned(),
        |at| format!("last refreshed {}", since(at, now)),
    );
    let mut lines = vec![row("trusted", &refreshed)];
    lines.extend(trust.roles.iter().map(|role| row("", &of_role(role))));
    lines
}

fn of_role(Role { role, seconds_left }: &Role) -> String {
    let left = span(TimeDelta::seconds(*seconds_left));
    let left = if *seconds_left > 0 {
        format!("{left} left")
    } else {
        format!("EXPIRED {left} ago")
    };
    format!(
        "{} {}, until {}, {left}",
        role.role,
        role.version,
        stamp(role.expires)
    )
}
