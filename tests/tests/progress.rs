//! What stands on stderr: for people, for a log, for a program, for the journal.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::ARCH;
use system_tests::server::Fault;
use system_tests::world::TwoReleases as World;

/// Every line of stderr as an event: one that is none is a failure.
fn events(ran: &Ran) -> Vec<Value> {
    ran.stderr
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line}\nin\n{}", ran.stderr));
            assert_eq!(event["schema"], 1, "{line}");
            let time = event["time"].as_str().unwrap();
            assert!(time.parse::<chrono::DateTime<chrono::Utc>>().is_ok());
            assert!(event["event"].is_string(), "{line}");
            event
        })
        .collect()
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == kind)
        .collect()
}

/// The steps, each with its image or target, and where it looks.
fn steps(events: &[Value]) -> Vec<String> {
    of(events, "step")
        .iter()
        .map(|event| {
            let of = event["image"].as_str().or(event["target"].as_str());
            let step = event["step"].as_str().unwrap();
            match event["place"].as_str() {
                Some(place) => format!("{step} {} {place}", of.unwrap()),
                None => format!("{step} {}", of.unwrap_or("-")),
            }
        })
        .collect()
}

/// How many steps come to the end of what they count. None goes back.
fn ends(events: &[Value]) -> usize {
    let mut step = &Value::Null;
    let mut done = 0;
    let mut ends = 0;
    for event in events {
        if event["event"] == "step" {
            step = event;
            done = 0;
        }
        if event["event"] == "progress" {
            assert_eq!(event["total"], step["total"], "{step}");
            let now = event["done"].as_u64().unwrap();
            assert!(now >= done, "{event} after {done}");
            done = now;
            ends += usize::from(event["done"] == event["total"]);
        }
    }
    ends
}

