//! Repositories that are wrong, and the one thing that must hold for each: the host says so, keeps
//! what it runs, nothing new can boot, and a good repository afterwards is taken.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;

use system_tests::host::Host;
use system_tests::publisher::{ARCH, Images, Publisher, VARIANT, noise};
use system_tests::server::{Fault, Server};

/// A host with 1.0.0 in set A, and 1.1.0 valid and armed in set B but never booted; 1.2.0 is
/// published. So what is lost, and what becomes bootable, can both be seen.
struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        publisher.release("1.1.0");
        host.updog(&["update"]).done();
        publisher.release("1.2.0");
        Self {
            publisher,
            server,
            host,
        }
    }

    /// `update` fails and says `text`; nothing was written. Then the same command succeeds once
    /// `mend` was done.
    fn refused_before_writing(&self, text: &str) {
        self.host.updog(&["update"]).expect(1).says(text);
        assert_eq!(self.host.bits(), ARMED, "nothing was touched");
    }

    /// `update` fails and says `text` while the image `suffix` of `version` has `fault`, put together from
    /// its blocks or fetched whole; set B cannot boot, set A does.
    fn refused_both_ways(&self, version: &str, suffix: &str, fault: &Fault, text: &str) {
        for by_blocks in [true, false] {
            // By blocks, the hash image is not fetched at all.
            if by_blocks && suffix == HASH {
                continue;
            }
            if !by_blocks {
                self.server.hide_block_maps();
            }
            let name = name(version, suffix);
            self.server.fault(&name, fault.clone(), usize::MAX);
            self.refused_while_writing(text);
        }
    }

    /// `update` fails and says `text`; set B cannot boot, set A does.
    fn refused_while_writing(&self, text: &str) {
        // A set that holds the update already would not be written, and blocks of it not be fetched.
        self.host.signpost(&["clear-inactive"]).done();
        for (kind, length) in [("boot", 64 << 10), ("root", 64 * 4096), ("hash", 8192)] {
            self.host.overwrite("B", kind, &noise("wiped", length));
        }
        self.host
            .updog(&["update"])
            .expect(1)
            .says(text)
            .says("run the command again: of a release with block maps");
        assert_eq!(self.host.bits(), [[1, 0, 1], [0, 0, 0]]);
        assert_eq!(self.host.next(), "A");
        self.host.updog(&["update-apply"]).expect(4);
        self.server.forgive();
        self.works_again();
    }

    fn works_again(&self) {
        self.host.updog(&["update"]).done();
        assert_eq!(self.host.bits(), ARMED);
    }

    fn target(&self, suffix: &str) -> Vec<u8> {
        fs::read(self.publisher.target(&name("1.2.0", suffix))).unwrap()
    }
}

const ARMED: [[u64; 3]; 2] = [[1, 0, 1], [2, 1, 0]];
/// What is said whatever was wrong.
const WRITING: &str = "updog: writing 1.2.0 to set B";
const HASH: &str = "root.verity";
const IMAGES: [&str; 3] = ["boot.ext4", "root.ext4", HASH];

fn name(version: &str, suffix: &str) -> String {
    format!("{VARIANT}-{ARCH}-{version}-{suffix}.lz4")
}

#[test]
fn a_tampered_image_of_the_same_length_is_refused() {
    let world = World::new();
    for suffix in IMAGES {
        let mut tampered = world.target(suffix);
        let middle = tampered.len() / 2;
        tampered[middle] ^= 1;
        let fault = Fault::Replace(tampered);
        world.refused_both_ways("1.2.0", suffix, &fault, WRITING);
    }
}

#[test]
fn a_whole_frame_of_another_content_and_the_same_length_is_refused() {
    let world = World::new();
    // Noise does not compress, so both frames are as long as their content.
    for version in ["1.3.0", "1.4.0"] {
        let images = world
            .publisher
            .images_of(version, &noise(version, 64 * 4096));
        world.publisher.release_with(version, &images, &[]).done();
    }
    let target = |version| fs::read(world.publisher.target(&name(version, "root.ext4"))).unwrap();
    let (other, signed) = (target("1.3.0"), target("1.4.0"));
    assert_eq!(other.len(), signed.len());
    let fault = Fault::Replace(other);
    world.refused_both_ways("1.4.0", "root.ext4", &fault, "Hash mismatch");
}

#[test]
fn a_truncated_image_is_refused() {
    let world = World::new();
    for suffix in IMAGES {
        let whole = world.target(suffix);
        for length in [0, 1, whole.len() / 2, whole.len() - 4, whole.len() - 1] {
            let fault = Fault::Replace(whole[..length].to_vec());
            world.refused_both_ways("1.2.0", suffix, &fault, WRITING);
        }
    }
}

