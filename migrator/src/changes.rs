//! Pure: in which settings two stores differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::datastore::{Store, Tree, Value};
use crate::key::Key;

/// What became of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// It has another value.
    Changed,
}

/// Whether values are told. Settings can hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// They are.
    Tell,
    /// Only their keys are.
    Hide,
}

/// One setting, or one piece of a setting's metadata, that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The setting.
    pub key: String,
    /// The name of the piece of its metadata, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The transaction that it waits in, when it is not in use yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// What became of it.
    pub change: ChangeKind,
    /// Its value before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// Its value afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
}

/// Every difference, by place and key. What lies within `os` is the booting image's own word, written by
/// programs as they migrate, and no setting.
pub fn between(before: &Store, after: &Store, values: Values) -> Vec<Change> {
    let none = Tree::default();
    let transactions: BTreeSet<&String> =
        before.pending.keys().chain(after.pending.keys()).collect();
    let mut changes = of_trees(&before.live, &after.live, None, values);
    for name in transactions {
        let tree = |store: &'_ Store| store.pending.get(name).cloned();
        let (one, other) = (tree(before), tree(after));
        changes.extend(of_trees(
            one.as_ref().unwrap_or(&none),
            other.as_ref().unwrap_or(&none),
            Some(name),
            values,
        ));
    }
    changes
}

fn of_trees(before: &Tree, after: &Tree, pending: Option<&String>, values: Values) -> Vec<Change> {
    let change = |key: &Key, metadata: Option<&Key>, one: Option<&Value>, other: Option<&Value>| {
        if key.segments().first().is_some_and(|first| first == "os") {
            return None;
        }
        let kind = match (one, other) {
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(one), Some(other)) if one != other => ChangeKind::Changed,
            _ => return None,
        };
        let told = |value: Option<&Value>| {
            let value = value.filter(|_| values == Values::Tell);
            value.map(|value| value.as_json().clone())
        };
        Some(Change {
            key: key.to_string(),
            metadata: metadata.map(ToString::to_string),
            pending: pending.cloned(),
            change: kind,
            before: told(one),
            after: told(other),
        })
    };
    let mut changes: Vec<Change> = pairs(&before.data, &after.data)
        .filter_map(|(key, one, other)| change(key, None, one, other))
        .collect();
    let none = BTreeMap::new();
    for (key, one, other) in pairs(&before.metadata, &after.metadata) {
        let (one, other) = (one.unwrap_or(&none), other.unwrap_or(&none));
        changes.extend(
            pairs(one, other).filter_map(|(name, one, other)| change(key, Some(name), one, other)),
        );
    }
    changes
}

/// Every key of two maps once, in order, with what each has.
fn pairs<'a, V>(
    one: &'a BTreeMap<Key, V>,
    other: &'a BTreeMap<Key, V>,
) -> impl Iterator<Item = (&'a Key, Option<&'a V>, Option<&'a V>)> {
    let keys: BTreeSet<&Key> = one.keys().chain(other.keys()).collect();
    keys.into_iter()
        .map(|key| (key, one.get(key), other.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(data: &[(&str, &str)], metadata: &[(&str, &str, &str)]) -> Tree {
        let value = |json: &str| Value::parse(json.as_bytes()).unwrap();
        let mut tree = Tree::default();
        for (key, json) in data {
            tree.data.insert(Key::data(key).unwrap(), value(json));
        }
        for (key, name, json) in metadata {
            let pieces = tree.metadata.entry(Key::data(key).unwrap()).or_default();
            pieces.insert(Key::metadata(name).unwrap(), value(json));
        }
        tree
    }

    fn store(live: Tree, pending: Tree) -> Store {
        Store {
            live,
            pending: [("tx".to_owned(), pending)].into(),
            ..Store::default()
        }
    }

    #[test]
    fn what_the_image_says_of_itself_is_no_setting() {
        let old = tree(&[("os.version_id", "\"1\""), ("settings.os", "1")], &[]);
        let new = tree(&[("os.version_id", "\"2\""), ("os.arch", "\"x\"")], &[]);
        let changes = between(
            &store(old, Tree::default()),
            &store(new, Tree::default()),
            Values::Hide,
        );
        let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["settings.os"]);
    }

    #[test]
    fn every_difference_is_told_once_and_values_only_when_asked_for() {
        let before = store(
            tree(&[("a", "1"), ("b", "2"), ("c", "3")], &[("a", "m", "1")]),
            tree(&[("a", "1")], &[]),
        );
        let after = store(
            tree(&[("a", "1"), ("b", "9"), ("d", "4")], &[("a", "n", "1")]),
            tree(&[], &[]),
        );
        let words = |change: &Change| {
            format!(
                "{:?} {} {} {} {:?} {:?}",
                change.change,
                change.key,
                change.metadata.as_deref().unwrap_or("-"),
                change.pending.as_deref().unwrap_or("-"),
                change.before.as_ref().and_then(serde_json::Value::as_i64),
                change.after.as_ref().and_then(serde_json::Value::as_i64),
            )
        };
        let told: Vec<String> = between(&before, &after, Values::Tell)
            .iter()
            .map(words)
            .collect();
        assert_eq!(
            told,
            [
                "Changed b - - Some(2) Some(9)",
                "Removed c - - Some(3) None",
                "Added d - - None Some(4)",
                "Removed a m - Some(1) None",
                "Added a n - None Some(1)",
                "Removed a - tx Some(1) None",
            ]
        );
        let hidden = between(&before, &after, Values::Hide);
        assert_eq!(hidden.len(), told.len());
        assert!(
            hidden
                .iter()
                .all(|change| change.before.is_none() && change.after.is_none())
        );
        assert!(between(&before, &before, Values::Tell).is_empty());
    }
}
