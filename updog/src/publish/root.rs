//! `updata root new`: the first root role, which hosts are shipped with.
//!
//! Each role gets keys of its own, several of them with a threshold where wanted. The root keys are
//! needed here and when a key changes, and never to publish a release.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{ArgGroup, Args};
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::{RoleKeys, RoleType, Root, Signed};

use super::durable::{self, DurableError};
use super::key_file::KeyFileError;
use super::keyring::{self, KeyArgs, KeyringError, RoleFile, RoleKey};
use super::keys::KeySummary;
use super::period::Period;
use super::signatures::{self, SignedBytes};
use super::tuf::{self, TufError};

/// Which keys, and what the root role demands of them.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("signers").args(["keys", "key"]).required(true).multiple(true))]
pub struct RootNewArgs {
    /// The keys of all four roles
    #[command(flatten)]
    pub keys: KeyArgs,
    /// A key whose private half is elsewhere, as `updata keys public` writes it. May be given
    /// several times
    #[arg(long, value_name = "ROLE=FILE")]
    pub public: Vec<RoleFile>,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How many of the root keys must sign a root role
    #[arg(long, value_name = "N", default_value = "1")]
    pub threshold: NonZeroU64,
    /// How many of the targets keys must sign what is released
    #[arg(long, value_name = "N", default_value = "1")]
    pub targets_threshold: NonZeroU64,
    /// How many of the snapshot keys must sign
    #[arg(long, value_name = "N", default_value = "1")]
    pub snapshot_threshold: NonZeroU64,
    /// How many of the timestamp keys must sign
    #[arg(long, value_name = "N", default_value = "1")]
    pub timestamp_threshold: NonZeroU64,
    /// How long the root role stays valid: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(52))]
    pub expires: Period,
    /// Write it although signatures are missing; `updata sign --role root` adds them
    #[arg(long)]
    pub partial: bool,
}

impl RootNewArgs {
    /// A root role that wants one signature of each role, valid for a year.
    pub fn new(keys: KeyArgs, out: impl Into<PathBuf>) -> Self {
        Self {
            keys,
            public: Vec::new(),
            out: out.into(),
            threshold: NonZeroU64::MIN,
            targets_threshold: NonZeroU64::MIN,
            snapshot_threshold: NonZeroU64::MIN,
            timestamp_threshold: NonZeroU64::MIN,
            expires: Period::weeks(52),
            partial: false,
        }
    }

    fn threshold_of(&self, role: RoleType) -> NonZeroU64 {
        match role {
            RoleType::Root => self.threshold,
            RoleType::Snapshot => self.snapshot_threshold,
            RoleType::Timestamp => self.timestamp_threshold,
            RoleType::Targets | RoleType::DelegatedTargets => self.targets_threshold,
        }
    }
}

/// The root role that was written.
#[derive(Debug, Clone, Serialize)]
pub struct RootNewOutcome {
    /// Its file.
    pub file: PathBuf,
    /// Its version: 1.
    pub version: u64,
    /// When it stops being valid.
    pub expires: DateTime<Utc>,
    /// How many root keys must sign the next one.
    pub threshold: u64,
    /// How many root signatures it lacks; with any no host accepts it.
    pub missing: u64,
    /// The keys it names.
    pub keys: Vec<KeySummary>,
}

