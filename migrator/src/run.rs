//! One run at boot: from the store in use to one for the booting version.
//!
//! The order of effects: what can fail without leaving anything comes first (lock, repository, every
//! migration's digest, room), then the steps in a folder of their own, then the finished store is
//! put beside the others, then one sync of the whole file system, and only then a link moves. So at
//! any cut `current` leads to a complete store, the old one or the new one, and the next run does
//! what is left.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use update_metadata::{Direction as Way, MigrationPath, MissingMigration};

use crate::attempt::{Attempt, lock};
use crate::cli::chain;
use crate::datastore::{DatastoreError, Store};
use crate::folder::Folder;
use crate::kept::KeptError;
use crate::links::{Layout, LinkError, new_store_name};
use crate::migration::Direction;
use crate::plan::{Course, Recourse, course, recourse, step_versions};
use crate::prune::{Finished, Prune};
use crate::record::{Ending, LastRun, Record};
use crate::repository::{CachedRepository, Places, Repository, RepositoryError};
use crate::room::{Free, Limit, Size, measure};
use crate::runner::MigrationExec;
use crate::steps::{Step, StepError, StepReport, Walker, kept_name, read_kept};

/// What stays free besides the stores.
pub(crate) const RESERVE: Size = Size {
    bytes: 8 << 20,
    entries: 64,
};
/// A store is not counted further. It has a few hundred files.
pub(crate) const MAX_STORE: Size = Size {
    bytes: 1 << 30,
    entries: 200_000,
};
/// What a migration may leave at least, however small the store is that it starts from.
const MIN_LIMIT: Size = Size {
    bytes: 16 << 20,
    entries: 10_000,
};

/// What a run needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The link that all readers of the datastore begin with.
    pub datastore: PathBuf,
    /// The cached repository.
    pub places: Places,
    /// The booting version.
    pub to: Version,
    /// The booting variant.
    pub variant: String,
    /// How long one migration may take.
    pub time: Duration,
}

/// Loads a cached repository, and may write to a folder that it makes in one of those given.
pub type Open = dyn Fn(&Places, &[&Path]) -> Result<Box<dyn Repository>, RepositoryError>;

/// What a run acts with.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Changes of the datastore's folder.
    pub effects: &'a dyn Folder,
    /// Runs migrations.
    pub exec: &'a dyn MigrationExec,
    /// Loads the cached repository.
    pub open: &'a Open,
}

/// Loads the one on the disk.
///
/// # Errors
/// Those of [`CachedRepository::open`].
pub fn open_cached(
    places: &Places,
    scratch: &[&Path],
) -> Result<Box<dyn Repository>, RepositoryError> {
    Ok(Box::new(CachedRepository::open(places, scratch)?))
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No version ran here before.
    NoDatastore,
    /// The booting version's store was in use already.
    Current,
    /// Another store, or the same for another version, is in use now.
    Moved(LastRun),
}

/// Why the booting version has no store.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RunError {
    /// The links are not in order, or cannot be moved.
    #[snafu(transparent)]
    Links { source: LinkError },
    /// Another run is at work.
    #[snafu(display("another migrator is at work on {}", folder.display()))]
    Locked { folder: PathBuf },
    /// It is not known whether another run is at work.
    #[snafu(display("locking {}", folder.display()))]
    Lock { folder: PathBuf, source: io::Error },
    /// The way there cannot be gone.
    #[snafu(display("the settings stay those of {from}: no way to {to}"))]
    NoWay {
        from: Version,
        to: Version,
        source: Box<WayError>,
    },
}

/// Why a way from one version's store to another's cannot be gone.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum WayError {
    /// The cached repository is of no use.
    #[snafu(transparent)]
    Repository { source: RepositoryError },
    /// It holds no way.
    #[snafu(transparent)]
    Missing { source: MissingMigration },
    /// The disk does not have the room.
    #[snafu(display(
        "not enough room for the new store in {}: {} bytes and {} files are needed, {} bytes{} are \
         free",
        folder.display(),
        need.bytes,
        need.entries,
        free.bytes,
        InWords(free.entries)
    ))]
    NoRoom {
        folder: PathBuf,
        need: Size,
        free: Free,
    },
    /// It is not known whether the disk has the room.
    #[snafu(display("looking at {}", path.display()))]
    Look { path: PathBuf, source: io::Error },
    /// The folder for the attempt cannot be made.
    #[snafu(display("making a folder in {}", folder.display()))]
    Begin { folder: PathBuf, source: io::Error },
    /// A migration failed.
    #[snafu(transparent)]
    Step { source: StepError },
    /// What is kept for the way back cannot be written.
    #[snafu(display("writing what is kept for the way back"))]
    Kept { source: KeptError },
    /// The finished store cannot be put in its place.
    #[snafu(display("moving the new store to {}", path.display()))]
    Place { path: PathBuf, source: io::Error },
    /// It is not known whether the store is on the disk.
    #[snafu(display("syncing the file system of {}", folder.display()))]
    Sync { folder: PathBuf, source: io::Error },
    /// A store that needs no change cannot be read.
    #[snafu(display("reading the store in use"))]
    Unreadable { source: DatastoreError },
}

