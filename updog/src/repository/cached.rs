//! The folders that the migrator of the next boot is given, looked at and never changed: what is in
//! them now, and what [`super::cache::stage`] would have to put beside it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu};
use tough::schema::{Metafile, RoleType, Targets};
use update_metadata::{MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest, ManifestError};

use super::cache::{
    CacheError, CacheFolders, StoppedSnafu, TargetSnafu, file_name, look_up, metadata_files,
};
use super::known_state::{KeptFiles, KnownState};
use super::trust::{TrustError, TrustStore, read_bounded};
use super::{RepositoryError, SignedTarget, UpdateRepository, save};
use crate::cancel::Cancel;

/// Why the cache is of no use to a migrator.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum CachedError {
    /// There is no root of trust to begin with.
    #[snafu(transparent)]
    Trust { source: TrustError },
    /// A file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// A metadata file is missing, or is not the one that was signed.
    #[snafu(display("{} is missing or does not verify", path.display()))]
    Unverified { path: PathBuf },
    /// A target is not listed.
    #[snafu(transparent)]
    Target { source: RepositoryError },
    /// The manifest is not there whole.
    #[snafu(display("the cached manifest {} is missing or damaged", path.display()))]
    NoManifest { path: PathBuf },
    /// The manifest does not say what a manifest must.
    #[snafu(display("reading {}", path.display()))]
    Manifest {
        path: PathBuf,
        source: ManifestError,
    },
}

/// A cache whose metadata verify from this host's root of trust. Expiry is not looked at, as the
/// migrator does not either.
#[derive(Debug)]
pub struct CachedRepository {
    dir: PathBuf,
    is_consistent: bool,
    targets: Targets,
    cancel: Cancel,
}

impl CachedRepository {
    /// The repository in `folders`; `None` where nothing was ever cached.
    ///
    /// # Errors
    /// [`CachedError::Trust`], [`CachedError::Read`] and [`CachedError::Unverified`].
    pub fn open(
        folders: CacheFolders<'_>,
        trusted_root: &Path,
        cancel: &Cancel,
    ) -> Result<Option<Self>, CachedError> {
        let dir = folders.metadata;
        let Some(timestamp) = read(&dir.join("timestamp.json"))? else {
            return Ok(None);
        };
        let root = TrustStore::with_roots_in(dir).newest_root(trusted_root)?;
        let root = root.root.signed;
        let mut files = KeptFiles {
            timestamp: Some(timestamp),
            ..KeptFiles::default()
        };
        let file = |listed: Option<&Metafile>, role: RoleType| {
            let version = listed.map_or(0, |listed| listed.version.get());
            dir.join(if root.consistent_snapshot {
                format!("{version}.{role}.json")
            } else {
                format!("{role}.json")
            })
        };
        // Each file names the next one.
        let known = KnownState::of(&root, &files);
        let timestamp = known.timestamp.with_context(|| UnverifiedSnafu {
            path: dir.join("timestamp.json"),
        })?;
        let path = file(
            timestamp.signed.meta.get("snapshot.json"),
            RoleType::Snapshot,
        );
        files.snapshot = read(&path)?;
        let known = KnownState::of(&root, &files);
        let snapshot = known.snapshot.context(UnverifiedSnafu { path })?;
        let path = file(snapshot.signed.meta.get("targets.json"), RoleType::Targets);
        files.targets = read(&path)?;
        let known = KnownState::of(&root, &files);
        let targets = known.targets.context(UnverifiedSnafu { path })?;
        Ok(Some(Self {
            dir: folders.targets.to_owned(),
            is_consistent: root.consistent_snapshot,
            targets: targets.signed,
            cancel: cancel.clone(),
        }))
    }

    /// Whether target `name` is there, whole, and how large it is.
    ///
    /// # Errors
    /// [`CachedError::Target`] and [`CachedError::Read`].
    pub fn look(&self, name: &str) -> Result<CachedTarget, CachedError> {
        let target = SignedTarget::find(&self.targets, name)?;
        let path = self.path(&target);
        Ok(CachedTarget {
            name: name.to_owned(),
            bytes: target.length,
            is_cached: save::holds(&path, &target, &self.cancel).context(ReadSnafu { path })?,
        })
    }

