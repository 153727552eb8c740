//! A repository of files with all that one host needs for one update, for `file://`.
//!
//! `DIR/metadata/` holds the signed metadata with the chain of roots, `DIR/targets/` the targets
//! that were asked for, under the names that the TUF specification gives them. Nothing in it is
//! this program's word: whoever uses it verifies it from the same trusted root.
//!
//! Files that are there and right are kept. Targets come before the metadata that name them, so
//! that the folder is the old repository or the new one at every instant, up to targets of the
//! other.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu};
use update_metadata::{NameError, check_target_name};
use url::Url;

use super::save::{self, Existing, SaveError, Saved};
use super::{RepositoryError, SignedTarget, UpdateRepository, cache};
use crate::cancel::Cancelled;
use crate::durable::{self, Readers, ReplaceError};
use crate::event::Step;

/// Why the mirror is not complete. What was there before is as it was, or newer file by file.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum MirrorError {
    /// A folder cannot be made, or is none.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// The folder cannot be locked.
    #[snafu(display("locking the folder {}", path.display()))]
    Lock { path: PathBuf, source: io::Error },
    /// Another process mirrors to the same folder.
    #[snafu(display("another process is mirroring to {}", path.display()))]
    Busy { path: PathBuf },
    /// A target is not listed.
    #[snafu(transparent)]
    Target { source: RepositoryError },
    /// A target's name is none for a file below a folder.
    #[snafu(display("a target cannot become a file of the mirror"))]
    Name { source: NameError },
    /// A target cannot be had or written.
    #[snafu(transparent)]
    Save { source: SaveError },
    /// A metadata file cannot be written.
    #[snafu(display("mirroring verified metadata"))]
    Metadata { source: ReplaceError },
    /// The run was told to stop.
    #[snafu(display("before the metadata of the mirror were written"))]
    Cancelled { source: Cancelled },
    /// The folder's path is none that a URL can name.
    #[snafu(display("{} cannot be named by a file URL", path.display()))]
    NoUrl { path: PathBuf },
}

impl MirrorError {
    /// What the operator can do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "wait until it is done, then run the command again",
            Self::Save {
                source: SaveError::NoRoom { .. },
            } => "make room, or mirror to a folder of another file system",
            Self::Target {
                source: RepositoryError::DelegatedName { .. },
            } => "the publisher has to list every target in targets.json",
            Self::Target { .. } | Self::Name { .. } => "the publisher has to mend the manifest",
            _ => "what is there already is kept; once the cause is mended, run the command again",
        }
    }
}

/// One file of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirroredFile {
    /// Below the mirror's folder.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Whether this run wrote it; otherwise it was there and right.
    pub written: bool,
}

/// A complete mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// For `metadata_base_url`.
    pub metadata_base_url: Url,
    /// For `targets_base_url`.
    pub targets_base_url: Url,
    /// Everything that belongs to it; other files in the folder are of earlier runs.
    pub files: Vec<MirroredFile>,
}

/// Makes `dir` a repository of files with the targets `names`.
///
/// # Errors
/// Every [`MirrorError`]. Where the targets that are missing do not fit, nothing is fetched.
pub fn mirror(
    repository: &UpdateRepository,
    names: &[String],
    dir: &Path,
) -> Result<Mirror, MirrorError> {
    let (metadata_dir, targets_dir) = (dir.join("metadata"), dir.join("targets"));
    for path in [&metadata_dir, &targets_dir] {
        fs::create_dir_all(path).context(MakeFolderSnafu { path })?;
    }
    let _lock = lock(dir)?;
    durable::remove_strays(&metadata_dir);
    let delegated = repository.delegated_metadata()?;
    // All of them are looked up before the first is fetched.
    let targets = names
        .iter()
        .map(|name| Ok((file_name(repository, name)?, repository.target(name)?)))
        .collect::<Result<Vec<_>, MirrorError>>()?;
    check_room(repository, &targets, &targets_dir)?;

    let mut files = Vec::new();
    for (name, target) in &targets {
        let path = targets_dir.join(name);
        make_folders(&targets_dir, &path)?;
        repository.watch().step(Step::Fetch {
            target: target.name().to_owned(),
            bytes: target.length,
        });
        let saved = repository.save(target, &path, Existing::Replace, Readers::Everyone)?;
        repository.watch().step_end();
        files.push(MirroredFile {
            path: Path::new("targets").join(name),
            bytes: target.length,
            written: saved == Saved::Written,
        });
    }
    let metadata = cache::metadata_files(repository, delegated, &metadata_dir);
    // One that was cut off there is not all that is needed.
    repository.watch().check().context(CancelledSnafu)?;
    for (name, bytes) in metadata {
        let path = metadata_dir.join(&name);
        let written =
            durable::replace_if_changed(&path, &bytes, Readers::Everyone).context(MetadataSnafu)?;
        files.push(MirroredFile {
            path: Path::new("metadata").join(name),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            written,
        });
    }
    for path in [dir, save::folder_of(dir)] {
        durable::sync_dir(path).context(MakeFolderSnafu { path })?;
    }
    Ok(Mirror {
        metadata_base_url: url_of(&metadata_dir)?,
        targets_base_url: url_of(&targets_dir)?,
        files,
    })
}

/// A lock on the folder itself: it leaves nothing in what is going to be copied and served.
fn lock(dir: &Path) -> Result<File, MirrorError> {
    let folder = File::open(dir).context(LockSnafu { path: dir })?;
    match crate::lock::try_lock(&folder) {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => BusySnafu { path: dir }.fail(),
        Err(TryLockError::Error(source)) => Err(source).context(LockSnafu { path: dir }),
    }
}

/// `dir/HASH.file`, or `dir/file` where snapshots are not consistent.
fn file_name(repository: &UpdateRepository, name: &str) -> Result<PathBuf, MirrorError> {
    check_target_name(name).context(NameSnafu)?;
    let target = repository.target(name)?;
    if !repository.is_consistent() {
        return Ok(PathBuf::from(name));
    }
    Ok(match name.rsplit_once('/') {
        Some((folder, file)) => Path::new(folder).join(format!("{}.{file}", target.sha256)),
        None => PathBuf::from(format!("{}.{name}", target.sha256)),
    })
}

fn check_room(
    repository: &UpdateRepository,
    targets: &[(PathBuf, SignedTarget)],
    dir: &Path,
) -> Result<(), MirrorError> {
    let missing = targets.iter().try_fold(0_u64, |sum, (name, target)| {
        let path = dir.join(name);
        match save::holds(&path, target, repository.watch().cancel()) {
            Ok(true) => Ok(sum),
            Ok(false) => Ok(sum.saturating_add(target.length)),
            Err(source) => Err(SaveError::Write { path, source }),
        }
    })?;
    save::check_room(dir, missing)?;
    Ok(())
}

/// The folders between `base` and `path`, each durable in its parent.
fn make_folders(base: &Path, path: &Path) -> Result<(), MirrorError> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder).context(MakeFolderSnafu { path: folder })?;
    for folder in folder.ancestors().take_while(|f| f.starts_with(base)) {
        durable::sync_dir(folder).context(MakeFolderSnafu { path: folder })?;
    }
    Ok(())
}

fn url_of(dir: &Path) -> Result<Url, MirrorError> {
    let path = fs::canonicalize(dir).context(MakeFolderSnafu { path: dir })?;
    Url::from_directory_path(&path)
        .ok()
        .context(NoUrlSnafu { path })
}