struct InWords(Option<u64>);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |count| write!(f, " and {count} files"))
    }
}

/// Does what has to be done before anything reads the settings.
///
/// # Errors
/// Every [`RunError`]. `current` leads to a complete store then, too: the one it led to before.
pub fn run(options: &Options, ports: Ports<'_>) -> Result<Outcome, RunError> {
    let effects = ports.effects;
    let Some(seen) = Layout::read(&options.datastore)? else {
        return Ok(Outcome::NoDatastore);
    };
    let folder = &seen.folder;
    let locked = lock(folder).context(LockSnafu { folder })?;
    let _locked = locked.context(LockedSnafu { folder })?;
    // What was seen before the lock may be another run's work.
    let Some(layout) = Layout::read(&options.datastore)? else {
        return Ok(Outcome::NoDatastore);
    };
    let prune = Prune::of(&layout, Finished::Keep);
    prune.run(&layout, effects);
    // Nothing hangs on the record but which old stores go.
    let mut record = Record::load(&layout.folder)
        .inspect_err(|error| tracing::warn!("{}", chain(error)))
        .ok();
    if layout.version == options.to {
        let history = record.as_ref().map(|record| &record.history);
        tidy(
            options,
            effects,
            history.and_then(|history| history.previous_of(&options.to)),
        );
        return Ok(Outcome::Current);
    }
    let session = Session {
        options,
        ports,
        layout: &layout,
    };
    let (moved, failure) = match session.go() {
        Ok(moved) => (moved, None),
        Err((failed, failure)) => (failed, Some(failure)),
    };
    if let Some(record) = &mut record
        && let Err(error) = record.keep(effects, moved.clone())
    {
        tracing::warn!("{}", chain(&error));
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    tidy(options, effects, Some(&layout.version));
    Ok(Outcome::Moved(moved))
}

/// Removes older stores. Never a reason to fail: it costs space, nothing else.
fn tidy(options: &Options, effects: &dyn Folder, previous: Option<&Version>) {
    let layout = match Layout::read(&options.datastore) {
        Ok(Some(layout)) => layout,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!("older stores are not removed: {}", chain(&error));
            return;
        }
    };
    let prune = match previous {
        Some(previous) => Prune::of(&layout, Finished::KeepOnly(&[&options.to, previous])),
        None => Prune::of(&layout, Finished::Keep),
    };
    prune.run(&layout, effects);
}

/// One run that has something to do.
struct Session<'a> {
    options: &'a Options,
    ports: Ports<'a>,
    layout: &'a Layout,
}

