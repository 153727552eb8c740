//! The program itself, on disk images.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod image;
mod repair;
mod table;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use signpost::testing::DiskBuilder;

use crate::image::{Image, Ran, small};

#[test]
fn an_update_from_the_first_command_to_the_last() {
    for sector in [512, 4096] {
        let image = Image::of(&small().sector_size(sector));
        assert_eq!(
            image.change("A", "clear-inactive"),
            "signpost: nothing to change\n"
        );
        assert_eq!(
            image.change("A", "mark-inactive-valid"),
            "signpost: set B: priority=0 tries_left=0 successful=false -> \
             priority=0 tries_left=1 successful=false\n"
        );
        assert_eq!(image.select(""), "A\n");
        image.change("A", "upgrade-to-inactive");
        assert_eq!(image.select(""), "B\n");
        assert_eq!(image.select("--consume-try"), "B\n");
        assert_eq!(image.select(""), "A\n", "the try is spent");
        image.change("B", "mark-successful-boot");
        assert_eq!(image.select("--consume-try"), "B\n");
        assert_eq!(
            image.run("has-boot-ever-succeeded --disk os.img").data,
            "true\n"
        );
        image.change("B", "rollback-to-inactive");
        assert_eq!(image.select(""), "A\n");
    }
}

#[test]
fn status_shows_each_set_with_its_own_partitions_and_bits() {
    let image = Image::with(0x0101, 0x0012);
    let ran = image.run("status --disk os.img --active B");
    let expected = "\
OS disk: os.img
Set A:   boot=os.img@98304 root=os.img@131072 hash=os.img@262144 priority=1 tries_left=0 successful=true
Set B:   boot=os.img@360448 root=os.img@393216 hash=os.img@524288 priority=2 tries_left=1 successful=false
Active:  Set B
Next:    Set B
";
    assert_eq!(
        ran,
        Ran {
            exit: 0,
            data: expected.to_owned(),
            talk: String::new()
        }
    );
}

#[test]
fn status_in_json_is_stable() {
    let status = Image::with(0x0001, 0x0100).json("status --active A");
    assert_eq!(
        status,
        json!({
            "os_disk": "os.img",
            "sets": {
                "A": {
                    "boot": "os.img@98304", "root": "os.img@131072", "hash": "os.img@262144",
                    "priority": 1, "tries_left": 0, "successful": false
                },
                "B": {
                    "boot": "os.img@360448", "root": "os.img@393216", "hash": "os.img@524288",
                    "priority": 0, "tries_left": 0, "successful": true
                }
            },
            "active": "A",
            "next": null,
            "last_resort": "B",
            "has_boot_ever_succeeded": false,
            "table_damage": null
        })
    );
}

#[test]
fn a_change_in_json_has_the_bits_before_and_after() {
    let image = Image::with(0x0101, 0x0010);
    let bits = |priority: u8, tries: u8, successful: bool| json!({ "priority": priority, "tries_left": tries, "successful": successful });
    let state = |b: Value| {
        json!({
            "active": "A",
            "sets": { "A": bits(1, 0, true), "B": b },
            "has_boot_ever_succeeded": false
        })
    };
    assert_eq!(
        image.json("upgrade-to-inactive --active A"),
        json!({
            "command": "upgrade-to-inactive",
            "changed": true,
            "before": state(bits(0, 1, false)),
            "after": state(bits(2, 1, false)),
            "forced": null,
            "table_damage": null
        })
    );
}

#[test]
fn cancel_during_first_boot_is_refused_with_exit_code_4_and_advice() {
    for verb in ["cancel-upgrade", "clear-inactive"] {
        let image = Image::with(0x0101, 0x0002);
        let before = image.bytes();
        let ran = image.run(&format!("{verb} --disk os.img --active B"));
        assert_eq!((ran.exit, ran.data.as_str()), (4, ""));
        let lines: Vec<_> = ran.talk.lines().collect();
        let refusal = format!("signpost: {verb} would leave the boot loader nothing to boot");
        assert_eq!(lines[0], refusal);
        assert!(lines[1].contains("mark-successful-boot"), "{}", ran.talk);
        assert_eq!(lines.len(), 2);
        assert!(image.bytes() == before);
    }
}

#[test]
fn a_reason_overrides_and_is_repeated() {
    let image = Image::with(0x0101, 0x0002);
    let args = ["clear-inactive", "--disk", "os.img", "--active", "B"];
    let ran = image.run_args(&[&args[..], &["--force", "lab machine", "--json"]].concat());
    assert_eq!(ran.exit, 0);
    assert_eq!(
        ran.talk,
        "signpost: forced (lab machine), although clear-inactive would leave the boot loader \
         nothing to boot\n"
    );
    let answer: Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(answer["forced"], "lab machine");
    assert_eq!(image.select(""), "None\n");
}

