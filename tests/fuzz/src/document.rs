//! What is promised of any bytes that should be a declarative migration, and of the settings that it
//! meets.
//!
//! * Reading never panics; what was read has a format that is known.
//! * Neither direction panics, whatever the settings are, and the order of directions does not
//!   matter for that.
//! * What comes out can be stored: no setting lies below the value of another one.
//! * A migration that was run in a direction and finds nothing to do there leaves the same settings
//!   when it is run so again.
//! * Without migrations a value is never made: every value that comes out went in, or stands in the
//!   document.
//! * A name is decoded from the path that it was encoded to.
//!
//! The document comes first; after a zero byte each line is a setting, `name=json`.

use std::collections::BTreeSet;
use std::path::Path;

use migrator::datastore::{Store, Tree, Value};
use migrator::document::{Document, DocumentError, KNOWN_FORMATS};
use migrator::kept::{Kept, Step};
use migrator::key::{Key, Name};
use migrator::migration::Direction;
use semver::Version;

/// So many settings are put to the test.
const MOST: usize = 32;

/// Checks every promise.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let settings = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let store = store(&settings);
    for key in store.live.data.keys() {
        let name = Name::Data(key.clone());
        let path = name.path();
        assert_eq!(
            Name::decode(&path).as_ref(),
            Ok(&name),
            "{}",
            path.display()
        );
    }
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(DocumentError::UnknownFormat { found, .. }) => {
            assert!(!KNOWN_FORMATS.iter().any(|known| i64::from(*known) == found));
            return;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(KNOWN_FORMATS.contains(&document.format()));
    for first in [Direction::Forward, Direction::Backward] {
        there_and_back(&document, first, &store, &String::from_utf8_lossy(text));
    }
}

fn there_and_back(document: &Document, first: Direction, store: &Store, text: &str) {
    let version = Version::new(1, 0, 0);
    let mut kept = Kept::default();
    let mut now = store.clone();
    for direction in [first, first.opposite()] {
        let before = now.clone();
        if document.apply(direction, &mut now, "demo").is_err() {
            return;
        }
        check(&now);
        for value in now.live.data.values() {
            let is_old = before.live.data.values().any(|old| old == value);
            assert!(is_old || is_made(value, &before, text), "{value:?}");
        }
        if now == before {
            let mut again = now.clone();
            document
                .apply(direction, &mut again, "demo")
                .expect("what did nothing does nothing");
            assert_eq!(again, now);
        }
        let renamed = document.renamed(direction);
        let step = Step {
            migration: "fuzz",
            direction,
            version: &version,
            renamed: &renamed,
        };
        kept.after_step(&step, &before, &mut now);
        check(&now);
    }
}

/// Whether the document may have made it: a list with another element, or a value of its own.
fn is_made(value: &Value, before: &Store, text: &str) -> bool {
    let elements = |value: &Value| value.as_list().map_or(0, <[_]>::len);
    let was_list = before
        .live
        .data
        .values()
        .any(|old| elements(old) == elements(value));
    // Strings may be escaped there in another way, so a document with any value may have made it.
    was_list || text.contains("replace")
}

fn check(store: &Store) {
    assert_eq!(store.live.conflict(), None);
    let names: BTreeSet<_> = store
        .live
        .data
        .keys()
        .map(|key| Name::Data(key.clone()).path())
        .collect();
    assert_eq!(names.len(), store.live.data.len(), "one file for each");
}

fn store(settings: &str) -> Store {
    let mut live = Tree::default();
    for line in settings.lines().take(MOST) {
        let Some((name, json)) = line.split_once('=') else {
            continue;
        };
        let (Ok(key), Ok(value)) = (Key::data(name), Value::parse(json.as_bytes())) else {
            continue;
        };
        live.data.insert(key.clone(), value.clone());
        if live.conflict().is_some() {
            live.data.remove(&key);
        }
        if let Ok(metadata) = Key::metadata("affected-services") {
            live.metadata
                .entry(key)
                .or_default()
                .insert(metadata, value);
        }
        if live.conflict().is_some() {
            live.metadata.clear();
        }
    }
    // What a path of another program says is read, too.
    let _ = Name::decode(Path::new(settings));
    Store {
        live,
        ..Store::default()
    }
}

/// What a fuzzer starts from.
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let settings =
        "settings.motd=\"hello\"\nsettings.ntp.servers=[\"a\",\"b\"]\nsettings.a.\"b.c\"=1";
    let step = |step: &str| format!("format = 1\n[[step]]\n{step}\n\0{settings}");
    [
        ("add", step("add = { settings = [\"settings.motd\"], prefixes = [\"settings.ntp.\"] }")),
        ("remove", step("remove = { settings = [\"settings.motd\"], if-equals = \"hello\" }")),
        ("rename", step("rename = { from = \"settings.ntp\", to = \"settings.time\" }")),
        ("rename-into", step("rename = { from = \"settings.motd\", to = \"settings.ntp\" }")),
        ("replace", step("replace = { setting = \"settings.motd\", old = \"hello\", new = 3 }")),
        (
            "replace-in-list",
            step("replace-in-list = { setting = \"settings.ntp.servers\", old = \"a\", new = \"b\" }"),
        ),
        (
            "add-metadata",
            step("add-metadata = { setting = \"settings.motd\", metadata = [\"affected-services\"] }"),
        ),
        (
            "remove-metadata",
            step("variants = [\"demo\"]\nremove-metadata = { setting = \"settings.motd\", metadata = [\"affected-services\"] }"),
        ),
        (
            "replace-metadata",
            step("replace-metadata = { setting = \"settings.motd\", metadata = \"affected-services\", old = \"hello\", new = [] }"),
        ),
        ("later", "format = 2\n".to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into()
}
