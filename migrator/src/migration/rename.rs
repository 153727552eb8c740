//! Settings that have another name in the new version.

use super::{Migration, MigrationData, MigrationError, key, within};
use crate::datastore::Value;
use crate::key::Key;

/// One renamed setting, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The name in the old version.
    pub from: Key,
    /// The name in the new version.
    pub to: Key,
}

impl Rename {
    /// Of a setting, or of all that lie within `from`.
    ///
    /// # Errors
    /// [`MigrationError::Nested`] when one lies within the other.
    pub fn new(from: Key, to: Key) -> Result<Self, MigrationError> {
        if from.is_within(&to) || to.is_within(&from) {
            return Err(MigrationError::Nested { from, to });
        }
        Ok(Self { from, to })
    }
}

/// Settings have other names in the new version: each with its metadata and all that lies within it.
///
/// Forward: from the old name to the new one. Backward: from the new name to the old one. Where there
/// is a value under the other name already, or in the way of it, that one stays, and what was to be
/// renamed is removed, since the version to come does not know its name.
#[derive(Clone, Debug, PartialEq)]
pub struct RenameSettings {
    /// In the order of going forward.
    pub renames: Vec<Rename>,
    /// Rename only what has this value.
    pub only_if: Option<Value>,
}

impl RenameSettings {
    /// Of pairs of names, the old one and the new one.
    ///
    /// # Errors
    /// [`MigrationError::Name`] and [`MigrationError::Nested`].
    pub fn new<S: AsRef<str>>(
        pairs: impl IntoIterator<Item = (S, S)>,
    ) -> Result<Self, MigrationError> {
        let rename = |(from, to): (S, S)| Rename::new(key(from.as_ref())?, key(to.as_ref())?);
        Ok(Self {
            renames: pairs.into_iter().map(rename).collect::<Result<_, _>>()?,
            only_if: None,
        })
    }

    /// The same, but only for settings that have this value.
    #[must_use]
    pub fn only_if(self, value: impl Into<Value>) -> Self {
        Self {
            only_if: Some(value.into()),
            ..self
        }
    }

    fn rename(&self, data: &mut MigrationData, from: &Key, to: &Key) -> Result<(), MigrationError> {
        let moves =
            |value: Option<&Value>| self.only_if.is_none() || value == self.only_if.as_ref();
        for old in within(&data.metadata, from) {
            if moves(data.data.get(&old))
                && let Some(items) = data.metadata.remove(&old)
            {
                let new = moved(&old, from, to)?;
                if data.has_room_for_metadata(&new) {
                    let present = data.metadata.entry(new).or_default();
                    for (name, value) in items {
                        present.entry(name).or_insert(value);
                    }
                }
            }
        }
        for old in within(&data.data, from) {
            if moves(data.data.get(&old))
                && let Some(value) = data.data.remove(&old)
            {
                let new = moved(&old, from, to)?;
                if data.has_room_for(&new) {
                    data.data.insert(new, value);
                }
            }
        }
        Ok(())
    }
}

fn moved(key: &Key, from: &Key, to: &Key) -> Result<Key, MigrationError> {
    match key.moved(from, to) {
        Some(moved) => moved.map_err(|source| MigrationError::Name { source }),
        None => Ok(key.clone()),
    }
}

impl Migration for RenameSettings {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut renames = self.renames.iter();
        renames.try_for_each(|rename| self.rename(data, &rename.from, &rename.to))
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut renames = self.renames.iter().rev();
        renames.try_for_each(|rename| self.rename(data, &rename.to, &rename.from))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{Back, check, sample};
    use super::*;

    #[test]
    fn a_setting_and_all_within_it_move_with_their_metadata() {
        let before = sample(
            json!({"s.host": "h", "s.labels.x": 1, "s.labels.\"y.z\"": 2, "s.labels-more": 3}),
            json!({"s.host": {"template": "t"}, "s.labels": {"affected": ["k"]}, "s.x": {"t": 1}}),
        )
        .unwrap();
        let after = sample(
            json!({"s.name": "h", "s.k.l.x": 1, "s.k.l.\"y.z\"": 2, "s.labels-more": 3}),
            json!({"s.name": {"template": "t"}, "s.k.l": {"affected": ["k"]}, "s.x": {"t": 1}}),
        )
        .unwrap();
        let migration = RenameSettings::new([("s.host", "s.name"), ("s.labels", "s.k.l")]);
        check(&migration, &before, &after, &Back::Same).unwrap();
    }

    #[test]
    fn metadata_are_not_moved_below_a_value_where_they_could_not_be_stored() {
        let metadata = json!({"s.ntp.servers": {"affected": ["k"]}});
        let data = json!({"s.motd": "m", "s.ntp.servers": ["a"]});
        let mut tree = sample(data, metadata).unwrap();
        let migration = RenameSettings::new([("s.motd", "s.ntp")]).unwrap();
        migration.backward(&mut tree).unwrap();
        assert_eq!(tree, sample(json!({"s.motd": "m"}), json!({})).unwrap());
    }

    #[test]
    fn a_chain_of_names_is_undone_in_reverse() {
        let before = sample(json!({"a": 1, "b": 2}), json!({})).unwrap();
        let after = sample(json!({"b": 1, "c": 2}), json!({})).unwrap();
        let migration = RenameSettings::new([("b", "c"), ("a", "b")]);
        check(&migration, &before, &after, &Back::Same).unwrap();
    }

    #[test]
    fn only_what_has_the_value_is_renamed() {
        let before = sample(
            json!({"s.a": 1, "s.b": 2}),
            json!({"s.a": {"t": 1}, "s.b": {"t": 2}}),
        )
        .unwrap();
        let after = sample(
            json!({"s.x": 1, "s.b": 2}),
            json!({"s.x": {"t": 1}, "s.b": {"t": 2}}),
        )
        .unwrap();
        let migration = RenameSettings::new([("s.a", "s.x"), ("s.b", "s.y")])
            .unwrap()
            .only_if(1);
        check(&migration, &before, &after, &Back::Same).unwrap();
    }

    #[test]
    fn what_is_set_under_the_new_name_stays() {
        for present in [json!({"a": 1, "b": 2}), json!({"a": 1, "b.c": 2})] {
            let mut data = sample(present.clone(), json!({"a": {"t": 1}, "b": {"t": 2}})).unwrap();
            let migration = RenameSettings::new([("a", "b")]);
            migration.forward(&mut data).unwrap();
            assert!(!data.data.contains_key(&Key::data("a").unwrap()));
            assert_eq!(data.data.len(), 1);
            assert_eq!(data.data.values().next().unwrap(), &2.into());
            assert_eq!(data.conflict(), None);
            assert_eq!(
                data.metadata,
                sample(json!({}), json!({"b": {"t": 2}})).unwrap().metadata
            );
        }
    }

    #[test]
    fn names_within_each_other_and_names_that_become_too_long_are_refused() {
        for pair in [("a", "a"), ("a", "a.b"), ("a.b", "a")] {
            let error = RenameSettings::new([pair]).unwrap_err();
            assert!(matches!(error, MigrationError::Nested { .. }));
        }
        let long = "x".repeat(250);
        let migration = RenameSettings::new([("a", long.as_str())]);
        let mut data = sample(json!({"a.bbbbbb": 1}), json!({})).unwrap();
        let error = migration.forward(&mut data).unwrap_err();
        assert!(matches!(error, MigrationError::Name { .. }));
    }
}
