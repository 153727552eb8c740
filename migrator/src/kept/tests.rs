use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::*;
use crate::document::Document;
use crate::migration::check::sample;
use crate::migration::{AddSettings, Migration, RemoveMetadata, RemoveSettings, Sequence, apply};
use crate::testing;

const OLD: Version = Version::new(1, 0, 0);
const NEW: Version = Version::new(1, 1, 0);

fn store(data: serde_json::Value, metadata: serde_json::Value) -> Store {
    Store {
        live: sample(data, metadata).unwrap(),
        ..Store::default()
    }
}

fn key(name: &str) -> Key {
    Key::data(name).unwrap()
}

/// Runs `migration` as the migrator does.
fn run(
    kept: &mut Kept,
    migration: &dyn Migration,
    direction: Direction,
    store: &mut Store,
) -> Outcome {
    run_as(kept, ("m", migration, &[]), direction, store)
}

fn run_as(
    kept: &mut Kept,
    (name, migration, renamed): (&str, &dyn Migration, &[(Key, Key)]),
    direction: Direction,
    store: &mut Store,
) -> Outcome {
    let input = store.clone();
    apply(migration, direction, store).unwrap();
    let step = Step {
        migration: name,
        direction,
        version: match direction {
            Direction::Forward => &OLD,
            Direction::Backward => &NEW,
        },
        renamed,
    };
    kept.after_step(&step, &input, store)
}

use Direction::{Backward, Forward};

#[test]
fn what_was_removed_comes_back_once() {
    let mut kept = Kept::default();
    let migration = Sequence::new()
        .then(RemoveSettings::new(["s.a", "s.gone"]))
        .then(RemoveMetadata::new([("s.a", &["t"][..]), ("s.b", &["t"])]));
    let before = store(
        json!({"s.a": "mine", "s.b": 2}),
        json!({"s.a": {"t": 1}, "s.b": {"t": 2, "u": 3}}),
    );
    let mut store = before.clone();
    let outcome = run(&mut kept, &migration, Forward, &mut store);
    let words = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
    assert_eq!(words(&outcome.kept), ["s.a", "s.a (t)", "s.b (t)"]);
    assert_eq!(outcome.put_back, []);
    assert_eq!(store.live.data.len(), 1);
    let outcome = run(&mut kept, &migration, Backward, &mut store);
    assert_eq!(words(&outcome.put_back), ["s.a", "s.a (t)", "s.b (t)"]);
    assert_eq!(outcome.kept, []);
    assert_eq!(store, before);
    assert!(kept.is_empty());

    store.live.data.remove(&key("s.a"));
    let outcome = run(&mut kept, &migration, Backward, &mut store);
    assert_eq!(outcome, Outcome::default(), "it came back already");
}

#[test]
fn what_has_been_set_again_stays() {
    let migration = RemoveSettings::new(["s.a", "s.b", "s.c"]);
    let mut kept = Kept::default();
    let mut now = store(json!({"s.a": 1, "s.b": 1, "s.c": 1}), json!({}));
    run(&mut kept, &migration, Forward, &mut now);
    // One is set again; one has become a group; one has a value above it.
    for again in [json!({"s.a": 9}), json!({"s.b.x": 9}), json!({"s": 9})] {
        let mut kept = kept.clone();
        let mut now = store(again.clone(), json!({}));
        run(&mut kept, &migration, Backward, &mut now);
        let expected = match again.as_object().unwrap().keys().next().unwrap().as_str() {
            "s.a" => json!({"s.a": 9, "s.b": 1, "s.c": 1}),
            "s.b.x" => json!({"s.a": 1, "s.b.x": 9, "s.c": 1}),
            _ => json!({"s": 9}),
        };
        assert_eq!(now, store(expected, json!({})));
        assert_eq!(now.live.conflict(), None);
        assert!(kept.is_empty(), "the way back ends it");
    }
}

