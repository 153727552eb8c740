//! A web server for a folder, on loopback, that can be told to misbehave.

mod answer;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use hyper::body::Incoming;
use hyper::header::RANGE;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use self::answer::{Body, answer};

/// What a server does wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status.
    Status(u16),
    /// Sends this many bytes of the body, then drops the connection.
    DropAfter(usize),
    /// Sends this instead of the file.
    Replace(Vec<u8>),
    /// Sends more bytes than there are.
    Append(Vec<u8>),
    /// Sends the whole file where a part was asked for.
    IgnoreRange,
    /// Answers with this status where a part was asked for.
    RefuseRange(u16),
    /// The same, and drops the connection after this many bytes of the body.
    IgnoreRangeAndDrop(usize),
    /// Sends the part that was asked for, and says that it is another.
    LieAboutRange,
    /// Sends the part that was asked for, and says that the file is longer than it is.
    LieAboutLength,
    /// Sends the part that was asked for, and says nothing of that.
    NoContentRange,
    /// Sends the part that was asked for, and does not say how long the file is.
    UnknownLength,
    /// Sends this many bytes less than the part has, and says so only in `Content-Length`.
    ShortPart(usize),
    /// Sends this many bytes more than the part has, and says so nowhere.
    LongPart(usize),
    /// Has this entity tag for the file.
    Tag(String),
    /// Sends the client elsewhere.
    Redirect(String),
    /// Continues with the same part of this other file, whatever `If-Range` says.
    ContinueAs(Vec<u8>),
    /// Sends this many bytes of the body, then nothing more on an open connection.
    StallAfter(usize),
    /// Takes the request and never answers.
    Silence,
    /// Sends a byte every few milliseconds.
    Drip,
    /// Does not say how long the file is, and sends this over and over.
    Endless(Vec<u8>),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Without the query.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// The value of the `Range` header.
    pub range: Option<String>,
    /// All headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The number of the connection over which it came.
    pub connection: usize,
    /// Whether that spoke HTTP/2.
    pub is_http2: bool,
}

/// Called when a request comes, before it is answered.
type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    hooks: Vec<(String, Hook)>,
    /// Part of the path, what happens, and how many times still.
    faults: Vec<(String, Fault, usize)>,
    seen: Vec<Seen>,
    connections: usize,
}

/// A running server. It ends with the process.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves the files below `folder`.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, None)
    }

    /// The same over TLS; HTTP/2 where `tls` and the client have it (`h2` in `alpn_protocols`).
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn start_tls(folder: &Path, tls: ServerConfig) -> Self {
        Self::start_with(folder, Some(TlsAcceptor::from(Arc::new(tls))))
    }

    fn start_with(folder: &Path, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State::default()));
        let (folder, shared) = (folder.to_owned(), state.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
                sender
                    .send(listener.local_addr().expect("an address"))
                    .expect("a listener");
                loop {
                    let Ok((socket, _)) = listener.accept().await else {
                        continue;
                    };
                    let (folder, state) = (folder.clone(), shared.clone());
                    let tls = tls.clone();
                    tokio::spawn(async move {
                        match tls {
                            None => serve(socket, folder, state, Version::HTTP_11).await,
                            // A client that does not trust us, or is not trusted, goes away.
                            Some(tls) => {
                                if let Ok(socket) = tls.accept(socket).await {
                                    let version = match socket.get_ref().1.alpn_protocol() {
                                        Some(b"h2") => Version::HTTP_2,
                                        _ => Version::HTTP_11,
                                    };
                                    serve(socket, folder, state, version).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        let address = receiver
            .recv()
            .expect("the server's thread sends its address");
        Self {
            address,
            scheme,
            state,
        }
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` requests whose path contains `part` meet `fault`. The name of a block map
    /// contains that of its image; it is meant only where `part` has the `.map`.
    pub fn fault(&self, part: &str, fault: Fault, times: usize) {
        lock(&self.state)
            .faults
            .push((part.to_owned(), fault, times));
    }

    /// Block maps are not there, so that images are fetched whole.
    pub fn hide_block_maps(&self) {
        self.fault(".map.lz4", Fault::Status(404), usize::MAX);
    }

    /// From now on nothing goes wrong any more.
    pub fn forgive(&self) {
        lock(&self.state).faults.clear();
    }

    /// When a path that contains `part` is asked for next, `hook` runs before it is answered.
    pub fn when(&self, part: &str, hook: impl FnOnce() + Send + 'static) {
        lock(&self.state)
            .hooks
            .push((part.to_owned(), Box::new(hook)));
    }

    /// Hooks that did not run yet never will.
    pub fn forget_hooks(&self) {
        lock(&self.state).hooks.clear();
    }

    /// The requests so far; forgets them.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state).seen)
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    version: Version,
) {
    let connection = {
        let mut state = lock(&state);
        state.connections += 1;
        state.connections
    };
    let service = service_fn(move |request| {
        let answer = respond(&folder, &state, &request, connection);
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer,
                None => pending().await,
            })
        }
    });
    let socket = TokioIo::new(socket);
    // Both end with an error when a fault dropped the connection.
    if version == Version::HTTP_2 {
        let builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(socket, service).await;
    } else {
        let builder = http1::Builder::new();
        let _ = builder.serve_connection(socket, service).await;
    }
}

/// The answer, if there is to be one.
fn respond(
    folder: &Path,
    state: &Mutex<State>,
    request: &Request<Incoming>,
    connection: usize,
) -> Option<Response<Body>> {
    let path = request.uri().path();
    let (fault, hook) = {
        let mut state = lock(state);
        state.seen.push(seen(request, connection));
        let hit = state
            .faults
            .iter_mut()
            .find(|(part, _, times)| *times > 0 && is_meant(path, part));
        let fault = hit.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        });
        let hit = state
            .hooks
            .iter()
            .position(|(part, _)| is_meant(path, part));
        (fault, hit.map(|at| state.hooks.remove(at).1))
    };
    if let Some(hook) = hook {
        hook();
    }
    answer(folder, path, request.headers(), fault.as_ref())
}

/// Whether a request for `path` is one of those that `part` names.
fn is_meant(path: &str, part: &str) -> bool {
    path.contains(part) && (part.contains(".map") || !path.ends_with(".map.lz4"))
}

fn seen(request: &Request<Incoming>, connection: usize) -> Seen {
    let headers: BTreeMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        })
        .collect();
    Seen {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        range: headers.get(RANGE.as_str()).cloned(),
        headers,
        connection,
        is_http2: request.version() == Version::HTTP_2,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
