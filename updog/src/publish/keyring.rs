//! Signing keys in a folder: `root*.key`, `targets*.key`, `snapshot*.key`, `timestamp*.key`.
//!
//! A key file is a private key in PKCS#8: ed25519 or ECDSA P-256 as raw DER, RSA as PEM. What
//! `updata keys new` writes is ed25519 (PKCS#8 version 1, 48 bytes), which
//! `openssl pkey -inform DER -in root.key -noout -text` reads too. The file's name says what the
//! key is for; nothing else about it does.
//!
//! Private keys are read here and in the signer, and never printed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};
use tough::schema::RoleType;
use tough::schema::key::Key;
use tough::sign::{Sign as _, parse_keypair};

use super::bounded;

/// The extension of a key file.
pub const EXTENSION: &str = "key";
/// The four roles of a repository that have keys.
pub const ROLES: [RoleType; 4] = [
    RoleType::Root,
    RoleType::Targets,
    RoleType::Snapshot,
    RoleType::Timestamp,
];
/// A larger file is not a key; an RSA key of 8,192 bits has about 6,400 bytes in PEM.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Why a folder's keys cannot be used.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum KeyringError {
    /// The folder cannot be listed.
    #[snafu(display("reading the key folder {}", dir.display()))]
    ReadDir { dir: PathBuf, source: io::Error },
    /// A key file cannot be read.
    #[snafu(display("reading the key {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is no key.
    #[snafu(display(
        "{} is not a private key in PKCS#8; make keys with `updata keys new`", path.display()
    ))]
    Parse {
        path: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The key has no identity, which no supported kind of key can cause.
    #[snafu(display("computing the key id of {}", path.display()))]
    KeyId {
        path: PathBuf,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// No file for a role.
    #[snafu(display("no {role}*.{EXTENSION} in {}; make keys with `updata keys new`", dir.display()))]
    NoKey { role: RoleType, dir: PathBuf },
}

/// A key that was read once, without its private half.
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
}

/// A key's identity in metadata: the digest of its public half.
pub type KeyId = tough::schema::decoded::Decoded<tough::schema::decoded::Hex>;

/// Reads the keys of `roles` from `dir`: at least one a role.
///
/// # Errors
/// [`KeyringError::NoKey`] for a role without a file.
pub fn read(dir: &Path, roles: &[RoleType]) -> Result<Vec<RoleKey>, KeyringError> {
    let names = list(dir)?;
    let mut keys = Vec::new();
    for &role in roles {
        let files = of_role(&names, role);
        ensure!(!files.is_empty(), NoKeySnafu { role, dir });
        for name in files {
            keys.push(read_key(&dir.join(name), role)?);
        }
    }
    Ok(keys)
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

fn read_key(path: &Path, role: RoleType) -> Result<RoleKey, KeyringError> {
    let bytes = bounded::read(path, MAX_KEY_BYTES).context(ReadSnafu { path })?;
    let public = parse_keypair(&bytes)
        .context(ParseSnafu { path })?
        .tuf_key();
    let id = public.key_id().context(KeyIdSnafu { path })?;
    Ok(RoleKey {
        role,
        path: path.to_path_buf(),
        public,
        id,
    })
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
    fn what_is_missing_or_no_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path(), &ROLES).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no root*.key in {}; make keys with `updata keys new`",
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
