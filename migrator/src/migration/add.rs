//! Settings that the new version adds.

use super::{Migration, MigrationData, MigrationError, keys};
use crate::key::Key;

/// The new version has settings that the old one does not know.
///
/// Forward: nothing; defaults are set by who makes the store. Backward: they are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddSettings {
    /// The settings.
    pub keys: Vec<Key>,
}

impl AddSettings {
    /// Of settings by name.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, MigrationError> {
        Ok(Self { keys: keys(names)? })
    }
}

impl Migration for AddSettings {
    fn forward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        for key in &self.keys {
            data.data.remove(key);
        }
        Ok(())
    }
}

/// The new version has whole groups of settings that the old one does not know.
///
/// Forward: nothing. Backward: every setting whose name, as written, begins with a prefix is removed.
/// A prefix is plain text: `settings.ntp` is one of `settings.ntp-more`, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPrefixes {
    prefixes: Vec<String>,
}

impl AddPrefixes {
    /// Of prefixes.
    ///
    /// # Errors
    /// [`MigrationError::EmptyPrefix`].
    pub fn new<S: Into<String>>(
        prefixes: impl IntoIterator<Item = S>,
    ) -> Result<Self, MigrationError> {
        let prefixes: Vec<String> = prefixes.into_iter().map(Into::into).collect();
        if prefixes.iter().any(String::is_empty) {
            return Err(MigrationError::EmptyPrefix);
        }
        Ok(Self { prefixes })
    }

    /// The prefixes.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }
}

impl Migration for AddPrefixes {
    fn forward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        if self.prefixes.is_empty() {
            return Ok(());
        }
        data.data.retain(|key, _| {
            let name = key.to_string();
            !self.prefixes.iter().any(|prefix| name.starts_with(prefix))
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Direction;
    use super::super::check::{Back, check, sample};
    use super::*;

    #[test]
    fn added_settings_go_when_the_version_does() {
        let with = sample(
            json!({"settings.a": 1, "settings.ab": 2, "settings.a/": 3}),
            json!({}),
        );
        let without = sample(json!({"settings.ab": 2, "settings.a/": 3}), json!({}));
        let migration = AddSettings::new(["settings.a", "settings.none"]);
        let with = with.unwrap();
        check(&migration, &with, &with, &Back::To(without.unwrap())).unwrap();
    }

    #[test]
    fn a_prefix_is_plain_text() {
        let with = sample(
            json!({"s.ntp.a": 1, "s.ntp-more": 2, "s.nt": 3, "s.\"x.y\".z": 4, "t.ntp": 5}),
            json!({"s.ntp.a": {"template": "x"}}),
        )
        .unwrap();
        let without = sample(
            json!({"s.nt": 3, "t.ntp": 5}),
            json!({"s.ntp.a": {"template": "x"}}),
        )
        .unwrap();
        let migration = AddPrefixes::new(["s.ntp", "s.\"x."]);
        check(&migration, &with, &with, &Back::To(without)).unwrap();
        assert_eq!(AddPrefixes::new([""]), Err(MigrationError::EmptyPrefix));
    }

    #[test]
    fn a_wrong_name_fails_whatever_the_data() {
        let migration = AddSettings::new(["settings..a"]);
        for direction in [Direction::Forward, Direction::Backward] {
            let error = migration.run(direction, &mut MigrationData::default());
            assert!(matches!(error, Err(MigrationError::Name { .. })));
        }
    }
}
