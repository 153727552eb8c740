//! Targets: their metadata (specification 5.6), and the files themselves (5.7).

use std::fs;

use serde_json::{Value, json};
use system_tests::forge::{Key, Role};
use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Publisher, VARIANT, noise};
use system_tests::server::{Fault, Server};

use crate::{World, bend, file_name};

/// Timestamp and snapshot are right and newer; the targets are not kept.
fn refused(world: &World, text: &str) -> Ran {
    let before = world.kept();
    let ran = world.refuses_after_keeping(text);
    assert!(world.kept()["targets.json"] == before["targets.json"]);
    ran
}

#[test]
fn targets_other_than_the_snapshot_names_are_refused() {
    let world = World::new();
    let change: [fn(&mut Value); 2] = [
        |meta| bend(&mut meta["hashes"]["sha256"]),
        |meta| meta["length"] = json!(meta["length"].as_u64().unwrap() - 1),
    ];
    for (change, version) in change.into_iter().zip(2..) {
        let release = world.forge.release(version);
        release
            .edit(Role::Snapshot, move |signed| {
                change(&mut signed["meta"]["targets.json"]);
            })
            .write();
        refused(&world, "targets.json");
    }
    // Without a digest the version alone names them.
    let release = world.forge.release(6);
    release
        .edit(Role::Snapshot, |signed| {
            signed["meta"]["targets.json"] = json!({"version": 6});
        })
        .write();
    world
        .forge
        .put("6.targets.json", &world.forge.read("1.targets.json"));
    refused(&world, "targets");
    world.forge.publish(7);
    world.takes(7);
}

#[test]
fn targets_that_their_keys_did_not_sign_are_refused() {
    let world = World::new();
    for (keys, version) in [
        (vec![], 2),
        (vec![Key::ed25519()], 3),
        (world.forge.keys(Role::Snapshot).to_vec(), 4),
    ] {
        world
            .forge
            .release(version)
            .signed_by(Role::Targets, &keys)
            .write();
        refused(&world, "targets");
    }
    world.forge.publish(5);
    world.takes(5);
}

#[test]
fn expired_targets_are_refused() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Targets, "2001-01-01T00:00:00Z")
        .write();
    refused(&world, "the targets metadata").says("expired at 2001-01-01T00:00:00Z");
    world.forge.publish(3);
    world.takes(3);
}

#[test]
fn a_signed_length_does_not_lift_the_cap() {
    let world = World::new();
    // The snapshot states its length, as it should.
    let release = world.forge.release(2);
    release
        .edit(Role::Targets, |signed| {
            signed["x-padding"] = json!("x".repeat(11 << 20));
        })
        .write();
    refused(&world, "2.targets.json");
    world.forge.publish(3);
    world.takes(3);
}

#[test]
fn a_target_that_is_not_listed_is_not_asked_for() {
    let world = World::new();
    let release = world.forge.release(2);
    release
        .edit(Role::Targets, |signed| {
            signed["targets"]
                .as_object_mut()
                .unwrap()
                .remove("manifest.json");
        })
        .write();
    world.server.seen();
    world.refuses_after_keeping("the repository has no target manifest.json");
    assert!(
        !world
            .asked()
            .iter()
            .any(|name| name.contains("manifest.json"))
    );
}

#[test]
fn a_target_with_another_digest_or_length_is_refused() {
    let world = World::new();
    let change: [fn(&mut Value); 3] = [
        |facts| facts["length"] = json!(facts["length"].as_u64().unwrap() - 1),
        |facts| facts["length"] = json!(facts["length"].as_u64().unwrap() + 1),
        |facts| facts["length"] = json!(u64::MAX),
    ];
    for (change, version) in change.into_iter().zip(2..) {
        let release = world.forge.release(version);
        release
            .edit(Role::Targets, move |signed| {
                change(&mut signed["targets"]["manifest.json"]);
            })
            .write();
        world.refuses_after_keeping("manifest.json");
    }
    world.forge.publish(6);
    for (fault, text) in [
        (Fault::Replace(Vec::new()), "manifest.json"),
        (Fault::Append(b" ".to_vec()), "manifest.json"),
        (Fault::Append(vec![b' '; 32 << 20]), "manifest.json"),
    ] {
        world.server.fault(".manifest.json", fault, 1);
        world.refuses_after_keeping(text);
    }
    world.takes(6);
}

