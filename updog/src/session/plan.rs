//! `plan`: the next `update` without its effects. The repository is refreshed as for `check-update`;
//! the disk, the caches and the history are only looked at, and no lock is taken.

use chrono::{DateTime, Utc};
use semver::Version;
use serde::Serialize;
use signpost::{BlockDevice as _, Slot, SlotStore};
use snafu::ResultExt;
use update_metadata::{Decision, Host, ImageKind, Update};

use super::by_blocks::Sources;
use super::choose::{Choice, Offer, choose_with};
use super::inactive_set::partition_kind;
use super::machine::{self, Effect, State};
use super::maps;
use super::prepare::{check_sizes, holds, look_up, migration_targets};
use super::rehearse::rehearse_apart;
use super::update_session::{facts, remembered};
use super::verify::known_facts;
use super::{
    CacheSnafu, InterruptedSnafu, NotYetGoodSnafu, RefusedSnafu, SessionError, StoreSnafu,
};
use crate::cancel;
use crate::env::Env;
use crate::exit::chain;
use crate::lock::{self, LockError};
use crate::rehearsal::Rehearsal;
use crate::repository::SignedTarget;
use crate::repository::cached::{self, CachedTarget, Room};

/// What the next `update` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdatePlan {
    /// The time of the run.
    pub at: DateTime<Utc>,
    /// Where the host stands.
    pub state: State,
    /// The set that would be written.
    pub set: Slot,
    /// The version that it holds now, which is given up; `None` where that is not known.
    pub holds: Option<Version>,
    /// Who would update; `None` where it is refused before the repository is asked.
    pub host: Option<Host>,
    /// What was chosen, likewise.
    pub decision: Option<Decision>,
    /// The update, if one was chosen.
    pub update: Option<PlannedUpdate>,
    /// What would be done, in this order.
    pub effects: Vec<Effect>,
    /// Why it would be refused or fail.
    pub obstacles: Vec<Obstacle>,
}

/// What an update takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedUpdate {
    /// The version.
    pub version: Version,
    /// The boot, root and hash image.
    pub images: Vec<PlannedImage>,
    /// Whether the set holds all of it already, valid: then it is verified and not written.
    pub is_written: bool,
    /// What the migrator needs, the manifest last.
    pub migrations: Vec<CachedTarget>,
    /// What the migrations would do; `None` where there are none or no settings, or where they do not
    /// work.
    pub rehearsal: Option<Rehearsal>,
    /// The room that it takes beside what is cached.
    pub rooms: Vec<Room>,
    /// Bytes that are fetched, metadata apart.
    pub bytes_to_fetch: u64,
    /// Bytes that are written to the set; `None` where the manifest does not state them.
    pub bytes_to_write: Option<u64>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedImage {
    /// Which.
    pub kind: ImageKind,
    /// The signed target.
    pub target: String,
    /// Bytes of the target.
    pub compressed_bytes: u64,
    /// Bytes of the image, where the manifest states them.
    pub bytes: Option<u64>,
    /// Where it goes.
    pub partition: String,
    /// Bytes of the partition.
    pub partition_bytes: u64,
    /// Whether it fits, where that can be told.
    pub fits: Option<bool>,
    /// Where its bytes come from; `None` where it is fetched whole.
    pub blocks: Option<PlannedBlocks>,
}

/// Where the bytes of an image come from that is put together from its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlannedBlocks {
    /// Bytes of it that are fetched, compressed.
    pub bytes_to_fetch: u64,
    /// In so many requests.
    pub requests: usize,
    /// Bytes of it that are decoded from those.
    pub decoded: u64,
    /// Bytes of it that the running set has.
    pub copied: u64,
    /// Bytes of it that are in their place.
    pub kept: u64,
    /// Bytes of it that are zeros, or hashes that are computed.
    pub made: u64,
}

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What.
    pub reason: String,
    /// What can be done about it, where that is known.
    pub advice: Option<String>,
}

impl Obstacle {
    fn of(error: &SessionError) -> Self {
        Self {
            reason: chain(error),
            advice: error.advice(),
        }
    }
}

