//! For the tests of those who write migrations: one call checks what every migration owes.
//!
//! ```
//! use migrator::migration::RenameSettings;
//! use migrator::migration::check::{Back, check, sample};
//! use serde_json::json;
//!
//! let migration = RenameSettings::new([("settings.motd", "settings.banner")]);
//! let before = sample(json!({"settings.motd": "hello"}), json!({})).unwrap();
//! let after = sample(json!({"settings.banner": "hello"}), json!({})).unwrap();
//! check(&migration, &before, &after, &Back::Same).unwrap();
//! ```

use std::fmt::Write as _;

use serde_json::Value as Json;
use snafu::{OptionExt, ResultExt, Snafu};

use super::{Direction, Migration, MigrationData, MigrationError, remove_metadata};
use crate::datastore::{Value, ValueError};
use crate::key::{Key, KeyError, Name};

/// What a migration does wrong, or a sample.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Fault {
    /// The data or the metadata of a sample are no object, or an entry of the metadata is none.
    #[snafu(display("a sample is an object by setting; its metadata are one by setting and name"))]
    Sample,
    /// A name in a sample is none.
    #[snafu(display("a name in a sample"))]
    SampleName { source: KeyError },
    /// A value in a sample is none.
    #[snafu(display("the value of {name} in a sample"))]
    SampleValue { name: String, source: ValueError },
    /// The migration fails where it must not.
    #[snafu(display("it fails {direction}, {situation}"))]
    Fails {
        direction: Direction,
        situation: String,
        source: MigrationError,
    },
    /// The outcome is another one.
    #[snafu(display("the outcome is another one {direction}, {situation}:{difference}"))]
    Differs {
        direction: Direction,
        situation: String,
        difference: String,
    },
    /// The outcome cannot be stored.
    #[snafu(display("{key} has a value {direction}, so that {below} cannot be stored"))]
    Conflict {
        direction: Direction,
        key: Key,
        below: Key,
    },
}

/// What going back has to give.
#[derive(Clone, Debug, PartialEq)]
pub enum Back {
    /// What was before: the migration can be undone.
    Same,
    /// Something else, since a migration in one direction removes what only the other one knows.
    To(MigrationData),
}

/// Settings `{"settings.motd": "hello"}` and metadata `{"settings.motd": {"template": "x"}}`.
///
/// # Errors
/// The faults of samples.
pub fn sample(data: Json, metadata: Json) -> Result<MigrationData, Fault> {
    let (Json::Object(data), Json::Object(metadata)) = (data, metadata) else {
        return SampleSnafu.fail();
    };
    let mut sample = MigrationData::default();
    for (name, json) in data {
        let key = Key::data(&name).context(SampleNameSnafu)?;
        let value = Value::try_from(json).context(SampleValueSnafu { name })?;
        sample.data.insert(key, value);
    }
    for (setting, items) in metadata {
        let key = Key::data(&setting).context(SampleNameSnafu)?;
        let items = items.as_object().context(SampleSnafu)?;
        for (name, json) in items {
            let metadata = Key::metadata(name).context(SampleNameSnafu)?;
            let value = Value::try_from(json.clone()).context(SampleValueSnafu { name })?;
            let present = sample.metadata.entry(key.clone()).or_default();
            present.insert(metadata, value);
        }
    }
    Ok(sample)
}

/// Checks that `migration` makes `after` of `before`, and of that, going back, what `back` says; that
/// it copes with every setting missing, one by one and all at once; and that it neither makes a
/// setting from nothing nor touches one that it has nothing to do with.
///
/// # Errors
/// The first fault that is found.
pub fn check(
    migration: &(impl Migration + ?Sized),
    before: &MigrationData,
    after: &MigrationData,
    back: &Back,
) -> Result<(), Fault> {
    use Direction::{Backward, Forward};
    let back = match back {
        Back::Same => before,
        Back::To(data) => data,
    };
    expect(migration, Forward, "from the sample", before, after)?;
    expect(
        migration,
        Backward,
        "from the sample's outcome",
        after,
        back,
    )?;
    for (direction, data) in [(Forward, before), (Backward, after)] {
        for (name, without) in each_missing(data) {
            outcome(migration, direction, &format!("without {name}"), &without)?;
        }
        let nothing = MigrationData::default();
        expect(migration, direction, "from nothing", &nothing, &nothing)?;
        let unrelated = sample(
            serde_json::json!({"unrelated-to-any-migration": true}),
            serde_json::json!({"unrelated-to-any-migration": {"unrelated": true}}),
        )?;
        let situation = "from an unrelated setting";
        expect(migration, direction, situation, &unrelated, &unrelated)?;
    }
    Ok(())
}

fn expect(
    migration: &(impl Migration + ?Sized),
    direction: Direction,
    situation: &str,
    from: &MigrationData,
    to: &MigrationData,
) -> Result<(), Fault> {
    let found = outcome(migration, direction, situation, from)?;
    if &found == to {
        return Ok(());
    }
    DiffersSnafu {
        direction,
        situation,
        difference: difference(&found, to),
    }
    .fail()
}

