//! Those who may connect, and ask for nonsense, too much, too slowly, or not at all.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use system_tests::api::{Api, answer};
use system_tests::world::TwoReleases as World;

/// Sends `bytes` and no more; what comes back, if anything does.
fn say(api: &Api, bytes: &[u8]) -> String {
    let mut stream = api.connect();
    // A server may hang up before it has heard all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    read(&mut stream)
}

fn read(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn nonsense_is_refused_and_the_next_request_is_answered() {
    let world = World::new();
    let api = Api::start(&world.host);
    let long = |length| "x".repeat(length);
    for (request, codes) in [
        (String::new(), &[""][..]),
        ("\0\0\0\0".to_owned(), &["400"]),
        (long(100), &["400", ""]),
        ("GET\r\n\r\n".to_owned(), &["400"]),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), &["400", "505"]),
        ("GET /os HTTP/1.1\r\nHost x\r\n\r\n".to_owned(), &["400"]),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned(), &["400"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &["400", "404", "405", "505", ""]),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(1 << 20)),
            &["414", "431", "400"],
        ),
        (
            format!("GET /os HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", long(1 << 20)),
            &["431", "400"],
        ),
        (
            format!("GET /os HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(1000)),
            &["431", "400"],
        ),
        (
            "POST /actions/refresh-updates HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
            &["400"],
        ),
        (
            "POST /actions/refresh-updates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
                .to_owned(),
            &["400"],
        ),
        (
            format!(
                "POST /actions/refresh-updates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{}",
                1 << 20,
                long(1 << 20)
            ),
            &["413"],
        ),
        (
            format!(
                "POST /actions/refresh-updates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n",
                u64::MAX
            ),
            &["413", "400", "431"],
        ),
        (
            "POST /actions/prepare-update HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
            &["400", ""],
        ),
    ] {
        let shown: String = request.chars().take(60).collect();
        let answered = say(&api, request.as_bytes());
        let code = answered.split(' ').nth(1).unwrap_or_default();
        assert!(codes.contains(&code), "{shown:?}: {answered}");
        api.get("/os").expect(200);
    }
    // None of it has begun anything.
    api.get("/updates/status").expect(404);
}

#[test]
fn paths_methods_and_queries_that_are_none_have_their_codes() {
    let world = World::new();
    let api = Api::start(&world.host);
    for (method, uri, code, kind) in [
        ("GET", "/", 404, "no_such_path"),
        ("GET", "/updates", 404, "no_such_path"),
        ("GET", "/updates/status/", 404, "no_such_path"),
        ("GET", "/../etc/passwd", 404, "no_such_path"),
        ("GET", "/%00", 404, "no_such_path"),
        ("POST", "/updates/status", 405, "method"),
        ("GET", "/actions/reboot", 405, "method"),
        ("DELETE", "/os", 405, "method"),
        ("GET", "/os?prefix=", 400, "bad_request"),
        ("GET", "/updates/explain?version=1.2", 400, "bad_request"),
        ("GET", "/updates/explain?vresion=1.2.3", 400, "bad_request"),
        (
            "GET",
            "/updates/explain?version=9.9.9",
            404,
            "no_such_version",
        ),
        (
            "POST",
            "/actions/refresh-updates?ignore-waves=true",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/actions/refresh-updates?ignore_waves=maybe",
            400,
            "bad_request",
        ),
        ("POST", "/actions/release-hold", 400, "bad_request"),
        (
            "POST",
            "/actions/release-hold?version=x",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/actions/release-hold?version=9.9.9",
            404,
            "no_such_hold",
        ),
    ] {
        let refused = system_tests::api::ask(api.socket(), method, uri, &[]);
        assert_eq!(refused.code, code, "{method} {uri}: {refused:?}");
        assert_eq!(refused.headers["updog-error"], kind, "{method} {uri}");
        assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(
            refused.body.lines().count(),
            1,
            "{method} {uri}: {refused:?}"
        );
    }
}

#[test]
fn half_open_connections_end_and_keep_nobody_out() {
    let world = World::new();
    let api = Api::start(&world.host);
    // More than there are places for: some are turned away, the others have ten seconds.
    let mut halves: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut half = api.connect();
            half.write_all(b"GET /os HTT").unwrap();
            half
        })
        .collect();
    api.get("/os").expect(200);
    let mut slow = api.connect();
    slow.write_all(
        b"POST /actions/refresh-updates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
          Content-Length: 10\r\n\r\nslow",
    )
    .unwrap();
    // The server ends each of them by itself.
    for half in &mut halves {
        let answered = read(half);
        assert!(
            answered.is_empty() || answered.contains(" 408 "),
            "{answered}"
        );
    }
    assert_eq!(answer(&mut slow).code, 408);
    api.get("/updates/status").expect(404);
}

#[test]
fn crowds_are_turned_away_and_the_server_goes_on() {
    let world = World::new();
    let api = Api::start(&world.host);
    let ask = || {
        let mut stream = api.connect();
        let _ = stream.write_all(b"GET /os HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        read(&mut stream)
    };
    // They are let in in this order, and stay for as long as a head may take.
    let crowd: Vec<UnixStream> = (0..128).map(|_| api.connect()).collect();
    assert_eq!(ask(), "", "there is no place left");
    drop(crowd);
    while !ask().contains(" 200 ") {
        thread::yield_now();
    }
}
