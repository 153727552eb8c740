//! A folder whose `timestamp.json` is gone: what was published there is not taken for nothing.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::lab::{Lab, release_line};
use super::rotation::{publish, rotate};
use super::signers::{PUBLISH, prepare};

const FOLDER: &str = "repo/demo/x86_64";
const TIMESTAMP: &str = "repo/demo/x86_64/timestamp.json";

/// 1.0.0 and 1.1.0 of demo are published, and 1.0.0 of another variant.
fn published() -> Lab {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab.ok(&of_another("1.0.0"));
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    lab.images(3);
    lab
}

fn of_another(version: &str) -> Vec<&str> {
    release_line(version)
        .into_iter()
        .map(|word| if word == "demo" { "another" } else { word })
        .collect()
}

fn refresh() -> Vec<&'static str> {
    "refresh --repo repo --root-role root.json --keys keys"
        .split(' ')
        .collect()
}

#[test]
fn a_lost_timestamp_does_not_make_a_release_throw_away_the_earlier_ones() {
    let lab = published();
    let timestamp = lab.read(TIMESTAMP);
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    let before = lab.snapshot();
    let names = lab.names(FOLDER);
    let lost: Vec<_> = names.iter().filter(|n| *n != "1.root.json").collect();
    assert_eq!(lost.len(), 4);
    for version in ["1.0.0", "1.2.0"] {
        let run = lab.updata(&release_line(version));
        run.says(4, "updata: repo/demo/x86_64 has no timestamp.json, but ");
        run.says(4, "put timestamp.json back from the newest copy");
        for name in &lost {
            run.says(4, name);
        }
        assert!(lab.snapshot() == before, "{version}");
    }
    lab.write(TIMESTAMP, timestamp);
    lab.ok(&release_line("1.2.0"));
    let manifest = lab.load(tough::ExpirationEnforcement::Safe).manifest();
    assert_eq!(manifest.updates.len(), 3);
}

#[test]
fn a_lost_timestamp_of_the_only_release_is_found_by_what_it_lists() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    lab.images(2);
    lab.updata(&release_line("1.1.0"))
        .says(4, "updata: repo/demo/x86_64 has no timestamp.json, but ");
    // And by a refresh, that only what is published gets.
    lab.images(1);
    lab.ok(&release_line("1.0.0"));
    assert_eq!(lab.names(FOLDER).len(), 4, "what was left over is gone");
    lab.ok(&refresh());
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    lab.updata(&release_line("1.0.0"))
        .says(4, "updata: repo/demo/x86_64 has no timestamp.json, but ");
}

#[test]
fn a_timestamp_that_cannot_be_seen_is_not_taken_for_absent() {
    let lab = published();
    // One link goes nowhere, the other round in a circle: neither is a file that does not exist.
    for target in ["gone.json", "timestamp.json"] {
        fs::remove_file(lab.path(TIMESTAMP)).unwrap();
        symlink(target, lab.path(TIMESTAMP)).unwrap();
        let run = lab.updata(&release_line("1.2.0"));
        run.says(1, "updata: the metadata in repo/demo/x86_64 do not verify");
        lab.updata(&refresh()).says(
            1,
            "updata: repo/demo/x86_64 was not refreshed: reading repo/demo/x86_64/timestamp.json: ",
        );
    }
    assert_eq!(lab.names("repo/targets").len(), 18);
}

#[test]
fn a_prepared_release_is_not_published_over_a_lost_timestamp() {
    let lab = Lab::publisher(updog::clock::now());
    prepare(&lab, "1.0.0");
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    let before = lab.snapshot();
    lab.updata(&PUBLISH)
        .says(4, "updata: repo/demo/x86_64 has no timestamp.json, but ");
    assert!(lab.snapshot() == before);
}

#[test]
fn a_prepared_first_release_that_stopped_before_its_timestamp_is_published_again() {
    let lab = Lab::publisher(updog::clock::now());
    prepare(&lab, "1.0.0");
    for _ in 0..3 {
        lab.ok(&PUBLISH);
        fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    }
    lab.ok(&PUBLISH);
    assert_eq!(lab.names(FOLDER).len(), 4);
    lab.load(tough::ExpirationEnforcement::Safe);
}