    /// The manifest.
    ///
    /// # Errors
    /// Every [`CachedError`] but those about metadata.
    pub fn manifest(&self) -> Result<Manifest, CachedError> {
        let target = SignedTarget::find(&self.targets, MANIFEST_TARGET)?;
        let path = self.path(&target);
        let is_whole = target.length <= MAX_MANIFEST_BYTES
            && save::holds(&path, &target, &self.cancel).context(ReadSnafu { path: &path })?;
        snafu::ensure!(is_whole, NoManifestSnafu { path });
        let json = fs::read(&path).context(ReadSnafu { path: &path })?;
        Manifest::from_slice(&json).context(ManifestSnafu { path })
    }

    fn path(&self, target: &SignedTarget) -> PathBuf {
        self.dir.join(file_name(self.is_consistent, target))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, CachedError> {
    match read_bounded(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source).context(ReadSnafu { path }),
    }
}

/// A target that the migrator needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedTarget {
    /// Under which it is signed.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it is in its folder, byte for byte.
    pub is_cached: bool,
}

/// Room on one file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// The folders that are on it.
    pub folders: Vec<PathBuf>,
    /// Bytes that are to be put there.
    pub needed: u64,
    /// Bytes that are free; `None` where the file system does not say.
    pub free: Option<u64>,
    #[serde(skip)]
    device: Option<u64>,
}

impl Room {
    /// Whether all of it fits, as far as is known.
    pub fn is_enough(&self) -> bool {
        self.free.is_none_or(|free| self.needed <= free)
    }
}

/// What staging would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheNeeds {
    /// The targets, in the order asked for.
    pub targets: Vec<CachedTarget>,
    /// One entry for each file system that it goes to.
    pub rooms: Vec<Room>,
}

/// What [`super::cache::stage`] would have to fetch for the targets `names`, and the room that it
/// would take: what is cached already is linked, and takes none. Roots that no folder has are fetched to be
/// measured, as staging would.
///
/// # Errors
/// [`CacheError::Target`].
pub fn needs(
    repository: &UpdateRepository,
    names: &[String],
    folders: CacheFolders<'_>,
) -> Result<CacheNeeds, CacheError> {
    let mut targets = Vec::new();
    let mut missing = 0_u64;
    for name in names {
        let target = look_up(repository, name).context(TargetSnafu)?;
        let path = folders
            .targets
            .join(file_name(repository.is_consistent(), &target));
        let is_cached = save::holds(&path, &target, repository.watch().cancel()).unwrap_or(false);
        if !is_cached {
            missing = missing.saturating_add(target.length);
        }
        targets.push(CachedTarget {
            name: name.clone(),
            bytes: target.length,
            is_cached,
        });
    }
    let delegated = repository.delegated_metadata().context(TargetSnafu)?;
    let metadata = metadata_files(repository, delegated, folders.metadata);
    // A run that is to stop may have missed what is there.
    repository.watch().check().context(StoppedSnafu)?;
    let metadata = metadata.iter().fold(0_u64, |sum, (_, bytes)| {
        sum.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    });
    let mut rooms: Vec<Room> = Vec::new();
    for (folder, needed) in [(folders.targets, missing), (folders.metadata, metadata)] {
        let there = existing(folder);
        let device = fs::metadata(there).map(|found| found.dev()).ok();
        let same = rooms
            .iter_mut()
            .find(|room| device.is_some() && room.device == device);
        if let Some(room) = same {
            room.folders.push(folder.to_owned());
            room.needed = room.needed.saturating_add(needed);
        } else {
            rooms.push(Room {
                folders: vec![folder.to_owned()],
                needed,
                free: save::free_bytes(there),
                device,
            });
        }
    }
    Ok(CacheNeeds { targets, rooms })
}

/// `folder`, or the nearest folder above it that exists.
fn existing(folder: &Path) -> &Path {
    folder
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}
