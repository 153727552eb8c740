//! `updog refresh` and `updog fetch`: what is trusted of a repository, and any of its targets as a
//! file, for somebody who has nothing of a host.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use system_tests::client::Client;
use system_tests::foreign;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Publisher, VARIANT};
use system_tests::server::{Fault, Server};

/// A published release and somebody who looks at it.
struct World {
    publisher: Publisher,
    server: Server,
    client: Client,
}

/// A target of it.
fn boot() -> String {
    format!("{VARIANT}-{ARCH}-1.0.0-boot.ext4.lz4")
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new();
        publisher.release("1.0.0");
        let server = Server::start(&publisher.repo());
        let client = Client::new(&publisher, &server.url());
        Self {
            publisher,
            server,
            client,
        }
    }

    fn boot_bytes(&self) -> Vec<u8> {
        fs::read(self.publisher.target(&boot())).unwrap()
    }

    /// Fetches the boot image to `name`.
    fn fetch(&self, name: &str, more: &[&str]) -> Ran {
        let path = self.client.text(name);
        let fetch = ["fetch", &boot(), "--output", &path];
        self.client.updog(&[&fetch, more].concat())
    }

    /// The newest published version of a role.
    fn version(&self, role: &str) -> u64 {
        fs::read_dir(self.publisher.metadata())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(&format!("{role}.json")))
            .map(|path| {
                let file: serde_json::Value =
                    serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                file["signed"]["version"].as_u64().unwrap()
            })
            .max()
            .unwrap()
    }

    /// What lies beside the configuration.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.client.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["root.json", "updog.toml", "state"].contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn refresh_shows_who_signs_which_version_until_when() {
    let world = World::new();
    let report = world.client.updog(&["refresh", "--json"]).done().json();
    let roles = report["roles"].as_array().unwrap();
    let root: serde_json::Value =
        serde_json::from_slice(&fs::read(world.publisher.path("root.json")).unwrap()).unwrap();
    let names: Vec<_> = roles
        .iter()
        .map(|role| role["role"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["root", "timestamp", "snapshot", "targets"]);
    for role in roles {
        let name = role["role"].as_str().unwrap();
        let signed = &root["signed"]["roles"][name];
        assert_eq!(role["keyids"], signed["keyids"], "{name}");
        assert_eq!(role["threshold"], signed["threshold"], "{name}");
        assert_eq!(role["version"], world.version(name), "{name}");
        assert!(role["seconds_left"].as_i64().unwrap() > 86_400, "{name}");
    }
    let expires = |at: usize| roles[at]["expires"].as_str().unwrap();
    assert_eq!(expires(0), root["signed"]["expires"].as_str().unwrap());
    assert_eq!(
        report["valid_until"], roles[1]["expires"],
        "the timestamp ends first"
    );

    let ran = world.client.updog(&["refresh"]).done();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 5);
    for (line, role) in lines[1..].iter().zip(roles) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], role["role"]);
        assert_eq!(words[5], role["expires"]);
        assert!(
            role["keyids"][0]
                .as_str()
                .unwrap()
                .starts_with(words.last().unwrap())
        );
    }

    // What it found is kept: an older repository is refused afterwards.
    assert!(world.client.path("state/tuf/timestamp.json").is_file());
    world.publisher.release("1.1.0");
    let report = world.client.updog(&["refresh", "--json"]).done().json();
    assert_eq!(report["roles"][1]["version"], world.version("timestamp"));
}

#[test]
fn a_repository_that_cannot_be_reached_or_trusted_is_no_success() {
    let world = World::new();
    world.client.configure("outage_timeout_seconds = 1\n");
    world.server.fault("timestamp.json", Fault::Status(500), 99);
    for arguments in [&["refresh"][..], &["fetch", "x", "--output", "x"]] {
        world
            .client
            .updog(arguments)
            .expect(1)
            .says("updog: refreshing the repository http://127.0.0.1:")
            .says("once the repository can be reached and is good");
    }
    let limit = "max_metadata_bytes = 1024\n";
    let world = World::new();
    world.client.configure(limit);
    world
        .client
        .updog(&["refresh"])
        .expect(1)
        .says(".targets.json: the file has ")
        .says("and max_metadata_bytes allows no more than 1024");
}

#[test]
fn neither_tells_the_server_anything_of_this_host() {
    let world = World::new();
    world.client.updog(&["refresh"]).done();
    world.fetch("boot", &[]).done();
    let seen = world.server.seen();
    assert!(seen.len() > 4, "{seen:?}");
    for request in seen {
        assert_eq!(request.query, "", "{}", request.path);
    }
}

