//! root rotate, root publish: other keys, and clients that follow.

use std::fs;

use serde_json::{Value, json};
use tough::ExpirationEnforcement::Safe;

use super::lab::{Lab, Published, release_line};

/// 1.0.0 of two variants, and further keys in `new`.
pub(crate) fn published() -> Lab {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    let other: Vec<_> = release_line("1.0.0")
        .into_iter()
        .map(|word| if word == "demo" { "other" } else { word })
        .collect();
    lab.ok(&other);
    lab.ok(&["keys", "new", "--out", "new", "--type", "ecdsa"]);
    lab
}

pub(crate) fn rotate<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let line = [
        "root",
        "rotate",
        "--root-role",
        "root.json",
        "--out",
        "root-2.json",
    ];
    [&line[..], more].concat()
}

pub(crate) fn publish<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let line = [
        "root",
        "publish",
        "--repo",
        "repo",
        "--root-role",
        "root-2.json",
        "--old-root",
        "root.json",
    ];
    [&line[..], more].concat()
}

/// Every client finds every target: one that has the first root role, and one that has the second.
pub(crate) fn assert_followed(lab: &Lab) {
    for variant in ["demo", "other"] {
        for root in ["root.json", "root-2.json"] {
            let client = Published::load_from(&lab.path("."), root, variant, Safe).unwrap();
            assert_eq!(client.repository.root().signed.version.get(), 2);
            for name in client.targets() {
                client.fetch(&name);
            }
            assert_eq!(client.targets().len(), 6);
        }
    }
}

const ALL_KEYS: [&str; 8] = [
    "--keys",
    "keys",
    "--key",
    "timestamp=new/timestamp.key",
    "--key",
    "snapshot=new/snapshot.key",
    "--key",
    "targets=new/targets.key",
];

pub(crate) const REPLACE_ALL: [&str; 6] = [
    "--replace",
    "timestamp=new/timestamp.key",
    "--replace",
    "snapshot=new/snapshot.key",
    "--replace",
    "targets=new/targets.key",
];

