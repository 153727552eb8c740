//! release: what is published, as a client sees it.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use semver::Version;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tough::ExpirationEnforcement::{Safe, Unsafe};
use update_metadata::ImageKind;

use super::lab::{Lab, Published, release_line};

/// The time of this run of the tests; the library judges expiry by the wall clock.
fn now() -> DateTime<Utc> {
    updog::clock::now()
}

fn past() -> DateTime<Utc> {
    now() - TimeDelta::weeks(30)
}

fn versions(published: &Published) -> Vec<String> {
    published
        .manifest()
        .updates
        .iter()
        .map(|update| update.version.to_string())
        .collect()
}

#[test]
fn a_first_release_loads_with_every_target_and_without_the_root_key() {
    let lab = Lab::publisher(now());
    fs::remove_file(lab.path("keys/root.key")).unwrap();
    let out = lab.json(&release_line("1.0.0"));

    let published = lab.load(Safe);
    let names = [
        "demo-x86_64-1.0.0-boot.ext4.lz4",
        "demo-x86_64-1.0.0-root.ext4.lz4",
        "demo-x86_64-1.0.0-root.verity.lz4",
    ];
    let maps = names[..2].iter().map(|name| format!("{name}.map.lz4"));
    let mut listed: Vec<_> = names.iter().map(ToString::to_string).chain(maps).collect();
    listed.sort();
    listed.push("manifest.json".to_owned());
    assert_eq!(published.targets(), listed);
    for (name, image) in names.iter().zip(["boot.img", "root.img", "hash.img"]) {
        assert!(published.decode(name) == lab.read(image), "{name}");
    }

    let manifest = published.manifest();
    let [update] = &manifest.updates[..] else {
        panic!("{manifest:?}")
    };
    assert_eq!(
        (update.variant.as_str(), update.arch.as_str()),
        ("demo", "x86_64")
    );
    assert_eq!(
        (&update.version, &update.max_version),
        (&Version::new(1, 0, 0), &Version::new(1, 0, 0))
    );
    assert!(update.waves.is_empty());
    assert_eq!(ImageKind::ALL.map(|kind| update.images.get(kind)), names);
    let verity = update.verity.as_ref().unwrap();
    assert_eq!(
        (verity.salt.to_string().as_str(), verity.data_blocks),
        ("5a17", 64)
    );
    assert_eq!(out["root_hash"], verity.root_hash.to_string());
    let raw = update.raw_images.unwrap();
    for (kind, image) in ImageKind::ALL
        .into_iter()
        .zip(["boot.img", "root.img", "hash.img"])
    {
        let content = lab.read(image);
        assert_eq!(raw.get(kind).length, u64::try_from(content.len()).unwrap());
        assert_eq!(
            raw.get(kind).sha256.as_bytes()[..],
            Sha256::digest(&content)[..]
        );
    }
    assert!(manifest.migrations.is_empty());
}

#[test]
fn the_layout_is_one_metadata_folder_a_variant_and_shared_targets_named_by_digest() {
    let lab = Lab::publisher(now());
    let out = lab.json(&release_line("1.0.0"));
    let version = out["metadata_version"].as_u64().unwrap();
    assert_eq!(
        lab.names("repo/demo/x86_64"),
        [
            "1.root.json".to_owned(),
            format!("{version}.snapshot.json"),
            format!("{version}.targets.json"),
            "timestamp.json".to_owned(),
        ]
    );
    assert_eq!(
        lab.read("repo/demo/x86_64/1.root.json"),
        lab.read("root.json")
    );
    for target in out["targets"].as_array().unwrap() {
        let (digest, name) = (
            target["sha256"].as_str().unwrap(),
            target["name"].as_str().unwrap(),
        );
        let content = lab.read(&format!("repo/targets/{digest}.{name}"));
        assert_eq!(hex::encode(Sha256::digest(&content)), digest);
        assert_eq!(target["length"], content.len());
    }
    let other: Vec<_> = release_line("1.0.0")
        .into_iter()
        .map(|word| if word == "demo" { "other" } else { word })
        .collect();
    lab.ok(&other);
    assert_eq!(
        lab.names("repo"),
        [".updata.lock", "demo", "other", "targets"]
    );
    assert_eq!(lab.names("repo/targets").len(), 12);
    let other = Published::load(&lab.path("."), "other", Safe);
    assert_eq!(other.targets().len(), 6, "its own targets only");
    assert_eq!(lab.load(Safe).targets().len(), 6);
}