#[test]
fn metadata_do_not_come_back_below_a_value() {
    let migration = RemoveMetadata::new([("s.a", &["t"][..]), ("s.b", &["t"])]);
    let mut kept = Kept::default();
    let mut now = store(json!({}), json!({"s.a": {"t": 1}, "s.b": {"t": 2}}));
    run(&mut kept, &migration, Forward, &mut now);
    now = store(json!({"s": 9}), json!({}));
    run(&mut kept, &migration, Backward, &mut now);
    assert_eq!(now, store(json!({"s": 9}), json!({})));
    assert_eq!(now.live.conflict(), None);
}

#[test]
fn a_value_that_the_user_deleted_does_not_come_back() {
    let migration = RemoveSettings::new(["s.a"]);
    let mut kept = Kept::default();
    let mut now = store(json!({"s.a": 1}), json!({}));
    run(&mut kept, &migration, Forward, &mut now);
    // The old store is used again without the way back, and the setting is deleted there.
    let mut now = store(json!({}), json!({}));
    run(&mut kept, &migration, Forward, &mut now);
    let outcome = run(&mut kept, &migration, Backward, &mut now);
    assert_eq!(outcome.put_back, []);
    assert_eq!(now, Store::default());
}

#[test]
fn each_version_keeps_its_own_value_of_a_setting_that_changed_its_kind() {
    let migration = Sequence::new()
        .then(RemoveSettings::new(["s.a"]))
        .then(AddSettings::new(["s.a"]));
    let mut kept = Kept::default();
    let mut now = store(json!({"s.a": "old kind"}), json!({}));
    run(&mut kept, &migration, Forward, &mut now);
    now.live.data.insert(key("s.a"), ["new", "kind"].into());
    for _ in 0..3 {
        run(&mut kept, &migration, Backward, &mut now);
        assert_eq!(now, store(json!({"s.a": "old kind"}), json!({})));
        run(&mut kept, &migration, Forward, &mut now);
        assert_eq!(now, store(json!({"s.a": ["new", "kind"]}), json!({})));
    }
}

#[test]
fn migrations_do_not_answer_for_each_other() {
    let migration = RemoveSettings::new(["s.a"]);
    let mut kept = Kept::default();
    let mut now = store(json!({"s.a": 1}), json!({}));
    run_as(&mut kept, ("m", &migration, &[]), Forward, &mut now);
    let outcome = run_as(&mut kept, ("n", &migration, &[]), Backward, &mut now);
    assert_eq!(outcome, Outcome::default());
    let outcome = run_as(&mut kept, ("m", &migration, &[]), Backward, &mut now);
    assert_eq!(outcome.put_back, [Name::Data(key("s.a"))]);
}

#[test]
fn a_renamed_setting_is_not_lost_unless_its_value_is() {
    let document = Document::parse(
        b"format = 1\n[[step]]\nrename = { from = 's.a', to = 's.b' }\n\
          [[step]]\nrename = { from = 's.b', to = 't' }",
    )
    .unwrap();
    let metadata = json!({"s.a": {"t": 1}});
    for (data, is_kept) in [
        (json!({"s.a": 1}), false),
        (json!({"s.a.x": 1, "s.a.y": 2}), false),
        (json!({"s.a": 1, "t": 2}), true),
        (json!({"s.a": 1, "t": 1}), false),
    ] {
        let input = store(data.clone(), metadata.clone());
        let mut output = input.clone();
        document.apply(Forward, &mut output, "demo").unwrap();
        let step = Step {
            migration: "m",
            direction: Forward,
            version: &OLD,
            renamed: &document.renamed(Forward),
        };
        let outcome = Kept::default().after_step(&step, &input, &mut output);
        assert_eq!(!outcome.kept.is_empty(), is_kept, "{data}");
    }
}

#[test]
fn pending_transactions_and_strays_are_left_alone() {
    let mut input = store(json!({}), json!({}));
    let pending = sample(json!({"s.a": 1}), json!({})).unwrap();
    input.pending.insert("x".to_owned(), pending);
    let mut output = Store::default();
    let step = Step {
        migration: "m",
        direction: Forward,
        version: &OLD,
        renamed: &[],
    };
    let outcome = Kept::default().after_step(&step, &input, &mut output);
    assert_eq!((outcome, output), (Outcome::default(), Store::default()));
}

