//! Block maps: those of a release, and those that are added to a release that exists.

use std::fs;
use std::io::Write as _;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tough::ExpirationEnforcement::Safe;
use update_metadata::block_map::{BlockHashes, BlockMap, Codec};
use update_metadata::{BlockMaps, Update};

use super::forge::Forge;
use super::lab::{Lab, Published, pattern, release_line};

const BOOT: &str = "demo-x86_64-1.0.0-boot.ext4.lz4";
const ROOT: &str = "demo-x86_64-1.0.0-root.ext4.lz4";

/// The command line that adds maps.
const ADD: &str = "add-block-maps --repo repo --root-role root.json --keys keys --variant demo \
                   --arch x86_64";

fn add(more: &str) -> Vec<&str> {
    ADD.split_whitespace()
        .chain(more.split_whitespace())
        .collect()
}

/// 1.0.0 is published.
fn published() -> Lab {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab
}

/// One LZ4 frame as `lz4 -9` writes it by default, or with blocks that depend on each other.
fn frame(content: &[u8], mode: BlockMode) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(mode)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// 1.0.0 and 1.1.0 as a publisher made them who knows no maps; the root image of 1.0.0 in blocks of
/// this mode.
fn without_maps(mode: BlockMode) -> Lab {
    let lab = published();
    let root = lab.read("root.img");
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    let mut forge = Forge::of(&lab);
    for update in forge.manifest["updates"].as_array_mut().unwrap() {
        update.as_object_mut().unwrap().remove("block_maps");
    }
    let names: Vec<_> = forge.targets.targets.keys().cloned().collect();
    let replaced = names
        .iter()
        .filter(|name| name.raw().ends_with(".map.lz4") || name.raw() == ROOT);
    for name in replaced {
        fs::remove_file(lab.path(&forge.file(name.raw()))).unwrap();
        forge.targets.targets.remove(name);
    }
    forge.place(ROOT, &frame(&root, mode));
    forge.sign();
    lab
}

fn map_of(published: &Published, name: &str) -> BlockMap {
    BlockMap::read(&published.decode(name)[..]).unwrap()
}

fn updates(published: &Published) -> Vec<Update> {
    published.manifest().updates
}

/// What each frame of a file decodes to, by its own bytes.
fn decoded(map: &BlockMap, file: &[u8]) -> Vec<u8> {
    let frames = (0..map.frame_count()).map(|index| {
        let range = map.frame_range(index);
        let bytes = &file[range.start.try_into().unwrap()..range.end.try_into().unwrap()];
        let sha256 = map.parts().frames[index].sha256;
        assert_eq!(sha256.as_bytes()[..], Sha256::digest(bytes)[..]);
        if map.parts().codec == Codec::Zstd {
            return zstd::decode_all(bytes).unwrap();
        }
        let size = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        if size >> 31 == 1 {
            bytes[4..].to_vec()
        } else {
            lz4_flex::block::decompress(&bytes[4..], 4 << 20).unwrap()
        }
    });
    frames.collect::<Vec<_>>().concat()
}

/// The maps of 1.0.0 are of its images, whose targets are these.
fn assert_maps(lab: &Lab, published: &Published, boot: &str, root: &str) {
    let update = &updates(published)[0];
    let names = BlockMaps {
        boot: format!("{boot}.map.lz4"),
        root: format!("{root}.map.lz4"),
    };
    assert_eq!(update.block_maps.as_ref(), Some(&names));
    let raw = update.raw_images.unwrap();
    for (map, image, raw, file) in [
        (&names.boot, boot, raw.boot, "boot.img"),
        (&names.root, root, raw.root, "root.img"),
    ] {
        let map = map_of(published, map);
        let packed = published.fetch(image);
        let parts = map.parts();
        assert_eq!(
            parts.compressed.sha256.as_bytes()[..],
            Sha256::digest(&packed)[..]
        );
        assert_eq!((parts.raw, parts.block_length), (raw, 4096));
        let content = lab.read(file);
        assert!(decoded(&map, &packed) == content);
        for (index, block) in content.chunks(4096).enumerate() {
            let salt: &[u8] = if file == "root.img" {
                &[0x5a, 0x17]
            } else {
                &[]
            };
            let hash = Sha256::digest([salt, block].concat());
            assert!(parts.hashes.admits(index, &hash.into()), "{file} {index}");
        }
    }
}

fn assert_lint_is_clean(lab: &Lab) {
    let line = "lint repo --deep --allow root-threshold --allow file-unlisted";
    let out = lab.json(&line.split(' ').collect::<Vec<_>>());
    assert_eq!((&out["errors"], &out["warnings"]), (&json!(0), &json!(0)));
}

