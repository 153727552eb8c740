//! Asking the repository what this host is to do.

use chrono::{DateTime, Utc};
use semver::Version;
use snafu::ResultExt;
use update_metadata::{
    Host, Manifest, Selection, Update, UpdatePolicy, WaveCheck, candidates, select,
};

use super::{HostSnafu, RepositorySnafu, SessionError};
use crate::env::Env;
use crate::event::{Event, Step};
use crate::repository::{RepositorySettings, UpdateRepository};

/// What an operator may ask for beyond the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Another variant than the running one.
    pub variant: Option<String>,
    /// This version and no other.
    pub forced: Option<Version>,
    /// Whether to wait for this host's wave.
    pub waves: WaveCheck,
}

/// A fresh repository, its manifest, and what they mean for this host.
#[derive(Debug)]
pub struct Offer {
    /// Verified at the time of the run.
    pub repository: UpdateRepository,
    /// Its manifest.
    pub manifest: Manifest,
    /// Who asked.
    pub host: Host,
    /// The decision, with the explanation of every gate.
    pub selection: Selection,
    waves: WaveCheck,
    now: DateTime<Utc>,
}

impl Offer {
    /// What `check-update --all` lists: see [`update_metadata::candidates`].
    pub fn candidates(&self) -> Vec<&Update> {
        candidates(&self.manifest, &self.host, self.waves, self.now)
    }
}

/// Refreshes the repository and chooses.
///
/// # Errors
/// [`SessionError::Host`] and [`SessionError::Repository`].
pub fn choose(env: &Env, choice: &Choice) -> Result<Offer, SessionError> {
    let host = env.host(choice.variant.as_deref()).context(HostSnafu)?;
    let settings = env.repository_settings_of(&host);
    choose_for(env, choice, host, settings)
}

/// The same for any host, of a repository that is reached by `settings`.
///
/// # Errors
/// [`SessionError::Repository`].
pub fn choose_for(
    env: &Env,
    choice: &Choice,
    host: Host,
    settings: RepositorySettings,
) -> Result<Offer, SessionError> {
    env.observer.observe(&Event::Step(Step::Refresh));
    let repository = UpdateRepository::refresh(settings, env.now).context(RepositorySnafu)?;
    let manifest = repository.manifest().context(RepositorySnafu)?;
    let waves = env.waves(choice.waves);
    let policy = UpdatePolicy {
        lock: env.config.version_lock.clone(),
        forced: choice.forced.clone(),
        waves,
    };
    let selection = select(&manifest, &host, &policy, env.now);
    Ok(Offer {
        repository,
        manifest,
        host,
        selection,
        waves,
        now: env.now,
    })
}
