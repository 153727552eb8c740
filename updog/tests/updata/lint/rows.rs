//! Each rule, broken in a published repository: what `lint` tells of it, and what a release on top
//! does.

use std::fs;

use serde_json::{Value, json};
use tough::schema::RoleType;
use tough::schema::key::Key;
use updog::publish::lint::rule::{Rule, Severity};

use super::{files, forged, lint, published, told, with_root};
use crate::forge::Forge;
use crate::lab::{Lab, release_line};

const BOOT: &str = "demo-x86_64-1.1.0-boot.ext4.lz4";
const ROOT: &str = "demo-x86_64-1.1.0-root.ext4.lz4";
const HASH: &str = "demo-x86_64-1.1.0-root.verity.lz4";
const ROOT_MAP: &str = "demo-x86_64-1.1.0-root.ext4.lz4.map.lz4";

/// Whether a release that extends the repository breaks the rule as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Closed,
    Open,
}

use Gate::{Closed, Open};

struct Row {
    rules: &'static [&'static str],
    arguments: &'static str,
    gate: Gate,
    text: &'static str,
    break_it: fn(&Lab),
}

fn updates_as(lab: &Lab, key: &str, value: &Value) {
    forged(lab, |forge| {
        for update in forge.manifest["updates"].as_array_mut().unwrap() {
            update[key] = value.clone();
        }
    });
}

fn waves(lab: &Lab, waves: Value) {
    forged(lab, |forge| forge.update()["waves"] = waves);
}

fn rename_boot(lab: &Lab, name: &str) {
    forged(lab, |forge| {
        let content = lab.read(&forge.file(BOOT));
        fs::remove_file(lab.path(&forge.file(BOOT))).unwrap();
        forge.targets.targets.remove(&BOOT.parse().unwrap());
        forge.place(name, &content);
        forge.update()["images"]["boot"] = json!(name);
    });
}

fn replace(lab: &Lab, name: &str, content: &[u8]) {
    forged(lab, |forge| {
        fs::remove_file(lab.path(&forge.file(name))).unwrap();
        forge.place(name, content);
    });
}

