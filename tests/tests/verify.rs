//! `updog verify`, and the verification before a set is armed: a whole set, offline.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use system_tests::host::Host;
use system_tests::publisher::{Images, Publisher, VARIANT};
use system_tests::server::Server;

/// A host that runs 1.0.0 from set A, with 1.1.0 written to set B and its server gone.
fn prepared() -> (Host, Images, Publisher) {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let new = publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let mut host = Host::new(&publisher, "1.0.0", &old, &server.url());
    host.updog(&["prepare"]).done();
    host.fetch_from("http://127.0.0.1:1");
    (host, new, publisher)
}

fn flip(host: &Host, set: &str, kind: &str, offset: u64) {
    let at = host.offset(set, kind) + offset;
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(host.disk())
        .unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).unwrap();
    disk.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_written_set_is_good_and_so_is_the_factory_set_by_the_cached_manifest() {
    let (host, images, _publisher) = prepared();
    let report = host.updog(&["verify", "--json"]).done().json();
    assert_eq!(report["set"], "B");
    assert_eq!(report["version"], "1.1.0");
    assert_eq!(report["variant"], VARIANT);
    assert_eq!(report["root_hash"], images.root_hash);
    assert_eq!(report["good"], true);
    assert_eq!(report["findings"], serde_json::json!([]));
    for set in ["A", "active"] {
        let text = host.updog(&["verify", "--set", set]).done().stdout;
        assert_eq!(
            text,
            format!("set A: {VARIANT} 1.0.0: every byte is what was signed\n")
        );
    }
    host.updog(&["verify", "--set", "C"]).expect(2);
}

#[test]
fn the_first_bad_block_of_each_image_is_named_with_partition_and_offset() {
    let (host, ..) = prepared();
    let disk = host.disk().display().to_string();
    let place = |kind| format!("{disk}@{}", host.offset("B", kind));
    for (kind, offset, expected) in [
        ("root", 0, "from block 0 on, at offset 0 "),
        ("root", 4095, "from block 0 on, at offset 0 "),
        ("root", 40 * 4096 + 7, "from block 40 on, at offset 163840 "),
        (
            "root",
            63 * 4096 + 4095,
            "from block 63 on, at offset 258048 ",
        ),
        ("hash", 20, "from block 0 on, at offset 0 "),
        ("hash", 4096, "from block 1 on, at offset 4096 "),
        ("boot", 100, "from block 0 on, at offset 0 "),
        ("boot", 3 * 4096 + 1, "from block 3 on, at offset 12288 "),
    ] {
        flip(&host, "B", kind, offset);
        let ran = host.updog(&["verify"]).expect(1);
        let line = ran.stdout.lines().nth(1).unwrap();
        assert!(
            line.starts_with(&format!("the {kind} image on {}", place(kind))),
            "{line}"
        );
        assert!(line.contains(expected), "{line}");
        assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
        flip(&host, "B", kind, offset);
        host.updog(&["verify"]).done();
    }
    // Behind the images nothing is signed.
    flip(&host, "B", "root", 64 * 4096);
    host.updog(&["verify"]).done();
}

#[test]
fn damage_of_all_three_images_at_once_is_told_as_far_as_it_can_be_known() {
    let (host, ..) = prepared();
    flip(&host, "B", "boot", 2 * 4096);
    flip(&host, "B", "root", 9 * 4096);
    // The only block of the tree, which would tell the root image's blocks apart.
    flip(&host, "B", "hash", 4096 + 100);
    let report = host.updog(&["verify", "--json"]).expect(1).json();
    let findings: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding.as_str().unwrap())
        .collect();
    for (finding, expected) in findings.iter().zip([
        "from block 1 on, at offset 4096 ",
        "in one of the blocks 0 to 63, from offset 0 on ",
        "from block 2 on, at offset 8192 ",
    ]) {
        assert!(finding.contains(expected), "{finding}");
    }
    assert_eq!(findings.len(), 3, "{findings:?}");
    // With the hash image whole again the block is known.
    flip(&host, "B", "hash", 4096 + 100);
    let ran = host.updog(&["verify"]).expect(1);
    assert!(ran.stdout.contains("from block 9 on"), "{}", ran.stdout);
}

#[test]
fn the_blocks_of_a_factory_boot_image_are_known_once_it_was_verified() {
    let (host, ..) = prepared();
    let flip = || flip(&host, "A", "boot", 4096);
    flip();
    let unknown = host.updog(&["verify", "--set", "A"]).expect(1).stdout;
    assert!(unknown.contains("its SHA-256 is"), "{unknown}");
    flip();
    host.updog(&["verify", "--set", "A"]).done();
    flip();
    let known = host.updog(&["verify", "--set", "A"]).expect(1).stdout;
    assert!(
        known.contains("from block 1 on, at offset 4096 "),
        "{known}"
    );
}

#[test]
fn a_set_that_decayed_since_an_earlier_boot_is_not_armed() {
    let (host, ..) = prepared();
    flip(&host, "B", "root", 5 * 4096);
    // In the same boot the read-back after writing still counts.
    let record = host.path("state/sets/B.json");
    let text = fs::read_to_string(&record).unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot_id.trim()), "{text}");
    fs::write(&record, text.replace(boot_id.trim(), "an-earlier-boot")).unwrap();
    host.updog(&["update-apply"])
        .expect(1)
        .says("set B is damaged: the root image on")
        .says("from block 5 on")
        .says("write it again with: updog prepare");
    assert_eq!(host.bits(), [[1, 0, 1], [0, 1, 0]]);
    flip(&host, "B", "root", 5 * 4096);
    host.updog(&["update-apply"]).done();
    assert_eq!(host.next(), "B");
    assert!(
        fs::read_to_string(&record)
            .unwrap()
            .contains(boot_id.trim())
    );
}

#[test]
fn a_record_of_what_is_no_longer_on_the_disk_is_not_believed() {
    let (host, ..) = prepared();
    fs::copy(
        host.path("state/sets/B.json"),
        host.path("state/sets/A.json"),
    )
    .unwrap();
    let text = host.updog(&["verify", "--set", "A"]).done().stdout;
    assert_eq!(
        text,
        format!("set A: {VARIANT} 1.0.0: every byte is what was signed\n")
    );
    // Neither record nor manifest: nothing is claimed.
    fs::remove_dir_all(host.path("state/sets")).unwrap();
    fs::remove_dir_all(host.path("migrations")).unwrap();
    host.updog(&["verify"])
        .expect(1)
        .says("what set B holds is not known");
}
