//! The timestamp (specification 5.4).

use serde_json::json;
use system_tests::forge::{Key, Role};
use system_tests::server::Fault;

use crate::World;

#[test]
fn a_timestamp_that_its_keys_did_not_sign_is_refused() {
    let world = World::new();
    for keys in [
        vec![],
        vec![Key::ed25519()],
        world.forge.keys(Role::Snapshot).to_vec(),
    ] {
        world
            .forge
            .release(2)
            .signed_by(Role::Timestamp, &keys)
            .write();
        world.refuses("timestamp");
    }
    let release = world.forge.release(2);
    release
        .tamper(Role::Timestamp, |document| {
            document["signed"]["version"] = json!(3);
        })
        .write();
    world.refuses_until("timestamp", 4);
}

#[test]
fn an_endless_timestamp_is_refused() {
    let world = World::new();
    world.forge.publish(2);
    world
        .server
        .fault("timestamp.json", Fault::Append(vec![b' '; 2 << 20]), 1);
    world.refuses("timestamp.json");
    world.takes(2);
}

#[test]
fn an_older_timestamp_comes_from_a_stale_mirror_and_is_no_error() {
    let world = World::new();
    world.forge.publish(2);
    world.takes(2);
    let before = world.kept();
    world.forge.publish(1);
    world.server.seen();
    world.takes_and_warns(2).says("stale mirror");
    assert!(world.kept() == before);
    let seen = world.server.seen();
    let timestamps: Vec<_> = seen
        .iter()
        .filter(|request| request.path.ends_with("timestamp.json"))
        .map(|request| request.headers.get("cache-control").map(String::as_str))
        .collect();
    // Once as ever, and once more past the caches.
    assert_eq!(timestamps, [None, Some("no-cache")]);
    assert!(
        !seen
            .iter()
            .any(|request| request.path.contains("snapshot.json"))
    );
    assert!(
        !seen
            .iter()
            .any(|request| request.path.contains("targets.json"))
    );
}

#[test]
fn a_cache_that_was_behind_is_passed_by() {
    let world = World::new();
    let old = world.forge.read("timestamp.json");
    world.forge.publish(2);
    world.takes(2);
    world.forge.publish(3);
    world.server.fault("timestamp.json", Fault::Replace(old), 1);
    world.takes(3);
}

#[test]
fn a_stale_mirror_is_an_error_once_the_trusted_metadata_have_expired() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Timestamp, "2031-03-01T00:00:00Z")
        .write();
    world.takes(2);
    world.forge.publish(1);
    let ran = world.at("2031-02-28T00:00:00Z").done().says("stale mirror");
    assert!(ran.stdout.contains("1.2.0"), "{}", ran.stdout);
    world.at("2031-03-02T00:00:00Z").expect(1).says("expired");
    world.forge.publish(3);
    assert!(
        world
            .at("2031-03-02T00:00:00Z")
            .done()
            .stdout
            .contains("1.3.0")
    );
}

#[test]
fn a_timestamp_of_the_trusted_version_changes_nothing() {
    let world = World::new();
    let before = world.kept();
    world.server.seen();
    for (version, expires) in [
        (1, "2998-01-01T00:00:00Z"),
        (2, "2001-01-01T00:00:00Z"),
        (9, "2998-01-01T00:00:00Z"),
    ] {
        // Other targets and another snapshot below it, all signed as they should be.
        let release = world.forge.release(version).version(Role::Timestamp, 1);
        release.expires(Role::Timestamp, expires).write();
        let ran = world.takes_and_warns(1);
        assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
        assert!(world.kept() == before, "version {version}");
        let asked = world.asked();
        assert!(
            !asked
                .iter()
                .any(|name| name.contains("snapshot") || name.contains("targets.json")),
            "{asked:?}"
        );
    }
    world.forge.publish(2);
    world.takes(2);
}

