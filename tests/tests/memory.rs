//! What a host remembers of its updates: versions that failed or were left are not taken again by
//! themselves, and going back is safe.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;

use system_tests::host::Host;
use system_tests::publisher::Publisher;
use system_tests::server::{Fault, Server};
use system_tests::world::TwoReleases;

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
}

impl World {
    fn new() -> Self {
        let TwoReleases {
            publisher,
            server,
            host,
            ..
        } = TwoReleases::new();
        Self {
            publisher,
            server,
            host,
        }
    }

    /// The set that the boot loader takes comes up as `version`.
    fn comes_up(&mut self, set: &str, version: &str) {
        assert_eq!(self.host.boot(), set);
        self.host.runs(version);
    }

    /// A host that runs 1.1.0 from set B, good, and never hears of its server again.
    fn updated() -> Self {
        let mut world = Self::new();
        world.host.updog(&["update"]).done();
        world.comes_up("B", "1.1.0");
        world.host.signpost(&["mark-successful-boot"]).done();
        world
    }

    fn results(&self) -> Vec<String> {
        let report = self.host.updog(&["history", "--json"]).done().json();
        let attempts = report["attempts"].as_array().unwrap();
        attempts
            .iter()
            .map(|attempt| attempt["result"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn a_version_that_does_not_come_up_is_tried_once_more_and_then_quarantined() {
    let mut world = World::new();
    for results in [&["ready"][..], &["ready", "lost"]] {
        world.host.updog(&["update"]).done();
        assert_eq!(world.results(), results);
        // The boot loader spends the try on B, nothing is heard of it, and A boots again.
        world.comes_up("B", "1.1.0");
        world.comes_up("A", "1.0.0");
    }
    let host = &world.host;
    host.updog(&["check-update"])
        .expect(3)
        .says("1.1.0 is quarantined: 1.1.0 did not come up 2 times")
        .says("to take it again: updog release-hold 1.1.0");
    host.updog(&["update"])
        .done()
        .says("no update required: 1.1.0 is quarantined");
    assert_eq!(world.results(), ["lost", "lost"]);
    let text = host.updog(&["history"]).done().stdout;
    assert!(text.contains("1.1.0 is quarantined since"), "{text}");

    // An operator may take it all the same, or release it.
    host.updog(&["release-hold", "1.0.0"]).expect(3);
    host.updog(&["release-hold", "1.1.0"]).done();
    host.updog(&["check-update"]).done();
    host.updog(&["update"]).done();
    world.comes_up("B", "1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    assert_eq!(world.results(), ["good", "lost", "lost"]);
}

#[test]
fn a_version_that_started_and_fell_back_is_quarantined_at_once_and_a_newer_one_is_taken() {
    let mut world = World::new();
    world.host.updog(&["update"]).done();
    world.comes_up("B", "1.1.0");
    // Its user space is there, and asks for an update.
    world.host.updog(&["update"]).expect(4);
    world.comes_up("A", "1.0.0");
    world
        .host
        .updog(&["check-update"])
        .expect(3)
        .says("1.1.0 started, was not marked successful, and the boot loader fell back");
    world.host.updog(&["check-update", "-i", "1.1.0"]).done();

    world.publisher.release("1.2.0");
    world
        .host
        .updog(&["update"])
        .done()
        .says("1.2.0 boots next");
    world.comes_up("B", "1.2.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    // It has proved itself: what is below it is past.
    world.host.updog(&["update"]).done();
    let report = world.host.updog(&["history", "--json"]).done().json();
    assert_eq!(report["holds"], serde_json::json!([]));
}

#[test]
fn a_lost_record_does_not_hide_that_a_set_did_not_come_up() {
    let mut world = World::new();
    world.host.updog(&["update"]).done();
    world.comes_up("B", "1.1.0");
    world.comes_up("A", "1.0.0");
    fs::remove_file(world.host.path("state/history.json")).unwrap();
    assert_eq!(world.results(), ["lost"]);
}

#[test]
fn a_rollback_goes_to_the_verified_old_set_for_one_try_and_what_it_leaves_is_held() {
    let mut world = World::updated();
    world.host.fetch_from("http://127.0.0.1:1");
    let rolled = world.host.updog(&["rollback", "--json"]).done();
    let report = rolled.json();
    assert_eq!(report["set"], "A");
    assert_eq!(
        (&report["from"], &report["to"]),
        (&"1.1.0".into(), &"1.0.0".into())
    );
    assert_eq!(report["can_fall_back"], true);
    assert_eq!(world.host.bits(), [[2, 1, 0], [1, 0, 1]]);
    // Given again, it finds that done.
    world.host.updog(&["rollback"]).done();
    assert_eq!(world.host.bits(), [[2, 1, 0], [1, 0, 1]]);

    world.comes_up("A", "1.0.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    world.host.fetch_from(&world.server.url());
    world
        .host
        .updog(&["check-update"])
        .expect(3)
        .says("1.1.0 is held: 1.1.0 was left by hand with updog rollback");
    assert_eq!(world.results(), ["good", "good"]);
    world.publisher.release("1.2.0");
    world
        .host
        .updog(&["update"])
        .done()
        .says("1.2.0 boots next");
}

#[test]
fn a_rollback_that_does_not_come_up_falls_back_to_the_version_it_left() {
    let mut world = World::updated();
    world.host.updog(&["rollback"]).done();
    world.comes_up("A", "1.0.0");
    world.comes_up("B", "1.1.0");
    assert_eq!(world.results()[0], "lost");
    world
        .host
        .updog(&["check-update"])
        .expect(3)
        .says("up to date");
}

#[test]
fn a_rollback_is_taken_back_like_an_update() {
    let world = World::updated();
    world.host.updog(&["rollback"]).done();
    world.host.updog(&["update-revert"]).done();
    assert_eq!(world.host.next(), "B");
    let report = world.host.updog(&["history", "--json"]).done().json();
    assert_eq!(report["holds"], serde_json::json!([]));
}

#[test]
fn what_was_left_is_held_no_longer_once_somebody_went_back_to_it() {
    let mut world = World::updated();
    for (set, version) in [("A", "1.0.0"), ("B", "1.1.0")] {
        world.host.updog(&["rollback"]).done();
        world.comes_up(set, version);
        world.host.signpost(&["mark-successful-boot"]).done();
    }
    world.host.updog(&["verify"]).done();
    let report = world.host.updog(&["history", "--json"]).done().json();
    let held: Vec<_> = report["holds"].as_array().unwrap().iter().collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["release"]["version"], "1.0.0");
}

#[test]
fn a_rollback_on_the_first_boot_leads_back_to_the_good_set() {
    let mut world = World::new();
    world.host.updog(&["update"]).done();
    world.comes_up("B", "1.1.0");
    let report = world.host.updog(&["rollback", "--json"]).done().json();
    assert_eq!(report["can_fall_back"], false);
    assert_eq!(world.host.bits(), [[2, 0, 1], [1, 0, 0]]);
    world.comes_up("A", "1.0.0");
    world
        .host
        .updog(&["check-update"])
        .expect(3)
        .says("1.1.0 is held");
    assert_eq!(world.results(), ["good", "left"]);
}

#[test]
fn there_is_no_rollback_to_a_set_that_was_never_good_or_is_damaged() {
    let world = World::new();
    world
        .host
        .updog(&["rollback"])
        .expect(4)
        .says("holds no system that ran before");
    world.host.updog(&["prepare"]).done();
    world.host.updog(&["rollback"]).expect(4);
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 1, 0]]);

    let world = World::updated();
    let at = usize::try_from(world.host.offset("A", "root")).unwrap();
    let mut disk = fs::read(world.host.disk()).unwrap();
    disk[at + 5000] ^= 1;
    fs::write(world.host.disk(), disk).unwrap();
    world
        .host
        .updog(&["rollback"])
        .expect(1)
        .says("set A is damaged: the root image")
        .says("from block 1 on");
    assert_eq!(world.host.bits(), [[1, 0, 1], [2, 0, 1]]);
}

#[test]
fn what_a_newer_engine_remembers_is_neither_used_nor_replaced_by_this_one() {
    let world = World::new();
    let newer = "{\"schema\": 99, \"attempts\": {\"of\": \"another form\"}}\n";
    let path = world.host.path("state/history.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, newer).unwrap();
    world
        .host
        .updog(&["update"])
        .done()
        .says("was written by a newer version");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(world.host.next(), "B");
}

#[test]
fn a_history_that_cannot_be_read_keeps_nobody_from_going_back() {
    let world = World::updated();
    let path = world.host.path("state/history.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // What chooses by it does not go on without it.
    world.host.updog(&["update"]).expect(1).says("history.json");
    world.host.updog(&["release-hold", "1.0.0"]).expect(1);
    world
        .host
        .updog(&["rollback"])
        .done()
        .says("what was tried before is not known");
    assert_eq!(world.host.next(), "A");
    world.host.updog(&["update-revert"]).done();
    assert_eq!(world.host.next(), "B");
    assert!(path.is_dir());
}

#[test]
fn migrations_in_use_stay_until_the_set_that_needs_them_is_given_up() {
    let world = World::updated();
    let live = world.host.path("migrations");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&live)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = names();
    world.publisher.release("1.2.0");
    // An image is not there: found out before anything is given up.
    let manifest = "demo-x86_64-1.2.0-boot.ext4.lz4";
    world.server.fault("manifest.json", Fault::Status(404), 1);
    world.host.updog(&["update"]).expect(1);
    assert_eq!(names(), before);

    // The images cannot be had: the set is given up by then, and so are its migrations.
    world.server.fault(manifest, Fault::Status(404), 1);
    world.host.updog(&["update"]).expect(1);
    let after = names();
    assert_ne!(after, before);
    world.host.updog(&["update"]).done();
    assert_eq!(names(), after);
    assert_eq!(
        after.len(),
        1,
        "the manifest of the new state alone: {after:?}"
    );
    let left: Vec<_> = fs::read_dir(world.host.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".staged") || name.contains(".probe"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