/// Why there is no root role.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The threshold can never be met.
    #[snafu(display(
        "a threshold of {threshold} needs as many {role} keys, {place} has {found}; \
         make them with `updata keys new --{role}-keys {threshold}`"
    ))]
    TooFewKeys {
        role: RoleType,
        threshold: u64,
        found: u64,
        place: String,
    },
    /// Two files hold one key.
    #[snafu(display(
        "{} and {} hold the same key; every role needs keys of its own",
        first.display(), second.display()
    ))]
    SharedKey { first: PathBuf, second: PathBuf },
    /// Not enough private keys are here.
    #[snafu(display(
        "{missing} root signature(s) would be missing; give more root keys, or write it with \
         --partial and let the others run `updata sign --role root`"
    ))]
    Unsigned { missing: u64 },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A public key cannot be used.
    #[snafu(transparent)]
    File { source: KeyFileError },
    /// The role cannot be signed.
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
            Self::Unsigned { .. } => true,
            Self::Keyring { source } => source.is_refusal(),
            Self::Durable { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// Writes version 1 of a root role, signed by every root key that is given.
pub fn run(args: &RootNewArgs, now: DateTime<Utc>) -> Result<RootNewOutcome, Error> {
    durable::refuse_existing(&args.out)?;
    let keys = all_keys(args)?;
    refuse_shared(&keys)?;
    for role in keyring::ROLES {
        let of_role = keys.iter().filter(|key| key.role == role).count();
        let found = u64::try_from(of_role).unwrap_or(u64::MAX);
        let threshold = args.threshold_of(role).get();
        ensure!(
            found >= threshold,
            TooFewKeysSnafu {
                role,
                threshold,
                found,
                place: args.keys.place(),
            }
        );
    }
    let expires = tuf::expiry(args.expires, now)?;
    let root = root_role(&keys, |role| args.threshold_of(role), expires);
    let mut signed = Signed {
        signed: root,
        signatures: Vec::new(),
    };
    let root = signed.signed.clone();
    tuf::block_on(signatures::add(&mut signed, &[&root], &keys))??;
    let missing = signatures::tally(&root, &signed).missing();
    ensure!(args.partial || missing == 0, UnsignedSnafu { missing });
    durable::create(&args.out, SignedBytes::of(signed)?.buffer())?;
    Ok(RootNewOutcome {
        file: args.out.clone(),
        version: root.version.get(),
        expires: tuf::end_of(args.expires, now)?,
        threshold: args.threshold.get(),
        missing,
        keys: keys.iter().map(KeySummary::of).collect(),
    })
}

/// The keys of all roles, by role, those of which only the public half is here last.
fn all_keys(args: &RootNewArgs) -> Result<Vec<RoleKey>, Error> {
    let with_public: Vec<RoleType> = args.public.iter().map(|file| file.role).collect();
    let needed = keyring::ROLES
        .into_iter()
        .filter(|role| !with_public.contains(role));
    let mut keys = args.keys.read_present(&keyring::ROLES)?;
    args.keys.ensure_each(&keys, needed)?;
    for file in &args.public {
        let key = RoleKey::read_public(file)?;
        // The private half may have been given as well.
        if !keys
            .iter()
            .any(|other| other.role == key.role && other.is(&key.public))
        {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// One stolen key must not be good for two roles, nor count twice for one.
fn refuse_shared(keys: &[RoleKey]) -> Result<(), Error> {
    for (at, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..at].iter().find(|other| other.is(&key.public)) {
            return SharedKeySnafu {
                first: &first.path,
                second: &key.path,
            }
            .fail();
        }
    }
    Ok(())
}

/// Pure: the role that names each key for its own role only.
fn root_role(
    keys: &[RoleKey],
    threshold: impl Fn(RoleType) -> NonZeroU64,
    expires: jiff::Timestamp,
) -> Root {
    let role_keys = |role| RoleKeys {
        keyids: keys
            .iter()
            .filter(|key| key.role == role)
            .map(|key| key.id.clone())
            .collect(),
        threshold: threshold(role),
        _extra: HashMap::new(),
    };
    Root {
        spec_version: tuf::SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: keys
            .iter()
            .map(|key| (key.id.clone(), key.public.clone()))
            .collect(),
        roles: keyring::ROLES
            .into_iter()
            .map(|role| (role, role_keys(role)))
            .collect(),
        _extra: HashMap::new(),
    }
}

impl fmt::Display for RootNewOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            writeln!(f, "{:<9}  {}", key.role.to_string(), key.key_id)?;
        }
        write!(
            f,
            "{}: version {}, {} root signature(s) needed, valid until {}",
            self.file.display(),
            self.version,
            self.threshold,
            self.expires.to_rfc3339_opts(SecondsFormat::Secs, true)
        )?;
        if self.missing > 0 {
            write!(
                f,
                "\n{0} root signature(s) missing: `updata sign --role root --staged {1} --key FILE`",
                self.missing,
                self.file.display()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{self, KeysNewArgs};
    use super::super::tuf::RootFile;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2031-03-01T01:00:00.5Z".parse().unwrap()
    }

    fn setup(root_keys: u8) -> (tempfile::TempDir, RootNewArgs) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        keys::run(&KeysNewArgs {
            root_keys: root_keys.try_into().unwrap(),
            ..KeysNewArgs::new(&dir)
        })
        .unwrap();
        let args = RootNewArgs::new(KeyArgs::folder(dir), temp.path().join("root.json"));
        (temp, args)
    }

    #[test]
    fn each_role_has_its_own_key_and_the_file_verifies_against_itself() {
        let (_temp, args) = setup(1);
        let outcome = run(&args, now()).unwrap();
        assert_eq!(
            outcome.expires,
            "2032-02-28T01:00:00Z".parse::<DateTime<Utc>>().unwrap()
        );
        let root = RootFile::read(&args.out).unwrap();
        assert_eq!(root.root().spec_version, "1.0.0");
        assert!(root.root().consistent_snapshot);
        assert_eq!(root.root().version.get(), 1);
        assert_eq!(root.root().keys.len(), 4);
        for role in keyring::ROLES {
            assert_eq!(root.root().keys(role).count(), 1, "{role}");
        }
        assert_eq!(root.signed.signatures.len(), 1);
    }

    #[test]
    fn every_root_key_signs_and_the_threshold_is_of_root_alone() {
        let (_temp, mut args) = setup(3);
        args.threshold = NonZeroU64::new(2).unwrap();
        run(&args, now()).unwrap();
        let root = RootFile::read(&args.out).unwrap();
        assert_eq!(root.signed.signatures.len(), 3);
        assert_eq!(root.root().roles[&RoleType::Root].threshold.get(), 2);
        assert_eq!(root.root().roles[&RoleType::Targets].threshold.get(), 1);
    }

    #[test]
    fn a_threshold_above_the_number_of_root_keys_is_an_error() {
        let (_temp, mut args) = setup(1);
        args.threshold = NonZeroU64::new(2).unwrap();
        assert_eq!(
            run(&args, now()).unwrap_err().to_string(),
            format!(
                "a threshold of 2 needs as many root keys, {} has 1; \
                 make them with `updata keys new --root-keys 2`",
                args.keys.place()
            )
        );
        assert!(!args.out.exists());
    }

    #[test]
    fn one_key_for_two_roles_is_an_error() {
        let (temp, args) = setup(1);
        std::fs::copy(
            temp.path().join("keys/targets.key"),
            temp.path().join("keys/snapshot.key"),
        )
        .unwrap();
        let error = run(&args, now()).unwrap_err();
        assert!(matches!(error, Error::SharedKey { .. }), "{error}");
    }

    #[test]
    fn an_existing_root_role_is_kept() {
        let (_temp, args) = setup(1);
        run(&args, now()).unwrap();
        let before = std::fs::read(&args.out).unwrap();
        assert!(run(&args, now()).unwrap_err().is_refusal());
        assert_eq!(std::fs::read(&args.out).unwrap(), before);
    }

    #[test]
    fn a_changed_root_role_is_not_trusted() {
        let (_temp, args) = setup(1);
        run(&args, now()).unwrap();
        let text = std::fs::read_to_string(&args.out).unwrap();
        std::fs::write(&args.out, text.replace("2032", "2042")).unwrap();
        assert!(matches!(
            RootFile::read(&args.out),
            Err(TufError::UnsignedRoot { .. })
        ));
    }
}