#[test]
fn a_release_has_a_signed_map_beside_its_boot_and_its_root_image() {
    let lab = published();
    let published = lab.load(Safe);
    assert_maps(&lab, &published, BOOT, ROOT);
    let map = map_of(&published, &format!("{ROOT}.map.lz4"));
    assert_eq!((map.frame_count(), map.blocks_in_frame()), (4, 16));
    let BlockHashes::Leaves { hash_image, .. } = &map.parts().hashes else {
        panic!("whole hashes");
    };
    let hash = lab.read("hash.img");
    assert_eq!(hash_image.superblock[..], hash[..512]);
    assert_eq!(
        hash_image.raw,
        updates(&published)[0].raw_images.unwrap().hash
    );
    let map = map_of(&published, &format!("{BOOT}.map.lz4"));
    assert!(matches!(map.parts().hashes, BlockHashes::Whole(_)));
    assert_lint_is_clean(&lab);
}

#[test]
fn zstd_images_are_named_so_and_have_maps() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&[&release_line("1.0.0")[..], &["--compression", "zstd"]].concat());
    let published = lab.load(Safe);
    let [boot, root] = ["boot", "root"].map(|kind| format!("demo-x86_64-1.0.0-{kind}.ext4.zst"));
    assert_maps(&lab, &published, &boot, &root);
    for (name, file) in [(&boot, "boot.img"), (&root, "root.img")] {
        let packed = published.fetch(name);
        assert!(zstd::decode_all(&packed[..]).unwrap() == lab.read(file));
    }
    // What every host reads to its end stays as it was.
    let hash = "demo-x86_64-1.0.0-root.verity.lz4";
    assert!(published.decode(hash) == lab.read("hash.img"));
    assert_lint_is_clean(&lab);

    let mut forge = Forge::of(&lab);
    let mut packed = published.fetch(&root);
    packed.push(0);
    fs::remove_file(lab.path(&forge.file(&root))).unwrap();
    forge.place(&root, &packed);
    forge.sign();
    let run = lab.updata(&["lint", "repo", "--deep"]);
    assert!(
        run.stdout.contains("it is no row of whole zstd frames: "),
        "{run:?}"
    );
}

#[test]
fn with_one_salt_the_tree_of_the_version_before_tells_its_blocks() {
    let lab = published();
    let before = lab.read("hash.img");
    let mut root = lab.read("root.img");
    root[5 * 4096..6 * 4096].fill(7);
    lab.write("root.img", root);
    let out = lab.json(&[
        "verity",
        "root.img",
        "--hash-out",
        "hash.img",
        "--salt",
        "5a17",
    ]);
    let root_hash = out["root_hash"].as_str().unwrap();
    lab.write("boot.img", format!("verity={root_hash} "));
    lab.ok(&release_line("1.1.0"));
    let map = map_of(&lab.load(Safe), "demo-x86_64-1.1.0-root.ext4.lz4.map.lz4");
    // 64 leaves are one block behind that of the superblock.
    let leaves = before[4096..].chunks(32).take(64);
    let known: Vec<usize> = leaves
        .enumerate()
        .filter(|(index, leaf)| map.parts().hashes.key(*index).unwrap()[..] != leaf[..6])
        .map(|(index, _)| index)
        .collect();
    assert_eq!(known, [5]);
}

#[test]
fn maps_are_added_to_versions_that_have_none_and_nothing_else_changes() {
    let lab = without_maps(BlockMode::Independent);
    let before = lab.load(Safe);
    lab.images(1); // those of 1.0.0 again, to compare with
    let out = lab.json(&add(""));
    assert_eq!(out["versions"], json!(["1.0.0", "1.1.0"]));
    let names: Vec<_> = out["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            &format!("{BOOT}.map.lz4"),
            &format!("{ROOT}.map.lz4"),
            "demo-x86_64-1.1.0-boot.ext4.lz4.map.lz4",
            "demo-x86_64-1.1.0-root.ext4.lz4.map.lz4",
            "manifest.json"
        ]
    );
    let after = lab.load(Safe);
    assert!(after.version() > before.version());
    assert_eq!(out["metadata_version"], after.version());
    assert_maps(&lab, &after, BOOT, ROOT);
    // One block of 4 MiB holds the whole image.
    let map = map_of(&after, &format!("{ROOT}.map.lz4"));
    assert_eq!((map.frame_count(), map.blocks_in_frame()), (1, 64));

    let others = before.targets().into_iter();
    for name in others.filter(|name| name != "manifest.json") {
        assert_eq!(after.target(&name), before.target(&name));
    }
    let mut manifest = after.manifest();
    for update in &mut manifest.updates {
        update.block_maps = None;
    }
    assert_eq!(manifest, before.manifest());
    assert_eq!(
        after.target("manifest.json").custom,
        before.target("manifest.json").custom
    );
    assert_lint_is_clean(&lab);

    let snapshot = lab.snapshot();
    let text = lab.ok(&add(""));
    assert_eq!(
        text,
        "repo/demo/x86_64: every version has block maps already\n"
    );
    assert!(lab.snapshot() == snapshot);
    lab.images(3);
    lab.ok(&release_line("1.2.0"));
}

