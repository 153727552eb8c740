//! `updata root rotate`: the next root role, with other keys, thresholds or a later expiry.
//!
//! Hosts follow the chain of root roles one version at a time, so the next one is signed for two
//! readers: by as many keys of the present root as that demands, for hosts that come from there,
//! and by as many of its own. What is missing is said, and `updata sign --role root` adds it. The
//! repository gets the role by `updata root publish`; here only a file is written.

mod successor;

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::{RoleType, Signed};

use self::successor::{Changes, compared, successor};
pub use self::successor::{RoleKeyId, RoleKeyIdError};
use super::durable::{self, DurableError};
use super::key_file::{KeyFileError, KeyType};
use super::keyring::{KeyArgs, KeyringError, RoleFile, RoleKey};
use super::period::Period;
use super::signatures::{self, SignedBytes};
use super::tuf::{self, RootFile, TufError};

/// What changes, and who signs.
#[derive(Debug, Clone, Args)]
pub struct RootRotateArgs {
    /// The newest root role
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The root keys that sign, old ones and new ones
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Name one key more for a role; FILE is a private or a public key. May be given several times
    #[arg(long, value_name = "ROLE=FILE")]
    pub add: Vec<RoleFile>,
    /// Name these keys for a role instead of all its present ones. May be given several times
    #[arg(long, value_name = "ROLE=FILE")]
    pub replace: Vec<RoleFile>,
    /// Name a key no more: ID is its id, or the first 8 digits or more of it. May be given several
    /// times
    #[arg(long, value_name = "ROLE=ID")]
    pub remove: Vec<RoleKeyId>,
    /// How many of the root keys must sign from now on; without it as many as now
    #[arg(long, value_name = "N")]
    pub threshold: Option<NonZeroU64>,
    /// How many of the targets keys
    #[arg(long, value_name = "N")]
    pub targets_threshold: Option<NonZeroU64>,
    /// How many of the snapshot keys
    #[arg(long, value_name = "N")]
    pub snapshot_threshold: Option<NonZeroU64>,
    /// How many of the timestamp keys
    #[arg(long, value_name = "N")]
    pub timestamp_threshold: Option<NonZeroU64>,
    /// How long the root role stays valid: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(52))]
    pub expires: Period,
    /// Write it although signatures are missing; `updata sign --role root` adds them
    #[arg(long)]
    pub partial: bool,
}

/// Why there is no next root role.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// A key is named already.
    #[snafu(display("{} is a {role} key already; name each key once", path.display()))]
    Named { role: RoleType, path: PathBuf },
    /// A key is named for another role, or is given twice.
    #[snafu(display(
        "{} would be a {role} key and a {other} key; every role needs keys of its own",
        path.display()
    ))]
    Shared {
        role: RoleType,
        other: RoleType,
        path: PathBuf,
    },
    /// The key to remove is not there.
    #[snafu(display("the root role names no {role} key {id}; `updata inspect` lists them"))]
    NoSuchKey { role: RoleType, id: String },
    /// Several keys begin like that.
    #[snafu(display("{id} is the beginning of several {role} keys; give more digits"))]
    Ambiguous { role: RoleType, id: String },
    /// The threshold can never be met.
    #[snafu(display(
        "{threshold} of the {role} keys would have to sign and there would be {found}; \
         give more keys by --add {role}=FILE, or a lower threshold"
    ))]
    TooFewKeys {
        role: RoleType,
        threshold: u64,
        found: u64,
    },
    /// There is no version above.
    #[snafu(display("the root role has the highest version there is"))]
    NoVersion,
    /// Not enough private keys are here.
    #[snafu(display(
        "{old} signature(s) of the present root keys and {new} of the new ones would be missing; \
         give the keys by --keys or --key root=FILE, or write it with --partial and let the others \
         run `updata sign --role root`"
    ))]
    Unsigned { old: u64, new: u64 },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A key to add cannot be used.
    #[snafu(transparent)]
    File { source: KeyFileError },
    /// The present root role cannot be used, or the next one not be signed.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// The file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unsigned { .. } | Self::Named { .. } | Self::Shared { .. } => true,
            Self::Keyring { source } => source.is_refusal(),
            Self::Durable { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Named before and after.
    Kept,
    /// Named from now on.
    Added,
    /// Named no more.
    Removed,
}

