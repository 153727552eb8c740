//! The keys that a verb is given: a folder with `root*.key`, `targets*.key`, `snapshot*.key` and
//! `timestamp*.key`, and single files, each with its role.
//!
//! In a folder the file's name says what the key is for; nothing else about it does. What a key
//! file may hold is [`key_file`]'s business.
//!
//! Private keys are read here and used in the signer, and never printed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::key::Key;
use tough::schema::{RoleType, Root};

use super::key_file::{self, KeyFileError, KeyType, STDIN, Secret, material};

/// The extension of a key file.
pub const EXTENSION: &str = "key";
/// The four roles of a repository that have keys.
pub const ROLES: [RoleType; 4] = [
    RoleType::Root,
    RoleType::Targets,
    RoleType::Snapshot,
    RoleType::Timestamp,
];

/// Why keys cannot be used.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum KeyringError {
    /// The folder cannot be listed.
    #[snafu(display("reading the key folder {}", dir.display()))]
    ReadDir { dir: PathBuf, source: io::Error },
    /// A file is no key.
    #[snafu(transparent)]
    File { source: KeyFileError },
    /// No file for a role.
    #[snafu(display(
        "no {role}*.{EXTENSION} in {}; give the folder that has one, or --key {role}=FILE",
        dir.display()
    ))]
    NoKey { role: RoleType, dir: PathBuf },
    /// No key for a role, and no folder was given.
    #[snafu(display("no {role} key was given; give --keys DIR or --key {role}=FILE"))]
    NoKeyGiven { role: RoleType },
    /// A key for a role that the verb does not sign.
    #[snafu(display(
        "--key {role}={} is not needed: this verb does not sign the {role} role", path.display()
    ))]
    NotNeeded { role: RoleType, path: PathBuf },
}

impl KeyringError {
    /// Whether a rule forbade it, rather than the machine failing: each role has to be signed.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoKey { .. } | Self::NoKeyGiven { .. })
    }
}

/// Where the keys are. Both options may be given, and add up.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// The folder with the keys: root*.key, targets*.key, snapshot*.key, timestamp*.key, as far as
    /// this verb signs these roles
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// One key: ROLE is root, targets, snapshot or timestamp, FILE is `-` for stdin. May be given
    /// several times
    #[arg(long, value_name = "ROLE=FILE")]
    pub key: Vec<RoleFile>,
}

impl KeyArgs {
    /// The keys of a folder.
    pub fn folder(dir: impl Into<PathBuf>) -> Self {
        Self {
            keys: Some(dir.into()),
            key: Vec::new(),
        }
    }

    /// Reads the keys of `roles`: at least one a role.
    ///
    /// # Errors
    /// [`KeyringError::NoKey`] and [`KeyringError::NoKeyGiven`] for a role without one.
    pub fn read(&self, roles: &[RoleType]) -> Result<Vec<RoleKey>, KeyringError> {
        let keys = self.read_present(roles)?;
        self.ensure_each(&keys, roles.iter().copied())?;
        Ok(keys)
    }

    /// Whether each of `roles` has one of `keys`.
    pub(super) fn ensure_each(
        &self,
        keys: &[RoleKey],
        roles: impl Iterator<Item = RoleType>,
    ) -> Result<(), KeyringError> {
        for role in roles {
            let found = keys.iter().any(|key| key.role == role);
            match &self.keys {
                Some(dir) => ensure!(found, NoKeySnafu { role, dir }),
                None => ensure!(found, NoKeyGivenSnafu { role }),
            }
        }
        Ok(())
    }

    /// Where the keys are, in words.
    pub fn place(&self) -> String {
        match &self.keys {
            Some(dir) => dir.display().to_string(),
            None => "the command line".to_owned(),
        }
    }

