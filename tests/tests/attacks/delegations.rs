//! Repositories that delegate targets to others. We publish none; their top-level targets are read.

use serde_json::{Value, json};
use system_tests::forge::{Key, Role, key};

use crate::World;

/// Targets below `team/` belong to a role with this key; `role` is what it publishes.
fn delegate(world: &World, version: u64, team: &Key, role: Option<(&[Key], &str)>) {
    let delegations = json!({
        "keys": {team.id(): team.public()},
        "roles": [{
            "name": "team", "keyids": [team.id()], "threshold": 1, "terminating": true,
            "paths": ["team/*"],
        }],
    });
    let release = world.forge.release(version);
    let release = release.edit(Role::Targets, move |signed| {
        signed["delegations"] = delegations;
    });
    let Some((keys, expires)) = role else {
        release.write();
        return;
    };
    let signed = json!({
        "_type": "targets", "spec_version": "1.0.0", "version": 1, "expires": expires,
        "targets": {"team/file": {"length": 1, "hashes": {"sha256": "00".repeat(32)}}},
    });
    let document = key::sign(&signed, keys).to_string();
    world.forge.put("1.team.json", document.as_bytes());
    let listed = |signed: &mut Value| signed["meta"]["team.json"] = json!({"version": 1});
    release.edit(Role::Snapshot, listed).write();
}

#[test]
fn top_level_targets_are_read_beside_delegated_ones() {
    let world = World::new();
    let team = Key::ed25519();
    delegate(
        &world,
        2,
        &team,
        Some((std::slice::from_ref(&team), "2999-01-01T00:00:00Z")),
    );
    world.takes(2);
    // A delegation whose role was never published.
    let world = World::new();
    delegate(&world, 2, &team, None);
    world.takes(2);
}

#[test]
fn a_delegated_role_that_does_not_verify_is_said_to_be_the_reason() {
    let world = World::new();
    let (team, stranger) = (Key::ed25519(), Key::ed25519());
    delegate(
        &world,
        2,
        &team,
        Some((&[stranger], "2999-01-01T00:00:00Z")),
    );
    world.refuses_after_keeping("delegates");
    world
        .forge
        .release(3)
        .edit(Role::Snapshot, |signed| {
            signed["meta"]["team.json"] = json!({"version": 1});
        })
        .write();
    world.takes(3);
}