#[test]
fn metadata_are_written_as_every_client_reads_them() {
    let lab = Lab::publisher(now());
    let at = "2031-03-01T01:00:00.25Z".parse().unwrap();
    fs::remove_file(lab.path("root.json")).unwrap();
    lab.root_at("root.json", at);
    lab.release_at("1.0.0", at).unwrap();
    let version = 1_930_093_200_u64;
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&lab.read(&format!("repo/demo/x86_64/{name}"))).unwrap()
    };
    let snapshot = lab.read(&format!("repo/demo/x86_64/{version}.snapshot.json"));
    assert_eq!(
        json("timestamp.json")["signed"],
        json!({
            "_type": "timestamp", "spec_version": "1.0.0", "version": version,
            "expires": "2031-03-08T01:00:00Z",
            "meta": {"snapshot.json": {
                "version": version, "length": snapshot.len(),
                "hashes": {"sha256": hex::encode(Sha256::digest(&snapshot))},
            }},
        })
    );
    let targets = lab.read(&format!("repo/demo/x86_64/{version}.targets.json"));
    assert_eq!(
        json(&format!("{version}.snapshot.json"))["signed"],
        json!({
            "_type": "snapshot", "spec_version": "1.0.0", "version": version,
            "expires": "2031-03-15T01:00:00Z",
            "meta": {"targets.json": {
                "version": version, "length": targets.len(),
                "hashes": {"sha256": hex::encode(Sha256::digest(&targets))},
            }},
        })
    );
    let targets = json(&format!("{version}.targets.json"));
    assert_eq!(targets["signed"]["expires"], "2031-03-15T01:00:00Z");
    assert!(targets["signed"].get("delegations").is_none());
    assert_eq!(targets["signatures"].as_array().unwrap().len(), 1);
}

#[test]
fn a_second_release_carries_the_first_one_on() {
    let lab = Lab::publisher(now());
    lab.ok(&release_line("1.0.0"));
    let first = lab.load(Safe);
    lab.images(2);
    let out = lab.json(&release_line("1.1.0"));

    let second = lab.load(Safe);
    assert!(second.version() > first.version());
    assert_eq!(second.targets().len(), 11);
    for name in first
        .targets()
        .iter()
        .filter(|name| *name != "manifest.json")
    {
        assert_eq!(second.target(name), first.target(name));
        assert!(second.fetch(name) == first.fetch(name));
    }
    assert!(second.decode("demo-x86_64-1.1.0-root.ext4.lz4") == lab.read("root.img"));
    assert_eq!(versions(&second), ["1.0.0", "1.1.0"]);
    for update in second.manifest().updates {
        assert_eq!(update.max_version, Version::new(1, 1, 0));
    }
    let (from, to) = (Version::new(1, 0, 0), Version::new(1, 1, 0));
    assert_eq!(second.manifest().migrations.get(&from, &to), Some(&[][..]));
    assert_eq!(
        out["migrations"],
        json!([{"from": "1.0.0", "to": "1.1.0", "targets": []}])
    );
}

#[test]
fn a_new_root_role_joins_the_chain_that_hosts_follow() {
    let lab = Lab::publisher(now());
    lab.ok(&release_line("1.0.0"));
    let shipped = lab.read("root.json");
    lab.next_root(1, "keys");
    lab.ok(&release_line("1.1.0"));
    assert_eq!(
        lab.read("repo/demo/x86_64/2.root.json"),
        lab.read("root.json")
    );
    lab.write("root.json", shipped);
    let published = lab.load(Safe);
    assert_eq!(published.repository.root().signed.version.get(), 2);
    assert_eq!(versions(&published), ["1.0.0", "1.1.0"]);
}

#[test]
fn migrations_are_named_after_their_version_and_published_compressed() {
    let lab = Lab::publisher(now());
    lab.ok(&release_line("1.0.0"));
    lab.write("add-widget.sh", "#!/bin/sh\necho widget\n");
    lab.write("migrate_v1.1.0_rename", "#!/bin/sh\necho rename\n");
    let migrations = [
        "--migration",
        "1.0.0:1.1.0:add-widget.sh",
        "--migration",
        "1.0.0:1.1.0:migrate_v1.1.0_rename",
    ];
    lab.ok(&[&release_line("1.1.0")[..], &migrations].concat());
    let published = lab.load(Safe);
    let names = ["migrate_v1.1.0_add-widget.lz4", "migrate_v1.1.0_rename.lz4"];
    let (from, to) = (Version::new(1, 0, 0), Version::new(1, 1, 0));
    let manifest = published.manifest();
    assert_eq!(manifest.migrations.get(&from, &to).unwrap(), names);
    let back = manifest.migrations.path(&to, &from).unwrap();
    assert_eq!(
        back.targets,
        [names[1], names[0]],
        "one edge serves both ways"
    );
    assert_eq!(published.decode(names[0]), lab.read("add-widget.sh"));
    assert_eq!(
        published.decode(names[1]),
        lab.read("migrate_v1.1.0_rename")
    );
}

