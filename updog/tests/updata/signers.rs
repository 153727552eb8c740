//! release --prepare, sign, publish: one release, several signers.

use std::fs;

use serde_json::Value;
use tough::ExpirationEnforcement::Safe;

use super::lab::{Lab, release_line};

/// Two of three targets keys must sign; each signer has one, and nothing else is in `keys`.
pub(crate) fn signers() -> Lab {
    let lab = Lab::publisher_with(&["--targets-keys", "3"], &["--targets-threshold", "2"]);
    for (name, signer) in [
        ("targets", "alice"),
        ("targets-2", "bob"),
        ("targets-3", "carol"),
    ] {
        let (from, to) = (format!("keys/{name}.key"), format!("{signer}.key"));
        fs::rename(lab.path(&from), lab.path(&to)).unwrap();
    }
    lab
}

/// A release of the present images into the folder `staged`.
pub(crate) fn prepare(lab: &Lab, version: &str) -> Value {
    lab.json(&[&release_line(version)[..], &["--prepare", "staged"]].concat())
}

pub(crate) fn sign<'a>(role: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["sign", "--staged", "staged", "--role", role], more].concat()
}

pub(crate) const PUBLISH: [&str; 9] = [
    "publish",
    "--staged",
    "staged",
    "--repo",
    "repo",
    "--root-role",
    "root.json",
    "--keys",
    "keys",
];

