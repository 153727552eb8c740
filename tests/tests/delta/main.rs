//! Updates block by block: what the running set has is copied, what is in its place is kept, and only
//! the rest is fetched; and whatever goes wrong with that costs bytes, never a wrong block.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod forged;
mod resume;

use std::os::unix::fs::MetadataExt as _;

use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Images, Publisher, VARIANT, noise};
use system_tests::server::{Fault, Seen, Server};

/// Blocks of a root image: more than two MiB.
const BLOCKS: usize = 600;
const BLOCK: usize = 4096;
const SALT: &str = "abababababababababababababababababababababababababababababababab";

/// A host that runs 1.0.0, whose next version shares most blocks with it.
struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
    new: Images,
}

/// The root image of 1.0.0: noise, and a stretch of zeros.
fn old_root() -> Vec<u8> {
    let mut root = noise("root", BLOCKS * BLOCK);
    root[100 * BLOCK..200 * BLOCK].fill(0);
    root
}

/// The next one: the same blocks in another order, but for `changed` of them, which come first.
fn new_root(changed: usize) -> Vec<u8> {
    let old = old_root();
    let mut root = noise("new", changed * BLOCK);
    root.extend_from_slice(&old[300 * BLOCK..]);
    root.extend_from_slice(&old[..300 * BLOCK]);
    root.truncate(BLOCKS * BLOCK);
    root
}

