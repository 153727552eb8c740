//! One metadata folder of a repository as it is served, verified against one root role.
//!
//! The root role is the publisher's, not the folder's: whoever can write to the web server can put
//! any root role there, and signing what it leads to would make somebody else's targets ours.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu, ensure};
use tough::schema::{Role, Signed, Snapshot, Targets, Timestamp};

use super::bounded;
use super::release::existing;
use super::release::metadata::{SNAPSHOT, TARGETS, TIMESTAMP};
use super::release::rehearsal;
use super::signatures::SignedBytes;
use super::standing::{self, Standing, StandingError};
use super::tuf::{self, RootFile, TufError};
use super::word::Word;

/// What clients read of timestamp and snapshot at most.
pub(super) const MAX_SMALL_BYTES: u64 = 1 << 20;
/// What clients read of the targets role at most.
pub(super) const MAX_TARGETS_BYTES: u64 = 10 << 20;
/// A repository with more variants and architectures than this is something else.
const MAX_FOLDERS: usize = 4096;

/// Why the published metadata cannot be worked on.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum PublishedError {
    /// A file or folder cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// A file is no metadata.
    #[snafu(display("{} is not the metadata that its name says", path.display()))]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The metadata do not verify.
    #[snafu(display(
        "the metadata in {} do not verify against {}; give the root role that they were signed under",
        folder.display(), root.display()
    ))]
    Unverified {
        folder: PathBuf,
        root: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The repository delegates targets to other roles.
    #[snafu(display(
        "the metadata in {} delegate targets to other roles, which updata does not carry on",
        folder.display()
    ))]
    Delegations { folder: PathBuf },
    /// The root role is another than the folder's newest.
    #[snafu(display(
        "{} has a root role of version {published}, {} is version {given}; \
         give --root-role the newest one",
        folder.display(), root.display()
    ))]
    OtherVersion {
        folder: PathBuf,
        root: PathBuf,
        published: u64,
        given: u64,
    },
    /// The folder's root role of that version is another.
    #[snafu(display(
        "{} is not the root role that is published as {}; give the one that is",
        given.display(), published.display()
    ))]
    OtherRoot { given: PathBuf, published: PathBuf },
    /// This is no repository of ours.
    #[snafu(display("{} has more than {MAX_FOLDERS} folders of metadata", repo.display()))]
    TooMany { repo: PathBuf },
    /// It is not known what is published.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// The runtime did not start.
    #[snafu(transparent)]
    Tuf { source: TufError },
}

