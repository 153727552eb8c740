//! What `status`, `explain` and `plan` print in every situation that a host comes into, and the
//! JSON of every verb, held against committed files. A change of one of them is a change for whoever
//! reads them: it belongs into the changelog.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;
use std::process::Command;

use system_tests::host::Host;
use system_tests::programs::{self, Ran};
use system_tests::publisher::Publisher;
use system_tests::report::{FILTERS, of_host, shown};
use system_tests::server::Server;

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
struct World {
    publisher: Publisher,
    _server: Server,
    host: Host,
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
            publisher,
            _server: server,
            host,
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

    /// 1.1.0 was tried and did not come up.
    fn lose_a_boot(&mut self) {
        self.host.updog(&["update"]).done();
        assert_eq!(self.host.boot(), "B");
        assert_eq!(self.host.boot(), "A");
    }

    /// Holds what the three verbs print against the files of `situation`.
    fn matches(&self, situation: &str) {
        for verb in ["status", "explain", "plan"] {
            matches(
                &format!("{situation}.{verb}"),
                &of_host(&self.host, &[verb]),
            );
        }
    }
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// Compares `text` with the file `name`, but for what differs from run to run.
fn matches(name: &str, text: &str) {
    let mut settings = settings();
    for (pattern, replacement) in FILTERS {
        settings.add_filter(pattern, replacement);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn a_fresh_host() {
    World::new().matches("fresh");
}

#[test]
fn an_update_is_staged() {
    let world = World::new();
    world.host.updog(&["prepare"]).done();
    world.matches("staged");
}

#[test]
fn an_update_is_ready() {
    let world = World::new();
    world.host.updog(&["update"]).done();
    world.matches("ready");
}

#[test]
fn an_update_runs_on_trial() {
    World::trial().matches("trial");
}

#[test]
fn an_update_is_good() {
    let world = World::trial();
    world.host.signpost(&["mark-successful-boot"]).done();
    world.matches("good");
}

#[test]
fn a_boot_was_lost() {
    let mut world = World::new();
    world.lose_a_boot();
    world.matches("lost-boot");
}

#[test]
fn a_version_is_quarantined() {
    let mut world = World::new();
    world.lose_a_boot();
    world.lose_a_boot();
    world.matches("quarantined");
}

#[test]
fn a_rollback_is_ready_and_the_version_left_is_held() {
    let mut world = World::trial();
    world.host.signpost(&["mark-successful-boot"]).done();
    world.host.updog(&["rollback"]).done();
    world.matches("rollback-ready");
    assert_eq!(world.host.boot(), "A");
    world.host.runs("1.0.0");
    world.matches("held");
}

#[test]
fn the_metadata_are_expired() {
    let world = World::new();
    let images = world.publisher.images("1.2.0", 64);
    let long_ago = "2020-01-01T00:00:00Z";
    world.publisher.release_at("1.2.0", &images, long_ago);
    // What a host has that was off since then.
    let kept = world.host.path("state/tuf");
    fs::create_dir_all(&kept).unwrap();
    for role in ["timestamp", "snapshot", "targets"] {
        let name = format!("{role}.json");
        let newest = fs::read_dir(world.publisher.metadata())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.display().to_string().ends_with(&name))
            .max()
            .unwrap();
        fs::copy(newest, kept.join(name)).unwrap();
    }
    world.matches("expired");
}

#[test]
fn the_disk_is_missing() {
    let world = World::new();
    world.host.updog(&["prepare"]).done();
    fs::remove_file(world.host.disk()).unwrap();
    world.matches("no-disk");
}

#[test]
fn the_waves_are_not_open() {
    let world = World::new();
    let waves = world.publisher.path("waves.toml");
    fs::write(
        &waves,
        "[[waves]]\nstart_after = \"1 hour\"\nfleet_percentage = 10\n\
         [[waves]]\nstart_after = \"1 day\"\nfleet_percentage = 100\n",
    )
    .unwrap();
    let images = world.publisher.images("1.2.0", 64);
    let more = [
        "--waves",
        &waves.display().to_string(),
        "--wave-start",
        "2999-01-01T00:00:00Z",
    ];
    world.publisher.release_with("1.2.0", &images, &more).done();
    world.host.runs("1.1.0");
    world.matches("waves");
}

#[test]
fn the_version_is_locked() {
    let world = World::new();
    world.host.configure("version_lock = \"1.0.0\"\n");
    world.matches("locked");
}

#[test]
fn another_session_is_at_work() {
    let world = World::new();
    fs::create_dir(world.host.path("run")).unwrap();
    let lock = fs::File::create(world.host.path("run/lock")).unwrap();
    lock.lock().unwrap();
    let text = "updog update, process 7, since 2031-03-01T01:00:00Z";
    fs::write(world.host.path("run/lock"), text).unwrap();
    world.matches("at-work");
}

#[test]
fn the_mirror_is_stale() {
    let mut world = World::new();
    let old = world.publisher.path("mirror");
    copy(&world.publisher.repo(), &old);
    world.publisher.release("1.2.0");
    world.host.updog(&["refresh"]).done();
    let stale = Server::start(&old);
    world.host.fetch_from(&stale.url());
    world.matches("stale-mirror");
}

#[test]
fn a_copy_of_the_partition_table_is_damaged() {
    let world = World::new();
    let mut bytes = fs::read(world.host.disk()).unwrap();
    let last = bytes.len() - 512;
    bytes[last..].fill(0);
    fs::write(world.host.disk(), bytes).unwrap();
    world.matches("damaged-table");
}

#[test]
fn an_image_is_too_large() {
    let world = World::new();
    let images = world.publisher.images("1.2.0", 1024);
    world.publisher.release_with("1.2.0", &images, &[]).done();
    world.host.runs("1.1.0");
    world.matches("too-large");
}

#[test]
fn the_json_of_the_other_verbs() {
    let mut world = World::new();
    let host = &world.host;
    let one = |name: &str, line: &[&str]| matches(name, &shown(line, &host.updog(line)));
    one("check-update", &["check-update", "--json"]);
    one("check-update-all", &["check-update", "--all", "--json"]);
    one("refresh", &["refresh", "--json"]);
    let (file, folder) = (host.path("manifest.json"), host.path("usb"));
    let (file, folder) = (file.display().to_string(), folder.display().to_string());
    one(
        "fetch",
        &["fetch", "manifest.json", "--output", &file, "--json"],
    );
    one("mirror", &["mirror", "--out", &folder, "--json"]);
    one("history-empty", &["history", "--json"]);
    one("prepare", &["prepare", "--json"]);
    one("update", &["update", "--json"]);
    one("verify", &["verify", "--json"]);
    world.host.boot();
    world.host.runs("1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    let host = &world.host;
    let one = |name: &str, line: &[&str]| matches(name, &shown(line, &host.updog(line)));
    one("rollback", &["rollback", "--json"]);
    one("history", &["history", "--json"]);
    let root = host.offset("A", "root");
    let mut bytes = fs::read(host.disk()).unwrap();
    bytes[usize::try_from(root).unwrap() + 5 * 4096] ^= 1;
    fs::write(host.disk(), bytes).unwrap();
    one("verify-damaged", &["verify", "--json"]);
}

#[test]
fn every_key_of_the_json_is_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let (updog, migrator) = (
        document("../updog/JSON.md"),
        document("../migrator/JSON.md"),
    );
    let mut count = 0;
    for entry in fs::read_dir(folder.join("tests/snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let document = if name.starts_with("migrator-") {
            &migrator
        } else {
            &updog
        };
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((key, _)) = line.trim_start().split_once("\": ") else {
                continue;
            };
            let Some(key) = key.strip_prefix('"') else {
                continue;
            };
            // The bounds of waves are keys too, and so are versions.
            let is_number = key.chars().all(|c| c.is_ascii_digit() || c == '.');
            let is_there = [format!("`{key}`"), format!("\"{key}\"")]
                .iter()
                .any(|form| document.contains(form));
            assert!(is_number || is_there, "{key} of {}", path.display());
            count += 1;
        }
    }
    assert!(count > 1000, "{count} keys");
}

/// The help of `program` and of each of its verbs, found by walking them.
fn help(program: &str, path: &[&str], all: &mut String) {
    let mut command = Command::new(programs::path(program));
    command.args(path).arg("--help").env("COLUMNS", "100");
    let ran = Ran::of(&mut command).done();
    let line = [&[program], path, &["--help"]].concat().join(" ");
    all.extend(["$ ", &line, "\n", &ran.stdout, "\n"]);
    let verbs = ran
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_once(' '))
        .filter(|(verb, _)| !verb.is_empty() && *verb != "help")
        .map(|(verb, _)| verb);
    for verb in verbs {
        help(program, &[path, &[verb]].concat(), all);
    }
}

#[test]
fn the_help_of_every_verb() {
    for program in [
        "updog",
        "updata",
        "apiclient",
        "thar-be-updates",
        "signpost",
        "migrator",
    ] {
        let mut all = String::new();
        help(program, &[], &mut all);
        settings().bind(|| insta::assert_snapshot!(format!("help-{program}"), all));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
