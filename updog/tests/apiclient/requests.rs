//! Single requests: what is sent, what is printed, and what a bad answer is.

use std::os::unix::net::UnixListener;

use super::apiclient;
use super::server::{Reply, Server, folder};

/// What a fleet agent makes of stderr: the word after the first `Status`.
fn word(stderr: &str) -> &str {
    let after = stderr.split_once("Status").unwrap().1;
    after.split_whitespace().next().unwrap()
}

#[test]
fn a_request_is_sent_as_typed() {
    let json = Some("application/json");
    let wait = Some("wait=86400");
    let post = "/actions/refresh-updates";
    for (line, method, uri, body, kind, prefer) in [
        (&["-u", "/os"][..], "GET", "/os", "", None, None),
        (
            &["raw", "-u", "os?prefix=v"],
            "GET",
            "/os?prefix=v",
            "",
            None,
            None,
        ),
        (
            &["raw", "-u", post, "-m", "POST"],
            "POST",
            post,
            "",
            None,
            wait,
        ),
        (&["-X", "POST", "--uri", post], "POST", post, "", None, wait),
        (
            &["raw", "-u", post, "-m", "POST", "--no-wait"],
            "POST",
            post,
            "",
            None,
            None,
        ),
        (
            &["raw", "-u", "/tx/commit", "-m", "POST"],
            "POST",
            "/tx/commit",
            "",
            None,
            None,
        ),
        (
            &["raw", "-u", "/settings", "-m", "PATCH", "-d", "{\"a\": 1}"],
            "PATCH",
            "/settings",
            "{\"a\": 1}",
            json,
            None,
        ),
    ] {
        let folder = folder();
        let server = Server::start(&folder, |_| Reply::status(204, ""));
        let ended = apiclient(server.socket(), line);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(0), ""),
            "{ended:?}"
        );
        let seen = server.seen();
        assert_eq!(seen.len(), 1, "{line:?}");
        let request = &seen[0];
        assert_eq!(
            (request.method.as_str(), request.uri.as_str()),
            (method, uri)
        );
        assert_eq!(request.body, body);
        assert_eq!(request.header("content-type"), kind, "{line:?}");
        assert_eq!(request.header("prefer"), prefer, "{line:?}");
        assert!(request.header("host").is_some(), "HTTP/1.1 has one");
    }
}

#[test]
fn a_body_is_printed_as_it_is_with_a_newline() {
    for (code, body, expected) in [
        (200, "{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":2}\n"),
        (201, "no json", "no json\n"),
        (200, "", ""),
    ] {
        let folder = folder();
        let server = Server::start(&folder, move |_| Reply::status(code, body));
        let ended = apiclient(server.socket(), &["-u", "/x"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(ended.stdout, expected);
    }
}

#[test]
fn a_refusal_is_told_as_fleet_agents_read_it() {
    for (code, body, told) in [
        (423, "Update lock held\n", "Update lock held"),
        (404, "", ""),
        (302, "elsewhere", "elsewhere"),
        (500, "a\nb\u{1b}]0;x\u{7}", "a\\nb\\u{1b}]0;x\\u{7}"),
        (599, "Status 423", "Status 423"),
    ] {
        let folder = folder();
        let server = Server::start(&folder, move |_| Reply::status(code, body));
        let ended = apiclient(server.socket(), &["raw", "-u", "x/y", "-m", "post", "-v"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        let line =
            format!("Failed POST request to '/x/y': Status {code} when POSTing /x/y: {told}");
        assert!(
            ended.stderr.lines().any(|it| it == line),
            "{}",
            ended.stderr
        );
        assert_eq!(word(&ended.stderr), code.to_string());
    }
}

#[test]
fn what_is_no_answer_is_a_failure_with_a_status_of_its_own() {
    let many = "X: y\r\n".repeat(100);
    let long = format!("X: {}\r\n", "y".repeat(100_000));
    let answer = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes();
    for (bytes, expected) in [
        (b"".to_vec(), "asking the server"),
        (b"\x00\x1b[2J garbage\r\n\r\n".to_vec(), "asking the server"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(),
            "asking the server",
        ),
        (answer(&many), "asking the server"),
        (answer(&long), "asking the server"),
        (answer("Content-Length: 5\r\n"), "reading the answer"),
        (
            [answer("Transfer-Encoding: chunked\r\n"), b"zz\r\n".to_vec()].concat(),
            "reading the answer",
        ),
        (
            answer(&format!("Content-Length: {}\r\n", (16_u64 << 20) + 1)),
            "reading the answer",
        ),
    ] {
        let folder = folder();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        let server = Server::start(&folder, move |_| Reply::Bytes(bytes.clone()));
        for line in [&["-u", "/os"][..], &["update", "check"]] {
            let ended = apiclient(server.socket(), line);
            assert_eq!(
                (ended.code, ended.stdout.as_str()),
                (Some(1), ""),
                "{name:.60}"
            );
            assert!(
                ended.stderr.contains(expected),
                "{name:.60}: {}",
                ended.stderr
            );
            assert_eq!(word(&ended.stderr), "unknown:", "{}", ended.stderr);
            assert!(!ended.stderr.contains('\u{1b}'));
        }
    }
}

#[test]
fn an_answer_that_is_too_large_is_not_printed() {
    for (line, limit) in [
        (&["-u", "/os"][..], 16 << 20),
        (&["update", "plan"], 16 << 20),
        (&["update", "check"], 4 << 20),
    ] {
        let folder = folder();
        let server = Server::start(&folder, move |_| {
            Reply::Answer(200, String::new(), vec![b'x'; limit + 1])
        });
        let ended = apiclient(server.socket(), line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        let expected = format!("the answer is larger than {limit} bytes");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    }
    let folder = folder();
    let server = Server::start(&folder, |_| {
        Reply::Answer(200, String::new(), vec![b'x'; 16 << 20])
    });
    let ended = apiclient(server.socket(), &["-u", "/os"]);
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), (16 << 20) + 1));
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let folder = folder();
    let never = folder.path().join("never.sock");
    let left = folder.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    for socket in [&never, &left] {
        for line in [
            &["-u", "/os"][..],
            &["update", "check"],
            &["update", "apply"],
            &["update", "status"],
            &["update", "watch"],
            &["reboot"],
        ] {
            let ended = apiclient(socket, line);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
            let expected = format!("Status unknown: connecting to {}: ", socket.display());
            assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("is `updog serve` running"),
                "{}",
                ended.stderr
            );
        }
    }
}
