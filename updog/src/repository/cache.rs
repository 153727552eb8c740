//! What the migrator of the next boot needs, laid out so that it can load it as a repository of
//! files: the signed metadata with the chain of roots, the manifest and the migrations.
//!
//! Targets, timestamp, snapshot and the roots from the shipped one on were verified before they are
//! written. Roots older than the shipped one cannot be: see [`UpdateRepository`]. Every file is
//! whole on disk under its name or not there, and targets come before the metadata that name them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use tempfile::NamedTempFile;

use super::{RepositoryError, SignedTarget, UpdateRepository};
use crate::digest;
use crate::durable::{self, ReplaceError};

/// A cached target is a program or a manifest; a larger one is a mistake of the publisher.
const MAX_CACHED_TARGET_BYTES: u64 = 256 << 20;
/// Roots in the cached chain. A publisher that rotates keys monthly takes eighty years.
const MAX_ROOTS: usize = 1024;

/// Why the cache is not complete. The disk's partition sets were not touched yet.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum CacheError {
    /// A target is missing or too large.
    #[snafu(display("caching what the migration needs"))]
    Target { source: RepositoryError },
    /// A target cannot be fetched or written.
    #[snafu(display("caching target {name} as {}", path.display()))]
    Write {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    /// A metadata file cannot be written.
    #[snafu(display("caching verified metadata"))]
    Metadata { source: ReplaceError },
    /// A folder cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
}

/// The two folders that the migrator is given.
#[derive(Debug, Clone, Copy)]
pub struct CacheFolders<'a> {
    /// `--metadata-directory`.
    pub metadata: &'a Path,
    /// `--migration-directory`.
    pub targets: &'a Path,
}

/// Caches the targets `names` and the metadata of this run. Files that are there already and
/// right are kept.
///
/// # Errors
/// Every [`CacheError`]; what was cached before it is whole and harmless.
pub fn fill(
    repository: &UpdateRepository,
    names: &[String],
    folders: CacheFolders<'_>,
) -> Result<(), CacheError> {
    for path in [folders.metadata, folders.targets] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .context(MakeFolderSnafu { path })?;
        durable::remove_strays(path);
    }
    // All of them are looked up before the first is fetched.
    let targets = names
        .iter()
        .map(|name| {
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
        })
        .collect::<Result<Vec<_>, RepositoryError>>()
        .context(TargetSnafu)?;
    for target in &targets {
        let path = folders.targets.join(file_name(repository, target));
        cache_target(repository, target, &path).context(WriteSnafu {
            name: target.name(),
            path,
        })?;
    }
    write_metadata(repository, folders.metadata)
}

fn file_name(repository: &UpdateRepository, target: &SignedTarget) -> String {
    if repository.is_consistent() {
        format!("{}.{}", target.sha256, target.name())
    } else {
        target.name().to_owned()
    }
}

fn cache_target(
    repository: &UpdateRepository,
    target: &SignedTarget,
    path: &Path,
) -> io::Result<()> {
    if is_cached(target, path) {
        return Ok(());
    }
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = NamedTempFile::new_in(parent)?;
    // Reads to the end, where length and digest are judged.
    io::copy(&mut repository.open(target), &mut file)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    durable::sync_dir(parent)
}

fn is_cached(target: &SignedTarget, path: &Path) -> bool {
    File::open(path)
        .and_then(|file| digest::of_reader(file.take(target.length.saturating_add(1))))
        .is_ok_and(|found| found == (target.length, target.sha256))
}

/// Roots from the newest down to 1 (an older image starts at its own), then targets, snapshot, and
/// last the timestamp that names them.
fn write_metadata(repository: &UpdateRepository, dir: &Path) -> Result<(), CacheError> {
    let metadata = repository.metadata();
    let mut root = metadata.root.clone();
    // Whoever answers for the repository could invent older roots without end: each is checked
    // against the next newer one only.
    for _ in 0..MAX_ROOTS {
        let version = root.root.signed.version.get();
        write_if_changed(&dir.join(format!("{version}.root.json")), &root.bytes)?;
        if version <= 1 {
            break;
        }
        let path = dir.join(format!("{}.root.json", version - 1));
        let Some(older) = repository.older_root(version - 1, &root.root, &path) else {
            tracing::warn!(
                "the repository has no usable root {}: an image that ships a root older than \
                 {version} could not use the cached migrations",
                version - 1
            );
            break;
        };
        root = older;
    }
    let (targets, snapshot) = (&metadata.targets, &metadata.snapshot);
    write_if_changed(&dir.join(&targets.0), &targets.1)?;
    write_if_changed(&dir.join(&snapshot.0), &snapshot.1)?;
    write_if_changed(&dir.join("timestamp.json"), &metadata.timestamp)
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    // A file of another size or kind is replaced; it is at most as large as what we write.
    let same = fs::metadata(path).is_ok_and(|m| m.len() == u64::try_from(bytes.len()).unwrap_or(0))
        && fs::read(path).is_ok_and(|old| old == bytes);
    if same {
        Ok(())
    } else {
        durable::replace(path, bytes).context(MetadataSnafu)
    }
}