/// A key of the old or the new root role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotatedKey {
    /// What it is for.
    pub role: RoleType,
    /// Its id.
    pub key_id: String,
    /// Its kind.
    pub key_type: KeyType,
    /// What becomes of it.
    pub change: Change,
}

/// The root role that was written.
#[derive(Debug, Clone, Serialize)]
pub struct RootRotateOutcome {
    /// Its file.
    pub file: PathBuf,
    /// Its version.
    pub version: u64,
    /// When it stops being valid.
    pub expires: DateTime<Utc>,
    /// All keys, the removed ones too, by role.
    pub keys: Vec<RotatedKey>,
    /// How many signatures of the old root keys are missing.
    pub missing_old: u64,
    /// How many signatures of its own root keys are missing.
    pub missing_new: u64,
    /// The file that it follows.
    pub follows: PathBuf,
}

/// Writes the version after `args.root_role`, signed by the root keys that are given.
pub fn run(args: &RootRotateArgs, now: DateTime<Utc>) -> Result<RootRotateOutcome, Error> {
    durable::refuse_existing(&args.out)?;
    let old = RootFile::read(&args.root_role)?;
    let (add, replace) = (read_all(&args.add)?, read_all(&args.replace)?);
    let next = successor(
        old.root(),
        &Changes {
            add: &add,
            replace: &replace,
            remove: &args.remove,
            threshold: |role| match role {
                RoleType::Root => args.threshold,
                RoleType::Snapshot => args.snapshot_threshold,
                RoleType::Timestamp => args.timestamp_threshold,
                RoleType::Targets | RoleType::DelegatedTargets => args.targets_threshold,
            },
            expires: tuf::expiry(args.expires, now)?,
        },
    )?;

    let mut signers = args.keys.read_present(&[RoleType::Root])?;
    signers.extend(add.into_iter().chain(replace));
    let mut signed = Signed {
        signed: next.clone(),
        signatures: Vec::new(),
    };
    tuf::block_on(signatures::add(&mut signed, &[old.root(), &next], &signers))??;
    let missing_old = signatures::tally(old.root(), &signed).missing();
    let missing_new = signatures::tally(&next, &signed).missing();
    ensure!(
        args.partial || missing_old == 0 && missing_new == 0,
        UnsignedSnafu {
            old: missing_old,
            new: missing_new
        }
    );
    durable::create(&args.out, SignedBytes::of(signed)?.buffer())?;
    Ok(RootRotateOutcome {
        file: args.out.clone(),
        version: next.version.get(),
        expires: tuf::end_of(args.expires, now)?,
        keys: compared(old.root(), &next),
        missing_old,
        missing_new,
        follows: args.root_role.clone(),
    })
}

fn read_all(files: &[RoleFile]) -> Result<Vec<RoleKey>, KeyFileError> {
    files.iter().map(RoleKey::read_any).collect()
}

impl fmt::Display for RootRotateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            let sign = match key.change {
                Change::Kept => ' ',
                Change::Added => '+',
                Change::Removed => '-',
            };
            writeln!(
                f,
                "{sign} {:<9}  {}  {}",
                key.role.to_string(),
                key.key_id,
                key.key_type
            )?;
        }
        let file = self.file.display();
        writeln!(
            f,
            "{file}: version {}, valid until {}",
            self.version,
            self.expires.to_rfc3339_opts(SecondsFormat::Secs, true)
        )?;
        let follows = self.follows.display();
        if self.missing_old == 0 && self.missing_new == 0 {
            return write!(
                f,
                "complete; next: `updata root publish --repo REPO --root-role {file} \
                 --old-root {follows}`"
            );
        }
        write!(
            f,
            "missing: {} signature(s) of the present root keys, {} of the new ones; next: \
             `updata sign --role root --staged {file} --old-root {follows} --key FILE`",
            self.missing_old, self.missing_new
        )
    }
}
