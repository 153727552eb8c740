//! Block maps that are signed and wrong: a publisher's mistake, or somebody with the publisher's keys.
//! Each costs a whole image and a word in the log, and what is written is what the manifest says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use system_tests::forge::Forge;
use system_tests::publisher::{ARCH, VARIANT, noise};
use system_tests::server::Server;
use update_metadata::block_map::{BlockHashes, BlockMap, Parts};

use crate::{BLOCK, BLOCKS, World};

const ROOT_MAP: &str = "root.ext4.lz4.map.lz4";
const BOOT_MAP: &str = "boot.ext4.lz4.map.lz4";

/// What 1.1.0 of a [`World`] consists of, to be signed again otherwise.
struct Release {
    world: World,
    forge: Forge,
    server: Server,
    /// The manifest's entry for it.
    update: Value,
    /// The manifest's migrations.
    migrations: Value,
    /// By name.
    targets: BTreeMap<String, Vec<u8>>,
    published: u64,
}

fn full(name: &str) -> String {
    format!("{VARIANT}-{ARCH}-1.1.0-{name}")
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Release {
    fn new() -> Self {
        let mut world = World::new();
        let manifest = world.host.path("manifest.json");
        let to = manifest.display().to_string();
        let fetch = ["fetch", "manifest.json", "--output", &to];
        world.host.updog(&fetch).done();
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        let updates = manifest["updates"].as_array().unwrap();
        let update = updates.iter().find(|update| update["version"] == "1.1.0");
        let names = ["boot.ext4.lz4", "root.ext4.lz4", "root.verity.lz4"];
        let targets = [&names[..], &[ROOT_MAP, BOOT_MAP]].concat();
        let targets = targets.into_iter().map(full).map(|name| {
            let bytes = fs::read(world.publisher.target(&name)).unwrap();
            (name, bytes)
        });
        let forge = Forge::new();
        let server = Server::start(forge.folder());
        fs::copy(forge.root_file(1), world.host.path("root.json")).unwrap();
        fs::remove_dir_all(world.host.path("state/tuf")).unwrap();
        world.host.fetch_from(&server.url());
        Self {
            update: update.unwrap().clone(),
            migrations: manifest["migrations"].clone(),
            targets: targets.collect(),
            published: 0,
            world,
            forge,
            server,
        }
    }

    /// Publishes it with other targets and another entry, and updates the host, whose other set holds
    /// noise: that works, and `said` is said.
    fn updates_and_says(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>, &mut Value),
        said: &str,
    ) {
        let (mut targets, mut update) = (self.targets.clone(), self.update.clone());
        change(&mut targets, &mut update);
        let manifest = json!({"updates": [update], "migrations": self.migrations}).to_string();
        self.published += 1;
        let mut draft = self.forge.release(self.published);
        for (name, bytes) in &targets {
            draft = draft.target(name, bytes);
        }
        draft.target("manifest.json", manifest.as_bytes()).write();
        let host = &self.world.host;
        host.signpost(&["clear-inactive"]).done();
        host.overwrite("B", "root", &noise("wiped", BLOCKS * BLOCK));
        host.overwrite("B", "boot", &noise("wiped", 64 << 10));
        self.server.seen();
        self.world.update().done().says(said);
        self.world.expect_new();
    }

    /// The same with another map of the root or boot image.
    fn updates_with_map(&mut self, name: &str, change: impl FnOnce(&mut Parts), said: &str) {
        let name = full(name);
        let mut bytes = Vec::new();
        lz4_flex::frame::FrameDecoder::new(&self.targets[&name][..])
            .read_to_end(&mut bytes)
            .unwrap();
        let map = BlockMap::read(&bytes[..]).unwrap();
        let mut parts = map.parts().clone();
        change(&mut parts);
        let map = BlockMap::new(parts).unwrap().to_vec();
        let replace = |targets: &mut BTreeMap<String, Vec<u8>>, _: &mut Value| {
            targets.insert(name, packed(&map));
        };
        self.updates_and_says(replace, said);
    }
}