#[test]
fn the_oldest_is_dropped_when_it_is_too_much() {
    let mut kept = Kept::default();
    let migration = RemoveSettings::new(["s.a"]);
    for number in 0..=MAX_ENTRIES {
        let mut now = store(json!({"s.a": 1}), json!({}));
        let name = format!("m{number}");
        let outcome = run_as(&mut kept, (&name, &migration, &[]), Forward, &mut now);
        let dropped: Vec<_> = outcome
            .dropped
            .iter()
            .map(|d| d.migration.as_str())
            .collect();
        let expected: &[&str] = if number == MAX_ENTRIES { &["m0"] } else { &[] };
        assert_eq!(dropped, expected);
    }
    let large = "x".repeat(MAX_BYTES / 2);
    for (number, count) in [(0, MAX_ENTRIES - 1), (1, MAX_ENTRIES)] {
        let mut now = store(json!({"s.a": large}), json!({}));
        let name = format!("large{number}");
        let outcome = run_as(&mut kept, (&name, &migration, &[]), Forward, &mut now);
        assert_eq!(outcome.dropped.len(), if number == 0 { 1 } else { count });
    }
    let mut now = store(json!({"s.a": "x".repeat(MAX_BYTES)}), json!({}));
    let outcome = run_as(&mut kept, ("too large", &migration, &[]), Forward, &mut now);
    let last = outcome.dropped.last().unwrap();
    assert_eq!((last.migration.as_str(), last.count), ("too large", 1));
    assert_eq!((last.direction, &last.version), (Forward, &OLD));
    assert!(kept.is_empty());
}

proptest! {
    #[test]
    fn forth_and_back_restores_all_that_was_not_set_again(
        before in testing::tree(),
        removed in proptest::collection::vec(any::<Index>(), 0..6),
        again in proptest::collection::btree_map(testing::key(), testing::value(), 0..4),
    ) {
        let names: Vec<_> = names(&before);
        let mut settings = BTreeSet::new();
        let mut metadata = BTreeSet::new();
        for index in removed {
            match names.get(index.index(names.len().max(1))) {
                Some(Name::Data(key)) => { settings.insert(key.clone()); }
                Some(Name::Metadata { data, metadata: name }) => {
                    metadata.insert((data.clone(), vec![name.clone()]));
                }
                None => {}
            }
        }
        let migration = Sequence::new()
            .then(RemoveSettings { keys: settings.into_iter().collect(), only_if: None })
            .then(RemoveMetadata { items: metadata.into_iter().collect(), only_if: None });
        let mut kept = Kept::default();
        let mut now = Store { live: before.clone(), ..Store::default() };
        run(&mut kept, &migration, Forward, &mut now);
        for (key, value) in &again {
            if now.live.has_room_for(key) {
                now.live.data.insert(key.clone(), value.clone());
            }
        }
        let between = now.clone();
        run(&mut kept, &migration, Backward, &mut now);

        // What was there in between is as it was; all else is as it was before, or in its way.
        for (key, value) in &between.live.data {
            prop_assert_eq!(now.live.data.get(key), Some(value));
        }
        for (key, value) in &before.data {
            let set_again = between.live.data.keys().any(|other| key.is_within(other) || other.is_within(key));
            if !set_again {
                prop_assert_eq!(now.live.data.get(key), Some(value));
            }
        }
        let in_the_way = |key: &Key| between.live.data.keys().any(|other| other != key && key.is_within(other));
        for (key, items) in &before.metadata {
            if !in_the_way(key) {
                prop_assert_eq!(now.live.metadata.get(key), Some(items));
            }
        }
        prop_assert!(now.live.data.keys().all(|key| between.live.data.contains_key(key) || before.data.contains_key(key)));
        prop_assert_eq!(now.live.conflict(), None);
        prop_assert!(kept.is_empty());
    }

    #[test]
    fn what_is_kept_survives_its_file(store in testing::store()) {
        let mut kept = Kept::default();
        let step = Step { migration: "m", direction: Forward, version: &NEW, renamed: &[] };
        kept.after_step(&step, &store, &mut Store::default());
        prop_assert_eq!(form::parse(&form::render(&kept)), Ok(update_metadata::Stored::Known(kept)));
    }
}
