//! `updata keys new`: fresh signing keys, one for each role, in a folder of their own.
//!
//! The folder appears whole or not at all, and an existing key is never overwritten: the keys are
//! made in a temporary folder beside it, synced, and renamed into place.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::num::NonZeroU8;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use clap::{Args, ValueEnum};
use serde::Serialize;
use snafu::{ResultExt, Snafu};
use tough::schema::RoleType;

use super::durable::{self, DurableError};
use super::key_file::{self, KeyType};
use super::keyring;

/// Where the keys go, of what kind they are and how many each role gets.
#[derive(Debug, Clone, Args)]
pub struct KeysNewArgs {
    /// The folder to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The kind of key: ed25519, rsa (RSASSA-PSS with SHA-256) or ecdsa (P-256 with SHA-256)
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KeyType::Ed25519)]
    pub key_type: KeyType,
    /// The length of RSA keys: 3072 or 4096
    #[arg(long, value_name = "BITS", value_enum, default_value_t = RsaBits::Bits3072)]
    pub rsa_bits: RsaBits,
    /// How many root keys: root.key, root-2.key, …; `root new --threshold` says how many must sign
    #[arg(long, value_name = "N", default_value = "1")]
    pub root_keys: NonZeroU8,
    /// How many targets keys
    #[arg(long, value_name = "N", default_value = "1")]
    pub targets_keys: NonZeroU8,
    /// How many snapshot keys
    #[arg(long, value_name = "N", default_value = "1")]
    pub snapshot_keys: NonZeroU8,
    /// How many timestamp keys
    #[arg(long, value_name = "N", default_value = "1")]
    pub timestamp_keys: NonZeroU8,
}

impl KeysNewArgs {
    /// One ed25519 key a role.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            key_type: KeyType::Ed25519,
            rsa_bits: RsaBits::Bits3072,
            root_keys: NonZeroU8::MIN,
            targets_keys: NonZeroU8::MIN,
            snapshot_keys: NonZeroU8::MIN,
            timestamp_keys: NonZeroU8::MIN,
        }
    }

    fn count(&self, role: RoleType) -> NonZeroU8 {
        match role {
            RoleType::Root => self.root_keys,
            RoleType::Snapshot => self.snapshot_keys,
            RoleType::Timestamp => self.timestamp_keys,
            RoleType::Targets | RoleType::DelegatedTargets => self.targets_keys,
        }
    }
}

/// How long RSA keys are. 2,048 bits are read but not made any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RsaBits {
    /// About as strong as the other kinds.
    #[value(name = "3072")]
    Bits3072,
    /// Slower.
    #[value(name = "4096")]
    Bits4096,
}

/// The keys that were made.
#[derive(Debug, Clone, Serialize)]
pub struct KeysNewOutcome {
    /// The folder.
    pub dir: PathBuf,
    /// The keys in it, by role.
    pub keys: Vec<KeySummary>,
}

/// What may be told about a key.
#[derive(Debug, Clone, Serialize)]
pub struct KeySummary {
    /// What it is for.
    pub role: RoleType,
    /// Its file.
    pub file: PathBuf,
    /// What metadata call it.
    pub key_id: String,
    /// What kind of key it is.
    pub key_type: KeyType,
}

impl KeySummary {
    /// Of a key that was read.
    pub fn of(key: &keyring::RoleKey) -> Self {
        Self {
            role: key.role,
            file: key.path.clone(),
            key_id: hex::encode(&key.id),
            key_type: key.key_type(),
        }
    }
}

/// Why there are no new keys.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// There is something in the folder.
    #[snafu(display(
        "{} exists and is not empty; keys are never overwritten, choose another folder",
        dir.display()
    ))]
    Exists { dir: PathBuf },
    /// The random source or the key generator failed.
    #[snafu(display("generating an {key_type} key"))]
    Generate {
        key_type: KeyType,
        source: Unspecified,
    },
    /// A key could not be written.
    #[snafu(display("writing the key {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
    /// The folder could not be made, synced or given its name.
    #[snafu(transparent)]
    Durable { source: DurableError },
    /// The finished keys do not read back.
    #[snafu(transparent)]
    Keyring { source: keyring::KeyringError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }
}

/// Makes the keys and reads them back.
///
/// Afterwards, and after a crash, the folder holds all of the keys or does not exist; a crash can
/// leave a temporary folder whose name starts with `.updata-`.
pub fn run(args: &KeysNewArgs) -> Result<KeysNewOutcome, Error> {
    let dir = &args.out;
    let made = durable::create_dir_whole(dir, 0o700, |staged| {
        file_names(args)
            .iter()
            .try_for_each(|name| write_key(&staged.join(name), &generate(args)?))
    });
    match made {
        Err(Error::Durable {
            source: DurableError::NotEmpty { path: dir },
        }) => return ExistsSnafu { dir }.fail(),
        made => made?,
    }
    let keys = keyring::read(dir, &keyring::ROLES)?;
    Ok(KeysNewOutcome {
        dir: dir.clone(),
        keys: keys.iter().map(KeySummary::of).collect(),
    })
}

