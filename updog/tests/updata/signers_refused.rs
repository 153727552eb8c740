//! release --prepare, sign, publish: what is refused. Nothing refused changes anything.

use std::fs;

use chrono::TimeDelta;
use tough::ExpirationEnforcement::Safe;
use updog::publish::keyring::KeyArgs;
use updog::publish::publish_staged::{self, PublishArgs};
use updog::publish::release::lock::PublisherLock;

use super::lab::{Lab, release_line};
use super::rotation::rotate;
use super::signers::{PUBLISH, prepare, sign, signers};

/// Prepared and signed by two, not published.
fn signed() -> Lab {
    let lab = signers();
    prepare(&lab, "1.0.0");
    lab.ok(&sign(
        "targets",
        &["--key", "alice.key", "--key", "bob.key"],
    ));
    lab
}

/// `other.json`, of the same root key but another one.
fn other_root(lab: &Lab) {
    let line = [
        "root",
        "new",
        "--keys",
        "keys",
        "--key",
        "targets=alice.key",
        "--out",
    ];
    lab.ok(&[&line[..], &["other.json"]].concat());
}

#[test]
fn a_release_that_others_must_sign_too_points_to_prepare() {
    let lab = signers();
    fs::copy(lab.path("alice.key"), lab.path("keys/targets.key")).unwrap();
    lab.updata(&release_line("1.0.0")).ends_with(
        4,
        "updata: 2 of the targets keys must sign and 1 are here; give more keys with --key \
         targets=FILE, or --prepare a folder for the others to sign with `updata sign`",
    );
    assert!(!lab.path("repo").exists());
    fs::create_dir_all(lab.path("staged/content")).unwrap();
    lab.updata(&[&release_line("1.0.0")[..], &["--prepare", "staged"]].concat())
        .ends_with(
            4,
            "updata: staged exists and is not empty; choose another folder",
        );
    assert!(!lab.path("repo").exists(), "found before the work");
}

#[test]
fn what_must_not_be_signed_is_not() {
    let lab = signers();
    let shown = prepare(&lab, "1.0.0");
    let digest = shown["staged"]["digest"].as_str().unwrap();
    let before = lab.read("staged/targets.json");
    let zeros = "0".repeat(64);
    for (line, code, message) in [
        (
            sign("targets", &["--key", "keys/snapshot.key"]),
            4,
            "keys/snapshot.key is not a targets key that staged/root.json names".to_owned(),
        ),
        (
            sign("targets", &["--key", "alice.key", "--key", "keys/root.key"]),
            4,
            "keys/root.key is not a targets key that staged/root.json names".to_owned(),
        ),
        (
            sign("targets", &["--keys", "keys"]),
            4,
            "no targets*.key in keys; give the folder that has one, or --key targets=FILE"
                .to_owned(),
        ),
        (
            sign("targets", &["--key", "alice.key", "--digest", &zeros]),
            4,
            format!("what would be signed has the digest {digest}, not {zeros}"),
        ),
        (
            sign("snapshot", &["--key", "keys/snapshot.key"]),
            4,
            "targets.json in staged lacks 2 signature(s); first run `updata sign --role targets` \
             on it"
                .to_owned(),
        ),
        (
            vec!["sign", "--staged", "keys", "--role", "targets"],
            1,
            "keys has no stage.json; give the folder that `updata release --prepare` made"
                .to_owned(),
        ),
    ] {
        lab.updata(&line)
            .ends_with(code, &format!("updata: {message}"));
        assert_eq!(lab.read("staged/targets.json"), before, "{line:?}");
    }
    lab.updata(&sign("mirror", &[]))
        .says(2, "'mirror' is not a role");
    lab.updata(&sign("targets", &["--key", "-", "--key", "-"]))
        .says(2, "stdin holds one key");
    fs::create_dir(lab.path("strangers")).unwrap();
    fs::copy(
        lab.path("keys/snapshot.key"),
        lab.path("strangers/targets.key"),
    )
    .unwrap();
    lab.updata(&sign("targets", &["--keys", "strangers"]))
        .ends_with(
            4,
            "updata: no targets*.key in strangers is a key that staged/root.json names",
        );

    let lock = PublisherLock::take(&lab.path("staged")).unwrap();
    lab.updata(&sign("targets", &["--key", "alice.key"]))
        .ends_with(
            4,
            "updata: another updata is publishing to staged; run again when it is done",
        );
    drop(lock);

    other_root(&lab);
    lab.updata(&sign(
        "targets",
        &["--key", "alice.key", "--root-role", "other.json"],
    ))
    .says(4, "updata: other.json is not the root role of staged");
    assert_eq!(lab.read("staged/targets.json"), before);
}

