//! inspect: what it shows, and what it warns of without ever failing.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tough::schema::{RoleType, Root, Signed};
use updog::publish::inspect::{self, FolderReport, InspectArgs};

use super::lab::{Lab, release_line};
use super::rotation::{publish, rotate};

fn start() -> DateTime<Utc> {
    "2031-03-01T01:00:00Z".parse().unwrap()
}

fn at(lab: &Lab, days: i64) -> FolderReport {
    let args = InspectArgs {
        repo: lab.path("repo"),
        root_role: None,
    };
    let mut outcome = inspect::run(&args, start() + TimeDelta::days(days)).unwrap();
    outcome.folders.remove(0)
}

const ROOT_OF_ONE: &str = "one stolen root key is enough: the root threshold is 1";

#[test]
fn everything_that_is_published_is_shown() {
    let lab = Lab::publisher_with(&["--root-keys", "2"], &["--threshold", "2"]);
    lab.ok(&release_line("1.0.0"));
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    let out = lab.json(&["inspect", "repo"]);
    let folder = &out["folders"][0];
    assert_eq!(folder["metadata"], "repo/demo/x86_64");
    assert_eq!(folder["warnings"], json!([]));
    assert_eq!(folder["targets"], 11);
    let files = lab.names("repo/targets");
    let bytes = |name: &String| lab.read(&format!("repo/targets/{name}")).len();
    let newest: usize = files.iter().map(bytes).sum();
    let manifests: Vec<_> = files
        .iter()
        .filter(|name| name.ends_with("manifest.json"))
        .collect();
    // The manifest of 1.0.0 is still there, and not listed any more.
    let old = manifests.iter().map(|name| bytes(name)).min().unwrap();
    assert_eq!(folder["target_bytes"], newest - old);
    assert_eq!(
        folder["releases"],
        json!([{
            "variant": "demo", "arch": "x86_64", "versions": ["1.0.0", "1.1.0"],
            "max_version": "1.1.0"
        }])
    );
    for (role, name) in
        folder["roles"]
            .as_array()
            .unwrap()
            .iter()
            .zip(["root", "targets", "snapshot", "timestamp"])
    {
        let count = if name == "root" { 2 } else { 1 };
        assert_eq!(role["role"], name);
        assert_eq!(
            (&role["valid"], &role["threshold"]),
            (&json!(count), &json!(count))
        );
        assert_eq!(role["keys"].as_array().unwrap().len(), count);
        assert!(
            role["seconds_left"].as_i64().unwrap() > 6 * 86_400,
            "{role}"
        );
    }
    // One folder shows the same, and people see it too.
    let mut one = lab.json(&["inspect", "repo/demo/x86_64"]);
    for role in one["folders"][0]["roles"].as_array_mut().unwrap() {
        role["seconds_left"] = Value::Null;
    }
    assert_eq!(one["folders"][0]["releases"], folder["releases"]);
    let text = lab.ok(&["inspect", "repo"]);
    for part in [
        "repo/demo/x86_64\nroot       version 1, valid until ",
        ", 2 of 2 signature(s)\n",
        "6d 23h left), 1 of 1 signature(s)\n",
        " ed25519, signed\n",
        "demo x86_64: 1.0.0, 1.1.0, offered up to 1.1.0\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn expiry_is_warned_of_before_and_after_and_is_no_failure() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    assert_eq!(at(&lab, 0).warnings, [ROOT_OF_ONE]);
    assert_eq!(
        at(&lab, 5).warnings,
        [ROOT_OF_ONE, "the timestamp role expires in 2d 0h"]
    );
    assert_eq!(
        at(&lab, 13).warnings,
        [
            ROOT_OF_ONE,
            "the targets role expires in 1d 0h",
            "the snapshot role expires in 1d 0h",
            "the timestamp role expired 6d 0h ago",
        ]
    );
    assert_eq!(at(&lab, 340).warnings[1], "the root role expires in 24d 0h");
    let expired = at(&lab, 400);
    assert_eq!(expired.warnings[1], "the root role expired 36d 0h ago");
    assert!(
        expired
            .to_string()
            .contains("expired at 2032-02-28T01:00:00Z (36d 0h ago)")
    );
}

#[test]
fn what_is_damaged_or_missing_is_a_warning() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    let folder = "repo/demo/x86_64";
    let named = |suffix: &str| {
        let names = lab.names(folder);
        let name = names.iter().find(|name| name.ends_with(suffix)).unwrap();
        format!("{folder}/{name}")
    };
    let warns = |part: &str| {
        let warnings = at(&lab, 0).warnings;
        assert!(
            warnings.iter().any(|warning| warning.contains(part)),
            "{part}: {warnings:?}"
        );
    };
    let targets = named(".targets.json");
    let good = lab.read_text(&targets);
    lab.write(&targets, good.replace("\"length\": ", "\"length\": 1"));
    warns("is not the file that the metadata lead to: clients refuse it");
    warns("the targets role lacks 1 signature(s)");
    warns(" on the targets role does not verify");
    lab.write(&targets, "{");
    warns("is not the metadata that its name says: ");
    fs::remove_file(lab.path(&targets)).unwrap();
    warns("reading ");
    lab.write(&targets, &good);

    let manifest = lab.names("repo/targets");
    let manifest = manifest
        .iter()
        .find(|name| name.ends_with("manifest.json"))
        .unwrap();
    let manifest = format!("repo/targets/{manifest}");
    let content = lab.read(&manifest);
    lab.write(&manifest, "{}");
    warns("has other content than was signed: clients refuse it");
    fs::remove_file(lab.path(&manifest)).unwrap();
    warns("reading ");
    lab.write(&manifest, content);

    lab.write(&format!("{folder}/3.root.json"), lab.read("root.json"));
    warns("a root role is missing: hosts cannot follow");
    fs::remove_file(lab.path(&format!("{folder}/3.root.json"))).unwrap();
    lab.write("old.json", lab.read("root.json"));
    lab.ok(&["keys", "new", "--out", "strangers"]);
    lab.next_root(1, "strangers");
    lab.write(&format!("{folder}/2.root.json"), lab.read("root.json"));
    warns("is not signed by enough root keys of ");
    fs::remove_file(lab.path(&format!("{folder}/2.root.json"))).unwrap();
    assert_eq!(at(&lab, 0).warnings, [ROOT_OF_ONE]);

    fs::remove_file(lab.path(&format!("{folder}/1.root.json"))).unwrap();
    let run = lab.updata(&["inspect", folder]);
    assert_eq!(run.code, 0);
    assert!(
        run.stdout
            .contains("warning: there is no root role to judge by"),
        "{run:?}"
    );
    let judged = lab.ok(&["inspect", folder, "--root-role", "old.json"]);
    assert!(judged.contains("1 of 1 signature(s)"), "{judged}");
    lab.updata(&["inspect", "keys"]).ends_with(
        1,
        "updata: keys is neither a repository nor a folder of metadata",
    );
    lab.updata(&["inspect", "absent"])
        .says(1, "updata: reading absent: ");
}

