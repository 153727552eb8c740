//! refresh: new expiries, by the two keys of the daily job.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use tough::ExpirationEnforcement::{Safe, Unsafe};
use updog::publish::keyring::KeyArgs;
use updog::publish::period::Period;
use updog::publish::refresh::{self, ExpiryArgs, RefreshArgs, RefreshOutcome};
use updog::publish::release::lock::PublisherLock;

use super::lab::{Lab, Published, release_line};

const REFRESH: [&str; 9] = [
    "refresh",
    "--repo",
    "repo",
    "--root-role",
    "root.json",
    "--key",
    "snapshot=keys/snapshot.key",
    "--key",
    "timestamp=keys/timestamp.key",
];

fn start() -> DateTime<Utc> {
    "2031-03-01T01:00:00Z".parse().unwrap()
}

fn refresh_at(lab: &Lab, targets: bool, days: i64) -> Result<RefreshOutcome, refresh::Error> {
    let args = RefreshArgs {
        repo: lab.path("repo"),
        root_role: lab.path("root.json"),
        keys: KeyArgs::folder(lab.path("keys")),
        variant: None,
        arch: None,
        targets,
        expires: ExpiryArgs {
            expires_targets: Period::weeks(2),
            expires_snapshot: Period::weeks(2),
            expires_timestamp: Period::weeks(1),
        },
    };
    refresh::run(&args, start() + TimeDelta::days(days))
}

#[test]
fn all_folders_get_new_expiries_without_the_targets_key() {
    let now = updog::clock::now();
    let lab = Lab::publisher(now);
    lab.ok(&release_line("1.0.0"));
    let other: Vec<_> = release_line("1.0.0")
        .into_iter()
        .map(|word| if word == "demo" { "other" } else { word })
        .collect();
    lab.ok(&other);
    for name in ["root", "targets"] {
        fs::remove_file(lab.path(&format!("keys/{name}.key"))).unwrap();
    }
    let before = lab.snapshot();
    let out = lab.json(&REFRESH);
    let folders = out["folders"].as_array().unwrap();
    assert_eq!(
        folders
            .iter()
            .map(|f| f["metadata"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["repo/demo/x86_64", "repo/other/x86_64"]
    );
    assert_eq!(out["warnings"], serde_json::json!([]));
    assert_eq!(out.get("failures"), None);
    for (variant, folder) in ["demo", "other"].iter().zip(folders) {
        let client = Published::load(&lab.path("."), variant, Safe);
        assert_eq!(
            client.repository.timestamp().signed.version.get(),
            folder["version"]
        );
        assert_eq!(
            client.repository.targets().signed.version.get(),
            folder["targets_version"]
        );
        assert_eq!(client.targets().len(), 6);
    }
    // Nothing that was there changed but the timestamps.
    let after = lab.snapshot();
    for (path, bytes) in &before {
        assert_eq!(
            &after[path] == bytes,
            !path.ends_with("/timestamp.json"),
            "{path}"
        );
    }
    assert_eq!(after.len(), before.len() + 2, "one snapshot more a folder");

    // A folder whose first release stopped before its timestamp has nothing to refresh.
    fs::create_dir_all(lab.path("repo/third/x86_64")).unwrap();
    lab.write("repo/third/x86_64/1.root.json", lab.read("root.json"));
    lab.ok(&REFRESH);
    lab.updata(&[&REFRESH[..], &["--variant", "third", "--arch", "x86_64"]].concat())
        .ends_with(1, "updata: nothing is published in repo/third/x86_64");
    fs::remove_dir_all(lab.path("repo/third")).unwrap();
    let after = lab.snapshot();

    // One folder alone.
    let one = [&REFRESH[..], &["--variant", "other", "--arch", "x86_64"]].concat();
    let out = lab.json(&one);
    assert_eq!(out["folders"].as_array().unwrap().len(), 1);
    assert_eq!(
        lab.read("repo/demo/x86_64/timestamp.json"),
        after["repo/demo/x86_64/timestamp.json"]
    );
    let text = lab.ok(&REFRESH);
    assert!(text.starts_with("repo/demo/x86_64: version "), "{text}");
    lab.updata(&[&REFRESH[..], &["--variant", "other"]].concat())
        .says(2, "--arch");
    lab.updata(&REFRESH[..5]).says(2, "--keys");
}

#[test]
fn a_targets_role_that_runs_out_is_warned_of_and_then_refused() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    assert_eq!(refresh_at(&lab, false, 6).unwrap().warnings, [""; 0]);
    let warned = refresh_at(&lab, false, 8).unwrap();
    let message = format!(
        "targets.json in {} expires at 2031-03-15T01:00:00Z, before the new timestamp.json; \
         sign it too, with --targets",
        lab.path("repo/demo/x86_64").display()
    );
    assert_eq!(warned.warnings, std::slice::from_ref(&message));
    assert!(
        warned
            .to_string()
            .ends_with(&format!("\nwarning: {message}"))
    );
    let before = lab.snapshot();
    let refused = refresh_at(&lab, false, 14).unwrap_err();
    assert!(refused.is_refusal());
    assert_eq!(
        refused.to_string(),
        format!(
            "targets.json in {} expired at 2031-03-15T01:00:00Z; \
             sign it too, with --targets and the targets key",
            lab.path("repo/demo/x86_64").display()
        )
    );
    assert!(lab.snapshot() == before);
    // With the targets key an expired repository is revived.
    let signed = refresh_at(&lab, true, 14).unwrap();
    assert_eq!(signed.warnings, [""; 0]);
    let expires = &signed.folders[0].expires;
    assert_eq!(expires.targets.to_rfc3339(), "2031-03-29T01:00:00+00:00");
    assert_eq!(expires.timestamp.to_rfc3339(), "2031-03-22T01:00:00+00:00");
    let client = lab.load(Unsafe);
    assert_eq!(client.version(), signed.folders[0].version);
    assert_eq!(client.targets().len(), 6);
}

#[test]
fn a_root_role_that_runs_out_is_warned_of_and_then_refused() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    let warned = refresh_at(&lab, true, 360).unwrap();
    assert_eq!(
        warned.warnings,
        [format!(
            "the root role {} expires at 2032-02-28T01:00:00Z; \
             make the next one with `updata root rotate`",
            lab.path("root.json").display()
        )]
    );
    let refused = refresh_at(&lab, true, 364).unwrap_err();
    assert!(refused.is_refusal());
    assert!(
        refused
            .to_string()
            .contains("expired at 2032-02-28T01:00:00Z")
    );
}

