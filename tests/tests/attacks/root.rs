//! The root of trust, and the way from it to the newest one (specification 5.2 and 5.3).

use std::fs;

use serde_json::json;
use system_tests::forge::{Forge, Key, Role, Signers, key};
use system_tests::server::Fault;

use crate::World;

#[test]
fn a_shipped_root_that_its_own_keys_did_not_sign_is_refused() {
    let world = World::new();
    let shipped = world.host.path("root.json");
    let good = fs::read(&shipped).unwrap();
    let mut other: serde_json::Value = serde_json::from_slice(&good).unwrap();
    other["signed"]["expires"] = json!("2998-01-01T00:00:00Z");
    for (bytes, text) in [
        (
            other.to_string().into_bytes(),
            "is not signed by its own keys",
        ),
        (good[..good.len() / 2].to_vec(), "is not a TUF root"),
        (Vec::new(), "is not a TUF root"),
    ] {
        fs::write(&shipped, bytes).unwrap();
        world.refuses(text).says("root.json");
    }
    fs::write(&shipped, good).unwrap();
    world.takes(1);
}

#[test]
fn roots_on_the_way_may_have_expired() {
    let mut forge = Forge::new();
    forge.next_root().expires("2001-01-01T00:00:00Z").write();
    forge
        .next_root()
        .rotate(Role::Root)
        .expires("2002-01-01T00:00:00Z")
        .write();
    // The host ships with the second one, which has expired.
    let shipped = forge.root_file(2);
    forge.next_root().write();
    let world = World::of(forge);
    fs::copy(shipped, world.host.path("root.json")).unwrap();
    fs::remove_dir_all(world.host.path("state")).unwrap();
    world.takes(1);
}

#[test]
fn a_chain_of_roots_is_followed_to_its_end_and_kept_as_received() {
    let mut world = World::new();
    for role in Role::ALL {
        world.forge.next_root().rotate(role).write();
    }
    world.forge.publish(2);
    world.takes(2);
    for version in 2..=5 {
        let name = format!("{version}.root.json");
        assert_eq!(
            world.kept()[&format!("roots/{name}")],
            world.forge.read(&name)
        );
    }
    // The next run starts where this one ended.
    world.server.seen();
    world.takes(2);
    let roots: Vec<_> = world
        .asked()
        .into_iter()
        .filter(|name| name.ends_with("root.json"))
        .collect();
    assert_eq!(roots, ["6.root.json"]);
}

#[test]
fn a_root_needs_the_thresholds_of_the_old_keys_and_of_the_new() {
    let mut world = World::new();
    let two = || vec![Key::ed25519(), Key::ed25519()];
    let (first, second) = (two(), two());
    world
        .forge
        .next_root()
        .signers(Role::Root, Signers::all_of(first.clone()))
        .write();
    world.takes(1);
    let stranger = Key::ed25519();
    for keys in [
        // Of the old ones only, of the new ones only, one short of either, and others.
        [&first[..]].concat(),
        [&second[..]].concat(),
        [&first[..1], &second[..]].concat(),
        [&first[..], &second[..1]].concat(),
        [&first[..1], &second[..], std::slice::from_ref(&stranger)].concat(),
        vec![stranger],
        Vec::new(),
    ] {
        let draft = world
            .forge
            .next_root()
            .signers(Role::Root, Signers::all_of(second.clone()));
        draft.signed_by(&keys).write_only();
        world.refuses("root");
    }
    world
        .forge
        .next_root()
        .signers(Role::Root, Signers::all_of(second))
        .write();
    world.takes(1);
}

#[test]
fn the_next_root_has_the_next_version() {
    let mut world = World::new();
    for version in [0, 1, 3, u64::MAX] {
        world
            .forge
            .next_root()
            .edit(move |root| root["version"] = json!(version))
            .write_only();
        world.refuses("root");
    }
    world.forge.next_root().write();
    world.takes(1);
}

