//! The settings store: `live` settings with their metadata, and `pending` transactions.
//!
//! [`Store::read`] holds the disk for hostile: it follows no symbolic link, opens nothing but plain
//! files, and is bounded in every direction. It loses nothing either. What is no setting (a file
//! whose name is no name, or whose content is no value, such as a power cut leaves behind) becomes a
//! [`Stray`]: an error would keep a host from every update because of one torn file, and a file left
//! out would be lost, though it may be all that is left of what a user set. So strays go where the
//! store goes, byte for byte, and whoever reads a store says which there are.

mod error;
mod files;
mod value;
mod write;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use crate::key::{self, Key, Name};

pub use error::DatastoreError;
pub use files::{MAX_DEPTH, MAX_ENTRIES, MAX_FILE_BYTES, MAX_TOTAL_BYTES};
pub use value::{Value, ValueError};

const LIVE: &str = "live";
const PENDING: &str = "pending";

/// The settings of `live`, or of one pending transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The values of settings.
    pub data: BTreeMap<Key, Value>,
    /// Metadata by setting, then by their own name. A setting need not have a value. Metadata belong
    /// to `live`; what a transaction holds of them is kept, and nothing else is done with it.
    pub metadata: BTreeMap<Key, BTreeMap<Key, Value>>,
}

impl Tree {
    /// A setting with a value, and a setting or metadata that would have to lie in a folder of the
    /// same name: they cannot both be stored.
    pub fn conflict(&self) -> Option<(&Key, &Key)> {
        self.data
            .keys()
            .find_map(|key| Some((key, self.below(key)?)))
    }

    /// Whether `key` can have a value beside what is there: it has none, and neither has anything
    /// above or below it.
    pub(crate) fn has_room_for(&self, key: &Key) -> bool {
        !self.data.contains_key(key) && self.has_room_for_metadata(key) && self.below(key).is_none()
    }

    /// Whether metadata of `key` can be stored beside what is there: nothing above it has a value.
    pub(crate) fn has_room_for_metadata(&self, key: &Key) -> bool {
        !key.parents().any(|parent| self.data.contains_key(&parent))
    }

    fn below(&self, key: &Key) -> Option<&Key> {
        let next = (Bound::Excluded(key), Bound::Unbounded);
        let data = self.data.range(next).next().map(|(key, _)| key);
        let metadata = self.metadata.range(next).next().map(|(key, _)| key);
        data.into_iter()
            .chain(metadata)
            .find(|other| other.is_within(key))
    }
}

/// A file that is no setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where it is, from the store's folder.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Why it is no setting, in words.
    pub reason: String,
}

/// A whole store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// The settings in use.
    pub live: Tree,
    /// Those of transactions that were not committed, by the transaction's name.
    pub pending: BTreeMap<String, Tree>,
    /// Files that are no settings.
    pub strays: Vec<Stray>,
}

impl Store {
    /// Reads the store in the folder `dir`. `dir` itself may be reached through links; in it there
    /// are none.
    ///
    /// # Errors
    /// Every [`DatastoreError`] of reading. A folder without `live` is no store; one without
    /// `pending` has no transactions.
    pub fn read(dir: &Path) -> Result<Self, DatastoreError> {
        let files = files::read(dir, MAX_ENTRIES)?;
        if !files.folders.contains(&vec![OsString::from(LIVE)]) {
            return error::MissingLiveSnafu { path: dir }.fail();
        }
        let mut store = Self::default();
        for folder in &files.folders {
            if let [pending, name] = folder.as_slice()
                && pending == PENDING
                && let Some(name) = transaction(name)
            {
                store.pending.insert(name, Tree::default());
            }
        }
        for (components, bytes) in files.contents {
            if let Err(reason) = store.take(&components, &bytes) {
                let path = components.iter().collect();
                store.strays.push(Stray {
                    path,
                    bytes,
                    reason,
                });
            }
        }
        Ok(store)
    }

    /// Puts one file where it belongs, or says why it belongs nowhere.
    fn take(&mut self, components: &[OsString], bytes: &[u8]) -> Result<(), String> {
        let (tree, path) = match components {
            [live, path @ ..] if live == LIVE && !path.is_empty() => (&mut self.live, path),
            [pending, name, path @ ..] if pending == PENDING && !path.is_empty() => {
                let name = transaction(name).ok_or("no transaction has such a name")?;
                (self.pending.entry(name).or_default(), path)
            }
            _ => return Err("neither live nor pending".to_owned()),
        };
        let path: PathBuf = path.iter().collect();
        let name = Name::decode(&path).map_err(|error| error.to_string())?;
        let value = Value::parse(bytes).map_err(|error| error.to_string())?;
        match name {
            Name::Data(data) => tree.data.insert(data, value),
            Name::Metadata { data, metadata } => tree
                .metadata
                .entry(data)
                .or_default()
                .insert(metadata, value),
        };
        Ok(())
    }

    /// Writes the store as the new folder `dir`: files 0644, folders 0755, whatever the umask.
    ///
    /// Before: nothing at `dir`, and its parent folder. After: the whole store, but not yet
    /// durable: the caller syncs the file system once (`syncfs`), which is cheaper than a sync for
    /// each of some thousand files, and must come before anything points to the store. After an
    /// error or a crash in the middle: a part of it; the caller removes it. A stray whose place a
    /// setting needs gives way.
    ///
    /// # Errors
    /// Every [`DatastoreError`] of writing. [`DatastoreError::Exists`] when there is anything at
    /// `dir`; it stays as it is.
    pub fn write(&self, dir: &Path) -> Result<(), DatastoreError> {
        let mut entries = write::Entries::default();
        entries.folder(vec![LIVE.into()]);
        add_tree(&mut entries, &[LIVE.into()], &self.live)?;
        for (name, tree) in &self.pending {
            let base = [OsString::from(PENDING), key::encode(name).into()];
            entries.folder(base.to_vec());
            add_tree(&mut entries, &base, tree)?;
        }
        for stray in &self.strays {
            entries.stray(stray)?;
        }
        entries.write(dir)
    }
}

fn transaction(name: &OsStr) -> Option<String> {
    key::decode(name.to_str()?)
}

fn add_tree(
    entries: &mut write::Entries,
    base: &[OsString],
    tree: &Tree,
) -> Result<(), DatastoreError> {
    if let Some((key, below)) = tree.conflict() {
        let (key, below) = (key.clone(), below.clone());
        return error::ConflictSnafu { key, below }.fail();
    }
    let mut add = |name: &Name, value: &Value| {
        let mut components = base.to_vec();
        components.extend(name.components().into_iter().map(OsString::from));
        entries.file(components, value.to_string().into_bytes());
    };
    for (key, value) in &tree.data {
        add(&Name::Data(key.clone()), value);
    }
    for (data, metadata) in &tree.metadata {
        for (metadata, value) in metadata {
            let (data, metadata) = (data.clone(), metadata.clone());
            add(&Name::Metadata { data, metadata }, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
