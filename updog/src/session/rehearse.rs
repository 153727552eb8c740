//! The rehearsal of an update's migrations, before anything is given up for it.

use snafu::ResultExt as _;
use update_metadata::{MANIFEST_TARGET, Update};

use super::choose::Offer;
use super::prepare::migration_targets;
use super::{CacheSnafu, RehearsalSnafu, SessionError};
use crate::env::Env;
use crate::event::{Note, Step};
use crate::rehearsal::{self, Rehearsal};
use crate::repository::cache::{self, CacheFolders, StagedCache};
use crate::scratch::Scratch;

/// Rehearses the migrations in `staged`. `None` where there is nothing to rehearse: no migrations,
/// or no settings yet.
///
/// # Errors
/// [`SessionError::Rehearsal`] when they do not work, or nobody can tell.
pub(super) fn rehearse(
    env: &Env,
    offer: &Offer,
    update: &Update,
    staged: &StagedCache,
) -> Result<Option<Rehearsal>, SessionError> {
    if !needs_rehearsal(env, offer, update)? {
        return Ok(None);
    }
    let scratch = scratch(env, update)?;
    try_in(&scratch, env, update, staged).map(Some)
}

/// The same for whoever only looks: what the migrator needs is staged for this alone, and goes.
///
/// # Errors
/// [`SessionError::Cache`] and those of [`rehearse`].
pub(super) fn rehearse_apart(
    env: &Env,
    offer: &Offer,
    update: &Update,
) -> Result<Option<Rehearsal>, SessionError> {
    if !needs_rehearsal(env, offer, update)? {
        return Ok(None);
    }
    let scratch = scratch(env, update)?;
    let names = migration_targets(offer, update)?;
    let folders = CacheFolders {
        metadata: &scratch.path().join("metadata"),
        targets: &scratch.path().join("migrations"),
    };
    let root = &env.config.trusted_root;
    let staged = cache::stage(&offer.repository, &names, folders, root).context(CacheSnafu)?;
    try_in(&scratch, env, update, &staged).map(Some)
}

fn try_in(
    scratch: &Scratch,
    env: &Env,
    update: &Update,
    staged: &StagedCache,
) -> Result<Rehearsal, SessionError> {
    let watch = env.watch();
    watch.step(Step::Rehearse);
    let what = rehearsal::Rehearsed {
        folders: staged.folders(),
        to: &update.version,
        variant: &update.variant,
        scratch: scratch.path(),
    };
    let rehearsed =
        rehearsal::rehearse(&env.config, &what, watch.cancel()).context(RehearsalSnafu {
            version: update.version.clone(),
        })?;
    watch.step_end();
    watch.note(Note::Rehearsed {
        changes: rehearsed.changes.len(),
        lost: rehearsed.lost.len(),
    });
    Ok(rehearsed)
}

fn needs_rehearsal(env: &Env, offer: &Offer, update: &Update) -> Result<bool, SessionError> {
    let names = migration_targets(offer, update)?;
    if names.iter().all(|name| name == MANIFEST_TARGET) {
        return Ok(false);
    }
    let has_settings = rehearsal::has_datastore(&env.config).context(RehearsalSnafu {
        version: update.version.clone(),
    })?;
    if !has_settings {
        env.watch().note(Note::NothingToRehearse {
            datastore: env.config.datastore.display().to_string(),
        });
    }
    Ok(has_settings)
}

fn scratch(env: &Env, update: &Update) -> Result<Scratch, SessionError> {
    Scratch::new(&env.config.state_dir.join("tuf"))
        .map_err(rehearsal::RehearsalError::from)
        .context(RehearsalSnafu {
            version: update.version.clone(),
        })
}
