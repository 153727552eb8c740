//! A publisher that signs whatever a test wants: any version, key, threshold, expiry and signature,
//! right or wrong, byte for byte.
//!
//! Metadata are made as plain JSON, not through the types of the library that our client reads them
//! with, so that they can also be what that library would never write.

mod draft;
pub mod key;
mod next_root;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::draft::Draft;
pub use self::key::Key;
pub use self::next_root::NextRoot;
use crate::publisher::{ARCH, VARIANT};

/// When metadata expire unless a test says otherwise.
pub const EXPIRES: &str = "2999-01-01T00:00:00Z";

/// Who signs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The keys of all others.
    Root,
    /// What the newest snapshot is.
    Timestamp,
    /// What the newest targets are.
    Snapshot,
    /// What there is.
    Targets,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];
    /// Those that a root names the keys of and that change with every release.
    pub const ONLINE: [Self; 3] = [Self::Timestamp, Self::Snapshot, Self::Targets];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        })
    }
}

/// The keys of one role, and how many of them must sign.
#[derive(Debug, Clone)]
pub struct Signers {
    /// Those that the root names.
    pub keys: Vec<Key>,
    /// So many of them.
    pub threshold: u64,
}

impl Signers {
    /// One new ed25519 key.
    pub fn one() -> Self {
        Self::all_of(vec![Key::ed25519()])
    }

    /// These, all of which must sign.
    pub fn all_of(keys: Vec<Key>) -> Self {
        let threshold = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        Self { keys, threshold }
    }
}

/// The folder of a repository, and the keys of its newest root.
#[derive(Debug)]
pub struct Forge {
    dir: TempDir,
    signers: BTreeMap<Role, Signers>,
    root: u64,
    consistent: bool,
}

impl Forge {
    /// A repository with a first root and an ed25519 key for each role; nothing is published yet.
    #[allow(clippy::new_without_default)] // it makes keys and files
    pub fn new() -> Self {
        Self::with(Role::ALL.map(|role| (role, Signers::one())).into(), true)
    }

    /// The same with keys of the caller's choice, and with or without versions and digests in the
    /// names of files.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn with(signers: BTreeMap<Role, Signers>, consistent: bool) -> Self {
        let mut forge = Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            signers,
            root: 0,
            consistent,
        };
        for folder in [forge.metadata(), forge.targets()] {
            fs::create_dir_all(folder).expect("a new folder");
        }
        forge.next_root().write();
        forge
    }

    /// The folder to be served.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of the metadata.
    pub fn metadata(&self) -> PathBuf {
        self.dir.path().join(VARIANT).join(ARCH)
    }

    /// The folder of the targets.
    pub fn targets(&self) -> PathBuf {
        self.dir.path().join("targets")
    }

    /// The file of root `version`.
    pub fn root_file(&self, version: u64) -> PathBuf {
        self.metadata().join(format!("{version}.root.json"))
    }

    /// The keys of `role` in the newest root.
    ///
    /// # Panics
    /// When there are none.
    pub fn keys(&self, role: Role) -> &[Key] {
        &self.signers[&role].keys
    }

    /// The bytes of the metadata file `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.metadata().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Puts `bytes` into the metadata file `name`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.metadata().join(name), bytes)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Timestamp, snapshot and targets of this version, to be changed before they are written. The
    /// manifest offers 1.VERSION.0.
    pub fn release(&self, version: u64) -> Draft<'_> {
        Draft::new(self, version)
    }

    /// The same, written as it is.
    pub fn publish(&self, version: u64) {
        self.release(version).write();
    }

    /// The root after the newest one, with the same keys, to be changed before it is written.
    pub fn next_root(&mut self) -> NextRoot<'_> {
        NextRoot::new(self)
    }

    /// The name of a role's file: with the version, where names have one.
    pub fn file_name(&self, role: Role, version: u64) -> String {
        if self.consistent && role != Role::Timestamp {
            format!("{version}.{role}.json")
        } else {
            format!("{role}.json")
        }
    }
}

/// What is in every signed part.
fn head(role: Role, version: u64) -> Value {
    json!({
        "_type": role.to_string(),
        "spec_version": "1.0.0",
        "version": version,
        "expires": EXPIRES,
    })
}

/// A document as published: indented, so that its bytes are not the signed form.
fn bytes_of(document: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(document).expect("JSON of JSON")
}
