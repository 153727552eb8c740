//! Reads what is published, and verifies its signatures: the facts that need no target's content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use snafu::{OptionExt, ResultExt, Snafu};
use tough::schema::{RoleType, Root, Target, Targets, key::Key};
use tough::{ExpirationEnforcement, TargetName};
use update_metadata::Digest;

use super::facts::{FolderFacts, Found, RoleFacts, RootFacts, TargetFacts, UpdateFacts};
use crate::publish::file_transport::{FileTransport, FolderUrlError, folder_url};
use crate::publish::release::existing::{self, ExistingError, Folders};
use crate::publish::standing::{Standing, StandingError};
use crate::publish::tuf::{self, RootFile, TufError};

/// Metadata folders that are looked at in one run.
const MAX_FOLDERS: usize = 1000;
/// What every published metadata folder has.
pub(super) const TIMESTAMP_FILE: &str = "timestamp.json";

/// Why a repository cannot be judged.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum LoadError {
    /// A folder cannot be listed, or a file in it not be looked at.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The folder holds no metadata, neither itself nor in VARIANT/ARCH.
    #[snafu(display(
        "{} is no repository: there is no {TIMESTAMP_FILE} in it, nor in any VARIANT/ARCH of it",
        path.display()
    ))]
    NoRepository { path: PathBuf },
    /// There are more folders than any publisher has.
    #[snafu(display("{} has more than {MAX_FOLDERS} metadata folders", path.display()))]
    TooManyFolders { path: PathBuf },
    /// The folder has no root role, and none was given.
    #[snafu(display("{} has no N.root.json; give --root-role", folder.display()))]
    NoRoot { folder: PathBuf },
    /// Signatures, versions or lengths are wrong: no host would take anything of it.
    #[snafu(display("the metadata in {} do not verify against {}", folder.display(), root.display()))]
    Unverified {
        folder: PathBuf,
        root: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// A time is outside the calendar.
    #[snafu(display("the expiry of the {role} role in {} is outside the calendar", folder.display()))]
    Calendar { role: &'static str, folder: PathBuf },
    /// The path of a folder is no URL.
    #[snafu(transparent)]
    FolderUrl { source: FolderUrlError },
    /// It is not known what is published.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// The root role cannot be read.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// The manifest cannot be read.
    #[snafu(transparent)]
    Existing { source: ExistingError },
}

/// What of a repository is looked at.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The metadata folders, sorted.
    pub(super) folders: Vec<PathBuf>,
    /// The folders that have metadata but no timestamp, sorted, and what they have.
    pub(super) lost: Vec<(PathBuf, Vec<String>)>,
    /// The folder of the targets, shared by all.
    pub(super) targets: PathBuf,
    /// Whether these are all the metadata folders that share it.
    pub(super) whole: bool,
}

impl Place {
    /// Finds the metadata folders: `path` itself, or each `VARIANT/ARCH` in it.
    pub(super) fn find(path: &Path, targets: Option<&Path>) -> Result<Self, LoadError> {
        let beside = |repo: &Path| targets.map_or_else(|| repo.join("targets"), Path::to_owned);
        let mut found = Self {
            folders: Vec::new(),
            lost: Vec::new(),
            targets: beside(path),
            whole: false,
        };
        if found.add(path)? {
            let absolute = std::path::absolute(path).context(ReadSnafu { path })?;
            let repo = match path.ancestors().nth(2) {
                Some(repo) if !repo.as_os_str().is_empty() => repo,
                _ => absolute.ancestors().nth(2).unwrap_or(&absolute),
            };
            found.targets = beside(repo);
            return Ok(found);
        }
        let mut count = 0;
        for variant in sub_folders(path)? {
            // What is called like metadata there is a target.
            if variant == found.targets {
                continue;
            }
            for folder in sub_folders(&variant)? {
                if found.add(&folder)? {
                    snafu::ensure!(count < MAX_FOLDERS, TooManyFoldersSnafu { path });
                    count += 1;
                }
            }
        }
        snafu::ensure!(count > 0, NoRepositorySnafu { path });
        // What a lost folder lists is not known, and must not be said to be listed by none.
        found.whole = found.lost.is_empty();
        Ok(found)
    }

    /// Whether `folder` is one of metadata; then it is taken in.
    fn add(&mut self, folder: &Path) -> Result<bool, LoadError> {
        let files = match Standing::of(folder, &[])? {
            Standing::Published => {
                self.folders.push(folder.to_owned());
                return Ok(true);
            }
            Standing::Nothing => return Ok(false),
            Standing::Unfinished(leftovers) => leftovers.names(),
            Standing::Lost(files) => files,
        };
        self.lost.push((folder.to_owned(), files));
        Ok(true)
    }
}

/// The folders in a folder, sorted.
fn sub_folders(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).context(ReadSnafu { path })? {
        let path = entry.context(ReadSnafu { path })?.path();
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_dir() => {}
            // A link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            looked => {
                looked.context(ReadSnafu { path: &path })?;
                folders.push(path);
            }
        }
    }
    folders.sort();
    Ok(folders)
}

/// The facts of one metadata folder, verified from `root_role`, or from its own newest root role.
pub(super) fn folder(
    folder: &Path,
    targets: &Path,
    root_role: Option<&Path>,
) -> Result<FolderFacts, LoadError> {
    let root = match root_role {
        Some(path) => RootFile::read(path)?,
        None => RootFile::read(&newest_root(folder)?)?,
    };
    let folders = Folders {
        metadata: folder.to_owned(),
        targets: targets.to_owned(),
    };
    tuf::block_on(load(&folders, &root))?
}