#[test]
fn json_lines_tell_the_whole_session_and_nothing_else_is_on_stderr() {
    let world = World::new();
    world.server.hide_block_maps();
    world.server.fault("root.ext4", Fault::DropAfter(30_000), 1);
    let ran = world.host.updog(&["update", "--progress", "json"]).done();
    assert_eq!(ran.stdout, "updated to demo 1.1.0\n", "data is on stdout");
    let events = events(&ran);
    let (first, last) = (&events[0], events.last().unwrap());
    assert_eq!(first["event"], "begin");
    assert_eq!(first["verb"], "update");
    assert_eq!(last["event"], "end");
    assert_eq!(last["outcome"], "done");
    assert_eq!(last["code"], 0);

    let effects: Vec<_> = of(&events, "effect")
        .iter()
        .map(|event| event["effect"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        effects,
        [
            "refresh",
            "stage_migrations",
            "rehearse",
            "clear",
            "swap_migrations",
            "write",
            "read_back",
            "mark_valid",
            "prune_migrations",
            "arm"
        ]
    );
    let steps = steps(&events);
    assert_eq!(
        steps,
        [
            "refresh -",
            "fetch manifest.json",
            "cache_migrations -",
            &format!("fetch demo-{ARCH}-1.1.0-boot.ext4.lz4.map.lz4"),
            "write boot",
            "write hash",
            "write root",
            "read_back hash",
            "read_back root",
            "read_back boot"
        ]
    );
    assert_eq!(ends(&events), 7, "as many as steps with a total");
    let retry = of(&events, "note");
    let retry = retry.iter().find(|note| note["note"] == "retry").unwrap();
    assert_eq!(retry["at"], 30_000);
    let file = retry["file"].as_str().unwrap();
    assert!(file.ends_with("root.ext4.lz4"), "{file}");
    assert!(!file.contains("seed"), "the query is not told: {file}");
    assert!(retry["reason"].is_string());
    assert!(retry["message"].as_str().unwrap().contains("trying again"));
    assert_eq!(of(&events, "step_end").len(), steps.len());
    let syncs = of(&events, "waiting");
    assert!(syncs.iter().filter(|wait| wait["for"] == "sync").count() >= 3);
}

#[test]
fn an_image_that_is_put_together_from_its_blocks_has_steps_too() {
    let world = World::new();
    let ran = world.host.updog(&["update", "--progress", "json"]).done();
    let events = events(&ran);
    assert_eq!(
        steps(&events),
        [
            "refresh -",
            "fetch manifest.json",
            "cache_migrations -",
            &format!("fetch demo-{ARCH}-1.1.0-boot.ext4.lz4.map.lz4"),
            &format!("fetch demo-{ARCH}-1.1.0-root.ext4.lz4.map.lz4"),
            "survey boot inactive",
            "survey boot active",
            "assemble boot",
            "survey root inactive",
            "survey root active",
            "assemble root",
            "read_back hash",
            "read_back root",
            "read_back boot"
        ]
    );
    assert_eq!(ends(&events), 12, "as many as steps with a total");
    let notes = of(&events, "note");
    let images: Vec<_> = notes
        .iter()
        .filter(|note| note["note"] == "assembled")
        .map(|note| note["image"].as_str().unwrap())
        .collect();
    assert_eq!(images, ["boot", "root"]);
}

#[test]
fn whatever_goes_wrong_is_an_event_too() {
    let world = World::new();
    world.host.configure("no_such_key = 1\n");
    let json = |arguments: &[&str]| {
        let arguments = [&["--progress", "json", "--log-level", "debug"], arguments].concat();
        let ran = world.host.updog(&arguments);
        (ran.code, events(&ran))
    };
    let (code, refused) = json(&["update-apply"]);
    assert_eq!(code, Some(4));
    let last = refused.last().unwrap();
    assert_eq!(last["outcome"], "refused");
    assert_eq!(last["code"], 4);
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("no update that was prepared"), "{error}");
    assert!(last["advice"].is_string());
    let warning = of(&refused, "log");
    let warning = warning.iter().find(|log| log["level"] == "warn").unwrap();
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("no_such_key"), "{message}");

    world.server.fault("root.ext4", Fault::Status(404), 1);
    let (code, failed) = json(&["prepare"]);
    assert_eq!(code, Some(1));
    assert_eq!(failed.last().unwrap()["outcome"], "failed");

    let (code, prepared) = json(&["prepare"]);
    assert_eq!(code, Some(0));
    let notes = of(&prepared, "note");
    let note = notes.iter().find(|note| note["note"] == "message").unwrap();
    assert_eq!(
        note["message"],
        "the running version still boots next; to go on: updog update-apply"
    );
    let (_, again) = json(&["prepare"]);
    let notes = of(&again, "note");
    let note = notes
        .iter()
        .find(|note| note["note"] == "holds_already")
        .unwrap();
    assert_eq!(
        (&note["set"], &note["version"]),
        (&"B".into(), &"1.1.0".into())
    );

    world.host.runs("1.1.0");
    let (code, nothing) = json(&["update"]);
    assert_eq!(code, Some(0));
    let notes = of(&nothing, "note");
    assert_eq!(notes[0]["note"], "nothing_to_do");
    assert!(notes[0]["reason"].is_string());
    let (code, nothing) = json(&["check-update"]);
    assert_eq!(code, Some(3));
    assert_eq!(nothing.last().unwrap()["outcome"], "nothing_to_update");

    fs::write(world.host.path("updog.toml"), "nonsense").unwrap();
    let (code, failed) = json(&["update"]);
    assert_eq!(code, Some(1));
    assert_eq!(failed.last().unwrap()["outcome"], "failed");
}