impl Session<'_> {
    /// Goes the way, or takes the recourse. An error comes with what to remember of it.
    fn go(&self) -> Result<LastRun, (LastRun, RunError)> {
        let (from, to) = (&self.layout.version, &self.options.to);
        tracing::info!("the settings are those of {from}, {to} boots");
        let ended = |result, store: &str, reason, restored| LastRun {
            from: from.clone(),
            to: to.clone(),
            result,
            reason,
            store: store.to_owned(),
            restored,
        };
        let failed = |reason: String, error| {
            let run = ended(Ending::Failed, &self.layout.store, Some(reason), Vec::new());
            (run, error)
        };
        let (store, run) = match self.way() {
            Ok((store, ending, restored)) => {
                let run = ended(ending, &store, None, restored);
                (store, run)
            }
            Err(error) => {
                let reason = chain(&error);
                let Some(store) = self.kept_store() else {
                    let error = RunError::NoWay {
                        from: from.clone(),
                        to: to.clone(),
                        source: Box::new(error),
                    };
                    return Err(failed(reason, error));
                };
                tracing::warn!(
                    "no way back from {from} to {to}: {reason}. The settings are those that {to} \
                     last ran with, in {store}; those of {from} stay in {}",
                    self.layout.store
                );
                let run = ended(Ending::FellBack, &store, Some(reason), Vec::new());
                (store, run)
            }
        };
        match self.layout.flip(self.ports.effects, to, &store) {
            Ok(()) => Ok(run),
            Err(error) => Err(failed(chain(&error), error.into())),
        }
    }

    /// The complete store that the booting version last ran with, if falling back to it is in order.
    fn kept_store(&self) -> Option<String> {
        let to = &self.options.to;
        let kept = self.layout.store_of(to);
        let Recourse::Kept(store) = recourse(&self.layout.version, to, kept) else {
            return None;
        };
        match Store::read(&self.layout.path(store)) {
            Ok(_) => Some(store.to_owned()),
            Err(error) => {
                tracing::warn!("the store that {to} last ran with: {}", chain(&error));
                None
            }
        }
    }

    /// The name of a complete store for the booting version, on the disk, and what was put back.
    fn way(&self) -> Result<(String, Ending, Vec<String>), WayError> {
        // The system's folder for temporary files may not be there yet; on a full disk it has room.
        let scratch = [self.layout.folder.as_path(), &std::env::temp_dir()];
        let repository = (self.ports.open)(&self.options.places, &scratch)?;
        let graph = repository.graph()?;
        match course(&self.layout.version, &self.options.to, &graph)? {
            Course::Nothing | Course::Relink => {
                Ok((self.layout.store.clone(), Ending::Relinked, Vec::new()))
            }
            Course::Migrate(path) => {
                let steps = steps(&path, &step_versions(&path, &graph));
                let (store, restored) = self.migrate(&steps, &*repository)?;
                Ok((store, Ending::Migrated, restored))
            }
        }
    }

    fn migrate(
        &self,
        steps: &[Step],
        source: &dyn Repository,
    ) -> Result<(String, Vec<String>), WayError> {
        let folder = &self.layout.folder;
        let from = self.layout.path(&self.layout.store);
        let limit = room(folder, &from, steps)?;
        let walker = Walker {
            effects: self.ports.effects,
            exec: self.ports.exec,
            source,
            variant: &self.options.variant,
            limit,
            time: self.options.time,
        };
        walker.check(steps)?;
        let name = new_store_name(&self.options.to).context(BeginSnafu { folder })?;
        let attempt = Attempt::begin(self.ports.effects, folder).context(BeginSnafu { folder })?;
        let kept = read_kept(folder, &self.layout.store);
        let mut reports = Vec::new();
        let place = (attempt.path(), name.as_str());
        let made = walker.walk(steps, (&from, kept), place, &mut reports)?;
        say(&reports);
        let kept = attempt.path().join(kept_name(&name));
        let effects = self.ports.effects;
        effects.write_kept(&made.kept, &kept).context(KeptSnafu)?;
        // There is no file when there is nothing to keep.
        for from in [kept, made.path].iter().filter(|path| path.exists()) {
            let path = self
                .layout
                .path(&from.file_name().unwrap_or_default().to_string_lossy());
            effects
                .rename(from, &path)
                .context(PlaceSnafu { path: &path })?;
        }
        drop(attempt);
        self.ports
            .effects
            .sync_file_system(folder)
            .context(SyncSnafu { folder })?;
        let restored = reports
            .iter()
            .flat_map(|report| report.restored.clone())
            .collect();
        Ok((name, restored))
    }
}

fn say(reports: &[StepReport]) {
    for report in reports {
        tracing::info!(
            "{} {}: {} ({} ms)",
            report.migration,
            report.direction,
            report.result,
            report.took_ms
        );
        if !report.restored.is_empty() {
            let count = report.restored.len();
            tracing::info!("{}: {count} settings were put back", report.migration);
        }
    }
}

/// Pure: the steps of a path.
pub(crate) fn steps(path: &MigrationPath, versions: &[Version]) -> Vec<Step> {
    let direction = match path.direction {
        Way::Backward => Direction::Backward,
        Way::Forward | Way::Same => Direction::Forward,
    };
    path.targets
        .iter()
        .zip(versions)
        .map(|(migration, version)| Step {
            migration: migration.clone(),
            direction,
            version: version.clone(),
        })
        .collect()
}

/// What one step may leave in `folder`, if there is room for all that `steps` make of the store at
/// `from`: with more than one step an intermediate store lies beside the last one.
pub(crate) fn room(folder: &Path, from: &Path, steps: &[Step]) -> Result<Size, WayError> {
    let size = measure(from, Limit(MAX_STORE)).context(LookSnafu { path: from })?;
    let free = Free::at(folder).context(LookSnafu { path: folder })?;
    let copies = if steps.len() > 1 { 2 } else { 1 };
    let need = size.times(copies).plus(RESERVE);
    ensure!(
        size.fits(MAX_STORE) && free.holds(need),
        NoRoomSnafu { folder, need, free }
    );
    let wide = size.times(4);
    Ok(Size {
        bytes: wide
            .bytes
            .max(MIN_LIMIT.bytes)
            .min(free.bytes.saturating_sub(RESERVE.bytes)),
        entries: wide.entries.max(MIN_LIMIT.entries),
    })
}

#[cfg(test)]
mod tests;
