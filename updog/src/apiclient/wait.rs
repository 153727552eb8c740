//! PURE: whether a command that was asked for is over, how it ended, and how long to go on looking.
//!
//! Our server numbers commands: what has our number is ours. Another one does not, and then the
//! command is over once the last command is of our kind and has another time than before; somebody
//! who asks for the same at the same moment is not told apart.

use std::time::Duration;

use chrono::{DateTime, Utc};
use snafu::Snafu;

use crate::api::updates::{
    Command, CommandResult, CommandStatus, LastOutcome, UpdateState, UpdatesStatus,
};

/// The first pause between two looks; each is half as long again as the one before.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);

/// What was asked for, and what there was before.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) command: Command,
    /// Its number, from a server that has them.
    pub(super) id: Option<u64>,
    /// When the last command ended, before this one was asked for.
    pub(super) before: Option<DateTime<Utc>>,
}

/// What a look at the status found.
#[derive(Debug)]
pub(super) enum Look {
    /// A command is under way, and the server says no more.
    Locked,
    /// Nobody asked the repository since this host booted.
    Absent,
    /// This.
    Status(Box<Standing>),
    /// Nothing that could be used, and why.
    Unusable(String),
}

/// How far updates are on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: UpdatesStatus,
    /// The JSON that the server wrote.
    pub(super) text: String,
}

/// How far a command is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It, or another one, is under way.
    UnderWay,
    /// Nothing that is known of is under way.
    Quiet,
    /// It is over.
    Over(End),
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) result: Result<(), CommandFailure>,
    /// The command that ended since, whose result hides that of ours.
    pub(super) overtaken_by: Option<Command>,
}

/// A command did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("{how}"))]
pub(super) struct CommandFailure {
    how: String,
    /// What the server has of it.
    pub(super) said: String,
    pub(super) advice: Option<String>,
}

/// How far what was asked for is, by what `look` found.
pub(super) fn stage(asked: &Asked, look: &Look) -> Stage {
    let status = match look {
        Look::Locked => return Stage::UnderWay,
        Look::Absent | Look::Unusable(_) => return Stage::Quiet,
        Look::Status(standing) => &standing.status,
    };
    let end = match asked.id {
        Some(id) => by_number(asked.command, id, status),
        None => by_time(asked, status),
    };
    match end {
        Some(end) => Stage::Over(end),
        None if status.running_command.is_some() => Stage::UnderWay,
        None => Stage::Quiet,
    }
}

fn by_number(command: Command, id: u64, status: &UpdatesStatus) -> Option<End> {
    let last = status.last_outcome.as_ref().filter(|last| last.id >= id)?;
    let recent = status.most_recent_command.as_ref();
    let ours = recent.filter(|recent| recent.id == Some(id));
    let state = status.update_state;
    let (result, overtaken_by) = match ours {
        _ if last.id == id => (of_outcome(command, last, ours, state), None),
        // What came later is none of those that stand there.
        Some(ours) => (of_result(command, ours, state), None),
        // The state does not tell whether the repository was asked; who asked after us does.
        None if command == Command::Refresh && last.command == command => {
            (of_outcome(command, last, recent, state), Some(command))
        }
        None => (of_state(command, state), Some(last.command)),
    };
    Some(End {
        result,
        overtaken_by,
    })
}

fn by_time(asked: &Asked, status: &UpdatesStatus) -> Option<End> {
    let state = status.update_state;
    let result = match asked.command.cmd_type() {
        Some(kind) => {
            let recent = status.most_recent_command.as_ref()?;
            let is_ours = recent.cmd_type == kind && Some(recent.timestamp) != asked.before;
            is_ours.then(|| of_result(asked.command, recent, state))?
        }
        // It never stands there.
        None if status.running_command.is_some() => return None,
        None => of_state(asked.command, state),
    };
    Some(End {
        result,
        overtaken_by: None,
    })
}

