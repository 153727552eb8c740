//! `updata root new`: the first root role, which hosts are shipped with.
//!
//! Each role gets keys of its own: root alone can have several, with a threshold. The root keys are
//! needed here and when a key changes, and never to publish a release.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::{RoleKeys, RoleType, Root};

use super::durable::{self, DurableError};
use super::keyring::{self, KeyringError, RoleKey};
use super::keys::KeySummary;
use super::period::Period;
use super::tuf::{self, TufError};

/// Which keys, and what the root role demands of them.
#[derive(Debug, Clone, Args)]
pub struct RootNewArgs {
    /// The folder with root*.key, targets*.key, snapshot*.key and timestamp*.key
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How many of the root keys must sign a root role
    #[arg(long, value_name = "N", default_value = "1")]
    pub threshold: NonZeroU64,
    /// How long the root role stays valid: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(52))]
    pub expires: Period,
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
    /// The keys it names.
    pub keys: Vec<KeySummary>,
}

/// Why there is no root role.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The threshold can never be met.
    #[snafu(display(
        "a threshold of {threshold} needs as many root keys, {} has {found}; \
         make them with `updata keys new --root-keys {threshold}`",
        dir.display()
    ))]
    TooFewRootKeys {
        threshold: u64,
        found: u64,
        dir: PathBuf,
    },
    /// Two files hold one key.
    #[snafu(display(
        "{} and {} hold the same key; every role needs keys of its own",
        first.display(), second.display()
    ))]
    SharedKey { first: PathBuf, second: PathBuf },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
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
        matches!(self, Self::Durable { source } if source.is_refusal())
    }
}

/// Writes version 1 of a root role, signed by every root key of the folder.
pub fn run(args: &RootNewArgs, now: DateTime<Utc>) -> Result<RootNewOutcome, Error> {
    durable::refuse_existing(&args.out)?;
    let keys = keyring::read(&args.keys, &keyring::ROLES)?;
    refuse_shared(&keys)?;
    let roots = keys.iter().filter(|key| key.role == RoleType::Root).count();
    let found = u64::try_from(roots).expect("a count of files fits in 64 bits");
    let threshold = args.threshold.get();
    ensure!(
        found >= threshold,
        TooFewRootKeysSnafu {
            threshold,
            found,
            dir: &args.keys
        }
    );

    let expires = tuf::expiry(args.expires, now)?;
    let root = root_role(&keys, args.threshold, expires);
    let signed = tuf::block_on(tuf::sign(root.clone(), &root, &keys))??;
    durable::create(&args.out, signed.buffer())?;
    Ok(RootNewOutcome {
        file: args.out.clone(),
        version: root.version.get(),
        expires: tuf::end_of(args.expires, now)?,
        threshold,
        keys: keys.iter().map(KeySummary::of).collect(),
    })
}

/// One stolen key must not be good for two roles, nor count twice for one.
fn refuse_shared(keys: &[RoleKey]) -> Result<(), Error> {
    for (at, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..at].iter().find(|other| other.public == key.public) {
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
fn root_role(keys: &[RoleKey], threshold: NonZeroU64, expires: jiff::Timestamp) -> Root {
    let role_keys = |role| RoleKeys {
        keyids: keys
            .iter()
            .filter(|key| key.role == role)
            .map(|key| key.id.clone())
            .collect(),
        threshold: if role == RoleType::Root {
            threshold
        } else {
            NonZeroU64::MIN
        },
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
            self.expires.format("%Y-%m-%dT%H:%M:%SZ")
        )
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
            out: dir.clone(),
            root_keys: root_keys.try_into().unwrap(),
        })
        .unwrap();
        let args = RootNewArgs {
            keys: dir,
            out: temp.path().join("root.json"),
            threshold: NonZeroU64::MIN,
            expires: Period::weeks(52),
        };
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
                args.keys.display()
            )
        );
        assert!(!args.out.exists());
    }

    #[test]
    fn one_key_for_two_roles_is_an_error() {
        let (_temp, args) = setup(1);
        std::fs::copy(
            args.keys.join("targets.key"),
            args.keys.join("snapshot.key"),
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
