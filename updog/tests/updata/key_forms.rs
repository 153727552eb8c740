//! Keys of every kind, given in every way.

use std::fs;

use tough::ExpirationEnforcement::Safe;

use super::lab::{Lab, release_line};

#[test]
fn every_kind_of_key_signs_a_whole_release() {
    for (kind, more) in [
        ("ed25519", &[][..]),
        ("ecdsa", &[]),
        ("rsa", &[]),
        ("rsa", &["--rsa-bits", "4096"]),
    ] {
        let lab = Lab::publisher_with(&[&["--type", kind], more].concat(), &[]);
        lab.ok(&release_line("1.0.0"));
        assert_eq!(lab.load(Safe).targets().len(), 6, "{kind} {more:?}");
        let inspected = lab.json(&["inspect", "repo"]);
        for role in inspected["folders"][0]["roles"].as_array().unwrap() {
            assert_eq!(role["keys"][0]["key_type"], kind);
            assert_eq!(role["valid"], 1, "{role}");
        }
    }
    let lab = Lab::new();
    for (more, part) in [
        (["--type", "dsa"], "--type"),
        (["--rsa-bits", "2048"], "--rsa-bits"),
    ] {
        let line = [&["keys", "new", "--out", "keys"][..], &more].concat();
        lab.updata(&line).says(2, part);
    }
}