fn of_outcome(
    command: Command,
    last: &LastOutcome,
    result: Option<&CommandResult>,
    state: UpdateState,
) -> Result<(), CommandFailure> {
    let is_success = |result: &CommandResult| result.cmd_status == CommandStatus::Success;
    let is_done = match last.outcome.as_str() {
        "done" | "nothing_to_update" => result.is_none_or(is_success),
        "refused" | "failed" | "interrupted" | "unknown" => false,
        // A word of a later version.
        _ => result.is_some_and(is_success),
    };
    if is_done {
        return reached(command, state);
    }
    let what = match last.outcome.as_str() {
        "refused" => "it was refused",
        "interrupted" => "it was interrupted",
        "unknown" => "how it ended is not known",
        _ => "it failed",
    };
    let said = [
        result.and_then(|result| result.stderr.clone()),
        last.error.clone(),
    ];
    let said = said.into_iter().flatten().find(|text| !text.is_empty());
    let said = said.unwrap_or_default();
    Err(CommandFailure {
        how: how(what, result.and_then(|result| result.exit_status)),
        advice: last.advice.clone().filter(|it| !said.contains(it.as_str())),
        said,
    })
}

fn of_result(
    command: Command,
    result: &CommandResult,
    state: UpdateState,
) -> Result<(), CommandFailure> {
    let what = match result.cmd_status {
        CommandStatus::Success => return reached(command, state),
        CommandStatus::Failed => "it failed",
        CommandStatus::Unknown => "how it ended is not known",
    };
    Err(CommandFailure {
        how: how(what, result.exit_status),
        said: result.stderr.clone().unwrap_or_default(),
        advice: None,
    })
}

fn how(what: &str, exit_status: Option<u32>) -> String {
    match exit_status {
        Some(number) => format!("{what}, exit status {number}"),
        None => format!("{what}, exit status unknown"),
    }
}

/// By the state alone: somebody has done something since.
fn of_state(command: Command, state: UpdateState) -> Result<(), CommandFailure> {
    match (command, state) {
        (Command::Rollback, UpdateState::Ready) => Ok(()),
        (Command::Rollback, state) => Err(CommandFailure::of(state)),
        (command, state) => reached(command, state),
    }
}

/// A server may count as a success what did nothing: there was an engine that ended with 0 when it
/// found no update to write. Where a rollback leads, the server knows better.
fn reached(command: Command, state: UpdateState) -> Result<(), CommandFailure> {
    let is_reached = match command {
        Command::Refresh | Command::Rollback => true,
        Command::Prepare => matches!(state, UpdateState::Staged | UpdateState::Ready),
        Command::Activate => state == UpdateState::Ready,
        Command::Deactivate => state != UpdateState::Ready,
    };
    if is_reached {
        Ok(())
    } else {
        Err(CommandFailure::of(state))
    }
}

impl CommandFailure {
    fn of(state: UpdateState) -> Self {
        Self {
            how: format!("it is over, but the update state is {state}"),
            said: String::new(),
            advice: None,
        }
    }
}

/// How long to go on looking. Time is what has passed since the command was asked for.
///
/// There is no limit while a command is under way: it may have a slow link. There is one on how long
/// nothing happens at all.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    /// When there was a sign of life last.
    news: Duration,
    last: Option<Box<Standing>>,
    pause: Duration,
}

impl Patience {
    /// Ends when nothing happens for `limit`.
    pub(super) fn of(limit: Duration, now: Duration) -> Self {
        Self {
            limit,
            news: now,
            last: None,
            pause: SHORTEST,
        }
    }

    /// How long to wait until the next look; `None` when there is to be none.
    pub(super) fn after(&mut self, stage: &Stage, look: Look, now: Duration) -> Option<Duration> {
        if *stage == Stage::UnderWay {
            self.news = now;
        }
        if let Look::Status(standing) = look
            && self.last.as_ref() != Some(&standing)
        {
            self.news = now;
            self.last = Some(standing);
        }
        if now.saturating_sub(self.news) >= self.limit {
            return None;
        }
        let pause = self.pause;
        self.pause = (pause + pause / 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests;
