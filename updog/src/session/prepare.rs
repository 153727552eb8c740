//! `prepare` and `update`: from the repository's offer to a set that may boot.

use signpost::{BootAttributes, Command, SlotStore};
use snafu::{ResultExt, ensure};
use update_metadata::{Decision, ImageKind, MANIFEST_TARGET, Update, UpdateDirection};

use super::activate;
use super::choose::{Choice, Offer, choose};
use super::inactive_set::{ClearedSet, ImageTargets, partition_kind};
use super::verify::{known_facts, verify_set};
use super::{
    CacheSnafu, DoesNotFitSnafu, FactsSnafu, InconsistentSnafu, Locked, MigrationSnafu,
    NotYetGoodSnafu, RepositorySnafu, SessionError, StoreSnafu, change_bits,
};
use crate::env::Env;
use crate::event::{Event, Step};
use crate::image::verity::Geometry;
use crate::repository::cache::{self, CacheFolders};

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The set is written, verified and valid; after `update` it boots next.
    Written(Box<Update>),
    /// The set held exactly this already, valid, and was verified again; otherwise the same.
    AlreadyWritten(Box<Update>),
    /// There was nothing to do, for this reason.
    NothingToDo(Decision),
}

/// Writes the chosen update to the inactive set and marks it valid. It does not boot by that.
///
/// # Errors
/// Every [`SessionError`] but [`SessionError::Reboot`].
pub fn prepare(env: &Env, choice: &Choice) -> Result<Outcome, SessionError> {
    let mut locked = Locked::take(env, "prepare")?;
    prepare_locked(env, choice, &mut locked)
}

/// [`prepare`], then lets the set boot next.
///
/// # Errors
/// Every [`SessionError`] but [`SessionError::Reboot`].
pub fn update(env: &Env, choice: &Choice) -> Result<Outcome, SessionError> {
    let mut locked = Locked::take(env, "update")?;
    let outcome = prepare_locked(env, choice, &mut locked)?;
    match outcome {
        Outcome::Written(_) | Outcome::AlreadyWritten(_) => {
            activate::arm(env, &mut locked.store)?;
        }
        Outcome::NothingToDo(_) => {}
    }
    Ok(outcome)
}

fn prepare_locked(
    env: &Env,
    choice: &Choice,
    locked: &mut Locked,
) -> Result<Outcome, SessionError> {
    let state = locked.store.state();
    let running = state.get(state.active());
    ensure!(
        running.is_some_and(BootAttributes::successful),
        NotYetGoodSnafu {
            slot: state.active()
        }
    );
    let offer = choose(env, choice)?;
    let update = match &offer.selection.decision {
        Decision::Update {
            update,
            direction,
            reason,
        } => {
            if matches!(direction, UpdateDirection::Downgrade) {
                tracing::warn!("going back to {}: {reason}", update.version);
            } else {
                tracing::info!("updating to {}: {reason}", update.version);
            }
            update.clone()
        }
        other => return Ok(Outcome::NothingToDo(other.clone())),
    };
    offer
        .repository
        .add_query("target", &update.version.to_string());
    let targets = look_up(&offer, &update)?;
    check_sizes(&update, locked)?;
    cache_migrations(env, &offer, &update)?;

    // A forced version is written whatever is there.
    if choice.forced.is_none() && is_written(env, &locked.store, &update)? {
        return Ok(Outcome::AlreadyWritten(update));
    }
    env.facts().make_ready().context(FactsSnafu)?;
    locked.store.check_inactive_unused().context(StoreSnafu)?;
    let written = write(env, &mut locked.store, &update, &targets, &offer);
    if written.is_err() {
        clear_again(&mut locked.store);
    }
    written.map(|()| Outcome::Written(update))
}

/// Whether the inactive set is valid and holds what would be written, byte for byte.
fn is_written(env: &Env, store: &SlotStore, update: &Update) -> Result<bool, SessionError> {
    let slot = store.inactive();
    let valid = store
        .state()
        .get(slot)
        .is_some_and(|bits| bits.tries_left() > 0);
    if !valid {
        return Ok(false);
    }
    let (Some(verity), Some(images)) = (&update.verity, &update.raw_images) else {
        return Ok(false);
    };
    let Some(facts) = known_facts(env, store, slot)? else {
        return Ok(false);
    };
    let same = facts.verity == *verity
        && ImageKind::ALL
            .iter()
            .all(|kind| facts.images.get(*kind) == images.get(*kind));
    if !same {
        return Ok(false);
    }
    tracing::info!("set {slot} holds {} already; verifying it", update.version);
    let findings = verify_set(env, store, slot, facts)?;
    for finding in &findings {
        tracing::warn!("{finding}; writing the set again");
    }
    Ok(findings.is_empty())
}

