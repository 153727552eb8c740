//! PURE: what callers were told, what they may ask for next, and what becomes of it.
//!
//! The boot bits say how far an update is; this adds what no disk knows: which versions the
//! repository listed, which of them was chosen, and how the last command ended. It is kept in
//! `state_dir/announced.json`, so that all of it outlives a reboot, and what a reboot has made untrue
//! is not told.

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, Snafu, ensure};
use update_metadata::VersionLock;

use super::updates::{
    Command, CommandResult, CommandStatus, Image, LastOutcome, Partition, RunningCommand,
    UpdateState, UpdatesStatus,
};
use crate::cancel::Signal;
use crate::event::End;
use crate::exit::Exit;
use crate::session::machine::{self, Facts, Refusal, State};

/// Versions that are told; a repository with more has them listed by `updog check-update --all`.
const MAX_AVAILABLE: usize = 256;

/// Everything that callers were told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The number that the next command gets.
    next_id: u64,
    /// The highest version first.
    available: Vec<Version>,
    chosen: Option<Chosen>,
    most_recent: Option<CommandResult>,
    last_outcome: Option<LastOutcome>,
    /// The command under way, as far as this file knows.
    begun: Option<Begun>,
}

/// The update that was chosen, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The release.
    pub image: Image,
    /// The version that ran then. For another one it was not chosen.
    pub running: Version,
    /// What was asked for besides.
    pub overrides: Overrides,
    /// Whether it was chosen although a version of that number was held back.
    #[serde(default)]
    pub despite_hold: bool,
}

/// What can be asked for beyond the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// This version and no other, also an older one, or one that is held back.
    pub version: Option<Version>,
    /// Not to wait for this host's wave.
    pub ignore_waves: bool,
    /// In the place of the lock that the configuration has. What was chosen by it is chosen.
    #[serde(skip)]
    pub lock: Option<VersionLock>,
}

impl Overrides {
    /// Whether anything is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A command that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Which.
    pub command: Command,
    /// Its number.
    pub id: u64,
    /// When.
    pub since: DateTime<Utc>,
}

/// What this host's disk says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What the machine plans from.
    pub facts: Facts,
    /// Whether the other set boots next.
    pub other_boots_next: bool,
    /// What runs, if that is known.
    pub running: Option<Image>,
    /// What the other set holds, if that is known.
    pub other: Option<Image>,
    /// The versions that are held back.
    pub held: Vec<Version>,
}

/// Why a command is not begun.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Refused {
    /// Not in this state.
    #[snafu(display("{command} is not possible while the state is {state}"))]
    WrongState {
        command: Command,
        state: UpdateState,
    },
    /// The machine has no such way.
    #[snafu(display("{command} is refused: {refusal}"))]
    Machine { command: Command, refusal: Refusal },
    /// Nothing was chosen.
    #[snafu(display("no update was chosen; look for one: POST /actions/refresh-updates"))]
    NoUpdate,
    /// What the other set holds is not known.
    #[snafu(display("what the other set holds is not known"))]
    NoStagedImage,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A refresh has found this.
    Refreshed {
        /// The highest version first.
        available: Vec<Version>,
        /// The update that this host takes.
        chosen: Option<Chosen>,
        /// Why it takes none.
        reason: Option<String>,
    },
    /// Something else was done.
    Done {
        /// What it was about.
        version: Option<Version>,
    },
    /// It was not done.
    NotDone {
        /// As `updog` would have ended.
        exit: Exit,
        /// What it was about.
        version: Option<Version>,
        /// The chain of causes.
        error: String,
        /// What can be done next.
        advice: Option<String>,
    },
}

impl Ended {
    /// As the program would have ended.
    pub fn how(&self) -> End {
        let (exit, error, advice) = match self {
            Self::Refreshed {
                chosen: None,
                reason,
                ..
            } => (Exit::NothingToUpdate, reason.clone(), None),
            Self::Refreshed { .. } | Self::Done { .. } => (Exit::Done, None, None),
            Self::NotDone {
                exit,
                error,
                advice,
                ..
            } => (*exit, Some(error.clone()), advice.clone()),
        };
        End {
            exit,
            error,
            advice,
        }
    }
}

impl Announced {
    /// What is told now. `under_way` is the command that runs, as whoever runs it knows.
    pub fn status(&self, view: &View, under_way: Option<RunningCommand>) -> UpdatesStatus {
        let partition = |image: Option<&Image>, next_to_boot| {
            image.cloned().map(|image| Partition {
                image,
                next_to_boot,
            })
        };
        let is_staged = matches!(view.facts.state, State::Staged | State::Ready);
        UpdatesStatus {
            update_state: self.state(view),
            available_updates: self.available.clone(),
            chosen_update: self.chosen(view).map(|chosen| chosen.image.clone()),
            active_partition: partition(view.running.as_ref(), view.facts.running_boots_next),
            staging_partition: partition(
                view.other.as_ref().filter(|_| is_staged),
                view.other_boots_next,
            ),
            most_recent_command: self.most_recent.clone(),
            running_command: under_way,
            last_outcome: self.last_outcome.clone(),
        }
    }

