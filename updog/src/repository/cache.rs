//! What the migrator of the next boot needs, laid out so that it can load it as a repository of
//! files: the signed metadata with the chain of roots, the manifest and the migrations.
//!
//! Targets, timestamp, snapshot and the roots from the shipped one on were verified before they are
//! written. Roots older than the shipped one cannot be: see [`UpdateRepository`]. Every file is
//! whole on disk under its name or not there, and targets come before the metadata that name them.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

use super::save::{Existing, SaveError};
use super::{RepositoryError, SignedTarget, UpdateRepository};
use crate::durable::{self, Readers, ReplaceError};
use crate::event::Unobserved;

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
    #[snafu(display("caching what the migration needs"))]
    Write { source: SaveError },
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
        repository
            .save(
                target,
                &path,
                Existing::Replace,
                Readers::Owner,
                &Unobserved,
            )
            .context(WriteSnafu)?;
    }
    for (name, bytes) in metadata_files(repository, folders.metadata) {
        durable::replace_if_changed(&folders.metadata.join(name), &bytes, Readers::Owner)
            .context(MetadataSnafu)?;
    }
    Ok(())
}

fn file_name(repository: &UpdateRepository, target: &SignedTarget) -> String {
    if repository.is_consistent() {
        format!("{}.{}", target.sha256, target.name())
    } else {
        target.name().to_owned()
    }
}

/// The metadata of this run with the names of their files, in the order in which they may be
/// written: roots from the newest down to 1 (an older image starts at its own), then targets,
/// snapshot, and last the timestamp that names them. `dir` may have older roots from an earlier run.
pub(super) fn metadata_files(repository: &UpdateRepository, dir: &Path) -> Vec<(String, Vec<u8>)> {
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
            tracing::warn!(
                "the repository has no usable root {}: an image that ships a root older than \
                 {version} could not use what is kept here",
                version - 1
            );
            break;
        };
        root = older;
    }
    files.push(metadata.targets.clone());
    files.push(metadata.snapshot.clone());
    files.push(("timestamp.json".to_owned(), metadata.timestamp.clone()));
    files
}
