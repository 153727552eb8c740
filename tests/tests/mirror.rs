//! `updog mirror`: a folder with all that one host needs for one update, and a host that has
//! nothing but that folder.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use system_tests::client::Client;
use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Publisher, VARIANT};
use system_tests::server::{Fault, Server};

/// What the publisher makes of the migration `port`.
const MIGRATION: &str = "migrate_v1.1.0_port.lz4";

/// Two releases with a migration between them.
struct World {
    publisher: Publisher,
    server: Server,
    client: Client,
    host: Host,
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        let migration = publisher.path("port");
        fs::write(&migration, "#!/bin/sh\n").unwrap();
        let migration = format!("1.0.0:1.1.0:{}", migration.display());
        let images = publisher.images("1.1.0", 64);
        publisher
            .release_with("1.1.0", &images, &["--migration", &migration])
            .done();
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        let client = Client::new(&publisher, &server.url());
        Self {
            publisher,
            server,
            client,
            host,
        }
    }

    fn out(&self) -> PathBuf {
        self.client.path("mirror")
    }

    /// By somebody who is not the host, without its seed.
    fn mirror(&self, more: &[&str]) -> Ran {
        let out = self.out().display().to_string();
        let line = [
            "mirror",
            "--out",
            &out,
            "--variant",
            VARIANT,
            "--from",
            "1.0.0",
            "--now",
        ];
        self.client.updog(&[&line, more].concat())
    }
}

/// Every file below `dir`, with its content.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_host_without_a_network_takes_its_whole_update_from_a_mirror() {
    let World {
        publisher,
        server,
        client,
        mut host,
    } = World::new();
    let out = client.text("mirror");
    // The host's own configuration and seed: as check-update chooses.
    let ran = host.updog(&["mirror", "--out", &out]).done();
    assert!(
        ran.stderr.contains("demo 1.1.0 for a host that runs 1.0.0"),
        "{}",
        ran.stderr
    );

    // The server is gone, and so is the publisher's folder.
    server.fault("", Fault::Status(500), usize::MAX);
    fs::rename(publisher.repo(), publisher.path("gone")).unwrap();
    let config = host.path("updog.toml");
    let written = fs::read_to_string(&config).unwrap();
    let others: Vec<&str> = written
        .lines()
        .filter(|line| !line.contains("_base_url"))
        .collect();
    // What it prints is what belongs there.
    fs::write(&config, format!("{}{}\n", ran.stdout, others.join("\n"))).unwrap();
    server.seen();
    host.updog(&["update"]).done();
    assert_eq!(server.seen(), []);
    assert_eq!(host.bits(), [[1, 0, 1], [2, 1, 0]]);
    assert_eq!(host.boot(), "B");

    // The migrator of the next boot has its repository too.
    let cached = tree(&host.path("migrations"));
    let names: Vec<&String> = cached.keys().collect();
    assert!(
        names.iter().any(|name| name.ends_with(MIGRATION)),
        "{names:?}"
    );
}

#[test]
fn a_mirror_is_what_the_publisher_signed_and_nothing_else() {
    let world = World::new();
    world.mirror(&[]).done();
    let files = tree(&world.out());
    let published = tree(&world.publisher.repo());
    let metadata = format!("{VARIANT}/{ARCH}");
    for (name, content) in &files {
        let original = name.replace("metadata", &metadata);
        assert_eq!(published[&original], *content, "{name}");
    }
    let mut found: Vec<String> = files
        .keys()
        .map(|name| match name.split_once('/').unwrap() {
            // HASH.NAME and VERSION.ROLE.json
            ("targets", file) => file.split_once('.').unwrap().1.to_owned(),
            (_, "timestamp.json" | "1.root.json") => name.clone(),
            (_, file) => format!("metadata/N.{}", file.split_once('.').unwrap().1),
        })
        .collect();
    found.sort();
    let image = |name: &str| format!("{VARIANT}-{ARCH}-1.1.0-{name}.lz4");
    let mut expected = [
        "metadata/1.root.json".to_owned(),
        "metadata/N.snapshot.json".to_owned(),
        "metadata/N.targets.json".to_owned(),
        "metadata/timestamp.json".to_owned(),
        image("boot.ext4"),
        image("root.ext4"),
        image("root.verity"),
        image("boot.ext4") + ".map.lz4",
        image("root.ext4") + ".map.lz4",
        "manifest.json".to_owned(),
        MIGRATION.to_owned(),
    ];
    expected.sort();
    assert_eq!(found, expected);
    // Nobody was told of a host that updates.
    for request in world.server.seen() {
        assert_eq!(request.query, "", "{}", request.path);
    }
}