/// Plans the next `update`. That it would be refused is no error here.
///
/// Not foreseen: a partition of the other set that somebody has mounted, and whatever goes wrong
/// with network and disk.
///
/// # Errors
/// [`SessionError::Host`], [`SessionError::Repository`], [`SessionError::Store`],
/// [`SessionError::Record`] and [`SessionError::Known`].
pub fn plan_update(env: &Env, choice: &Choice) -> Result<UpdatePlan, SessionError> {
    let store = env.disk.look().context(StoreSnafu)?;
    let history = remembered(env)?.history;
    let facts = |offer| facts(env, &store, &history, offer);
    let unknown = facts(machine::Offer::Unknown);
    let slot = store.inactive();
    let mut plan = UpdatePlan {
        at: env.now,
        state: unknown.state,
        set: slot,
        holds: match store.layout().sets.get(slot) {
            Some(_) => known_facts(env, &store, slot)?.map(|facts| facts.version),
            None => None,
        },
        host: None,
        decision: None,
        update: None,
        effects: Vec::new(),
        obstacles: at_work(env).into_iter().collect(),
    };
    let command = machine::Command::Update;
    match machine::plan(&unknown, command) {
        Ok(effects) => plan.effects = effects,
        Err(refusal) => {
            let active = store.active();
            let error = match refusal {
                machine::Refusal::NotYetGood => NotYetGoodSnafu { slot: active }.build(),
                refusal => RefusedSnafu { refusal, slot }.build(),
            };
            plan.obstacles.push(Obstacle::of(&error));
            return Ok(plan);
        }
    }
    let offer = choose_with(env, choice, &history)?;
    if let Decision::Update { update, .. } = &offer.selection.decision {
        let is_written = choice.forced.is_none() && holds(env, &store, update);
        let found = if is_written {
            machine::Offer::Written
        } else {
            machine::Offer::Update
        };
        // It was not refused a moment ago, and an offer is no reason to.
        plan.effects
            .extend(machine::plan(&facts(found), command).unwrap_or_default());
        match planned(env, &store, &offer, update, is_written) {
            Ok(mut planned) => {
                plan.obstacles.extend(too_full(&planned));
                match rehearse_apart(env, &offer, update) {
                    Ok(rehearsal) => planned.rehearsal = rehearsal,
                    Err(error) => plan.obstacles.push(Obstacle::of(&error)),
                }
                plan.update = Some(planned);
                let sizes = check_sizes(update, &store);
                plan.obstacles
                    .extend(sizes.err().as_ref().map(Obstacle::of));
            }
            // Whoever is told to stop gets no half of a plan.
            Err(error) if cancel::find(&error).is_some() => return Err(error),
            Err(error) => plan.obstacles.push(Obstacle::of(&error)),
        }
    }
    plan.host = Some(offer.host);
    plan.decision = Some(offer.selection.decision);
    Ok(plan)
}

/// Another session: this one would have to wait.
fn at_work(env: &Env) -> Option<Obstacle> {
    let path = &env.config.lock_file;
    match lock::holder_of(path) {
        Ok(None) => None,
        Ok(Some(holder)) => {
            let source = LockError::Held {
                path: path.clone(),
                holder,
            };
            Some(Obstacle {
                reason: chain(&source),
                advice: SessionError::Lock { source }.advice(),
            })
        }
        Err(error) => {
            tracing::warn!(
                "whether another session is at work is not known: {}",
                chain(&error)
            );
            None
        }
    }
}