/// The file of the root image of 1.1.0, whose map has another digest in its name.
fn root_file(publisher: &Publisher) -> String {
    let name = format!("{VARIANT}-{ARCH}-1.1.0-root.ext4.lz4");
    let path = publisher.target(&name);
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl World {
    fn new() -> Self {
        Self::with(&[])
    }

    /// With more arguments to the release of 1.1.0.
    fn with(more: &[&str]) -> Self {
        Self::of(&[], more)
    }

    /// The trees of both have one salt.
    fn salted() -> Self {
        Self::of(&["--salt", SALT], &[])
    }

    fn of(tree: &[&str], more: &[&str]) -> Self {
        let publisher = Publisher::new();
        let old = publisher.salted_images_of("1.0.0", &old_root(), tree);
        publisher.release_with("1.0.0", &old, &[]).done();
        let new = publisher.salted_images_of("1.1.0", &new_root(30), tree);
        publisher.release_with("1.1.0", &new, more).done();
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        Self {
            publisher,
            server,
            host,
            new,
        }
    }

    /// Bytes that were asked for by range in images, and of how many requests.
    fn fetched(seen: &[Seen]) -> (u64, usize) {
        let ranges: Vec<u64> = seen
            .iter()
            .filter(|seen| seen.path.contains("ext4"))
            .filter_map(|seen| {
                let (start, end) = seen
                    .range
                    .as_ref()?
                    .strip_prefix("bytes=")?
                    .split_once('-')?;
                Some(end.parse::<u64>().ok()? + 1 - start.parse::<u64>().ok()?)
            })
            .collect();
        (ranges.iter().sum(), ranges.len())
    }

    fn root_file(&self) -> String {
        root_file(&self.publisher)
    }

    /// An update to 1.1.0 by fetching alone, which fails when a MiB and a half of the root image have come.
    fn fails_half_way(&self) {
        self.host
            .configure("delta = false\noutage_timeout_seconds = 1\n");
        let root = self.root_file();
        self.server.fault(&root, Fault::DropAfter(1_500_000), 1);
        self.server.fault(&root, Fault::Status(503), 1000);
        self.update().expect(1).says("run the command again");
        assert_eq!(self.host.bits()[1], [0, 0, 0]);
        self.server.forgive();
        self.server.seen();
    }

    fn update(&self) -> Ran {
        self.host.updog(&["update"])
    }

    /// The other set holds the images of 1.1.0, byte for byte.
    fn expect_new(&self) {
        for (kind, image) in [
            ("root", &self.new.root),
            ("hash", &self.new.hash),
            ("boot", &self.new.boot),
        ] {
            let image = std::fs::read(image).unwrap();
            assert!(self.host.partition("B", kind).starts_with(&image), "{kind}");
        }
        assert_eq!(self.host.bits()[1], [2, 1, 0]);
        self.host.updog(&["verify"]).done();
    }
}

#[test]
fn an_update_fetches_what_the_running_set_has_not() {
    let world = World::new();
    let planned = world.host.updog(&["plan", "--json"]).done().json();
    world.server.seen();
    let ran = world.update().done();
    world.expect_new();
    let seen = world.server.seen();
    let (bytes, requests) = World::fetched(&seen);
    // 30 blocks of noise and their neighbours in two frames; the boot image is another one.
    assert!(bytes < 400_000, "{bytes}");
    assert!(requests <= 4, "{requests}");
    assert!(!seen.iter().any(|seen| seen.path.contains("verity")));
    ran.says("copied from the running set");
    let images = planned["update"]["images"].as_array().unwrap();
    let sum: u64 = images
        .iter()
        .map(|image| image["blocks"]["bytes_to_fetch"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, bytes);
}

#[test]
fn a_long_stretch_of_zeros_becomes_a_hole() {
    let world = World::new();
    world.host.signpost(&["clear-inactive"]).done();
    let wiped = noise("wiped", BLOCKS * BLOCK);
    world.host.overwrite("B", "root", &wiped);
    let room = || std::fs::metadata(world.host.disk()).unwrap().blocks();
    let before = room();
    world.update().done();
    world.expect_new();
    // A hole of 256 KiB is more than the other two images take.
    let after = room();
    assert!(after < before, "{before} {after}");
}

#[test]
fn an_update_without_delta_fetches_everything_and_only_once() {
    let world = World::new();
    world.host.configure("delta = false\n");
    world.update().done();
    world.expect_new();
    let (bytes, requests) = World::fetched(&world.server.seen());
    assert!(bytes > 1_900_000, "{bytes}");
    assert_eq!(requests, 2);
}

/// What a server may do wrong with parts of the root image, and what is said.
#[test]
fn whatever_is_wrong_with_parts_the_image_gets_there() {
    let world = World::new();
    world.host.configure("outage_timeout_seconds = 1\n");
    let boot_map = format!("{VARIANT}-{ARCH}-1.1.0-boot.ext4.lz4.map.lz4");
    let boot_map = std::fs::read(world.publisher.target(&boot_map)).unwrap();
    for (part, fault, said) in [
        (
            "root.ext4",
            Fault::IgnoreRange,
            "sends the root image whole",
        ),
        (
            "root.ext4",
            Fault::RefuseRange(416),
            "the root image is fetched whole",
        ),
        (
            "root.ext4",
            Fault::RefuseRange(501),
            "the root image is fetched whole",
        ),
        // It fails at ranges, and only at those.
        (
            "root.ext4",
            Fault::RefuseRange(502),
            "the root image is fetched whole",
        ),
        (
            "root.ext4",
            Fault::LieAboutRange,
            "the root image is fetched whole",
        ),
        (
            "root.ext4.lz4.map",
            Fault::Replace(b"nothing".to_vec()),
            "cannot be used",
        ),
        // Sound, and another image's.
        (
            "root.ext4.lz4.map",
            Fault::Replace(boot_map),
            "Hash mismatch",
        ),
        ("boot.ext4.lz4.map", Fault::Status(404), "cannot be used"),
    ] {
        world.host.signpost(&["clear-inactive"]).done();
        // What was written before is not there any more.
        world
            .host
            .overwrite("B", "root", &noise("wiped", BLOCKS * BLOCK));
        world.server.fault(part, fault.clone(), 1000);
        world.update().done().says(said);
        world.server.forgive();
        world.expect_new();
    }
}

#[test]
fn a_mirror_that_swaps_blocks_is_found_out() {
    let world = World::new();
    let target = world.publisher.targets().join(world.root_file());
    let mut bytes = std::fs::read(&target).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&target, bytes).unwrap();
    world
        .update()
        .expect(1)
        .says("the root image was not put together from its blocks; ")
        .says("are not what was signed")
        .says("the compressed file is damaged");
    assert_eq!(world.host.bits()[1], [0, 0, 0]);
}

#[test]
fn frames_of_zstd_are_put_together_too() {
    let world = World::with(&["--compression", "zstd"]);
    world.update().done();
    world.expect_new();
}

/// Two blocks whose hashes, after [`SALT`], begin with the same six bytes.
fn alike() -> [Vec<u8>; 2] {
    let ends = [8_685_666_u64, 58_085_828];
    ends.map(|end| [&[0; BLOCK - 8][..], &end.to_le_bytes()].concat())
}

#[test]
fn a_block_that_only_begins_alike_is_copied_found_out_and_the_image_fetched_whole() {
    let [had, wanted] = alike();
    let publisher = Publisher::new();
    let mut root = noise("root", BLOCKS * BLOCK);
    let mut images_of = |version, block: &[u8]| {
        root[77 * BLOCK..78 * BLOCK].copy_from_slice(block);
        let images = publisher.salted_images_of(version, &root, &["--salt", SALT]);
        publisher.release_with(version, &images, &[]).done();
        images
    };
    let old = images_of("1.0.0", &had);
    let new = images_of("1.1.0", &wanted);
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let world = World {
        publisher,
        server,
        host,
        new,
    };
    world
        .update()
        .done()
        .says("the root image is fetched whole: its blocks have the root hash");
    world.expect_new();
}

/// A release whose images are zstd frames is fetched whole where it has to be.
#[test]
fn whole_images_of_zstd_are_read_too() {
    let world = World::with(&["--compression", "zstd"]);
    world.server.hide_block_maps();
    world.update().done().says("fetched whole");
    world.expect_new();
    let seen = world.server.seen();
    assert!(seen.iter().any(|seen| seen.path.ends_with("root.ext4.zst")));
}

#[test]
fn flags_go_before_the_configuration() {
    let world = World::new();
    let flags = ["update", "--no-delta", "--threads", "1"];
    world.host.updog(&flags).done();
    world.expect_new();
    let (bytes, _) = World::fetched(&world.server.seen());
    assert!(bytes > 1_900_000, "{bytes}");
    for threads in ["0", "65", "many"] {
        world
            .host
            .updog(&["status", "--threads", threads])
            .expect(2);
    }
}

#[test]
fn a_running_set_that_is_damaged_costs_bytes_and_is_named() {
    let world = World::salted();
    // Its tree still says what the block was.
    let at = 400 * BLOCK;
    let mut root = world.host.partition("A", "root");
    root[at..at + BLOCK].fill(7);
    world.host.overwrite("A", "root", &root);
    let flags = ["update", "--progress", "json"];
    let ran = world.host.updog(&flags).done();
    let ran = ran.says("it may be damaged: updog verify --set active");
    world.expect_new();
    let copied = |ran: &Ran| {
        let notes = ran
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let note = notes.into_iter().find(|note: &serde_json::Value| {
            note["note"] == "assembled" && note["image"] == "root"
        });
        let note = note.unwrap();
        let sum = ["decoded", "copied", "kept", "made"].map(|key| note[key].as_u64().unwrap());
        let length = u64::try_from(BLOCKS * BLOCK).unwrap();
        assert_eq!(sum.iter().sum::<u64>(), length);
        note["copied"].as_u64().unwrap()
    };
    let whole = World::salted();
    let sound = whole.host.updog(&flags).done();
    assert!(copied(&ran) < copied(&sound));
}
