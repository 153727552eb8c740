//! A web server for a folder, on loopback, that can be told to misbehave.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

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
    /// Sends the part that was asked for, and says that it is another.
    LieAboutRange,
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
}

/// Called when a request comes, before it is answered.
type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    hooks: Vec<(String, Hook)>,
    /// Part of the path, what happens, and how many times still.
    faults: Vec<(String, Fault, usize)>,
    seen: Vec<Seen>,
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

    /// The same over TLS.
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
                            None => serve(socket, folder, state).await,
                            // A client that does not trust us, or is not trusted, goes away.
                            Some(tls) => {
                                if let Ok(socket) = tls.accept(socket).await {
                                    serve(socket, folder, state).await;
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

    /// The next `times` requests whose path contains `part` meet `fault`.
    pub fn fault(&self, part: &str, fault: Fault, times: usize) {
        lock(&self.state)
            .faults
            .push((part.to_owned(), fault, times));
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

type Body = BoxBody<Bytes, io::Error>;

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
) {
    let service = service_fn(move |request| {
        let answer = answer(&folder, &state, &request);
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer,
                None => pending().await,
            })
        }
    });
    // Ends with an error when a fault dropped the connection.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

/// The answer, if there is to be one.
fn answer(
    folder: &Path,
    state: &Mutex<State>,
    request: &Request<Incoming>,
) -> Option<Response<Body>> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let path = request.uri().path().to_owned();
    let fault = {
        let mut state = lock(state);
        state.seen.push(seen(request));
        let hit = state
            .faults
            .iter_mut()
            .find(|(part, _, times)| *times > 0 && path.contains(part.as_str()));
        hit.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        })
    };
    let hook = {
        let mut state = lock(state);
        let hit = state
            .hooks
            .iter()
            .position(|(part, _)| path.contains(part.as_str()));
        hit.map(|at| state.hooks.remove(at).1)
    };
    if let Some(hook) = hook {
        hook();
    }
    let Some(mut content) = read(folder, &path) else {
        return Some(status(404));
    };
    match &fault {
        Some(Fault::Silence) => return None,
        Some(Fault::Status(code)) => return Some(status(*code)),
        Some(Fault::RefuseRange(code)) if header(RANGE).is_some() => return Some(status(*code)),
        Some(Fault::Redirect(url)) => {
            let mut response = status(302);
            response
                .headers_mut()
                .insert(LOCATION, url.parse().expect("a URL is a header value"));
            return Some(response);
        }
        Some(Fault::Endless(bytes)) => {
            let bytes = Bytes::copy_from_slice(bytes);
            let frames = stream::repeat_with(move || Ok(Frame::data(bytes.clone())));
            return Some(Response::new(BoxBody::new(StreamBody::new(frames))));
        }
        Some(Fault::ContinueAs(other)) if header(RANGE).is_some() => content.clone_from(other),
        Some(Fault::Replace(other)) => content.clone_from(other),
        Some(Fault::Append(more)) => content.extend_from_slice(more),
        _ => {}
    }
    let tag = format!(
        "\"{}\"",
        hex::encode(&<sha2::Sha256 as sha2::Digest>::digest(&content)[..8])
    );
    let start = header(RANGE)
        .filter(|_| {
            matches!(fault, Some(Fault::ContinueAs(_)))
                || header(IF_RANGE).is_none_or(|wanted| wanted == tag)
        })
        .filter(|_| fault != Some(Fault::IgnoreRange))
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        })
        .filter(|start| *start < content.len());
    let length = content.len();
    let part = content.split_off(start.unwrap_or(0));
    let mut response = Response::builder()
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, tag)
        .header(CONTENT_LENGTH, part.len());
    if let Some(start) = start {
        let told = if fault == Some(Fault::LieAboutRange) {
            start + 1
        } else {
            start
        };
        response = response.status(StatusCode::PARTIAL_CONTENT).header(
            CONTENT_RANGE,
            format!("bytes {told}-{}/{length}", length - 1),
        );
    }
    let body = body(fault.as_ref(), part);
    Some(response.body(body).expect("all headers are valid"))
}

fn seen(request: &Request<Incoming>) -> Seen {
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
    }
}

/// `part`, or as much of it as the fault lets through.
fn body(fault: Option<&Fault>, part: Vec<u8>) -> Body {
    match fault {
        Some(Fault::DropAfter(bytes)) => {
            let first = Bytes::copy_from_slice(&part[..(*bytes).min(part.len())]);
            // What was not flushed is lost with the connection, and a body that has to wait is
            // flushed.
            let dropped = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("dropped on purpose"))
            });
            let sent = stream::iter([Ok(Frame::data(first))]);
            BoxBody::new(StreamBody::new(Box::pin(sent.chain(dropped))))
        }
        Some(Fault::StallAfter(bytes)) => {
            let first = Bytes::copy_from_slice(&part[..(*bytes).min(part.len())]);
            let sent = stream::iter([Ok(Frame::data(first))]);
            BoxBody::new(StreamBody::new(sent.chain(stream::pending())))
        }
        Some(Fault::Drip) => {
            let bytes = stream::iter(part).then(|byte| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(Frame::data(Bytes::copy_from_slice(&[byte])))
            });
            BoxBody::new(StreamBody::new(Box::pin(bytes)))
        }
        _ => whole(part),
    }
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed()
}

fn status(code: u16) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(whole(Vec::new()))
        .expect("a status from a test")
}

/// The file below `folder`, and nothing outside it.
fn read(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let relative = PathBuf::from(path.trim_start_matches('/'));
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    inside
        .then(|| fs::read(folder.join(relative)).ok())
        .flatten()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
