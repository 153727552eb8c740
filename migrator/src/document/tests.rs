use std::error::Error as _;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::migration::check::sample;

const EXAMPLE: &str = include_str!("../../examples/example-migration.toml");

fn store(data: serde_json::Value, metadata: serde_json::Value) -> Store {
    Store {
        live: sample(data, metadata).unwrap(),
        ..Store::default()
    }
}

fn parse(steps: &str) -> Result<Document, String> {
    Document::parse(format!("format = 1\n{steps}").as_bytes()).map_err(|error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })
}

#[test]
fn the_example_does_what_it_says_and_is_undone() {
    let document = Document::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(document.format(), 1);
    let before = store(
        json!({
            "settings.motd": "hello",
            "settings.ntp.servers": ["old.example.org", "mine.example.org"],
            "settings.host.name": "box",
            "settings.log.level": "verbose",
        }),
        json!({"settings.host.name": {"affected-services": ["hostname"]}}),
    );
    let after = store(
        json!({
            "settings.time.servers": ["new.example.org", "mine.example.org"],
            "settings.network.hostname": "box",
            "settings.log.level": "debug",
        }),
        json!({"settings.network.hostname": {"affected-services": ["hostname", "hosts"]}}),
    );
    let mut migrated = before.clone();
    document
        .apply(Direction::Forward, &mut migrated, "demo")
        .unwrap();
    assert_eq!(migrated, after);
    document
        .apply(Direction::Backward, &mut migrated, "demo")
        .unwrap();
    let mut expected = before;
    let motd = Key::data("settings.motd").unwrap();
    assert!(expected.live.data.remove(&motd).is_some());
    assert_eq!(migrated, expected);
}

#[test]
fn the_readme_shows_the_example() {
    assert!(include_str!("../../README.md").contains(EXAMPLE));
}

#[test]
fn each_operation_does_its_part_each_way() {
    let list = json!({"s.a": ["x", "y"], "s.b": 1});
    let metadata = json!({"s.a": {"t": "x", "u": 1}});
    // The operation, then data and metadata before, after, and when that is taken back.
    let cases = [
        (
            "add = { settings = ['s.b'], prefixes = ['s.a'] }",
            json!({"s.a": ["x", "y"], "s.b": 1}),
            metadata.clone(),
            json!({}),
            metadata.clone(),
        ),
        (
            "remove = { settings = ['s.a', 's.b'] }",
            json!({}),
            metadata.clone(),
            json!({}),
            metadata.clone(),
        ),
        (
            "remove = { settings = ['s.a', 's.b'], if-equals = 1 }",
            json!({"s.a": ["x", "y"]}),
            metadata.clone(),
            json!({"s.a": ["x", "y"]}),
            metadata.clone(),
        ),
        (
            "rename = { from = 's', to = 'n' }",
            json!({"n.a": ["x", "y"], "n.b": 1}),
            json!({"n.a": {"t": "x", "u": 1}}),
            list.clone(),
            metadata.clone(),
        ),
        (
            "rename = { from = 's.b', to = 's.c', if-equals = 2 }",
            list.clone(),
            metadata.clone(),
            list.clone(),
            metadata.clone(),
        ),
        (
            "replace = { setting = 's.b', old = 1, new = true }",
            json!({"s.a": ["x", "y"], "s.b": true}),
            metadata.clone(),
            list.clone(),
            metadata.clone(),
        ),
        (
            "replace = { setting = 's.a', old = ['x', 'y'], new = 1.5 }",
            json!({"s.a": 1.5, "s.b": 1}),
            metadata.clone(),
            list.clone(),
            metadata.clone(),
        ),
        (
            "replace-in-list = { setting = 's.a', old = 'x', new = 'z' }",
            json!({"s.a": ["z", "y"], "s.b": 1}),
            metadata.clone(),
            list.clone(),
            metadata.clone(),
        ),
        (
            "add-metadata = { setting = 's.a', metadata = ['t'] }",
            list.clone(),
            metadata.clone(),
            list.clone(),
            json!({"s.a": {"u": 1}}),
        ),
        (
            "remove-metadata = { setting = 's.a', metadata = ['t', 'u'], if-equals = 1 }",
            list.clone(),
            json!({"s.a": {"t": "x"}}),
            list.clone(),
            json!({"s.a": {"t": "x"}}),
        ),
        (
            "replace-metadata = { setting = 's.a', metadata = 't', old = 'x', new = ['y'] }",
            list.clone(),
            json!({"s.a": {"t": ["y"], "u": 1}}),
            list.clone(),
            metadata.clone(),
        ),
    ];
    for (operation, data, metadata_after, back, metadata_back) in cases {
        // `add` removes what only the new version has when going back.
        let document = parse(&format!("[[step]]\n{operation}")).unwrap();
        let mut migrated = store(list.clone(), metadata.clone());
        document
            .apply(Direction::Forward, &mut migrated, "demo")
            .unwrap();
        assert_eq!(migrated, store(data, metadata_after), "{operation}");
        document
            .apply(Direction::Backward, &mut migrated, "demo")
            .unwrap();
        assert_eq!(migrated, store(back, metadata_back), "{operation}");
    }
}