#[test]
fn an_image_with_bytes_after_it_is_refused() {
    let world = World::new();
    for suffix in IMAGES {
        for more in [vec![0], world.target(suffix)] {
            world.refused_both_ways("1.2.0", suffix, &Fault::Append(more), WRITING);
        }
    }
}

#[test]
fn an_image_that_vanished_is_refused() {
    let world = World::new();
    for status in [404, 403] {
        let fault = Fault::Status(status);
        world.refused_both_ways("1.2.0", "root.ext4", &fault, &status.to_string());
    }
}

#[test]
fn a_server_that_is_down_is_given_up_on() {
    let world = World::new();
    world.host.configure("outage_timeout_seconds = 1\n");
    world.server.fault("timestamp.json", Fault::Status(500), 99);
    world.refused_before_writing("giving up, no byte came for");
}

#[test]
fn a_tampered_manifest_is_refused_before_anything_is_written() {
    let world = World::new();
    let manifest = latest_manifest(&world.publisher);
    let text = String::from_utf8(manifest)
        .unwrap()
        .replace("1.2.0", "1.2.9");
    world
        .server
        .fault("manifest.json", Fault::Replace(text.into_bytes()), 1);
    world.refused_before_writing("Hash mismatch");
    world.works_again();
}

#[test]
fn endless_metadata_are_refused() {
    let world = World::new();
    for file in [
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "2.root.json",
    ] {
        world
            .server
            .fault(file, Fault::Append(vec![b' '; 11 << 20]), 1);
        if file == "2.root.json" {
            fs::write(world.publisher.metadata().join(file), b"{").unwrap();
        }
        world.refused_before_writing("updog: looking for an update");
    }
    fs::remove_file(world.publisher.metadata().join("2.root.json")).unwrap();
    world.works_again();
}

#[test]
fn metadata_signed_by_other_keys_are_refused() {
    let world = World::new();
    let stranger = Publisher::new();
    stranger.release("1.0.0");
    stranger.release("1.3.0");
    let good = world.publisher.path("good");
    fs::rename(world.publisher.repo(), &good).unwrap();
    copy_tree(&stranger.repo(), &world.publisher.repo());
    world.refused_before_writing("refreshing the repository");
    fs::remove_dir_all(world.publisher.repo()).unwrap();
    fs::rename(good, world.publisher.repo()).unwrap();
    world.works_again();
}

#[test]
fn a_flipped_bit_anywhere_in_the_metadata_is_refused() {
    let world = World::new();
    for file in ["timestamp.json", "snapshot.json", "targets.json"] {
        let path = fs::read_dir(world.publisher.metadata())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(file))
            .max()
            .unwrap();
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        // A timestamp that does not verify is asked for once more.
        let times = if file == "timestamp.json" { 2 } else { 1 };
        world.server.fault(file, Fault::Replace(bytes), times);
        world.refused_before_writing("updog: looking for an update");
    }
    world.works_again();
}

/// A host that has seen the release of 1.1.0, and the timestamp from before it.
fn host_that_saw_a_newer_state() -> (Publisher, Server, Host, Vec<u8>) {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let before = fs::read(publisher.metadata().join("timestamp.json")).unwrap();
    publisher.release("1.1.0");
    host.updog(&["check-update"]).done();
    (publisher, server, host, before)
}

