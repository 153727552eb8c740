//! A command is waited for: others in the way, servers that go, signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::engine::{BOTH, Engine, Kind};
use super::server::{Reply, Server, folder};
use super::{apiclient, command};

const OTHER: &str = "apiclient: another command is under way; waiting for it to end\n";

/// What becomes of the looks after a command was taken.
type Script = fn(&mut Engine) -> Reply;

fn spawn(socket: &Path, line: &[&str]) -> Child {
    let mut command = command(socket, line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn another_command_is_waited_for_before_ours_is_asked_for() {
    for kind in BOTH {
        for (line, posts) in [
            (&["update", "check"][..], 1),
            (&["update", "apply"], 2),
            (&["update", "cancel"], 1),
        ] {
            let folder = folder();
            let before = if line[1] == "cancel" {
                "Ready"
            } else {
                "Available"
            };
            let mut engine = Engine::new(kind, Some(before));
            engine.running = Some(("refresh", 3));
            let server = Server::start(&folder, move |request| engine.answer(request));
            let ended = apiclient(server.socket(), line);
            assert_eq!(ended.code, Some(0), "{kind:?}: {ended:?}");
            assert_eq!(ended.stderr.matches(OTHER).count(), 1, "{}", ended.stderr);
            if kind == Kind::Theirs {
                assert_eq!(
                    server.posts().len(),
                    posts,
                    "asked for once the way is free"
                );
            }
        }
    }
}

#[test]
fn who_comes_first_by_a_moment_is_waited_for() {
    // Free by the status, and taken when it is asked for; twice.
    let folder = folder();
    let mut engine = Engine::new(Kind::Theirs, Some("Available"));
    let mut tries = 0;
    let server = Server::start(&folder, move |request| {
        if request.method == "POST" {
            tries += 1;
            if tries <= 2 {
                return Reply::status(423, "Update lock held");
            }
        }
        engine.answer(request)
    });
    let ended = apiclient(server.socket(), &["update", "check"]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), OTHER),
        "{ended:?}"
    );
    assert_eq!(server.posts().len(), 3);
    // What there was before is looked at again each time: it may have been the same command.
    let methods: String = server.seen().iter().map(|it| &it.method[..1]).collect();
    assert!(methods.starts_with("GPGPGPG"), "{methods}");
}