#[test]
fn a_target_without_a_sha256_is_refused() {
    let world = World::new();
    let release = world.forge.release(2);
    let change = |signed: &mut Value| {
        signed["targets"]["manifest.json"]["hashes"] = json!({"sha512": "00".repeat(64)});
    };
    release.edit(Role::Targets, change).write();
    refused(&world, "sha256");
    world.forge.publish(3);
    world.takes(3);
}

#[test]
fn a_manifest_larger_than_any_is_not_fetched() {
    let world = World::new();
    world
        .forge
        .release(2)
        .target("manifest.json", &vec![b' '; 11 << 20])
        .write();
    world.server.seen();
    world.refuses_after_keeping(
        "target manifest.json of 11534336 bytes is larger than 10485760 bytes",
    );
    assert!(
        !world
            .asked()
            .iter()
            .any(|name| name.contains("manifest.json"))
    );
}

/// What a name in the metadata could do to paths and addresses.
#[test]
fn a_target_name_cannot_leave_its_folder() {
    let world = World::new();
    let escape = world.forge.release(2).target(
        "manifest.json",
        b"{\"updates\": [], \"migrations\": {\"(1.0.0, 1.2.0)\": [\"../../evil\"]}}",
    );
    escape.write();
    world.refuses_after_keeping("manifest.json");
}

#[test]
fn nothing_but_what_the_signed_manifest_names_is_fetched() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let migration = publisher.path("add-widget");
    fs::write(&migration, "#!/bin/sh\n").unwrap();
    let images = publisher.images("1.1.0", 64);
    let migration = format!("1.0.0:1.1.0:{}", migration.display());
    publisher
        .release_with("1.1.0", &images, &["--migration", &migration])
        .done();
    // Listed and signed, but asked for by nobody.
    publisher.release("1.2.0");
    host.updog(&["update", "--image", "1.1.0"]).done();
    let mut fetched: Vec<_> = server
        .seen()
        .iter()
        .filter(|request| request.path.starts_with("/targets/"))
        .map(|request| file_name(request).split_once('.').unwrap().1.to_owned())
        .collect();
    fetched.sort();
    fetched.dedup();
    let image = |suffix: &str| format!("{VARIANT}-{ARCH}-1.1.0-{suffix}.lz4");
    let mut expected = vec![
        "manifest.json".to_owned(),
        "migrate_v1.1.0_add-widget.lz4".to_owned(),
        image("boot.ext4"),
        image("boot.ext4.lz4.map"),
        image("root.ext4"),
        image("root.ext4.lz4.map"),
    ];
    expected.sort();
    assert_eq!(fetched, expected);
}

#[test]
fn an_image_of_another_version_under_the_name_of_this_one_is_refused() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    publisher.release("1.1.0");
    publisher.release("1.2.0");
    let image =
        |version: &str| publisher.target(&format!("{VARIANT}-{ARCH}-{version}-root.ext4.lz4"));
    let other = fs::read(image("1.1.0")).unwrap();
    server.fault("1.2.0-root.ext4", Fault::Replace(other), 1000);
    host.updog(&["update"])
        .expect(1)
        .says("writing 1.2.0 to set B");
    assert_eq!(host.bits(), [[1, 0, 1], [0, 0, 0]]);
    server.forgive();
    host.updog(&["update"]).done();
}

#[test]
fn a_target_that_the_disk_has_no_room_for_is_not_kept() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let migration = publisher.path("add-widget");
    fs::write(&migration, noise("widget", 400 << 10)).unwrap();
    let images = publisher.images("1.1.0", 64);
    let migration = format!("1.0.0:1.1.0:{}", migration.display());
    publisher
        .release_with("1.1.0", &images, &["--migration", &migration])
        .done();
    // A file of more than 64 KiB meets the same end as one on a full disk: a short write, then an
    // error.
    let updog = host.updog_command(&["prepare"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]);
    limited.arg(updog.get_program()).args(updog.get_args());
    Ran::of(&mut limited)
        .expect(1)
        .says("migrate_v1.1.0_add-widget.lz4: File too large");
    let cached: Vec<_> = fs::read_dir(host.path("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("widget"))
        .collect();
    assert!(cached.is_empty(), "{cached:?}");
    host.updog(&["prepare"]).done();
}
