//! A release that is not published yet: the folder in which its metadata collect signatures.
//!
//! ```text
//! stage.json      what the folder is for and what it was prepared on
//! root.json       the root role, whose keys sign
//! targets.json    the targets role with the signatures it has
//! snapshot.json   made when targets.json has all it needs
//! timestamp.json  made when snapshot.json has all it needs
//! ```
//!
//! It holds nothing secret and can be carried to machines without a network. Each role states the
//! digest of the one before, signatures included; so a role gets no more signatures once the next
//! one is made, and [`Stage`] has no way to do it in another order.

use std::fs;
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::{Role, RoleType, Snapshot, Targets, Timestamp};
use update_metadata::Digest;

use super::bounded;
use super::durable::{self, DurableError};
use super::period::Period;
use super::published::{self, MAX_SMALL_BYTES, MAX_TARGETS_BYTES, PublishedError};
use super::release::metadata::{
    self, MetadataError, SNAPSHOT, TARGETS, TIMESTAMP, snapshot_of, timestamp_of,
};
use super::signatures::{self, SignedBytes, Tally};
use super::standing;
use super::tuf::{self, RootFile, TufError};
use super::word::Word;

const ABOUT: &str = "stage.json";
const ROOT: &str = "root.json";
const MAX_ABOUT_BYTES: u64 = 64 * 1024;
/// The form of `stage.json` that this program writes and reads.
const SCHEMA: u32 = 1;

/// Why a prepared release cannot be made, read or changed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum StageError {
    /// The folder is none of ours.
    #[snafu(display(
        "{} has no {ABOUT}; give the folder that `updata release --prepare` made", dir.display()
    ))]
    NoStage { dir: PathBuf },
    /// The file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is damaged.
    #[snafu(display("{} is damaged; prepare the release again", path.display()))]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// Another version of the program wrote it.
    #[snafu(display("{} has schema {found}, this updata knows {SCHEMA}", path.display()))]
    Schema { path: PathBuf, found: u32 },
    /// A role before lacks signatures.
    #[snafu(display(
        "{role}.json in {} lacks {missing} signature(s); first run \
         `updata sign --role {role}` on it",
        dir.display()
    ))]
    Incomplete {
        role: RoleType,
        missing: u64,
        dir: PathBuf,
    },
    /// The next role states the digest of this one.
    #[snafu(display(
        "{next}.json in {} covers {role}.json as it is, which has all signatures it needs; \
         a further one would spoil it",
        dir.display()
    ))]
    Sealed {
        role: RoleType,
        next: RoleType,
        dir: PathBuf,
    },
    /// A file of the folder cannot be written.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
    /// A role of the folder is none.
    #[snafu(transparent)]
    Role { source: PublishedError },
    /// The folder's root role cannot be used.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// The next role cannot be made.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// The folder or a file cannot be made.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl StageError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Incomplete { .. } | Self::Sealed { .. } => true,
            Self::Durable { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// What a stage is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    schema: u32,
    /// The variant.
    pub variant: Word,
    /// The architecture.
    pub arch: Word,
    /// The targets role that it extends, by the digest of its file; none for a first release.
    pub base: Option<Digest>,
    /// The highest version that was published when it was prepared.
    pub highest_version: Option<u64>,
    /// How long the snapshot stays valid from its making.
    pub expires_snapshot: Period,
    /// How long the timestamp stays valid from its making.
    pub expires_timestamp: Period,
}

impl About {
    /// Of the present schema.
    pub fn new(
        variant: &Word,
        arch: &Word,
        base: Option<Digest>,
        highest_version: Option<u64>,
        periods: metadata::Periods,
    ) -> Self {
        Self {
            schema: SCHEMA,
            variant: variant.clone(),
            arch: arch.clone(),
            base,
            highest_version,
            expires_snapshot: periods.snapshot,
            expires_timestamp: periods.timestamp,
        }
    }
}

/// A prepared release, as its folder has it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The folder.
    pub dir: PathBuf,
    /// What it is for.
    pub about: About,
    /// The root role that it was prepared under.
    pub root: RootFile,
    /// The targets role.
    pub targets: SignedBytes<Targets>,
    /// The snapshot role, once made.
    pub snapshot: Option<SignedBytes<Snapshot>>,
    /// The timestamp role, once made.
    pub timestamp: Option<SignedBytes<Timestamp>>,
}

impl Stage {
    /// Makes the folder `dir`, whole or not at all.
    pub fn create(
        dir: &Path,
        about: &About,
        root: &RootFile,
        targets: &SignedBytes<Targets>,
    ) -> Result<(), StageError> {
        let path = dir.join(ABOUT);
        let about = serde_json::to_vec_pretty(about).context(ParseSnafu { path: &path })?;
        durable::create_dir_whole(dir, 0o755, |new| {
            for (name, bytes) in [
                (ABOUT, &about),
                (ROOT, &root.bytes),
                (TARGETS, targets.buffer()),
            ] {
                let path = new.join(name);
                fs::File::create_new(&path)
                    .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
                    .context(WriteSnafu { path })?;
            }
            Ok(())
        })
    }