#[test]
fn documents_and_steps_are_for_their_variants() {
    let remove = |name| format!("[[step]]\nremove = {{ settings = ['s.{name}'] }}\n");
    let (a, b) = (remove("a"), remove("b"));
    for (text, left) in [
        (format!("{a}{b}"), &[][..]),
        (format!("{a}variants = ['demo']\n{b}"), &[]),
        (format!("{a}variants = ['other']\n{b}"), &["s.a"]),
        (format!("variants = ['other']\n{a}{b}"), &["s.a", "s.b"]),
        (
            format!("variants = ['x', 'demo']\n{a}{b}variants = ['x']"),
            &["s.b"],
        ),
    ] {
        let mut migrated = store(json!({"s.a": 1, "s.b": 2}), json!({}));
        let document = parse(&text).unwrap();
        document
            .apply(Direction::Forward, &mut migrated, "demo")
            .unwrap();
        let names: Vec<_> = migrated.live.data.keys().map(Key::to_string).collect();
        assert_eq!(names, left, "{text}");
    }
}

#[test]
fn another_format_is_told_from_an_invalid_document() {
    for (text, found) in [
        ("format = 2\n[[anything]]\nelse = 1", 2),
        ("format = -1", -1),
    ] {
        let error = Document::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DocumentError::UnknownFormat { found: f, known: [1] } if f == found),
            "{error}"
        );
    }
    for text in ["", "format = '1'", "format = 1.0", "variants = ['x']"] {
        let error = Document::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DocumentError::MissingFormat), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_step() {
    let good = "[[step]]\nremove = { settings = ['s.a'] }\n";
    for (steps, wrong) in [
        (
            "variants = []",
            "the document's list of variants: it is empty",
        ),
        ("variants = ['']", "\"\" names no variant"),
        ("other = 1", "unknown field `other`"),
        ("[[step]]", "step 2: it has no operation"),
        (
            "[[step]]\nvariants = []\nadd = {settings = ['a']}",
            "step 2: its list of variants",
        ),
        ("[[step]]\ndelete = {}", "unknown field `delete`"),
        (
            "[[step]]\nadd = { settings = ['a'], if-equals = 1 }",
            "unknown field `if-equals`",
        ),
        ("[[step]]\nadd = {}", "step 2: 'add' names nothing"),
        (
            "[[step]]\nadd = { prefixes = [''] }",
            "step 2: 'add': an empty prefix",
        ),
        (
            "[[step]]\nadd = { settings = ['a'] }\nremove = { settings = ['b'] }",
            "step 2: it has several operations (add, remove)",
        ),
        (
            "[[step]]\nremove = { settings = [] }",
            "step 2: 'remove' names nothing",
        ),
        (
            "[[step]]\nremove = { settings = ['s..b'] }",
            "step 2: 'remove': the name \"s..b\" has an empty segment",
        ),
        (
            "[[step]]\nrename = { from = 's.a', to = 's.a.b' }",
            "step 2: 'rename': s.a cannot be renamed to s.a.b",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = 1, new = 1 }",
            "step 2: 'replace' of s.a: 'old' and 'new' are the same",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = 1 }",
            "missing field `new`",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = nan, new = 1 }",
            "step 2: 'replace' of s.a: 'old' is a number that JSON does not have",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = 1, new = { a = 1 } }",
            "'new' is a table",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = 1, new = [[1]] }",
            "'new' is neither a JSON scalar nor a list of scalars",
        ),
        (
            "[[step]]\nreplace = { setting = 's.a', old = 1, new = 2020-01-01 }",
            "'new' is a time",
        ),
        (
            "[[step]]\nreplace-in-list = { setting = 's.a', old = [1], new = 1 }",
            "step 2: 'replace-in-list' of s.a: 'old' is a list",
        ),
        (
            "[[step]]\nadd-metadata = { setting = 's.a', metadata = [] }",
            "'add-metadata' names nothing",
        ),
        (
            "[[step]]\nadd-metadata = { setting = 's.a', metadata = ['x.y'] }",
            "has more than one segment",
        ),
        (
            "[[step]]\nremove-metadata = { setting = 's.a', metadata = ['x'], if-equals = inf }",
            "'if-equals' is a number",
        ),
    ] {
        let text = if steps.starts_with("[[") {
            format!("{good}{steps}")
        } else {
            steps.to_owned()
        };
        let error = parse(&text).unwrap_err();
        assert!(error.contains(wrong), "{steps}: {error}");
    }
}