#[test]
fn a_signature_that_somebody_changed_does_not_count() {
    let lab = signers();
    prepare(&lab, "1.0.0");
    lab.ok(&sign("targets", &["--key", "alice.key"]));
    lab.ok(&sign("targets", &["--key", "bob.key"]));
    // The content changed on its way: neither signature is over this.
    let text = lab.read_text("staged/targets.json");
    lab.write(
        "staged/targets.json",
        text.replace("\"length\": ", "\"length\": 1"),
    );
    let shown = lab.json(&sign("targets", &[]));
    assert_eq!(shown["missing"], 2);
    assert_eq!(
        shown["signatures"][0]["invalid"].as_array().unwrap().len(),
        2
    );
    lab.updata(&PUBLISH).says(4, "updata: ");
    assert!(!lab.path("repo/demo").exists());
}

#[test]
fn what_the_next_role_covers_takes_no_more_signatures() {
    let lab = signed();
    lab.ok(&sign("snapshot", &["--key", "keys/snapshot.key"]));
    let before = lab.read("staged/targets.json");
    lab.updata(&sign("targets", &["--key", "carol.key"])).ends_with(
        4,
        "updata: snapshot.json in staged covers targets.json as it is, which has all signatures it \
         needs; a further one would spoil it",
    );
    assert_eq!(lab.read("staged/targets.json"), before);
    lab.ok(&sign("targets", &[]));
    lab.ok(&sign("timestamp", &["--key", "keys/timestamp.key"]));
    lab.updata(&sign("snapshot", &["--key", "keys/snapshot.key"]))
        .says(4, "timestamp.json in staged covers snapshot.json as it is");
    lab.ok(&PUBLISH[..7]);
    lab.load(Safe);
}

#[test]
fn a_release_without_its_signatures_is_not_published() {
    let lab = signers();
    prepare(&lab, "1.0.0");
    let before = lab.snapshot();
    lab.ok(&sign("targets", &["--key", "alice.key"]));
    lab.updata(&PUBLISH).ends_with(
        4,
        "updata: targets.json in staged lacks 1 signature(s); first run `updata sign --role \
         targets` on it",
    );
    assert!(lab.snapshot() == before);
}

#[test]
fn a_repository_whose_targets_moved_on_is_left_alone() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab.images(2);
    prepare(&lab, "1.1.0");
    lab.images(3);
    lab.ok(&release_line("1.2.0"));
    let before = lab.snapshot();
    lab.updata(&PUBLISH).ends_with(
        4,
        "updata: repo/demo/x86_64 has other targets than staged was prepared on; prepare the \
         release again",
    );
    assert!(lab.snapshot() == before);
}

#[test]
fn a_second_publisher_of_a_prepared_release_is_refused() {
    let lab = signed();
    let lock = PublisherLock::take(&lab.path("repo")).unwrap();
    lab.updata(&PUBLISH).ends_with(
        4,
        "updata: another updata is publishing to repo; run again when it is done",
    );
    drop(lock);
    lab.ok(&PUBLISH);
}

