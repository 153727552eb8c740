//! Pure: what is kept, as a file's bytes.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use update_metadata::Stored;

use super::{Entry, Kept, MAX_ENTRIES};
use crate::datastore::{Tree, Value};
use crate::key::Key;
use crate::migration::Direction;

/// The version of the file's form.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Form {
    schema: u32,
    kept: Vec<EntryForm>,
}

#[derive(Serialize, Deserialize)]
struct EntryForm {
    migration: String,
    direction: DirectionForm,
    version: Version,
    data: BTreeMap<String, Json>,
    metadata: BTreeMap<String, BTreeMap<String, Json>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DirectionForm {
    Forward,
    Backward,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Stored<Kept>, String> {
    let form: Form = match Stored::from_slice(bytes, SCHEMA) {
        Ok(Stored::Known(form)) => form,
        Ok(Stored::Newer) => return Ok(Stored::Newer),
        Err(error) => return Err(error.to_string()),
    };
    if form.kept.len() > MAX_ENTRIES {
        return Err(format!("it has more than {MAX_ENTRIES} entries"));
    }
    let entries = form.kept.into_iter().map(entry);
    Ok(Stored::Known(Kept {
        entries: entries.collect::<Result<_, _>>()?,
    }))
}

fn entry(form: EntryForm) -> Result<Entry, String> {
    let key = |name: &str| Key::data(name).map_err(|error| error.to_string());
    let value = |json: Json| Value::try_from(json).map_err(|error| error.to_string());
    let mut lost = Tree::default();
    for (name, json) in form.data {
        lost.data.insert(key(&name)?, value(json)?);
    }
    for (setting, items) in form.metadata {
        let setting = key(&setting)?;
        for (name, json) in items {
            let name = Key::metadata(&name).map_err(|error| error.to_string())?;
            let items = lost.metadata.entry(setting.clone()).or_default();
            items.insert(name, value(json)?);
        }
    }
    Ok(Entry {
        migration: form.migration,
        direction: match form.direction {
            DirectionForm::Forward => Direction::Forward,
            DirectionForm::Backward => Direction::Backward,
        },
        version: form.version,
        lost,
    })
}

pub(super) fn render(kept: &Kept) -> Vec<u8> {
    let form = Form {
        schema: SCHEMA,
        kept: kept.entries.iter().map(entry_form).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&form).expect("plain data with string keys");
    json.push(b'\n');
    json
}

fn entry_form(entry: &Entry) -> EntryForm {
    let values = |map: &BTreeMap<Key, Value>| {
        map.iter()
            .map(|(key, value)| (key.to_string(), value.as_json().clone()))
            .collect()
    };
    let metadata = entry.lost.metadata.iter();
    EntryForm {
        migration: entry.migration.clone(),
        direction: match entry.direction {
            Direction::Forward => DirectionForm::Forward,
            Direction::Backward => DirectionForm::Backward,
        },
        version: entry.version.clone(),
        data: values(&entry.lost.data),
        metadata: metadata
            .map(|(key, items)| (key.to_string(), values(items)))
            .collect(),
    }
}
