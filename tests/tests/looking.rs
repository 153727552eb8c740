//! `status`, `explain` and `plan` only look: beside a session, over what is broken, without a trace;
//! and what they say is what then happens.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::{Images, Publisher};
use system_tests::server::Server;

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
struct World {
    _publisher: Publisher,
    server: Server,
    host: Host,
    new: Images,
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        let new = publisher.images("1.1.0", 64);
        let migration = publisher.path("add-widget");
        fs::write(&migration, "#!/bin/sh\nexit 0\n").unwrap();
        let migration = format!("1.0.0:1.1.0:{}", migration.display());
        publisher
            .release_with("1.1.0", &new, &["--migration", &migration])
            .done();
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        Self {
            _publisher: publisher,
            server,
            host,
            new,
        }
    }

    /// 1.1.0 is written and runs on trial from set B.
    fn trial() -> Self {
        let mut world = Self::new();
        world.host.updog(&["update"]).done();
        assert_eq!(world.host.boot(), "B");
        world.host.runs("1.1.0");
        world
    }
}

#[test]
fn credentials_in_a_url_are_not_shown() {
    let mut world = World::new();
    world.host.fetch_from("http://user:secret@127.0.0.1:1");
    world.host.configure("outage_timeout_seconds = 1\n");
    for verb in [
        &["status"][..],
        &["status", "--json"],
        &["plan"],
        &["explain"],
    ] {
        let ran = world.host.updog(verb);
        assert!(!ran.stdout.contains("secret"), "{}", ran.stdout);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
}

/// Every file below `folder` with its content and the time of its last change.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        let content = if found.is_dir() {
            files.extend(tree(&path));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let modified = found.modified().unwrap();
        files.push((path.display().to_string(), content, modified));
    }
    files.sort();
    files
}

#[test]
fn status_writes_nothing_and_plan_nothing_but_what_is_trusted() {
    for world in [World::new(), World::trial()] {
        let host = world.host.path("");
        let before = tree(&host);
        world.host.updog(&["status"]).done();
        world.host.updog(&["status", "--json"]).done();
        assert!(tree(&host) == before);
        let apart_from_trust = |host: &Path| {
            let trusted = host.join("state/tuf").display().to_string();
            let mut files = tree(host);
            files.retain(|(path, ..)| !path.starts_with(&trusted) && !path.ends_with("/state"));
            files
        };
        let before = apart_from_trust(&host);
        world.host.updog(&["plan"]);
        world.host.updog(&["explain"]).done();
        assert!(apart_from_trust(&host) == before);
    }
}

/// Breaks something.
type Harm = fn(&World);