#[test]
fn a_refresh_fails_for_a_folder_without_a_timestamp_and_does_the_others() {
    let lab = published();
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    let before = lab.snapshot();
    let run = lab.updata(&refresh());
    // A rule forbids all that is missing.
    run.says(
        4,
        "updata: repo/demo/x86_64 was not refreshed: repo/demo/x86_64 has no timestamp.json, but ",
    );
    assert!(
        run.stdout.starts_with("repo/another/x86_64: version "),
        "{run:?}"
    );
    let new: Vec<_> = lab.snapshot().into_keys().collect();
    assert_eq!(new.len(), before.len() + 1, "a snapshot of one");

    // Together with one that fails for another reason, and alone.
    lab.write("repo/another/x86_64/timestamp.json", "torn");
    let run = lab.updata(&refresh());
    run.says(1, "updata: repo/another/x86_64 was not refreshed: ");
    run.says(1, "updata: repo/demo/x86_64 was not refreshed: ");
    let one = [&refresh()[..], &["--variant", "demo", "--arch", "x86_64"]].concat();
    lab.updata(&one)
        .says(4, "updata: repo/demo/x86_64 has no timestamp.json, but ");
    // Nor is one overlooked that has lost its root role as well.
    fs::remove_file(lab.path("repo/demo/x86_64/1.root.json")).unwrap();
    lab.updata(&refresh())
        .says(1, "updata: repo/demo/x86_64 was not refreshed: ");
}

#[test]
fn a_root_role_is_published_in_no_folder_if_one_has_lost_its_timestamp() {
    let lab = published();
    lab.ok(&rotate(&["--keys", "keys"]));
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    let before = lab.snapshot();
    lab.updata(&publish(&["--keys", "keys"])).says(
        4,
        "updata: nothing was written, since repo/demo/x86_64 cannot follow: repo/demo/x86_64 has no \
         timestamp.json, but ",
    );
    assert!(lab.snapshot() == before);
}

#[test]
fn lint_finds_a_folder_without_a_timestamp() {
    let lab = published();
    fs::remove_file(lab.path(TIMESTAMP)).unwrap();
    for (path, folders) in [("repo", 2), (FOLDER, 1)] {
        let run = lab.updata(&["lint", path, "--json", "--allow", "root-threshold"]);
        let out: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((run.code, &out["folders"]), (4, &folders.into()), "{run:?}");
        let findings = out["findings"].as_array().unwrap();
        // Nothing is said of files that the lost folder may list.
        let rules: Vec<_> = findings.iter().map(|f| f["rule"].as_str()).collect();
        let found = rules.iter().filter(|r| **r == Some("timestamp-missing"));
        assert_eq!(found.count(), 1, "{rules:?}");
        assert!(!rules.contains(&Some("file-unlisted")), "{rules:?}");
        let finding = findings
            .iter()
            .find(|f| f["rule"] == "timestamp-missing")
            .unwrap();
        assert_eq!(
            (&finding["severity"], &finding["about"]["folder"]),
            (&"error".into(), &FOLDER.into())
        );
        let problem = finding["problem"].as_str().unwrap();
        assert!(problem.starts_with("there is no timestamp.json, but "));
    }
}

#[test]
fn inspect_of_a_torn_timestamp_says_so_and_shows_what_can_still_be_read() {
    let lab = published();
    lab.ok(&["inspect", FOLDER]);
    for content in [Some("{\"signed\""), None] {
        match content {
            Some(content) => lab.write(TIMESTAMP, content),
            None => fs::remove_file(lab.path(TIMESTAMP)).unwrap(),
        }
        let text = lab.ok(&["inspect", FOLDER]);
        for part in [
            "\ntargets    version ",
            "\nsnapshot   version ",
            "\n11 targets of ",
            " bytes, and no client gets to them\n",
            "\ndemo x86_64: 1.0.0, 1.1.0, offered up to 1.1.0\n",
            "\nwarning: repo/demo/x86_64/timestamp.json is damaged or gone: no client reads anything \
             here; put it back from the newest copy",
        ] {
            assert!(text.contains(part), "{part:?}: {text}");
        }
        assert!(!text.contains("\ntimestamp "), "{text}");
        let out = lab.json(&["inspect", "repo"]);
        assert_eq!(out["folders"][0]["reachable"], true);
        assert_eq!(out["folders"][1]["reachable"], false);
        assert_eq!(out["folders"][1]["targets"], 11);
    }
    for name in lab.names(FOLDER) {
        if name.ends_with("targets.json") {
            fs::remove_file(lab.path(&format!("{FOLDER}/{name}"))).unwrap();
        }
    }
    let text = lab.ok(&["inspect", FOLDER]);
    assert!(
        text.contains("\ntargets: not known, and no client gets to them\n"),
        "{text}"
    );
}
