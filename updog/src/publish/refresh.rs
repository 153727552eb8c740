//! `updata refresh`: new expiries for what is published, with the snapshot and timestamp keys alone.
//!
//! Made for a daily job: one command for one variant and architecture, or for all of a repository.
//! Every folder is refreshed that can be, each verified first and written with `timestamp.json` last,
//! as `updata release` does. A folder that cannot be is left as it was and told of at the end: its
//! hosts are no better off if the others run out of time as well.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{ArgGroup, Args};
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::RoleType;

use super::durable::DurableError;
use super::keyring::{KeyArgs, KeyringError, RoleKey};
use super::period::Period;
use super::published::{self, Published, PublishedError};
use super::release::lock::{LockError, PublisherLock};
use super::release::metadata::{
    self, Expiries, MetadataError, Periods, SignedMetadata, snapshot_of, timestamp_of,
};
use super::tuf::{self, RootFile, TufError};
use super::word::Word;
use crate::exit::{self, Exit};

/// What is refreshed, signed with what.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("signers").args(["keys", "key"]).required(true).multiple(true))]
pub struct RefreshArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The newest root role
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The snapshot and timestamp keys, and with --targets the targets keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Only this variant
    #[arg(long, requires = "arch")]
    pub variant: Option<Word>,
    /// Only this architecture
    #[arg(long, requires = "variant")]
    pub arch: Option<Word>,
    /// Sign targets.json anew as well
    #[arg(long)]
    pub targets: bool,
    /// How long each role stays valid
    #[command(flatten)]
    pub expires: ExpiryArgs,
}

/// How long each role stays valid: weeks, days or hours.
#[derive(Debug, Clone, Copy, Args)]
pub struct ExpiryArgs {
    /// How long targets.json stays valid, where it is signed: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(2))]
    pub expires_targets: Period,
    /// How long snapshot.json stays valid
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(2))]
    pub expires_snapshot: Period,
    /// How long timestamp.json stays valid
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(1))]
    pub expires_timestamp: Period,
}

impl ExpiryArgs {
    /// The same for what signs.
    pub fn periods(self) -> Periods {
        Periods {
            targets: self.expires_targets,
            snapshot: self.expires_snapshot,
            timestamp: self.expires_timestamp,
        }
    }
}

/// Why nothing was refreshed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// Every client would refuse the repository all the same.
    #[snafu(display(
        "the root role {} expired at {expires}; make the next one with `updata root rotate`",
        path.display()
    ))]
    RootExpired { path: PathBuf, expires: String },
    /// A new timestamp would not help.
    #[snafu(display(
        "targets.json in {} expired at {expires}; sign it too, with --targets and the targets key",
        folder.display()
    ))]
    TargetsExpired { folder: PathBuf, expires: String },
    /// A role could not be signed.
    #[snafu(display(
        "{needed} of the {role} keys that {} names must sign, {place} has {usable}", root.display()
    ))]
    TooFewKeys {
        role: RoleType,
        needed: u64,
        usable: u64,
        place: String,
        root: PathBuf,
    },
    /// There are no metadata at all.
    #[snafu(display("nothing is published in {}", folder.display()))]
    Nothing { folder: PathBuf },
    /// Another publisher is at work.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The published metadata cannot be used.
    #[snafu(transparent)]
    Published { source: PublishedError },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A role cannot be signed.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// The metadata cannot be made.
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
            Self::RootExpired { .. }
            | Self::TargetsExpired { .. }
            | Self::TooFewKeys { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            } => true,
            Self::Published { source } => source.is_refusal(),
            Self::Keyring { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// What was refreshed.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshOutcome {
    /// Each folder of metadata that was refreshed, sorted.
    pub folders: Vec<Refreshed>,
    /// Each folder that was not, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<NotRefreshed>,
    /// What will run out although this was done.
    pub warnings: Vec<String>,
}

/// A folder of metadata with new expiries.
#[derive(Debug, Clone, Serialize)]
pub struct Refreshed {
    /// The folder.
    pub metadata: PathBuf,
    /// The version of the new snapshot and timestamp.
    pub version: u64,
    /// The version of the targets role, the same as before without `--targets`.
    pub targets_version: u64,
    /// When the roles stop being valid.
    pub expires: Expiries,
}

/// A folder of metadata that is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRefreshed {
    /// The folder.
    pub metadata: PathBuf,
    /// Why, with all its causes.
    pub error: String,
    /// Whether a rule forbade it, rather than the machine failing.
    pub refused: bool,
}

impl RefreshOutcome {
    /// How a program ends that tells this: as one that refused only if rules forbade all that is
    /// missing.
    pub fn exit(&self) -> Exit {
        if self.failures.is_empty() {
            Exit::Done
        } else if self.failures.iter().all(|failure| failure.refused) {
            Exit::Refused
        } else {
            Exit::Failed
        }
    }

    /// What was not done, a line each, for a log.
    pub fn lines(&self) -> Vec<String> {
        let line = |failure: &NotRefreshed| {
            let NotRefreshed {
                metadata, error, ..
            } = failure;
            format!("{} was not refreshed: {error}", metadata.display())
        };
        self.failures.iter().map(line).collect()
    }
}

