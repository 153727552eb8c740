//! A value that the new version writes in another way.

use super::{Migration, MigrationData, MigrationError, key};
use crate::datastore::Value;
use crate::key::Key;

/// A setting's value is another one in the new version.
///
/// Forward: where it is the old one, it becomes the new one. Backward: the other way.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceValue {
    /// The setting.
    pub setting: Key,
    /// The value in the old version.
    pub old: Value,
    /// The value in the new version.
    pub new: Value,
}

impl ReplaceValue {
    /// Of a setting by name.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new(
        setting: &str,
        old: impl Into<Value>,
        new: impl Into<Value>,
    ) -> Result<Self, MigrationError> {
        Ok(Self {
            setting: key(setting)?,
            old: old.into(),
            new: new.into(),
        })
    }
}

impl Migration for ReplaceValue {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        swap(data, &self.setting, &self.old, &self.new);
        Ok(())
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        swap(data, &self.setting, &self.new, &self.old);
        Ok(())
    }
}

fn swap(data: &mut MigrationData, setting: &Key, old: &Value, new: &Value) {
    if let Some(value) = data.data.get_mut(setting)
        && value == old
    {
        *value = new.clone();
    }
}

/// [`ReplaceValue`] for strings.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceString(ReplaceValue);

impl ReplaceString {
    /// Of a setting by name.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new(setting: &str, old: &str, new: &str) -> Result<Self, MigrationError> {
        ReplaceValue::new(setting, old, new).map(Self)
    }
}

impl Migration for ReplaceString {
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
    fn the_old_value_becomes_the_new_one_and_any_other_stays() {
        let string = ReplaceString::new("s.a", "old", "new");
        for (before, after) in [
            (json!("old"), json!("new")),
            (json!("older"), json!("older")),
            (json!(["old"]), json!(["old"])),
            (json!(1), json!(1)),
        ] {
            let before = sample(json!({"s.a": before, "s.b": "old"}), json!({})).unwrap();
            let after = sample(json!({"s.a": after, "s.b": "old"}), json!({})).unwrap();
            check(&string, &before, &after, &Back::Same).unwrap();
        }
        let value = ReplaceValue::new("s.a", true, ["x", "y"]);
        let before = sample(json!({"s.a": true}), json!({})).unwrap();
        let after = sample(json!({"s.a": ["x", "y"]}), json!({})).unwrap();
        check(&value, &before, &after, &Back::Same).unwrap();
    }
}