fn write(
    env: &Env,
    store: &mut SlotStore,
    update: &Update,
    targets: &ImageTargets,
    offer: &Offer,
) -> Result<(), SessionError> {
    let cleared = ClearedSet::clear(store)?;
    env.facts().forget(cleared.slot()).context(FactsSnafu)?;
    cleared
        .write(update, targets, &offer.repository, env.observer.as_ref())?
        .read_back(update, env.observer.as_ref())?
        .mark_valid(update, env)
}

/// The set may hold anything now, and only the session lock kept other programs from arming it
/// meanwhile; one that does not know the lock may have.
fn clear_again(store: &mut SlotStore) {
    let slot = store.inactive();
    match change_bits(store, Command::ClearInactive) {
        Ok(outcome) if outcome.changed => {
            tracing::warn!("another program armed set {slot} while it was written; cleared again");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(
            "set {slot} holds a part of an image and may not be cleared: {}",
            crate::exit::chain(&error)
        ),
    }
}

/// All three images are listed in the signed metadata.
fn look_up(offer: &Offer, update: &Update) -> Result<ImageTargets, SessionError> {
    let target = |kind| {
        offer
            .repository
            .target(update.images.get(kind))
            .context(RepositorySnafu)
    };
    Ok(ImageTargets {
        boot: target(ImageKind::Boot)?,
        root: target(ImageKind::Root)?,
        hash: target(ImageKind::Hash)?,
    })
}

/// Where the manifest states them: every image fits its partition, and root and hash image fit
/// each other.
fn check_sizes(update: &Update, locked: &Locked) -> Result<(), SessionError> {
    let version = &update.version;
    let inactive = locked.store.inactive();
    if let Some(images) = &update.raw_images {
        for kind in ImageKind::ALL {
            let partition = locked
                .store
                .open_partition(inactive, partition_kind(kind))
                .context(StoreSnafu)?;
            let (length, limit) = (
                images.get(kind).length,
                signpost::BlockDevice::len(&partition),
            );
            ensure!(
                length <= limit,
                DoesNotFitSnafu {
                    kind,
                    version: version.clone(),
                    length,
                    partition: signpost::BlockDevice::name(&partition),
                    limit
                }
            );
        }
    }
    let (Some(verity), Some(images)) = (&update.verity, &update.raw_images) else {
        return Ok(());
    };
    let inconsistent = |what| InconsistentSnafu {
        version: version.clone(),
        what,
    };
    let geometry = Geometry::of(verity).map_err(|error| inconsistent(error.to_string()).build())?;
    ensure!(
        geometry.data_length() == images.root.length,
        inconsistent(format!(
            "its hash tree covers {} bytes and its root image has {}",
            geometry.data_length(),
            images.root.length
        ))
    );
    ensure!(
        geometry.hash_length() <= images.hash.length,
        inconsistent(format!(
            "its hash tree takes {} bytes and its hash image has {}",
            geometry.hash_length(),
            images.hash.length
        ))
    );
    Ok(())
}

/// What the migrator needs after the flip, fetched while the old rollback set is still whole.
fn cache_migrations(env: &Env, offer: &Offer, update: &Update) -> Result<(), SessionError> {
    env.observer.observe(&Event::Step(Step::CacheMigrations));
    // The path is the same set of migrations in both directions, so that a fallback finds its own.
    let path = offer
        .manifest
        .migrations
        .path(&offer.host.version, &update.version)
        .context(MigrationSnafu)?;
    let mut names = path.targets;
    names.push(MANIFEST_TARGET.to_owned());
    let folders = CacheFolders {
        metadata: &env.config.metadata_cache,
        targets: &env.config.migrations_dir,
    };
    cache::fill(&offer.repository, &names, folders).context(CacheSnafu)?;
    offer.repository.add_query("migrations", &names.join(","));
    Ok(())
}