#[test]
fn a_result_of_somebody_else_is_told_and_the_state_decides() {
    for (state, code) in [("Ready", 0), ("Available", 1)] {
        let folder = folder();
        let mut engine = Engine::new(Kind::Ours, Some("Available"));
        let status = engine.status().unwrap();
        let mut looks = 0;
        let server = Server::start(&folder, move |request| {
            looks += 1;
            if request.method == "POST" && request.uri.ends_with("prepare-update") {
                return engine.answer(request);
            }
            let mut status: Value = status.clone();
            if looks > 2 {
                status["update_state"] = json!(state);
                status["last_outcome"] = json!({"command": "activate", "id": 9, "outcome": "done",
                    "at": "2031-03-02T10:00:00Z", "version": null, "error": null, "advice": null});
            }
            match request.method.as_str() {
                "GET" => Reply::status(200, &status.to_string()),
                _ => Reply::Answer(204, "Updog-Command: 8\r\n".to_owned(), Vec::new()),
            }
        });
        let ended = apiclient(server.socket(), &["update", "apply"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let told = "another activate has ended since this prepare";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_comes_back_is_asked_on() {
    for kind in BOTH {
        let folder = folder();
        let mut engine = Engine::new(kind, Some("Available"));
        let mut looks = 0;
        let (sender, receiver) = channel();
        let first = Server::start(&folder, move |request| {
            looks += usize::from(request.method == "GET");
            if looks == 2 {
                sender
                    .send(std::mem::replace(&mut engine, Engine::new(kind, None)))
                    .unwrap();
                return Reply::Vanish;
            }
            engine.answer(request)
        });
        let mut child = spawn(first.socket(), &["update", "check"]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        stderr.read_line(&mut told).unwrap();
        assert!(told.contains("no usable answer, trying again"), "{told}");
        drop(first);
        let mut engine = receiver.recv().unwrap();
        let second = Server::start(&folder, move |request| engine.answer(request));
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{kind:?}");
        let status: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(status["update_state"], "Available");
        assert_eq!(second.posts(), [""; 0], "it was asked for once");
    }
}

#[test]
fn what_never_comes_back_is_given_up() {
    let told = |script: Script| {
        let folder = folder();
        let mut engine = Engine::new(Kind::Ours, Some("Available"));
        let mut posted = false;
        let server = Server::start(&folder, move |request| {
            if posted {
                return script(&mut engine);
            }
            posted = request.method == "POST";
            engine.answer(request)
        });
        let ended = apiclient(server.socket(), &["update", "check", "--patience", "1"]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(1), ""),
            "{ended:?}"
        );
        ended.stderr
    };
    let lost = |engine: &mut Engine| {
        engine.running = None;
        Reply::status(200, &engine.status().unwrap().to_string())
    };
    let cases: [(Script, &str); 6] = [
        (lost, "nothing is under way and nothing has changed for 1 s"),
        (
            |_| Reply::Vanish,
            "no usable answer for 1 s: Failed GET request to '/updates/status': Status unknown",
        ),
        (|_| Reply::Silence, "no answer within 1 s"),
        (
            |_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()),
            "no usable answer for 1 s",
        ),
        (|_| Reply::status(200, "<html>"), "is not what it should be"),
        (
            |_| Reply::status(500, "no\u{1b}[2J"),
            "Status 500 when GETing /updates/status: no\\u{1b}[2J",
        ),
    ];
    for (script, expected) in cases {
        let stderr = told(script);
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}

#[test]
fn a_signal_ends_the_wait_and_not_the_command() {
    for (signal, name, code) in [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143)] {
        let folder = folder();
        let mut engine = Engine::new(Kind::Ours, Some("Available"));
        engine.lasts = u32::MAX;
        let (sender, receiver) = channel();
        let mut posted = false;
        let server = Server::start(&folder, move |request| {
            if posted {
                // Nobody listens any more.
                let _ = sender.send(());
            }
            posted |= request.method == "POST";
            engine.answer(request)
        });
        let child = spawn(server.socket(), &["update", "apply"]);
        receiver.recv().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(code));
        let stderr = String::from_utf8(ended.stderr).unwrap();
        let told = format!(
            "apiclient: interrupted by {name}; prepare goes on in the background\n\
             apiclient: to go on: to see how it goes: apiclient update status\n"
        );
        assert_eq!(stderr, told);
    }
}

#[test]
fn a_signal_before_anything_was_asked_for_says_so() {
    let folder = folder();
    let (sender, receiver) = channel();
    let server = Server::start(&folder, move |_| {
        let _ = sender.send(());
        Reply::status(423, "Update lock held")
    });
    let child = spawn(server.socket(), &["update", "check"]);
    // The second look comes after the signal handlers, and after the first answer.
    receiver.recv().unwrap();
    receiver.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(
        stderr.ends_with("interrupted by SIGINT; refresh was not begun\n"),
        "{stderr}"
    );
    assert_eq!(server.posts(), [""; 0]);
}

/// To a fleet agent whoever dies of a signal is rebooting, and whoever ends with a code has failed.
#[test]
fn a_raw_request_dies_of_a_signal() {
    let folder = folder();
    let (sender, receiver) = channel();
    let server = Server::start(&folder, move |_| {
        sender.send(()).unwrap();
        Reply::Silence
    });
    let mut child = spawn(
        server.socket(),
        &["raw", "-u", "/actions/reboot", "-m", "POST"],
    );
    receiver.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    let mut stderr = String::new();
    child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}
