//! The verbs that only look.

use std::fmt::Write as _;

use serde_json::Value;

use super::apiclient;
use super::engine::{Engine, Kind};
use super::server::{Reply, Server, folder};

#[test]
fn status_is_told_to_people() {
    let folder = folder();
    let mut engine = Engine::new(Kind::Ours, Some("Available"));
    engine.running = Some(("prepare", 9));
    let server = Server::start(&folder, move |request| engine.answer(request));
    let ended = apiclient(server.socket(), &["update", "status"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let expected = "\
state         Available, an update can be taken: apiclient update apply
running       demo 1.0.0 on x86_64, boots next
available     1.1.0
chosen        demo 1.1.0 on x86_64
staged        none
last command  none
now           prepare since 2031-03-02T09:59:00Z, writing the root image, 1.00 KiB of 4.00 KiB
";
    assert_eq!(ended.stdout, expected);
}

#[test]
fn status_tells_how_the_last_command_ended() {
    let folder = folder();
    let mut engine = Engine::new(Kind::Ours, Some("Available"));
    engine.fails = Some(("prepare", "updog: no\u{1b}[2J room\n"));
    let server = Server::start(&folder, move |request| engine.answer(request));
    assert_eq!(
        apiclient(server.socket(), &["update", "apply"]).code,
        Some(1)
    );
    let ended = apiclient(server.socket(), &["update", "status"]);
    for line in [
        "last command  prepare at 2031-03-02T10:00:00Z: Failed, exit status 1: updog: no\\u{1b}[2J room",
        "last outcome  prepare at 2031-03-02T10:00:00Z: failed: updog: no\\u{1b}[2J room\\n",
        "              to go on: look at the disk",
        "now           nobody is at work",
    ] {
        assert!(
            ended.stdout.lines().any(|it| it == line),
            "{line}: {}",
            ended.stdout
        );
    }
}

#[test]
fn a_status_that_is_hidden_or_not_there_is_a_state_for_people_and_a_failure_for_programs() {
    for (code, told) in [
        (404, "not known: nobody asked"),
        (423, "a command is under way"),
    ] {
        let folder = folder();
        let server = Server::start(&folder, move |_| Reply::status(code, "no"));
        let ended = apiclient(server.socket(), &["update", "status"]);
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
        let ended = apiclient(server.socket(), &["update", "status", "--json"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.contains(&format!("Status {code} when")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn the_json_of_the_server_is_indented_and_otherwise_left_alone() {
    for (line, uri) in [
        (&["update", "explain"][..], "/updates/explain"),
        (
            &["update", "explain", "--version", "1.2.3-rc.1+b.2"],
            "/updates/explain?version=1.2.3-rc.1%2Bb.2",
        ),
        (&["update", "plan"], "/updates/plan"),
        (&["update", "history"], "/updates/history"),
        (&["update", "status", "--json"], "/updates/status"),
    ] {
        let folder = folder();
        let server = Server::start(&folder, |_| Reply::status(200, r#"{"z":[1.0],"a":{}}"#));
        let ended = apiclient(server.socket(), line);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(
            ended.stdout,
            "{\n  \"z\": [\n    1.0\n  ],\n  \"a\": {}\n}\n"
        );
        assert_eq!(server.seen()[0].uri, uri);
    }
}

#[test]
fn another_server_has_no_such_request() {
    for line in ["explain", "plan", "history", "watch", "rollback"] {
        let folder = folder();
        let mut engine = Engine::new(Kind::Theirs, Some("Idle"));
        let server = Server::start(&folder, move |request| engine.answer(request));
        let ended = apiclient(server.socket(), &["update", line]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains("Status 404 when"), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("it is for `updog serve`"),
            "{}",
            ended.stderr
        );
    }
}

fn stream(kind: &str, pieces: &[&str], end: &str) -> Reply {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in pieces {
        write!(bytes, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
    }
    Reply::Bytes((bytes + end).into_bytes())
}

#[test]
fn what_happens_is_a_line_each_until_the_server_ends() {
    const STEP: &str = r#"{"schema":1,"time":"T","event":"step","step":"refresh"}"#;
    let status = Engine::new(Kind::Ours, Some("Idle"))
        .status()
        .unwrap()
        .to_string();
    let json = format!("{status}\n{STEP}\n");
    for (line, end, code, expected) in [
        (
            &["update", "watch"][..],
            "0\r\n\r\n",
            0,
            "status Idle\nT step step=refresh\n",
        ),
        (
            &["update", "watch"],
            "",
            1,
            "status Idle\nT step step=refresh\n",
        ),
        (
            &["update", "watch", "--json"],
            "0\r\n\r\n",
            0,
            json.as_str(),
        ),
        (&["update", "watch", "--json"], "5\r\nda", 1, json.as_str()),
    ] {
        let folder = folder();
        let first = format!(": alive\n\nevent: status\ndata: {status}\n\nev");
        let second = format!("ent: event\ndata: {STEP}\n\n");
        let server = Server::start(&folder, move |_| {
            stream("text/event-stream", &[&first, &second], end)
        });
        let ended = apiclient(server.socket(), line);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(code), expected),
            "{ended:?}"
        );
        assert_eq!(
            ended.stderr.contains("the connection broke"),
            code == 1,
            "{}",
            ended.stderr
        );
        assert_eq!(server.seen()[0].uri, "/updates/events");
        if line.len() == 3 {
            for line in ended.stdout.lines() {
                serde_json::from_str::<Value>(line).unwrap();
            }
        }
    }
}

#[test]
fn what_is_no_stream_is_not_watched() {
    let large = format!("data: {}", "x".repeat(5 << 20));
    for (kind, piece, expected) in [
        (
            "application/json",
            "{}".to_owned(),
            "is application/json, no stream of events",
        ),
        ("text/event-stream", large, "is larger than 4194304 bytes"),
    ] {
        let folder = folder();
        let server = Server::start(&folder, move |_| stream(kind, &[&piece], "0\r\n\r\n"));
        let ended = apiclient(server.socket(), &["update", "watch"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}