#[test]
fn two_people_sign_what_neither_can_publish_alone() {
    let lab = signers();
    let prepared = prepare(&lab, "1.0.0");
    assert_eq!(prepared["staged"]["missing"], 2);
    assert_eq!(
        lab.names("staged"),
        ["root.json", "stage.json", "targets.json"]
    );
    assert_eq!(
        lab.names("repo/targets").len(),
        6,
        "the targets are in their place"
    );
    assert!(!lab.path("repo/demo").exists(), "and nothing leads to them");

    // Without a key everything is shown and nothing changes.
    let before = lab.read("staged/targets.json");
    let shown = lab.json(&sign("targets", &[]));
    assert_eq!(lab.read("staged/targets.json"), before);
    assert_eq!(shown["digest"], prepared["staged"]["digest"]);
    assert_eq!(shown["version"], prepared["metadata_version"]);
    assert_eq!(
        (&shown["targets"], &shown["missing"]),
        (&6.into(), &2.into())
    );
    let bytes: u64 = prepared["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["length"].as_u64().unwrap())
        .sum();
    assert_eq!(shown["target_bytes"], bytes);

    // Alice signs on a machine that has the folder and her key, and nothing else.
    let offline = Lab::new();
    fs::create_dir(offline.path("staged")).unwrap();
    for name in lab.names("staged") {
        offline.write(
            &format!("staged/{name}"),
            lab.read(&format!("staged/{name}")),
        );
    }
    offline.write("alice.key", lab.read("alice.key"));
    offline.write("own-root.json", lab.read("root.json"));
    let digest = shown["digest"].as_str().unwrap();
    let line = sign(
        "targets",
        &[
            "--key",
            "alice.key",
            "--digest",
            digest,
            "--root-role",
            "own-root.json",
        ],
    );
    let signed = offline.json(&line);
    assert_eq!(signed["missing"], 1);
    assert_eq!(signed["signed_by"].as_array().unwrap().len(), 1);
    assert_eq!(
        signed["digest"], shown["digest"],
        "the same for every signer"
    );
    // Once more adds nothing.
    let again = offline.json(&line);
    assert_eq!(
        (&again["missing"], &again["signed_by"]),
        (&1.into(), &Value::Array(vec![]))
    );
    lab.write("staged/targets.json", offline.read("staged/targets.json"));

    let text = lab.ok(&sign("targets", &["--key", "bob.key"]));
    assert!(text.ends_with("\nall signatures are there\n"), "{text}");
    let published = lab.json(&PUBLISH);
    assert_eq!(
        (&published["existed"], &published["targets"]),
        (&false.into(), &6.into())
    );
    let client = lab.load(Safe);
    for name in client.targets() {
        client.fetch(&name);
    }
    assert_eq!(client.manifest().updates.len(), 1);

    // The same command after a crash that only lost its answer.
    let again = lab.json(&PUBLISH);
    assert_eq!(
        (&again["existed"], &again["expires"]),
        (&true.into(), &Value::Null)
    );

    // And the next version.
    fs::remove_dir_all(lab.path("staged")).unwrap();
    lab.images(2);
    prepare(&lab, "1.1.0");
    lab.ok(&sign(
        "targets",
        &["--key", "carol.key", "--key", "bob.key"],
    ));
    lab.ok(&PUBLISH);
    assert_eq!(lab.load(Safe).manifest().updates.len(), 2);
}

#[test]
fn a_key_that_is_at_hand_signs_when_the_release_is_prepared() {
    let lab = signers();
    fs::copy(lab.path("alice.key"), lab.path("keys/targets.key")).unwrap();
    let text = lab.ok(&[&release_line("1.0.0")[..], &["--prepare", "staged"]].concat());
    assert!(
        text.contains("\nprepared, not published: demo x86_64 1.0.0 "),
        "{text}"
    );
    assert!(
        text.contains("\nstaged: 1 targets signature(s) missing, digest "),
        "{text}"
    );
    lab.ok(&sign("targets", &["--key", "bob.key"]));
    lab.ok(&PUBLISH);
    lab.load(Safe);
}

#[test]
fn snapshot_and_timestamp_can_have_signers_of_their_own() {
    let lab = Lab::publisher_with(
        &["--snapshot-keys", "2", "--timestamp-keys", "2"],
        &["--snapshot-threshold", "2", "--timestamp-threshold", "2"],
    );
    for name in ["snapshot-2", "timestamp-2"] {
        let from = lab.path(&format!("keys/{name}.key"));
        fs::rename(from, lab.path(&format!("{name}.key"))).unwrap();
    }
    assert_eq!(prepare(&lab, "1.0.0")["staged"]["missing"], 0);
    lab.updata(&PUBLISH).ends_with(
        4,
        "updata: the snapshot role lacks 1 signature(s); give more keys, or let the others run \
         `updata sign --staged staged --role snapshot`",
    );
    assert!(!lab.path("repo/demo/x86_64/timestamp.json").exists());
    assert_eq!(
        lab.json(&sign("snapshot", &["--key", "snapshot-2.key"]))["missing"],
        1
    );
    assert_eq!(
        lab.json(&sign("snapshot", &["--keys", "keys"]))["missing"],
        0
    );
    assert_eq!(
        lab.json(&sign("timestamp", &["--key", "timestamp-2.key"]))["missing"],
        1
    );
    // The last signature comes from the publisher, who sees to the order.
    lab.ok(&PUBLISH);
    let client = lab.load(Safe);
    for valid in [
        client.repository.snapshot().signatures.len(),
        client.repository.timestamp().signatures.len(),
    ] {
        assert_eq!(valid, 2);
    }
}

#[test]
fn a_daily_refresh_is_not_in_the_way_of_a_release_that_waits() {
    let lab = signers();
    prepare(&lab, "1.0.0");
    lab.ok(&sign(
        "targets",
        &["--key", "alice.key", "--key", "bob.key"],
    ));
    lab.ok(&PUBLISH);
    fs::remove_dir_all(lab.path("staged")).unwrap();
    lab.images(2);
    prepare(&lab, "1.1.0");
    let refresh = [
        "refresh",
        "--repo",
        "repo",
        "--root-role",
        "root.json",
        "--keys",
        "keys",
    ];
    lab.ok(&refresh);
    lab.ok(&sign(
        "targets",
        &["--key", "alice.key", "--key", "bob.key"],
    ));
    lab.ok(&refresh);
    lab.ok(&PUBLISH);
    assert_eq!(lab.load(Safe).manifest().updates.len(), 2);
}
