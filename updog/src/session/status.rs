//! `status`: everything that this host knows of its updates, from its own disk alone.
//!
//! No network, no lock, nothing written; so it works beside a session and as a reader of files that
//! it may not change. What cannot be read is no failure of the rest: it says why in its place.

mod report;

use std::convert::Infallible;

use chrono::{DateTime, SecondsFormat, Utc};
use signpost::{BootAttributes, Slot, SlotStore};
use snafu::ResultExt as _;
use update_metadata::MANIFEST_TARGET;

pub use self::report::{
    CachedMigrations, Contents, DiskStatus, HostStatus, Part, RepositoryStatus, Role, Running,
    Session, SetStatus, Status, Tried, Trust,
};
use super::history::{History, Looks};
use super::machine::State;
use super::record::Record;
use super::standing::{self, BootsNext, Standing};
use super::update_session::{WayBack, reconcile};
use super::verify::known_facts;
use super::{KnownSnafu, SessionError};
use crate::env::Env;
use crate::lock;
use crate::os_release::{self, OsRelease};
use crate::repository::cached::{CachedError, CachedRepository};
use crate::repository::{KeptTrust, kept_trust, shown};
use crate::sets::{self, KnownError};

/// Reads all that there is. Never fails; what cannot be read says why.
pub fn status(env: &Env) -> Status {
    let HostStatus {
        running,
        session,
        disk,
        history,
        repository,
    } = host_status(env);
    let migrations = Part::of(migrations(env, running.known(), disk.known()));
    let warnings = warnings(disk.known(), repository.trust.known(), env.now);
    Status {
        at: env.now,
        running,
        session,
        disk,
        history,
        migrations,
        repository,
        warnings,
    }
}

/// The same without what the migrator would find, of which every byte would be read: for whoever looks
/// again and again.
pub fn host_status(env: &Env) -> HostStatus {
    let running = Part::of(OsRelease::load(&env.config.os_release).map(|os| Running {
        variant: os.variant,
        arch: os_release::ARCH,
        version: os.version,
    }));
    let session = Part::of(
        lock::holder_of(&env.config.lock_file).map(|holder| Session {
            is_held: holder.is_some(),
            holder,
        }),
    );
    let store = env.disk.look();
    let record = Record::load(&env.config.state_dir);
    let history = Part::of(record.map(|record| remembered(env, record, store.as_ref().ok())));
    let disk = Part::of(store.map(|store| {
        let is_at_work = session.known().is_some_and(|session| session.is_held);
        let nothing = History::default();
        let way_back = WayBack::of(&store.state(), history.known().unwrap_or(&nothing));
        disk_status(env, &store, running.known(), way_back, is_at_work)
    }));
    let history = match history {
        Part::Known(history) => Part::Known(Tried {
            last_attempt: history.last().cloned(),
            holds: history.holds().to_vec(),
        }),
        Part::Unknown { error } => Part::Unknown { error },
    };
    let config = &env.config;
    let trust = kept_trust(&config.trusted_root, &config.state_dir.join("tuf"), env.now);
    let repository = RepositoryStatus {
        metadata_base_url: shown(&config.metadata_base_url),
        targets_base_url: shown(&config.targets_base_url),
        trust: Part::of(trust.map(Trust::of)),
    };
    HostStatus {
        running,
        session,
        disk,
        history,
        repository,
    }
}

/// What is remembered, up to what the disk says.
fn remembered(env: &Env, mut record: Record, store: Option<&SlotStore>) -> History {
    if let Some(store) = store {
        // It fails only for a set that cannot be read, and that set's own part says so.
        reconcile(env, store, &mut record, Looks::Beside);
    }
    record.history
}

fn disk_status(
    env: &Env,
    store: &SlotStore,
    running: Option<&Running>,
    way_back: WayBack,
    is_at_work: bool,
) -> DiskStatus {
    let bits = store.state();
    let next = bits.next();
    let set = |slot: Slot, of_set: BootAttributes| {
        let runs = slot == bits.active();
        Ok::<_, Infallible>(SetStatus {
            bits: of_set,
            runs,
            boots_next: next == Some(slot),
            contents: Part::of(contents(env, store, slot, running.filter(|_| runs))),
        })
    };
    let Ok(sets) = bits.sets().try_map(set);
    let version = |slot: Slot| {
        let set = sets.get(slot)?;
        set.contents.known()?.version.clone()
    };
    let standing = Standing {
        state: State::of(&bits),
        running: running
            .map(|running| running.version.clone())
            .or_else(|| version(bits.active())),
        other: version(bits.inactive()),
        other_slot: bits.inactive(),
        other_was_good: way_back.other_was_good,
        boots_next: BootsNext::of(next, bits.active()),
        is_rolling_back: way_back.is_rolling_back,
        is_at_work,
    };
    let damage = store.damage().map(ToString::to_string);
    let mbr_fault = store.mbr_fault().map(ToString::to_string);
    DiskStatus {
        name: store.disk_name(),
        state: standing.state,
        summary: standing::summary(&standing),
        next_step: standing::next_step(&standing),
        active: bits.active(),
        next,
        table_damage: damage.or(mbr_fault),
        sets,
    }
}