#[test]
fn another_root_role_than_the_signers_saw_is_refused() {
    let lab = signed();
    other_root(&lab);
    let line = PUBLISH.map(|word| {
        if word == "root.json" {
            "other.json"
        } else {
            word
        }
    });
    // Its threshold is another one, too.
    lab.updata(&line).says(
        4,
        "updata: staged was prepared under another root role than other.json",
    );
}

#[test]
fn a_target_that_is_gone_is_found_before_clients_miss_it() {
    let lab = signed();
    let names = lab.names("repo/targets");
    let root = names
        .iter()
        .find(|name| name.ends_with("root.ext4.lz4"))
        .unwrap();
    let path = format!("repo/targets/{root}");
    let content = lab.read(&path);
    for spoil in [
        (|lab: &Lab, path: &str| fs::remove_file(lab.path(path)).unwrap()) as fn(&Lab, &str),
        |lab, path| lab.write(path, "short"),
    ] {
        spoil(&lab, &path);
        lab.updata(&PUBLISH).ends_with(
            1,
            &format!(
                "updata: the target {path} is not there with {} bytes; prepare the release again",
                content.len()
            ),
        );
        assert!(!lab.path("repo/demo").exists());
    }
    lab.write(&path, content);
    lab.ok(&PUBLISH);
}

#[test]
fn signatures_that_came_too_late_are_not_published() {
    let lab = signed();
    let at = |days| {
        let args = PublishArgs {
            staged: lab.path("staged"),
            repo: lab.path("repo"),
            root_role: lab.path("root.json"),
            keys: KeyArgs::folder(lab.path("keys")),
        };
        publish_staged::run(&args, updog::clock::now() + TimeDelta::days(days))
    };
    for (days, part) in [(15, "targets.json in "), (400, "the root role ")] {
        let error = at(days).unwrap_err();
        assert!(error.is_refusal());
        let message = error.to_string();
        assert!(
            message.starts_with(part) && message.contains(" expired at "),
            "{message}"
        );
    }
    // The timestamp counts from its signing, and runs out first.
    lab.ok(&sign("snapshot", &["--keys", "keys"]));
    lab.ok(&sign("timestamp", &["--keys", "keys"]));
    let message = at(8).unwrap_err().to_string();
    assert!(
        message.starts_with("the timestamp expired at "),
        "{message}"
    );
    assert!(!lab.path("repo/demo").exists());
    at(6).unwrap();
}

#[test]
fn a_snapshot_that_a_refresh_overtook_is_signed_again() {
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
    lab.ok(&sign(
        "targets",
        &["--key", "alice.key", "--key", "bob.key"],
    ));
    lab.ok(&sign("snapshot", &["--keys", "keys"]));
    lab.ok(&sign("timestamp", &["--keys", "keys"]));
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
    lab.ok(&refresh);
    let before = lab.snapshot();
    let run = lab.updata(&PUBLISH);
    run.says(4, "updata: snapshot.json in staged is version ");
    run.says(
        4,
        "remove snapshot.json and timestamp.json from the former and sign them again",
    );
    assert!(lab.snapshot() == before);
    for name in ["snapshot.json", "timestamp.json"] {
        fs::remove_file(lab.path(&format!("staged/{name}"))).unwrap();
    }
    lab.ok(&PUBLISH);
    assert_eq!(lab.load(Safe).manifest().updates.len(), 2);
}

#[test]
fn a_prepared_folder_that_somebody_damaged_is_named() {
    let lab = signed();
    let about = lab.read_text("staged/stage.json");
    lab.write(
        "staged/stage.json",
        about.replace("\"schema\": 1", "\"schema\": 2"),
    );
    lab.updata(&PUBLISH).ends_with(
        1,
        "updata: staged/stage.json has schema 2, this updata knows 1",
    );
    lab.write(
        "staged/stage.json",
        about.replace("\"demo\"", "\"../demo\""),
    );
    lab.updata(&PUBLISH).says(
        1,
        "updata: staged/stage.json is damaged; prepare the release again: '../demo' is not a name",
    );
    lab.write("staged/stage.json", &about);
    lab.write("staged/targets.json", "{");
    lab.updata(&PUBLISH).says(
        1,
        "updata: staged/targets.json is not the metadata that its name says: ",
    );
}

