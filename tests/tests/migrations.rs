//! Updates with migrations, from the publisher to the settings of the version that boots: rehearsed
//! before anything is given up, run on the next boot, and taken back.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::host::Host;
use system_tests::programs;
use system_tests::publisher::Publisher;
use system_tests::running::{Running, Signal};
use system_tests::server::Server;

const DOCUMENT: &str = "format = 1\n\
    [[step]]\n\
    rename = { from = \"settings.ntp\", to = \"settings.time\" }\n\
    [[step]]\n\
    replace = { setting = \"settings.log.level\", old = \"verbose\", new = \"debug\" }\n";
const OLD: [(&str, &str); 4] = [
    ("host/name", "\"box\""),
    ("log/level", "\"verbose\""),
    ("motd", "\"hello\""),
    ("ntp/servers", "[\"a\",\"b\"]"),
];
const NEW: [(&str, &str); 3] = [
    ("log/level", "\"debug\""),
    ("network/hostname", "\"box\""),
    ("time/servers", "[\"a\",\"b\"]"),
];

/// A publisher with 1.0.0 and 1.1.0, to which migrations lead, and a host that runs 1.0.0 with
/// settings.
struct World {
    publisher: Publisher,
    _server: Server,
    host: Host,
}

impl World {
    fn new() -> Self {
        let program = programs::example("migrator", "example-migration");
        Self::with(&[
            ("example-migration", &fs::read(program).unwrap()),
            ("rename-ntp.toml", DOCUMENT.as_bytes()),
        ])
    }

    fn with_script(script: &str) -> Self {
        let copy = "cp -r \"$3\" \"$5\"";
        let text = format!("#!/bin/bash\nset -eu\n{}\n", script.replace("COPY", copy));
        Self::with(&[("script.sh", text.as_bytes())])
    }

