//! The recipes of the README ("The box will not update: do this"), each followed to its end on a host
//! that is in that trouble. A recipe's test runs every command line that the README has there, in
//! that order, and no other one for the host's recovery.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::{self, Ran};
use system_tests::publisher::{Images, Publisher};
use system_tests::server::{Fault, Server};

const README: &str = include_str!("../../README.md");

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
    old: Images,
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        publisher.release("1.1.0");
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        host.configure("reboot_command = [\"true\"]\n");
        Self {
            publisher,
            server,
            host,
            old,
        }
    }

    /// A reboot, after which `version` runs.
    fn reboot(&mut self, version: &str) {
        self.host.boot();
        self.host.runs(version);
        self.host.configure("reboot_command = [\"true\"]\n");
    }

    fn updated(mut self) -> Self {
        self.host.updog(&["update"]).done();
        self.reboot("1.1.0");
        self.host.signpost(&["mark-successful-boot"]).done();
        self
    }

    fn disk(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.host.disk()).unwrap();
        change(&mut bytes);
        fs::write(self.host.disk(), bytes).unwrap();
    }

    fn spoil(&self, set: &str) {
        let root = usize::try_from(self.host.offset(set, "root")).unwrap();
        self.disk(|bytes| bytes[root + 5 * 4096] ^= 1);
    }
}

/// The command lines under one heading.
struct Recipe {
    lines: std::vec::IntoIter<String>,
}

impl Recipe {
    /// That of the README under `heading`.
    fn of(heading: &str) -> Self {
        let start = format!("### {heading}");
        let lines: Vec<String> = README
            .lines()
            .skip_while(|line| *line != start)
            .skip(1)
            .take_while(|line| !line.starts_with('#'))
            .scan(false, |is_code, line| {
                if line.starts_with("```") {
                    *is_code = !*is_code;
                    return Some(None);
                }
                let command = line.split(" #").next().unwrap_or_default().trim();
                Some((*is_code && !command.is_empty()).then(|| command.to_owned()))
            })
            .flatten()
            .collect();
        assert!(!lines.is_empty(), "the README has no recipe '{heading}'");
        Self {
            lines: lines.into_iter(),
        }
    }

    /// The next line, which has to be `line`.
    fn follow<'a>(&mut self, line: &'a str) -> Vec<&'a str> {
        let next = self.lines.next();
        assert_eq!(next.as_deref(), Some(line), "the README goes on otherwise");
        line.split(' ').collect()
    }

    /// Follows the next line on `host`.
    fn run(&mut self, host: &Host, line: &str) -> Ran {
        match &self.follow(line)[..] {
            ["updog", arguments @ ..] => host.updog(arguments),
            ["signpost", arguments @ ..] => host.signpost(arguments),
            [program, arguments @ ..] => {
                let disk = host.disk().display().to_string();
                let arguments = arguments.iter().map(|word| match *word {
                    "/dev/vda" => disk.as_str(),
                    word => word,
                });
                let path = oracle::find("recovery", program).unwrap();
                Ran::of(
                    Command::new(path)
                        .args(arguments)
                        .current_dir(host.path("")),
                )
            }
            [] => unreachable!("a line has words"),
        }
    }

    /// Follows the next line where the publisher is.
    fn run_at(&mut self, publisher: &Publisher, line: &str) -> Ran {
        let words = self.follow(line);
        programs::run_in(&publisher.path(""), words[0], &words[1..])
    }

    /// Nothing of the recipe is left.
    fn ends(mut self) {
        assert_eq!(self.lines.next(), None, "the README has more");
    }
}

fn shows(ran: &Ran, text: &str) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains(text), "'{text}' is not in\n{all}");
}

#[test]
fn no_update_is_offered() {
    let world = World::new();
    let waves = world.publisher.path("waves.toml");
    let policy = "[[waves]]\nstart_after = \"1 hour\"\nfleet_percentage = 100\n";
    fs::write(&waves, policy).unwrap();
    let waves = waves.display().to_string();
    let images = world.publisher.images("1.2.0", 64);
    let more = ["--waves", &waves, "--wave-start", "2999-01-01T00:00:00Z"];
    world.publisher.release_with("1.2.0", &images, &more).done();
    let host = &world.host;
    host.runs("1.1.0");
    let mut recipe = Recipe::of("No update is offered");
    shows(
        &recipe.run(host, "updog status").done(),
        "runs and boots next",
    );
    shows(
        &recipe.run(host, "updog explain").done(),
        "FAIL  wave             wave opens for seed 1000 at 2999-",
    );
    shows(
        &recipe.run(host, "updog plan --now").done(),
        "upgrade to 1.2.0",
    );
    recipe.run(host, "updog update --now").done();
    recipe.ends();
    assert_eq!(host.next(), "B");
}