#[test]
fn a_timestamp_of_the_trusted_version_that_its_keys_did_not_sign_is_refused() {
    let world = World::new();
    let release = world.forge.release(2).version(Role::Timestamp, 1);
    release
        .signed_by(Role::Timestamp, &[Key::ed25519()])
        .write();
    world.refuses_until("timestamp", 2);
}

#[test]
fn a_newer_timestamp_with_an_older_snapshot_is_refused() {
    let world = World::new();
    world.forge.publish(3);
    world.takes(3);
    for version in [1, 2] {
        world
            .forge
            .release(version)
            .version(Role::Timestamp, 4)
            .write();
        world.refuses("napshot");
    }
    world.forge.publish(4);
    world.takes(4);
}

#[test]
fn an_expired_timestamp_is_refused() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Timestamp, "2001-01-01T00:00:00Z")
        .write();
    world
        .refuses("the timestamp metadata")
        .says("expired at 2001-01-01T00:00:00Z")
        .says("Check this host's clock");
    world.forge.publish(3);
    world.takes(3);
}

#[test]
fn a_mirror_that_never_changes_is_noticed_when_its_metadata_expire() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Timestamp, "2031-03-01T00:00:00Z")
        .write();
    world.at("2031-02-28T23:59:59Z").done();
    let refused = world.at("2031-03-01T00:00:00Z").expect(1);
    refused
        .says("the timestamp metadata")
        .says("expired at 2031-03-01T00:00:00Z");
}

#[test]
fn a_timestamp_that_names_nothing_or_too_much_is_refused() {
    let world = World::new();
    world
        .forge
        .release(2)
        .edit(Role::Timestamp, |signed| signed["meta"] = json!({}))
        .write();
    world.refuses("imestamp");
    let two =
        |signed: &mut serde_json::Value| signed["meta"]["targets.json"] = json!({"version": 2});
    world.forge.release(2).edit(Role::Timestamp, two).write();
    world.refuses_until("imestamp", 3);
}

#[test]
fn what_was_verified_is_kept_as_it_was_received() {
    let world = World::new();
    let release = world.forge.release(2);
    release
        .edit(Role::Snapshot, |signed| {
            signed["x-later"] = json!([1, null]);
        })
        .write();
    world.takes(2);
    let kept = world.kept();
    for (kept_as, name) in [
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "2.snapshot.json"),
        ("targets.json", "2.targets.json"),
    ] {
        assert!(kept[kept_as] == world.forge.read(name), "{name}");
    }
}

#[test]
fn a_server_that_stops_talking_is_left() {
    let world = World::new();
    world.forge.publish(2);
    world
        .host
        .configure("stall_timeout_seconds = 1\noutage_timeout_seconds = 1\n");
    for (file, bytes) in [
        ("timestamp.json", 10),
        ("timestamp.json", 0),
        ("2.snapshot.json", 100),
        (".manifest.json", 5),
    ] {
        world.server.fault(file, Fault::StallAfter(bytes), 1000);
        world.refuses_after_keeping("giving up");
        world.server.forgive();
    }
    world.takes(2);
}

#[test]
fn a_cached_timestamp_from_before_a_rotation_is_asked_for_again_past_the_caches() {
    let mut world = World::new();
    let cached = world.forge.read("timestamp.json");
    world.forge.next_root().rotate(Role::Timestamp).write();
    world.forge.publish(2);
    world
        .server
        .fault("timestamp.json", Fault::Replace(cached), 1);
    world.takes(2);
    let seen = world.server.seen();
    let past_caches: Vec<_> = seen
        .iter()
        .filter(|request| request.headers.contains_key("cache-control"))
        .map(|request| request.path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(past_caches.first(), Some(&"timestamp.json"));
    // Targets are known by their digests, and come from the caches.
    assert!(
        past_caches.iter().all(|name| !name.contains("manifest")),
        "{past_caches:?}"
    );
    assert!(seen.iter().any(|request| request.path.contains("manifest")));
}
