//! `prepare` and `update`: from the repository's offer to a set that may boot.

use signpost::{Command, SlotStore};
use snafu::{ResultExt, ensure};
use update_metadata::{Decision, Digest, ImageKind, MANIFEST_TARGET, Update, UpdateDirection};

use super::activate;
use super::by_blocks::Sources;
use super::choose::{Choice, Offer, choose_with, release};
use super::history::AttemptKind;
use super::inactive_set::{ClearedSet, ImageTargets, Whole, partition_kind};
use super::machine::{self, Effect};
use super::maps::{self, Maps};
use super::rehearse::rehearse;
use super::update_session::{Steps, UpdateSession, readable_facts};
use super::verify::verify_set;
use super::{
    CacheSnafu, DoesNotFitSnafu, FactsSnafu, InconsistentSnafu, InterruptedSnafu, MigrationSnafu,
    RepositorySnafu, SessionError, StoreSnafu, change_bits,
};
use crate::env::Env;
use crate::event::Note;
use crate::image::verity::Geometry;
use crate::repository::cache::{self, StagedCache};

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
    let mut session = UpdateSession::begin(env, "prepare")?;
    carry_out(&mut session, machine::Command::Prepare, choice)
}

/// [`prepare`], then lets the set boot next.
///
/// # Errors
/// Every [`SessionError`] but [`SessionError::Reboot`].
pub fn update(env: &Env, choice: &Choice) -> Result<Outcome, SessionError> {
    let mut session = UpdateSession::begin(env, "update")?;
    carry_out(&mut session, machine::Command::Update, choice)
}

fn carry_out(
    session: &mut UpdateSession<'_>,
    command: machine::Command,
    choice: &Choice,
) -> Result<Outcome, SessionError> {
    let env = session.env;
    session.require_record()?;
    session
        .plan(command, machine::Offer::Unknown)?
        .begin(Effect::Refresh)?;
    let offer = choose_with(env, choice, &session.record.history)?;
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
    check_sizes(&update, &session.store)?;

    // A forced version is written whatever is there.
    let is_there = choice.forced.is_none() && holds(env, &session.store, &update);
    if is_there {
        let mut steps = session.plan(command, machine::Offer::Written)?;
        if keep_written(session, &mut steps, &offer, &update)? {
            finish(session, &mut steps)?;
            return Ok(Outcome::AlreadyWritten(update));
        }
    }
    let mut steps = session.plan(command, machine::Offer::Update)?;
    steps.begin(Effect::StageMigrations)?;
    let migrations = stage_migrations(env, &offer, &update)?;
    steps.begin(Effect::Rehearse)?;
    rehearse(env, &offer, &update, &migrations)?;
    let effect = Effect::Clear;
    let maps = maps::load(&offer.repository, &update, &targets);
    let maps = maps.context(InterruptedSnafu { effect })?;
    env.facts().make_ready().context(FactsSnafu)?;
    session.store.check_inactive_unused().context(StoreSnafu)?;
    let job = Job {
        offer: &offer,
        update: &update,
        targets: &targets,
        migrations: &migrations,
        maps: maps.as_ref(),
    };
    write(session, &mut steps, &job)?;
    steps.begin(Effect::PruneMigrations)?;
    migrations.prune();
    finish(session, &mut steps)?;
    Ok(Outcome::Written(update))
}

/// What `update` does after `prepare`.
fn finish(session: &mut UpdateSession<'_>, steps: &mut Steps) -> Result<(), SessionError> {
    if steps.is_done() {
        return Ok(());
    }
    activate::arm(session, steps)
}

/// Verifies the set that holds the update already. `false` where it is damaged.
fn keep_written(
    session: &UpdateSession<'_>,
    steps: &mut Steps,
    offer: &Offer,
    update: &Update,
) -> Result<bool, SessionError> {
    let (env, store) = (session.env, &session.store);
    let slot = store.inactive();
    steps.begin(Effect::StageMigrations)?;
    let migrations = stage_migrations(env, offer, update)?;
    steps.begin(Effect::Rehearse)?;
    rehearse(env, offer, update, &migrations)?;
    steps.begin(Effect::SwapMigrations)?;
    migrations.swap().context(CacheSnafu)?;
    steps.begin(Effect::PruneMigrations)?;
    migrations.prune();
    steps.begin(Effect::Verify)?;
    env.watch().note(Note::HoldsAlready {
        set: slot,
        version: update.version.clone(),
    });
    let Some(facts) = readable_facts(env, store, slot) else {
        return Ok(false);
    };
    let findings = verify_set(env, store, slot, facts)?;
    for finding in &findings {
        tracing::warn!("{finding}; writing the set again");
    }
    Ok(findings.is_empty())
}

