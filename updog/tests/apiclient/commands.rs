//! The verbs that have something done, against both servers.

use serde_json::Value;

use super::apiclient;
use super::engine::{BOTH, Engine, Kind};
use super::server::{Server, folder};

const REFRESH: &str = "/actions/refresh-updates";
const PREPARE: &str = "/actions/prepare-update";
const ACTIVATE: &str = "/actions/activate-update";
const DEACTIVATE: &str = "/actions/deactivate-update";
const ROLLBACK: &str = "/actions/rollback";
const REBOOT: &str = "/actions/reboot";

#[test]
fn check_prints_the_status_and_nothing_else() {
    for kind in BOTH {
        for (before, finds, expected) in [
            (None, true, "Available"),
            (None, false, "Idle"),
            (Some("Available"), false, "Idle"),
            (Some("Ready"), true, "Ready"),
        ] {
            let folder = folder();
            let mut engine = Engine::new(kind, before);
            engine.finds = finds;
            let server = Server::start(&folder, move |request| engine.answer(request));
            let ended = apiclient(server.socket(), &["update", "check"]);
            assert_eq!(ended.code, Some(0), "{kind:?} {before:?}: {ended:?}");
            let status: Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(status["update_state"], expected, "{kind:?} {before:?}");
            assert_eq!(status["active_partition"]["image"]["version"], "1.0.0");
            assert_eq!(ended.stderr, "", "{kind:?} {before:?}");
            assert_eq!(server.posts(), [REFRESH]);
            assert_eq!(server.seen()[0].method, "GET", "what there was before");
        }
    }
}

#[test]
fn every_verb_asks_for_what_the_state_needs() {
    let apply = |more: &[&'static str]| [&["update", "apply"], more].concat();
    for kind in BOTH {
        for (line, before, finds, code, expected) in [
            (
                apply(&[]),
                Some("Available"),
                true,
                0,
                &[PREPARE, ACTIVATE][..],
            ),
            (apply(&[]), Some("Staged"), true, 0, &[PREPARE, ACTIVATE]),
            (
                apply(&["-r"]),
                Some("Available"),
                true,
                0,
                &[PREPARE, ACTIVATE, REBOOT],
            ),
            (apply(&[]), Some("Ready"), true, 0, &[]),
            (apply(&["--reboot"]), Some("Ready"), true, 0, &[REBOOT]),
            (apply(&[]), Some("Idle"), true, 1, &[PREPARE]),
            (apply(&["-r"]), None, true, 1, &[]),
            (apply(&["-c"]), None, true, 0, &[REFRESH, PREPARE, ACTIVATE]),
            (
                apply(&["-c"]),
                Some("Staged"),
                true,
                0,
                &[REFRESH, PREPARE, ACTIVATE],
            ),
            (
                apply(&["-c", "-r"]),
                None,
                true,
                0,
                &[REFRESH, PREPARE, ACTIVATE, REBOOT],
            ),
            (apply(&["-c", "-r"]), None, false, 0, &[REFRESH]),
            (apply(&["-c"]), Some("Ready"), true, 0, &[REFRESH]),
            (
                apply(&["-c", "-r"]),
                Some("Ready"),
                true,
                0,
                &[REFRESH, REBOOT],
            ),
            (
                vec!["update", "cancel"],
                Some("Ready"),
                true,
                0,
                &[DEACTIVATE],
            ),
            (
                vec!["update", "cancel"],
                Some("Idle"),
                true,
                1,
                &[DEACTIVATE],
            ),
            (
                vec!["update", "rollback"],
                Some("Idle"),
                true,
                i32::from(kind == Kind::Theirs),
                &[ROLLBACK],
            ),
            (vec!["reboot"], None, true, 0, &[REBOOT]),
        ] {
            let folder = folder();
            let mut engine = Engine::new(kind, before);
            engine.finds = finds;
            engine.lasts = 0;
            let server = Server::start(&folder, move |request| engine.answer(request));
            let ended = apiclient(server.socket(), &line);
            assert_eq!(
                ended.code,
                Some(code),
                "{kind:?} {line:?} {before:?}: {ended:?}"
            );
            assert_eq!(server.posts(), expected, "{kind:?} {line:?} {before:?}");
            let checks = line.contains(&"-c");
            assert_eq!(
                ended.stdout.is_empty(),
                !checks,
                "{line:?}: {}",
                ended.stdout
            );
            if checks {
                serde_json::from_str::<Value>(&ended.stdout).unwrap();
            }
            // Who waited for it never asks the server to wait.
            assert!(server.seen().iter().all(|it| it.header("prefer").is_none()));
        }
    }
}

#[test]
fn rollback_can_end_with_a_reboot() {
    let folder = folder();
    let mut engine = Engine::new(Kind::Ours, None);
    let server = Server::start(&folder, move |request| engine.answer(request));
    let ended = apiclient(server.socket(), &["update", "rollback", "-r"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(server.posts(), [ROLLBACK, REBOOT]);
}

#[test]
fn what_failed_is_told_in_the_words_of_the_server_and_ends_the_verb() {
    let said = "updog: writing to set B: no space\nupdog: to go on: \u{1b}[31mmake room\n";
    for kind in BOTH {
        for (line, fails, posts) in [
            (&["update", "check"][..], "refresh", &[REFRESH][..]),
            (&["update", "apply", "-r"], "prepare", &[PREPARE]),
            (&["update", "apply", "-r"], "activate", &[PREPARE, ACTIVATE]),
        ] {
            let folder = folder();
            let mut engine = Engine::new(kind, Some("Available"));
            engine.fails = Some((fails, said));
            let server = Server::start(&folder, move |request| engine.answer(request));
            let ended = apiclient(server.socket(), line);
            assert_eq!(
                (ended.code, ended.stdout.as_str()),
                (Some(1), ""),
                "{ended:?}"
            );
            assert_eq!(server.posts(), posts);
            let (exit, advice) = match kind {
                Kind::Ours => ("1", "look at the disk"),
                Kind::Theirs => (
                    "unknown",
                    "apiclient update status; the same command starts over",
                ),
            };
            let expected = format!(
                "apiclient: {fails}: it failed, exit status {exit}\n\
                 updog: writing to set B: no space\n\
                 updog: to go on: \\u{{1b}}[31mmake room\n\
                 apiclient: to go on: {advice}\n"
            );
            assert_eq!(ended.stderr, expected, "{kind:?}");
        }
    }
}

#[test]
fn what_a_failed_command_has_said_is_told_to_its_end() {
    let said: &str = Box::leak(format!("{}\nthe end", "x".repeat(100_000)).into_boxed_str());
    let folder = folder();
    let mut engine = Engine::new(Kind::Theirs, Some("Available"));
    engine.fails = Some(("refresh", said));
    let server = Server::start(&folder, move |request| engine.answer(request));
    let ended = apiclient(server.socket(), &["update", "check"]);
    assert!(ended.stderr.contains(said), "{} bytes", ended.stderr.len());
}

#[test]
fn apply_without_a_check_says_to_check_first() {
    for (before, expected) in [
        (None, "was not checked for updates since it booted"),
        (
            Some("Idle"),
            "Status 409 when POSTing /actions/prepare-update",
        ),
    ] {
        let folder = folder();
        let mut engine = Engine::new(Kind::Theirs, before);
        let server = Server::start(&folder, move |request| engine.answer(request));
        let ended = apiclient(server.socket(), &["update", "apply"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("apiclient update check"),
            "{}",
            ended.stderr
        );
    }
}