fn contents(
    env: &Env,
    store: &SlotStore,
    slot: Slot,
    running: Option<&Running>,
) -> Result<Contents, SessionError> {
    let root_hash = sets::root_hash(store, slot)
        .map_err(|source| KnownError::Identity { source })
        .context(KnownSnafu)?;
    let Some(facts) = known_facts(env, store, slot)? else {
        return Ok(Contents {
            root_hash,
            variant: running.map(|running| running.variant.clone()),
            version: running.map(|running| running.version.clone()),
            is_as_recorded: None,
            verified: None,
            verified_in_this_boot: false,
        });
    };
    Ok(Contents {
        root_hash,
        is_as_recorded: Some(root_hash == Some(facts.verity.root_hash)),
        variant: Some(facts.variant),
        version: Some(facts.version),
        verified_in_this_boot: facts.verified.is_in(&env.boot_id),
        verified: (facts.verified.at > DateTime::UNIX_EPOCH).then_some(facts.verified.at),
    })
}

fn migrations(
    env: &Env,
    running: Option<&Running>,
    disk: Option<&DiskStatus>,
) -> Result<CachedMigrations, CachedError> {
    let from = running.map(|running| running.version.clone());
    let to = disk
        .and_then(|disk| disk.sets.get(disk.active.other())?.contents.known())
        .and_then(|contents| contents.version.clone());
    let mut cached = CachedMigrations {
        from,
        to,
        targets: Vec::new(),
        is_complete: None,
    };
    let Some(repository) =
        CachedRepository::open(env.cache_folders(), &env.config.trusted_root, &env.cancel)?
    else {
        return Ok(cached);
    };
    let way = match (&cached.from, &cached.to) {
        (Some(from), Some(to)) => Some(repository.manifest()?.migrations.path(from, to)),
        _ => None,
    };
    let has_way = way.as_ref().map(Result::is_ok);
    let mut names = match way {
        Some(Ok(path)) => path.targets,
        _ => Vec::new(),
    };
    names.push(MANIFEST_TARGET.to_owned());
    for name in &names {
        cached.targets.push(repository.look(name)?);
    }
    let is_there = cached.targets.iter().all(|target| target.is_cached);
    cached.is_complete = has_way.map(|has_way| has_way && is_there);
    Ok(cached)
}

impl Trust {
    fn of(kept: KeptTrust) -> Self {
        let judged_at = kept.judged_at;
        Self {
            judged_at,
            refreshed: kept.refreshed,
            roles: kept
                .roles
                .into_iter()
                .map(|role| Role {
                    seconds_left: (role.expires - judged_at).num_seconds(),
                    role,
                })
                .collect(),
        }
    }
}

/// What somebody should look at.
fn warnings(disk: Option<&DiskStatus>, trust: Option<&Trust>, now: DateTime<Utc>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(disk) = disk {
        if let Some(damage) = &disk.table_damage {
            warnings.push(format!("{damage}; to put it right: signpost repair"));
        }
        for (slot, set) in disk.sets.iter() {
            let contents = set.contents.known();
            if contents.is_some_and(|contents| contents.is_as_recorded == Some(false)) {
                warnings.push(format!(
                    "set {slot} does not hold what is recorded of it: updog verify --set {slot}"
                ));
            }
        }
    }
    let Some(trust) = trust else {
        return warnings;
    };
    if trust.judged_at != now {
        warnings.push(format!(
            "this host's clock is behind: expiry is judged at {}",
            time(trust.judged_at)
        ));
    }
    let expired: Vec<String> = trust
        .roles
        .iter()
        .filter(|role| role.seconds_left <= 0)
        .map(|Role { role, .. }| format!("{} at {}", role.role, time(role.expires)))
        .collect();
    if !expired.is_empty() {
        warnings.push(format!(
            "metadata are expired ({}): no update is taken until the repository has newer ones; \
             see that this host's clock is right, then: updog refresh",
            expired.join(", ")
        ));
    }
    warnings
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
