//! The kit for those who write migrations: what a migration is, the usual ones, the `main` of a
//! migration's program ([`run()`]), and a harness for its tests ([`check`]).
//!
//! A migration changes the settings of one version into those of the next one that needs it, and
//! back. It sees one set of settings at a time: first `live`, with the metadata, then each pending
//! transaction, without. Any setting may be missing, and none is to be made from nothing: a setting
//! that was not set has its default in either version.

mod add;
mod arguments;
pub mod check;
mod metadata;
mod os_release;
mod remove;
mod rename;
mod replace;
mod replace_lists;
mod replace_template;
mod run;
mod sequence;
mod template;

use std::collections::BTreeMap;
use std::fmt;

use snafu::Snafu;

use crate::datastore::Store;
use crate::key::{Key, KeyError};

pub use crate::datastore::Tree as MigrationData;
pub use add::{AddPrefixes, AddSettings};
pub use metadata::{
    AddMetadata, MetadataReplacement, RemoveMetadata, ReplaceMetadata, ReplaceMetadataLists,
};
pub use remove::RemoveSettings;
pub use rename::{Rename, RenameSettings};
pub use replace::{ReplaceString, ReplaceValue};
pub use replace_lists::{ListReplacement, ReplaceInList, ReplaceLists};
pub use replace_template::ReplaceSchnauzer;
#[allow(deprecated)] // old stores have templates
pub use replace_template::ReplaceTemplate;
pub use run::run;
pub use sequence::{NoOp, Sequence};
pub use template::Helper;

/// Which way a migration runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To a higher version.
    Forward,
    /// To a lower version.
    Backward,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }

    /// What a migration's program is told: `--forward` or `--backward`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Forward => "--forward",
            Self::Backward => "--backward",
        }
    }
}

/// `forward` or `backward`.
impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.flag().trim_start_matches('-'))
    }
}

/// Why a migration cannot be made, or fails.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum MigrationError {
    /// A name in the migration is none, or a renamed setting's name would be too long.
    #[snafu(display("a name that the migration uses"))]
    Name { source: KeyError },
    /// A prefix without characters is a prefix of everything.
    #[snafu(display("an empty prefix would remove every setting"))]
    EmptyPrefix,
    /// A setting cannot be renamed to what lies within it, or the other way.
    #[snafu(display("{from} cannot be renamed to {to}: one lies within the other"))]
    Nested { from: Key, to: Key },
    /// A value is not of the kind that the migration changes.
    #[snafu(display("{name} is {found}, where only {wanted} is right"))]
    Kind {
        name: String,
        found: &'static str,
        wanted: &'static str,
    },
    /// A template is not one that can be rendered here.
    #[snafu(display("the template {template:?}: {reason}"))]
    Template { template: String, reason: String },
    /// Whatever an author finds wrong.
    #[snafu(display("{message}"))]
    Other { message: String },
}

impl MigrationError {
    /// An error in the author's words.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Other {
            message: message.into(),
        }
    }
}

/// A change of settings between two versions.
pub trait Migration {
    /// To the higher version. On an error the data may have any content; nothing is written.
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError>;
    /// To the lower version; as [`Migration::forward`].
    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError>;

    /// The one or the other.
    fn run(&self, direction: Direction, data: &mut MigrationData) -> Result<(), MigrationError> {
        match direction {
            Direction::Forward => self.forward(data),
            Direction::Backward => self.backward(data),
        }
    }
}

impl<M: Migration + ?Sized> Migration for Box<M> {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.as_ref().forward(data)
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.as_ref().backward(data)
    }
}

/// A migration that could not be made fails when it runs, whatever the data: so a constructor's
/// result can be handed to [`run()`] and [`Sequence::then`] as it is, and any test finds the mistake.
impl<M: Migration> Migration for Result<M, MigrationError> {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.as_ref().map_err(Clone::clone)?.forward(data)
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.as_ref().map_err(Clone::clone)?.backward(data)
    }
}

/// Runs `migration` on the live settings and on each pending transaction.
///
/// Metadata are the live settings': a migration sees none with a transaction, and what a transaction
/// holds of them stays as it is.
///
/// # Errors
/// The migration's; then the store may have any content.
pub fn apply(
    migration: &(impl Migration + ?Sized),
    direction: Direction,
    store: &mut Store,
) -> Result<(), MigrationError> {
    migration.run(direction, &mut store.live)?;
    for tree in store.pending.values_mut() {
        let metadata = std::mem::take(&mut tree.metadata);
        migration.run(direction, tree)?;
        tree.metadata = metadata;
    }
    Ok(())
}

fn key(name: &str) -> Result<Key, MigrationError> {
    Key::data(name).map_err(|source| MigrationError::Name { source })
}

fn metadata_key(name: &str) -> Result<Key, MigrationError> {
    Key::metadata(name).map_err(|source| MigrationError::Name { source })
}

fn keys<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Vec<Key>, MigrationError> {
    names.into_iter().map(|name| key(name.as_ref())).collect()
}

/// Removes one item, and the setting's entry with the last one.
fn remove_metadata(data: &mut MigrationData, setting: &Key, name: &Key) {
    if let Some(items) = data.metadata.get_mut(setting) {
        items.remove(name);
        if items.is_empty() {
            data.metadata.remove(setting);
        }
    }
}

/// The part of a sorted map that lies within `top`.
fn within<V>(map: &BTreeMap<Key, V>, top: &Key) -> Vec<Key> {
    map.range(top.clone()..)
        .map(|(key, _)| key)
        .take_while(|key| key.is_within(top))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
