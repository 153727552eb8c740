//! Pure: nothing that a user set is lost by going to another version and back.
//!
//! A migration removes what the version to come does not know. What it removed is kept, under the
//! migration and its direction; when the same migration runs the other way, it comes back, unless the
//! setting has been set again since. That ends it: what came back, or did not, is no longer kept. A
//! new run in the same direction replaces what an older one kept, so that a value that the user
//! deleted in between does not come back.
//!
//! Live settings and their metadata are covered. Pending transactions are not: they were never in
//! effect, and the next start drops them. A setting under its new name is not lost, where the
//! migration says what it renames; a program cannot say so, and its old name is kept until the way
//! back, where the renamed value wins.

mod file;
mod form;
mod names;

use std::collections::BTreeMap;

use semver::Version;

use crate::datastore::{Store, Tree, Value};
use crate::key::{Key, Name};
use crate::migration::{Direction, MigrationData};

pub use file::{KeptError, KeptFile, path_beside};

/// The most entries: runs of migrations that removed something.
pub const MAX_ENTRIES: usize = 256;
/// The most bytes of names and values in all entries together.
pub const MAX_BYTES: usize = 4 << 20;

/// One run of a migration.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The migration's target name.
    pub migration: &'a str,
    /// Which way it ran.
    pub direction: Direction,
    /// The version that had the settings before.
    pub version: &'a Version,
    /// What it renamed, in order; what lies within a name moves with it.
    pub renamed: &'a [(Key, Key)],
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What came back into the store.
    pub put_back: Vec<Name>,
    /// What the step removed, and is now kept.
    pub kept: Vec<Name>,
    /// What is no longer kept, because it was too much: the oldest first. The caller says so.
    pub dropped: Vec<Dropped>,
}

/// Values that are no longer kept for lack of room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The migration that removed them.
    pub migration: String,
    /// Which way it ran.
    pub direction: Direction,
    /// The version that had them.
    pub version: Version,
    /// How many settings and metadata.
    pub count: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    migration: String,
    direction: Direction,
    version: Version,
    lost: Tree,
}

/// What migrations removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The oldest first.
    entries: Vec<Entry>,
}

impl Kept {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes note of one step that made `output` of `input`: puts back into `output` what the same
    /// migration removed when it ran the other way, and keeps what is in `input` and no longer there.
    pub fn after_step(&mut self, step: &Step<'_>, input: &Store, output: &mut Store) -> Outcome {
        let lost = lost(&input.live, &output.live, step.renamed);
        let mut outcome = Outcome {
            kept: names(&lost),
            ..Outcome::default()
        };
        for entry in self.take(step.migration, step.direction.opposite()) {
            put_back(&entry.lost, &mut output.live, &mut outcome.put_back);
        }
        self.take(step.migration, step.direction);
        if !outcome.kept.is_empty() {
            self.entries.push(Entry {
                migration: step.migration.to_owned(),
                direction: step.direction,
                version: step.version.clone(),
                lost,
            });
        }
        outcome.dropped = self.drop_oldest();
        outcome
    }

    fn take(&mut self, migration: &str, direction: Direction) -> Vec<Entry> {
        self.entries
            .extract_if(.., |entry| {
                entry.migration == migration && entry.direction == direction
            })
            .collect()
    }

    fn drop_oldest(&mut self) -> Vec<Dropped> {
        let mut bytes = 0_usize;
        let mut fitting = 0_usize;
        for entry in self.entries.iter().rev() {
            bytes = bytes.saturating_add(size(entry));
            if bytes > MAX_BYTES || fitting == MAX_ENTRIES {
                break;
            }
            fitting = fitting.saturating_add(1);
        }
        let excess = self.entries.len().saturating_sub(fitting);
        self.entries
            .drain(..excess)
            .map(|entry| Dropped {
                count: names(&entry.lost).len(),
                migration: entry.migration,
                direction: entry.direction,
                version: entry.version,
            })
            .collect()
    }
}

/// What `before` has and `after` lacks, under its old name and with the same value under its new one.
fn lost(before: &MigrationData, after: &MigrationData, renamed: &[(Key, Key)]) -> Tree {
    let mut lost = Tree::default();
    for (key, value) in &before.data {
        if !after.data.contains_key(key) && after.data.get(&new_name(key, renamed)) != Some(value) {
            lost.data.insert(key.clone(), value.clone());
        }
    }
    for (key, items) in &before.metadata {
        let same = after.metadata.get(key);
        let moved = after.metadata.get(&new_name(key, renamed));
        for (name, value) in items {
            let is_there = same.is_some_and(|items| items.contains_key(name))
                || moved.is_some_and(|items| items.get(name) == Some(value));
            if !is_there {
                let items = lost.metadata.entry(key.clone()).or_default();
                items.insert(name.clone(), value.clone());
            }
        }
    }
    lost
}

fn new_name(key: &Key, renamed: &[(Key, Key)]) -> Key {
    renamed.iter().fold(key.clone(), |key, (from, to)| {
        // A name that would be too long was not given.
        match key.moved(from, to) {
            Some(Ok(moved)) => moved,
            Some(Err(_)) | None => key,
        }
    })
}

/// Puts back what has not been set again. Nothing is put where it could not be stored.
fn put_back(lost: &Tree, live: &mut Tree, done: &mut Vec<Name>) {
    for (key, value) in &lost.data {
        if live.has_room_for(key) {
            live.data.insert(key.clone(), value.clone());
            done.push(Name::Data(key.clone()));
        }
    }
    for (key, items) in &lost.metadata {
        for (name, value) in items {
            let is_set = live
                .metadata
                .get(key)
                .is_some_and(|items| items.contains_key(name));
            if !is_set && live.has_room_for_metadata(key) {
                let items = live.metadata.entry(key.clone()).or_default();
                items.insert(name.clone(), value.clone());
                done.push(Name::Metadata {
                    data: key.clone(),
                    metadata: name.clone(),
                });
            }
        }
    }
}

fn names(tree: &Tree) -> Vec<Name> {
    values(tree).map(|(name, _)| name).collect()
}

fn values(tree: &Tree) -> impl Iterator<Item = (Name, &Value)> {
    let data = tree.data.iter();
    let data = data.map(|(key, value)| (Name::Data(key.clone()), value));
    let metadata = tree
        .metadata
        .iter()
        .flat_map(|(key, items): (_, &BTreeMap<_, _>)| {
            items.iter().map(|(name, value)| {
                let name = Name::Metadata {
                    data: key.clone(),
                    metadata: name.clone(),
                };
                (name, value)
            })
        });
    data.chain(metadata)
}

fn size(entry: &Entry) -> usize {
    values(&entry.lost)
        .map(|(name, value)| {
            let name = name.to_string().len();
            name.saturating_add(value.to_string().len())
        })
        .fold(entry.migration.len(), usize::saturating_add)
}

#[cfg(test)]
mod tests;