/// Changes the published root role, which then has no valid signature; inspect reads it all the same.
fn with_root(lab: &Lab, change: impl FnOnce(&mut Root)) -> Vec<String> {
    let path = "repo/demo/x86_64/1.root.json";
    let good = lab.read(path);
    let mut root: Signed<Root> = serde_json::from_slice(&good).unwrap();
    change(&mut root.signed);
    lab.write(path, serde_json::to_vec(&root).unwrap());
    let warnings = at(lab, 0).warnings;
    lab.write(path, good);
    warnings
}

#[test]
fn root_roles_that_promise_less_than_they_seem_to_are_warned_of() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    let shared = with_root(&lab, |root| {
        let id = root.roles[&RoleType::Snapshot].keyids[0].clone();
        root.roles
            .get_mut(&RoleType::Timestamp)
            .unwrap()
            .keyids
            .push(id);
    });
    assert!(
        shared.contains(&"the roles snapshot and timestamp share a key".to_owned()),
        "{shared:?}"
    );

    let unknown = with_root(&lab, |root| {
        let id = root.roles[&RoleType::Snapshot].keyids[0].clone();
        root.keys.remove(&id);
    });
    assert!(
        unknown
            .iter()
            .any(|w| w.ends_with(" is unknown: it is not listed")),
        "{unknown:?}"
    );

    let other = with_root(&lab, |root| {
        let id = root.roles[&RoleType::Root].keyids[0].clone();
        root.roles.get_mut(&RoleType::Snapshot).unwrap().keyids = vec![id];
    });
    let part = ", which the root role does not name for it";
    assert!(other.iter().any(|w| w.ends_with(part)), "{other:?}");

    let high = with_root(&lab, |root| {
        root.roles.get_mut(&RoleType::Targets).unwrap().threshold = 3.try_into().unwrap();
    });
    let expected = "3 of the targets keys must sign and only 1 are named".to_owned();
    assert!(high.contains(&expected), "{high:?}");

    // The same key in another notation has another id, and counts twice for some clients.
    let twice = with_root(&lab, |root| {
        let id = root.roles[&RoleType::Root].keyids[0].clone();
        let mut value = serde_json::to_value(&root.keys[&id]).unwrap();
        value["keyid_hash_algorithms"] = json!(["sha256"]);
        let key: tough::schema::key::Key = serde_json::from_value(value).unwrap();
        let second = key.key_id().unwrap();
        assert_ne!(second, id);
        root.keys.insert(second.clone(), key);
        root.roles
            .get_mut(&RoleType::Root)
            .unwrap()
            .keyids
            .push(second);
    });
    let part = " is there under two ids and counts twice for some clients";
    assert!(twice.iter().any(|w| w.ends_with(part)), "{twice:?}");

    let none = with_root(&lab, |root| {
        root.roles.remove(&RoleType::Snapshot);
    });
    assert!(!none.iter().any(|w| w.contains("snapshot role lacks")));
    assert!(
        none.contains(&"the root role names no snapshot keys".to_owned()),
        "{none:?}"
    );
}

