//! keys new, root new.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tough::schema::{RoleType, Root, Signed};

use super::lab::Lab;

#[test]
fn new_keys_are_the_owners_alone_and_never_overwrite() {
    let lab = Lab::new();
    let text = lab.ok(&["keys", "new", "--out", "keys"]);
    assert!(
        text.ends_with("keep the root key offline: publishing does not need it\n"),
        "{text}"
    );
    let names = ["root.key", "snapshot.key", "targets.key", "timestamp.key"];
    assert_eq!(lab.names("keys"), names);
    let mode = |name: &str| fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("keys"), 0o700);
    for name in names {
        assert_eq!(mode(&format!("keys/{name}")), 0o600, "{name}");
    }
    let before = lab.read("keys/root.key");
    lab.updata(&["keys", "new", "--out", "keys"]).ends_with(
        4,
        "updata: keys exists and is not empty; keys are never overwritten, choose another folder",
    );
    assert_eq!(lab.read("keys/root.key"), before);
    assert_eq!(lab.names("."), ["keys"], "nothing temporary is left");
}

#[test]
fn the_json_of_new_keys_names_files_and_ids_and_no_secret() {
    let lab = Lab::new();
    let out = lab.json(&["keys", "new", "--out", "keys", "--root-keys", "2"]);
    assert_eq!(out["dir"], "keys");
    let keys = out["keys"].as_array().unwrap();
    let files: Vec<_> = keys
        .iter()
        .map(|key| (&key["role"], &key["file"]))
        .collect();
    let expected = [
        ("root", "keys/root-2.key"),
        ("root", "keys/root.key"),
        ("targets", "keys/targets.key"),
        ("snapshot", "keys/snapshot.key"),
        ("timestamp", "keys/timestamp.key"),
    ]
    .map(|(role, file)| (json!(role), json!(file)));
    assert_eq!(
        files,
        expected
            .iter()
            .map(|(role, file)| (role, file))
            .collect::<Vec<_>>()
    );
    for key in keys {
        assert_eq!(key["key_id"].as_str().unwrap().len(), 64);
        assert_eq!(key["key_type"], "ed25519");
        assert_eq!(key.as_object().unwrap().len(), 4);
    }
}

#[test]
fn a_root_role_names_each_key_for_its_role_and_verifies() {
    let lab = Lab::new();
    let keys = lab.json(&["keys", "new", "--out", "keys"]);
    let out = lab.json(&["root", "new", "--keys", "keys", "--out", "root.json"]);
    assert_eq!(out["keys"], keys["keys"]);
    assert_eq!((&out["version"], &out["threshold"]), (&json!(1), &json!(1)));
    let root: Signed<Root> = serde_json::from_slice(&lab.read("root.json")).unwrap();
    root.signed.verify_role(&root).unwrap();
    assert!(root.signed.consistent_snapshot);
    for key in keys["keys"].as_array().unwrap() {
        let role: RoleType = serde_json::from_value(key["role"].clone()).unwrap();
        let ids = &root.signed.roles[&role].keyids;
        assert_eq!(
            ids.iter().map(hex::encode).collect::<Vec<_>>(),
            [key["key_id"].as_str().unwrap()]
        );
    }
}

#[test]
fn a_root_role_is_never_overwritten() {
    let lab = Lab::new();
    lab.ok(&["keys", "new", "--out", "keys"]);
    let line = [
        "root",
        "new",
        "--keys",
        "keys",
        "--out",
        "root.json",
        "--expires",
        "14d",
    ];
    lab.ok(&line);
    let before = lab.read("root.json");
    lab.updata(&line).ends_with(
        4,
        "updata: root.json exists and is not overwritten; choose another name",
    );
    assert_eq!(lab.read("root.json"), before);
}

#[test]
fn what_a_root_role_cannot_be_made_of_is_named() {
    let lab = Lab::new();
    lab.ok(&["keys", "new", "--out", "keys"]);
    let line = ["root", "new", "--keys", "keys", "--out", "root.json"];
    lab.updata(&[&line[..], &["--threshold", "2"]].concat())
        .ends_with(
            1,
            "updata: a threshold of 2 needs as many root keys, keys has 1; \
         make them with `updata keys new --root-keys 2`",
        );
    lab.updata(&[&line[..], &["--threshold", "0"]].concat())
        .says(2, "--threshold");
    lab.updata(&[&line[..], &["--expires", "2y"]].concat())
        .says(
            2,
            "'2y' does not end in w, d or h; write for example 2w, 14d or 12h",
        );
    fs::copy(lab.path("keys/targets.key"), lab.path("keys/root-2.key")).unwrap();
    lab.updata(&line).ends_with(
        1,
        "updata: keys/root-2.key and keys/targets.key hold the same key; \
         every role needs keys of its own",
    );
    fs::remove_file(lab.path("keys/root-2.key")).unwrap();
    fs::remove_file(lab.path("keys/snapshot.key")).unwrap();
    lab.updata(&line).ends_with(
        4,
        "updata: no snapshot*.key in keys; give the folder that has one, or --key snapshot=FILE",
    );
    assert_eq!(lab.names("."), ["keys"]);
}