fn leaves(parts: &mut Parts) -> &mut Vec<[u8; 6]> {
    match &mut parts.hashes {
        BlockHashes::Leaves { prefixes, .. } => prefixes,
        BlockHashes::Whole(_) => panic!("the root image's map has leaves"),
    }
}

#[test]
fn maps_that_are_missing_or_of_something_else_are_not_used() {
    let mut release = Release::new();
    let (boot, root) = (full(BOOT_MAP), full(ROOT_MAP));
    release.updates_and_says(
        |_, update| {
            update.as_object_mut().unwrap().remove("block_maps");
        },
        "1.1.0 has no block maps: its images are fetched whole",
    );
    release.updates_and_says(
        |_, update| update["block_maps"] = json!({"boot": root, "root": boot}),
        "that of the boot image is of another file",
    );
    release.updates_and_says(
        |_, update| update["block_maps"]["root"] = json!("nowhere.map.lz4"),
        "nowhere.map.lz4",
    );
    let root = || full(ROOT_MAP);
    for (bytes, said) in [
        (b"no frame".to_vec(), "cannot be used"),
        (packed(b"no map"), "cannot be used"),
        (
            packed(&vec![0; (64 << 20) + 1]),
            "it goes on behind byte 67108864",
        ),
    ] {
        release.updates_and_says(
            |targets, _| {
                targets.insert(root(), bytes);
            },
            said,
        );
    }
    // And a right one is used, of this publisher too.
    release.updates_and_says(|_, _| {}, "copied from the running set");
}

#[test]
fn maps_that_do_not_fit_the_images_lead_to_whole_images() {
    let mut release = Release::new();
    let mut other = [0; 32];
    other[0] = 1;
    let frames = "are not what was signed";
    release.updates_with_map(
        BOOT_MAP,
        |parts| parts.frames[0].sha256 = other.into(),
        frames,
    );
    release.updates_with_map(
        ROOT_MAP,
        |parts| parts.frames[0].sha256 = other.into(),
        frames,
    );
    release.updates_with_map(
        ROOT_MAP,
        |parts| leaves(parts)[3] = [7; 6],
        "decodes to another block at offset 12288 than its block map says",
    );
    release.updates_with_map(
        BOOT_MAP,
        |parts| match &mut parts.hashes {
            BlockHashes::Whole(hashes) => hashes[2] = other.into(),
            BlockHashes::Leaves { .. } => panic!("the boot image's map has whole hashes"),
        },
        "decodes to another block at offset 8192",
    );
    release.updates_with_map(
        ROOT_MAP,
        |parts| match &mut parts.hashes {
            BlockHashes::Leaves { hash_image, .. } => hash_image.superblock[88] ^= 1,
            BlockHashes::Whole(_) => panic!("the root image's map has leaves"),
        },
        "has another tree than the manifest says",
    );
}

#[test]
fn maps_are_not_used_where_nothing_else_says_what_the_images_are() {
    let mut release = Release::new();
    release.updates_and_says(
        |_, update| {
            let update = update.as_object_mut().unwrap();
            update.remove("verity");
            update.remove("raw_images");
        },
        "the manifest does not say what its images are",
    );
    release.updates_and_says(
        |_, update| {
            update.as_object_mut().unwrap().remove("verity");
        },
        "copied from the running set",
    );
    release.updates_with_map(
        ROOT_MAP,
        |parts| match &mut parts.hashes {
            BlockHashes::Leaves { hash_image, .. } => hash_image.raw.sha256 = [7; 32].into(),
            BlockHashes::Whole(_) => panic!("the root image's map has leaves"),
        },
        "has another tree than the manifest says",
    );
    let of_another = "that of the boot image is of another image";
    release.updates_with_map(
        BOOT_MAP,
        |parts| parts.raw.sha256 = [7; 32].into(),
        of_another,
    );
}
