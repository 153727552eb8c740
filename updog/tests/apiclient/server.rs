//! A server on a real socket that says what it is told to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) uri: String,
    head: String,
    pub(crate) body: String,
}

/// What becomes of a request.
pub(crate) enum Reply {
    /// An answer with more headers, each with its line end.
    Answer(u16, String, Vec<u8>),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, as long as the server lives.
    Silence,
    /// The end of the connection, the socket and the server.
    Vanish,
}

pub(crate) struct Server {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

/// A folder for a socket.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Reply {
    pub(crate) fn status(code: u16, body: &str) -> Self {
        Self::Answer(code, String::new(), body.as_bytes().to_vec())
    }
}

impl Server {
    /// Asks `script` about each request.
    pub(crate) fn start(
        folder: &TempDir,
        mut script: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let socket = folder.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let path = socket.clone();
        let requests = seen.clone();
        let run = move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // Nothing comes from `drop`.
                let Some(request) = read(&mut stream) else {
                    return;
                };
                requests.lock().unwrap().push(request.clone());
                // A client that has enough of an answer may be gone.
                match script(&request) {
                    Reply::Answer(code, headers, body) => {
                        let _ = stream.write_all(&answer(code, &headers, &body));
                    }
                    Reply::Bytes(bytes) => {
                        let _ = stream.write_all(&bytes);
                    }
                    Reply::Silence => silent.push(stream),
                    Reply::Vanish => {
                        fs::remove_file(path).unwrap();
                        return;
                    }
                }
            }
        };
        Self {
            socket,
            seen,
            thread: Some(thread::spawn(run)),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// What was asked to be done, in order.
    pub(crate) fn posts(&self) -> Vec<String> {
        let seen = self.seen();
        let posts = seen.iter().filter(|request| request.method == "POST");
        posts.map(|request| request.uri.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that vanished listens to nobody.
        let _ = UnixStream::connect(&self.socket);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn read(stream: &mut UnixStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).unwrap_or(0) {
            0 => return None,
            count => bytes.extend(&more[..count]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut words = head.split(' ');
    let mut request = Request {
        method: words.next().unwrap().to_owned(),
        uri: words.next().unwrap().to_owned(),
        head: head.clone(),
        body: String::new(),
    };
    let length = request
        .header("content-length")
        .map_or(0, |it| it.parse().unwrap());
    let mut body = bytes[end..].to_vec();
    let came = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[came..]).unwrap();
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

fn answer(code: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let length = if code == 204 {
        String::new()
    } else {
        format!("Content-Length: {length}\r\n")
    };
    let head = format!("HTTP/1.1 {code} Whatever\r\nConnection: close\r\n{length}{headers}\r\n");
    [head.as_bytes(), body].concat()
}