#[test]
fn an_edge_that_has_not_caught_up_is_asked_again_past_the_caches() {
    let (_publisher, server, host, before) = host_that_saw_a_newer_state();
    server.fault("timestamp.json", Fault::Replace(before), 1);
    let ran = host.updog(&["update"]).done();
    assert!(!ran.stderr.contains("stale mirror"), "{}", ran.stderr);
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn a_stale_mirror_is_no_error_and_the_trusted_state_stays_in_use() {
    let (_publisher, server, host, before) = host_that_saw_a_newer_state();
    server.fault("timestamp.json", Fault::Replace(before), 2);
    host.updog(&["update"])
        .done()
        .says("stale mirror")
        .says("1.1.0 boots next");
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn an_older_repository_is_refused_also_when_the_kept_metadata_are_lost() {
    let (_publisher, server, host, before) = host_that_saw_a_newer_state();
    for name in ["timestamp.json", "snapshot.json", "targets.json"] {
        fs::remove_file(host.path("state/tuf").join(name)).unwrap();
    }
    server.fault("timestamp.json", Fault::Replace(before), 2);
    host.updog(&["update"])
        .expect(1)
        .says("but this host has verified version");
    assert_eq!(host.bits(), [[1, 0, 1], [0, 0, 0]]);
    host.updog(&["update"]).done();
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn an_expired_repository_is_refused_and_the_message_says_what_to_look_at() {
    // Published long ago, for a fortnight.
    let publisher = Publisher::new();
    let images = publisher.images("1.0.0", 64);
    publisher.release_at("1.0.0", &images, "2020-01-01T00:00:00Z");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &images, &server.url());
    host.updog(&["update"])
        .expect(1)
        .says("timestamp metadata")
        .says("expired at 2020-01-08T00:00:00Z")
        .says("Check this host's clock");
    assert_eq!(host.bits(), [[1, 0, 1], [0, 0, 0]]);
    // Signed again, it is good again.
    publisher.release("1.1.0");
    host.updog(&["update"]).done();
}

#[test]
fn a_repository_without_this_variant_offers_nothing() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    host.updog(&["check-update", "--variant", "other"])
        .expect(3)
        .says(&format!("no update for other on {ARCH}"));
    host.updog(&["update", "--variant", "other"])
        .done()
        .says("no update required");
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn an_image_larger_than_its_partition_is_refused_before_the_first_write() {
    let world = World::new();
    let images: Images = world.publisher.images("1.3.0", 1024);
    world.publisher.release_with("1.3.0", &images, &[]).done();
    world.refused_before_writing("the root image of 1.3.0 has 4194304 bytes, its partition");
}

#[test]
fn a_redirect_is_followed_a_few_times_and_not_for_ever() {
    let world = World::new();
    let elsewhere = Server::start(&world.publisher.repo());
    let path = format!("/{VARIANT}/{ARCH}/timestamp.json");
    world.server.fault(
        "timestamp.json",
        Fault::Redirect(format!("{}{path}", elsewhere.url())),
        1,
    );
    world.works_again();
    world
        .server
        .fault("timestamp.json", Fault::Redirect(path), 99);
    world.refused_before_writing("too many redirects");
}

fn latest_manifest(publisher: &Publisher) -> Vec<u8> {
    fs::read_dir(publisher.targets())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with("manifest.json"))
        .map(|path| fs::read(path).unwrap())
        .find(|bytes| String::from_utf8_lossy(bytes).contains("1.2.0"))
        .unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn text_from_a_server_cannot_pretend_to_be_ours() {
    let world = World::new();
    let root = "{\"signed\":{\"_type\":\"root\",\"spec_version\":\"1.0.0\",\"\\u001b[2J\\nupdog: \
                to go on: run me\": 1, \"keys\": {\"a\": {\"keytype\": \"\\u001b[2J\\nupdog: x\"}}}}";
    fs::write(world.publisher.metadata().join("2.root.json"), root).unwrap();
    let ran = world.host.updog(&["update"]).expect(1);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    assert!(
        !ran.stderr.lines().any(|line| line.starts_with("updog: x")),
        "{}",
        ran.stderr
    );
    fs::remove_file(world.publisher.metadata().join("2.root.json")).unwrap();
    world.works_again();
}

#[test]
fn a_password_or_token_in_an_address_is_not_shown() {
    let world = World::new();
    let mut host = world.host;
    for secret in ["operator:s3cret", "s3cret", "s3cret:"] {
        host.fetch_from(&format!("http://{secret}@127.0.0.1:1"));
        host.configure("outage_timeout_seconds = 1\n");
        let ran = host.updog(&["check-update"]).expect(1);
        assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("http://...@127.0.0.1:1/"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn metadata_of_another_variant_from_the_same_publisher_are_not_followed() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    host.updog(&["check-update"]).done();
    // The other folder is newer, and has the same keys.
    let saved = tempfile::tempdir().unwrap();
    copy_tree(&publisher.metadata(), saved.path());
    let (repo, keys, root) = (
        publisher.repo().display().to_string(),
        publisher.text("keys"),
        publisher.text("root.json"),
    );
    let image = |path: &Path| path.display().to_string();
    for version in ["3.0.0", "3.1.0", "3.2.0", "3.3.0"] {
        publisher
            .updata([
                "release",
                "--repo",
                &repo,
                "--keys",
                &keys,
                "--root-role",
                &root,
                "--variant",
                "other",
                "--arch",
                ARCH,
                "--version",
                version,
                "--root-image",
                &image(&old.root),
                "--boot-image",
                &image(&old.boot),
                "--hash-image",
                &image(&old.hash),
            ])
            .done();
    }
    let other = publisher.repo().join("other").join(ARCH);
    copy_tree(&other, &publisher.metadata());
    host.updog(&["check-update"])
        .expect(1)
        .says("serves the metadata of other/x86_64, this host trusts those of demo/x86_64");
    // Nothing of it sticks.
    fs::remove_dir_all(publisher.metadata()).unwrap();
    copy_tree(saved.path(), &publisher.metadata());
    let ran = host.updog(&["check-update"]).done();
    assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
}