#[test]
fn the_metadata_are_expired() {
    let mut world = World::new();
    let publisher = Publisher::new();
    let images = publisher.images("1.1.0", 64);
    let migrations = publisher.images("1.0.0", 64);
    publisher.release_with("1.0.0", &migrations, &[]).done();
    fs::remove_dir_all(publisher.repo()).unwrap();
    publisher.release_at("1.0.0", &migrations, "2020-01-01T00:00:00Z");
    publisher.release_at("1.1.0", &images, "2020-01-01T00:00:01Z");
    let server = Server::start(&publisher.repo());
    fs::copy(publisher.path("root.json"), world.host.path("root.json")).unwrap();
    world.host.fetch_from(&server.url());
    let kept = world.host.path("state/tuf");
    fs::create_dir_all(&kept).unwrap();
    let timestamp = publisher.metadata().join("timestamp.json");
    fs::copy(timestamp, kept.join("timestamp.json")).unwrap();

    let host = &world.host;
    let mut recipe = Recipe::of("The metadata are expired, or the mirror is stale");
    shows(
        &recipe.run(host, "updog status").done(),
        "WARNING: metadata are expired (timestamp at 2020-01-",
    );
    shows(
        &recipe.run(host, "updog refresh").expect(1),
        "expired at 2020-01-",
    );
    shows(
        &recipe.run_at(&publisher, "updata inspect repo").done(),
        "expired",
    );
    recipe
        .run_at(
            &publisher,
            "updata refresh --repo repo --root-role root.json --keys keys --targets",
        )
        .done();
    recipe.ends();
    host.updog(&["update"]).done();
    assert_eq!(host.next(), "B");
}

#[test]
fn the_mirror_is_stale() {
    let mut world = World::new();
    let timestamp = fs::read(world.publisher.metadata().join("timestamp.json")).unwrap();
    world.publisher.release("1.2.0");
    world.host.updog(&["refresh"]).done();
    let good = world.server.url();
    let stale = Server::start(&world.publisher.repo());
    stale.fault("timestamp.json", Fault::Replace(timestamp), 99);
    world.host.fetch_from(&stale.url());

    let host = &world.host;
    let mut recipe = Recipe::of("The metadata are expired, or the mirror is stale");
    let status = recipe.run(host, "updog status").done();
    assert!(!status.stdout.contains("WARNING"), "{}", status.stdout);
    shows(
        &recipe.run(host, "updog refresh").done(),
        "WARN stale mirror: ",
    );
    // Another mirror.
    world.host.fetch_from(&good);
    let update = world.host.updog(&["update"]).done();
    assert!(!update.stderr.contains("stale"), "{}", update.stderr);
    assert_eq!(world.host.next(), "B");
}

#[test]
fn a_version_did_not_come_up() {
    let mut world = World::new();
    for _ in 0..2 {
        world.host.updog(&["update"]).done();
        assert_eq!(world.host.boot(), "B");
        assert_eq!(world.host.boot(), "A");
    }
    let host = &world.host;
    let mut recipe = Recipe::of("A version did not come up");
    shows(
        &recipe.run(host, "updog status").done(),
        "1.1.0 is quarantined: 1.1.0 did not come up 2 times",
    );
    shows(&recipe.run(host, "updog history").done(), "did not come up");
    host.updog(&["update"]).done().says("1.1.0 is quarantined");
    assert_eq!(host.next(), "A");
    recipe.run(host, "updog release-hold 1.1.0").done();
    recipe.run(host, "updog update").done();
    recipe.ends();
    assert_eq!(host.next(), "B");
}

#[test]
fn a_set_is_damaged() {
    let world = World::new();
    world.host.updog(&["prepare"]).done();
    world.spoil("B");
    let host = &world.host;
    let mut recipe = Recipe::of("A set is damaged");
    shows(
        &recipe.run(host, "updog verify").expect(1),
        "the root image on ",
    );
    recipe
        .run(host, "updog prepare")
        .done()
        .says("writing the set again");
    host.updog(&["verify"]).done();
    recipe.run(host, "updog verify --set active").done();
    recipe.ends();
}

#[test]
fn the_running_set_is_damaged() {
    let mut world = World::new().updated();
    world.spoil("B");
    let host = &world.host;
    host.updog(&["verify", "--set", "active"]).expect(1);
    host.updog(&["rollback", "--reboot"]).done();
    world.reboot("1.0.0");
    assert_eq!(world.host.active, "A");
}

#[test]
fn a_copy_of_the_partition_table_is_damaged() {
    let world = World::new();
    world.disk(|bytes| {
        let last = bytes.len() - 512;
        bytes[last..].fill(0);
    });
    let host = &world.host;
    let mut recipe = Recipe::of("The partition table is damaged");
    shows(
        &recipe.run(host, "updog status").done(),
        "WARNING: the backup partition table is not in order",
    );
    recipe.run(host, "signpost repair").done().says("repaired");
    let status = host.updog(&["status"]).done();
    assert!(!status.stdout.contains("WARNING"), "{}", status.stdout);
    host.updog(&["update"]).done();
}