#[test]
fn a_reason_does_not_override_what_makes_no_sense() {
    let image = Image::factory();
    let ran = image.run("upgrade-to-inactive --force because --disk os.img --active A");
    assert_eq!(ran.exit, 4);
    assert!(
        ran.talk.contains("has not been marked valid"),
        "{}",
        ran.talk
    );
}

#[test]
fn the_other_refusals_have_exit_code_4_too() {
    let single = Image::of(&small().single());
    let verbs = [
        "clear-inactive",
        "mark-inactive-valid",
        "upgrade-to-inactive",
        "cancel-upgrade",
        "rollback-to-inactive",
    ];
    for verb in verbs {
        let ran = single.run(&format!("{verb} --disk os.img --active A"));
        assert_eq!(ran.exit, 4);
        assert!(
            ran.talk.starts_with("signpost: inactive set not available"),
            "{}",
            ran.talk
        );
    }
    for (verb, b) in [
        ("upgrade-to-inactive", 0x0012),
        ("rollback-to-inactive", 0x0010),
    ] {
        let ran = Image::with(0x0101, b).run(&format!("{verb} --disk os.img --active A"));
        assert_eq!(ran.exit, 4, "{verb}");
    }
}

#[test]
fn a_disk_with_one_set_has_a_status_and_can_be_marked() {
    let image = Image::of(&small().single());
    let ran = image.run("status --disk os.img --active A");
    assert_eq!(ran.data.lines().count(), 4, "{}", ran.data);
    image.change("A", "mark-successful-boot");
    assert_eq!(image.select("--consume-try"), "A\n");
    let ran = image.run("status --disk os.img --active B");
    assert_eq!(ran.exit, 1);
    assert!(
        ran.talk.starts_with("signpost: os.img has no set B\n"),
        "{}",
        ran.talk
    );
}

#[test]
fn select_says_none_when_nothing_boots_and_names_the_last_resort() {
    assert_eq!(Image::with(0x0002, 0).select("--consume-try"), "None\n");
    let image = Image::with(0x0100, 0x0002);
    let ran = image.run("select --disk os.img");
    assert_eq!((ran.exit, ran.data.as_str()), (0, "A\n"));
    assert_eq!(
        ran.talk,
        "signpost: this is the last resort: GRUB would boot nothing\n"
    );
    assert_eq!(
        image.json("select"),
        json!({ "select": "A", "last_resort": true })
    );
    assert_eq!(
        Image::with(0, 0).json("select"),
        json!({ "select": null, "last_resort": false })
    );
}

#[test]
fn has_boot_ever_succeeded_prints_true_or_nothing() {
    let image = Image::factory();
    let ran = image.run("has-boot-ever-succeeded --disk os.img");
    assert_eq!(
        ran,
        Ran {
            exit: 0,
            data: String::new(),
            talk: String::new()
        }
    );
    assert_eq!(
        image.json("has-boot-ever-succeeded"),
        json!({ "has_boot_ever_succeeded": false })
    );
    let image = Image::of(&small().boot_succeeded());
    assert_eq!(
        image.run("has-boot-ever-succeeded --disk os.img").data,
        "true\n"
    );
}

#[test]
fn looking_does_not_change_a_byte() {
    let image = Image::with(0x0101, 0x0012);
    image.edit(|bytes| bytes[512 + 16] ^= 1);
    let before = image.bytes();
    for words in [
        "status --active A",
        "select",
        "has-boot-ever-succeeded",
        "clear-inactive --active C",
    ] {
        image.run(&format!("{words} --disk os.img"));
    }
    assert!(image.bytes() == before);
}

#[test]
fn damage_is_told_and_repaired_by_rewriting_the_table() {
    let image = Image::factory();
    let before = image.bytes();
    image.edit(|bytes| bytes[512..1024].fill(0));
    let ran = image.run("status --disk os.img --active A");
    assert_eq!(ran.exit, 0);
    assert_eq!(
        ran.talk,
        "signpost: the primary partition table is not in order: it has no signature (the copy in the \
         last sector is the only one); `signpost repair` repairs it\n"
    );
    let ran = image.run("rewrite-table --disk os.img");
    assert_eq!((ran.exit, ran.data.as_str()), (0, ""));
    assert!(ran.talk.ends_with("; it is repaired\n"), "{}", ran.talk);
    assert!(image.bytes() == before);
    let answer = image.json("rewrite-table");
    assert_eq!(
        answer,
        json!({ "command": "rewrite-table", "table_damage": null })
    );
    assert!(image.bytes() == before);
}

