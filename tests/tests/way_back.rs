//! The way back, taken and taken back in every order, and what must not stand in it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;

use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::Publisher;
use system_tests::server::Server;
use system_tests::world::TwoReleases;

/// A host that was updated from 1.0.0 (set A) to 1.1.0 (set B), which runs.
struct World {
    publisher: Publisher,
    _server: Server,
    host: Host,
}

impl World {
    /// On its first boot, not marked successful.
    fn on_trial() -> Self {
        let TwoReleases {
            publisher,
            server,
            mut host,
            ..
        } = TwoReleases::new();
        host.updog(&["update"]).done();
        assert_eq!(host.boot(), "B");
        host.runs("1.1.0");
        Self {
            publisher,
            _server: server,
            host,
        }
    }

    fn good() -> Self {
        let world = Self::on_trial();
        world.host.signpost(&["mark-successful-boot"]).done();
        world
    }
}

fn says(ran: &Ran, text: &str) {
    assert!(
        ran.stderr.contains(text) || ran.stdout.contains(text),
        "{text}: {ran:?}"
    );
}

fn attempts(host: &Host) -> usize {
    let history = host.updog(&["history", "--json"]).done().json();
    history["attempts"].as_array().unwrap().len()
}

#[test]
fn a_rollback_that_was_taken_back_can_be_given_again() {
    let World {
        mut host,
        publisher: _publisher,
        _server,
    } = World::good();
    for _ in 0..3 {
        host.updog(&["rollback"]).done();
        assert_eq!(host.bits(), [[2, 1, 0], [1, 0, 1]]);
        says(&host.updog(&["update-revert"]).done(), "updog rollback");
        let status = host.updog(&["status"]).done();
        says(&status, "to go back to 1.0.0: updog rollback, then reboot");
    }
    host.updog(&["rollback"]).done();
    assert_eq!(host.boot(), "A");
    host.runs("1.0.0");
    host.signpost(&["mark-successful-boot"]).done();
    says(&host.updog(&["update"]).done(), "1.1.0 is held");
}

#[test]
fn a_rollback_on_trial_is_done_once_and_says_how_to_stay() {
    let World {
        host,
        publisher: _publisher,
        _server,
    } = World::on_trial();
    let first = host.updog(&["rollback"]).done();
    let stay = "signpost mark-successful-boot, then updog update-revert";
    says(&first, stay);
    let before = (host.bits(), attempts(&host));
    host.updog(&["rollback"]).done();
    assert_eq!((host.bits(), attempts(&host)), before);
    says(&host.updog(&["status"]).done(), stay);
    // As it says.
    host.signpost(&["mark-successful-boot"]).done();
    host.updog(&["update-revert"]).done();
    assert_eq!(host.next(), "B");
    assert_eq!(
        host.updog(&["history", "--json"]).done().json()["holds"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn an_update_does_not_write_over_the_set_that_a_rollback_goes_to() {
    let World {
        publisher, host, ..
    } = World::good();
    host.updog(&["rollback"]).done();
    publisher.release("1.2.0");
    let before = host.bits();
    for verb in ["prepare", "update"] {
        let refused = host.updog(&[verb]);
        assert_eq!(refused.code, Some(4));
        says(&refused, "a rollback waits for its reboot");
    }
    assert_eq!(host.bits(), before);
    let plan = host.updog(&["plan"]);
    assert_eq!(plan.code, Some(4));
    host.updog(&["update-revert"]).done();
    host.updog(&["update"]).done();
}

#[test]
fn nothing_that_cannot_be_remembered_stands_in_the_way_back() {
    let World {
        host,
        publisher: _publisher,
        _server,
    } = World::good();
    // Nothing can be read or written there, not even by root.
    let sets = host.path("state/sets");
    fs::remove_dir_all(&sets).unwrap();
    fs::write(&sets, "no folder").unwrap();
    let rollback = host.updog(&["rollback"]);
    assert_eq!(rollback.code, Some(0), "{rollback:?}");
    assert_eq!(host.next(), "A");
}

#[test]
fn what_stays_is_not_said_of_a_set_that_holds_nothing() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let host = Host::new(&publisher, "1.0.0", &old, "file:///nowhere");
    let revert = host.updog(&["update-revert"]).done();
    assert!(!revert.stderr.contains("update-apply"), "{}", revert.stderr);
}

#[test]
fn a_version_that_was_quarantined_and_proved_itself_is_held_no_longer() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let mut host = Host::new(&publisher, "1.0.0", &old, &server.url());
    for _ in 0..2 {
        host.updog(&["update"]).done();
        assert_eq!(host.boot(), "B");
        "A".clone_into(&mut host.active);
        host.configure("");
    }
    says(&host.updog(&["update"]).done(), "1.1.0 is quarantined");
    host.updog(&["update", "--image", "1.1.0"]).done();
    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    host.signpost(&["mark-successful-boot"]).done();
    let history = host.updog(&["history", "--json"]).done().json();
    assert_eq!(history["attempts"][0]["result"], "good");
    assert_eq!(history["holds"].as_array().unwrap().len(), 0, "{history}");
}

#[test]
fn a_cache_that_is_another_folder_does_not_take_it_away() {
    let World {
        host,
        publisher: _publisher,
        _server,
    } = World::good();
    let (state, link) = (host.path("state"), host.path("link"));
    let config = fs::read_to_string(host.path("updog.toml")).unwrap();
    let metadata = host.path("metadata").display().to_string();
    for (instead, says_so) in [
        (&state, "which is 'state_dir'"),
        (&link, "and so is no cache"),
    ] {
        if instead == &link {
            std::os::unix::fs::symlink(&state, &link).unwrap();
        }
        let text = config.replace(&metadata, &instead.display().to_string());
        fs::write(host.path("updog.toml"), text).unwrap();
        let update = host.updog(&["update", "--image", "1.1.0"]);
        assert_eq!(update.code, Some(1));
        says(&update, says_so);
        assert!(state.join("tuf").exists() && state.join("sets").exists());
    }
}

#[test]
fn a_set_that_was_found_damaged_is_not_armed_for_what_was_found_before() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let new = publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    host.updog(&["prepare"]).done();
    let (mut disk, root) = (fs::read(host.disk()).unwrap(), fs::read(&new.root).unwrap());
    let at = disk.windows(4096).position(|part| part == &root[..4096]);
    disk[at.unwrap() + 5000] ^= 1;
    fs::write(host.disk(), disk).unwrap();
    let verify = host.updog(&["verify"]);
    assert_eq!(verify.code, Some(1));
    says(&verify, "to write it again: updog prepare");
    let apply = host.updog(&["update-apply"]);
    assert_eq!(apply.code, Some(1), "{apply:?}");
    says(&apply, "is damaged");
    assert_eq!(host.next(), "A");
    host.updog(&["update"]).done();
    assert_eq!(host.next(), "B");
}
