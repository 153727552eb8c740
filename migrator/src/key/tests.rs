use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use proptest::prelude::*;

use super::*;
use crate::testing;

fn data(name: &str) -> Key {
    Key::data(name).unwrap()
}

#[test]
fn names_become_segments_and_names_again() {
    for (name, segments, again) in [
        ("a", &["a"][..], "a"),
        ("settings.motd", &["settings", "motd"], "settings.motd"),
        (
            "settings.kubernetes.node-labels.\"a.b/c\"",
            &["settings", "kubernetes", "node-labels", "a.b/c"],
            "settings.kubernetes.node-labels.\"a.b/c\"",
        ),
        ("\"a\".b", &["a", "b"], "a.b"),
        ("\"...\"", &["..."], "\"...\""),
        ("A_Z-0/9.x", &["A_Z-0/9", "x"], "A_Z-0/9.x"),
    ] {
        let key = data(name);
        assert_eq!(key.segments(), segments, "{name}");
        assert_eq!(key.to_string(), again, "{name}");
        assert_eq!(key, data(again), "{name}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let empty = |name: &str| KeyError::EmptySegment { name: name.into() };
    let quote = |name: &str| KeyError::Quote { name: name.into() };
    let character = |name: &str, character| KeyError::Character {
        name: name.into(),
        character,
    };
    for (name, error) in [
        ("", empty("")),
        (".", empty(".")),
        ("a.", empty("a.")),
        (".a", empty(".a")),
        ("a..b", empty("a..b")),
        ("\"\"", empty("\"\"")),
        ("\"a", quote("\"a")),
        ("\"a\"b", quote("\"a\"b")),
        ("a\"b\"", character("a\"b\"", '"')),
        ("a b", character("a b", ' ')),
        ("a.\"b c\"", character("a.\"b c\"", ' ')),
        ("a\0", character("a\0", '\0')),
        ("größe", character("größe", 'ö')),
        ("a%2E", character("a%2E", '%')),
    ] {
        assert_eq!(Key::data(name), Err(error), "{name:?}");
    }
    assert!(Key::data(&"a".repeat(255)).is_ok());
    assert_eq!(
        Key::data(&"a".repeat(256)),
        Err(KeyError::TooLong {
            start: "a".repeat(40),
            length: 256
        })
    );
    assert_eq!(
        Key::metadata("a.b"),
        Err(KeyError::SeveralSegments { name: "a.b".into() })
    );
    assert_eq!(Key::metadata("\"a.b\"").unwrap().segments(), ["a.b"]);
}

#[test]
fn known_names_have_known_files() {
    let metadata = |setting: &str, name: &str| Name::Metadata {
        data: data(setting),
        metadata: Key::metadata(name).unwrap(),
    };
    for (name, path) in [
        (
            Name::Data(data("settings.kubernetes.node-labels.\"a.b/c\"")),
            "settings/kubernetes/node-labels/a%2Eb%2Fc",
        ),
        (
            Name::Data(data("settings.kernel.lockdown")),
            "settings/kernel/lockdown",
        ),
        (
            metadata("settings.motd", "template"),
            "settings/motd.template",
        ),
        (
            metadata("settings.motd", "affected-services"),
            "settings/motd.affected-services",
        ),
        // Metadata whose name needs encoding are not lost when they are read again.
        (
            metadata("settings.motd", "\"x.y/z\""),
            "settings/motd.x%2Ey%2Fz",
        ),
        (metadata("\"a.b\"", "\"c.d\""), "a%2Eb.c%2Ed"),
    ] {
        assert_eq!(name.path(), Path::new(path));
        assert_eq!(Name::decode(Path::new(path)), Ok(name), "{path}");
    }
}

#[test]
fn a_file_that_no_name_is_written_to_has_no_name() {
    for path in [
        &b""[..],
        b"/settings",
        b"settings/",
        b"settings//motd",
        b"settings/../motd",
        b"./settings",
        b"a.b/c",
        b"a.b.c",
        b".a",
        b"a.",
        b"settings/%2e",
        b"%61",
        b"a%2",
        b"a%",
        b"a%GG",
        b"a%+1",
        b"a b",
        b"%20",
        b"%FF",
        b"\xff",
        b"%C3%B6",
    ] {
        let path = Path::new(OsStr::from_bytes(path));
        assert!(Name::decode(path).is_err(), "{}", path.display());
    }
}

#[test]
fn a_name_moves_with_what_it_lies_below() {
    let moved = |key: &str, from: &str, to: &str| {
        data(key)
            .moved(&data(from), &data(to))
            .map(|moved| moved.unwrap().to_string())
    };
    assert_eq!(moved("a.b.c", "a.b", "x"), Some("x.c".into()));
    assert_eq!(moved("a.b", "a.b", "x.\"y.z\""), Some("x.\"y.z\"".into()));
    assert_eq!(moved("a.bc", "a.b", "x"), None);
    assert_eq!(moved("a", "a.b", "x"), None);
    let long = "x".repeat(254);
    let error = data("a.b").moved(&data("a"), &data(&long)).unwrap();
    assert!(matches!(error, Err(KeyError::TooLong { length: 256, .. })));
}

proptest! {
    #[test]
    fn every_name_is_read_back_from_its_file(data in testing::key(), metadata in testing::metadata_key()) {
        prop_assert_eq!(Key::data(&data.to_string()), Ok(data.clone()));
        let name = Name::Data(data.clone());
        prop_assert_eq!(Name::decode(&name.path()), Ok(name));
        let name = Name::Metadata { data, metadata };
        prop_assert_eq!(Name::decode(&name.path()), Ok(name));
    }

    #[test]
    fn every_file_name_that_is_read_is_written_the_same(path in "[a-z%2EF./_-]{1,20}") {
        if let Ok(name) = Name::decode(Path::new(&path)) {
            prop_assert_eq!(name.path(), Path::new(&path));
        }
    }

    #[test]
    fn every_text_survives_as_a_part_of_a_path(text in "\\PC{1,40}") {
        prop_assert_eq!(decode(&encode(&text)), Some(text));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = Key::data(&text);
        let _ = Name::decode(Path::new(&text));
    }
}