/// Refreshes. A stop anywhere leaves each folder valid as it was, or refreshed.
///
/// # Errors
/// What forbids to refresh any folder, and what is wrong with the only one that there is. Of several
/// folders, those that fail are in the outcome.
pub fn run(args: &RefreshArgs, now: DateTime<Utc>) -> Result<RefreshOutcome, Error> {
    let root = RootFile::read(&args.root_role)?;
    let root_expires = root.root().expires;
    ensure!(
        tuf::to_jiff(now).is_some_and(|now| now < root_expires),
        RootExpiredSnafu {
            path: &root.path,
            expires: root_expires.to_string()
        }
    );
    let mut roles = vec![RoleType::Snapshot, RoleType::Timestamp];
    if args.targets {
        roles.push(RoleType::Targets);
    }
    let keys = args.keys.read(&roles)?;
    ensure_signers(&root, &keys, &roles, &args.keys)?;

    let _lock = PublisherLock::take(&args.repo)?;
    let (folders, place) = match (&args.variant, &args.arch) {
        (Some(variant), Some(arch)) => {
            let folder = args.repo.join(variant.as_str()).join(arch.as_str());
            (vec![folder.clone()], folder)
        }
        _ => (published::folders(&args.repo)?, args.repo.clone()),
    };
    let mut outcome = RefreshOutcome {
        folders: Vec::new(),
        failures: Vec::new(),
        warnings: Vec::new(),
    };
    let is_only = folders.len() == 1;
    for folder in folders {
        let refreshed = match refresh(args, &folder, &root, &keys, now) {
            Ok(Some(refreshed)) => refreshed,
            Ok(None) => continue,
            Err(error) if is_only => return Err(error),
            Err(error) => {
                outcome.failures.push(NotRefreshed {
                    metadata: folder,
                    error: exit::chain(&error),
                    refused: error.is_refusal(),
                });
                continue;
            }
        };
        let Expiries {
            targets, timestamp, ..
        } = refreshed.expires;
        if targets < timestamp {
            outcome.warnings.push(format!(
                "targets.json in {} expires at {}, before the new timestamp.json; sign it too, \
                 with --targets",
                refreshed.metadata.display(),
                seconds(targets)
            ));
        }
        outcome.folders.push(refreshed);
    }
    ensure!(
        !(outcome.folders.is_empty() && outcome.failures.is_empty()),
        NothingSnafu { folder: place }
    );
    let root_expires = tuf::from_jiff(root_expires);
    if outcome
        .folders
        .iter()
        .any(|folder| root_expires < folder.expires.timestamp)
    {
        outcome.warnings.push(format!(
            "the root role {} expires at {}; make the next one with `updata root rotate`",
            root.path.display(),
            seconds(root_expires)
        ));
    }
    Ok(outcome)
}

/// Whether the keys of each role are enough.
fn ensure_signers(
    root: &RootFile,
    keys: &[RoleKey],
    roles: &[RoleType],
    given: &KeyArgs,
) -> Result<(), Error> {
    for &role in roles {
        let needed = root.threshold(role);
        let of_role = keys.iter().filter(|key| key.role == role);
        let usable = of_role.filter(|key| key.id_in(root.root()).is_some());
        let usable = u64::try_from(usable.count()).unwrap_or(u64::MAX);
        ensure!(
            usable >= needed,
            TooFewKeysSnafu {
                role,
                needed,
                usable,
                place: given.place(),
                root: &root.path
            }
        );
    }
    Ok(())
}

/// Refreshes one folder; none that has only a root role, of which no client knows.
fn refresh(
    args: &RefreshArgs,
    folder: &Path,
    root: &RootFile,
    keys: &[RoleKey],
    now: DateTime<Utc>,
) -> Result<Option<Refreshed>, Error> {
    let Some(published) = Published::load_newest(folder, root)? else {
        return Ok(None);
    };
    let folder = folder.to_path_buf();
    let (files, refreshed) = signed(args, folder, &published, root, keys, now)?;
    files.write(&refreshed.metadata)?;
    Ok(Some(refreshed))
}

/// The new metadata of a folder, loaded as a client would.
fn signed(
    args: &RefreshArgs,
    folder: PathBuf,
    published: &Published,
    root: &RootFile,
    keys: &[RoleKey],
    now: DateTime<Utc>,
) -> Result<(SignedMetadata, Refreshed), Error> {
    let periods = args.expires.periods();
    let version = metadata::next_version(now, Some(published.highest_version()))?;
    let mut expires = Expiries::of(periods, now)?;
    if !args.targets {
        let old = published.targets.role().expires;
        ensure!(
            tuf::to_jiff(now).is_some_and(|now| now < old),
            TargetsExpiredSnafu {
                folder: &folder,
                expires: old.to_string()
            }
        );
        expires.targets = tuf::from_jiff(old);
    }
    let end = |period| tuf::expiry(period, now);
    let signed = tuf::block_on(async {
        let targets = if args.targets {
            let mut role = published.targets.role().clone();
            role.version = version;
            role.expires = end(periods.targets)?;
            tuf::sign(role, root.root(), keys).await?
        } else {
            published.targets.clone()
        };
        let snapshot = snapshot_of(&targets, version, end(periods.snapshot)?);
        let snapshot = tuf::sign(snapshot, root.root(), keys).await?;
        let timestamp = timestamp_of(&snapshot, version, end(periods.timestamp)?);
        let timestamp = tuf::sign(timestamp, root.root(), keys).await?;
        let signed = SignedMetadata::rehearsed(root, &targets, &snapshot, &timestamp).await?;
        Ok::<_, Error>((signed, targets.role().version))
    })?;
    let (signed, targets_version) = signed?;
    let refreshed = Refreshed {
        metadata: folder,
        version: version.get(),
        targets_version: targets_version.get(),
        expires,
    };
    Ok((signed, refreshed))
}

fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl fmt::Display for RefreshOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.folders.is_empty() {
            f.write_str("nothing was refreshed")?;
        }
        for folder in &self.folders {
            write!(
                f,
                "{separator}{}: version {}, valid until {}",
                folder.metadata.display(),
                folder.version,
                seconds(folder.expires.timestamp.min(folder.expires.targets))
            )?;
            separator = "\n";
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
