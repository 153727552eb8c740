//! `updata root publish`: puts the next root role into every metadata folder of a repository.
//!
//! Where it names other keys for timestamp, snapshot or targets, what they do not satisfy is signed
//! anew, its content unchanged. With the old keys at hand as well, both sign: then the new metadata
//! are valid under either root role, the root role is written after them, and a client finds a valid
//! repository at every moment.
//!
//! Without the old keys (one was stolen, or lost) there is one moment in which it does not: between
//! the rename of `N.root.json` and that of `timestamp.json`, which follows right after. A client that
//! asks for the first after it came and for the second before it did takes the new root role, refuses
//! the timestamp, and succeeds the next time. The format has no way around it: two files cannot be
//! renamed at once. Were the timestamp first, clients of the old root role would fail the same way.
//!
//! The present root role is asked for and not taken from the repository: whoever can write there
//! could put another one, and what is signed here would be theirs.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use snafu::{ResultExt, Snafu, ensure};
use tough::schema::{Role, RoleType, Root, Signed};

use super::durable::{self, DurableError};
use super::keyring::{KeyArgs, KeyringError, RoleKey};
use super::published::{self, Published, PublishedError};
use super::refresh::ExpiryArgs;
use super::release::existing;
use super::release::lock::{LockError, PublisherLock};
use super::release::metadata::{self, MetadataError, SignedMetadata, snapshot_of, timestamp_of};
use super::signatures::{self, SignedBytes};
use super::tuf::{self, RootFile, TufError};

/// The roles that may have to be signed anew.
const SIGNED_ROLES: [RoleType; 3] = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];

/// Which root role, to where, and who signs.
#[derive(Debug, Clone, Args)]
pub struct RootPublishArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The next root role, with all its signatures
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The root role that is published now, from where you keep it
    #[arg(long, value_name = "FILE")]
    pub old_root: PathBuf,
    /// The keys of the roles whose keys change; the new ones, and where they are not lost or stolen
    /// the old ones too
    #[command(flatten)]
    pub keys: KeyArgs,
    /// How long what is signed stays valid
    #[command(flatten)]
    pub expires: ExpiryArgs,
}