#[test]
fn a_repository_that_does_not_exist_is_said_not_to() {
    let lab = signed();
    let elsewhere = |line: &[&'static str]| -> Vec<&'static str> {
        let word = |word: &&'static str| if *word == "repo" { "nowhere" } else { *word };
        line.iter().map(word).collect()
    };
    let root = "root publish --repo repo --root-role root-2.json --old-root root.json --keys keys";
    lab.ok(&rotate(&["--keys", "keys"]));
    let refresh = "refresh --repo repo --root-role root.json --keys keys";
    for line in [
        elsewhere(&PUBLISH),
        elsewhere(&refresh.split(' ').collect::<Vec<_>>()),
        elsewhere(&root.split(' ').collect::<Vec<_>>()),
    ] {
        lab.updata(&line)
            .ends_with(1, "updata: no such repository: nowhere");
    }
    assert!(!lab.path("nowhere").exists());
}

#[test]
fn a_root_role_that_was_not_made_from_the_old_one_is_not_signed() {
    let lab = Lab::publisher_with(&["--root-keys", "2"], &["--threshold", "2"]);
    lab.ok(&["keys", "new", "--out", "strangers", "--root-keys", "2"]);
    lab.ok(&["root", "new", "--keys", "strangers", "--out", "wrong.json"]);
    lab.ok(&["keys", "new", "--out", "new"]);
    let one = ["--key", "root=keys/root.key", "--partial"];
    lab.ok(&rotate(&one));
    let sign = |old: &'static str, more: &[&'static str]| {
        let line = [
            "sign",
            "--role",
            "root",
            "--staged",
            "root-2.json",
            "--old-root",
            old,
        ];
        [&line[..], more].concat()
    };
    let before = lab.read("root-2.json");
    for more in [&[][..], &["--key", "keys/root-2.key"]] {
        lab.updata(&sign("wrong.json", more)).says(
            4,
            "updata: root-2.json does not follow wrong.json: they have no key in common, and no root \
             key of the latter has signed the former; give --old-root the root role that it was made \
             from",
        );
    }
    assert_eq!(lab.read("root-2.json"), before);
    lab.ok(&sign("root.json", &["--key", "keys/root-2.key"]));

    // One that shares keys, but not the root key that has signed.
    let others = "root new --out shares.json --key root=strangers/root.key \
                  --key targets=keys/targets.key --key snapshot=keys/snapshot.key \
                  --key timestamp=keys/timestamp.key";
    lab.ok(&others.split_whitespace().collect::<Vec<_>>());
    fs::remove_file(lab.path("root-2.json")).unwrap();
    let replaced = "--keys keys --replace root=new/root.key --threshold 1 --partial";
    lab.ok(&rotate(&replaced.split(' ').collect::<Vec<_>>()));
    lab.updata(&sign("shares.json", &[]))
        .says(4, "which neither of the two names; give --old-root");

    // Every key is another one: an old root key has to sign first.
    let all = "--replace root=strangers/root.key --replace targets=new/targets.key \
               --replace snapshot=new/snapshot.key --replace timestamp=new/timestamp.key \
               --threshold 1 --partial --key root=strangers/root.key";
    fs::remove_file(lab.path("root-2.json")).unwrap();
    lab.ok(&rotate(&all.split_whitespace().collect::<Vec<_>>()));
    lab.updata(&sign("root.json", &[]))
        .says(4, "no root key of the latter has signed the former");
    lab.ok(&sign("root.json", &["--key", "keys/root.key"]));
    lab.ok(&sign("root.json", &["--key", "keys/root-2.key"]));
    let shown = lab.json(&sign("root.json", &[]));
    assert_eq!(shown["missing"], 0);
}
