//! What is promised of any bytes on a connection to the update API.
//!
//! * The connection ends, and nothing panics.
//! * What comes back, if anything does, is HTTP with a code that the API has.
//! * On a host without a configuration nothing is begun.

use std::path::PathBuf;

use updog::api::server::exchange;

use crate::seeds::Seed;

/// The codes that can be answered without a configuration.
const CODES: [&str; 11] = [
    "200", "400", "403", "404", "405", "408", "413", "414", "431", "500", "505",
];

/// Checks every promise.
pub fn run(data: &[u8]) {
    // There is no such file, so no command ever comes as far as a disk, or a reboot.
    let config = PathBuf::from("/nonexistent/updog.toml");
    let Ok(answer) = exchange(config, data) else {
        return;
    };
    if answer.is_empty() {
        return;
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    // An interim answer asks for the body.
    let code = line.split(' ').nth(1).unwrap_or_default();
    assert!(line.starts_with("HTTP/1."), "{line}");
    assert!(CODES.contains(&code) || code == "100", "{line}");
}

/// What a fuzzer starts from.
pub fn seeds() -> Vec<Seed> {
    let request = |method: &str, uri: &str, more: &str| {
        format!("{method} {uri} HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes()
    };
    let body = "Content-Length: 4\r\nPrefer: wait=0\r\n";
    [
        ("status", request("GET", "/updates/status", "")),
        (
            "explain",
            request("GET", "/updates/explain?version=1.2.3", ""),
        ),
        ("events", request("GET", "/updates/events", "")),
        ("os", request("GET", "/os?prefix=os.v", "")),
        ("openapi", request("GET", "/openapi.json", "")),
        ("metrics", request("GET", "/metrics", "")),
        (
            "refresh",
            [
                request("POST", "/actions/refresh-updates?ignore_waves=true", body),
                b"body".to_vec(),
            ]
            .concat(),
        ),
        (
            "chunked",
            [
                request(
                    "POST",
                    "/actions/prepare-update",
                    "Transfer-Encoding: chunked\r\n",
                ),
                b"4\r\nbody\r\n0\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        (
            "hold",
            request("POST", "/actions/release-hold?version=1.2.3", ""),
        ),
        (
            "two",
            [request("GET", "/os", ""), request("DELETE", "/os", "")].concat(),
        ),
        (
            "expect",
            request("POST", "/actions/rollback", "Expect: 100-continue\r\n"),
        ),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .to_vec()
}