#[test]
fn two_damaged_tables_are_refused_with_a_way_out() {
    let image = Image::factory();
    image.edit(|bytes| {
        let backup = bytes.len() - 512;
        bytes[512 + 60] ^= 1;
        bytes[backup + 60] ^= 1;
    });
    let before = image.bytes();
    for verb in ["status", "mark-inactive-valid"] {
        let ran = image.run(&format!("{verb} --disk os.img --active A"));
        assert_eq!((ran.exit, ran.data.as_str()), (1, ""));
        assert!(
            ran.talk
                .starts_with("signpost: both partition tables of os.img are damaged")
        );
        assert!(
            ran.talk
                .lines()
                .nth(1)
                .unwrap()
                .contains("sgdisk --load-backup")
        );
    }
    assert!(image.bytes() == before);
}

#[test]
fn what_is_no_disk_image_fails_with_exit_code_1() {
    let image = Image::factory();
    let folder = image.folder.path();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("text"), "no table in here\n".repeat(1000)).unwrap();
    let cases = [
        (
            "missing.img",
            "signpost: looking at missing.img: No such file or directory (os error 2)",
        ),
        ("empty", "signpost: empty has no GUID partition table"),
        ("text", "signpost: text has no GUID partition table"),
        (
            ".",
            "signpost: . is a directory, not a block device or a disk image",
        ),
        (
            "/dev/null",
            "signpost: /dev/null is a character device, not a block device or a disk image",
        ),
    ];
    for (disk, line) in cases {
        let ran = image.run(&format!("mark-inactive-valid --disk {disk} --active A"));
        assert_eq!((ran.exit, ran.talk.lines().next()), (1, Some(line)));
        assert_eq!(ran.talk.lines().count(), 2, "{}", ran.talk);
    }
    assert!(!folder.join("missing.img").exists());
}

#[test]
fn on_a_disk_image_the_running_set_has_to_be_named() {
    let image = Image::factory();
    let ran = image.run("clear-inactive --disk os.img");
    assert_eq!(ran.exit, 1);
    assert_eq!(
        ran.talk,
        "signpost: no set of os.img is known to be the running one\n\
         signpost: name the running set with `--active A` or `--active B`\n"
    );
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    let image = Image::factory();
    let after = image.run("status --disk os.img --active A --json");
    assert_eq!(after.exit, 0);
    assert_eq!(image.run("--disk os.img --active A --json status"), after);
    assert_eq!(image.run("--json --active a status --disk os.img"), after);
}

#[test]
fn wrong_usage_has_exit_code_2() {
    let image = Image::factory();
    let before = image.bytes();
    let cases: [&[&str]; 8] = [
        &[],
        &["upgrade"],
        &["status", "extra"],
        &["status", "--active", "C"],
        &["status", "--force", "why"],
        &[
            "clear-inactive",
            "--disk",
            "os.img",
            "--active",
            "A",
            "--force",
            "",
        ],
        &[
            "clear-inactive",
            "--disk",
            "os.img",
            "--active",
            "A",
            "--force",
            "  ",
        ],
        &[
            "clear-inactive",
            "--disk",
            "os.img",
            "--active",
            "A",
            "--force",
        ],
    ];
    for args in cases {
        let ran = image.run_args(args);
        assert_eq!((ran.exit, ran.data.as_str()), (2, ""), "{args:?}");
        assert!(!ran.talk.is_empty());
    }
    assert!(image.bytes() == before);
}

#[test]
fn help_names_every_command_and_exit_code() {
    let ran = Image::factory().run("--help");
    assert_eq!((ran.exit, ran.talk.as_str()), (0, ""));
    for word in [
        "status",
        "mark-successful-boot",
        "clear-inactive",
        "mark-inactive-valid",
        "upgrade-to-inactive",
        "cancel-upgrade",
        "rollback-to-inactive",
        "has-boot-ever-succeeded",
        "repair",
        "rewrite-table",
        "select",
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 4 refused or locked",
        "signpost status --disk os.img --active A",
    ] {
        assert!(ran.data.contains(word), "{word}");
    }
}

#[test]
fn an_answer_that_cannot_be_printed_is_a_failure() {
    let image = Image::factory();
    let output = Command::new(env!("CARGO_BIN_EXE_signpost"))
        .args(["select", "--disk", "os.img"])
        .current_dir(image.folder.path())
        .stdout(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(
        talk.starts_with("signpost: writing to standard output: "),
        "{talk}"
    );
}

/// The session in the README, line by line.
#[test]
fn the_session_in_the_readme_is_what_happens() {
    let readme = include_str!("../../README.md");
    let (_, session) = readme.split_once("```console\n").unwrap();
    let (session, _) = session.split_once("```").unwrap();
    let image = Image::of(&DiskBuilder::new());
    let mut seen = String::new();
    for line in session.lines() {
        if let Some(words) = line.strip_prefix("$ signpost ") {
            let ran = image.run(words);
            seen.extend([line, "\n", &ran.data, &ran.talk]);
        }
    }
    assert_eq!(seen, session);
}
