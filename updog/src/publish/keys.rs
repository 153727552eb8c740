//! `updata keys new`: fresh signing keys, one for each role, in a folder of their own.
//!
//! The folder appears whole or not at all, and an existing key is never overwritten: the keys are
//! made in a temporary folder beside it, synced, and renamed into place.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::num::NonZeroU8;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use clap::Args;
use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::RoleType;

use super::durable::{self, DurableError};
use super::keyring;

/// Where the keys go and how many of them are for root.
#[derive(Debug, Clone, Args)]
pub struct KeysNewArgs {
    /// The folder to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How many root keys: root.key, root-2.key, …; `root new --threshold` says how many must sign
    #[arg(long, value_name = "N", default_value = "1")]
    pub root_keys: NonZeroU8,
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
}

impl KeySummary {
    /// Of a key that was read.
    pub fn of(key: &keyring::RoleKey) -> Self {
        Self {
            role: key.role,
            file: key.path.clone(),
            key_id: hex::encode(&key.id),
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
    #[snafu(display("generating an ed25519 key"))]
    Generate {
        source: aws_lc_rs::error::Unspecified,
    },
    /// A key could not be written.
    #[snafu(display("writing the key {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
    /// The folder could not be made or given its name.
    #[snafu(display("making the key folder {}", dir.display()))]
    MakeDir { dir: PathBuf, source: io::Error },
    /// The path names no folder that could be made.
    #[snafu(display("'{}' has no last part to make a folder of", dir.display()))]
    NoName { dir: PathBuf },
    /// A folder above could not be made or synced.
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
    // Cheap and early; the rename below is what decides.
    let empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    ensure!(empty, ExistsSnafu { dir });
    dir.file_name().context(NoNameSnafu { dir })?;

    let parent = durable::folder_of(dir);
    durable::create_dir_all(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(durable::TEMP_PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .context(MakeDirSnafu { dir })?;
    let staged = staging.path().join("keys");
    DirBuilder::new()
        .mode(0o700)
        .create(&staged)
        .context(MakeDirSnafu { dir })?;
    let random = SystemRandom::new();
    for name in file_names(args.root_keys) {
        write_key(&staged.join(name), &random)?;
    }
    durable::sync_dir(&staged)?;
    match fs::rename(&staged, dir) {
        Ok(()) => {}
        Err(error) if occupied(&error) => return ExistsSnafu { dir }.fail(),
        Err(source) => return Err(source).context(MakeDirSnafu { dir }),
    }
    durable::sync_dir(parent)?;

    let keys = keyring::read(dir, &keyring::ROLES)?;
    Ok(KeysNewOutcome {
        dir: dir.clone(),
        keys: keys.iter().map(KeySummary::of).collect(),
    })
}

/// `root.key`, `root-2.key`, … and one for each other role.
fn file_names(root_keys: NonZeroU8) -> Vec<String> {
    let further = (2..=root_keys.get()).map(|n| format!("root-{n}"));
    let stems = keyring::ROLES
        .iter()
        .map(ToString::to_string)
        .chain(further);
    stems
        .map(|stem| format!("{stem}.{}", keyring::EXTENSION))
        .collect()
}

/// PKCS#8 version 1: what `openssl genpkey -algorithm ED25519` writes, and what every reader of
/// PKCS#8 knows, while version 2 is still refused by some.
fn write_key(path: &Path, random: &SystemRandom) -> Result<(), Error> {
    let document = Ed25519KeyPair::generate_pkcs8v1(random).context(GenerateSnafu)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .context(WriteSnafu { path })?;
    file.write_all(document.as_ref())
        .and_then(|()| file.sync_all())
        .context(WriteSnafu { path })
}

/// The errors of renaming a folder over something that is not an empty folder.
fn occupied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
    )
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
    use super::*;

    fn args(dir: &Path, root_keys: u8) -> KeysNewArgs {
        KeysNewArgs {
            out: dir.to_path_buf(),
            root_keys: root_keys.try_into().unwrap(),
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