fn outcome(
    migration: &(impl Migration + ?Sized),
    direction: Direction,
    situation: &str,
    from: &MigrationData,
) -> Result<MigrationData, Fault> {
    let mut data = from.clone();
    migration.run(direction, &mut data).context(FailsSnafu {
        direction,
        situation,
    })?;
    if let Some((key, below)) = data.conflict() {
        let (key, below) = (key.clone(), below.clone());
        return ConflictSnafu {
            direction,
            key,
            below,
        }
        .fail();
    }
    Ok(data)
}

/// The data without each of its settings and metadata in turn.
fn each_missing(data: &MigrationData) -> impl Iterator<Item = (Name, MigrationData)> {
    names(data).into_iter().map(|name| {
        let mut without = data.clone();
        match &name {
            Name::Data(key) => {
                without.data.remove(key);
            }
            Name::Metadata { data, metadata } => remove_metadata(&mut without, data, metadata),
        }
        (name, without)
    })
}

fn names(data: &MigrationData) -> Vec<Name> {
    let settings = data.data.keys().cloned().map(Name::Data);
    let metadata = data.metadata.iter().flat_map(|(data, items)| {
        items.keys().map(|metadata| Name::Metadata {
            data: data.clone(),
            metadata: metadata.clone(),
        })
    });
    settings.chain(metadata).collect()
}

fn difference(found: &MigrationData, expected: &MigrationData) -> String {
    let mut all = names(found);
    all.extend(names(expected));
    all.sort();
    all.dedup();
    let value = |data: &MigrationData, name: &Name| {
        let value = match name {
            Name::Data(key) => data.data.get(key),
            Name::Metadata {
                data: key,
                metadata,
            } => data.metadata.get(key).and_then(|items| items.get(metadata)),
        };
        value.map_or("nothing".to_owned(), Value::to_string)
    };
    let mut difference = String::new();
    for name in all {
        let (found, expected) = (value(found, &name), value(expected, &name));
        if found != expected {
            // Writing to a string cannot fail.
            let _ = write!(difference, "\n  {name} is {found}, expected {expected}");
        }
    }
    difference
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{NoOp, RemoveSettings};
    use super::*;

    /// A migration of closures, to be wrong in.
    struct Wrong<F>(F);

    impl<F: Fn(&mut MigrationData) -> Result<(), MigrationError>> Migration for Wrong<F> {
        fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
            (self.0)(data)
        }

        fn backward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
            Ok(())
        }
    }

    fn key(name: &str) -> Key {
        Key::data(name).unwrap()
    }

    #[test]
    fn every_fault_is_found() {
        let data = sample(json!({"s.a": 1, "s.b": 2}), json!({"s.a": {"t": 1}})).unwrap();
        let check_of = |migration: &dyn Migration| {
            check(migration, &data, &data, &Back::Same)
                .map_err(|fault| fault.to_string())
                .unwrap_err()
        };
        check(&NoOp, &data, &data, &Back::Same).unwrap();
        assert_eq!(
            check_of(&RemoveSettings::new(["s.a"])),
            "the outcome is another one forward, from the sample:\n  s.a is nothing, expected 1"
        );
        let after = sample(json!({"s.b": 2}), json!({"s.a": {"t": 1}})).unwrap();
        let fault = check(&RemoveSettings::new(["s.a"]), &data, &after, &Back::Same).unwrap_err();
        assert!(
            fault
                .to_string()
                .contains("another one backward, from the sample's")
        );

        let needs = Wrong(
            |data: &mut MigrationData| match data.data.get(&key("s.b")) {
                Some(_) => Ok(()),
                None => Err(MigrationError::new("no s.b")),
            },
        );
        assert_eq!(check_of(&needs), "it fails forward, without s.b");
        let makes = Wrong(|data: &mut MigrationData| {
            data.data.entry(key("s.a")).or_insert(1.into());
            Ok(())
        });
        assert_eq!(
            check_of(&makes),
            "the outcome is another one forward, from nothing:\n  s.a is 1, expected nothing"
        );
        let clears = Wrong(|data: &mut MigrationData| {
            data.data.retain(|key, _| key.segments()[0] == "s");
            Ok(())
        });
        assert!(check_of(&clears).contains("from an unrelated setting"));
        let below = Wrong(|data: &mut MigrationData| {
            if data.data.contains_key(&key("s.a")) {
                data.data.insert(key("s.a.b"), 1.into());
            }
            Ok(())
        });
        assert_eq!(
            check_of(&below),
            "s.a has a value forward, so that s.a.b cannot be stored"
        );
    }

    #[test]
    fn a_wrong_sample_is_named() {
        for (data, metadata) in [
            (json!([]), json!({})),
            (json!({}), json!({"s.a": 1})),
            (json!({"s..a": 1}), json!({})),
            (json!({"s.a": {}}), json!({})),
            (json!({}), json!({"s.a": {"t": [[]]}})),
        ] {
            sample(data, metadata).unwrap_err();
        }
    }
}