fn changes(out: &Value) -> Vec<(&str, &str)> {
    let keys = out["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| {
            (
                key["role"].as_str().unwrap(),
                key["change"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_planned_rotation_of_every_online_key_is_followed_by_every_client() {
    let lab = published();
    let out = lab.json(&rotate(&[&["--keys", "keys"], &REPLACE_ALL[..]].concat()));
    assert_eq!(
        changes(&out),
        [
            ("root", "kept"),
            ("targets", "added"),
            ("targets", "removed"),
            ("snapshot", "added"),
            ("snapshot", "removed"),
            ("timestamp", "added"),
            ("timestamp", "removed"),
        ]
    );
    assert_eq!(
        (&out["version"], &out["missing_old"], &out["missing_new"]),
        (&json!(2), &json!(0), &json!(0))
    );

    // A release does not do it by the way.
    lab.images(2);
    let mut line = release_line("1.1.0");
    line.extend([
        "--key",
        "timestamp=new/timestamp.key",
        "--key",
        "snapshot=new/snapshot.key",
    ]);
    line.extend(["--key", "targets=new/targets.key"]);
    for word in &mut line {
        if *word == "root.json" {
            *word = "root-2.json";
        }
    }
    lab.updata(&line).says(
        4,
        "updata: root-2.json does not name the keys that the metadata in repo/demo/x86_64 are \
         signed with; publish it first with `updata root publish`, which signs them anew: ",
    );

    let out = lab.json(&publish(&ALL_KEYS));
    for folder in out["folders"].as_array().unwrap() {
        assert_eq!(
            folder["signed"],
            json!(["targets", "snapshot", "timestamp"])
        );
        assert_eq!(
            (&folder["seamless"], &folder["existed"]),
            (&json!(true), &json!(false))
        );
    }
    assert_followed(&lab);
    for variant in ["demo", "other"] {
        let names = lab.names(&format!("repo/{variant}/x86_64"));
        assert!(
            names.contains(&"1.root.json".to_owned()),
            "the chain stays: {names:?}"
        );
    }
    let again = lab.json(&publish(&ALL_KEYS));
    assert_eq!(again["folders"][0]["existed"], true);
    // The new keys alone carry on.
    let (refreshed, released) = ("new", "1.1.0");
    lab.ok(&[
        "refresh",
        "--repo",
        "repo",
        "--root-role",
        "root-2.json",
        "--keys",
        refreshed,
    ]);
    let line: Vec<_> = release_line(released)
        .into_iter()
        .map(|word| match word {
            "keys" => "new",
            "root.json" => "root-2.json",
            word => word,
        })
        .collect();
    lab.ok(&line);
    assert_eq!(lab.load(Safe).manifest().updates.len(), 2);
}

#[test]
fn without_the_old_keys_the_root_role_comes_right_before_the_timestamp() {
    let lab = published();
    lab.ok(&rotate(&[&["--keys", "keys"], &REPLACE_ALL[..]].concat()));
    let out = lab.json(&publish(&["--keys", "new"]));
    assert_eq!(out["folders"][1]["seamless"], false);
    assert_followed(&lab);
}

#[test]
fn only_what_the_new_keys_do_not_satisfy_is_signed_anew() {
    for (role, signed) in [
        ("timestamp", json!(["timestamp"])),
        ("snapshot", json!(["snapshot", "timestamp"])),
        ("targets", json!(["targets", "snapshot", "timestamp"])),
        ("root", json!([])),
    ] {
        let lab = published();
        let before = lab.load(Safe).repository.targets().signed.version;
        let (new, key) = (
            format!("{role}=new/{role}.key"),
            format!("{role}=new/{role}.key"),
        );
        lab.ok(&rotate(&["--keys", "keys", "--replace", &new]));
        let mut keys = vec!["--keys", "keys"];
        if role != "root" {
            keys.extend(["--key", key.as_str()]);
        }
        let out = lab.json(&publish(&keys));
        assert_eq!(out["folders"][0]["signed"], signed, "{role}");
        assert_followed(&lab);
        let after = lab.load(Safe).repository.targets().signed.version;
        assert_eq!(after == before, role != "targets", "{role}");
    }
}

#[test]
fn root_keys_change_by_the_signatures_of_both_sides() {
    let lab = published();
    // The old root key is in a safe, the new one on another machine.
    for (from, to) in [
        ("keys/root.key", "safe.key"),
        ("new/root.key", "machine.key"),
    ] {
        fs::rename(lab.path(from), lab.path(to)).unwrap();
    }
    lab.ok(&["keys", "public", "machine.key", "--out", "machine.pub"]);
    let line = rotate(&["--replace", "root=machine.pub"]);
    lab.updata(&line).ends_with(
        4,
        "updata: 1 signature(s) of the present root keys and 1 of the new ones would be missing; \
         give the keys by --keys or --key root=FILE, or write it with --partial and let the others \
         run `updata sign --role root`",
    );
    assert!(!lab.path("root-2.json").exists());
    let out = lab.json(&[&line[..], &["--partial"]].concat());
    assert_eq!(
        (&out["missing_old"], &out["missing_new"]),
        (&json!(1), &json!(1))
    );

    let sign = ["sign", "--role", "root", "--staged", "root-2.json"];
    lab.updata(&[&sign[..], &["--key", "safe.key"]].concat())
        .ends_with(
            4,
            "updata: root-2.json is version 2; give --old-root the version before, whose keys must \
         sign it too",
        );
    let sign = [&sign[..], &["--old-root", "root.json"]].concat();
    lab.updata(&[&sign[..], &["--key", "keys/targets.key"]].concat())
        .ends_with(
            4,
            "updata: keys/targets.key is not a root key that root-2.json names",
        );
    let out = lab.json(&[&sign[..], &["--key", "safe.key"]].concat());
    let missing = |out: &Value| -> Vec<u64> {
        let tallies = out["signatures"].as_array().unwrap();
        let valid = |tally: &Value| tally["valid"].as_array().unwrap().len();
        tallies
            .iter()
            .map(|tally| 1 - u64::try_from(valid(tally)).unwrap())
            .collect()
    };
    assert_eq!((missing(&out), &out["missing"]), (vec![0, 1], &json!(1)));
    lab.updata(&publish(&[])).says(
        1,
        "updata: the root role root-2.json is not signed by as many",
    );
    let out = lab.json(&[&sign[..], &["--key", "machine.key"]].concat());
    assert_eq!((missing(&out), &out["missing"]), (vec![0, 0], &json!(0)));
    lab.ok(&publish(&[]));
    assert_followed(&lab);
}

#[test]
fn keys_are_added_and_removed_and_thresholds_raised() {
    let lab = published();
    let out = lab.json(&rotate(&[
        "--keys",
        "keys",
        "--add",
        "root=new/root.key",
        "--threshold",
        "2",
        "--add",
        "targets=new/targets.key",
    ]));
    assert_eq!(
        changes(&out)[..4],
        [
            ("root", "kept"),
            ("root", "added"),
            ("targets", "kept"),
            ("targets", "added")
        ]
    );
    // What is published has one signature of the two that are named, and one is enough.
    assert_eq!(lab.json(&publish(&[]))["folders"][0]["signed"], json!([]));
    assert_followed(&lab);

    let id = out["keys"][2]["key_id"].as_str().unwrap();
    let remove = format!("targets={}", &id[..10]);
    let line = [
        "root",
        "rotate",
        "--root-role",
        "root-2.json",
        "--out",
        "root-3.json",
        "--keys",
        "keys",
        "--key",
        "root=new/root.key",
        "--remove",
        &remove,
        "--expires",
        "10w",
    ];
    let text = lab.ok(&line);
    assert!(
        text.contains(&format!("\n- targets    {id}  ed25519\n")),
        "{text}"
    );
    assert!(
        text.contains("\nroot-3.json: version 3, valid until "),
        "{text}"
    );
    assert!(
        text.ends_with(
            "complete; next: `updata root publish --repo REPO --root-role root-3.json \
             --old-root root-2.json`\n"
        ),
        "{text}"
    );
}
