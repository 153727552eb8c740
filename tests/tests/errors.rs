//! What `updog` says when something is wrong, held against committed files: what, where, why, and
//! what to do next. Each case is a command on a host of its own.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::symlink;

use system_tests::host::Host;
use system_tests::publisher::Publisher;
use system_tests::report::{FILTERS, shown};
use system_tests::server::{Fault, Server};
use system_tests::world::TwoReleases;

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
}

/// Something that goes wrong: its name, what is done to a fresh host before, and the command.
type Case = (&'static str, fn(&mut World), &'static [&'static str]);

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

    fn configure(&self, more: &str) {
        self.host
            .configure(&format!("outage_timeout_seconds = 1\n{more}"));
    }

    /// The next request for a file whose name has `name` in it, and all after it, meet `fault`.
    fn serve(&self, name: &str, fault: Fault) {
        self.configure("");
        self.server.fault(name, fault, 1000);
    }

    /// Changes one byte of the disk.
    fn damage(&self, offset: u64) {
        let mut disk = fs::read(self.host.disk()).unwrap();
        disk[usize::try_from(offset).unwrap()] ^= 1;
        fs::write(self.host.disk(), disk).unwrap();
    }

    fn on_trial(&mut self) {
        self.host.updog(&["update"]).done();
        assert_eq!(self.host.boot(), "B");
        self.host.runs("1.1.0");
    }
}

/// Compares what all `cases` say with the file `name`.
fn matches(name: &str, cases: &[Case]) {
    let mut text = String::new();
    for (case, harm, command) in cases {
        let mut world = World::new();
        harm(&mut world);
        let ran = world.host.updog(command);
        assert_ne!(ran.code, Some(0), "{case}: {}", ran.stderr);
        text.extend(["# ", case, "\n", &shown(command, &ran), "\n"]);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, replacement) in FILTERS {
        settings.add_filter(pattern, replacement);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn configuration_and_host() {
    matches(
        "errors-configuration",
        &[
            (
                "the configuration is missing",
                |world| fs::remove_file(world.host.path("updog.toml")).unwrap(),
                &["update"],
            ),
            (
                "it is not TOML",
                |world| fs::write(world.host.path("updog.toml"), "seed =\n").unwrap(),
                &["update"],
            ),
            (
                "it lacks the repository",
                |world| fs::write(world.host.path("updog.toml"), "seed = 1\n").unwrap(),
                &["update"],
            ),
            (
                "a value has another type",
                |world| world.host.configure("stall_timeout_seconds = \"soon\"\n"),
                &["update"],
            ),
            (
                "a value is out of bounds",
                |world| world.host.configure("stall_timeout_seconds = 0\n"),
                &["update"],
            ),
            (
                "the os-release file is missing",
                |world| fs::remove_file(world.host.path("os-release")).unwrap(),
                &["update"],
            ),
            (
                "the os-release file says too little",
                |world| fs::write(world.host.path("os-release"), "NAME=x\n").unwrap(),
                &["update"],
            ),
            (
                "the root of trust is missing",
                |world| fs::remove_file(world.host.path("root.json")).unwrap(),
                &["update"],
            ),
            (
                "the lock file is a link",
                |world| {
                    fs::create_dir_all(world.host.path("run")).unwrap();
                    symlink("/etc/passwd", world.host.path("run/lock")).unwrap();
                },
                &["update"],
            ),
            (
                "what was tried before cannot be read",
                |world| fs::create_dir_all(world.host.path("state/history.json")).unwrap(),
                &["update"],
            ),
            (
                "the records of the sets cannot be kept",
                |world| {
                    fs::create_dir_all(world.host.path("state")).unwrap();
                    fs::write(world.host.path("state/sets"), "").unwrap();
                },
                &["update"],
            ),
        ],
    );
}

#[test]
fn repository() {
    matches(
        "errors-repository",
        &[
            (
                "there is none",
                |world| world.serve("timestamp.json", Fault::Status(404)),
                &["update"],
            ),
            (
                "the server is not well",
                |world| world.serve("timestamp.json", Fault::Status(503)),
                &["update"],
            ),
            (
                "it is not to be seen",
                |world| world.serve("timestamp.json", Fault::Status(403)),
                &["update"],
            ),
            (
                "it is no repository",
                |world| world.serve("timestamp.json", Fault::Replace(b"<html>".to_vec())),
                &["update"],
            ),
            (
                "metadata are larger than any",
                |world| world.serve("timestamp.json", Fault::Replace(vec![b'x'; 2 << 20])),
                &["update"],
            ),
            (
                "metadata are not what was signed",
                |world| world.serve("snapshot.json", Fault::Append(b" ".to_vec())),
                &["update"],
            ),
            (
                "other keys signed it",
                |world| {
                    let other = Publisher::new();
                    fs::copy(other.path("root.json"), world.host.path("root.json")).unwrap();
                },
                &["update"],
            ),
            (
                "it has expired",
                |world| {
                    let images = world.publisher.images("1.2.0", 64);
                    world
                        .publisher
                        .release_at("1.2.0", &images, "2020-01-01T00:00:00Z");
                },
                &["update"],
            ),
            (
                "an image is missing",
                |world| world.serve("root.ext4", Fault::Status(404)),
                &["update"],
            ),
            (
                "an image is not what was signed",
                |world| {
                    let target = world.publisher.target("demo-x86_64-1.1.0-root.ext4.lz4");
                    let mut bytes = fs::read(target).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    world.serve("root.ext4", Fault::Replace(bytes));
                },
                &["update"],
            ),
            (
                "there is no such target",
                |_| {},
                &["fetch", "no-such-target", "--output", "/nowhere/file"],
            ),
            (
                "there is no such version",
                |_| {},
                &["update", "--image", "9.9.9"],
            ),
        ],
    );
}

#[test]
fn disk_and_sets() {
    matches(
        "errors-disk",
        &[
            (
                "the disk is missing",
                |world| fs::remove_file(world.host.disk()).unwrap(),
                &["update"],
            ),
            (
                "the disk is none",
                |world| fs::write(world.host.disk(), vec![0; 1 << 20]).unwrap(),
                &["update"],
            ),
            (
                "an image is larger than its partition",
                |world| {
                    let images = world.publisher.images("1.2.0", 1024);
                    world.publisher.release_with("1.2.0", &images, &[]).done();
                },
                &["update"],
            ),
            (
                "the running set was not marked successful",
                World::on_trial,
                &["prepare"],
            ),
            ("nothing is prepared", |_| {}, &["update-apply"]),
            (
                "a rollback waits for its reboot",
                |world| {
                    world.on_trial();
                    world.host.signpost(&["mark-successful-boot"]).done();
                    world.host.updog(&["rollback"]).done();
                },
                &["update"],
            ),
            ("there is nothing to go back to", |_| {}, &["rollback"]),
            (
                "the system from before is damaged",
                |world| {
                    world.on_trial();
                    world.damage(world.host.offset("A", "root") + 5 * 4096);
                },
                &["rollback"],
            ),
            (
                "the written set is damaged",
                |world| {
                    world.host.updog(&["prepare"]).done();
                    world.damage(world.host.offset("B", "root") + 5 * 4096);
                },
                &["verify"],
            ),
            (
                "nobody knows what the other set should hold",
                |_| {},
                &["verify", "--set", "B"],
            ),
            ("nothing is held back", |_| {}, &["release-hold", "1.1.0"]),
            (
                "the host cannot be rebooted",
                |world| world.configure("reboot_command = [\"false\"]\n"),
                &["update", "--reboot"],
            ),
        ],
    );
}
