//! What the migrator of the next boot needs, laid out so that it can load it as a repository of
//! files: the signed metadata with the chain of roots, the manifest and the migrations.
//!
//! Targets, timestamp, snapshot and the roots from the shipped one on were verified before they are
//! written. Roots older than the shipped one cannot be: see [`UpdateRepository`]. Every file is
//! whole on disk under its name or not there, and targets come before the metadata that name them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

use super::save::{Existing, SaveError};
use super::{RepositoryError, SignedTarget, UpdateRepository};
use crate::cancel::Cancelled;
use crate::durable::{self, Readers, ReplaceError};
use crate::event::Step;

/// A cached target is a program or a manifest; a larger one is a mistake of the publisher.
const MAX_CACHED_TARGET_BYTES: u64 = 256 << 20;
/// Roots in the cached chain. A publisher that rotates keys monthly takes eighty years.
const MAX_ROOTS: usize = 1024;

/// Why the cache is not complete.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum CacheError {
    /// A target is missing or too large.
    #[snafu(display("caching what the migration needs"))]
    Target { source: RepositoryError },
    /// A target cannot be fetched or written.
    #[snafu(display("caching what the migration needs"))]
    Write { source: SaveError },
    /// A metadata file cannot be written.
    #[snafu(display("caching verified metadata"))]
    Metadata { source: ReplaceError },
    /// The run was told to stop.
    #[snafu(display("looking for what the migration needs"))]
    Stopped { source: Cancelled },
    /// A folder cannot be made, or emptied of what an earlier run left.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// What is in the place of the cache is something else, and would go with the old cache.
    #[snafu(display(
        "{} holds the folder {name} and so is no cache, of which nothing would be left: name one \
         that is for this alone",
        path.display()
    ))]
    NotACache { path: PathBuf, name: String },
    /// A folder cannot be synced.
    #[snafu(display("syncing the folder {}", path.display()))]
    Sync { path: PathBuf, source: io::Error },
    /// The migrator of the next boot could not load it.
    #[snafu(display("loading what was cached as the migrator will"))]
    Check { source: RepositoryError },
    /// What is in use cannot be replaced. The set that it was for is cleared by then.
    #[snafu(display("replacing what is cached in {}", path.display()))]
    Swap { path: PathBuf, source: io::Error },
}

/// The two folders that the migrator is given.
#[derive(Debug, Clone, Copy)]
pub struct CacheFolders<'a> {
    /// `--metadata-directory`.
    pub metadata: &'a Path,
    /// `--migration-directory`.
    pub targets: &'a Path,
}

/// A complete cache beside the one that is in use.
///
/// It is swapped in only once the set that would fall back on the old one is given up. A crash
/// before the swap leaves the old one in use, one after it the new one; what is left beside it is
/// removed by the next [`stage`].
#[derive(Debug)]
pub struct StagedCache {
    /// Targets first: metadata that name what is not there are worse than the other way round.
    folders: [StagedFolder; 2],
}

#[derive(Debug)]
struct StagedFolder {
    live: PathBuf,
    staged: PathBuf,
    /// Whether the two can change places. Not where the live one is a mount point.
    can_exchange: bool,
}

/// Stages the targets `names` and the metadata of this run, beside what is cached, and loads all of
/// it as the migrator will, from `trusted_root`. Targets that are cached already are not fetched.
///
/// # Errors
/// Every [`CacheError`] but [`CacheError::Swap`]; what is cached stays in use.
pub fn stage(
    repository: &UpdateRepository,
    names: &[String],
    folders: CacheFolders<'_>,
    trusted_root: &Path,
) -> Result<StagedCache, CacheError> {
    let delegated = repository.delegated_metadata().context(TargetSnafu)?;
    // All of them are looked up before the first is fetched.
    let targets = names
        .iter()
        .map(|name| look_up(repository, name))
        .collect::<Result<Vec<_>, RepositoryError>>()
        .context(TargetSnafu)?;
    let target_folder = StagedFolder::begin(folders.targets)?;
    let metadata_folder = StagedFolder::begin(folders.metadata)?;
    for target in &targets {
        let name = file_name(repository.is_consistent(), target);
        let path = target_folder.staged.join(&name);
        let cached = target_folder.live.join(&name);
        if !(super::save::holds(&cached, target, repository.watch().cancel()).unwrap_or(false)
            && fs::hard_link(&cached, &path).is_ok())
        {
            repository.watch().step(Step::Fetch {
                target: target.name().to_owned(),
                bytes: target.length,
            });
            let (existing, readers) = (Existing::Replace, Readers::Owner);
            repository
                .save(target, &path, existing, readers)
                .context(WriteSnafu)?;
            repository.watch().step_end();
        }
    }
    repository.watch().step(Step::CacheMigrations);
    // A run that is to stop ends at the check below, whatever is missing here.
    for (name, bytes) in metadata_files(repository, delegated, &metadata_folder.live) {
        let path = metadata_folder.staged.join(name);
        durable::replace(&path, &bytes).context(MetadataSnafu)?;
    }
    for folder in [&target_folder, &metadata_folder] {
        let path = &folder.staged;
        durable::sync_dir(path).context(SyncSnafu { path })?;
    }
    repository
        .check_files(
            &targets,
            &metadata_folder.staged,
            &target_folder.staged,
            trusted_root,
        )
        .context(CheckSnafu)?;
    repository.watch().step_end();
    Ok(StagedCache {
        folders: [target_folder, metadata_folder],
    })
}