#[test]
fn a_target_becomes_a_file_that_is_whole_and_signed() {
    let world = World::new();
    let ran = world.fetch("boot", &[]).done();
    assert_eq!(
        fs::read(world.client.path("boot")).unwrap(),
        world.boot_bytes()
    );
    assert_eq!(world.files(), ["boot"]);
    let mode = fs::metadata(world.client.path("boot"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o700, 0o600);
    assert!(
        ran.stderr.contains(&format!("fetching {}", boot())),
        "{}",
        ran.stderr
    );

    // What it prints, sha256sum reads.
    if let Some(sha256sum) = oracle::find(
        "a_target_becomes_a_file_that_is_whole_and_signed",
        "sha256sum",
    ) {
        fs::write(world.client.path("sums"), &ran.stdout).unwrap();
        let mut check = std::process::Command::new(sha256sum);
        Ran::of(check.arg("--check").arg(world.client.path("sums"))).done();
    }
}

#[test]
fn a_file_that_holds_the_target_already_is_left_alone() {
    let world = World::new();
    world.fetch("boot", &[]).done();
    let before = fs::metadata(world.client.path("boot")).unwrap();
    world.server.seen();
    for more in [&[][..], &["--force"], &["--json"]] {
        let ran = world.fetch("boot", more).done().says("nothing was fetched");
        if more == ["--json"] {
            let report = ran.json();
            assert_eq!(report["written"], false);
            assert_eq!(report["bytes"], world.boot_bytes().len());
        }
    }
    assert!(
        world
            .server
            .seen()
            .iter()
            .all(|seen| !seen.path.contains("boot"))
    );
    let after = fs::metadata(world.client.path("boot")).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
}

#[test]
fn another_file_of_the_name_is_replaced_only_when_that_is_asked_for() {
    let world = World::new();
    let length = world.boot_bytes().len();
    // Also one of the same length.
    for old in [b"mine".to_vec(), vec![0; length]] {
        fs::write(world.client.path("boot"), &old).unwrap();
        world
            .fetch("boot", &[])
            .expect(4)
            .says(&format!(
                "exists and is not target {} of {length} bytes",
                boot()
            ))
            .says("--force");
        assert_eq!(fs::read(world.client.path("boot")).unwrap(), old);
        world.fetch("boot", &["--force"]).done();
        assert_eq!(
            fs::read(world.client.path("boot")).unwrap(),
            world.boot_bytes()
        );
    }
    fs::create_dir(world.client.path("folder")).unwrap();
    world
        .fetch("folder", &["--force"])
        .expect(4)
        .says("is not a regular file");
    world
        .fetch("no/such/folder/x", &[])
        .expect(1)
        .says("no/such/folder/x");
    // A link is replaced, not what it leads to.
    fs::write(world.client.path("precious"), "mine").unwrap();
    symlink(world.client.path("precious"), world.client.path("link")).unwrap();
    world.fetch("link", &["--force"]).done();
    assert_eq!(fs::read(world.client.path("precious")).unwrap(), b"mine");
    assert_eq!(
        fs::read(world.client.path("link")).unwrap(),
        world.boot_bytes()
    );
}

#[test]
fn what_is_not_the_signed_target_leaves_nothing_behind() {
    let world = World::new();
    let good = world.boot_bytes();
    let mut tampered = good.clone();
    tampered[good.len() / 2] ^= 1;
    let middle = good.len() / 2;
    for fault in [
        Fault::Replace(tampered.clone()),
        Fault::Replace(good[..middle].to_vec()),
        Fault::Append(vec![0]),
        Fault::Status(404),
    ] {
        world.server.fault("boot.ext4", fault.clone(), 1);
        world
            .fetch("boot", &[])
            .expect(1)
            .says(&format!(
                "fetching target {} of {} bytes from http",
                boot(),
                good.len()
            ))
            .says("nothing was left behind");
        assert_eq!(world.files(), [""; 0], "{fault:?}");
    }
    // A file that changes between two parts, in a way that only the digest can tell.
    world.server.fault("boot.ext4", Fault::DropAfter(middle), 1);
    world.server.fault("boot.ext4", Fault::Replace(tampered), 1);
    world.fetch("boot", &[]).expect(1).says("Hash mismatch");
    assert_eq!(world.files(), [""; 0]);
    world.fetch("boot", &[]).done();
}

#[test]
fn what_a_cut_off_run_left_is_removed_by_the_next() {
    let world = World::new();
    let mut command = world.client.command(&["fetch", &boot(), "--output"]);
    command.arg(world.client.path("boot"));
    world.server.fault("boot.ext4", Fault::StallAfter(1000), 1);
    let mut child = command.spawn().unwrap();
    while world.files().is_empty() {
        std::thread::yield_now();
    }
    // One that is at work is not disturbed.
    world.fetch("other", &[]).done();
    assert_eq!(world.files().len(), 2, "{:?}", world.files());
    child.kill().unwrap();
    child.wait().unwrap();
    world.fetch("boot", &[]).done();
    assert_eq!(world.files(), ["boot", "other"]);
}

#[test]
fn a_target_that_is_not_listed_and_an_output_that_is_no_file_are_told() {
    let world = World::new();
    let path = world.client.text("x");
    world
        .client
        .updog(&["fetch", "no-such", "--output", &path])
        .expect(1)
        .says("the repository has no target no-such")
        .says("targets.json");
    for output in ["-", ""] {
        world
            .client
            .updog(&["fetch", &boot(), "--output", output])
            .expect(2)
            .says("--output");
    }
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_target_that_cannot_fit_is_refused_before_it_is_fetched() {
    let test = "a_target_that_cannot_fit_is_refused_before_it_is_fetched";
    let world = World::new();
    let small = world.client.path("small");
    let Some(_mounted) = oracle::small_file_system(test, &small, 16 << 10) else {
        return;
    };
    world.server.seen();
    world
        .fetch("small/boot", &[])
        .expect(1)
        .says(" bytes free, and ")
        .says("make room");
    assert!(
        world
            .server
            .seen()
            .iter()
            .all(|seen| !seen.path.contains("boot"))
    );
}

#[test]
fn a_repository_of_another_publisher_may_have_folders_of_targets() {
    let publisher = Publisher::new();
    let site = tempfile::tempdir().unwrap();
    let metadata = site.path().join("meta");
    let names = ["specified/a/f.txt", "tough/f.txt", "plain", "what? #1.txt"];
    foreign::sign(&publisher, &metadata, &names, b"content");
    let hash = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    for path in [
        format!("specified/a/{hash}.f.txt"),
        format!("{hash}.tough/f.txt"),
        format!("{hash}.plain"),
        format!("{hash}.what? #1.txt"),
    ] {
        let path = site.path().join("targets").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"content").unwrap();
    }
    let files = format!("file://{}", site.path().display());
    let server = Server::start(site.path());
    for base in [server.url(), files] {
        let client = Client::of(
            &publisher,
            &format!("{base}/meta"),
            &format!("{base}/targets"),
        );
        for name in names {
            // The test's server knows no escapes.
            if name.contains('?') && base.starts_with("http") {
                continue;
            }
            let output = client.text("out");
            client.updog(&["fetch", name, "--output", &output]).done();
            assert_eq!(fs::read(&output).unwrap(), b"content", "{name}");
            fs::remove_file(output).unwrap();
        }
    }
}

#[test]
fn a_signed_name_that_climbs_is_not_followed() {
    let publisher = Publisher::new();
    let site = tempfile::tempdir().unwrap();
    let names = [
        "x/../../../secret",
        "x%2F..%2F..%2Fsecret",
        "x/%2e%2e/%2e%2e/secret",
        "x\\..\\..\\secret",
        "/secret",
    ];
    foreign::sign(&publisher, &site.path().join("meta"), &names, b"content");
    // Where they would lead to.
    fs::create_dir_all(site.path().join("targets")).unwrap();
    fs::write(site.path().join("secret"), b"content").unwrap();
    let server = Server::start(site.path());
    let files = format!("file://{}", site.path().display());
    for base in [server.url(), files] {
        let (meta, targets) = (format!("{base}/meta"), format!("{base}/targets"));
        let client = Client::of(&publisher, &meta, &targets);
        for name in names {
            let output = client.text("out");
            client
                .updog(&["fetch", name, "--output", &output])
                .expect(1);
            assert!(!Path::new(&output).exists(), "{name}");
        }
    }
    for request in server.seen() {
        let inside = ["/meta/", "/targets/"]
            .iter()
            .any(|folder| request.path.starts_with(folder));
        assert!(inside && !request.path.contains(".."), "{}", request.path);
    }
}
