//! `refresh`.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use snafu::ResultExt;

use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::event::{Event, Step};
use crate::exit::Exit;
use crate::repository::{TrustedRole, UpdateRepository};

/// Hex digits of a key id that a person compares.
const SHORT_ID: usize = 12;

/// What `refresh --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    metadata_base_url: String,
    /// Whether the server has an older state than the trusted one, which is shown.
    stale: bool,
    valid_until: DateTime<Utc>,
    roles: Vec<Role<'a>>,
}

#[derive(Debug, Serialize)]
struct Role<'a> {
    #[serde(flatten)]
    role: &'a TrustedRole,
    seconds_left: i64,
}

/// Refreshes the repository and prints what is trusted of it.
pub(super) fn refresh(env: &Env, printer: Printer) -> Result<Exit, CliError> {
    env.observer.observe(&Event::Step(Step::Refresh));
    let repository = UpdateRepository::refresh(env.repository_settings(), env.now)?;
    env.observer.observe(&Event::StepEnd);
    let roles = repository.roles();
    let report = Report {
        metadata_base_url: repository.shown_metadata_url(),
        stale: repository.is_stale(),
        valid_until: repository.valid_until(),
        roles: roles
            .iter()
            .map(|role| Role {
                role,
                seconds_left: (role.expires - env.now).num_seconds(),
            })
            .collect(),
    };
    let title = "role          version  keys     expires               left     key ids".to_owned();
    let lines = roles.iter().map(|role| line(role, env.now));
    printer
        .data(&report, std::iter::once(title).chain(lines))
        .context(PrintSnafu)?;
    Ok(Exit::Done)
}

fn line(role: &TrustedRole, now: DateTime<Utc>) -> String {
    let ids: Vec<&str> = role
        .keyids
        .iter()
        .map(|id| id.get(..SHORT_ID).unwrap_or(id))
        .collect();
    format!(
        "{:9}  {:>10}  {:7}  {}  {:>7}  {}",
        role.role,
        role.version,
        format!("{} of {}", role.threshold, role.keyids.len()),
        role.expires.to_rfc3339_opts(SecondsFormat::Secs, true),
        left(role.expires - now),
        ids.join(" ")
    )
}

/// Two units at most: `13d 4h`, `4h 5m`, `5m`.
fn left(left: TimeDelta) -> String {
    let (days, hours, minutes) = (
        left.num_days(),
        left.num_hours() % 24,
        left.num_minutes() % 60,
    );
    match (days, left.num_hours()) {
        (1.., _) => format!("{days}d {hours}h"),
        (_, 1..) => format!("{hours}h {minutes}m"),
        _ => format!("{}m", left.num_minutes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_in_two_units() {
        for (seconds, expected) in [
            (59, "0m"),
            (60 * 59, "59m"),
            (3600, "1h 0m"),
            (86_399, "23h 59m"),
            (86_400 * 13 + 3600 * 4 + 1, "13d 4h"),
            (-60, "-1m"),
        ] {
            assert_eq!(left(TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn a_line_has_the_columns_of_the_title() {
        let role = TrustedRole {
            role: "timestamp",
            version: 12,
            threshold: 2,
            keyids: vec!["0123456789abcdef".to_owned(), "fe".to_owned()],
            expires: "2031-03-01T00:00:00Z".parse().unwrap(),
        };
        let now = "2031-02-27T12:00:00Z".parse().unwrap();
        assert_eq!(
            line(&role, now),
            "timestamp          12  2 of 2   2031-03-01T00:00:00Z   1d 12h  0123456789ab fe"
        );
    }
}