    /// Reads the folder. The signatures are not judged here.
    pub fn read(dir: &Path) -> Result<Self, StageError> {
        let path = dir.join(ABOUT);
        let is_there = standing::is_there(&path).context(ReadSnafu { path: &path })?;
        ensure!(is_there, NoStageSnafu { dir });
        let bytes = bounded::read(&path, MAX_ABOUT_BYTES).context(ReadSnafu { path: &path })?;
        // The schema first: another one has other fields.
        let found = serde_json::from_slice::<Schema>(&bytes)
            .context(ParseSnafu { path: &path })?
            .schema;
        ensure!(found == SCHEMA, SchemaSnafu { path, found });
        let about = serde_json::from_slice(&bytes).context(ParseSnafu { path: &path })?;
        let root = RootFile::read(&dir.join(ROOT))?;
        let targets = published::read(&dir.join(TARGETS), MAX_TARGETS_BYTES)?;
        let mut stage = Self {
            dir: dir.to_path_buf(),
            about,
            root,
            targets,
            snapshot: read_if_there(&dir.join(SNAPSHOT))?,
            timestamp: read_if_there(&dir.join(TIMESTAMP))?,
        };
        // A role that does not cover the one before was made for another state of it, before that
        // was replaced; it is made anew.
        if let Some(snapshot) = &stage.snapshot
            && !covers(snapshot.role().meta.get(TARGETS), &stage.targets)
        {
            stage.snapshot = None;
        }
        if let Some(timestamp) = &stage.timestamp {
            let covered = stage
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| covers(timestamp.role().meta.get(SNAPSHOT), snapshot));
            if !covered {
                stage.timestamp = None;
            }
        }
        Ok(stage)
    }

    /// The signatures of the targets role.
    pub fn targets_tally(&self) -> Tally {
        signatures::tally(self.root.root(), self.targets.signed())
    }

    /// The targets role, while it may take a signature.
    ///
    /// # Errors
    /// [`StageError::Sealed`] once the snapshot is made.
    pub fn open_targets(&self) -> Result<&SignedBytes<Targets>, StageError> {
        ensure!(
            self.snapshot.is_none(),
            SealedSnafu {
                role: RoleType::Targets,
                next: RoleType::Snapshot,
                dir: &self.dir
            }
        );
        Ok(&self.targets)
    }

    /// The snapshot role, while it may take a signature; made with version and expiry of `now`
    /// where it is not there.
    ///
    /// # Errors
    /// [`StageError::Incomplete`] while the targets role lacks signatures, [`StageError::Sealed`]
    /// once the timestamp is made.
    pub fn open_snapshot(
        &self,
        now: DateTime<Utc>,
        highest: Option<u64>,
    ) -> Result<SignedBytes<Snapshot>, StageError> {
        self.ensure_targets_signed()?;
        ensure!(
            self.timestamp.is_none(),
            SealedSnafu {
                role: RoleType::Snapshot,
                next: RoleType::Timestamp,
                dir: &self.dir
            }
        );
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
        let expires = tuf::expiry(self.about.expires_snapshot, now)?;
        let version = self.version(now, highest)?;
        Ok(unsigned(snapshot_of(&self.targets, version, expires))?)
    }

    /// The timestamp role, as [`Stage::open_snapshot`] does.
    ///
    /// # Errors
    /// [`StageError::Incomplete`] while a role before lacks signatures.
    pub fn open_timestamp(
        &self,
        now: DateTime<Utc>,
        highest: Option<u64>,
    ) -> Result<SignedBytes<Timestamp>, StageError> {
        self.ensure_targets_signed()?;
        let incomplete = IncompleteSnafu {
            role: RoleType::Snapshot,
            missing: self.root.threshold(RoleType::Snapshot),
            dir: &self.dir,
        };
        let snapshot = self.snapshot.as_ref().context(incomplete)?;
        self.ensure_complete(&signatures::tally(self.root.root(), snapshot.signed()))?;
        if let Some(timestamp) = &self.timestamp {
            return Ok(timestamp.clone());
        }
        let expires = tuf::expiry(self.about.expires_timestamp, now)?;
        let version = self.version(now, highest)?.max(snapshot.role().version);
        Ok(unsigned(timestamp_of(snapshot, version, expires))?)
    }

    /// Puts a role with its new signatures into the folder.
    pub fn put<T: Role>(&self, role: &SignedBytes<T>) -> Result<(), StageError> {
        let path = self.dir.join(format!("{}.json", T::TYPE));
        Ok(durable::replace(&path, role.buffer())?)
    }

    /// Whether the targets role has all signatures that it needs.
    ///
    /// # Errors
    /// [`StageError::Incomplete`].
    pub fn ensure_targets_signed(&self) -> Result<(), StageError> {
        self.ensure_complete(&self.targets_tally())
    }

    fn ensure_complete(&self, tally: &Tally) -> Result<(), StageError> {
        let missing = tally.missing();
        ensure!(
            missing == 0,
            IncompleteSnafu {
                role: tally.role,
                missing,
                dir: &self.dir
            }
        );
        Ok(())
    }

    /// Above everything known to be published, and not below the targets role's.
    fn version(&self, now: DateTime<Utc>, highest: Option<u64>) -> Result<NonZeroU64, StageError> {
        let highest = highest.max(self.about.highest_version);
        let version = metadata::next_version(now, highest)?;
        Ok(version.max(self.targets.role().version))
    }
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// A role without a signature.
fn unsigned<T: Role>(role: T) -> Result<SignedBytes<T>, TufError> {
    SignedBytes::of(tough::schema::Signed {
        signed: role,
        signatures: Vec::new(),
    })
}

fn read_if_there<T: Role + DeserializeOwned>(
    path: &Path,
) -> Result<Option<SignedBytes<T>>, StageError> {
    if !standing::is_there(path).context(ReadSnafu { path })? {
        return Ok(None);
    }
    Ok(Some(published::read(path, MAX_SMALL_BYTES)?))
}

/// Whether a role leads to these very bytes.
fn covers<T: Role>(stated: Option<&tough::schema::Metafile>, role: &SignedBytes<T>) -> bool {
    stated
        .and_then(|meta| meta.hashes.as_ref())
        .is_some_and(|hashes| hashes.sha256[..] == role.sha256().as_bytes()[..])
}