#[test]
fn json_lists_every_file_with_its_bytes() {
    let world = World::new();
    let report = world.mirror(&["--json"]).done().json();
    let listed: BTreeMap<String, usize> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            assert_eq!(file["written"], true);
            let bytes = file["bytes"].as_u64().unwrap();
            let path = file["path"].as_str().unwrap().to_owned();
            (path, usize::try_from(bytes).unwrap())
        })
        .collect();
    let there: BTreeMap<String, usize> = tree(&world.out())
        .into_iter()
        .map(|(name, content)| (name, content.len()))
        .collect();
    assert_eq!(listed, there);
    assert_eq!(report["bytes"], there.values().sum::<usize>());
    for (key, value) in [
        ("variant", VARIANT),
        ("arch", ARCH),
        ("from", "1.0.0"),
        ("version", "1.1.0"),
    ] {
        assert_eq!(report[key], value);
    }
    let url = format!("file://{}/targets/", world.out().display());
    assert_eq!(report["targets_base_url"], url);
}

#[test]
fn what_is_there_and_right_is_kept_and_what_is_not_is_mended() {
    let world = World::new();
    world.mirror(&[]).done();
    let whole = tree(&world.out());
    world.server.seen();
    let report = world.mirror(&["--json"]).done().json();
    let files = report["files"].as_array().unwrap();
    assert!(
        files.iter().all(|file| file["written"] == false),
        "{report}"
    );
    let fetched = |part: &str| {
        let seen = world.server.seen();
        seen.iter().filter(|seen| seen.path.contains(part)).count()
    };
    assert_eq!(fetched(".lz4"), 0);

    // Damage of every kind.
    for (name, content) in &whole {
        let path = world.out().join(name);
        for damaged in [&content[..content.len() / 2], &vec![0; content.len()]] {
            fs::write(&path, damaged).unwrap();
            world.mirror(&[]).done();
            assert_eq!(tree(&world.out()), whole, "{name}");
        }
        fs::remove_file(path).unwrap();
    }
    world.mirror(&[]).done();
    assert_eq!(tree(&world.out()), whole);
}

#[test]
fn a_mirror_that_is_cut_off_has_no_metadata_for_what_it_lacks() {
    let world = World::new();
    world.server.fault("root.ext4", Fault::Status(404), 1);
    world
        .mirror(&[])
        .expect(1)
        .says("updog: mirroring the update: fetching target demo-")
        .says("what is there already is kept");
    let names: Vec<String> = tree(&world.out()).into_keys().collect();
    assert!(
        names.iter().all(|name| !name.starts_with("metadata")),
        "{names:?}"
    );
    world.mirror(&[]).done();
}

#[test]
fn it_chooses_as_check_update_does() {
    let world = World::new();
    let images = world.publisher.images("1.2.0", 64);
    world.publisher.release_with("1.2.0", &images, &[]).done();
    let version = |ran: Ran| ran.done().json()["version"].as_str().unwrap().to_owned();
    assert_eq!(version(world.mirror(&["--json"])), "1.2.0");
    assert_eq!(
        version(world.mirror(&["--json", "--image", "1.1.0"])),
        "1.1.0"
    );
    let out = world.out().display().to_string();
    let line = [
        "mirror",
        "--out",
        &out,
        "--variant",
        VARIANT,
        "--now",
        "--from",
    ];
    let from =
        |version: &str, more: &[&str]| world.client.updog(&[&line[..], &[version], more].concat());
    from("1.2.0", &[]).expect(3).says("nothing was mirrored");
    from("1.0.0", &["--arch", "other"])
        .expect(3)
        .says("no update for demo on other");
    from("1.0.0", &["--image", "9.9.9"]).expect(3).says("9.9.9");
    // For this host, it has to be known what runs.
    let line = ["mirror", "--out", &out, "--now"];
    world
        .client
        .updog(&line)
        .expect(1)
        .says("/nowhere/os-release");
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_fetched() {
    let test = "what_cannot_fit_is_refused_before_anything_is_fetched";
    let world = World::new();
    let Some(_mounted) = oracle::small_file_system(test, &world.out(), 64 << 10) else {
        return;
    };
    world
        .mirror(&[])
        .expect(1)
        .says(" bytes free, and ")
        .says("to go on: make room");
    for request in world.server.seen() {
        assert!(!request.path.contains(".lz4"), "{}", request.path);
    }
    // What it needs is what it says.
    assert_eq!(tree(&world.out()), BTreeMap::new());
}

#[test]
fn two_at_a_time_to_one_folder_are_refused() {
    let world = World::new();
    fs::create_dir(world.out()).unwrap();
    let held = fs::File::open(world.out()).unwrap();
    held.lock().unwrap();
    world
        .mirror(&[])
        .expect(4)
        .says("another process is mirroring to ");
    drop(held);
    world.mirror(&[]).done();
}