/// `N.root.json` with the highest N.
fn newest_root(folder: &Path) -> Result<PathBuf, LoadError> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder).context(ReadSnafu { path: folder })? {
        let path = entry.context(ReadSnafu { path: folder })?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".root.json")?.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(highest, _)| number > *highest)
        {
            newest = Some((number, path));
        }
    }
    let (_, path) = newest.context(NoRootSnafu { folder })?;
    Ok(path)
}

async fn load(folders: &Folders, root: &RootFile) -> Result<FolderFacts, LoadError> {
    let folder = &folders.metadata;
    let repository = tough::RepositoryLoader::new(
        &root.bytes,
        folder_url(folder)?,
        folder_url(&folders.targets)?,
    )
    .transport(FileTransport::to_judge())
    // Expiry is one of the rules, judged at the time of the run.
    .expiration_enforcement(ExpirationEnforcement::Unsafe)
    .load()
    .await
    .context(UnverifiedSnafu { folder, root: &root.path })?;
    let manifest = existing::manifest(&repository, folder).await?;

    let (root, timestamp, snapshot, targets) = (
        &repository.root().signed,
        &repository.timestamp().signed,
        &repository.snapshot().signed,
        &repository.targets().signed,
    );
    let versioned = |version, role: &str| {
        if root.consistent_snapshot {
            format!("{version}.{role}.json")
        } else {
            format!("{role}.json")
        }
    };
    let mut roles = Vec::new();
    for (role, expires, file) in [
        ("root", root.expires, format!("{}.root.json", root.version)),
        ("timestamp", timestamp.expires, TIMESTAMP_FILE.to_owned()),
        (
            "snapshot",
            snapshot.expires,
            versioned(snapshot.version, "snapshot"),
        ),
        (
            "targets",
            targets.expires,
            versioned(targets.version, "targets"),
        ),
    ] {
        roles.push(RoleFacts {
            role,
            expires: from_jiff(expires).context(CalendarSnafu { role, folder })?,
            // A root role that was given may not be published yet.
            bytes: fs::metadata(folder.join(file))
                .ok()
                .map(|metadata| metadata.len()),
        });
    }
    let updates = vec![UpdateFacts::default(); manifest.updates.len()];
    Ok(FolderFacts {
        folder: folder.clone(),
        root: root_facts(root),
        roles,
        delegates: delegates(targets),
        targets: target_facts(targets, root.consistent_snapshot, &folders.targets),
        manifest,
        updates,
        releasing: None,
    })
}

fn delegates(targets: &Targets) -> bool {
    let delegations = targets.delegations.as_ref();
    delegations.is_some_and(|delegations| !delegations.roles.is_empty())
}

/// What a root role says.
pub(super) fn root_facts(root: &Root) -> RootFacts {
    let mut keys: Vec<_> = root
        .keys
        .iter()
        .map(|(id, key)| (hex::encode(id), material(key)))
        .collect();
    keys.sort();
    let role = |(role, name)| {
        let keys = root.roles.get(&role)?;
        let ids = keys.keyids.iter().map(hex::encode).collect();
        Some((name, ids, keys.threshold.get()))
    };
    RootFacts {
        consistent_snapshot: root.consistent_snapshot,
        keys,
        roles: [
            (RoleType::Root, "root"),
            (RoleType::Targets, "targets"),
            (RoleType::Snapshot, "snapshot"),
            (RoleType::Timestamp, "timestamp"),
        ]
        .into_iter()
        .filter_map(role)
        .collect(),
    }
}

/// The public key itself, without what may be written beside it.
fn material(key: &Key) -> Vec<u8> {
    let bytes: &[u8] = match key {
        Key::Rsa { keyval, .. } => &keyval.public,
        Key::Ed25519 { keyval, .. } => &keyval.public,
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => &keyval.public,
    };
    bytes.to_vec()
}

/// The listed targets, and what is in the place of each.
pub(super) fn target_facts(
    targets: &Targets,
    consistent_snapshot: bool,
    folder: &Path,
) -> BTreeMap<String, TargetFacts> {
    let facts = |(name, target): (&TargetName, &Target)| {
        let prefix = consistent_snapshot.then(|| hex::encode(&target.hashes.sha256));
        let sha256: Option<[u8; 32]> = target.hashes.sha256.as_ref().try_into().ok();
        let facts = TargetFacts {
            length: Some(target.length),
            sha256: sha256.map(Digest::from),
            found: found(folder, prefix.as_deref(), name.resolved()),
            content: None,
        };
        (name.raw().to_owned(), facts)
    };
    targets.targets.iter().map(facts).collect()
}

/// Looks where clients look: `DIGEST.NAME`, and for a name with folders also `FOLDER/DIGEST.NAME`.
fn found(folder: &Path, digest: Option<&str>, name: &str) -> Found {
    // A name that leads out of the folder leads nowhere.
    let name = name.trim_start_matches('/');
    let path = match digest {
        Some(digest) => {
            let path = folder.join(format!("{digest}.{name}"));
            match name.rsplit_once('/') {
                Some((parent, base)) if !path.exists() => {
                    folder.join(parent).join(format!("{digest}.{base}"))
                }
                _ => path,
            }
        }
        None => folder.join(name),
    };
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Found::File(path, metadata.len()),
        // Whatever keeps the publisher from seeing the file keeps the web server from it, too.
        _ => Found::Absent(path),
    }
}

/// A time of the library; none outside the calendar.
pub(super) fn from_jiff(time: jiff::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.as_second(), 0)
}