fn frame(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn with_file(lab: &Lab, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    let path = Forge::of(lab).file(name);
    let mut content = lab.read(&path);
    edit(&mut content);
    lab.write(&path, content);
}

const ROWS: &[Row] = &[
    Row {
        rules: &["migration-path"],
        arguments: "",
        gate: Open, // a release looks for the paths to its own version before, see below
        text: "no migrations lead from 1.0.0 to 1.1.0: from 1.0.0 they lead no further than 1.0.0",
        break_it: |lab| forged(lab, |forge| forge.manifest["migrations"] = json!({})),
    },
    Row {
        rules: &["update-twice"],
        arguments: "",
        gate: Closed,
        text: "lists this version more than once",
        break_it: |lab| {
            forged(lab, |forge| {
                let again = forge.update().clone();
                forge.manifest["updates"]
                    .as_array_mut()
                    .unwrap()
                    .push(again);
            });
        },
    },
    Row {
        rules: &["image-size", "raw-image"],
        arguments: "--os-image-size-gib 1",
        gate: Closed,
        text: "the boot image has 20971521 bytes, its partition 20971520",
        break_it: |lab| {
            forged(lab, |forge| {
                forge.update()["raw_images"]["boot"]["length"] = json!((20 << 20) + 1);
            });
        },
    },
    Row {
        rules: &["file-unlisted", "image-growth"],
        arguments: "--deep",
        gate: Open,
        text: "the boot image has 2167225 bytes, its partition 1048576",
        break_it: |lab| {
            let boot = [&lab.read("boot.img")[..], &vec![0; 2 << 20]].concat();
            lab.write("boot.img", boot);
            let run = lab.updata(&release_line("1.1.1"));
            run.says(
                0,
                "updata: warning image-growth: demo x86_64 1.1.1: the boot image has ",
            );
        },
    },
    Row {
        rules: &["boot-root-hash"],
        arguments: "",
        gate: Open, // the release that put it there was refused
        text: "the boot image does not contain the root hash 0000",
        break_it: |lab| {
            forged(lab, |forge| {
                forge.update()["verity"]["root_hash"] = json!("00".repeat(32));
            });
        },
    },
    Row {
        rules: &["verity-facts"],
        arguments: "",
        gate: Closed,
        text: "speak of a root image of 258048 bytes, it has 262144",
        break_it: |lab| {
            forged(lab, |forge| {
                forge.update()["verity"]["data_blocks"] = json!(63);
            });
        },
    },
    Row {
        rules: &["verity-facts", "verity-salt"],
        arguments: "--deep",
        gate: Open,
        text: "hashed with salt 5a17, the manifest states 64 of 4096 with 00",
        break_it: |lab| forged(lab, |forge| forge.update()["verity"]["salt"] = json!("00")),
    },
    Row {
        rules: &["verity-tree", "raw-image"],
        arguments: "--deep",
        gate: Open,
        text: "the hash image is not the tree of the root image: they differ at byte 4096",
        // The hash image of the images that lie ready.
        break_it: |lab| replace(lab, HASH, &frame(&lab.read("hash.img"))),
    },
    Row {
        rules: &["verity-tree", "raw-image"],
        arguments: "--deep",
        gate: Open,
        text: "does not start with a verity superblock",
        break_it: |lab| replace(lab, HASH, &frame(&[0; 8192])),
    },
    Row {
        rules: &["target-unlisted"],
        arguments: "",
        gate: Closed,
        text: "demo-x86_64-1.1.0-root.ext4.lz4 is not listed in targets.json",
        break_it: |lab| {
            forged(lab, |forge| {
                fs::remove_file(lab.path(&forge.file(ROOT))).unwrap();
                forge.targets.targets.remove(&ROOT.parse().unwrap());
            });
        },
    },
    Row {
        rules: &["block-map"],
        arguments: "",
        gate: Closed,
        text: "demo-x86_64-1.1.0-root.ext4.lz4.map.lz4 is not listed in targets.json",
        break_it: |lab| {
            forged(lab, |forge| {
                fs::remove_file(lab.path(&forge.file(ROOT_MAP))).unwrap();
                forge.targets.targets.remove(&ROOT_MAP.parse().unwrap());
            });
        },
    },
    Row {
        rules: &["block-map"],
        arguments: "--deep",
        gate: Open,
        text: "it is no block map: it does not begin as a block map",
        break_it: |lab| replace(lab, ROOT_MAP, &frame(&[0; 8192])),
    },
    Row {
        rules: &["block-map"],
        arguments: "--deep",
        gate: Open,
        text: " of the compressed file, which has ",
        break_it: |lab| {
            let other = "demo-x86_64-1.0.0-root.ext4.lz4.map.lz4";
            let other = lab.read(&Forge::of(lab).file(other));
            replace(lab, ROOT_MAP, &other);
        },
    },
    Row {
        rules: &["target-missing"],
        arguments: "",
        gate: Closed,
        text: "demo-x86_64-1.1.0-root.ext4.lz4 does not exist",
        break_it: |lab| fs::remove_file(lab.path(&Forge::of(lab).file(ROOT))).unwrap(),
    },
    Row {
        rules: &["target-length"],
        arguments: "--deep",
        gate: Closed,
        text: "bytes, signed are ",
        break_it: |lab| with_file(lab, ROOT, |content| content.truncate(2000)),
    },
    Row {
        rules: &["target-digest"],
        arguments: "--deep",
        gate: Open,
        text: "the file has SHA-256 ",
        break_it: |lab| with_file(lab, ROOT, |content| *content.last_mut().unwrap() ^= 1),
    },
    Row {
        rules: &["target-digest"],
        arguments: "",
        gate: Open,
        text: "the file has SHA-256 ",
        break_it: |lab| with_file(lab, BOOT, |content| *content.last_mut().unwrap() ^= 1),
    },
    Row {
        rules: &["image-frame"],
        arguments: "--deep",
        gate: Open,
        text: "it is not exactly one LZ4 frame: the compressed file goes on after its LZ4 frame",
        break_it: |lab| {
            let mut twice = lab.read(&Forge::of(lab).file(ROOT));
            twice.push(0);
            replace(lab, ROOT, &twice);
        },
    },
    Row {
        rules: &["raw-image"],
        arguments: "--deep",
        gate: Open,
        text: "the root image decodes to 262144 bytes with SHA-256 ",
        break_it: |lab| {
            forged(lab, |forge| {
                forge.update()["raw_images"]["root"]["sha256"] = json!("00".repeat(32));
            });
        },
    },
    Row {
        rules: &["target-name"],
        arguments: "",
        gate: Closed,
        text: "the target name \"images/boot.lz4\" has a folder",
        break_it: |lab| rename_boot(lab, "images/boot.lz4"),
    },
    Row {
        rules: &["target-name-odd"],
        arguments: "--deep",
        gate: Open,
        text: "1 target(s) with a name to be escaped: boot+1.lz4",
        break_it: |lab| rename_boot(lab, "boot+1.lz4"),
    },
    Row {
        rules: &["target-unused"],
        arguments: "--deep",
        gate: Open,
        text: "2 target(s) of 6 bytes are listed and used by no update, 1 of them without a file: \
               kit-1, kit-2",
        break_it: |lab| {
            forged(lab, |forge| {
                forge.place("kit-1", b"abc");
                forge.list("kit-2", b"abc");
            });
        },
    },
    Row {
        rules: &["file-unlisted"],
        arguments: "",
        gate: Open,
        text: "2 file(s) of 7 bytes in repo/targets are listed by no metadata: \
               .updata-a1B2c3, left/over",
        break_it: |lab| {
            fs::create_dir(lab.path("repo/targets/left")).unwrap();
            lab.write("repo/targets/left/over", "abc");
            lab.write("repo/targets/.updata-a1B2c3", "half");
        },
    },
    Row {
        rules: &["wave-order"],
        arguments: "",
        gate: Closed,
        text: "the wave from seed 1024 starts at",
        break_it: |lab| {
            waves(
                lab,
                json!({"0": "2026-01-02T00:00:00Z", "1024": "2026-01-01T00:00:00Z"}),
            );
        },
    },
    Row {
        rules: &["wave-bound"],
        arguments: "",
        gate: Closed,
        text: "a wave is bounded by seed 4096, seeds end at 2048",
        break_it: |lab| {
            waves(
                lab,
                json!({"0": "2026-01-01T00:00:00Z", "4096": "2026-01-02T00:00:00Z"}),
            );
        },
    },
    Row {
        rules: &["wave-gap", "wave-time"],
        arguments: "",
        gate: Open,
        text: "the first wave starts at seed 7",
        break_it: |lab| waves(lab, json!({"7": "2999-01-01T00:00:00Z"})),
    },
    Row {
        rules: &["max-version-mixed"],
        arguments: "",
        gate: Open, // a release sets one ceiling for all
        text: "its max_version is 1.1.0, that of 1.1.0 is 1.0.0",
        break_it: |lab| {
            forged(lab, |forge| forge.update()["max_version"] = json!("1.0.0"));
        },
    },
    Row {
        rules: &["max-version-low"],
        arguments: "",
        gate: Open,
        text: "max_version 0.9.0 is below the lowest version, 1.0.0",
        break_it: |lab| updates_as(lab, "max_version", &json!("0.9.0")),
    },
    Row {
        rules: &["max-version-unknown"],
        arguments: "",
        gate: Open,
        text: "max_version 1.0.5 is not a published version",
        break_it: |lab| updates_as(lab, "max_version", &json!("1.0.5")),
    },
    Row {
        rules: &["key-twice"],
        arguments: "",
        gate: Closed,
        text: "are one and the same",
        break_it: |lab| {
            with_root(lab, |forge| {
                let ids = &forge.root.roles[&RoleType::Root].keyids;
                let mut key = forge.root.keys[&ids[0]].clone();
                let Key::Ed25519 { _extra: extra, .. } = &mut key else {
                    panic!("{key:?}")
                };
                extra.insert("note".to_owned(), json!("the same key again"));
                let id = key.key_id().unwrap();
                forge.root.keys.insert(id.clone(), key);
                forge
                    .root
                    .roles
                    .get_mut(&RoleType::Root)
                    .unwrap()
                    .keyids
                    .push(id);
            });
        },
    },
    Row {
        rules: &["key-shared"],
        arguments: "",
        gate: Open,
        text: "targets and snapshot share the key ",
        break_it: |lab| {
            with_root(lab, |forge| {
                let id = forge.root.roles[&RoleType::Targets].keyids[0].clone();
                forge
                    .root
                    .roles
                    .get_mut(&RoleType::Snapshot)
                    .unwrap()
                    .keyids
                    .push(id);
            });
        },
    },
    Row {
        rules: &["metadata-size"],
        arguments: "",
        gate: Open, // refused when it is signed: see below
        text: "bytes, hosts read 10485760",
        break_it: |lab| {
            forged(lab, |forge| {
                let padding = json!("x".repeat(10 << 20));
                forge.targets._extra.insert("padding".to_owned(), padding);
            });
        },
    },
];

#[test]
fn each_rule_is_told_by_name_and_an_error_closes_the_gate() {
    let clean = published();
    let run = lint(&clean, "--deep");
    assert_eq!((run.code, told(&run)), (0, (vec![], String::new())));
    for Row {
        rules,
        arguments,
        gate,
        text,
        break_it,
    } in ROWS
    {
        let lab = published();
        break_it(&lab);
        let run = lint(&lab, arguments);
        let (found, problems) = told(&run);
        assert_eq!(found, *rules, "{run:?}");
        assert!(problems.contains(text), "{rules:?}: {problems}");
        let severity = |rule: &&str| rule.parse::<Rule>().unwrap().severity();
        let refuses = rules
            .iter()
            .map(severity)
            .any(|severity| severity == Severity::Error);
        assert_eq!(run.code, if refuses { 4 } else { 0 }, "{rules:?}");

        if *gate == Closed {
            let before = files(&lab);
            let size: Vec<_> = arguments
                .split_whitespace()
                .filter(|word| *word != "--deep")
                .collect();
            let line = [&release_line("1.2.0")[..], &size].concat();
            let run = lab.updata(&line);
            assert_eq!(run.code, 4, "{rules:?}: {run:?}");
            let error = format!("updata: error {}: ", rules[0]);
            assert!(
                run.stderr.lines().any(|line| line.starts_with(&error)),
                "{run:?}"
            );
            let last = "updata: 1 rule(s) broken; nothing was published; mend it, or give \
                        --allow RULE for each\n";
            assert!(run.stderr.ends_with(last), "{run:?}");
            assert!(files(&lab) == before, "{rules:?}");
            let out = lab.updata(&[&line[..], &["--allow", rules[0], "--json"]].concat());
            assert_eq!(out.code, 0, "{out:?}");
            let out: Value = serde_json::from_str(&out.stdout).unwrap();
            let findings = out["findings"].as_array().unwrap();
            let recorded = findings
                .iter()
                .find(|finding| finding["rule"] == rules[0])
                .unwrap();
            assert_eq!(
                (&recorded["allowed"], &recorded["severity"]),
                (&json!(true), &json!("error"))
            );
        }
    }
}

#[test]
fn the_rows_and_the_tests_beside_them_break_every_rule() {
    let beside = [
        Rule::Expired,
        Rule::ExpiresSoon,
        Rule::ExpiryOrder,
        Rule::RootThreshold,
        Rule::Delegations,
        Rule::TimestampMissing,
        Rule::ConsistentSnapshot,
    ];
    for rule in Rule::ALL {
        let broken = ROWS.iter().any(|row| row.rules.contains(&rule.name()));
        assert!(broken != beside.contains(rule), "{rule}");
    }
}
