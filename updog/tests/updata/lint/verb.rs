//! What `lint` looks at, what it counts, and what it cannot read; and what a release tells of it.

use std::fs;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tough::ExpirationEnforcement::Safe;

use super::{files, forged, lint, now, published, told, with_root};
use crate::forge::Forge;
use crate::lab::{Lab, pattern, release_line};

#[test]
fn an_expired_repository_is_an_error_and_one_that_soon_is_a_warning() {
    let lab = Lab::publisher(now() - TimeDelta::days(51 * 7 + 1));
    lab.release_at("1.0.0", now() - TimeDelta::days(8)).unwrap();
    let run = lint(&lab, "");
    let (rules, problems) = told(&run);
    // The root role has less than a week, the timestamp is gone.
    assert_eq!(
        (run.code, rules),
        (
            4,
            vec![
                "expired".to_owned(),
                "expires-soon".to_owned(),
                "expires-soon".to_owned(),
                "expires-soon".to_owned()
            ]
        ),
        "{problems}"
    );
    assert!(problems.starts_with("timestamp expired at "), "{problems}");
    let lenient = lint(&lab, "--horizon 1h --allow expired");
    assert_eq!((lenient.code, told(&lenient).0), (0, vec![]));
}

#[test]
fn a_release_that_expires_soon_or_out_of_order_is_published_with_a_warning() {
    let lab = Lab::publisher(now());
    let more = [
        "--expires-timestamp",
        "36h",
        "--expires-targets",
        "24h",
        "--json",
    ];
    let run = lab.updata(&[&release_line("1.0.0")[..], &more].concat());
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        told(&run).0,
        ["expires-soon", "expiry-order", "expires-soon"],
        "{run:?}"
    );
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    assert!(lines[0].starts_with("updata: warning expires-soon: repo/demo/x86_64: "));
    assert!(lines[0].ends_with(
        "(hosts: when it has expired, every host refuses the repository; do: sign it again in time)"
    ));
    lab.load(Safe);
}

#[test]
fn one_root_key_is_warned_of_until_it_is_allowed() {
    let lab = Lab::publisher(now());
    let line: Vec<_> = release_line("1.0.0")
        .into_iter()
        .filter(|word| !matches!(*word, "--allow" | "root-threshold"))
        .collect();
    let run = lab.updata(&line);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.starts_with(
            "updata: warning root-threshold: repo/demo/x86_64: one root key is enough"
        ),
        "{run:?}"
    );
    let text = lab.ok(&["lint", "repo"]);
    assert_eq!(
        text,
        "warning root-threshold: repo/demo/x86_64: one root key is enough to sign a root role\n    \
         hosts: whoever has that one root key can replace every key; whoever loses it can replace \
         none\n    do:    make more root keys, and demand two or more of them\n\
         0 error(s), 1 warning(s) in 1 metadata folder(s) with 1 update(s) and 6 target(s), "
            .to_owned()
            + &format!(
                "{} bytes of them read\n",
                lab.read(&Forge::of(&lab).file("demo-x86_64-1.0.0-boot.ext4.lz4"))
                    .len()
            )
    );
    let out = lab.json(&["lint", "repo", "--allow", "root-threshold"]);
    assert_eq!(
        (&out["warnings"], &out["findings"][0]["allowed"]),
        (&json!(0), &json!(true))
    );
    lab.updata(&["lint", "repo", "--allow", "root"])
        .says(2, "'root' is no rule");
}

#[test]
fn versions_that_only_a_third_one_joins_are_not_published() {
    let lab = published();
    forged(&lab, |forge| forge.manifest["migrations"] = json!({}));
    let before = files(&lab);
    // From 1.0.0 hosts get to 1.2.0, and not to 1.1.0, which its waves may reach first.
    let both = ["--migration", "1.0.0:1.2.0", "--migration", "1.1.0:1.2.0"];
    let line = [&release_line("1.2.0")[..], &both].concat();
    lab.updata(&line).says(
        4,
        "updata: error migration-path: demo x86_64 1.1.0: no migrations lead from 1.0.0 to 1.1.0",
    );
    assert!(files(&lab) == before);
    lab.ok(&[&line[..], &["--allow", "migration-path"]].concat());
}

#[test]
fn delegated_targets_are_an_error() {
    let lab = published();
    forged(&lab, |forge| forge.delegate("other"));
    let run = lint(&lab, "");
    assert_eq!(
        (run.code, told(&run).0),
        (4, vec!["delegations".to_owned()])
    );
    lab.updata(&release_line("1.2.0"))
        .says(1, "delegate targets to other roles");
}

#[test]
fn a_repository_without_consistent_snapshots_is_read_and_warned_of() {
    let lab = published();
    forged(&lab, |_| {});
    with_root(&lab, |forge| forge.root.consistent_snapshot = false);
    for name in lab.names("repo/targets") {
        let (_, plain) = name.split_once('.').unwrap();
        fs::rename(
            lab.path(&format!("repo/targets/{name}")),
            lab.path(&format!("repo/targets/{plain}")),
        )
        .unwrap();
    }
    let run = lint(&lab, "--deep");
    assert_eq!(
        (run.code, told(&run).0),
        (0, vec!["consistent-snapshot".to_owned()]),
        "{run:?}"
    );
}

#[test]
fn metadata_larger_than_hosts_read_are_not_published() {
    let lab = published();
    forged(&lab, |forge| {
        // Room for less than the targets of a release.
        let now = serde_json::to_vec_pretty(&forge.targets).unwrap().len();
        let padding = json!("x".repeat((10 << 20) - now - 750));
        forge.targets._extra.insert("padding".to_owned(), padding);
    });
    assert_eq!(lint(&lab, "").code, 0);
    let old = lab.load(Safe).version();
    let run = lab.updata(&release_line("1.2.0"));
    run.says(4, ".targets.json has ");
    run.says(4, " bytes, hosts read 10485760; nothing was published");
    assert_eq!(lab.load(Safe).version(), old);
}

