//! `updog serve` on a host, and a client that says exactly what a test wants it to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::host::Host;
use crate::running::{Ended, Running, Signal};

/// No answer takes longer; a test that waits for one fails then.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server.
#[derive(Debug)]
pub struct Api {
    /// Its process, whose events can be read.
    pub running: Running,
    socket: PathBuf,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Api {
    /// Serves `host`, which is configured with its socket.
    ///
    /// # Panics
    /// When the server does not come up.
    pub fn start(host: &Host) -> Self {
        let mut command = host.updog_command(&["serve", "--progress", "json"]);
        let mut running = Running::start(&mut command);
        running.until(&[("event", "log"), ("message", "serving")]);
        Self {
            running,
            socket: host.path("api.sock"),
        }
    }

    /// Its path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection of its own.
    ///
    /// # Panics
    /// When there is none to be had.
    pub fn connect(&self) -> UnixStream {
        connect(&self.socket)
    }

    /// `GET`.
    pub fn get(&self, uri: &str) -> Answer {
        ask(&self.socket, "GET", uri, &[])
    }

    /// `POST`, answered at once.
    pub fn post(&self, uri: &str) -> Answer {
        ask(&self.socket, "POST", uri, &[])
    }

    /// `POST`, answered when the command has ended.
    pub fn post_and_wait(&self, uri: &str) -> Answer {
        ask(&self.socket, "POST", uri, &["Prefer: wait=600"])
    }

    /// The body of `GET /updates/status`.
    ///
    /// # Panics
    /// When there is none.
    pub fn status(&self) -> Value {
        self.get("/updates/status").expect(200).json()
    }

    /// Has `command` done, which is answered with 204, and returns the status after it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn done(&self, command: &str) -> Value {
        self.post_and_wait(&format!("/actions/{command}"))
            .expect(204);
        self.status()
    }

    /// Ends it as the init system does.
    pub fn stop(self) -> Ended {
        self.running.signal(Signal::TERM);
        self.running.end()
    }

    /// Ends it without a chance to do anything about it.
    pub fn kill(self) -> Ended {
        self.running.signal(Signal::KILL);
        self.running.end()
    }
}

#[allow(clippy::return_self_not_must_use)] // the demand is made by calling
impl Answer {
    /// Has this code.
    ///
    /// # Panics
    /// When it has another one.
    pub fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("a server");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout above zero");
    stream
}

/// One request on a connection of its own, and its answer.
///
/// # Panics
/// When there is none.
pub fn ask(socket: &Path, method: &str, uri: &str, headers: &[&str]) -> Answer {
    let mut head = format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("Content-Length: 0\r\n\r\n");
    let mut stream = connect(socket);
    stream.write_all(head.as_bytes()).expect("a request");
    answer(&mut stream)
}

/// What comes until the other side closes.
///
/// # Panics
/// When it is no answer.
pub fn answer(stream: &mut UnixStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    parse(&String::from_utf8(bytes).expect("text"))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let first = lines.next().expect("a status line");
    let code = first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no code: {first}"));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = headers.get("transfer-encoding").map(String::as_str) == Some("chunked");
    let body = if is_chunked {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Answer {
        code,
        headers,
        body,
    }
}

fn unchunk(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        let Some(chunk) = rest.get(..length) else {
            break;
        };
        body.push_str(chunk);
        chunks = rest.get(length + 2..).unwrap_or_default();
    }
    body
}
