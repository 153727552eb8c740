//! Lists that the new version writes in another way.

use serde_json::Value as Json;

use super::{Migration, MigrationData, MigrationError, key};
use crate::datastore::Value;
use crate::key::Key;

/// A list of strings, old and new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListReplacement {
    /// The setting.
    pub setting: Key,
    /// The whole list in the old version.
    pub old: Vec<String>,
    /// The whole list in the new version.
    pub new: Vec<String>,
}

/// Whole lists of strings are others in the new version.
///
/// Forward: a list that is exactly the old one, order included, becomes the new one. Backward: the
/// other way. A list with anything but strings in it is an error; what is no list stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaceLists {
    /// One for each setting.
    pub replacements: Vec<ListReplacement>,
}

impl ReplaceLists {
    /// Of a setting's name, its old list and its new list.
    ///
    /// # Errors
    /// [`MigrationError::Name`].
    pub fn new<'a>(
        lists: impl IntoIterator<Item = (&'a str, &'a [&'a str], &'a [&'a str])>,
    ) -> Result<Self, MigrationError> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let replacement = |(setting, old, new)| {
            Ok(ListReplacement {
                setting: key(setting)?,
                old: owned(old),
                new: owned(new),
            })
        };
        let replacements = lists.into_iter().map(replacement);
        Ok(Self {
            replacements: replacements.collect::<Result<_, _>>()?,
        })
    }
}

impl Migration for ReplaceLists {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut replacements = self.replacements.iter();
        replacements.try_for_each(|list| swap_list(data, &list.setting, &list.old, &list.new))
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut replacements = self.replacements.iter().rev();
        replacements.try_for_each(|list| swap_list(data, &list.setting, &list.new, &list.old))
    }
}

fn swap_list(
    data: &mut MigrationData,
    setting: &Key,
    old: &[String],
    new: &[String],
) -> Result<(), MigrationError> {
    let Some(value) = data.data.get_mut(setting) else {
        return Ok(());
    };
    let Some(list) = value.as_list() else {
        return Ok(());
    };
    if !list.iter().all(Json::is_string) {
        return Err(MigrationError::Kind {
            name: setting.to_string(),
            found: "a list with other things than strings in it",
            wanted: "a list of strings",
        });
    }
    if list
        .iter()
        .map(Json::as_str)
        .eq(old.iter().map(|text| Some(text.as_str())))
    {
        *value = new.to_vec().into();
    }
    Ok(())
}

/// One element of a list is another one in the new version.
///
/// Forward: in a list that holds the old element and not the new one, each old element becomes the
/// new one. Backward: the other way. A list that holds both stays as it is: afterwards nobody could
/// tell which was which. What is no list stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceInList {
    /// The setting.
    pub setting: Key,
    /// The element in the old version.
    pub old: Json,
    /// The element in the new version.
    pub new: Json,
}

impl ReplaceInList {
    /// Of a setting by name; the elements are scalars.
    ///
    /// # Errors
    /// [`MigrationError::Name`], and [`MigrationError::Kind`] for an element that is no scalar.
    pub fn new(
        setting: &str,
        old: impl Into<Json>,
        new: impl Into<Json>,
    ) -> Result<Self, MigrationError> {
        let replacement = Self {
            setting: key(setting)?,
            old: old.into(),
            new: new.into(),
        };
        for element in [&replacement.old, &replacement.new] {
            if element.is_array() || element.is_object() {
                return Err(MigrationError::Kind {
                    name: format!("an element of {setting}"),
                    found: "a list or an object",
                    wanted: "a scalar",
                });
            }
        }
        Ok(replacement)
    }
}

impl Migration for ReplaceInList {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        swap_elements(data, &self.setting, &self.old, &self.new)
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        swap_elements(data, &self.setting, &self.new, &self.old)
    }
}

fn swap_elements(
    data: &mut MigrationData,
    setting: &Key,
    old: &Json,
    new: &Json,
) -> Result<(), MigrationError> {
    let Some(value) = data.data.get_mut(setting) else {
        return Ok(());
    };
    let Some(list) = value.as_list() else {
        return Ok(());
    };
    if !list.contains(old) || list.contains(new) {
        return Ok(());
    }
    let swap = |element: &Json| if element == old { new } else { element }.clone();
    let swapped = Json::Array(list.iter().map(swap).collect());
    *value = Value::try_from(swapped).map_err(|error| MigrationError::new(error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{Back, check, sample};
    use super::*;

    #[test]
    fn the_whole_old_list_becomes_the_new_one() {
        let migration = ReplaceLists::new([
            ("s.a", &["x", "y"][..], &["z"][..]),
            ("s.b", &[], &["only"]),
        ]);
        let before = sample(json!({"s.a": ["x", "y"], "s.b": []}), json!({})).unwrap();
        let after = sample(json!({"s.a": ["z"], "s.b": ["only"]}), json!({})).unwrap();
        check(&migration, &before, &after, &Back::Same).unwrap();
        for other in [
            json!(["y", "x"]),
            json!(["x", "y", "y"]),
            json!("x"),
            json!(1),
        ] {
            let data = sample(json!({"s.a": other}), json!({})).unwrap();
            check(&migration, &data, &data, &Back::Same).unwrap();
        }
        let mut data = sample(json!({"s.a": ["x", 1]}), json!({})).unwrap();
        assert_eq!(
            migration.forward(&mut data).unwrap_err().to_string(),
            "s.a is a list with other things than strings in it, where only a list of strings is \
             right"
        );
    }

    #[test]
    fn an_element_is_replaced_where_that_can_be_undone() {
        let migration = ReplaceInList::new("s.a", "old", "new");
        for (before, after) in [
            (
                json!(["x", "old", "y", "old"]),
                json!(["x", "new", "y", "new"]),
            ),
            (json!(["old", "new"]), json!(["old", "new"])),
            (json!(["x"]), json!(["x"])),
            (json!("old"), json!("old")),
            (json!([1, "old"]), json!([1, "new"])),
        ] {
            let before = sample(json!({"s.a": before}), json!({})).unwrap();
            let after = sample(json!({"s.a": after}), json!({})).unwrap();
            check(&migration, &before, &after, &Back::Same).unwrap();
        }
        let error = ReplaceInList::new("s.a", json!(["x"]), "y").unwrap_err();
        assert!(matches!(error, MigrationError::Kind { .. }));
    }
}