#[test]
fn delegations_are_warned_of_and_not_carried_on() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    let folder = "repo/demo/x86_64";
    let names = lab.names(folder);
    let name = names
        .iter()
        .find(|name| name.ends_with(".targets.json"))
        .unwrap();
    let path = format!("{folder}/{name}");
    let mut targets: Value = serde_json::from_slice(&lab.read(&path)).unwrap();
    targets["signed"]["delegations"] = json!({
        "keys": {},
        "roles": [{"name": "other", "keyids": [], "threshold": 1, "paths": ["*"], "terminating": true}]
    });
    lab.write(&path, targets.to_string());
    let out = lab.json(&["inspect", "repo"]);
    let warnings = out["folders"][0]["warnings"].as_array().unwrap();
    let expected = json!("targets are delegated to other roles, which updata does not carry on");
    assert!(warnings.contains(&expected), "{warnings:?}");
    lab.updata(&[
        "refresh",
        "--repo",
        "repo",
        "--root-role",
        "root.json",
        "--keys",
        "keys",
    ])
    .ends_with(
        1,
        "updata: the metadata in repo/demo/x86_64 delegate targets to other roles, \
             which updata does not carry on",
    );
}

#[test]
fn a_given_root_role_that_clients_do_not_find_is_warned_of() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab.ok(&rotate(&["--keys", "keys"]));
    let out = lab.json(&["inspect", "repo", "--root-role", "root-2.json"]);
    let warnings = out["folders"][0]["warnings"].as_array().unwrap();
    assert!(
        warnings.contains(&json!(
            "root-2.json is not repo/demo/x86_64/1.root.json, which clients will find"
        )),
        "{warnings:?}"
    );
    lab.ok(&publish(&[]));
    let out = lab.json(&["inspect", "repo", "--root-role", "root-2.json"]);
    assert_eq!(out["folders"][0]["warnings"], json!([ROOT_OF_ONE]));
}