#[test]
fn a_part_that_cannot_be_read_says_why_and_the_rest_is_told() {
    let parts: [(&str, &str, Harm); 5] = [
        ("running", "os-release", |world| {
            fs::remove_file(world.host.path("os-release")).unwrap();
        }),
        ("disk", "disk.img", |world| {
            fs::remove_file(world.host.disk()).unwrap();
        }),
        ("history", "history.json", |world| {
            let path = world.host.path("state/history.json");
            fs::remove_file(&path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("migrations", "timestamp.json", |world| {
            fs::write(world.host.path("metadata/timestamp.json"), "{}").unwrap();
        }),
        ("session", "run/lock", |world| {
            let path = world.host.path("run/lock");
            fs::remove_file(&path).unwrap();
            symlink(&path, &path).unwrap();
        }),
    ];
    for (part, names, harm) in parts {
        let world = World::new();
        world.host.updog(&["prepare"]).done();
        harm(&world);
        let status = world.host.updog(&["status", "--json"]).expect(1).json();
        let of = |part: &str| status[part].clone();
        for (other, ..) in parts {
            let error = of(other)["error"].as_str().map(str::to_owned);
            if other == part {
                let error = error.unwrap_or_else(|| panic!("{part}: {status}"));
                assert!(error.contains(names), "{error}");
            } else {
                assert_eq!(error, None, "{part}: {other}");
            }
        }
        world.host.updog(&["status"]).expect(1);
    }
}

#[test]
fn status_beside_a_session_tells_of_it_and_does_not_disturb_it() {
    let world = World::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut status = world.host.updog_command(&["status"]);
    world.server.when("root.ext4", move || {
        sender.send(Ran::of(&mut status).done()).unwrap();
    });
    world.host.updog(&["update"]).done();
    let status = receiver.recv().unwrap().stdout;
    for said in [
        "another session is at work: wait until it is done",
        "at work: updog update, process ",
        "update 1.0.0 -> 1.1.0 in set B",
        "is being written",
        "priority=0 tries_left=0 successful=false",
    ] {
        assert!(status.contains(said), "{said}\n{status}");
    }
    assert_eq!(world.host.bits(), [[1, 0, 1], [2, 1, 0]]);
}

#[test]
fn the_set_that_is_not_what_its_record_says_is_named() {
    let world = World::new();
    world.host.updog(&["prepare"]).done();
    let hash = usize::try_from(world.host.offset("B", "hash")).unwrap();
    let mut bytes = fs::read(world.host.disk()).unwrap();
    bytes[hash + 4096] ^= 1;
    fs::write(world.host.disk(), bytes).unwrap();
    let status = world.host.updog(&["status"]).done();
    let said = "set B does not hold what is recorded of it: updog verify --set B";
    assert!(status.stdout.contains(said), "{}", status.stdout);
}

#[test]
fn explain_can_be_asked_for_one_version() {
    let world = World::new();
    let line = ["explain", "--version", "1.1.0", "--json"];
    let one = world.host.updog(&line).done().json();
    assert_eq!(one["explanations"].as_array().unwrap().len(), 1);
    assert_eq!(one["explanations"][0]["version"], "1.1.0");
    assert_eq!(one["decision"]["kind"], "update");
    let none = world.host.updog(&["explain", "--version", "9.9.9"]);
    let none = none.expect(3).says("the manifest has no 9.9.9");
    assert_eq!(none.stdout, "");
    // Flags of the choice count.
    let forced = ["explain", "--image", "1.0.0", "--json"];
    let forced = world.host.updog(&forced).done().json();
    assert_eq!(forced["decision"]["update"]["version"], "1.0.0");
    let other = ["explain", "--variant", "other", "--json"];
    let other = world.host.updog(&other).done().json();
    assert_eq!(other["decision"]["kind"], "no_candidate");
    assert_eq!(other["host"]["variant"], "other");
}

#[test]
fn a_plan_is_what_the_update_then_does() {
    let world = World::new();
    let plan = world.host.updog(&["plan", "--json"]).done().json();
    let planned = &plan["update"];
    let migrations: u64 = planned["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["bytes"].as_u64().unwrap())
        .sum();
    let raw: u64 = [&world.new.boot, &world.new.root, &world.new.hash]
        .map(|image| fs::metadata(image).unwrap().len())
        .iter()
        .sum();
    assert_eq!(planned["bytes_to_write"], raw);
    world.host.updog(&["update"]).done();
    let history = world.host.updog(&["history", "--json"]).done().json();
    let fetched = history["attempts"][0]["bytes"].as_u64().unwrap();
    assert_eq!(planned["bytes_to_fetch"], fetched + migrations);
    for target in planned["migrations"].as_array().unwrap() {
        let name = target["name"].as_str().unwrap();
        let file = fs::read_dir(world.host.path("migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.display().to_string().ends_with(name))
            .unwrap_or_else(|| panic!("{name} is not cached"));
        assert_eq!(target["bytes"], fs::metadata(file).unwrap().len());
    }

    // Once it is there, nothing of it is fetched again.
    let plan = world.host.updog(&["plan", "--json"]).done().json();
    assert_eq!(plan["update"]["is_written"], true);
    assert_eq!(plan["update"]["bytes_to_fetch"], 0);
    assert_eq!(plan["update"]["bytes_to_write"], 0);
}

#[test]
fn a_plan_ends_as_the_update_would() {
    let world = World::new();
    world.host.updog(&["plan", "--image", "9.9.9"]).expect(3);
    world.host.runs("1.1.0");
    world.host.updog(&["plan"]).expect(3);
    world.host.runs("0.5.0");
    let plan = world.host.updog(&["plan"]).expect(4);
    let said = "no migrations lead from 0.5.0 to 1.1.0";
    assert!(plan.stdout.contains(said), "{}", plan.stdout);
    world.host.updog(&["update"]).expect(1).says(said);
}