#[test]
fn waves_and_ceiling_go_into_the_manifest() {
    let lab = Lab::publisher(now());
    lab.write(
        "waves.toml",
        "[[waves]]\nstart_after = '1 hour'\nfleet_percentage = 50\n\
         [[waves]]\nstart_after = '2 hours'\nfleet_percentage = 100\n",
    );
    let more = [
        "--waves",
        "waves.toml",
        "--wave-start",
        "2031-03-01T01:00:00Z",
    ];
    let out = lab.json(
        &[
            &release_line("1.0.0")[..],
            &more,
            &["--max-version", "0.9.0"],
            &["--allow", "wave-time", "--allow", "max-version-low"],
        ]
        .concat(),
    );
    assert_eq!(
        out["waves"],
        json!({"0": "2031-03-01T02:00:00Z", "1024": "2031-03-01T03:00:00Z"})
    );
    let manifest = lab.load(Safe).manifest();
    let update = serde_json::to_value(&manifest.updates[0]).unwrap();
    assert_eq!(update["waves"], out["waves"]);
    assert_eq!(update["max_version"], "0.9.0");
}

#[test]
fn without_a_hash_image_the_tree_is_made_with_the_salt() {
    let lab = Lab::publisher(now());
    let line: Vec<_> = release_line("1.0.0")
        .into_iter()
        .map(|word| match word {
            "--hash-image" => "--salt",
            "hash.img" => "5a17",
            word => word,
        })
        .collect();
    lab.ok(&line);
    let made = lab.load(Safe).decode("demo-x86_64-1.0.0-root.verity.lz4");
    let mut given = lab.read("hash.img");
    given[16..32].copy_from_slice(&made[16..32]); // the UUID is drawn anew
    assert!(made == given);
}

#[test]
fn an_expired_repository_is_revived_by_the_next_release() {
    let lab = Lab::publisher(past());
    lab.release_at("1.0.0", past()).unwrap();
    lab.release_at("1.1.0", now()).unwrap();
    assert_eq!(versions(&lab.load(Safe)), ["1.0.0", "1.1.0"]);
}

#[test]
fn a_clock_that_went_back_does_not_lower_the_version() {
    let lab = Lab::publisher(past());
    let first = lab.release_at("1.0.0", now()).unwrap();
    let second = lab.release_at("1.1.0", past()).unwrap();
    assert_eq!(second.metadata_version, first.metadata_version + 1);
    assert_eq!(lab.load(Unsafe).version(), second.metadata_version);
}

#[test]
fn a_release_between_two_others_strands_nobody() {
    let lab = Lab::publisher(now());
    lab.ok(&release_line("1.0.0"));
    lab.write("add-widget", "#!/bin/sh\n");
    lab.ok(&[
        &release_line("1.2.0")[..],
        &["--migration", "1.0.0:1.2.0:add-widget"],
    ]
    .concat());
    lab.ok(&release_line("1.1.0"));
    let migrations = lab.load(Safe).manifest().migrations;
    let path = |from, to| migrations.path(&Version::new(1, from, 0), &Version::new(1, to, 0));
    assert_eq!(path(0, 1).unwrap().targets, [""; 0]);
    assert_eq!(
        path(1, 2).unwrap().targets,
        ["migrate_v1.2.0_add-widget.lz4"]
    );
    assert_eq!(
        path(0, 2).unwrap().targets,
        ["migrate_v1.2.0_add-widget.lz4"]
    );
}

#[test]
fn people_read_names_lengths_and_digests() {
    let lab = Lab::publisher(now());
    let text = lab.ok(&release_line("1.0.0"));
    let published = lab.load(Safe);
    let lines: Vec<_> = text.lines().collect();
    for (line, name) in lines.iter().zip([
        "demo-x86_64-1.0.0-boot.ext4.lz4",
        "demo-x86_64-1.0.0-root.ext4.lz4",
        "demo-x86_64-1.0.0-root.verity.lz4",
        "demo-x86_64-1.0.0-boot.ext4.lz4.map.lz4",
        "demo-x86_64-1.0.0-root.ext4.lz4.map.lz4",
        "manifest.json",
    ]) {
        let target = published.target(name);
        let digest = hex::encode(&target.hashes.sha256);
        assert_eq!(*line, format!("{digest}  {:>12}  {name}", target.length));
    }
    assert!(lines[6].starts_with(
        "published demo x86_64 1.0.0 to all hosts at once, max_version 1.0.0, root hash "
    ));
    assert!(lines[7].starts_with(&format!(
        "metadata version {} in repo/demo/x86_64, valid until ",
        published.version()
    )));
    assert_eq!(lines.len(), 8);
}