    /// Whether this was told after `other`.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.next_id > other.next_id
    }

    /// The choice, unless another version runs since, or this host has given it up since.
    pub fn chosen(&self, view: &View) -> Option<&Chosen> {
        let running = &view.running.as_ref()?.version;
        self.chosen
            .as_ref()
            .filter(|chosen| chosen.running == *running && chosen.image.version != *running)
            .filter(|chosen| chosen.despite_hold || !view.held.contains(&chosen.image.version))
    }

    fn state(&self, view: &View) -> UpdateState {
        match view.facts.state {
            State::Ready => UpdateState::Ready,
            State::Staged => UpdateState::Staged,
            State::Idle | State::Trial if self.chosen(view).is_some() => UpdateState::Available,
            State::Idle | State::Trial => UpdateState::Idle,
        }
    }

    /// Whether `command` may begin.
    ///
    /// # Errors
    /// Every [`Refused`]. Nothing has happened then.
    pub fn check(&self, view: &View, command: Command) -> Result<(), Refused> {
        let state = self.state(view);
        let (planned, states): (_, &[UpdateState]) = match command {
            Command::Refresh => return Ok(()),
            Command::Prepare => (
                machine::Command::Prepare,
                &[UpdateState::Available, UpdateState::Staged],
            ),
            Command::Activate => (machine::Command::Apply, &[UpdateState::Staged]),
            Command::Deactivate => (machine::Command::Revert, &[UpdateState::Ready]),
            Command::Rollback => (
                machine::Command::Rollback,
                &[
                    UpdateState::Idle,
                    UpdateState::Available,
                    UpdateState::Staged,
                    UpdateState::Ready,
                ],
            ),
        };
        ensure!(states.contains(&state), WrongStateSnafu { command, state });
        machine::plan(&view.facts, planned)
            .map_err(|refusal| MachineSnafu { command, refusal }.build())?;
        match command {
            Command::Prepare => self.chosen(view).map(drop).context(NoUpdateSnafu),
            Command::Activate => view.other.as_ref().map(drop).context(NoStagedImageSnafu),
            _ => Ok(()),
        }
    }

    /// `command` begins; returns its number.
    pub fn begin(&mut self, command: Command, now: DateTime<Utc>) -> u64 {
        self.next_id = self.next_id.saturating_add(1);
        let id = self.next_id;
        self.begun = Some(Begun {
            command,
            id,
            since: now,
        });
        id
    }

    /// The command that began and has not ended, as far as this knows.
    pub fn begun(&self) -> Option<Begun> {
        self.begun
    }

    /// The command that began has ended like this.
    pub fn end(&mut self, ended: Ended, now: DateTime<Utc>) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        let End {
            exit,
            error,
            advice,
        } = ended.how();
        let version = match ended {
            Ended::Refreshed {
                mut available,
                chosen,
                ..
            } => {
                available.truncate(MAX_AVAILABLE);
                self.available = available;
                self.chosen = chosen;
                let chosen = self.chosen.as_ref();
                chosen.map(|chosen| chosen.image.version.clone())
            }
            Ended::Done { version } => version,
            Ended::NotDone { version, .. } => {
                if begun.command == Command::Refresh {
                    // What was chosen before may be gone; the list is told for what it is worth.
                    self.chosen = None;
                }
                version
            }
        };
        let is_done = matches!(exit, Exit::Done | Exit::NothingToUpdate);
        self.told(
            begun,
            if is_done {
                CommandStatus::Success
            } else {
                CommandStatus::Failed
            },
            if is_done { 0 } else { exit.code() },
            LastOutcome {
                command: begun.command,
                id: begun.id,
                outcome: exit.name().to_owned(),
                at: now,
                version,
                error,
                advice,
            },
        );
    }

    /// The engine ended before the command that began, which is told as of when it began. To be
    /// called when nobody carries it out.
    pub fn settle(&mut self) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        if begun.command == Command::Refresh {
            self.chosen = None;
        }
        // What has become of it is read from the disk.
        let exit = Exit::Interrupted(Signal::Terminate);
        self.told(
            begun,
            CommandStatus::Unknown,
            exit.code(),
            LastOutcome {
                command: begun.command,
                id: begun.id,
                outcome: "unknown".to_owned(),
                at: begun.since,
                version: None,
                error: Some("the engine ended before the command did".to_owned()),
                advice: Some("ask for it again: whatever was begun is finished then".to_owned()),
            },
        );
    }

    fn told(
        &mut self,
        begun: Begun,
        cmd_status: CommandStatus,
        exit_status: u8,
        outcome: LastOutcome,
    ) {
        if let Some(cmd_type) = begun.command.cmd_type() {
            let is_done = cmd_status == CommandStatus::Success;
            let words = [&outcome.error, &outcome.advice].into_iter().flatten();
            let words: Vec<&str> = words.map(String::as_str).collect();
            self.most_recent = Some(CommandResult {
                cmd_type,
                cmd_status,
                timestamp: outcome.at,
                exit_status: Some(exit_status.into()),
                stderr: Some(if is_done {
                    String::new()
                } else {
                    words.join("; to go on: ")
                }),
                id: Some(begun.id),
            });
        }
        self.last_outcome = Some(outcome);
    }
}

#[cfg(test)]
mod tests;
