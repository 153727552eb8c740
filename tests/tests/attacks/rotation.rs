//! What a change of keys does to versions that were seen (specification 5.3.11), and how a
//! publisher whose keys were stolen gets its fleet back.

use system_tests::forge::{Key, Role, Signers};

use crate::World;

/// A thief with the online keys signs versions that no publisher would reach.
fn fast_forward(world: &World) {
    world.forge.publish(u64::MAX / 2);
    world.host.updog(&["check-update"]).done();
    world.forge.publish(2);
    // Everybody is locked out now, for as long as the thief's metadata are valid.
    let ran = world.takes_and_warns(u64::MAX / 2);
    ran.says("stale mirror");
}

#[test]
fn versions_may_start_again_after_the_timestamp_or_snapshot_keys_changed() {
    for role in [Role::Timestamp, Role::Snapshot] {
        let mut world = World::new();
        fast_forward(&world);
        world.forge.next_root().rotate(role).write();
        world.forge.publish(2);
        world.takes(2);
        assert_eq!(world.kept_version(Role::Timestamp), 2, "{role}");
        // From there on they rise again.
        world.forge.publish(3);
        world.takes(3);
        world.forge.publish(2);
        world.takes_and_warns(3).says("stale mirror");
    }
}

#[test]
fn versions_may_start_again_after_all_keys_of_a_thief_were_replaced() {
    let mut world = World::new();
    fast_forward(&world);
    let mut root = world.forge.next_root();
    for role in Role::ONLINE {
        root = root.rotate(role);
    }
    root.write();
    world.forge.publish(2);
    world.takes(2);
    assert_eq!(world.kept_version(Role::Targets), 2);
}

#[test]
fn versions_may_not_start_again_after_other_keys_changed() {
    for role in [Role::Root, Role::Targets] {
        let mut world = World::new();
        world.forge.publish(5);
        world.takes(5);
        world.forge.next_root().rotate(role).write();
        // The timestamp is newer, and what it names older.
        world.forge.release(2).version(Role::Timestamp, 6).write();
        world.refuses_after_keeping("napshot");
        assert_eq!(world.kept_version(Role::Timestamp), 5, "{role}");
        world.forge.publish(6);
        world.takes(6);
    }
}

#[test]
fn a_key_rotation_of_long_ago_does_not_let_an_older_repository_in() {
    let mut world = World::new();
    world.forge.next_root().rotate(Role::Timestamp).write();
    world.forge.publish(3);
    world.takes(3);
    // This run starts at the shipped root again, and must not take the rotation for a new one.
    world.forge.release(1).version(Role::Timestamp, 4).write();
    world.refuses("napshot");
    world.forge.publish(1);
    world.takes_and_warns(3).says("stale mirror");
}

#[test]
fn a_stolen_online_key_installs_nothing_and_is_worth_nothing_once_replaced() {
    let mut world = World::new();
    let stolen = [
        world.forge.keys(Role::Timestamp),
        world.forge.keys(Role::Snapshot),
    ]
    .concat();
    let other = Key::ed25519();
    // Timestamp and snapshot of the thief's making, but the targets need another key.
    world
        .forge
        .release(2)
        .signed_by(Role::Targets, std::slice::from_ref(&other))
        .write();
    world.refuses_after_keeping("targets");
    assert_eq!(world.kept_version(Role::Targets), 1);
    world
        .forge
        .next_root()
        .rotate(Role::Timestamp)
        .rotate(Role::Snapshot)
        .write();
    world.forge.publish(2);
    world.takes(2);
    let thief = world.forge.release(3);
    thief
        .signed_by(Role::Timestamp, &stolen[..1])
        .signed_by(Role::Snapshot, &stolen[1..])
        .write();
    world.refuses("timestamp");
    world
        .forge
        .release(3)
        .signed_by(Role::Snapshot, &stolen[1..])
        .write();
    world.refuses_after_keeping("snapshot");
    assert_eq!(world.kept_version(Role::Snapshot), 2);
}

#[test]
fn one_of_two_stolen_root_keys_changes_nothing() {
    let mut world = World::new();
    let keys = vec![Key::ed25519(), Key::ed25519()];
    world
        .forge
        .next_root()
        .signers(Role::Root, Signers::all_of(keys.clone()))
        .write();
    world.takes(1);
    let draft = world.forge.next_root().signers(Role::Root, Signers::one());
    let thief = Key::ed25519();
    draft.signed_by(&[keys[0].clone(), thief]).write_only();
    world.refuses("root");
    // The one that was not stolen, and a new one beside it.
    let replaced = Signers::all_of(vec![keys[1].clone(), Key::ed25519()]);
    world
        .forge
        .next_root()
        .signers(Role::Root, replaced)
        .write();
    world.takes(1);
    world
        .forge
        .next_root()
        .signed_by(&[keys[0].clone(), keys[1].clone()])
        .write_only();
    world.refuses("root");
}