    /// As [`KeyArgs::read`], but a role may have none.
    pub fn read_present(&self, roles: &[RoleType]) -> Result<Vec<RoleKey>, KeyringError> {
        if let Some(RoleFile { role, path }) = self.key.iter().find(|k| !roles.contains(&k.role)) {
            return NotNeededSnafu { role: *role, path }.fail();
        }
        let names = self.keys.as_deref().map(list).transpose()?;
        let mut keys: Vec<RoleKey> = Vec::new();
        let mut add = |key: RoleKey| {
            // A file of the folder that is given once more by itself is no second key.
            if !keys.iter().any(|k| k.role == key.role && k.is(&key.public)) {
                keys.push(key);
            }
        };
        for &role in roles {
            if let (Some(dir), Some(names)) = (&self.keys, &names) {
                for name in of_role(names, role) {
                    add(RoleKey::read(role, &dir.join(name))?);
                }
            }
            for file in self.key.iter().filter(|file| file.role == role) {
                add(RoleKey::read(role, &file.path)?);
            }
        }
        Ok(keys)
    }

    /// How many of the keys are to come from stdin, which has only one.
    pub fn from_stdin(&self) -> usize {
        self.key.iter().filter(|file| file.is_stdin()).count()
    }
}

/// Pure: a key file and what the key in it is for, as `ROLE=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFile {
    /// What the key is for.
    pub role: RoleType,
    /// Its file, or `-`.
    pub path: PathBuf,
}

impl RoleFile {
    /// Whether the key comes from stdin.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new(STDIN)
    }
}

/// Why a text is no role with a value.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RoleFileError {
    /// No equals sign, or nothing after it.
    #[snafu(display("'{text}' is not ROLE=FILE, such as targets=targets.key"))]
    Form { text: String },
    /// No such role.
    #[snafu(display("'{role}' is not a role; write root, targets, snapshot or timestamp"))]
    Role { role: String },
}

impl FromStr for RoleFile {
    type Err = RoleFileError;

    fn from_str(text: &str) -> Result<Self, RoleFileError> {
        let (role, path) = text.split_once('=').context(FormSnafu { text })?;
        ensure!(!path.is_empty(), FormSnafu { text });
        Ok(Self {
            role: role_named(role)?,
            path: path.into(),
        })
    }
}

/// Pure: the role of a name, for `#[arg(value_parser = ...)]`.
///
/// # Errors
/// [`RoleFileError::Role`].
pub fn role_named(name: &str) -> Result<RoleType, RoleFileError> {
    ROLES
        .into_iter()
        .find(|role| role.to_string() == name)
        .context(RoleSnafu { role: name })
}

/// A key that was read once: its public half, and the private one if there is any.
#[derive(Debug, Clone)]
pub struct RoleKey {
    /// What the key is for.
    pub role: RoleType,
    /// Its file.
    pub path: PathBuf,
    /// The public half as metadata state it.
    pub public: Key,
    /// What metadata call the key.
    pub id: KeyId,
    /// What signs.
    pub(super) secret: Option<Secret>,
}

/// A key's identity in metadata: the digest of its public half.
pub type KeyId = tough::schema::decoded::Decoded<tough::schema::decoded::Hex>;

impl RoleKey {
    /// The private key in a file.
    pub fn read(role: RoleType, path: &Path) -> Result<Self, KeyFileError> {
        let (secret, public) = key_file::read_private(path)?;
        Self::of(role, path, public, Some(secret))
    }

    /// The key in a file, private or public.
    pub fn read_any(file: &RoleFile) -> Result<Self, KeyFileError> {
        let (secret, public) = key_file::read_any(&file.path)?;
        Self::of(file.role, &file.path, public, secret)
    }

    /// The public key in a file, or the public half of the private one; it does not sign.
    pub fn read_public(file: &RoleFile) -> Result<Self, KeyFileError> {
        let public = key_file::read_public(&file.path)?;
        Self::of(file.role, &file.path, public, None)
    }

    fn of(
        role: RoleType,
        path: &Path,
        public: Key,
        secret: Option<Secret>,
    ) -> Result<Self, KeyFileError> {
        Ok(Self {
            role,
            path: path.to_path_buf(),
            id: key_file::id(path, &public)?,
            public,
            secret,
        })
    }