impl PublishedError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::OtherVersion { .. } | Self::OtherRoot { .. } => true,
            Self::Standing { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// The metadata that a folder's timestamp leads to, verified; their expiry is not judged.
#[derive(Debug, Clone)]
pub struct Published {
    /// `timestamp.json`.
    pub timestamp: SignedBytes<Timestamp>,
    /// `N.snapshot.json`.
    pub snapshot: SignedBytes<Snapshot>,
    /// `N.targets.json`.
    pub targets: SignedBytes<Targets>,
}

impl Published {
    /// Loads and verifies against `root` itself, whatever newer root role the folder has. `None`
    /// where nothing is published.
    ///
    /// # Errors
    /// [`StandingError::Lost`] without a `timestamp.json` where there is something it could lead to:
    /// a first release that did not finish has to be, before anything else is done.
    pub fn load(folder: &Path, root: &RootFile) -> Result<Option<Self>, PublishedError> {
        match Standing::of(folder, &[])? {
            Standing::Published => {}
            Standing::Nothing => return Ok(None),
            Standing::Unfinished(left) => return Err(left.lost(folder).into()),
            Standing::Lost(files) => {
                let folder = folder.to_path_buf();
                return Err(StandingError::Lost { folder, files }.into());
            }
        }
        let path = folder.join(TIMESTAMP);
        let timestamp: SignedBytes<Timestamp> = read(&path, MAX_SMALL_BYTES)?;
        let version = |role: Option<&tough::schema::Metafile>| {
            role.map_or(NonZeroU64::MIN, |meta| meta.version)
        };
        let snapshot_version = version(timestamp.role().meta.get(SNAPSHOT));
        let snapshot_name = format!("{snapshot_version}.snapshot.json");
        let snapshot: SignedBytes<Snapshot> = read(&folder.join(&snapshot_name), MAX_SMALL_BYTES)?;
        let targets_version = version(snapshot.role().meta.get(TARGETS));
        let targets_name = format!("{targets_version}.targets.json");
        let targets: SignedBytes<Targets> = read(&folder.join(&targets_name), MAX_TARGETS_BYTES)?;
        let delegates = targets.role().delegations.as_ref();
        ensure!(
            delegates.is_none_or(|delegations| delegations.roles.is_empty()),
            DelegationsSnafu { folder }
        );
        let files = [
            (TIMESTAMP.to_owned(), timestamp.buffer().clone()),
            (snapshot_name, snapshot.buffer().clone()),
            (targets_name, targets.buffer().clone()),
        ];
        tuf::block_on(rehearsal::open(&root.bytes, &files))?.context(UnverifiedSnafu {
            folder,
            root: &root.path,
        })?;
        Ok(Some(Self {
            timestamp,
            snapshot,
            targets,
        }))
    }

    /// As [`Published::load`], where `root` must be the folder's newest root role.
    pub fn load_newest(folder: &Path, root: &RootFile) -> Result<Option<Self>, PublishedError> {
        ensure_newest_root(folder, root)?;
        Self::load(folder, root)
    }

    /// The highest version of the three roles.
    pub fn highest_version(&self) -> u64 {
        [
            self.timestamp.role().version,
            self.snapshot.role().version,
            self.targets.role().version,
        ]
        .into_iter()
        .map(NonZeroU64::get)
        .max()
        .unwrap_or(0)
    }
}

/// The newest root role of a folder must be `root`.
pub fn ensure_newest_root(folder: &Path, root: &RootFile) -> Result<(), PublishedError> {
    let published = newest_root(folder)?.unwrap_or(0);
    let given = root.root().version.get();
    ensure!(
        published == given,
        OtherVersionSnafu {
            folder,
            root: &root.path,
            published,
            given
        }
    );
    ensure_same_root(folder, root)
}

/// The root role that a folder has under the name of `root` must be `root`.
pub fn ensure_same_root(folder: &Path, root: &RootFile) -> Result<(), PublishedError> {
    let published = folder.join(existing::root_name(root));
    let bytes =
        bounded::read(&published, tuf::MAX_ROOT_BYTES).context(ReadSnafu { path: &published })?;
    ensure!(
        bytes == root.bytes,
        OtherRootSnafu {
            given: &root.path,
            published
        }
    );
    Ok(())
}

/// The highest N of the files `N.root.json` in a folder.
pub fn newest_root(folder: &Path) -> Result<Option<u64>, PublishedError> {
    Ok(root_versions(folder)?.into_iter().max())
}

/// The versions N of the files `N.root.json` in a folder, in no order.
pub fn root_versions(folder: &Path) -> Result<Vec<u64>, PublishedError> {
    let names = names(folder)?;
    Ok(names
        .iter()
        .filter_map(|name| name.strip_suffix(".root.json")?.parse().ok())
        .collect())
}

/// The metadata folders `VARIANT/ARCH` of a repository, sorted: those with metadata in them, and those
/// that cannot be listed, which is for whoever works on them to find and tell.
///
/// # Errors
/// Those of listing the repository itself; [`PublishedError::TooMany`].
pub fn folders(repo: &Path) -> Result<Vec<PathBuf>, PublishedError> {
    let mut found = Vec::new();
    for variant in sub_folders(repo)? {
        let folders = sub_folders(&variant).unwrap_or_else(|_| vec![variant]);
        for folder in folders {
            if is_metadata_folder(&folder).unwrap_or(true) {
                ensure!(found.len() < MAX_FOLDERS, TooManySnafu { repo });
                found.push(folder);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a folder has metadata in it.
pub fn is_metadata_folder(folder: &Path) -> Result<bool, PublishedError> {
    Ok(names(folder)?
        .iter()
        .any(|name| standing::is_metadata(name)))
}

/// The highest N of the files `N.ROLE.json` in a folder, with the name of that file.
pub fn newest(folder: &Path, role: &str) -> Result<Option<String>, PublishedError> {
    let end = format!(".{role}");
    let version = |name: &String| name.strip_suffix(&end)?.parse::<u64>().ok();
    let names = names(folder)?;
    let versioned = names
        .into_iter()
        .filter_map(|name| Some((version(&name)?, name)));
    Ok(versioned.max().map(|(_, name)| name))
}

/// The folders in a folder whose names can be those of variants and architectures.
fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>, PublishedError> {
    let names = names(folder)?;
    Ok(names
        .iter()
        .filter(|name| name.parse::<Word>().is_ok())
        .map(|name| folder.join(name))
        // What cannot be looked at now may be one.
        .filter(|path| match fs::metadata(path) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
        .collect())
}

fn names(folder: &Path) -> Result<Vec<String>, PublishedError> {
    let context = || ReadSnafu { path: folder };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|_| context())? {
        // A name that is not UTF-8 cannot be one of ours.
        if let Ok(name) = entry.with_context(|_| context())?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// A role in a file, with the signatures it has; nothing is verified.
pub fn read<T: Role + DeserializeOwned>(
    path: &Path,
    max: u64,
) -> Result<SignedBytes<T>, PublishedError> {
    let bytes = bounded::read(path, max).context(ReadSnafu { path })?;
    let signed: Signed<T> = serde_json::from_slice(&bytes).context(ParseSnafu { path })?;
    Ok(SignedBytes::as_read(signed, bytes))
}
