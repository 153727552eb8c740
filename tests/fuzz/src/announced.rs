//! What is promised of any bytes that should be the state file of the update API.
//!
//! * Reading never panics; what was read is written so that it is read as the same.
//! * In every state of the disk there is a status, which is read as the same; the choice that it tells
//!   is never the running version.
//! * A command that may begin gets a number above that of the one before, and ends with a result that
//!   strict parsers take, or, where nobody carries it out, with one that is `Unknown`.

use chrono::{DateTime, Utc};
use semver::Version;
use serde_json::Value;
use update_metadata::Stored;
use updog::api::announced::{Announced, Ended, View};
use updog::api::updates::{Command, CommandStatus, Image, UpdatesStatus};
use updog::exit::Exit;
use updog::session::machine::{Facts, Offer, State};

use crate::seeds::Seed;

const COMMANDS: [Command; 5] = [
    Command::Refresh,
    Command::Prepare,
    Command::Activate,
    Command::Deactivate,
    Command::Rollback,
];

/// Checks every promise.
pub fn run(data: &[u8]) {
    let Ok(Stored::Known(announced)) = Stored::<Announced>::from_slice(data, 1) else {
        return;
    };
    let json = serde_json::to_value(&announced).expect("plain data");
    let again: Announced = serde_json::from_value(json).expect("what was written");
    assert_eq!(again, announced);
    for state in State::ALL {
        for version in [Version::new(1, 0, 0), Version::new(1, 1, 0)] {
            in_state(&announced, &view(state, version));
        }
    }
}

fn view(state: State, running: Version) -> View {
    let image = |version| Image {
        arch: "x86_64".to_owned(),
        version,
        variant: "demo".to_owned(),
    };
    View {
        facts: Facts {
            state,
            running_boots_next: state != State::Ready,
            other_was_good: state == State::Trial,
            is_rolling_back: false,
            other_is_verified: true,
            offer: Offer::Unknown,
        },
        other_boots_next: state == State::Ready,
        running: Some(image(running)),
        other: Some(image(Version::new(1, 2, 0))),
        held: vec![Version::new(1, 3, 0)],
    }
}

fn status(announced: &Announced, view: &View) -> UpdatesStatus {
    let status = announced.status(view, None);
    let json = serde_json::to_string(&status).expect("plain data");
    let again: UpdatesStatus = serde_json::from_str(&json).expect("what was written");
    assert_eq!(again, status);
    let running = view.running.as_ref().map(|running| &running.version);
    let chosen = status.chosen_update.as_ref().map(|chosen| &chosen.version);
    assert!(chosen.is_none() || chosen != running);
    status
}

fn in_state(announced: &Announced, view: &View) {
    status(announced, view);
    let now: DateTime<Utc> = DateTime::UNIX_EPOCH;
    for command in COMMANDS {
        if announced.check(view, command).is_err() {
            continue;
        }
        let mut done = announced.clone();
        let before = done.begin(command, now);
        done.end(Ended::Done { version: None }, now);
        let after = done.begin(command, now);
        assert!(after > before || after == u64::MAX);
        assert_eq!(done.begun().map(|begun| begun.id), Some(after));
        done.end(
            Ended::NotDone {
                exit: Exit::Failed,
                version: None,
                error: "e".to_owned(),
                advice: None,
            },
            now,
        );
        strict(&status(&done, view), command, CommandStatus::Failed);
        done.begin(command, now);
        done.settle();
        assert_eq!(done.begun(), None);
        strict(&status(&done, view), command, CommandStatus::Unknown);
    }
}

fn strict(status: &UpdatesStatus, command: Command, expected: CommandStatus) {
    let Some(cmd_type) = command.cmd_type() else {
        return;
    };
    let last = status
        .most_recent_command
        .as_ref()
        .expect("a command has ended");
    assert_eq!((last.cmd_type, last.cmd_status), (cmd_type, expected));
    let json = serde_json::to_value(last).expect("plain data");
    assert!(json["exit_status"].is_u64() && json["stderr"].is_string());
    assert_ne!(json["timestamp"], Value::Null);
}

/// What a fuzzer starts from.
pub fn seeds() -> Vec<Seed> {
    let chosen = r#""chosen": {"image": {"arch": "x86_64", "version": "1.1.0", "variant": "demo"},
        "running": "1.0.0", "overrides": {"version": null, "ignore_waves": false}}"#;
    let last = r#""most_recent": {"cmd_type": "refresh", "cmd_status": "Success",
        "timestamp": "2031-03-01T01:00:00.5Z", "exit_status": 0, "stderr": "", "id": 1},
        "last_outcome": {"command": "refresh", "id": 1, "outcome": "done",
        "at": "2031-03-01T01:00:00.5Z", "version": "1.1.0", "error": null, "advice": null}"#;
    let file = |chosen: &str, last: &str, begun: &str| {
        format!(
            r#"{{"schema": 1, "next_id": 1, "available": ["1.1.0", "1.0.0"], {chosen}, {last}, "begun": {begun}}}"#
        )
        .into_bytes()
    };
    let none = r#""most_recent": null, "last_outcome": null"#;
    let begun = r#"{"command": "prepare", "id": 2, "since": "2031-03-01T01:00:01Z"}"#;
    [
        ("blank", file(r#""chosen": null"#, none, "null")),
        ("chosen", file(chosen, last, "null")),
        ("begun", file(chosen, last, begun)),
        ("newer", br#"{"schema": 2}"#.to_vec()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .to_vec()
}