#[test]
fn a_version_whose_image_cannot_be_fetched_in_parts_is_left_out() {
    let lab = without_maps(BlockMode::Linked);
    let reason = format!(
        "updata: 1.0.0 has no block maps, and hosts fetch it whole: making the block map of {ROOT}: repo/targets/"
    );
    let run = lab.updata(&add(""));
    run.says(4, &reason);
    run.says(
        4,
        "cannot be fetched in parts: its LZ4 blocks depend on each other; compress it with \
         independent blocks, as `lz4` does without -BD",
    );
    let maps: Vec<_> = updates(&lab.load(Safe))
        .iter()
        .map(|update| update.block_maps.is_some())
        .collect();
    assert_eq!(maps, [false, true]);
    assert_lint_is_clean(&lab);
    // There is nothing else to do.
    let version = lab.load(Safe).version();
    let run = lab.updata(&[&add("")[..], &["--json"]].concat());
    assert_eq!(run.code, 4);
    let out: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(out["left_out"][0]["version"], "1.0.0");
    assert_eq!(out["targets"], json!([]));
    assert_eq!(lab.load(Safe).version(), version);
}

#[test]
fn a_damaged_image_gets_no_map() {
    for name in [BOOT, ROOT, "demo-x86_64-1.0.0-root.verity.lz4"] {
        let lab = without_maps(BlockMode::Independent);
        let path = Forge::of(&lab).file(name);
        let mut file = lab.read(&path);
        *file.last_mut().unwrap() ^= 1; // the checksum of the content
        lab.write(&path, file);
        let version = lab.load(Safe).version();
        let run = lab.updata(&add(""));
        let message = format!("updata: the published target {path} is damaged: ");
        run.says(1, &message);
        assert_eq!(lab.load(Safe).version(), version);
    }
}

#[test]
fn an_image_that_the_manifest_does_not_state_gets_no_map() {
    let lab = without_maps(BlockMode::Independent);
    let mut forge = Forge::of(&lab);
    let other = frame(&pattern(64 * 4096, 9), BlockMode::Independent);
    forge.place(BOOT, &other);
    forge.sign();
    let run = lab.updata(&add("--version 1.0.0"));
    run.says(4, "updata: 1.0.0 has no block maps, and hosts fetch it whole: demo-x86_64-1.0.0-boot.ext4.lz4 decodes to 262144 bytes with SHA-256 ");
}

#[test]
fn a_hash_image_that_no_host_could_make_leaves_its_version_out() {
    let lab = without_maps(BlockMode::Independent);
    let mut forge = Forge::of(&lab);
    let name = "demo-x86_64-1.0.0-root.verity.lz4";
    let mut hash = lab.load(Safe).decode(name);
    hash.extend_from_slice(b"fec");
    forge.place(name, &frame(&hash, BlockMode::Independent));
    forge.sign();
    lab.updata(&add("--version 1.0.0"))
        .says(4, " is not its verity tree and nothing else");
}

#[test]
fn a_wrong_map_is_made_again_when_its_version_is_named() {
    let lab = published();
    let right = lab.load(Safe).fetch(&format!("{ROOT}.map.lz4"));
    let mut forge = Forge::of(&lab);
    forge.place(
        &format!("{ROOT}.map.lz4"),
        &frame(b"no map", BlockMode::Independent),
    );
    forge.sign();
    let run = lab.updata(&["lint", "repo", "--deep"]);
    assert!(run.stdout.contains("error block-map: "), "{run:?}");
    lab.ok(&add(""));
    lab.ok(&add("--version 1.0.0"));
    assert!(lab.load(Safe).fetch(&format!("{ROOT}.map.lz4")) == right);
    assert_lint_is_clean(&lab);
}

#[test]
fn what_is_not_published_gets_no_maps() {
    let lab = Lab::publisher(updog::clock::now());
    fs::create_dir(lab.path("repo")).unwrap();
    lab.updata(&add(""))
        .ends_with(1, "updata: nothing is published in repo/demo/x86_64");
    lab.ok(&release_line("1.0.0"));
    let snapshot = lab.snapshot();
    lab.updata(&add("--version 1.0.0 --version 2.0.0"))
        .ends_with(4, "updata: demo x86_64 2.0.0 is not published");
    fs::remove_file(lab.path("keys/targets.key")).unwrap();
    lab.updata(&add("--version 1.0.0"))
        .says(4, "updata: keys has too few of the targets keys");
    assert!(lab.snapshot() == snapshot);
}

#[test]
fn other_signers_publish_the_maps() {
    let lab = without_maps(BlockMode::Independent);
    let version = lab.load(Safe).version();
    let text = lab.ok(&add("--prepare maps.staged"));
    assert!(
        text.contains(
            "prepared block maps of 1.0.0, 1.1.0\nmaps.staged: 0 targets signature(s) missing"
        ),
        "{text}"
    );
    assert_eq!(lab.load(Safe).version(), version);
    let line = "publish --staged maps.staged --repo repo --root-role root.json --keys keys";
    lab.ok(&line.split(' ').collect::<Vec<_>>());
    let after = lab.load(Safe);
    assert!(
        updates(&after)
            .iter()
            .all(|update| update.block_maps.is_some())
    );
    assert_lint_is_clean(&lab);
}