pub(super) fn look_up(
    repository: &UpdateRepository,
    name: &str,
) -> Result<SignedTarget, RepositoryError> {
    let target = repository.target(name)?;
    snafu::ensure!(
        target.length <= MAX_CACHED_TARGET_BYTES,
        super::TargetTooLargeSnafu {
            name,
            length: target.length,
            limit: MAX_CACHED_TARGET_BYTES
        }
    );
    Ok(target)
}

impl StagedCache {
    /// Where it is until it is swapped.
    pub fn folders(&self) -> CacheFolders<'_> {
        let [targets, metadata] = &self.folders;
        CacheFolders {
            metadata: &metadata.staged,
            targets: &targets.staged,
        }
    }

    /// Puts the staged cache in the place of the one that is in use.
    ///
    /// # Errors
    /// [`CacheError::Swap`]. Each folder is then the old one or the new one.
    pub fn swap(&self) -> Result<(), CacheError> {
        for folder in &self.folders {
            let path = &folder.live;
            folder.swap().context(SwapSnafu { path })?;
        }
        Ok(())
    }

    /// Removes what was in use before. What cannot be removed now is by the next [`stage`].
    pub fn prune(self) {
        for StagedFolder { staged, .. } in &self.folders {
            if let Err(error) = fs::remove_dir_all(staged) {
                tracing::warn!("removing {}: {error}", staged.display());
            }
        }
    }
}

impl StagedFolder {
    /// An empty folder beside `live`, which is made where it does not exist.
    fn begin(live: &Path) -> Result<Self, CacheError> {
        refuse_others(live)?;
        durable::remove_strays(live);
        let beside = |suffix: &str| {
            let mut name = live.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let (staged, probe) = (beside(".staged"), beside(".probe"));
        for path in [&staged, &probe] {
            match fs::remove_dir_all(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(source).context(MakeFolderSnafu { path });
                }
                _ => {}
            }
        }
        for path in [live, &staged, &probe] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .context(MakeFolderSnafu { path })?;
        }
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let can_exchange = device(live) == device(&staged) && exchange(&staged, &probe).is_ok();
        fs::remove_dir(&probe).context(MakeFolderSnafu { path: &probe })?;
        Ok(Self {
            live: live.to_owned(),
            staged,
            can_exchange,
        })
    }

    fn swap(&self) -> io::Result<()> {
        if self.can_exchange {
            exchange(&self.staged, &self.live)?;
            let parent = self.live.parent().unwrap_or(Path::new("/"));
            return durable::sync_dir(parent);
        }
        // File by file, each old or new; the timestamp, which leads to the others, comes last.
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.staged)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| (name == "timestamp.json", name.clone()));
        for name in names {
            let to = self.live.join(&name);
            let bytes = fs::read(self.staged.join(&name))?;
            durable::replace_if_changed(&to, &bytes, Readers::Owner).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// A cache is files. Where there is a folder among them the configuration names something else, which
/// the swap would take away.
fn refuse_others(live: &Path) -> Result<(), CacheError> {
    let entries = match fs::read_dir(live) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.context(MakeFolderSnafu { path: live })?,
    };
    for entry in entries {
        let entry = entry.context(MakeFolderSnafu { path: live })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // Every new ext4 file system has one.
        snafu::ensure!(
            !is_folder || name == "lost+found",
            NotACacheSnafu { path: live, name }
        );
    }
    Ok(())
}

/// Two folders change places, in one step.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        one,
        rustix::fs::CWD,
        other,
        rustix::fs::RenameFlags::EXCHANGE,
    )?;
    Ok(())
}

/// The name of the file that holds `target`.
pub(super) fn file_name(is_consistent: bool, target: &SignedTarget) -> String {
    if is_consistent {
        format!("{}.{}", target.sha256, target.name())
    } else {
        target.name().to_owned()
    }
}

/// The metadata of this run with the names of their files, in the order in which they may be
/// written: roots from the newest down to 1 (an older image starts at its own), then the `delegated`
/// roles, targets, snapshot, and last the timestamp that leads to them. `dir` may have older roots
/// from an earlier run. When the run is to stop, roots may be missing; who calls asks for that before
/// it uses them.
pub(super) fn metadata_files(
    repository: &UpdateRepository,
    delegated: Vec<(String, Vec<u8>)>,
    dir: &Path,
) -> Vec<(String, Vec<u8>)> {
    let metadata = repository.metadata();
    let mut files = Vec::new();
    let mut root = metadata.root.clone();
    // Whoever answers for the repository could invent older roots without end: each is checked
    // against the next newer one only.
    for _ in 0..MAX_ROOTS {
        let version = root.root.signed.version.get();
        files.push((format!("{version}.root.json"), root.bytes));
        if version <= 1 {
            break;
        }
        let path = dir.join(format!("{}.root.json", version - 1));
        let Some(older) = repository.older_root(version - 1, &root.root, &path) else {
            if repository.watch().check().is_err() {
                break;
            }
            tracing::warn!(
                "the repository has no usable root {}: an image that ships a root older than \
                 {version} could not use what is kept here",
                version - 1
            );
            break;
        };
        root = older;
    }
    files.extend(delegated);
    files.push(metadata.targets.clone());
    files.push(metadata.snapshot.clone());
    files.push(("timestamp.json".to_owned(), metadata.timestamp.clone()));
    files
}