fn planned(
    env: &Env,
    store: &SlotStore,
    offer: &Offer,
    update: &Update,
    is_written: bool,
) -> Result<PlannedUpdate, SessionError> {
    let targets = look_up(offer, update)?;
    let names = migration_targets(offer, update)?;
    let needs =
        cached::needs(&offer.repository, &names, env.cache_folders()).context(CacheSnafu)?;
    let mut images = ImageKind::ALL
        .into_iter()
        .map(|kind| planned_image(store, update, kind, targets.get(kind)))
        .collect::<Result<Vec<_>, _>>()?;
    let maps = if is_written {
        None
    } else {
        let effect = Effect::Clear;
        let maps = maps::load(&offer.repository, update, &targets);
        maps.context(InterruptedSnafu { effect })?
    };
    let mut of_maps = 0;
    if let Some(maps) = maps {
        of_maps = maps.fetched;
        let place = (env, store);
        let sources = Sources::new(&maps, update, &targets, &offer.repository, place);
        for image in &mut images {
            image.blocks = Some(planned_blocks(&sources, store, image.kind)?);
        }
    }
    let missing = needs.targets.iter().filter(|target| !target.is_cached);
    let of_images = images.iter().map(|image| {
        let blocks = image.blocks.map(|blocks| blocks.bytes_to_fetch);
        blocks.unwrap_or(image.compressed_bytes)
    });
    Ok(PlannedUpdate {
        version: update.version.clone(),
        bytes_to_fetch: missing
            .map(|target| target.bytes)
            .chain(of_images.filter(|_| !is_written))
            .chain([of_maps])
            .fold(0, u64::saturating_add),
        bytes_to_write: if is_written {
            Some(0)
        } else {
            images
                .iter()
                .map(PlannedImage::bytes_to_write)
                .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
        },
        images,
        is_written,
        migrations: needs.targets,
        rehearsal: None,
        rooms: needs.rooms,
    })
}

impl PlannedImage {
    /// What of it is not in its place; nothing where its length is not known.
    fn bytes_to_write(&self) -> Option<u64> {
        let kept = self.blocks.map_or(0, |blocks| blocks.kept);
        Some(self.bytes?.saturating_sub(kept))
    }
}

fn planned_image(
    store: &SlotStore,
    update: &Update,
    kind: ImageKind,
    target: &SignedTarget,
) -> Result<PlannedImage, SessionError> {
    let partition = store
        .open_partition(store.inactive(), partition_kind(kind))
        .context(StoreSnafu)?;
    let bytes = update
        .raw_images
        .as_ref()
        .map(|images| images.get(kind).length);
    let partition_bytes = partition.len();
    Ok(PlannedImage {
        kind,
        target: target.name().to_owned(),
        compressed_bytes: target.length,
        bytes,
        partition: partition.name(),
        partition_bytes,
        fits: bytes.map(|bytes| bytes <= partition_bytes),
        blocks: None,
    })
}

fn planned_blocks(
    sources: &Sources<'_>,
    store: &SlotStore,
    kind: ImageKind,
) -> Result<PlannedBlocks, SessionError> {
    let partition = store
        .open_partition(store.inactive(), partition_kind(kind))
        .context(StoreSnafu)?;
    let effect = Effect::Write;
    let plan = sources
        .plan(kind, &partition)
        .context(InterruptedSnafu { effect })?;
    // The hash image is made from the root image's blocks.
    let Some(plan) = plan else {
        return Ok(PlannedBlocks {
            bytes_to_fetch: 0,
            requests: 0,
            decoded: 0,
            copied: 0,
            kept: 0,
            made: sources.maps.hash_image.raw.length,
        });
    };
    let sums = plan.sums();
    Ok(PlannedBlocks {
        bytes_to_fetch: plan.fetched(),
        requests: plan.ranges().len(),
        decoded: sums.decoded,
        copied: sums.copied,
        kept: sums.kept,
        made: sums.zero,
    })
}

/// File systems that cannot take what is to be cached.
fn too_full(planned: &PlannedUpdate) -> Vec<Obstacle> {
    let full = planned.rooms.iter().filter(|room| !room.is_enough());
    full.map(|room| {
        let folders: Vec<String> = room
            .folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        Obstacle {
            reason: format!(
                "{} has {} bytes free, and {} are needed",
                folders.join(" with "),
                room.free.unwrap_or_default(),
                room.needed
            ),
            advice: Some("make room there".to_owned()),
        }
    })
    .collect()
}