    /// Whether `other` is this key, whatever name or notation a root role has for it.
    pub fn is(&self, other: &Key) -> bool {
        material(&self.public) == material(other)
    }

    /// What kind of key it is.
    pub fn key_type(&self) -> KeyType {
        material(&self.public).0
    }

    /// Whether the private half is there.
    pub fn can_sign(&self) -> bool {
        self.secret.is_some()
    }

    /// What `root` calls this key in its role, if it names it there. The id need not be the one that
    /// we would give it: other tools write public keys in other notations.
    pub fn id_in(&self, root: &Root) -> Option<KeyId> {
        let named = &root.roles.get(&self.role)?.keyids;
        named
            .iter()
            .find(|id| root.keys.get(*id).is_some_and(|key| self.is(key)))
            .cloned()
    }
}

/// Reads the keys of `roles` from `dir`: at least one a role.
///
/// # Errors
/// [`KeyringError::NoKey`] for a role without a file.
pub fn read(dir: &Path, roles: &[RoleType]) -> Result<Vec<RoleKey>, KeyringError> {
    KeyArgs::folder(dir).read(roles)
}

/// The names that belong to a role, sorted.
fn of_role(names: &[String], role: RoleType) -> Vec<&str> {
    let prefix = role.to_string();
    let mut files: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| {
            name.starts_with(&prefix)
                && Path::new(name)
                    .extension()
                    .is_some_and(|found| found == EXTENSION)
        })
        .collect();
    files.sort_unstable();
    files
}

fn list(dir: &Path) -> Result<Vec<String>, KeyringError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).context(ReadDirSnafu { dir })? {
        // A name that is not UTF-8 cannot be one of ours.
        if let Ok(name) = entry
            .context(ReadDirSnafu { dir })?
            .file_name()
            .into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_its_role() {
        let names = [
            "targets.key",
            "root-2.key",
            "root.key",
            "root.json",
            "timestamp.key.bak",
        ]
        .map(str::to_owned);
        assert_eq!(of_role(&names, RoleType::Root), ["root-2.key", "root.key"]);
        assert_eq!(of_role(&names, RoleType::Targets), ["targets.key"]);
        assert_eq!(of_role(&names, RoleType::Timestamp), [""; 0]);
    }

    #[test]
    fn a_single_key_says_its_role_itself() {
        let file: RoleFile = "targets=a=b.key".parse().unwrap();
        assert_eq!(
            (file.role, file.path),
            (RoleType::Targets, "a=b.key".into())
        );
        for (text, message) in [
            (
                "k.key",
                "'k.key' is not ROLE=FILE, such as targets=targets.key",
            ),
            (
                "targets=",
                "'targets=' is not ROLE=FILE, such as targets=targets.key",
            ),
            (
                "mirror=k",
                "'mirror' is not a role; write root, targets, snapshot or timestamp",
            ),
        ] {
            assert_eq!(text.parse::<RoleFile>().unwrap_err().to_string(), message);
        }
        let args = KeyArgs {
            keys: None,
            key: vec!["root=r.key".parse().unwrap()],
        };
        assert_eq!(
            args.read(&[RoleType::Targets]).unwrap_err().to_string(),
            "--key root=r.key is not needed: this verb does not sign the root role"
        );
        assert_eq!(
            KeyArgs::default()
                .read(&[RoleType::Targets])
                .unwrap_err()
                .to_string(),
            "no targets key was given; give --keys DIR or --key targets=FILE"
        );
    }

    #[test]
    fn what_is_missing_or_no_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path(), &ROLES).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no root*.key in {}; give the folder that has one, or --key root=FILE",
                dir.path().display()
            )
        );
        let path = dir.path().join("root.key");
        fs::write(&path, "not a key").unwrap();
        let error = read(dir.path(), &ROLES).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{} is not a private key", path.display()))
        );
        assert!(matches!(
            read(&dir.path().join("absent"), &ROLES),
            Err(KeyringError::ReadDir { .. })
        ));
    }
}
