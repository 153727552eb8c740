//! `updata publish`: puts a prepared release into its repository once it has its signatures.
//!
//! The targets files are there since `release --prepare`. Here the snapshot and timestamp roles are
//! made and signed, unless signers brought them, everything is loaded as a client would, and the
//! files are written with `timestamp.json` last. A repository whose targets moved on meanwhile is
//! left alone; one that was only refreshed is not in the way.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::{Role, RoleType, Root, Snapshot, Timestamp};

use super::durable::DurableError;
use super::keyring::{KeyArgs, KeyringError, RoleKey};
use super::published::{self, Published, PublishedError};
use super::release::lock::{LockError, PublisherLock};
use super::release::metadata::{Expiries, MetadataError, SignedMetadata};
use super::signatures::{self, SignedBytes};
use super::stage::{Stage, StageError};
use super::standing::{Leftovers, Standing, StandingError};
use super::tuf::{self, RootFile, TufError};
use super::word::TARGETS_FOLDER;

/// The roles that may be signed here.
const SIGNED_ROLES: [RoleType; 2] = [RoleType::Snapshot, RoleType::Timestamp];

/// Which release, to where, with what keys.
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    /// The folder that `updata release --prepare` made
    #[arg(long, value_name = "DIR")]
    pub staged: PathBuf,
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The newest root role
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The snapshot and timestamp keys, for what signers did not sign with `updata sign`
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Why nothing was published.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The folder was prepared under another root role.
    #[snafu(display(
        "{} was prepared under another root role than {}; prepare the release again",
        staged.display(), root.display()
    ))]
    OtherRoot { staged: PathBuf, root: PathBuf },
    /// Something else was published since.
    #[snafu(display(
        "{} has other targets than {} was prepared on; prepare the release again",
        folder.display(), staged.display()
    ))]
    MovedOn { folder: PathBuf, staged: PathBuf },
    /// A role that signers brought is older than what is published.
    #[snafu(display(
        "{role}.json in {} is version {version}, {} has {published} already; \
         remove snapshot.json and timestamp.json from the former and sign them again",
        staged.display(), folder.display()
    ))]
    Overtaken {
        role: RoleType,
        version: u64,
        published: u64,
        staged: PathBuf,
        folder: PathBuf,
    },
    /// Signatures are missing.
    #[snafu(display(
        "the {role} role lacks {missing} signature(s); give more keys, or let the others run \
         `updata sign --staged {} --role {role}`",
        staged.display()
    ))]
    Missing {
        role: RoleType,
        missing: u64,
        staged: PathBuf,
    },
    /// No client would accept it.
    #[snafu(display("{what} expired at {expires}; {advice}"))]
    Expired {
        what: String,
        expires: String,
        advice: &'static str,
    },
    /// A target is not where clients will ask for it.
    #[snafu(display(
        "the target {} is not there with {length} bytes; prepare the release again", path.display()
    ))]
    NoTarget { path: PathBuf, length: u64 },
    /// A target cannot be looked at.
    #[snafu(display("looking at the target {}", path.display()))]
    LookAt { path: PathBuf, source: io::Error },
    /// Another publisher is at work.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The prepared release cannot be published.
    #[snafu(transparent)]
    Stage { source: StageError },
    /// The repository cannot be extended.
    #[snafu(transparent)]
    Published { source: PublishedError },
    /// It is not known what is published.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A role cannot be signed.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// A client would refuse the result.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// A file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::OtherRoot { .. }
            | Self::MovedOn { .. }
            | Self::Overtaken { .. }
            | Self::Missing { .. }
            | Self::Expired { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            } => true,
            Self::Stage { source } => source.is_refusal(),
            Self::Published { source } => source.is_refusal(),
            Self::Standing { source } => source.is_refusal(),
            Self::Keyring { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// The published release.
#[derive(Debug, Clone, Serialize)]
pub struct PublishOutcome {
    /// The folder of the metadata.
    pub metadata: PathBuf,
    /// The version of the targets role.
    pub targets_version: u64,
    /// How many targets it lists.
    pub targets: usize,
    /// When the roles stop being valid; none when it was published before.
    pub expires: Option<Expiries>,
    /// Whether it was published before, and nothing was done.
    pub existed: bool,
}

/// Publishes. A stop anywhere leaves the old repository valid, and the same command finishes the
/// job.
pub fn run(args: &PublishArgs, now: DateTime<Utc>) -> Result<PublishOutcome, Error> {
    let root = RootFile::read(&args.root_role)?;
    let stage = Stage::read(&args.staged)?;
    let staged = &args.staged;
    ensure!(
        root.bytes == stage.root.bytes,
        OtherRootSnafu {
            staged,
            root: &root.path
        }
    );
    let keys = args.keys.read_present(&SIGNED_ROLES)?;

    let _lock = PublisherLock::take(&args.repo)?;
    let folder = args
        .repo
        .join(stage.about.variant.as_str())
        .join(stage.about.arch.as_str());
    let (published, leftovers) = load(&folder, &root, &stage)?;
    let mut outcome = PublishOutcome {
        metadata: folder.clone(),
        targets_version: stage.targets.role().version.get(),
        targets: stage.targets.role().targets.len(),
        expires: None,
        existed: false,
    };
    let present = published.as_ref().map(|old| old.targets.sha256());
    if present == Some(stage.targets.sha256()) {
        outcome.existed = true;
        return Ok(outcome);
    }
    ensure!(
        present == stage.about.base,
        MovedOnSnafu {
            folder: &folder,
            staged
        }
    );
    stage.ensure_targets_signed()?;
    ensure_unexpired(
        &format!("the root role {}", root.path.display()),
        root.root().expires,
        now,
        "publish a new one first",
    )?;
    ensure_unexpired(
        &format!("targets.json in {}", staged.display()),
        stage.targets.role().expires,
        now,
        "prepare the release again",
    )?;
    ensure_targets(&args.repo.join(TARGETS_FOLDER), &stage)?;

    let highest = published.as_ref().map(Published::highest_version);
    let highest = highest.max(leftovers.highest);
    let (snapshot, timestamp) = sign_rest(stage.clone(), &keys, highest, now)?;
    refuse_overtaken(&stage, published.as_ref(), &snapshot, &timestamp, &folder)?;
    ensure_unexpired("the snapshot", snapshot.role().expires, now, SIGN_AGAIN)?;
    ensure_unexpired("the timestamp", timestamp.role().expires, now, SIGN_AGAIN)?;
    let signed = tuf::block_on(SignedMetadata::rehearsed(
        &root,
        &stage.targets,
        &snapshot,
        &timestamp,
    ))??;
    leftovers.remove()?;
    signed.write(&folder)?;
    outcome.expires = Some(Expiries {
        targets: tuf::from_jiff(stage.targets.role().expires),
        snapshot: tuf::from_jiff(snapshot.role().expires),
        timestamp: tuf::from_jiff(timestamp.role().expires),
    });
    Ok(outcome)
}

const SIGN_AGAIN: &str =
    "remove snapshot.json and timestamp.json from the prepared folder and sign them again";

/// What is published, if anything, under this very root role; or what an earlier run left that did
/// not get to its end.
fn load(
    folder: &Path,
    root: &RootFile,
    stage: &Stage,
) -> Result<(Option<Published>, Leftovers), Error> {
    let targets = &stage.targets.role().targets;
    let planned: Vec<String> = targets.keys().map(|name| name.raw().to_owned()).collect();
    let leftovers = match Standing::of(folder, &planned)? {
        Standing::Published => {
            return Ok((Published::load_newest(folder, root)?, Leftovers::default()));
        }
        Standing::Nothing => Leftovers::default(),
        Standing::Unfinished(leftovers) => leftovers,
        Standing::Lost(files) => {
            let folder = folder.to_path_buf();
            return Err(StandingError::Lost { folder, files }.into());
        }
    };
    // A root role is published before everything else, perhaps alone.
    if folder.is_dir() && published::newest_root(folder)?.is_some() {
        published::ensure_newest_root(folder, root)?;
    }
    Ok((None, leftovers))
}

/// The snapshot and timestamp roles: those that signers completed, the others made and signed here.
fn sign_rest(
    mut stage: Stage,
    keys: &[RoleKey],
    highest: Option<u64>,
    now: DateTime<Utc>,
) -> Result<(SignedBytes<Snapshot>, SignedBytes<Timestamp>), Error> {
    let staged = stage.dir.clone();
    let root = stage.root.root().clone();
    let complete = stage
        .snapshot
        .as_ref()
        .is_some_and(|snapshot| signatures::tally(&root, snapshot.signed()).is_complete());
    if !complete {
        stage.timestamp = None;
        let snapshot = stage.open_snapshot(now, highest)?;
        stage.snapshot = Some(complete_with(&root, snapshot, keys, &staged)?);
    }
    let timestamp = stage.open_timestamp(now, highest)?;
    let timestamp = complete_with(&root, timestamp, keys, &staged)?;
    let missing = MissingSnafu {
        role: RoleType::Snapshot,
        missing: stage.root.threshold(RoleType::Snapshot),
        staged: &staged,
    };
    Ok((stage.snapshot.context(missing)?, timestamp))
}

fn complete_with<T: Role + Clone>(
    root: &Root,
    role: SignedBytes<T>,
    keys: &[RoleKey],
    staged: &Path,
) -> Result<SignedBytes<T>, Error> {
    let mut signed = role.signed().clone();
    let added = tuf::block_on(signatures::add(&mut signed, &[root], keys))??;
    let missing = signatures::tally(root, &signed).missing();
    ensure!(
        missing == 0,
        MissingSnafu {
            role: T::TYPE,
            missing,
            staged
        }
    );
    if added.is_empty() {
        return Ok(role);
    }
    Ok(SignedBytes::of(signed)?)
}

fn refuse_overtaken(
    stage: &Stage,
    published: Option<&Published>,
    snapshot: &SignedBytes<Snapshot>,
    timestamp: &SignedBytes<Timestamp>,
    folder: &Path,
) -> Result<(), Error> {
    let Some(old) = published else { return Ok(()) };
    for (role, version, published) in [
        (
            RoleType::Snapshot,
            snapshot.role().version,
            old.snapshot.role().version,
        ),
        (
            RoleType::Timestamp,
            timestamp.role().version,
            old.timestamp.role().version,
        ),
    ] {
        ensure!(
            version > published,
            OvertakenSnafu {
                role,
                version: version.get(),
                published: published.get(),
                staged: &stage.dir,
                folder
            }
        );
    }
    Ok(())
}

/// Every target is where clients will ask for it, with its length. Its digest was that of its name
/// when it was placed.
fn ensure_targets(folder: &Path, stage: &Stage) -> Result<(), Error> {
    for (name, target) in &stage.targets.role().targets {
        let digest = hex::encode(&target.hashes.sha256);
        let path = folder.join(format!("{digest}.{}", name.resolved()));
        let length = target.length;
        match fs::metadata(&path) {
            Ok(found) => ensure!(found.len() == length, NoTargetSnafu { path, length }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return NoTargetSnafu { path, length }.fail();
            }
            Err(source) => return Err(source).context(LookAtSnafu { path }),
        }
    }
    Ok(())
}

fn ensure_unexpired(
    what: &str,
    expires: jiff::Timestamp,
    now: DateTime<Utc>,
    advice: &'static str,
) -> Result<(), Error> {
    ensure!(
        tuf::to_jiff(now).is_some_and(|now| now < expires),
        ExpiredSnafu {
            what,
            expires: expires.to_string(),
            advice
        }
    );
    Ok(())
}

impl fmt::Display for PublishOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.metadata.display();
        let (version, targets) = (self.targets_version, self.targets);
        match &self.expires {
            None => write!(
                f,
                "{folder}: targets version {version} was published before"
            ),
            Some(expires) => write!(
                f,
                "{folder}: published targets version {version} with {targets} targets, valid until \
                 {} unless refreshed",
                expires.timestamp.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
        }
    }
}
