//! root publish: a publisher that stops halfway, and clients that come at any moment.

use std::collections::BTreeMap;
use std::fs;

use chrono::TimeDelta;
use tough::ExpirationEnforcement::Safe;
use updog::publish::keyring::KeyArgs;
use updog::publish::period::Period;
use updog::publish::refresh::ExpiryArgs;
use updog::publish::root_publish::{self, RootPublishArgs};

use super::lab::{Lab, Published};
use super::rotation::{assert_followed, publish, published, rotate};

const SIGNED: [&str; 6] = [
    "--keys",
    "keys",
    "--key",
    "timestamp=new/timestamp.key",
    "--key",
    "targets=new/targets.key",
];

/// A rotation of targets and timestamp keys that is ready to be published; the repository before.
fn rotated() -> (Lab, BTreeMap<String, Vec<u8>>) {
    let lab = published();
    lab.ok(&rotate(&[
        "--keys",
        "keys",
        "--replace",
        "timestamp=new/timestamp.key",
        "--replace",
        "targets=new/targets.key",
    ]));
    let before = lab.snapshot();
    (lab, before)
}

/// The files of demo that a publisher wrote, without and with each: all moments of its work, which
/// are told apart by how many of the files in `order` are there.
fn moments(lab: &Lab, before: &BTreeMap<String, Vec<u8>>, order: &[String]) -> Vec<bool> {
    let after = lab.snapshot();
    let mut valid = Vec::new();
    for written in 0..=order.len() {
        for (at, path) in order.iter().enumerate() {
            match (at < written, before.get(path)) {
                (true, _) => lab.write(path, &after[path]),
                (false, Some(old)) => lab.write(path, old),
                (false, None) => {
                    let _ = fs::remove_file(lab.path(path));
                }
            }
        }
        let ok = ["root.json", "root-2.json"]
            .map(|root| Published::load_from(&lab.path("."), root, "demo", Safe).is_ok());
        // Who has the new root role already came from a folder that had it.
        let reached = after
            .keys()
            .any(|path| path == "repo/demo/x86_64/2.root.json")
            && lab.path("repo/demo/x86_64/2.root.json").exists();
        valid.push(ok[0] && (ok[1] || !reached));
    }
    valid
}

fn order(lab: &Lab, before: &BTreeMap<String, Vec<u8>>, names: [&str; 4]) -> Vec<String> {
    let new: Vec<String> = lab
        .snapshot()
        .into_iter()
        .filter(|(path, bytes)| path.starts_with("repo/demo/") && before.get(path) != Some(bytes))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(new.len(), 4, "{new:?}");
    names
        .iter()
        .map(|name| {
            new.iter()
                .find(|path| path.ends_with(name))
                .unwrap()
                .clone()
        })
        .collect()
}

#[test]
fn with_the_old_keys_at_hand_clients_find_a_valid_repository_at_every_moment() {
    let (lab, before) = rotated();
    lab.ok(&publish(&SIGNED));
    let order = order(
        &lab,
        &before,
        [
            ".targets.json",
            ".snapshot.json",
            "timestamp.json",
            "2.root.json",
        ],
    );
    assert_eq!(moments(&lab, &before, &order), [true; 5]);
}

#[test]
fn without_them_there_is_the_one_moment_that_the_readme_tells_of() {
    let (lab, before) = rotated();
    fs::rename(lab.path("keys/timestamp.key"), lab.path("stolen.key")).unwrap();
    let out = lab.json(&publish(&SIGNED));
    assert_eq!(out["folders"][0]["seamless"], false);
    let order = order(
        &lab,
        &before,
        [
            ".targets.json",
            ".snapshot.json",
            "2.root.json",
            "timestamp.json",
        ],
    );
    assert_eq!(
        moments(&lab, &before, &order),
        [true, true, true, false, true]
    );
}

#[test]
fn a_stop_anywhere_is_finished_by_the_same_command() {
    for names in [
        [
            ".targets.json",
            ".snapshot.json",
            "timestamp.json",
            "2.root.json",
        ],
        [
            ".targets.json",
            ".snapshot.json",
            "2.root.json",
            "timestamp.json",
        ],
    ] {
        let (lab, before) = rotated();
        let seamless = names[3] == "2.root.json";
        if !seamless {
            fs::rename(lab.path("keys/timestamp.key"), lab.path("stolen.key")).unwrap();
        }
        let line = publish(&SIGNED);
        lab.ok(&line);
        let order = order(&lab, &before, names);
        for written in 0..4 {
            // The first folder got so many files, the second none.
            let after = lab.snapshot();
            for path in after
                .keys()
                .filter(|path| !path.starts_with("repo/targets/"))
            {
                let kept = order[..written].contains(path);
                match before.get(path) {
                    _ if kept => {}
                    Some(old) => lab.write(path, old),
                    None => fs::remove_file(lab.path(path)).unwrap(),
                }
            }
            lab.write("repo/demo/x86_64/.updata-a1B2c3", "half a file");
            lab.ok(&line);
            assert_followed(&lab);
            fs::remove_file(lab.path("repo/demo/x86_64/.updata-a1B2c3")).ok();
            // The next round starts from the files of the first one.
            for (path, bytes) in &after {
                lab.write(path, bytes);
            }
            for path in lab
                .snapshot()
                .into_keys()
                .filter(|path| !after.contains_key(path))
            {
                fs::remove_file(lab.path(&path)).unwrap();
            }
        }
    }
}

#[test]
fn a_rename_that_fails_leaves_every_folder_old_or_new() {
    let (lab, _) = rotated();
    let now = updog::clock::now() + TimeDelta::hours(1);
    let week = Period::weeks(1);
    let args = RootPublishArgs {
        repo: lab.path("repo"),
        root_role: lab.path("root-2.json"),
        old_root: lab.path("root.json"),
        keys: KeyArgs::folder(lab.path("new")),
        expires: ExpiryArgs {
            expires_targets: week,
            expires_snapshot: week,
            expires_timestamp: week,
        },
    };
    fs::copy(lab.path("keys/snapshot.key"), lab.path("new/snapshot.key")).unwrap();
    // A folder where the file should go makes the rename fail, as a full disk would.
    let name = format!("repo/other/x86_64/{}.snapshot.json", now.timestamp());
    fs::create_dir(lab.path(&name)).unwrap();
    let error = root_publish::run(&args, now).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is not a regular file and is not replaced",
            lab.path(&name).display()
        )
    );
    for (variant, version) in [("demo", 2), ("other", 1)] {
        let client = Published::load_from(&lab.path("."), "root.json", variant, Safe).unwrap();
        assert_eq!(client.repository.root().signed.version.get(), version);
    }
    fs::remove_dir(lab.path(&name)).unwrap();
    let outcome = root_publish::run(&args, now).unwrap();
    let existed: Vec<_> = outcome.folders.iter().map(|f| f.existed).collect();
    assert_eq!(existed, [true, false]);
    assert_followed(&lab);
}
