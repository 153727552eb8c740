//! `explain`: every version that the repository has, and what each gate says of it for this host.

use chrono::{DateTime, Utc};
use semver::Version;
use serde::Serialize;
use update_metadata::{Host, Selection, UpdatePolicy};

use super::SessionError;
use super::choose::{Choice, choose};
use crate::env::Env;

/// A decision, and everything that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The time at which waves are judged.
    pub at: DateTime<Utc>,
    /// Who asked.
    pub host: Host,
    /// What was asked for, by the configuration, the command line and what is held back here.
    pub policy: UpdatePolicy,
    /// The decision, and every gate of every version.
    #[serde(flatten)]
    pub selection: Selection,
}

impl Explained {
    /// Forgets the explanations of every other version. Whether there is one of `version`.
    pub fn retain(&mut self, version: &Version) -> bool {
        let explanations = &mut self.selection.explanations;
        explanations.retain(|explanation| explanation.version == *version);
        !explanations.is_empty()
    }
}

/// Refreshes the repository and chooses as `check-update` does.
///
/// # Errors
/// [`SessionError::Host`], [`SessionError::Repository`] and [`SessionError::Record`].
pub fn explain(env: &Env, choice: &Choice) -> Result<Explained, SessionError> {
    let offer = choose(env, choice)?;
    Ok(Explained {
        at: env.now,
        host: offer.host,
        policy: offer.policy,
        selection: offer.selection,
    })
}