/// Whether the inactive set is valid and should hold what would be written, byte for byte.
pub(super) fn holds(env: &Env, store: &SlotStore, update: &Update) -> bool {
    let slot = store.inactive();
    let is_valid = store
        .state()
        .get(slot)
        .is_some_and(|bits| bits.tries_left() > 0);
    if !is_valid {
        return false;
    }
    let (Some(verity), Some(images)) = (&update.verity, &update.raw_images) else {
        return false;
    };
    let Some(facts) = readable_facts(env, store, slot) else {
        return false;
    };
    facts.verity == *verity
        && ImageKind::ALL
            .iter()
            .all(|kind| facts.images.get(*kind) == images.get(*kind))
}

/// What is written, and from what.
struct Job<'a> {
    offer: &'a Offer,
    update: &'a Update,
    targets: &'a ImageTargets,
    migrations: &'a StagedCache,
    maps: Option<&'a Maps>,
}

/// The part that gives up what the set held; remembered from before that on, whatever comes of it.
fn write(
    session: &mut UpdateSession<'_>,
    steps: &mut Steps,
    job: &Job<'_>,
) -> Result<(), SessionError> {
    let Job { offer, update, .. } = job;
    let now = session.env.now;
    let (kind, slot) = (AttemptKind::Update, session.store.inactive());
    let release = release(&offer.repository, update);
    let from = &offer.host.version;
    let history = &mut session.record.history;
    history.begin(kind, from, Some(release), slot, now);
    session.remember()?;
    match write_set(session, steps, job) {
        Ok((root_hash, bytes)) => {
            session.record.history.written(root_hash, bytes);
            session.try_to_remember();
            Ok(())
        }
        Err(error) => {
            clear_again(&mut session.store);
            let reason = crate::exit::chain(&error);
            session.record.history.failed(&reason, now);
            session.try_to_remember();
            Err(error)
        }
    }
}

fn write_set(
    session: &mut UpdateSession<'_>,
    steps: &mut Steps,
    job: &Job<'_>,
) -> Result<(Digest, u64), SessionError> {
    let env = session.env;
    let (update, repository) = (job.update, &job.offer.repository);
    let sources = job.maps.map(|maps| {
        let place = (env, &session.store);
        Sources::new(maps, update, job.targets, repository, place)
    });
    let whole = Whole {
        update,
        targets: job.targets,
        repository,
        watch: env.watch(),
    };
    steps.begin(Effect::Clear)?;
    let cleared = ClearedSet::clear(&mut session.store)?;
    env.facts().forget(cleared.slot()).context(FactsSnafu)?;
    steps.begin(Effect::SwapMigrations)?;
    job.migrations.swap().context(CacheSnafu)?;
    steps.begin(Effect::Write)?;
    let written = cleared.write(&whole, sources.as_ref())?;
    steps.begin(Effect::ReadBack)?;
    let verified = written.read_back(update, env.config.threads, &env.watch())?;
    let (root_hash, bytes) = verified.summary();
    let of_maps = job.maps.map_or(0, |maps| maps.fetched);
    steps.begin(Effect::MarkValid)?;
    verified.mark_valid(update, env)?;
    Ok((root_hash, bytes.saturating_add(of_maps)))
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
pub(super) fn look_up(offer: &Offer, update: &Update) -> Result<ImageTargets, SessionError> {
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
pub(super) fn check_sizes(update: &Update, store: &SlotStore) -> Result<(), SessionError> {
    let version = &update.version;
    let inactive = store.inactive();
    if let Some(images) = &update.raw_images {
        for kind in ImageKind::ALL {
            let partition = store
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
fn stage_migrations(
    env: &Env,
    offer: &Offer,
    update: &Update,
) -> Result<StagedCache, SessionError> {
    let names = migration_targets(offer, update)?;
    let root = &env.config.trusted_root;
    let staged =
        cache::stage(&offer.repository, &names, env.cache_folders(), root).context(CacheSnafu)?;
    offer.repository.add_query("migrations", &names.join(","));
    Ok(staged)
}

/// The targets that the migrator needs for the hop, the manifest last.
pub(super) fn migration_targets(
    offer: &Offer,
    update: &Update,
) -> Result<Vec<String>, SessionError> {
    // The path is the same set of migrations in both directions, so that a fallback finds its own.
    let path = offer
        .manifest
        .migrations
        .path(&offer.host.version, &update.version)
        .context(MigrationSnafu)?;
    let mut names = path.targets;
    names.push(MANIFEST_TARGET.to_owned());
    Ok(names)
}
