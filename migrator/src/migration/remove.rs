//! Settings that the new version no longer has.

use super::{Migration, MigrationData, MigrationError, keys};
use crate::datastore::Value;
use crate::key::Key;

/// The new version does not know settings that the old one has.
///
/// Forward: they are removed. Backward: nothing; what the migrator kept of them comes back by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoveSettings {
    /// The settings.
    pub keys: Vec<Key>,
    /// Remove only what has this value.
    pub only_if: Option<Value>,
}

impl RemoveSettings {
    /// Of settings by name.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, MigrationError> {
        Ok(Self {
            keys: keys(names)?,
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
}

impl Migration for RemoveSettings {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        for key in &self.keys {
            if self.only_if.is_none() || data.data.get(key) == self.only_if.as_ref() {
                data.data.remove(key);
            }
        }
        Ok(())
    }

    fn backward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{Back, check, sample};
    use super::*;

    #[test]
    fn removed_settings_are_gone_and_nothing_else() {
        let before = sample(
            json!({"s.a": 1, "s.a-b": 2, "s.c": 3, "s.d": 3}),
            json!({"s.a": {"template": "x"}}),
        )
        .unwrap();
        let metadata = json!({"s.a": {"template": "x"}});
        let after = sample(json!({"s.a-b": 2, "s.d": 3}), metadata.clone()).unwrap();
        let back = || Back::To(after.clone());
        check(
            &RemoveSettings::new(["s.a", "s.c"]),
            &before,
            &after,
            &back(),
        )
        .unwrap();

        let after = sample(json!({"s.a": 1, "s.a-b": 2, "s.d": 3}), metadata).unwrap();
        let migration = RemoveSettings::new(["s.a", "s.c", "s.e"])
            .unwrap()
            .only_if(3);
        check(&migration, &before, &after, &Back::To(after.clone())).unwrap();
    }
}