#[test]
fn plain_lines_say_when_a_step_begins_and_when_it_is_done() {
    let world = World::new();
    let ran = world.host.updog(&["update"]).done();
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines[0], " INFO refreshing the repository");
    assert!(lines[1].starts_with(" INFO refreshing the repository: done in "));
    let of_root: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("writing the root image"))
        .collect();
    assert_eq!(of_root.len(), 2, "{lines:#?}");
    assert!(of_root[0].starts_with(" INFO writing the root image, "));
    assert!(of_root[1].starts_with(" INFO writing the root image: done, "));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("updog: 1.1.0 boots next."))
    );
    assert!(!ran.stderr.contains('\u{1b}'), "no escape sequences");
}

#[test]
fn none_leaves_only_what_has_to_be_said() {
    let world = World::new();
    let ran = world.host.updog(&["update", "--progress", "none"]).done();
    assert!(!ran.stderr.contains("writing the"), "{}", ran.stderr);
    assert!(ran.stderr.contains("updog: 1.1.0 boots next."));
    let arguments = [
        "update-revert",
        "--progress",
        "none",
        "--log-level",
        "error",
    ];
    let ran = world.host.updog(&arguments).done();
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn the_journal_gets_priorities_and_neither_times_nor_the_programs_name() {
    let world = World::new();
    world.host.configure("no_such_key = 1\n");
    let path = world.host.path("stderr");
    let run = |stream: Option<&str>, arguments: &[&str]| {
        let file = File::create(&path).unwrap();
        let found = file.metadata().unwrap();
        let real = format!("{}:{}", found.dev(), found.ino());
        let mut command = world.host.updog_command(arguments);
        command.env("JOURNAL_STREAM", stream.unwrap_or(&real));
        command.stderr(file).stdout(Stdio::null());
        command.status().unwrap();
        fs::read_to_string(&path).unwrap()
    };
    let log = run(None, &["update"]);
    for line in log.lines() {
        assert!(
            line.starts_with('<') && line[2..].starts_with('>'),
            "{line}"
        );
    }
    assert!(log.starts_with("<4>"), "a warning: {log}");
    assert!(log.contains("\n<6>writing the root image, "));
    assert!(log.contains("\n<5>1.1.0 boots next."));
    let log = run(None, &["mirror", "--out", "/dev/null"]);
    assert!(log.contains("\n<3>mirroring the update"), "{log}");
    // Somebody else's journal: stderr is a file, or another one.
    for other in ["1:2", "", "8:"] {
        let log = run(Some(other), &["update-apply"]);
        assert!(!log.contains('<'), "{other}: {log}");
    }
}

#[test]
fn a_terminal_gets_a_bar_and_whole_lines_beside_it() {
    let Some(script) = oracle::find("a_terminal_gets_a_bar", "script") else {
        return;
    };
    let world = World::new();
    world.server.fault("root.ext4", Fault::DropAfter(30_000), 1);
    let run = |term: &str, more: &str| {
        let updog = world.host.updog_command(&["update", "--image", "1.1.0"]);
        let line: Vec<_> = std::iter::once(updog.get_program())
            .chain(updog.get_args())
            .map(|part| format!("'{}'", part.to_string_lossy()))
            .collect();
        let line = format!("stty cols 120 2>/dev/null; {} {more}", line.join(" "));
        let mut command = Command::new(&script);
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.env("TERM", term).stdin(Stdio::null());
        Ran::of(&mut command).done().stdout
    };
    let shown = run("xterm", "");
    assert!(shown.contains("writing the root image"), "{shown}");
    assert!(shown.contains(" % ["), "a bar: {shown}");
    assert!(shown.contains('\u{1b}'), "drawn anew: {shown}");
    // What stays: the last of what was drawn on each line.
    let lines: Vec<_> = shown
        .split('\n')
        .map(|line| line.rsplit("\u{1b}[2K").next().unwrap().trim())
        .collect();
    assert!(lines.contains(&"updated to demo 1.1.0"), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("updog: 1.1.0 boots next.")),
        "{lines:#?}"
    );
    for (term, more) in [("dumb", ""), ("xterm", "--progress plain")] {
        let shown = run(term, more);
        assert!(!shown.contains(" % ["), "no bar: {shown}");
    }
}