#[test]
fn single_keys_and_one_of_them_from_stdin_sign_as_a_folder_does() {
    let lab = Lab::publisher(updog::clock::now());
    let line: Vec<_> = release_line("1.0.0")
        .into_iter()
        .filter(|word| !["--keys", "keys"].contains(word))
        .chain(["--key", "targets=keys/targets.key"])
        .chain(["--key", "snapshot=keys/snapshot.key"])
        .chain(["--key", "timestamp=-"])
        .collect();
    lab.updata(&line)
        .says(1, "updata: - is not a private key in PKCS#8");
    let run = lab.updata_with(&line, &lab.read("keys/timestamp.key"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    lab.load(Safe);
    assert_eq!(
        lab.names("."),
        [
            "boot.img",
            "hash.img",
            "keys",
            "repo",
            "root.img",
            "root.json"
        ],
        "stdin is written nowhere"
    );

    // What stdin has beyond any key is not read into memory.
    let run = lab.updata_with(&line, &vec![b'k'; 1 << 20]);
    run.says(1, "updata: reading the key -: it has more than 65536 bytes");
    let twice = [&line[..], &["--key", "targets=-"]].concat();
    lab.updata(&twice)
        .says(2, "stdin holds one key: give `-` only once");
    let root = [&line[..], &["--key", "root=keys/root.key"]].concat();
    lab.updata(&root).ends_with(
        1,
        "updata: --key root=keys/root.key is not needed: this verb does not sign the root role",
    );
    lab.updata(&line[..line.len() - 4]).ends_with(
        4,
        "updata: the command line has too few of the snapshot keys that root.json names; give --keys a folder with \
         snapshot*.key, or --key snapshot=FILE, or --prepare a folder for others to sign with \
         `updata sign`",
    );
    lab.updata(&line[..line.len() - 6]).says(2, "--keys");
    let bad = [&line[..], &["--key", "keys/targets.key"]].concat();
    lab.updata(&bad).says(2, "is not ROLE=FILE");
}

#[test]
fn a_root_role_names_keys_whose_private_half_is_elsewhere() {
    let lab = Lab::new();
    lab.ok(&["keys", "new", "--out", "keys"]);
    for name in ["alice", "bob"] {
        lab.ok(&["keys", "new", "--out", name, "--type", "ecdsa"]);
    }
    let text = lab.ok(&["keys", "public", "alice/root.key"]);
    let out = lab.json(&["keys", "public", "alice/root.key", "--out", "alice.pub"]);
    assert_eq!(lab.read_text("alice.pub"), text);
    assert_eq!(
        (&out["key_type"], &out["out"]),
        (&"ecdsa".into(), &"alice.pub".into())
    );
    lab.updata(&["keys", "public", "alice/root.key", "--out", "alice.pub"])
        .ends_with(
            4,
            "updata: alice.pub exists and is not overwritten; choose another name",
        );
    // The public half of a public key is itself.
    assert_eq!(lab.ok(&["keys", "public", "alice.pub"]), text);
    lab.write("no.pub", "no key");
    lab.updata(&["keys", "public", "no.pub"])
        .says(1, "no.pub is not a public key");

    let new = [
        "root",
        "new",
        "--keys",
        "keys",
        "--public",
        "root=alice.pub",
        "--public",
        "root=bob/root.key",
        "--threshold",
        "2",
        "--out",
        "root.json",
    ];
    lab.updata(&new).ends_with(
        4,
        "updata: 1 root signature(s) would be missing; give more root keys, or write it with \
         --partial and let the others run `updata sign --role root`",
    );
    assert!(!lab.path("root.json").exists());
    // Of bob the private key was given, but as a public one it does not sign here either.
    fs::rename(lab.path("bob/root.key"), lab.path("bob.key")).unwrap();
    lab.ok(&["keys", "public", "bob.key", "--out", "bob.pub"]);
    let new = new.map(|word| {
        if word == "root=bob/root.key" {
            "root=bob.pub"
        } else {
            word
        }
    });
    let out = lab.json(&[&new[..], &["--partial"]].concat());
    assert_eq!((&out["missing"], &out["threshold"]), (&1.into(), &2.into()));
    lab.images(1);
    lab.updata(&release_line("1.0.0")).says(
        1,
        "updata: the root role root.json is not signed by as many of its own keys as it demands",
    );
    let sign = [
        "sign",
        "--role",
        "root",
        "--staged",
        "root.json",
        "--key",
        "bob.key",
    ];
    let out = lab.json(&sign);
    assert_eq!(out["missing"], 0);
    lab.ok(&release_line("1.0.0"));
    lab.load(Safe);

    lab.updata(&[
        "root",
        "new",
        "--keys",
        "keys",
        "--public",
        "root=keys/targets.key",
        "--out",
        "other.json",
    ])
    .says(1, "hold the same key; every role needs keys of its own");
}

#[test]
fn each_role_can_have_several_keys_and_a_threshold() {
    let lab = Lab::new();
    let keys = lab.json(&[
        "keys",
        "new",
        "--out",
        "keys",
        "--root-keys",
        "2",
        "--targets-keys",
        "3",
        "--snapshot-keys",
        "2",
        "--timestamp-keys",
        "2",
    ]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 9);
    let new = [
        "root",
        "new",
        "--keys",
        "keys",
        "--out",
        "root.json",
        "--threshold",
        "2",
        "--targets-threshold",
        "3",
        "--snapshot-threshold",
        "2",
        "--timestamp-threshold",
        "2",
    ];
    lab.ok(&new);
    lab.images(1);
    // All keys are in one folder here, so a release needs nobody else.
    lab.ok(&release_line("1.0.0"));
    let inspected = lab.json(&["inspect", "repo"]);
    let roles = inspected["folders"][0]["roles"].as_array().unwrap();
    let valid: Vec<_> = roles
        .iter()
        .map(|role| {
            (
                role["role"].as_str().unwrap(),
                role["valid"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        valid,
        [
            ("root", 2),
            ("targets", 3),
            ("snapshot", 2),
            ("timestamp", 2)
        ]
    );
    let too_many = [&new[..5], &["other.json", "--targets-threshold", "4"]].concat();
    lab.updata(&too_many).ends_with(
        1,
        "updata: a threshold of 4 needs as many targets keys, keys has 3; \
         make them with `updata keys new --targets-keys 4`",
    );
    lab.updata(&[&new[..5], &["root.json"]].concat())
        .says(4, "root.json exists");
}