/// `root.key`, `root-2.key`, … and so on for each other role.
fn file_names(args: &KeysNewArgs) -> Vec<String> {
    let stems = |role: RoleType| {
        let further = (2..=args.count(role).get()).map(move |n| format!("{role}-{n}"));
        std::iter::once(role.to_string()).chain(further)
    };
    keyring::ROLES
        .into_iter()
        .flat_map(stems)
        .map(|stem| format!("{stem}.{}", keyring::EXTENSION))
        .collect()
}

/// A new private key, in the form that its file gets: the forms that tough reads.
fn generate(args: &KeysNewArgs) -> Result<Vec<u8>, Error> {
    let random = SystemRandom::new();
    let key_type = args.key_type;
    let made = match key_type {
        // PKCS#8 version 1: what `openssl genpkey -algorithm ED25519` writes, and what every reader
        // of PKCS#8 knows, while version 2 is still refused by some.
        KeyType::Ed25519 => {
            Ed25519KeyPair::generate_pkcs8v1(&random).map(|document| document.as_ref().to_vec())
        }
        KeyType::Ecdsa => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map(|document| document.as_ref().to_vec()),
        KeyType::Rsa => generate_rsa(args.rsa_bits),
    };
    made.context(GenerateSnafu { key_type })
}

fn generate_rsa(bits: RsaBits) -> Result<Vec<u8>, Unspecified> {
    let size = match bits {
        RsaBits::Bits3072 => KeySize::Rsa3072,
        RsaBits::Bits4096 => KeySize::Rsa4096,
    };
    let der: Pkcs8V1Der<'_> = RsaKeyPair::generate(size)?.as_der()?;
    Ok(key_file::private_pem(der.as_ref()).into_bytes())
}

fn write_key(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .context(WriteSnafu { path })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .context(WriteSnafu { path })
}

impl fmt::Display for KeysNewOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            writeln!(
                f,
                "{:<9}  {}  {}",
                key.role.to_string(),
                key.key_id,
                key.file.display()
            )?;
        }
        write!(f, "keep the root key offline: publishing does not need it")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn args(dir: &Path, root_keys: u8) -> KeysNewArgs {
        KeysNewArgs {
            root_keys: root_keys.try_into().unwrap(),
            ..KeysNewArgs::new(dir)
        }
    }

    #[test]
    fn each_role_gets_a_key_that_only_its_owner_reads() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/keys");
        let outcome = run(&args(&dir, 1)).unwrap();
        assert_eq!(
            outcome.keys.iter().map(|key| key.role).collect::<Vec<_>>(),
            keyring::ROLES
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&dir), 0o700);
        for key in &outcome.keys {
            assert_eq!(key.file, dir.join(format!("{}.key", key.role)));
            assert_eq!(mode(&key.file), 0o600);
            assert_eq!(fs::metadata(&key.file).unwrap().len(), 48);
        }
        let left: Vec<_> = fs::read_dir(temp.path().join("a")).unwrap().collect();
        assert_eq!(left.len(), 1, "the temporary folder is gone");
    }

    #[test]
    fn further_root_keys_are_numbered() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let outcome = run(&args(&dir, 3)).unwrap();
        let roots: Vec<_> = outcome
            .keys
            .iter()
            .filter(|k| k.role == RoleType::Root)
            .collect();
        assert_eq!(
            roots
                .iter()
                .map(|k| k.file.file_name().unwrap())
                .collect::<Vec<_>>(),
            ["root-2.key", "root-3.key", "root.key"]
        );
    }

    #[test]
    fn an_empty_folder_is_used_and_a_full_one_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        fs::create_dir(&dir).unwrap();
        run(&args(&dir, 1)).unwrap();
        let before = fs::read(dir.join("root.key")).unwrap();
        let error = run(&args(&dir, 1)).unwrap_err();
        assert!(error.is_refusal());
        assert_eq!(
            error.to_string(),
            format!(
                "{} exists and is not empty; keys are never overwritten, choose another folder",
                dir.display()
            )
        );
        assert_eq!(fs::read(dir.join("root.key")).unwrap(), before);
    }

    #[test]
    fn a_file_in_the_way_is_refused_and_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("keys");
        fs::write(&path, "mine").unwrap();
        assert!(run(&args(&path, 1)).unwrap_err().is_refusal());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
