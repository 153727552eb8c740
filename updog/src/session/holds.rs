//! `history` and `release-hold`: what was tried, and what is not tried again.

use semver::Version;
use serde::Serialize;

use super::SessionError;
use super::history::{Attempt, History, Hold};
use super::update_session::{UpdateSession, remembered};
use crate::env::Env;

/// The history in its JSON form.
#[derive(Debug, Serialize)]
pub struct HistoryReport<'a> {
    /// The newest first.
    attempts: Vec<&'a Attempt>,
    holds: &'a [Hold],
}

impl<'a> HistoryReport<'a> {
    /// Of `history`.
    pub fn of(history: &'a History) -> Self {
        Self {
            attempts: history.attempts().iter().rev().collect(),
            holds: history.holds(),
        }
    }
}

/// What this host remembers, brought up to what its disk says. Needs no lock.
///
/// # Errors
/// [`SessionError::Record`].
pub fn history(env: &Env) -> Result<History, SessionError> {
    Ok(remembered(env)?.history)
}

/// Lets `version` be taken again. `false` when it was not held back.
///
/// # Errors
/// [`SessionError::Lock`], [`SessionError::Store`] and [`SessionError::Record`].
pub fn release_hold(env: &Env, version: &Version) -> Result<bool, SessionError> {
    let mut session = UpdateSession::begin(env, "release-hold")?;
    session.require_record()?;
    let released = session.record.history.release(version);
    session.remember()?;
    Ok(released)
}
