//! Metadata of settings. Only the live settings have them.

use super::{Migration, MigrationData, MigrationError, key, metadata_key, remove_metadata};
use crate::datastore::Value;
use crate::key::Key;

type Items = Vec<(Key, Vec<Key>)>;

fn items<'a>(
    lists: impl IntoIterator<Item = (&'a str, &'a [&'a str])>,
) -> Result<Items, MigrationError> {
    let item = |(setting, names): (&str, &[&str])| {
        let names = names.iter().map(|name| metadata_key(name));
        Ok((key(setting)?, names.collect::<Result<_, _>>()?))
    };
    lists.into_iter().map(item).collect()
}

fn remove(data: &mut MigrationData, items: &Items, only_if: Option<&Value>) {
    for (setting, names) in items {
        for name in names {
            let value = data.metadata.get(setting).and_then(|items| items.get(name));
            if only_if.is_none() || value == only_if {
                remove_metadata(data, setting, name);
            }
        }
    }
}

/// The new version has metadata that the old one does not know.
///
/// Forward: nothing. Backward: they are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddMetadata {
    /// Settings, each with the names of its metadata.
    pub items: Vec<(Key, Vec<Key>)>,
}

impl AddMetadata {
    /// Of settings, each with the names of its metadata.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<'a>(
        lists: impl IntoIterator<Item = (&'a str, &'a [&'a str])>,
    ) -> Result<Self, MigrationError> {
        let items = items(lists)?;
        Ok(Self { items })
    }
}

impl Migration for AddMetadata {
    fn forward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        remove(data, &self.items, None);
        Ok(())
    }
}

/// The new version does not know metadata that the old one has.
///
/// Forward: they are removed. Backward: nothing; what the migrator kept of them comes back by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoveMetadata {
    /// Settings, each with the names of its metadata.
    pub items: Vec<(Key, Vec<Key>)>,
    /// Remove only what has this value.
    pub only_if: Option<Value>,
}

impl RemoveMetadata {
    /// Of settings, each with the names of its metadata.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<'a>(
        lists: impl IntoIterator<Item = (&'a str, &'a [&'a str])>,
    ) -> Result<Self, MigrationError> {
        Ok(Self {
            items: items(lists)?,
            only_if: None,
        })
    }

    /// The same, but only for metadata that have this value.
    #[must_use]
    pub fn only_if(self, value: impl Into<Value>) -> Self {
        Self {
            only_if: Some(value.into()),
            ..self
        }
    }
}

impl Migration for RemoveMetadata {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        remove(data, &self.items, self.only_if.as_ref());
        Ok(())
    }

    fn backward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }
}

/// One item of metadata, old and new.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataReplacement {
    /// The setting.
    pub setting: Key,
    /// The name of the metadata.
    pub metadata: Key,
    /// The value in the old version.
    pub old: Value,
    /// The value in the new version.
    pub new: Value,
}

impl MetadataReplacement {
    /// Of a setting and its metadata by name.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new(
        setting: &str,
        metadata: &str,
        old: impl Into<Value>,
        new: impl Into<Value>,
    ) -> Result<Self, MigrationError> {
        Ok(Self {
            setting: key(setting)?,
            metadata: metadata_key(metadata)?,
            old: old.into(),
            new: new.into(),
        })
    }

    fn swap(&self, data: &mut MigrationData, old: &Value, new: &Value) {
        if let Some(items) = data.metadata.get_mut(&self.setting)
            && let Some(value) = items.get_mut(&self.metadata)
            && value == old
        {
            *value = new.clone();
        }
    }
}

/// Metadata are others in the new version.
///
/// Forward: where they have the old value, they get the new one. Backward: the other way.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceMetadata {
    /// In the order of going forward.
    pub replacements: Vec<MetadataReplacement>,
}