#[test]
fn both_copies_of_the_partition_table_are_damaged() {
    let name = "both_copies_of_the_partition_table_are_damaged";
    let Some(sgdisk) = oracle::find(name, "sgdisk") else {
        return;
    };
    let world = World::new().updated();
    let host = &world.host;
    let mut backup = Command::new(sgdisk);
    backup.arg("--backup=table.bin").arg(host.disk());
    Ran::of(backup.current_dir(host.path(""))).done();
    world.disk(|bytes| {
        let last = bytes.len() - 512;
        // Both headers lie.
        bytes[last + 60] ^= 1;
        bytes[512 + 60] ^= 1;
    });
    let mut recipe = Recipe::of("The partition table is damaged");
    shows(
        &recipe.run(host, "updog status").expect(1),
        "where this host stands is not known",
    );
    recipe
        .run(host, "signpost repair")
        .expect(1)
        .says("both partition tables");
    recipe
        .run(host, "sgdisk --load-backup=table.bin /dev/vda")
        .done();
    shows(
        &recipe.run(host, "signpost repair").done(),
        "both partition tables are in order",
    );
    shows(
        &recipe.run(host, "updog status").done(),
        "1.1.0 runs and boots next",
    );
    recipe.ends();
}

#[test]
fn a_file_system_is_full() {
    let world = World::new();
    let host = &world.host;
    let folder = host.path("cache");
    let name = "a_file_system_is_full";
    let Some(_mounted) = oracle::small_file_system(name, &folder, 256 << 10) else {
        return;
    };
    let config = fs::read_to_string(host.path("updog.toml")).unwrap();
    let config = config
        .replace("/migrations\"", "/cache/migrations\"")
        .replace("/metadata\"", "/cache/metadata\"");
    fs::write(host.path("updog.toml"), config).unwrap();
    fs::write(folder.join("filler"), vec![1; 252 << 10]).unwrap();
    let mut recipe = Recipe::of("A file system is full");
    shows(
        &recipe.run(host, "updog plan").expect(4),
        " bytes free, and ",
    );
    host.updog(&["update"]).expect(1);
    assert_eq!(host.next(), "A");
    fs::remove_file(folder.join("filler")).unwrap();
    host.updog(&["plan"]).done();
    recipe.run(host, "updog update").done();
    recipe.ends();
    assert_eq!(host.next(), "B");
}

#[test]
fn another_session_holds_the_lock() {
    let world = World::new();
    let host = &world.host;
    let (sender, receiver) = std::sync::mpsc::channel();
    world
        .server
        .when("root.ext4", move || sender.send(()).unwrap());
    world.server.fault("root.ext4", Fault::Silence, 1);
    let mut hanging = host
        .updog_command(&["update"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    receiver.recv().unwrap();
    let mut recipe = Recipe::of("Another session holds the lock");
    let pid = hanging.id().to_string();
    shows(
        &recipe.run(host, "updog status").done(),
        &format!("at work: updog update, process {pid}, since "),
    );
    host.updog(&["update"]).expect(4).says(&pid);
    let words = recipe.follow("kill PID");
    Ran::of(Command::new(words[0]).arg(&pid)).done();
    hanging.wait().unwrap();
    recipe.run(host, "updog update").done();
    recipe.ends();
    assert_eq!(host.next(), "B");
}

#[test]
fn the_new_version_is_bad_and_going_back_to_it_after_all() {
    let mut world = World::new().updated();
    let mut recipe = Recipe::of("The new version is bad");
    recipe.run(&world.host, "updog rollback --reboot").done();
    world.reboot("1.0.0");
    assert_eq!(world.host.active, "A");
    recipe
        .run(&world.host, "signpost mark-successful-boot")
        .done();
    recipe.ends();
    world.host.updog(&["update"]).done().says("1.1.0 is held");

    let mut recipe = Recipe::of("Going back to it after all");
    shows(
        &recipe.run(&world.host, "updog status").done(),
        "1.1.0 is held: ",
    );
    recipe.run(&world.host, "updog release-hold 1.1.0").done();
    recipe.run(&world.host, "updog update --reboot").done();
    recipe.ends();
    world.reboot("1.1.0");
    assert_eq!(world.host.active, "B");
}

#[test]
fn the_host_has_no_network() {
    let mut world = World::new();
    let folder = world.host.path("usb");
    let (out, from) = (folder.display().to_string(), "1.0.0");
    let line = ["mirror", "--out", &out, "--from", from, "--now"];
    world.host.updog(&line).done();
    let (metadata, targets) = (folder.join("metadata"), folder.join("targets"));
    world.host.fetch_from("http://127.0.0.1:1");
    let config = fs::read_to_string(world.host.path("updog.toml")).unwrap();
    let url = |path: &Path| format!("_base_url = \"file://{}\"", path.display());
    let config: Vec<String> = config
        .lines()
        .map(|line| match line.split_once("_base_url") {
            Some(("metadata", _)) => format!("metadata{}", url(&metadata)),
            Some(("targets", _)) => format!("targets{}", url(&targets)),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(world.host.path("updog.toml"), config.join("\n")).unwrap();
    world.host.updog(&["update"]).done();
    assert_eq!(world.host.next(), "B");
    drop(world.old);
}