#[test]
fn an_image_that_outgrew_its_partition_is_not_published() {
    let lab = published();
    let boot = [&lab.read("boot.img")[..], &vec![0; 20 << 20]].concat();
    lab.write("boot.img", boot);
    let before = files(&lab);
    let line = [&release_line("1.2.0")[..], &["--os-image-size-gib", "1"]].concat();
    let run = lab.updata(&line);
    run.says(
        4,
        "updata: error image-size: demo x86_64 1.2.0: the boot image has ",
    );
    assert!(files(&lab) == before);
    let larger = [&release_line("1.2.0")[..], &["--os-image-size-gib", "2"]].concat();
    lab.ok(&larger);
}

#[test]
fn waves_in_the_past_are_warned_of_only_when_they_are_published() {
    let lab = published();
    lab.write(
        "waves.toml",
        "[[waves]]\nstart_after = '1 hour'\nfleet_percentage = 100\n",
    );
    let more = [
        "--waves",
        "waves.toml",
        "--wave-start",
        "2025-03-01T01:00:00Z",
    ];
    let run = lab.updata(&[&release_line("1.2.0")[..], &more].concat());
    run.says(
        0,
        "updata: warning wave-time: demo x86_64 1.2.0: the last wave started at 2025-",
    );
    assert_eq!(told(&lint(&lab, "--allow file-unlisted")).0, [""; 0]);
}

#[test]
fn a_boot_image_without_the_root_hash_is_recorded_as_allowed() {
    let lab = published();
    lab.write("boot.img", pattern(70_000, 1));
    for option in [&["--no-verity-check"][..], &["--allow", "boot-root-hash"]] {
        let version = if option.len() == 1 { "1.2.0" } else { "1.3.0" };
        let out = lab.json(&[&release_line(version)[..], option].concat());
        let finding = &out["findings"][0];
        assert_eq!(
            (&finding["rule"], &finding["allowed"]),
            (&json!("boot-root-hash"), &json!(true))
        );
        assert_eq!(finding["about"]["version"], version);
    }
    assert_eq!(
        told(&lint(&lab, "--allow file-unlisted")).0,
        ["boot-root-hash"; 2]
    );
}

#[test]
fn one_metadata_folder_can_be_looked_at_and_files_of_others_are_not_its_business() {
    let lab = published();
    let other: Vec<_> = release_line("2.0.0")
        .into_iter()
        .map(|word| if word == "demo" { "other" } else { word })
        .collect();
    lab.ok(&other);
    let out: Value = serde_json::from_str(&lint(&lab, "").stdout).unwrap();
    assert_eq!(
        (&out["folders"], &out["updates"], &out["targets"]),
        (&json!(2), &json!(3), &json!(17))
    );
    assert_eq!(out["errors"], 0, "{out}");
    for folder in ["repo/demo/x86_64", "repo/other/x86_64/"] {
        let out = lab.json(&["lint", folder, "--allow", "root-threshold", "--deep"]);
        assert_eq!(
            (&out["folders"], &out["warnings"]),
            (&json!(1), &json!(0)),
            "{out}"
        );
    }
    // From inside, where the path has no parents to look at.
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_updata"))
        .args(["lint", "x86_64", "--deep"])
        .current_dir(lab.path("repo/demo"))
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn what_cannot_be_read_or_verified_is_a_failure_and_no_finding() {
    let lab = published();
    fs::create_dir(lab.path("empty")).unwrap();
    lab.updata(&["lint", "empty"]).ends_with(
        1,
        "updata: empty is no repository: there is no timestamp.json in it, nor in any VARIANT/ARCH \
         of it",
    );
    lab.updata(&["lint", "absent"])
        .says(1, "updata: reading absent: ");
    lab.ok(&["keys", "new", "--out", "strangers"]);
    lab.ok(&["root", "new", "--keys", "strangers", "--out", "other.json"]);
    lab.updata(&["lint", "repo", "--root-role", "other.json"])
        .says(
            1,
            "updata: the metadata in repo/demo/x86_64 do not verify against other.json: ",
        );
    assert_eq!(lint(&lab, "--root-role root.json").code, 0);
    fs::remove_file(lab.path("repo/demo/x86_64/1.root.json")).unwrap();
    lab.updata(&["lint", "repo"]).ends_with(
        1,
        "updata: repo/demo/x86_64 has no N.root.json; give --root-role",
    );
}

#[test]
fn a_target_that_two_folders_list_is_read_once() {
    let lab = published();
    let whole: u64 = lab
        .names("repo/targets")
        .iter()
        .map(|name| {
            fs::metadata(lab.path(&format!("repo/targets/{name}")))
                .unwrap()
                .len()
        })
        .sum();
    let out: Value = serde_json::from_str(&lint(&lab, "--deep").stdout).unwrap();
    assert_eq!(out["bytes_read"], whole);
    // The same product under another name of its folder.
    fs::create_dir(lab.path("repo/copy")).unwrap();
    fs::create_dir(lab.path("repo/copy/x86_64")).unwrap();
    for name in lab.names("repo/demo/x86_64") {
        let from = lab.path(&format!("repo/demo/x86_64/{name}"));
        fs::copy(from, lab.path(&format!("repo/copy/x86_64/{name}"))).unwrap();
    }
    let out: Value = serde_json::from_str(&lint(&lab, "--deep").stdout).unwrap();
    assert_eq!(
        (&out["folders"], &out["bytes_read"]),
        (&json!(2), &json!(whole)),
        "{out}"
    );
}