impl ReplaceMetadata {
    /// Of strings: a setting, the name of its metadata, the old and the new value.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<'a>(
        items: impl IntoIterator<Item = (&'a str, &'a str, &'a str, &'a str)>,
    ) -> Result<Self, MigrationError> {
        let replacement = |(setting, name, old, new)| {
            MetadataReplacement::new(setting, name, Value::from(old), Value::from(new))
        };
        let replacements = items.into_iter().map(replacement);
        Ok(Self {
            replacements: replacements.collect::<Result<_, _>>()?,
        })
    }
}

impl Migration for ReplaceMetadata {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        for item in &self.replacements {
            item.swap(data, &item.old, &item.new);
        }
        Ok(())
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        for item in self.replacements.iter().rev() {
            item.swap(data, &item.new, &item.old);
        }
        Ok(())
    }
}

/// [`ReplaceMetadata`] for whole lists of strings.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceMetadataLists(ReplaceMetadata);

impl ReplaceMetadataLists {
    /// Of a setting, the name of its metadata, the old and the new list.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<'a>(
        items: impl IntoIterator<Item = (&'a str, &'a str, &'a [&'a str], &'a [&'a str])>,
    ) -> Result<Self, MigrationError> {
        let list = |list: &[&str]| -> Value {
            let texts: Vec<String> = list.iter().map(|&text| text.to_owned()).collect();
            texts.into()
        };
        let replacement = |(setting, name, old, new)| {
            MetadataReplacement::new(setting, name, list(old), list(new))
        };
        let replacements = items.into_iter().map(replacement);
        Ok(Self(ReplaceMetadata {
            replacements: replacements.collect::<Result<_, _>>()?,
        }))
    }
}

impl Migration for ReplaceMetadataLists {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.0.forward(data)
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.0.backward(data)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{Back, check, sample};
    use super::*;

    #[test]
    fn metadata_that_are_added_go_backward_and_removed_ones_forward() {
        let with = sample(
            json!({"s.a": 1}),
            json!({"s.a": {"x": 1, "y": 2}, "s.b": {"x": 3}}),
        )
        .unwrap();
        let without = sample(json!({"s.a": 1}), json!({"s.a": {"y": 2}})).unwrap();
        let lists = [("s.a", &["x", "z"][..]), ("s.b", &["x"]), ("s.c", &["x"])];
        check(
            &AddMetadata::new(lists),
            &with,
            &with,
            &Back::To(without.clone()),
        )
        .unwrap();
        let back = Back::To(without.clone());
        check(&RemoveMetadata::new(lists), &with, &without, &back).unwrap();

        let one = sample(json!({"s.a": 1}), json!({"s.a": {"x": 1, "y": 2}})).unwrap();
        let migration = RemoveMetadata::new(lists).unwrap().only_if(3);
        check(&migration, &with, &one, &Back::To(one.clone())).unwrap();
    }

    #[test]
    fn metadata_are_replaced_where_they_are_exactly_the_old_ones() {
        let before =
            json!({"s.a": {"t": "old", "l": ["x", "y"]}, "s.b": {"t": "older", "l": ["x"]}});
        let after =
            json!({"s.a": {"t": "new", "l": ["x", "y"]}, "s.b": {"t": "older", "l": ["x"]}});
        let before = sample(json!({}), before).unwrap();
        let after = sample(json!({}), after).unwrap();
        let migration =
            ReplaceMetadata::new([("s.a", "t", "old", "new"), ("s.b", "t", "old", "new")]);
        check(&migration, &before, &after, &Back::Same).unwrap();

        let lists = json!({"s.a": {"t": "old", "l": []}, "s.b": {"t": "older", "l": ["x"]}});
        let lists = sample(json!({}), lists).unwrap();
        let xy = &["x", "y"][..];
        let migration =
            ReplaceMetadataLists::new([("s.a", "l", xy, &[][..]), ("s.b", "l", xy, &[])]);
        check(&migration, &before, &lists, &Back::Same).unwrap();
    }
}