/// Why the root role is not published.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The versions do not follow each other.
    #[snafu(display(
        "{} is version {version}, {} is version {old}; publish one version after the other",
        path.display(), old_path.display()
    ))]
    NotNext {
        path: PathBuf,
        version: u64,
        old_path: PathBuf,
        old: u64,
    },
    /// Hosts would not follow.
    #[snafu(display(
        "hosts would not accept {}: it is not signed by enough root keys of {}; \
         add signatures with `updata sign --role root`",
        path.display(), old_path.display()
    ))]
    NotFollowing {
        path: PathBuf,
        old_path: PathBuf,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// Clients would ask for unversioned files.
    #[snafu(display(
        "the root role {} does not ask for consistent snapshots, which is all that updata writes",
        path.display()
    ))]
    NotConsistent { path: PathBuf },
    /// Every client would refuse the repository.
    #[snafu(display("the root role {} expired at {expires}", path.display()))]
    Expired { path: PathBuf, expires: String },
    /// A folder is at another version.
    #[snafu(display(
        "{} has a root role of version {published}; publish every version after the other",
        folder.display()
    ))]
    OtherVersion { folder: PathBuf, published: u64 },
    /// A role must be signed anew and cannot.
    #[snafu(display(
        "{} names other {role} keys than before, and {missing} signature(s) of them are missing; \
         give the keys by --keys or --key {role}=FILE",
        path.display()
    ))]
    MissingKeys {
        role: RoleType,
        missing: u64,
        path: PathBuf,
    },
    /// One folder stops them all, so that they do not end up with different root roles.
    #[snafu(display("nothing was written, since {} cannot follow", folder.display()))]
    Folder { folder: PathBuf, source: Box<Error> },
    /// There are no metadata at all.
    #[snafu(display("nothing is published in {}", repo.display()))]
    Nothing { repo: PathBuf },
    /// Another publisher is at work.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The published metadata cannot be used.
    #[snafu(transparent)]
    Published { source: PublishedError },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A root role cannot be used, or a role not be signed.
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
            Self::NotNext { .. }
            | Self::NotFollowing { .. }
            | Self::Expired { .. }
            | Self::OtherVersion { .. }
            | Self::MissingKeys { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            } => true,
            Self::Folder { source, .. } => source.is_refusal(),
            Self::Published { source } => source.is_refusal(),
            Self::Keyring { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// What was published.
#[derive(Debug, Clone, Serialize)]
pub struct RootPublishOutcome {
    /// The version of the root role.
    pub version: u64,
    /// Each folder of metadata, sorted.
    pub folders: Vec<RootedFolder>,
}

/// A metadata folder with the new root role.
#[derive(Debug, Clone, Serialize)]
pub struct RootedFolder {
    /// The folder.
    pub metadata: PathBuf,
    /// The roles that were signed anew, by the order of their writing.
    pub signed: Vec<RoleType>,
    /// Whether clients find a valid repository at every moment.
    pub seamless: bool,
    /// Whether the folder had the root role and valid metadata already.
    pub existed: bool,
}

/// Publishes. All folders are verified and signed before the first file is written. A stop leaves
/// each folder old or new but for the moment that the head of this module tells of, and the same
/// command finishes the job.
pub fn run(args: &RootPublishArgs, now: DateTime<Utc>) -> Result<RootPublishOutcome, Error> {
    let (old, new) = roots(args, now)?;
    let keys = args.keys.read_present(&SIGNED_ROLES)?;
    let _lock = PublisherLock::take(&args.repo)?;
    let folders = published::folders(&args.repo)?;
    ensure!(!folders.is_empty(), NothingSnafu { repo: &args.repo });
    let mut plans = Vec::new();
    for folder in &folders {
        let plan = plan(args, folder, &old, &new, &keys, now).map_err(|error| Error::Folder {
            folder: folder.clone(),
            source: Box::new(error),
        })?;
        plans.push(plan);
    }
    for (plan, folder) in plans.iter().zip(&folders) {
        match plan {
            Plan::Nothing => {}
            Plan::RootOnly => {
                let path = folder.join(existing::root_name(&new));
                durable::replace(&path, &new.bytes)?;
            }
            Plan::Sign { files, .. } => files.write(folder)?,
        }
    }
    let told = |(plan, folder): (Plan, PathBuf)| {
        let (signed, seamless) = match &plan {
            Plan::Nothing | Plan::RootOnly => (Vec::new(), true),
            Plan::Sign {
                signed, seamless, ..
            } => (signed.clone(), *seamless),
        };
        RootedFolder {
            metadata: folder,
            signed,
            seamless,
            existed: matches!(plan, Plan::Nothing),
        }
    };
    Ok(RootPublishOutcome {
        version: new.root().version.get(),
        folders: plans.into_iter().zip(folders).map(told).collect(),
    })
}

/// Both root roles, of which hosts that have the first accept the second.
fn roots(args: &RootPublishArgs, now: DateTime<Utc>) -> Result<(RootFile, RootFile), Error> {
    let old = RootFile::read(&args.old_root)?;
    let new = RootFile::read(&args.root_role)?;
    let (path, old_path) = (&new.path, &old.path);
    let versions = (old.root().version.get(), new.root().version.get());
    ensure!(
        versions.0.checked_add(1) == Some(versions.1),
        NotNextSnafu {
            path,
            version: versions.1,
            old_path,
            old: versions.0
        }
    );
    old.root()
        .verify_role(&new.signed)
        .context(NotFollowingSnafu { path, old_path })?;
    ensure!(new.root().consistent_snapshot, NotConsistentSnafu { path });
    let expires = new.root().expires;
    ensure!(
        tuf::to_jiff(now).is_some_and(|now| now < expires),
        ExpiredSnafu {
            path,
            expires: expires.to_string()
        }
    );
    Ok((old, new))
}

/// What a folder needs.
enum Plan {
    /// It has the root role, and metadata that verify under it.
    Nothing,
    /// The metadata verify under both root roles.
    RootOnly,
    /// These files, in their order.
    Sign {
        files: SignedMetadata,
        signed: Vec<RoleType>,
        seamless: bool,
    },
}

fn plan(
    args: &RootPublishArgs,
    folder: &Path,
    old: &RootFile,
    new: &RootFile,
    keys: &[RoleKey],
    now: DateTime<Utc>,
) -> Result<Plan, Error> {
    let published = published::newest_root(folder)?.unwrap_or(0);
    let has_new = published == new.root().version.get();
    ensure!(
        has_new || published == old.root().version.get(),
        OtherVersionSnafu { folder, published }
    );
    if has_new {
        published::ensure_same_root(folder, new)?;
        // The usual case after a run that was cut off in another folder.
        match Published::load(folder, new) {
            Ok(_) => return Ok(Plan::Nothing),
            Err(PublishedError::Unverified { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    published::ensure_same_root(folder, old)?;
    let Some(metadata) = Published::load(folder, old)? else {
        return Ok(Plan::RootOnly);
    };
    let valid = |role: Result<(), tough::schema::Error>| role.is_ok();
    let root = new.root();
    let keep_targets = valid(root.verify_role(metadata.targets.signed()));
    let keep_snapshot = keep_targets && valid(root.verify_role(metadata.snapshot.signed()));
    if keep_snapshot && valid(root.verify_role(metadata.timestamp.signed())) {
        return Ok(Plan::RootOnly);
    }
    let version = metadata::next_version(now, Some(metadata.highest_version()))?;
    let periods = args.expires.periods();
    let mut signed = Vec::new();
    let mut seamless = true;
    let roots = [old.root(), root];

    let mut targets = metadata.targets.clone();
    if !keep_targets {
        let mut role = targets.role().clone();
        role.version = version;
        role.expires = tuf::expiry(periods.targets, now)?;
        targets = sign(role, roots, keys, new, &mut seamless)?;
        signed.push(RoleType::Targets);
    }
    let mut snapshot = metadata.snapshot.clone();
    if !keep_snapshot {
        let role = snapshot_of(&targets, version, tuf::expiry(periods.snapshot, now)?);
        snapshot = sign(role, roots, keys, new, &mut seamless)?;
        signed.push(RoleType::Snapshot);
    }
    let role = timestamp_of(&snapshot, version, tuf::expiry(periods.timestamp, now)?);
    let timestamp = sign(role, roots, keys, new, &mut seamless)?;
    signed.push(RoleType::Timestamp);

    let rehearsed = |root| SignedMetadata::rehearsed(root, &targets, &snapshot, &timestamp);
    let mut files = tuf::block_on(rehearsed(new))??;
    if seamless && !has_new {
        tuf::block_on(rehearsed(old))??;
        files.root_last();
    } else {
        files.root_before_timestamp();
    }
    Ok(Plan::Sign {
        files,
        signed,
        seamless: seamless && !has_new,
    })
}

/// Signs for both root roles as far as the keys go; the new one must be satisfied. `seamless` stays
/// only if the old one is as well.
fn sign<T: Role>(
    role: T,
    roots: [&Root; 2],
    keys: &[RoleKey],
    new: &RootFile,
    seamless: &mut bool,
) -> Result<SignedBytes<T>, Error> {
    let mut signed = Signed {
        signed: role,
        signatures: Vec::new(),
    };
    tuf::block_on(signatures::add(&mut signed, &roots, keys))??;
    let missing = roots.map(|root| signatures::tally(root, &signed).missing());
    ensure!(
        missing[1] == 0,
        MissingKeysSnafu {
            role: T::TYPE,
            missing: missing[1],
            path: &new.path
        }
    );
    *seamless &= missing[0] == 0;
    Ok(SignedBytes::of(signed)?)
}

impl fmt::Display for RootPublishOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for folder in &self.folders {
            write!(
                f,
                "{separator}{}: root version {}",
                folder.metadata.display(),
                self.version
            )?;
            separator = "\n";
            if folder.existed {
                f.write_str(", was there")?;
            }
            for (at, role) in folder.signed.iter().enumerate() {
                let before = if at == 0 { ", signed anew: " } else { ", " };
                write!(f, "{before}{role}")?;
            }
        }
        Ok(())
    }
}
