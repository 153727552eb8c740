//! root rotate, root publish: what is refused. Nothing refused changes anything.

use std::fs;

use chrono::TimeDelta;
use updog::publish::keyring::KeyArgs;
use updog::publish::period::Period;
use updog::publish::release::lock::PublisherLock;
use updog::publish::root_rotate::{self, RootRotateArgs};

use super::lab::{Lab, release_line};
use super::rotation::{REPLACE_ALL, publish, published, rotate};

#[test]
fn what_is_no_next_root_role_is_refused() {
    let lab = published();
    let inspected = lab.json(&["inspect", "repo/demo/x86_64"]);
    let root = inspected["folders"][0]["roles"][0]["keys"][0]["key_id"]
        .as_str()
        .unwrap();
    let remove = format!("root={root}");
    for (more, code, message) in [
        (
            vec!["--add", "targets=keys/targets.key"],
            4,
            "keys/targets.key is a targets key already; name each key once",
        ),
        (
            vec!["--add", "targets=keys/snapshot.key"],
            4,
            "keys/snapshot.key would be a targets key and a snapshot key; \
             every role needs keys of its own",
        ),
        (
            vec!["--remove", "targets=0123456789"],
            1,
            "the root role names no targets key 0123456789; `updata inspect` lists them",
        ),
        (
            vec!["--remove", &remove],
            1,
            "1 of the root keys would have to sign and there would be 0; \
             give more keys by --add root=FILE, or a lower threshold",
        ),
        (
            vec!["--targets-threshold", "2"],
            1,
            "2 of the targets keys would have to sign and there would be 1; \
             give more keys by --add targets=FILE, or a lower threshold",
        ),
        (
            vec!["--key", "targets=keys/targets.key"],
            1,
            "--key targets=keys/targets.key is not needed: this verb does not sign the targets role",
        ),
    ] {
        let line = rotate(&[&["--keys", "keys"], &more[..]].concat());
        lab.updata(&line)
            .ends_with(code, &format!("updata: {message}"));
        assert!(!lab.path("root-2.json").exists());
    }
    lab.updata(&rotate(&["--remove", "targets=0123"]))
        .says(2, "is not ROLE=ID");
    lab.write("root-2.json", "mine");
    lab.updata(&rotate(&["--keys", "keys"])).ends_with(
        4,
        "updata: root-2.json exists and is not overwritten; choose another name",
    );
}

#[test]
fn what_must_not_be_published_leaves_the_repository_alone() {
    let lab = published();
    lab.ok(&rotate(&[&["--keys", "keys"], &REPLACE_ALL[..]].concat()));
    let before = lab.snapshot();
    lab.updata(&publish(&["--keys", "keys"])).ends_with(
        4,
        "updata: nothing was written, since repo/demo/x86_64 cannot follow: root-2.json names other \
         targets keys than before, and 1 signature(s) of them are missing; give the keys by --keys or --key targets=FILE",
    );
    let lock = PublisherLock::take(&lab.path("repo")).unwrap();
    lab.updata(&publish(&["--keys", "new"])).ends_with(
        4,
        "updata: another updata is publishing to repo; run again when it is done",
    );
    drop(lock);
    let same = publish(&["--keys", "new"]).into_iter();
    let same: Vec<_> = same
        .map(|word| {
            if word == "root-2.json" {
                "root.json"
            } else {
                word
            }
        })
        .collect();
    lab.updata(&same).ends_with(
        4,
        "updata: root.json is version 1, root.json is version 1; publish one version after the other",
    );

    // Signed by itself, but not by the old root key.
    lab.write("mine.json", lab.read("root.json"));
    lab.next_root(1, "new");
    fs::rename(lab.path("root.json"), lab.path("strange.json")).unwrap();
    fs::rename(lab.path("mine.json"), lab.path("root.json")).unwrap();
    let strange = publish(&["--keys", "new"]).into_iter();
    let strange: Vec<_> = strange
        .map(|word| {
            if word == "root-2.json" {
                "strange.json"
            } else {
                word
            }
        })
        .collect();
    lab.updata(&strange).says(
        4,
        "updata: hosts would not accept strange.json: it is not signed by enough root keys of root.json; ",
    );

    // Another root role lies in the repository than the publisher's own copy.
    let own = lab.read("repo/demo/x86_64/1.root.json");
    lab.write("repo/demo/x86_64/1.root.json", lab.read("strange.json"));
    lab.updata(&publish(&["--keys", "new"])).ends_with(
        4,
        "updata: nothing was written, since repo/demo/x86_64 cannot follow: root.json is not the \
         root role that is published as repo/demo/x86_64/1.root.json; \
         give the one that is",
    );
    lab.write("repo/demo/x86_64/1.root.json", own);
    lab.write("repo/demo/x86_64/4.root.json", "newer");
    lab.updata(&publish(&["--keys", "new"])).ends_with(
        4,
        "updata: nothing was written, since repo/demo/x86_64 cannot follow: \
         repo/demo/x86_64 has a root role of version 4; publish every version after the other",
    );
    fs::remove_file(lab.path("repo/demo/x86_64/4.root.json")).unwrap();
    assert!(lab.snapshot() == before);
    lab.updata(
        &publish(&["--keys", "new"])
            .iter()
            .map(|word| if *word == "repo" { "keys" } else { word })
            .collect::<Vec<_>>(),
    )
    .ends_with(1, "updata: nothing is published in keys");
}

#[test]
fn an_expired_root_role_can_be_renewed_but_not_published() {
    let now = updog::clock::now();
    let lab = Lab::publisher(now);
    lab.ok(&release_line("1.0.0"));
    let mut args = RootRotateArgs {
        root_role: lab.path("root.json"),
        out: lab.path("root-2.json"),
        keys: KeyArgs::folder(lab.path("keys")),
        add: vec![],
        replace: vec![],
        remove: vec![],
        threshold: None,
        targets_threshold: None,
        snapshot_threshold: None,
        timestamp_threshold: None,
        expires: Period::weeks(1),
        partial: false,
    };
    root_rotate::run(&args, now - TimeDelta::weeks(2)).unwrap();
    lab.updata(&publish(&[]))
        .says(4, "updata: the root role root-2.json expired at ");
    // Long after both ran out.
    args.out = lab.path("later.json");
    let later = root_rotate::run(&args, now + TimeDelta::weeks(100)).unwrap();
    assert_eq!((later.missing_old, later.missing_new), (0, 0));
}