    /// With migrations of these names and contents.
    fn with(migrations: &[(&str, &[u8])]) -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        let new = publisher.images("1.1.0", 64);
        let mut arguments = Vec::new();
        for (name, content) in migrations {
            let path = publisher.path(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            arguments.push("--migration".to_owned());
            arguments.push(format!("1.0.0:1.1.0:{}", path.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        publisher.release_with("1.1.0", &new, &arguments).done();
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        host.has_settings("1.0.0", &OLD);
        Self {
            publisher,
            _server: server,
            host,
        }
    }

    /// Plays the boot loader and the early boot of what it takes.
    fn boots(&mut self, set: &str, version: &str) {
        assert_eq!(self.host.boot(), set);
        self.host.runs(version);
        self.host.migrate().done();
    }
}

#[test]
fn settings_follow_an_update_a_fallback_and_the_next_try() {
    let mut world = World::new();
    world
        .host
        .updog(&["update"])
        .done()
        .says("rehearsed the migrations, forward and back");
    assert_eq!(world.host.settings(), OLD.map(owned), "not before the boot");
    world.boots("B", "1.1.0");
    assert_eq!(world.host.settings(), NEW.map(owned));

    // It never becomes good: the next boot is of 1.0.0, which finds all that it had.
    world.boots("A", "1.0.0");
    assert_eq!(world.host.settings(), OLD.map(owned));

    // Once more, and this time it is good.
    world.host.updog(&["update"]).done();
    world.boots("B", "1.1.0");
    assert_eq!(world.host.settings(), NEW.map(owned));
    world.host.signpost(&["mark-successful-boot"]).done();

    // Somebody goes back by hand, and forward.
    world.host.updog(&["rollback"]).done();
    world.boots("A", "1.0.0");
    assert_eq!(world.host.settings(), OLD.map(owned));
    world.host.signpost(&["mark-successful-boot"]).done();
    world.host.updog(&["release-hold", "1.1.0"]).done();
    world.host.updog(&["rollback"]).done();
    world.boots("B", "1.1.0");
    assert_eq!(world.host.settings(), NEW.map(owned));
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn plan_tells_what_would_change_and_what_going_back_would_lose() {
    let world = World::new();
    let plan = world.host.updog(&["plan", "--json"]).done().json();
    let rehearsal = &plan["update"]["rehearsal"];
    assert_eq!(rehearsal["result"], "ok");
    assert_eq!(rehearsal["from"], "1.0.0");
    assert_eq!(rehearsal["to"], "1.1.0");
    let changes = rehearsal["changes"].as_array().unwrap();
    for change in [
        json!({"key": "settings.motd", "change": "removed"}),
        json!({"key": "settings.network.hostname", "change": "added"}),
        json!({"key": "settings.log.level", "change": "changed"}),
    ] {
        assert!(changes.contains(&change), "{change} in {changes:?}");
    }
    assert_eq!(rehearsal["lost"], json!([]));
    let steps = |way: &str| {
        let steps = rehearsal[way]["steps"].as_array().unwrap();
        let names = steps.iter().map(|step| step["migration"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let names = [
        "migrate_v1.1.0_example-migration.lz4",
        "migrate_v1.1.0_rename-ntp.toml.lz4",
    ];
    assert_eq!(steps("there"), names);
    assert_eq!(steps("back"), [names[1], names[0]]);
    let text = world.host.updog(&["plan"]).done().stdout;
    assert!(text.contains("settings.motd: would be removed"), "{text}");
    assert!(!text.contains("hello"), "values are nobody's business");

    assert_eq!(world.host.settings(), OLD.map(owned));
    let left: Vec<_> = fs::read_dir(world.host.path("state/tuf"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".scratch"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!world.host.path("migrations").exists(), "nothing is cached");
}

#[test]
fn a_migration_that_fails_on_these_settings_blocks_the_update_before_anything_is_given_up() {
    for (script, why) in [
        ("echo not these settings >&2; exit 3", "not these settings"),
        ("[[ $1 == --forward ]]; COPY", "backward"),
        ("exit 0", "it left no folder at"),
    ] {
        let world = World::with_script(script);
        let bits = world.host.bits();
        world
            .host
            .updog(&["update"])
            .expect(1)
            .says("rehearsing the migrations to 1.1.0")
            .says("migrate_v1.1.0_script.lz4")
            .says(why)
            .says("nothing was written to the partition sets");
        assert_eq!(world.host.bits(), bits, "{script}");
        assert_eq!(world.host.settings(), OLD.map(owned));
        let cached = fs::read_dir(world.host.path("migrations")).unwrap();
        assert_eq!(cached.count(), 0, "{script}");
        let plan = world.host.updog(&["plan", "--json"]).expect(4).json();
        let obstacle = plan["obstacles"][0]["reason"].as_str().unwrap();
        assert!(obstacle.contains(why), "{obstacle}");
        assert!(plan["update"]["rehearsal"].is_null());
    }
}

#[test]
fn a_document_of_a_format_that_the_running_migrator_does_not_know_blocks_the_update() {
    let world = World::with(&[("later.toml", b"format = 2\nsettings = \"otherwise\"\n")]);
    world
        .host
        .updog(&["update"])
        .expect(1)
        .says("migrate_v1.1.0_later.toml.lz4")
        .says("format 2");
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 0, 0]]);
}

#[test]
fn without_a_migrator_nobody_can_tell_and_nothing_is_written() {
    let world = World::with_script("COPY");
    world.host.configure("migrator = \"/no/such/migrator\"\n");
    world
        .host
        .updog(&["update"])
        .expect(1)
        .says("none of /no/such/migrator is there")
        .says("key `migrator`");
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 0, 0]]);
    // One that is none, or says nothing that can be understood.
    for program in ["/bin/true", "/bin/false", "/etc/passwd"] {
        world.host.configure(&format!("migrator = \"{program}\"\n"));
        world.host.updog(&["update"]).expect(1).says(program);
    }
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 0, 0]]);
}

#[test]
fn without_settings_or_migrations_there_is_nothing_to_rehearse() {
    let world = World::with_script("exit 1");
    fs::remove_dir_all(world.host.path("datastore")).unwrap();
    world
        .host
        .updog(&["update"])
        .done()
        .says("there are no settings at");

    let mut world = World::new();
    world.host.updog(&["update"]).done();
    world.boots("B", "1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    world.publisher.release("1.2.0");
    world.host.configure("migrator = \"/no/such/migrator\"\n");
    world.host.updog(&["update"]).done();
    assert_eq!(world.host.next(), "A");
}

#[test]
fn a_rehearsal_that_hangs_ends_with_a_signal_and_has_changed_nothing() {
    let world = World::with_script("while :; do :; done");
    let command = &mut world.host.updog_command(&["update", "--progress", "json"]);
    let mut running = Running::start(command);
    running.until(&[("event", "step"), ("step", "rehearse")]);
    let told = Instant::now();
    running.signal(Signal::TERM);
    let ended = running.end();
    assert!(told.elapsed() < Duration::from_secs(8));
    assert_eq!(ended.status.code(), Some(143), "{:?}", ended.events);
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 0, 0]]);
    assert_eq!(world.host.settings(), OLD.map(owned));
}
