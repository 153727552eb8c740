//! release: what is not published, and why. Nothing refused changes the repository.

use std::fs;

use chrono::TimeDelta;
use tough::ExpirationEnforcement::Safe;
use updog::publish::release::lock::PublisherLock;

use super::lab::{Lab, pattern, release_line};

/// A repository with 1.0.0.
fn published() -> Lab {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab
}

/// Every file of the repository, so that a test can say that nothing changed.
fn snapshot(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["repo/targets", "repo/demo/x86_64"] {
        if lab.path(folder).exists() {
            for name in lab.names(folder) {
                let path = format!("{folder}/{name}");
                files.push((path.clone(), lab.read(&path)));
            }
        }
    }
    files
}

fn with<'a>(version: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&release_line(version)[..], more].concat()
}

#[test]
fn a_version_is_published_once() {
    let lab = published();
    let before = snapshot(&lab);
    lab.images(2);
    lab.updata(&release_line("1.0.0")).ends_with(
        4,
        "updata: demo x86_64 1.0.0 is published already; \
         a version never changes, release a new one",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn a_boot_image_of_another_root_image_is_refused_unless_asked_for() {
    let lab = published();
    let before = snapshot(&lab);
    lab.write("boot.img", pattern(70_000, 1));
    let run = lab.updata(&release_line("1.1.0"));
    run.says(
        4,
        "updata: the boot image boot.img does not contain the root hash ",
    );
    run.says(
        4,
        "; run `updata verity --hash-out`, with --salt as for the releases before, put the root hash into the boot image",
    );
    assert!(snapshot(&lab) == before);
    lab.ok(&with("1.1.0", &["--no-verity-check"]));
    assert_eq!(lab.load(Safe).manifest().updates.len(), 2);
}

#[test]
fn a_hash_image_of_another_root_image_is_refused() {
    let lab = published();
    let before = snapshot(&lab);
    lab.write("root.img", pattern(64 * 4096, 9));
    lab.updata(&with("1.1.0", &["--no-verity-check"]))
        .ends_with(
            1,
            "updata: hash.img is not the verity tree of root.img: they first differ at byte 4096; \
         make it anew with `updata verity`",
        );
    assert!(snapshot(&lab) == before);
}

#[test]
fn hosts_are_not_stranded_by_a_missing_migration() {
    let lab = published();
    lab.ok(&release_line("1.1.0"));
    let before = snapshot(&lab);
    lab.write("m", "#!/bin/sh\n");
    lab.updata(&with("1.2.0", &["--migration", "1.0.0:1.2.0:m"]))
        .says(
            4,
            "updata: hosts could not get from 1.1.0 to 1.2.0 and back; \
         give --migration 1.1.0:1.2.0:FILE, or --migration 1.1.0:1.2.0 if nothing changes",
        );
    lab.updata(&with(
        "1.2.0",
        &["--migration", "1.0.0:1.1.0:m", "--migration", "1.1.0:1.2.0"],
    ))
    .ends_with(
        4,
        "updata: the migrations from 1.0.0 to 1.1.0 are published already",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn migration_files_that_would_share_a_name_are_refused() {
    let lab = published();
    fs::create_dir(lab.path("other")).unwrap();
    lab.write("m", "#!/bin/sh\n");
    lab.write("other/m", "#!/bin/sh\n");
    let migrations = [
        "--migration",
        "1.0.0:1.1.0:m",
        "--migration",
        "1.0.0:1.1.0:other/m",
    ];
    lab.updata(&with("1.1.0", &migrations)).ends_with(
        1,
        "updata: m and other/m would both be published as migrate_v1.1.0_m.lz4; rename one",
    );
}

#[test]
fn a_second_publisher_is_refused() {
    let lab = published();
    let lock = PublisherLock::take(&lab.path("repo")).unwrap();
    lab.updata(&release_line("1.1.0")).ends_with(
        4,
        "updata: another updata is publishing to repo; run again when it is done",
    );
    drop(lock);
    lab.ok(&release_line("1.1.0"));
}

#[test]
fn a_key_that_the_root_role_does_not_name_is_found_before_the_work() {
    let lab = published();
    let before = snapshot(&lab);
    fs::rename(lab.path("keys/snapshot.key"), lab.path("snapshot.bak")).unwrap();
    lab.updata(&release_line("1.1.0")).ends_with(
        4,
        "updata: keys has too few of the snapshot keys that root.json names; give --keys a folder with \
         snapshot*.key, or --key snapshot=FILE, or --prepare a folder for others to sign with \
         `updata sign`",
    );
    fs::copy(lab.path("keys/root.key"), lab.path("keys/snapshot.key")).unwrap();
    lab.updata(&release_line("1.1.0")).ends_with(
        4,
        "updata: keys has too few of the snapshot keys that root.json names; give --keys a folder with \
         snapshot*.key, or --key snapshot=FILE, or --prepare a folder for others to sign with \
         `updata sign`",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn an_expired_root_role_is_not_published() {
    let now = updog::clock::now();
    let lab = Lab::publisher(now - TimeDelta::weeks(53));
    lab.updata(&release_line("1.0.0"))
        .says(4, "updata: the root role root.json expired at ");
    assert!(!lab.path("repo").exists());
}

#[test]
fn another_root_role_of_the_same_version_is_refused() {
    let lab = published();
    let before = snapshot(&lab);
    fs::remove_file(lab.path("root.json")).unwrap();
    lab.ok(&[
        "root",
        "new",
        "--keys",
        "keys",
        "--out",
        "root.json",
        "--expires",
        "10w",
    ]);
    lab.updata(&release_line("1.1.0")).ends_with(
        4,
        "updata: root.json is not the root role that is published as \
         repo/demo/x86_64/1.root.json; give the one that is",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn an_older_root_role_than_the_published_one_is_refused() {
    let lab = published();
    let old = lab.read("root.json");
    lab.next_root(1, "keys");
    lab.ok(&release_line("1.1.0"));
    lab.write("root.json", old);
    lab.updata(&release_line("1.2.0")).ends_with(
        4,
        "updata: the repository's root role is at version 2, root.json is at 1; \
         give --root-role the newest one",
    );
}

#[test]
fn a_root_role_that_hosts_cannot_get_to_is_refused() {
    let lab = published();
    let before = snapshot(&lab);
    let first = lab.read("root.json");
    lab.next_root(2, "keys");
    lab.updata(&release_line("1.1.0")).ends_with(
        4,
        "updata: root.json is version 3, but repo/demo/x86_64/2.root.json is not published; \
         publish every version of the root role",
    );
    lab.write("root.json", first);
    lab.ok(&["keys", "new", "--out", "strangers"]);
    lab.next_root(1, "strangers");
    lab.updata(&release_line("1.1.0")).says(
        4,
        "updata: hosts would not accept root.json: it is not signed by enough root keys of \
         repo/demo/x86_64/1.root.json: ",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn metadata_that_somebody_changed_are_not_extended() {
    let lab = published();
    let path = "repo/demo/x86_64/timestamp.json";
    let good = lab.read_text(path);
    lab.write(path, good.replace("\"expires\": \"20", "\"expires\": \"21"));
    let before = snapshot(&lab);
    lab.updata(&release_line("1.1.0")).says(
        1,
        "updata: the metadata in repo/demo/x86_64 do not verify against root.json; \
         give the root role that they were signed under: ",
    );
    assert!(snapshot(&lab) == before);
}

#[test]
fn a_manifest_that_somebody_changed_is_not_extended() {
    let lab = published();
    let names = lab.names("repo/targets");
    let name = names
        .iter()
        .find(|name| name.ends_with("manifest.json"))
        .unwrap();
    let path = format!("repo/targets/{name}");
    lab.write(&path, lab.read_text(&path).replace("1.0.0", "1.0.1"));
    lab.updata(&release_line("1.1.0")).says(
        1,
        "updata: reading the published manifest.json from repo/demo/x86_64: ",
    );
}

#[test]
fn a_damaged_target_in_the_way_is_named() {
    let lab = Lab::publisher(updog::clock::now());
    let out = lab.json(&release_line("1.0.0"));
    let digest = out["targets"][1]["sha256"].as_str().unwrap();
    let path = format!("repo/targets/{digest}.demo-x86_64-1.0.0-root.ext4.lz4");
    // The publisher that placed it never got to its metadata.
    fs::remove_dir_all(lab.path("repo/demo")).unwrap();
    lab.write(&path, "torn");
    lab.updata(&release_line("1.0.0")).ends_with(
        1,
        &format!(
            "updata: the published target {path} is damaged: its content does not have the digest \
             of its name; restore it, or remove it and publish again"
        ),
    );
    fs::remove_file(lab.path(&path)).unwrap();
    lab.ok(&release_line("1.0.0"));
    lab.load(Safe);
}

#[test]
fn what_is_compressed_already_is_not_compressed_again() {
    let lab = published();
    lab.write("boot.img", [0x04, 0x22, 0x4d, 0x18, 0x60]);
    lab.updata(&release_line("1.1.0")).ends_with(
        1,
        "updata: boot.img is compressed already; give the plain file, updata compresses it",
    );
}

#[test]
fn an_architecture_that_no_host_has_is_a_usage_error() {
    let lab = published();
    let before = snapshot(&lab);
    for arch in ["mips", "amd64", "X86_64"] {
        let other: Vec<_> = release_line("1.1.0")
            .into_iter()
            .map(|word| if word == "x86_64" { arch } else { word })
            .collect();
        lab.updata(&other).says(
            2,
            "hosts are x86_64 or aarch64; manifests name no other architecture",
        );
    }
    assert!(snapshot(&lab) == before);
    let arm: Vec<_> = release_line("1.1.0")
        .into_iter()
        .map(|word| if word == "x86_64" { "aarch64" } else { word })
        .collect();
    lab.ok(&arm);
}
