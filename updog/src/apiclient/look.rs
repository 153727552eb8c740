//! The verbs that only look, but for `watch`.

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::Method;
use hyper::http::uri::PathAndQuery;
use indicatif::HumanBytes;
use semver::Version;

use super::command::Client;
use super::connection::{ANSWER_LIMIT, Ask};
use super::failure::Failure;
use super::output;
use super::wait::Look;
use crate::api::updates::{
    CommandStatus, Image, Partition, RunningCommand, STATUS_PATH, UpdateState, UpdatesStatus,
};
use crate::exit::printable;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the server has it.
    Json,
    /// For people.
    Lines,
}

/// Prints the JSON that a GET of `uri` is answered with.
pub(super) async fn show(client: &Client, uri: &'static str) -> Result<(), Failure> {
    print(client, &Ask::get(uri)).await
}

/// The same of every version, or of one.
pub(super) async fn explain(client: &Client, only: Option<&Version>) -> Result<(), Failure> {
    let mut uri = "/updates/explain".to_owned();
    if let Some(version) = only {
        // Of what a version is made of, only the plus means something else in a query.
        uri.push_str("?version=");
        uri.push_str(&version.to_string().replace('+', "%2B"));
    }
    let uri = PathAndQuery::try_from(uri).expect("a version has letters, digits, `-`, `.` and `%`");
    print(client, &Ask::new(Method::GET, uri)).await
}

async fn print(client: &Client, ask: &Ask) -> Result<(), Failure> {
    let answer = client.ask(ask, ANSWER_LIMIT).await?;
    output::json(&ask.uri.to_string(), &ask.text(answer)?)
}

/// Prints how this host stands. What hides or lacks a status is a state, too, for people; a program is
/// told by the exit code.
pub(super) async fn status(client: &Client, form: Form) -> Result<(), Failure> {
    let look = match form {
        Form::Json => return show(client, STATUS_PATH).await,
        Form::Lines => client.look().await?,
    };
    let lines = match look {
        Look::Status(standing) => lines(&standing.status),
        Look::Locked => vec![row("now", "a command is under way, and hides the status")],
        Look::Absent | Look::Unusable(_) => vec![row(
            "state",
            "not known: nobody asked since this host booted (apiclient update check)",
        )],
    };
    lines.iter().try_for_each(|line| output::line(line))
}

/// PURE: the status for people.
fn lines(status: &UpdatesStatus) -> Vec<String> {
    let mut lines = vec![row("state", &state(status.update_state))];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let holds = |partition: &Option<Partition>| {
        let partition = partition.as_ref()?;
        let next = if partition.next_to_boot {
            ", boots next"
        } else {
            ""
        };
        Some(format!("{}{next}", image(&partition.image)))
    };
    let running = holds(&status.active_partition);
    lines.push(row(
        "running",
        &running.unwrap_or_else(|| "not known".to_owned()),
    ));
    let listed: Vec<_> = status
        .available_updates
        .iter()
        .map(Version::to_string)
        .collect();
    let listed = (!listed.is_empty()).then(|| listed.join(", "));
    lines.push(row("available", &or_none(listed)));
    let chosen = status.chosen_update.as_ref().map(image);
    lines.push(row("chosen", &or_none(chosen)));
    lines.push(row("staged", &or_none(holds(&status.staging_partition))));
    let last = status.most_recent_command.as_ref().map(|last| {
        let kind = last.cmd_type.command();
        let exit = match (last.cmd_status, last.exit_status) {
            (CommandStatus::Success, _) => String::new(),
            (_, Some(number)) => format!(", exit status {number}"),
            (_, None) => ", exit status unknown".to_owned(),
        };
        let said = last.stderr.as_deref().map(str::trim).unwrap_or_default();
        let colon = if said.is_empty() { "" } else { ": " };
        let (how, at) = (last.cmd_status, stamp(last.timestamp));
        format!("{kind} at {at}: {how:?}{exit}{colon}{}", printable(said))
    });
    lines.push(row("last command", &or_none(last)));
    if let Some(last) = &status.last_outcome {
        let version = last.version.as_ref().map(|it| format!(" of {it}"));
        let error = last.error.as_ref().map(|it| format!(": {}", printable(it)));
        lines.push(row(
            "last outcome",
            &format!(
                "{}{} at {}: {}{}",
                last.command,
                version.unwrap_or_default(),
                stamp(last.at),
                printable(&last.outcome.replace('_', " ")),
                error.unwrap_or_default()
            ),
        ));
        let advice = last.advice.as_ref();
        lines.extend(advice.map(|it| row("", &format!("to go on: {}", printable(it)))));
    }
    let now = status.running_command.as_ref().map(running_command);
    lines.push(row(
        "now",
        &now.unwrap_or_else(|| "nobody is at work".to_owned()),
    ));
    lines
}

/// PURE: a command under way, in a clause.
pub(super) fn running_command(running: &RunningCommand) -> String {
    let mut text = format!("{} since {}", running.command, stamp(running.since));
    if let Some(step) = &running.step {
        text.push_str(", ");
        text.push_str(&printable(step));
    }
    if let (Some(done), Some(total)) = (running.done, running.total) {
        let share = format!(", {} of {}", HumanBytes(done), HumanBytes(total));
        text.push_str(&share);
    }
    text
}

fn state(state: UpdateState) -> String {
    let meaning = match state {
        UpdateState::Idle => "there is no update to take",
        UpdateState::Available => "an update can be taken: apiclient update apply",
        UpdateState::Staged => {
            "an update is written, and does not boot yet: apiclient update apply"
        }
        UpdateState::Ready => "the other set boots next: apiclient reboot",
    };
    format!("{state}, {meaning}")
}

fn image(image: &Image) -> String {
    let Image {
        arch,
        version,
        variant,
    } = image;
    format!("{} {version} on {}", printable(variant), printable(arch))
}

/// A line of the table. What goes on in the next line has an empty name.
fn row(name: &str, text: &str) -> String {
    format!("{name:12}  {text}")
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
