//! Asking the repository what this host is to do.

use chrono::{DateTime, Utc};
use semver::Version;
use snafu::ResultExt;
use update_metadata::{
    Held, Host, ImageKind, Manifest, Selection, Update, UpdatePolicy, VersionLock, WaveCheck,
    candidates, select,
};

use super::history::{History, Release};
use super::update_session::remembered;
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
    /// In the place of the lock that the configuration has.
    pub lock: Option<VersionLock>,
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
    /// What the decision was made by, besides the manifest and the host.
    pub policy: UpdatePolicy,
    now: DateTime<Utc>,
}

impl Offer {
    /// What `check-update --all` lists: see [`update_metadata::candidates`].
    pub fn candidates(&self) -> Vec<&Update> {
        candidates(&self.manifest, &self.host, self.policy.waves, self.now)
    }
}

/// Refreshes the repository and chooses, for whoever only asks.
///
/// # Errors
/// [`SessionError::Host`], [`SessionError::Repository`] and [`SessionError::Record`].
pub fn choose(env: &Env, choice: &Choice) -> Result<Offer, SessionError> {
    choose_with(env, choice, &remembered(env)?.history)
}

/// Refreshes the repository and chooses, by what `history` says of earlier attempts.
pub(super) fn choose_with(
    env: &Env,
    choice: &Choice,
    history: &History,
) -> Result<Offer, SessionError> {
    let host = env.host(choice.variant.as_deref()).context(HostSnafu)?;
    let settings = env.repository_settings_of(&host);
    choose_for(env, choice, host, settings, history)
}

/// The same for any host, of a repository that is reached by `settings`. What `history` holds back is
/// not chosen.
///
/// # Errors
/// [`SessionError::Repository`].
pub fn choose_for(
    env: &Env,
    choice: &Choice,
    host: Host,
    settings: RepositorySettings,
    history: &History,
) -> Result<Offer, SessionError> {
    env.observer.observe(&Event::Step(Step::Refresh));
    let repository = UpdateRepository::refresh(settings, env.now).context(RepositorySnafu)?;
    let manifest = repository.manifest().context(RepositorySnafu)?;
    env.observer.observe(&Event::StepEnd);
    let policy = UpdatePolicy {
        lock: choice
            .lock
            .clone()
            .unwrap_or_else(|| env.config.version_lock.clone()),
        forced: choice.forced.clone(),
        waves: env.waves(choice.waves),
        held: held(&repository, &manifest, history),
    };
    let selection = select(&manifest, &host, &policy, env.now);
    Ok(Offer {
        repository,
        manifest,
        host,
        selection,
        policy,
        now: env.now,
    })
}

/// The update as it is listed now: the digests of its signed targets tell it from another one of
/// the same version.
pub(super) fn release(repository: &UpdateRepository, update: &Update) -> Release {
    let digest = |kind| {
        let target = repository.target(update.images.get(kind)).ok()?;
        Some(target.sha256)
    };
    Release {
        variant: update.variant.clone(),
        arch: update.arch.clone(),
        version: update.version.clone(),
        targets: ImageKind::ALL
            .into_iter()
            .map(digest)
            .collect::<Option<_>>()
            .unwrap_or_default(),
        root_hash: update.verity.as_ref().map(|verity| verity.root_hash),
    }
}

fn held(repository: &UpdateRepository, manifest: &Manifest, history: &History) -> Vec<Held> {
    if history.holds().is_empty() {
        return Vec::new();
    }
    let releases = manifest.updates.iter();
    releases
        .flat_map(|update| history.held(&release(repository, update)))
        .collect()
}