#[test]
fn what_cannot_be_refreshed_changes_nothing() {
    let lab = Lab::publisher(updog::clock::now());
    lab.updata(&REFRESH)
        .ends_with(1, "updata: no such repository: repo");
    fs::create_dir(lab.path("repo")).unwrap();
    lab.updata(&REFRESH)
        .ends_with(1, "updata: nothing is published in repo");
    lab.ok(&release_line("1.0.0"));
    let before = lab.snapshot();

    let lock = PublisherLock::take(&lab.path("repo")).unwrap();
    lab.updata(&REFRESH).ends_with(
        4,
        "updata: another updata is publishing to repo; run again when it is done",
    );
    drop(lock);
    lab.updata(&REFRESH.map(|word| match word {
        "timestamp=keys/timestamp.key" => "timestamp=keys/snapshot.key",
        word => word,
    }))
    .ends_with(
        4,
        "updata: 1 of the timestamp keys that root.json names must sign, the command line has 0",
    );
    lab.updata(&[&REFRESH[..], &["--targets"]].concat())
        .ends_with(
            4,
            "updata: no targets key was given; give --keys DIR or --key targets=FILE",
        );
    lab.root_at("other.json", updog::clock::now() - TimeDelta::hours(1));
    lab.updata(&REFRESH.map(|word| {
        if word == "root.json" {
            "other.json"
        } else {
            word
        }
    }))
    .ends_with(
        4,
        "updata: other.json is not the root role that is published as \
             repo/demo/x86_64/1.root.json; give the one that is",
    );
    lab.next_root(1, "keys");
    lab.updata(&REFRESH).ends_with(
        4,
        "updata: repo/demo/x86_64 has a root role of version 1, root.json is version 2; \
         give --root-role the newest one",
    );
    assert!(lab.snapshot() == before);
}

#[test]
fn one_folder_that_somebody_changed_is_told_of_and_the_others_are_refreshed() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    let other: Vec<_> = release_line("1.0.0")
        .into_iter()
        .map(|word| if word == "demo" { "other" } else { word })
        .collect();
    lab.ok(&other);
    let path = "repo/other/x86_64/timestamp.json";
    let text = lab.read_text(path);
    lab.write(path, text.replace("\"expires\": \"20", "\"expires\": \"21"));
    let before = lab.snapshot();
    let run = lab.updata(&REFRESH);
    run.says(
        1,
        "updata: repo/other/x86_64 was not refreshed: the metadata in repo/other/x86_64 do not \
         verify against root.json; give the root role that they were signed under: ",
    );
    assert!(
        run.stdout.starts_with("repo/demo/x86_64: version "),
        "{run:?}"
    );
    for (file, bytes) in lab.snapshot() {
        let is_new = before.get(&file) != Some(&bytes);
        assert!(!is_new || file.starts_with("repo/demo/"), "{file}");
    }
    assert!(
        lab.snapshot()["repo/demo/x86_64/timestamp.json"]
            != before["repo/demo/x86_64/timestamp.json"]
    );
    let out = lab.updata(&[&REFRESH[..], &["--json"]].concat());
    let out: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(out["failures"][0]["metadata"], "repo/other/x86_64");
    assert_eq!(out["folders"].as_array().unwrap().len(), 1);

    // A rule is broken in every folder: that is a refusal.
    lab.write(path, text);
    lab.next_root(1, "keys");
    let run = lab.updata(&REFRESH);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (
            4,
            "nothing was refreshed\n",
            "updata: repo/demo/x86_64 was not refreshed: repo/demo/x86_64 has a root role of version \
             1, root.json is version 2; give --root-role the newest one\n\
             updata: repo/other/x86_64 was not refreshed: repo/other/x86_64 has a root role of \
             version 1, root.json is version 2; give --root-role the newest one\n"
        )
    );
}

#[test]
fn a_folder_that_cannot_be_written_does_not_keep_the_others_stale() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    let mut other = lab.release_args("1.0.0");
    other.variant = "another".parse().unwrap();
    updog::publish::release::run(&other, start(), &mut updog::publish::event::ignore).unwrap();
    // A folder where the file should go makes the rename fail, as a full disk would.
    let version = (start() + TimeDelta::days(1)).timestamp();
    let obstacle = lab.path(&format!("repo/another/x86_64/{version}.snapshot.json"));
    fs::create_dir(&obstacle).unwrap();
    let outcome = refresh_at(&lab, false, 1).unwrap();
    assert_eq!(outcome.exit().code(), 1);
    assert_eq!(
        outcome.lines(),
        [format!(
            "{} was not refreshed: {} is not a regular file and is not replaced",
            obstacle.parent().unwrap().display(),
            obstacle.display()
        )]
    );
    assert_eq!(outcome.folders.len(), 1);
    let client = lab.load(Unsafe);
    assert_eq!(
        client.repository.timestamp().signed.version.get(),
        outcome.folders[0].version
    );
}
