//! Pure: one step of a document, as it is meant.

use serde_json::Value as Json;
use snafu::{ResultExt, Snafu, ensure};

use super::{check_variants, form};
use crate::datastore::Value;
use crate::key::{Key, KeyError};
use crate::migration::{
    AddMetadata, AddPrefixes, AddSettings, Direction, MetadataReplacement, Migration,
    MigrationData, MigrationError, RemoveMetadata, RemoveSettings, Rename, RenameSettings,
    ReplaceInList, ReplaceMetadata, ReplaceValue,
};

/// Why a step is not right.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum StepError {
    /// There is no operation.
    #[snafu(display("it has no operation"))]
    NoOperation,
    /// There are several operations; each has a step of its own.
    #[snafu(display("it has several operations ({}); give each a step", names.join(", ")))]
    SeveralOperations { names: Vec<&'static str> },
    /// An operation names nothing to operate on.
    #[snafu(display("'{operation}' names nothing"))]
    Nothing { operation: &'static str },
    /// A name is none.
    #[snafu(display("'{operation}'"))]
    Name {
        operation: &'static str,
        source: KeyError,
    },
    /// A value is none that a setting can have.
    #[snafu(display("'{operation}' of {key}: '{field}' is {reason}"))]
    Value {
        operation: &'static str,
        key: Key,
        field: &'static str,
        reason: String,
    },
    /// The old and the new value are the same.
    #[snafu(display("'{operation}' of {key}: 'old' and 'new' are the same"))]
    Same { operation: &'static str, key: Key },
    /// The operation cannot be done.
    #[snafu(display("'{operation}'"))]
    Operation {
        operation: &'static str,
        source: MigrationError,
    },
    /// A list of variants is empty, too long, or has something in it that names none.
    #[snafu(display("its list of variants: {reason}"))]
    StepVariants { reason: String },
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) variants: Option<Vec<String>>,
    pub(super) operation: Operation,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operation {
    Add {
        settings: AddSettings,
        prefixes: AddPrefixes,
        names: usize,
    },
    Remove(RemoveSettings),
    Rename(RenameSettings),
    Replace(ReplaceValue),
    ReplaceInList(ReplaceInList),
    AddMetadata(AddMetadata),
    RemoveMetadata(RemoveMetadata),
    ReplaceMetadata(ReplaceMetadata),
}

impl Step {
    pub(super) fn new(form: form::Step) -> Result<Self, StepError> {
        check_variants(form.variants.as_deref())
            .map_err(|reason| StepError::StepVariants { reason })?;
        let mut found = [
            form.add.map(|form| ("add", add(form))),
            form.remove.map(|form| ("remove", remove(form))),
            form.rename.map(|form| ("rename", rename(form))),
            form.replace.map(|form| ("replace", replace(form))),
            form.replace_in_list
                .map(|form| ("replace-in-list", replace_in_list(form))),
            form.add_metadata
                .map(|form| ("add-metadata", add_metadata(&form))),
            form.remove_metadata
                .map(|form| ("remove-metadata", remove_metadata(form))),
            form.replace_metadata
                .map(|form| ("replace-metadata", replace_metadata(form))),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
        ensure!(
            found.len() <= 1,
            SeveralOperationsSnafu {
                names: found.iter().map(|(name, _)| *name).collect::<Vec<_>>()
            }
        );
        let Some((_, operation)) = found.pop() else {
            return NoOperationSnafu.fail();
        };
        Ok(Self {
            variants: form.variants,
            operation: operation?,
        })
    }

    /// How many names it has, for the bound on all of them.
    pub(super) fn names(&self) -> usize {
        let metadata = |items: &[(Key, Vec<Key>)]| items.iter().map(|(_, names)| names.len()).sum();
        match &self.operation {
            Operation::Add { names, .. } => *names,
            Operation::Remove(remove) => remove.keys.len(),
            Operation::AddMetadata(add) => metadata(&add.items),
            Operation::RemoveMetadata(remove) => metadata(&remove.items),
            Operation::Rename(_)
            | Operation::Replace(_)
            | Operation::ReplaceInList(_)
            | Operation::ReplaceMetadata(_) => 1,
        }
    }
}

impl Operation {
    pub(super) fn renamed(&self, direction: Direction) -> Vec<(Key, Key)> {
        let Self::Rename(rename) = self else {
            return Vec::new();
        };
        let pair = |rename: &Rename| match direction {
            Direction::Forward => (rename.from.clone(), rename.to.clone()),
            Direction::Backward => (rename.to.clone(), rename.from.clone()),
        };
        rename.renames.iter().map(pair).collect()
    }
}

impl Migration for Operation {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.run(Direction::Forward, data)
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        self.run(Direction::Backward, data)
    }

    fn run(&self, direction: Direction, data: &mut MigrationData) -> Result<(), MigrationError> {
        match self {
            Self::Add {
                settings, prefixes, ..
            } => {
                settings.run(direction, data)?;
                prefixes.run(direction, data)
            }
            Self::Remove(remove) => remove.run(direction, data),
            Self::Rename(rename) => rename.run(direction, data),
            Self::Replace(replace) => replace.run(direction, data),
            Self::ReplaceInList(replace) => replace.run(direction, data),
            Self::AddMetadata(add) => add.run(direction, data),
            Self::RemoveMetadata(remove) => remove.run(direction, data),
            Self::ReplaceMetadata(replace) => replace.run(direction, data),
        }
    }
}

fn add(form: form::Add) -> Result<Operation, StepError> {
    let operation = "add";
    let names = form.settings.len().saturating_add(form.prefixes.len());
    ensure!(names > 0, NothingSnafu { operation });
    Ok(Operation::Add {
        settings: AddSettings {
            keys: keys(operation, &form.settings)?,
        },
        prefixes: AddPrefixes::new(form.prefixes).context(OperationSnafu { operation })?,
        names,
    })
}

fn remove(form: form::Remove) -> Result<Operation, StepError> {
    let operation = "remove";
    let keys = keys(operation, &form.settings)?;
    let Some(first) = keys.first() else {
        return NothingSnafu { operation }.fail();
    };
    let only_if = if_equals(operation, first, form.if_equals)?;
    Ok(Operation::Remove(RemoveSettings { keys, only_if }))
}

fn rename(form: form::Rename) -> Result<Operation, StepError> {
    let operation = "rename";
    let from = key(operation, &form.from)?;
    let to = key(operation, &form.to)?;
    let only_if = if_equals(operation, &from, form.if_equals)?;
    let rename = Rename::new(from, to).context(OperationSnafu { operation })?;
    Ok(Operation::Rename(RenameSettings {
        renames: vec![rename],
        only_if,
    }))
}

fn replace(form: form::Replace) -> Result<Operation, StepError> {
    let operation = "replace";
    let setting = key(operation, &form.setting)?;
    let (old, new) = values(operation, &setting, form.old, form.new)?;
    Ok(Operation::Replace(ReplaceValue { setting, old, new }))
}

fn replace_in_list(form: form::Replace) -> Result<Operation, StepError> {
    let operation = "replace-in-list";
    let setting = key(operation, &form.setting)?;
    let (old, new) = values(operation, &setting, form.old, form.new)?;
    for (field, value) in [("old", &old), ("new", &new)] {
        ensure!(
            value.as_list().is_none(),
            ValueSnafu {
                operation,
                key: setting.clone(),
                field,
                reason: "a list, and only a scalar is an element"
            }
        );
    }
    Ok(Operation::ReplaceInList(ReplaceInList {
        setting,
        old: old.as_json().clone(),
        new: new.as_json().clone(),
    }))
}

fn add_metadata(form: &form::AddMetadata) -> Result<Operation, StepError> {
    let items = metadata("add-metadata", &form.setting, &form.metadata)?;
    Ok(Operation::AddMetadata(AddMetadata { items }))
}

fn remove_metadata(form: form::RemoveMetadata) -> Result<Operation, StepError> {
    let operation = "remove-metadata";
    let items = metadata(operation, &form.setting, &form.metadata)?;
    let setting = key(operation, &form.setting)?;
    let only_if = if_equals(operation, &setting, form.if_equals)?;
    Ok(Operation::RemoveMetadata(RemoveMetadata { items, only_if }))
}

fn replace_metadata(form: form::ReplaceMetadata) -> Result<Operation, StepError> {
    let operation = "replace-metadata";
    let setting = key(operation, &form.setting)?;
    let metadata = metadata_key(operation, &form.metadata)?;
    let (old, new) = values(operation, &setting, form.old, form.new)?;
    Ok(Operation::ReplaceMetadata(ReplaceMetadata {
        replacements: vec![MetadataReplacement {
            setting,
            metadata,
            old,
            new,
        }],
    }))
}

fn key(operation: &'static str, name: &str) -> Result<Key, StepError> {
    Key::data(name).context(NameSnafu { operation })
}

fn metadata_key(operation: &'static str, name: &str) -> Result<Key, StepError> {
    Key::metadata(name).context(NameSnafu { operation })
}

fn keys(operation: &'static str, names: &[String]) -> Result<Vec<Key>, StepError> {
    names.iter().map(|name| key(operation, name)).collect()
}

fn metadata(
    operation: &'static str,
    setting: &str,
    names: &[String],
) -> Result<Vec<(Key, Vec<Key>)>, StepError> {
    ensure!(!names.is_empty(), NothingSnafu { operation });
    let names = names.iter().map(|name| metadata_key(operation, name));
    Ok(vec![(
        key(operation, setting)?,
        names.collect::<Result<_, _>>()?,
    )])
}

fn if_equals(
    operation: &'static str,
    key: &Key,
    value: Option<toml::Value>,
) -> Result<Option<Value>, StepError> {
    value
        .map(|value| to_value(operation, key, "if-equals", value))
        .transpose()
}

fn values(
    operation: &'static str,
    key: &Key,
    old: toml::Value,
    new: toml::Value,
) -> Result<(Value, Value), StepError> {
    let old = to_value(operation, key, "old", old)?;
    let new = to_value(operation, key, "new", new)?;
    let key = key.clone();
    ensure!(old != new, SameSnafu { operation, key });
    Ok((old, new))
}

fn to_value(
    operation: &'static str,
    key: &Key,
    field: &'static str,
    value: toml::Value,
) -> Result<Value, StepError> {
    to_json(value)
        .and_then(|json| Value::try_from(json).map_err(|error| error.to_string()))
        .map_err(|reason| StepError::Value {
            operation,
            key: key.clone(),
            field,
            reason,
        })
}

/// A scalar or a list. What lists are made of is judged by [`Value`].
fn to_json(value: toml::Value) -> Result<Json, String> {
    match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Boolean(value) => Ok(value.into()),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Json::Number)
            .ok_or("a number that JSON does not have".to_owned()),
        toml::Value::Array(list) => list.into_iter().map(to_json).collect(),
        toml::Value::Datetime(_) => Err("a time; a setting has it as a string".to_owned()),
        toml::Value::Table(_) => Err("a table, and a setting's value is none".to_owned()),
    }
}