#[test]
fn documents_are_bounded() {
    let error = Document::parse(&vec![b'#'; MAX_DOCUMENT_BYTES + 1]).unwrap_err();
    assert!(matches!(error, DocumentError::TooLarge { .. }));
    let error = Document::parse(b"format = 1 # \xff").unwrap_err();
    assert!(matches!(error, DocumentError::NoText { .. }));
    let step = "[[step]]\nadd = { settings = ['a'] }\n";
    assert!(parse(&step.repeat(MAX_STEPS)).is_ok());
    let error = parse(&step.repeat(MAX_STEPS + 1)).unwrap_err();
    assert!(error.contains("1025 steps"), "{error}");
    let names = |count| {
        format!(
            "[[step]]\nremove = {{ settings = [{}] }}",
            "'a',".repeat(count)
        )
    };
    assert!(parse(&names(MAX_NAMES)).is_ok());
    let error = parse(&format!("{step}{}", names(MAX_NAMES))).unwrap_err();
    assert!(error.contains("4097 names"), "{error}");
    let deep = format!(
        "[[step]]\nreplace = {{ setting = 'a', old = 1, new = {} }}",
        "[".repeat(50_000)
    );
    parse(&deep).unwrap_err();
}

#[test]
fn a_failure_names_the_step() {
    let long = "x".repeat(250);
    let document = parse(&format!(
        "[[step]]\nadd = {{ settings = ['b'] }}\n[[step]]\nrename = {{ from = 'a', to = '{long}' }}"
    ))
    .unwrap();
    let mut store = store(json!({"a.bbbbbb": 1}), json!({}));
    let error = document.apply(Direction::Forward, &mut store, "demo");
    assert_eq!(error.unwrap_err().to_string(), "step 2, forward");
}

#[test]
fn renames_are_told_in_the_order_of_the_direction() {
    let document = parse(
        "[[step]]\nrename = { from = 'a', to = 'b' }\n[[step]]\nrename = { from = 'b', to = 'c' }",
    )
    .unwrap();
    let names = |direction| {
        let pairs = document.renamed(direction).into_iter();
        pairs
            .map(|(from, to)| format!("{from}>{to}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(Direction::Forward), ["a>b", "b>c"]);
    assert_eq!(names(Direction::Backward), ["c>b", "b>a"]);
}

#[test]
fn a_documents_name_ends_in_toml_whether_or_not_it_says_that_it_is_compressed() {
    for (name, declarative) in [
        ("migrate_v1.1.0_rename.toml", true),
        ("folder/x.toml", true),
        ("migrate_v1.1.0_rename.lz4", false),
        ("migrate_v1.1.0_rename.toml.lz4", true),
        ("migrate_v1.1.0_rename.toml.lz4.lz4", false),
        ("migrate_v1.1.0_toml.lz4", false),
        ("migrate_v1.1.0_rename.TOML", false),
        ("toml", false),
        (".toml", false),
    ] {
        assert_eq!(is_declarative(name), declarative, "{name}");
    }
}

/// Steps that can be undone, each with settings of its own, and settings as the old version has them.
fn reversible() -> impl Strategy<Value = (String, Store)> {
    let value = prop_oneof![
        Just(json!("x")),
        Just(json!(1)),
        Just(json!(["x", "y"])),
        Just(json!(["z", "x", "x"])),
    ];
    let step = (0..5_usize, proptest::option::of(value), any::<bool>());
    vec(step, 1..8).prop_map(|steps| {
        let mut text = "format = 1\n".to_owned();
        let mut data = serde_json::Map::new();
        let mut metadata = serde_json::Map::new();
        for (number, (kind, value, condition)) in steps.into_iter().enumerate() {
            let only = if condition { ", if-equals = 'x'" } else { "" };
            let step = match kind {
                0 => format!("rename = {{ from = 'o{number}', to = 'n.{number}'{only} }}\n"),
                1 => format!("replace = {{ setting = 'o{number}.s', old = 'x', new = 'new' }}\n"),
                2 => format!("replace-in-list = {{ setting = 'o{number}.s', old = 'x', new = 'new' }}\n"),
                3 => format!("add = {{ settings = ['n.{number}'], prefixes = ['p{number}.'] }}\n"),
                _ => format!("replace-metadata = {{ setting = 'o{number}.s', metadata = 't', old = 'x', new = 'new' }}\n"),
            };
            text.extend(["[[step]]\n", &step]);
            if let Some(value) = value {
                data.insert(format!("o{number}.s"), value.clone());
                metadata.insert(format!("o{number}.s"), json!({"t": value}));
            }
        }
        (text, store(data.into(), metadata.into()))
    })
}

proptest! {
    #[test]
    fn forth_and_back_is_the_same((text, before) in reversible()) {
        let document = Document::parse(text.as_bytes()).unwrap();
        let mut migrated = before.clone();
        document.apply(Direction::Forward, &mut migrated, "demo").unwrap();
        document.apply(Direction::Backward, &mut migrated, "demo").unwrap();
        prop_assert_eq!(migrated, before);
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = Document::parse(text.as_bytes());
        let _ = Document::parse(format!("format = 1\n{text}").as_bytes());
    }
}
