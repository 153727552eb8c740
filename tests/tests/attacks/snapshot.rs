//! The snapshot (specification 5.5).

use serde_json::{Value, json};
use system_tests::forge::{Key, Role};
use system_tests::server::Fault;

use crate::{World, bend};

/// The timestamp of `release` is right and newer, so it is kept; nothing below it is.
fn refused(world: &World, text: &str) {
    let before = world.kept();
    world.refuses_after_keeping(text);
    for name in ["snapshot.json", "targets.json"] {
        assert!(
            world.kept().get(name) == before.get(name),
            "{name} was kept"
        );
    }
}

#[test]
fn a_snapshot_other_than_the_timestamp_names_is_refused() {
    let world = World::new();
    let change: [fn(&mut Value); 3] = [
        |meta| bend(&mut meta["hashes"]["sha256"]),
        |meta| meta["length"] = json!(meta["length"].as_u64().unwrap() - 1),
        |meta| meta["length"] = json!(0),
    ];
    for (change, version) in change.into_iter().zip(2..) {
        let release = world.forge.release(version);
        release
            .edit(Role::Timestamp, move |signed| {
                change(&mut signed["meta"]["snapshot.json"]);
            })
            .write();
        refused(&world, "snapshot.json");
    }
    // Without a digest the version alone names it.
    let release = world.forge.release(6);
    release
        .edit(Role::Timestamp, |signed| {
            signed["meta"]["snapshot.json"] = json!({"version": 6});
        })
        .write();
    world
        .forge
        .put("6.snapshot.json", &world.forge.read("1.snapshot.json"));
    refused(&world, "napshot");
    world.forge.publish(7);
    world.takes(7);
}

#[test]
fn a_snapshot_that_its_keys_did_not_sign_is_refused() {
    let world = World::new();
    for (keys, version) in [
        (vec![], 2),
        (vec![Key::ed25519()], 3),
        (world.forge.keys(Role::Timestamp).to_vec(), 4),
    ] {
        world
            .forge
            .release(version)
            .signed_by(Role::Snapshot, &keys)
            .write();
        refused(&world, "snapshot");
    }
    world.forge.publish(5);
    world.takes(5);
}

#[test]
fn a_snapshot_that_takes_targets_back_is_refused() {
    let world = World::new();
    world.forge.publish(5);
    world.takes(5);
    let release = world.forge.release(6).version(Role::Targets, 4);
    release.write();
    refused(&world, "argets");
    assert_eq!(world.kept_version(Role::Targets), 5);
    world.forge.publish(7);
    world.takes(7);
}

#[test]
fn a_snapshot_that_takes_back_or_forgets_a_listed_file_is_refused() {
    let world = World::new();
    let listing = |version: u64| {
        move |signed: &mut Value| signed["meta"]["team.json"] = json!({"version": version})
    };
    world
        .forge
        .release(2)
        .edit(Role::Snapshot, listing(7))
        .write();
    world.takes(2);
    world
        .forge
        .release(3)
        .edit(Role::Snapshot, listing(6))
        .write();
    refused(&world, "team.json");
    world.forge.release(4).write();
    refused(&world, "team.json");
    world
        .forge
        .release(5)
        .edit(Role::Snapshot, listing(8))
        .write();
    world.takes(5);
}

#[test]
fn an_expired_snapshot_is_refused() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Snapshot, "2001-01-01T00:00:00Z")
        .write();
    refused(&world, "the snapshot metadata");
    world.forge.publish(3);
    world.takes(3);
}

#[test]
fn an_endless_snapshot_is_refused() {
    let world = World::new();
    world.forge.publish(2);
    world
        .server
        .fault("2.snapshot.json", Fault::Append(vec![b' '; 1 << 20]), 1);
    refused(&world, "2.snapshot.json");
    world.takes(2);
}

#[test]
fn metadata_of_two_releases_do_not_mix() {
    let world = World::new();
    world.forge.publish(2);
    let (snapshot, targets) = (
        world.forge.read("2.snapshot.json"),
        world.forge.read("2.targets.json"),
    );
    world.forge.publish(3);
    world.forge.put("3.snapshot.json", &snapshot);
    refused(&world, "3.snapshot.json");
    world.forge.publish(4);
    world.forge.put("4.targets.json", &targets);
    world.refuses_after_keeping("4.targets.json");
    assert_eq!(world.kept_version(Role::Targets), 1);
    world.forge.publish(5);
    world.takes(5);
}

#[test]
fn a_snapshot_without_targets_is_refused() {
    let world = World::new();
    world
        .forge
        .release(2)
        .edit(Role::Snapshot, |signed| signed["meta"] = json!({}))
        .write();
    refused(&world, "napshot");
}
