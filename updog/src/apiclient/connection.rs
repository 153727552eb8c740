//! One request, one connection, one bounded answer: HTTP/1.1 on a Unix socket.
//!
//! A connection is never used twice, so that a server which restarts between two requests is noticed
//! at once and in one place.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use snafu::{ResultExt, Snafu};
use tokio::net::UnixStream;

/// Of a status, which fits many times over.
pub(super) const STATUS_LIMIT: usize = 4 << 20;
/// Of any other answer.
pub(super) const ANSWER_LIMIT: usize = 16 << 20;
/// What an HTTP head may have; servers of this API send a handful.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 64 << 10;
/// A queue of connections that is full is asked again so often, and for so long.
const QUEUE_PAUSE: Duration = Duration::from_millis(50);
const QUEUE_TRIES: u32 = 100;

/// Why there is no answer.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // named as they are
pub(super) enum ConnectionError {
    #[snafu(display("connecting to {}", socket.display()))]
    Connect { socket: PathBuf, source: io::Error },
    #[snafu(display("asking the server at {}", socket.display()))]
    Exchange {
        socket: PathBuf,
        source: hyper::Error,
    },
    #[snafu(display("reading the answer"))]
    Body { source: hyper::Error },
    #[snafu(display("the answer is larger than {limit} bytes"))]
    TooLarge { limit: usize },
    #[snafu(display("no answer within {} s", within.as_secs()))]
    Late { within: Duration },
}

/// What the server said, whichever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What to ask.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) uri: PathAndQuery,
    /// JSON.
    pub(super) data: Option<String>,
    pub(super) header: Option<(HeaderName, &'static str)>,
}

/// The server at a socket.
#[derive(Debug, Clone)]
pub(super) struct Api {
    socket: PathBuf,
}

impl ConnectionError {
    /// Whether the request cannot have reached a server: nobody was connected to.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    /// Whether nobody listens at the socket, as while a server restarts.
    pub(super) fn is_nobody(&self) -> bool {
        self.connecting()
            .is_some_and(|kind| matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused))
    }

    /// Whether this user may not connect.
    pub(super) fn is_forbidden(&self) -> bool {
        self.connecting() == Some(ErrorKind::PermissionDenied)
    }

    fn connecting(&self) -> Option<ErrorKind> {
        match self {
            Self::Connect { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

impl Ask {
    pub(super) fn get(uri: &'static str) -> Self {
        Self::new(Method::GET, PathAndQuery::from_static(uri))
    }

    pub(super) fn post(uri: &'static str) -> Self {
        Self::new(Method::POST, PathAndQuery::from_static(uri))
    }

    pub(super) fn new(method: Method, uri: PathAndQuery) -> Self {
        Self {
            method,
            uri,
            data: None,
            header: None,
        }
    }
}

impl Api {
    pub(super) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The answer to `ask`, as long as its body has no more than `limit` bytes.
    pub(super) async fn answer(&self, ask: &Ask, limit: usize) -> Result<Answer, ConnectionError> {
        collect(self.open(ask).await?, limit).await
    }

    /// The same, if it is all there `within` a time.
    pub(super) async fn answer_within(
        &self,
        ask: &Ask,
        limit: usize,
        within: Duration,
    ) -> Result<Answer, ConnectionError> {
        tokio::time::timeout(within, self.answer(ask, limit))
            .await
            .unwrap_or_else(|_| LateSnafu { within }.fail())
    }

    /// The head of the answer, with its body still to come.
    pub(super) async fn open(&self, ask: &Ask) -> Result<Response<Incoming>, ConnectionError> {
        let socket = &self.socket;
        let stream = self.connect().await.context(ConnectSnafu { socket })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .context(ExchangeSnafu { socket })?;
        // Whoever waits for the answer is told how this ends.
        tokio::spawn(connection);
        let answer = sender.send_request(request(ask)).await;
        answer.context(ExchangeSnafu { socket })
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let mut tries = 0;
        loop {
            match UnixStream::connect(&self.socket).await {
                // The server is there, with its hands full.
                Err(error) if error.kind() == ErrorKind::WouldBlock && tries < QUEUE_TRIES => {
                    tries += 1;
                    tokio::time::sleep(QUEUE_PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

/// All of `opened`, as long as its body has no more than `limit` bytes.
pub(super) async fn collect(
    opened: Response<Incoming>,
    limit: usize,
) -> Result<Answer, ConnectionError> {
    let (head, body) = opened.into_parts();
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(Answer {
            code: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        }),
        Err(error) => Err(body_error(error, limit)),
    }
}

fn request(ask: &Ask) -> Request<Full<Bytes>> {
    let body = ask.data.clone().map(Bytes::from).unwrap_or_default();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = Uri::from(ask.uri.clone());
    let headers = request.headers_mut();
    let text = HeaderValue::from_static;
    headers.insert(HOST, text("localhost"));
    if ask.data.is_some() {
        headers.insert(CONTENT_TYPE, text("application/json"));
    }
    if let Some((name, value)) = &ask.header {
        headers.insert(name, text(value));
    }
    request
}

/// What [`Limited`] ends with is an error of the body below it, or its own.
fn body_error(error: Box<dyn StdError + Send + Sync>, limit: usize) -> ConnectionError {
    match error.downcast::<hyper::Error>() {
        Ok(source) => ConnectionError::Body { source: *source },
        Err(_) => ConnectionError::TooLarge { limit },
    }
}
