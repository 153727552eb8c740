//! A command, carried out: the session's functions, and how they end.

use snafu::Snafu;
use update_metadata::{Decision, VersionLock, WaveCheck};

use super::announced::{Chosen, Ended, Overrides};
use super::updates::{Command, Image};
use crate::cancel;
use crate::env::Env;
use crate::exit::{Exit, chain};
use crate::session::{self, Choice, Outcome, SessionError};

/// What a command works with.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// The update that was announced.
    pub(super) chosen: Option<Chosen>,
    /// What the other set holds.
    pub(super) other: Option<Image>,
    /// What a refresh is to choose by.
    pub(super) overrides: Overrides,
}

/// Why a command was not carried out.
#[derive(Debug, Snafu)]
enum NotDone {
    /// The session failed.
    #[snafu(transparent)]
    Session { source: SessionError },
    /// What was announced is no longer to be had.
    #[snafu(display("nothing was written: {reason}"))]
    NotOffered { reason: String },
}

/// Carries `command` out.
pub(super) fn run(env: &Env, command: Command, order: Order) -> Ended {
    let Order {
        chosen,
        other,
        overrides,
    } = order;
    let (version, done) = match command {
        Command::Refresh => match refresh(env, overrides) {
            Ok(refreshed) => return refreshed,
            Err(error) => (None, Err(error.into())),
        },
        Command::Prepare => (
            chosen.as_ref().map(|chosen| chosen.image.version.clone()),
            prepare(env, chosen),
        ),
        Command::Activate => (version(other), not_done(session::apply(env))),
        Command::Deactivate => (version(other), not_done(session::revert(env))),
        Command::Rollback => (version(other), not_done(session::rollback(env))),
    };
    match done {
        Ok(()) => Ended::Done { version },
        Err(error) => Ended::NotDone {
            exit: error.exit(),
            version,
            error: chain(&error),
            advice: error.advice(),
        },
    }
}

fn version(image: Option<Image>) -> Option<semver::Version> {
    image.map(|image| image.version)
}

fn not_done<T>(result: Result<T, SessionError>) -> Result<(), NotDone> {
    result.map(drop).map_err(NotDone::from)
}

fn refresh(env: &Env, overrides: Overrides) -> Result<Ended, SessionError> {
    let choice = Choice {
        forced: overrides.version.clone(),
        lock: overrides.lock.clone(),
        waves: waves(&overrides),
        ..Choice::default()
    };
    let offer = session::choose(env, &choice)?;
    let available = offer.candidates().into_iter();
    let available = available.map(|update| update.version.clone()).collect();
    let (chosen, reason) = match &offer.selection.decision {
        Decision::Update { update, .. } => {
            let image = Image {
                arch: update.arch.clone(),
                version: update.version.clone(),
                variant: update.variant.clone(),
            };
            // What is not remembered is not held back either.
            let despite_hold = session::history(env)
                .is_ok_and(|history| session::held(&history).contains(&image.version));
            let chosen = Chosen {
                image,
                running: offer.host.version.clone(),
                overrides,
                despite_hold,
            };
            (Some(chosen), None)
        }
        nothing => (None, Some(nothing.to_string())),
    };
    Ok(Ended::Refreshed {
        available,
        chosen,
        reason,
    })
}

/// Writes what was announced. If another version would be chosen by now, that one was not announced.
fn prepare(env: &Env, chosen: Option<Chosen>) -> Result<(), NotDone> {
    let Some(Chosen {
        image, overrides, ..
    }) = chosen
    else {
        let reason = "no update was chosen".to_owned();
        return NotOfferedSnafu { reason }.fail();
    };
    let choice = Choice {
        waves: waves(&overrides),
        forced: overrides.version,
        // What was announced is taken if it still passes every gate, and nothing else.
        lock: Some(VersionLock::Exactly(image.version)),
        ..Choice::default()
    };
    match session::prepare(env, &choice)? {
        Outcome::Written(_) | Outcome::AlreadyWritten(_) => Ok(()),
        Outcome::NothingToDo(decision) => NotOfferedSnafu {
            reason: decision.to_string(),
        }
        .fail(),
    }
}

fn waves(overrides: &Overrides) -> WaveCheck {
    if overrides.ignore_waves {
        WaveCheck::Ignore
    } else {
        WaveCheck::Respect
    }
}

impl NotDone {
    fn exit(&self) -> Exit {
        if let Some(cancelled) = cancel::find(self) {
            return Exit::Interrupted(cancelled.signal);
        }
        match self {
            Self::Session { source } => source.exit(),
            Self::NotOffered { .. } => Exit::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Session { source } => source.advice(),
            Self::NotOffered { .. } => {
                Some("look for updates again, and take what is announced then".to_owned())
            }
        }
    }
}
