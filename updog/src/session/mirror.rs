//! `mirror`: all that one host needs for one update, as a folder.

use std::path::Path;

use chrono::{DateTime, Utc};
use semver::Version;
use snafu::ResultExt;
use update_metadata::{Decision, Host, ImageKind, MANIFEST_TARGET, Seed, Update, WaveCheck};

use super::choose::{Choice, Offer, choose_for};
use super::history::History;
use super::{HostSnafu, MigrationSnafu, MirrorSnafu, SessionError};
use crate::env::{Env, HostError};
use crate::os_release::{self, OsRelease};
use crate::repository::mirror::{self, Mirror};

/// What is known of the host that a mirror is for, where it is not this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherHost {
    /// The architecture.
    pub arch: Option<String>,
    /// The version that it runs.
    pub version: Option<Version>,
}

/// A folder that is complete.
#[derive(Debug)]
pub struct Mirrored {
    /// The update in it.
    pub update: Update,
    /// Whom it is for.
    pub host: Host,
    /// Its files.
    pub mirror: Mirror,
    /// When the first of its metadata expires.
    pub valid_until: DateTime<Utc>,
}

/// What came of it.
#[derive(Debug)]
pub enum MirrorOutcome {
    /// The folder is complete.
    Done(Box<Mirrored>),
    /// There is nothing to mirror, for this reason.
    NothingToDo(Decision),
}

/// Chooses for the host as [`super::choose`] does, and makes `dir` a repository of what it needs. The
/// server is told nothing of a host: this is no update yet.
///
/// # Errors
/// [`SessionError::Host`], [`SessionError::Repository`], [`SessionError::Migration`] and
/// [`SessionError::Mirror`].
pub fn mirror(
    env: &Env,
    choice: &Choice,
    other: &OtherHost,
    dir: &Path,
) -> Result<MirrorOutcome, SessionError> {
    let host = host(env, choice, other).context(HostSnafu)?;
    // What failed on this host may be good for another one.
    let history = History::default();
    let offer = choose_for(env, choice, host, env.repository_settings(), &history)?;
    let update = match &offer.selection.decision {
        Decision::Update { update, .. } => update.clone(),
        nothing => return Ok(MirrorOutcome::NothingToDo(nothing.clone())),
    };
    let names = names(&offer, &update)?;
    let mirror = mirror::mirror(&offer.repository, &names, dir).context(MirrorSnafu)?;
    Ok(MirrorOutcome::Done(Box::new(Mirrored {
        update: *update,
        valid_until: offer.repository.valid_until(),
        host: offer.host,
        mirror,
    })))
}

/// Reads of this host only what is not given, and only what the choice depends on.
fn host(env: &Env, choice: &Choice, other: &OtherHost) -> Result<Host, HostError> {
    let (variant, version) = match (&choice.variant, &other.version) {
        (Some(variant), Some(version)) => (variant.clone(), version.clone()),
        (variant, version) => {
            let os = OsRelease::load(&env.config.os_release)
                .map_err(|source| HostError::OsRelease { source })?;
            (
                variant.clone().unwrap_or(os.variant),
                version.clone().unwrap_or(os.version),
            )
        }
    };
    let seed = if env.waves(choice.waves) == WaveCheck::Ignore {
        // Nobody asks for it then.
        Seed::from_u64(0)
    } else {
        let seed = env.config.seed.read();
        seed.map_err(|source| HostError::Seed { source })?
    };
    Ok(Host {
        variant,
        arch: other
            .arch
            .clone()
            .unwrap_or_else(|| os_release::ARCH.to_owned()),
        version,
        seed,
    })
}

/// The targets of the hop, each once: what the session fetches, and the cache for the next boot. A
/// block map that is not listed is left out: a host gets on without.
fn names(offer: &Offer, update: &Update) -> Result<Vec<String>, SessionError> {
    let path = offer
        .manifest
        .migrations
        .path(&offer.host.version, &update.version)
        .context(MigrationSnafu)?;
    let images = ImageKind::ALL.map(|kind| update.images.get(kind).to_owned());
    let maps = update.block_maps.iter().flat_map(|maps| {
        let names = ImageKind::ALL.into_iter().filter_map(|kind| maps.get(kind));
        names.filter(|name| offer.repository.target(name).is_ok())
    });
    let maps = maps.map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    for name in images.into_iter().chain(maps).chain(path.targets) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.push(MANIFEST_TARGET.to_owned());
    Ok(names)
}