#[test]
fn roots_before_a_bad_one_are_kept_and_the_bad_one_is_not() {
    let mut world = World::new();
    world.forge.next_root().rotate(Role::Root).write();
    world.forge.next_root().rotate(Role::Timestamp).write();
    world
        .forge
        .next_root()
        .signed_by(&[Key::ed25519()])
        .write_only();
    world.refuses_after_keeping("root");
    let kept = world.kept();
    assert!(kept.contains_key("roots/2.root.json") && kept.contains_key("roots/3.root.json"));
    assert!(!kept.contains_key("roots/4.root.json"));
    world.forge.next_root().write();
    world.forge.publish(2);
    world.takes(2);
}

#[test]
fn an_endless_root_is_refused() {
    let mut world = World::new();
    world.forge.next_root().write();
    world
        .server
        .fault("2.root.json", Fault::Append(vec![b' '; 2 << 20]), 1);
    world.refuses("2.root.json");
    world.takes(1);
}

#[test]
fn only_not_found_ends_the_chain_of_roots() {
    let mut world = World::new();
    world.host.configure("outage_timeout_seconds = 1\n");
    world.forge.next_root().rotate(Role::Timestamp).write();
    world.forge.publish(2);
    for status in [401, 403, 500, 503] {
        world
            .server
            .fault("2.root.json", Fault::Status(status), 1000);
        world.refuses(&status.to_string());
        // Otherwise the timestamp of the new key would be called a forgery.
        world.server.forgive();
    }
    world.server.fault("3.root.json", Fault::Status(410), 1);
    world.takes(2);
}

#[test]
fn an_expired_newest_root_is_refused_but_kept() {
    let mut world = World::new();
    world
        .forge
        .next_root()
        .expires("2001-01-01T00:00:00Z")
        .write();
    world.forge.publish(2);
    world
        .refuses_after_keeping("the root metadata")
        .says("expired at 2001-01-01T00:00:00Z");
    // A key rotation must be followed even by a host whose clock is wrong.
    assert!(world.kept().contains_key("roots/2.root.json"));
    assert_eq!(world.kept_version(Role::Timestamp), 1);
    world.forge.next_root().write();
    world.takes(2);
}

#[test]
fn names_have_versions_if_the_newest_root_says_so() {
    let mut world = World::new();
    world.forge.next_root().consistent(false).write();
    world.forge.publish(2);
    world.server.seen();
    world.takes(2);
    let asked = world.asked();
    for name in ["snapshot.json", "targets.json", "manifest.json"] {
        assert!(asked.iter().any(|one| one == name), "{name} {asked:?}");
    }
    world.forge.next_root().consistent(true).write();
    world.forge.publish(3);
    world.takes(3);
    let asked = world.asked();
    for name in ["3.snapshot.json", "3.targets.json"] {
        assert!(asked.iter().any(|one| one == name), "{name} {asked:?}");
    }
    assert!(
        asked.iter().any(|one| one.ends_with(".manifest.json")),
        "{asked:?}"
    );
}

#[test]
fn unknown_fields_are_signed_like_all_others() {
    let mut world = World::new();
    let extra = json!({"nested": [1, {"b": "x", "a": null}], "text": "\u{e4}\"\\"});
    let (one, two) = (extra.clone(), extra.clone());
    world
        .forge
        .next_root()
        .edit(move |root| root["x-extra"] = one)
        .write();
    let release = world.forge.release(2);
    let release = release.edit(Role::Targets, move |signed| {
        signed["x-extra"] = two.clone();
        signed["targets"]["manifest.json"]["custom"] = two;
    });
    release.write();
    world.takes(2);
    let mut document: serde_json::Value =
        serde_json::from_slice(&world.forge.read("2.root.json")).unwrap();
    document["signed"]["x-extra"]["text"] = json!("other");
    world
        .forge
        .put("3.root.json", document.to_string().as_bytes());
    world.refuses("root");
    assert_eq!(
        key::canonical(&json!({"b": 1, "a": "\u{e4}"})),
        "{\"a\":\"\u{e4}\",\"b\":1}".as_bytes()
    );
}
