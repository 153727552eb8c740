//! How bytes come from a repository: HTTP and `file://`, for metadata and targets alike.
//!
//! What arrives is not trusted here; tough judges it. This layer promises that it ends (every
//! transfer has a connect and a stall timeout, a bounded number of tries without progress, and
//! metadata a size cap), that a body is one body (a continued transfer is checked to be the same
//! file at the right place), and that what was received as metadata can be had again byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_RANGE, ETAG, IF_RANGE};
use reqwest::header::{HeaderMap, HeaderValue, LAST_MODIFIED, PRAGMA, RANGE};
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use super::pace::{FileKind, GiveUp, Pace};
use super::{RepositorySettings, shown};

/// No metadata file is larger, whatever length a signed file states for it.
pub const MAX_METADATA_BYTES: usize = 10 << 20;
/// Redirects that are followed before a server is taken to be lost.
const MAX_REDIRECTS: usize = 5;
/// Chunks that wait for a slow reader. A chunk is what one read of the socket or file gave.
const CHUNKS_AHEAD: usize = 16;
const FILE_CHUNK_BYTES: usize = 64 << 10;

/// Why a client cannot be made.
#[derive(Debug, Snafu)]
#[snafu(display("setting up the HTTP client"))]
pub struct ClientError {
    source: reqwest::Error,
}

/// Why one try, or the transfer, ended early.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
enum TransferError {
    #[snafu(display("the server answered {status}{}", hint(*status)))]
    Status { status: StatusCode },
    #[snafu(display("{reason}"))]
    Http {
        reason: &'static str,
        source: reqwest::Error,
    },
    #[snafu(display("the server continued the file at another place, or another file"))]
    WrongRange,
    #[snafu(display("the body ended after {received} of {expected} bytes"))]
    Short { received: u64, expected: u64 },
    #[snafu(display("metadata of more than {MAX_METADATA_BYTES} bytes"))]
    TooLarge,
    #[snafu(display("reading the file"))]
    File { source: std::io::Error },
    #[snafu(display("the URL is not the path of a file"))]
    NotAPath,
    #[snafu(display("giving up, {why}, after the last failure"))]
    GaveUp {
        why: GiveUp,
        source: Box<TransferError>,
    },
    #[snafu(display("giving up: {why}"))]
    NoUse { why: GiveUp },
    #[snafu(display("the server refuses to continue the file ({status})"))]
    RangeRefused { status: StatusCode },
}

impl TransferError {
    fn is_not_found(&self) -> bool {
        match self {
            // 403 is no answer to whether a file exists; a server that says it has a problem.
            Self::Status { status } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE)
            }
            Self::File { source } => source.kind() == ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the same request may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Status { status } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Http { source, .. } => !source.is_redirect() && !source.is_builder(),
            Self::WrongRange | Self::RangeRefused { .. } | Self::Short { .. } => true,
            _ => false,
        }
    }
}

/// What a status may mean beyond its name.
fn hint(status: StatusCode) -> &'static str {
    if status == StatusCode::FORBIDDEN {
        ", which does not say whether the file exists: a file store without the right to list its \
         files answers so for a missing one, and then no repository can be read from it"
    } else {
        ""
    }
}

/// The transport under tough. Clones share the client, the query parameters and the record.
#[derive(Debug, Clone)]
pub struct RepositoryTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    metadata_base_url: Url,
    outage_timeout: Duration,
    bypasses_caches: AtomicBool,
    /// Sent with every HTTP request, sorted by key; a key may occur twice.
    query: Mutex<BTreeSet<(String, String)>>,
    /// Metadata files by name, exactly as received.
    record: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl RepositoryTransport {
    /// A client for `settings`; nothing is fetched yet.
    ///
    /// # Errors
    /// When the system's TLS configuration cannot be read.
    pub fn new(settings: &RepositorySettings) -> Result<Self, ClientError> {
        // Fails only if a provider is installed already, by an earlier client of this process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = match client_builder(settings).and_then(ClientBuilder::build) {
            // Without https, a system without certificates is as good as any.
            Err(_) if !settings.uses_https() => {
                client_builder(settings).and_then(|builder| builder.tls_certs_only([]).build())
            }
            client => client,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                client: client.context(ClientSnafu)?,
                metadata_base_url: settings.metadata_base_url.clone(),
                outage_timeout: settings.outage_timeout,
                bypasses_caches: AtomicBool::new(false),
                query: Mutex::default(),
                record: Mutex::default(),
            }),
        })
    }

    /// Sends `key=value` with every request from now on.
    pub fn add_query(&self, key: &str, value: &str) {
        lock(&self.shared.query).insert((key.to_owned(), value.to_owned()));
    }

    /// Asks every cache on the way for what the server itself has, from now on.
    pub fn bypass_caches(&self) {
        self.shared.bypasses_caches.store(true, Ordering::Relaxed);
    }

    /// The metadata file `name` as it was received last. It may not have been accepted since.
    pub fn received(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.shared.record).get(name).cloned()
    }
}

fn client_builder(settings: &RepositorySettings) -> reqwest::Result<ClientBuilder> {
    let builder = Client::builder()
        .user_agent(concat!("updog/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.stall_timeout)
        .redirect(redirect::Policy::custom(redirect_policy));
    let Some(proxy) = &settings.https_proxy else {
        return Ok(builder);
    };
    let excluded = if settings.no_proxy.is_empty() {
        reqwest::NoProxy::from_env()
    } else {
        reqwest::NoProxy::from_string(&settings.no_proxy.join(","))
    };
    Ok(builder.proxy(reqwest::Proxy::https(proxy.clone())?.no_proxy(excluded)))
}

#[async_trait]
impl Transport for RepositoryTransport {
    /// Never fails at once: a failure is the stream's item, because tough takes an error here in
    /// the root chain for the end of the chain.
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(self.shared.clone().transfer(url, sender));
        Ok(Box::pin(stream::poll_fn(move |context| {
            receiver.poll_recv(context)
        })))
    }
}

type Sink = mpsc::Sender<Result<Bytes, TransportError>>;

/// The reader of the transfer is gone; nobody is left to tell.
struct ReaderGone;

/// Where a transfer goes: to its reader, and for metadata also to the record.
struct Delivery<'a> {
    sink: &'a Sink,
    sent: u64,
    recorded: Option<Vec<u8>>,
}

impl Delivery<'_> {
    async fn chunk(&mut self, chunk: Bytes) -> Result<Result<(), TransferError>, ReaderGone> {
        if let Some(recorded) = &mut self.recorded {
            if recorded.len().saturating_add(chunk.len()) > MAX_METADATA_BYTES {
                return Ok(TooLargeSnafu.fail());
            }
            recorded.extend_from_slice(&chunk);
        }
        self.sent = self.sent.saturating_add(length_of(&chunk));
        self.sink.send(Ok(chunk)).await.map_err(|_| ReaderGone)?;
        Ok(Ok(()))
    }
}

impl Shared {
    async fn transfer(self: Arc<Self>, url: Url, sink: Sink) {
        let name = self.metadata_name(&url);
        let mut delivery = Delivery {
            sink: &sink,
            sent: 0,
            recorded: name.as_ref().map(|_| Vec::new()),
        };
        let result = if url.scheme() == "file" {
            transfer_file(&url, &mut delivery).await
        } else {
            self.transfer_http(&url, &mut delivery).await
        };
        match result {
            Ok(Ok(())) => {
                if let (Some(name), Some(recorded)) = (name, delivery.recorded) {
                    lock(&self.record).insert(name, recorded);
                }
            }
            Ok(Err(error)) => {
                let kind = if error.is_not_found() {
                    TransportErrorKind::FileNotFound
                } else {
                    TransportErrorKind::Other
                };
                let cause: Box<dyn Error + Send + Sync> = error.into();
                // Fails only when the reader is gone.
                let _ = sink
                    .send(Err(TransportError::new_with_cause(kind, &url, cause)))
                    .await;
            }
            Err(ReaderGone) => {}
        }
    }

    /// The file name of `url` if it lies right in the metadata folder.
    fn metadata_name(&self, url: &Url) -> Option<String> {
        let name = url.as_str().strip_prefix(self.metadata_base_url.as_str())?;
        let is_role = Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "json");
        (is_role && !name.contains('/')).then(|| name.to_owned())
    }

    async fn transfer_http(
        &self,
        url: &Url,
        delivery: &mut Delivery<'_>,
    ) -> Result<Result<(), TransferError>, ReaderGone> {
        let mut request_url = url.clone();
        let query = lock(&self.query).clone();
        if !query.is_empty() {
            request_url.query_pairs_mut().extend_pairs(query);
        }
        let mut body = Body::default();
        let kind = match delivery.recorded {
            Some(_) => FileKind::Metadata,
            None => FileKind::Target,
        };
        let start = Instant::now();
        let mut pace = Pace::new(kind, self.outage_timeout);
        loop {
            let tried = self
                .try_http(&request_url, &mut body, delivery, &mut pace, start)
                .await?;
            let error = match tried {
                Ok(()) => return Ok(Ok(())),
                Err(error) if error.is_passing() => error,
                Err(error) => return Ok(Err(error)),
            };
            let wait = match pace.failed(start.elapsed()) {
                Ok(wait) => wait,
                Err(why) => {
                    let source = Box::new(error);
                    return Ok(Err(TransferError::GaveUp { why, source }));
                }
            };
            let (at, why) = (delivery.sent, crate::exit::chain(&error));
            tracing::info!("fetching {} at byte {at}: {why}; trying again", shown(url));
            tokio::time::sleep(wait).await;
        }
    }

    /// One request: the whole body, or what is missing of it.
    async fn try_http(
        &self,
        url: &Url,
        body: &mut Body,
        delivery: &mut Delivery<'_>,
        pace: &mut Pace,
        start: Instant,
    ) -> Result<Result<(), TransferError>, ReaderGone> {
        let mut response = match self.request(url, body, delivery.sent).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        let mut skip = match body.accept(&response, delivery.sent) {
            Ok(skip) => skip,
            Err(error) => return Ok(Err(error)),
        };
        if skip > 0
            && let Err(why) = pace.restarted()
        {
            return Ok(NoUseSnafu { why }.fail());
        }
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    let source = error.without_url();
                    return Ok(Err(TransferError::Http {
                        reason: "receiving the body",
                        source,
                    }));
                }
            };
            // A server that starts over sends again what was delivered. The digest at the end
            // tells whether it was the same file.
            let came = length_of(&chunk);
            let skipped = skip.min(came);
            skip -= skipped;
            if let Err(why) = pace.received(start.elapsed(), came, came - skipped) {
                return Ok(NoUseSnafu { why }.fail());
            }
            let chunk = chunk.slice(usize::try_from(skipped).unwrap_or(chunk.len())..);
            if !chunk.is_empty()
                && let Err(error) = delivery.chunk(chunk).await?
            {
                return Ok(Err(error));
            }
        }
        match body.length {
            Some(expected) if delivery.sent < expected => Ok(ShortSnafu {
                received: delivery.sent,
                expected,
            }
            .fail()),
            _ => Ok(Ok(())),
        }
    }

    async fn request(
        &self,
        url: &Url,
        body: &mut Body,
        offset: u64,
    ) -> Result<Response, TransferError> {
        // No content coding: lengths and digests are those of the file itself.
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.bypasses_caches.load(Ordering::Relaxed) {
            let no_cache = HeaderValue::from_static("no-cache");
            request = request
                .header(CACHE_CONTROL, no_cache.clone())
                .header(PRAGMA, no_cache);
        }
        if let (true, Some(validator)) = (offset > 0, &body.validator) {
            request = request
                .header(RANGE, format!("bytes={offset}-"))
                .header(IF_RANGE, validator);
        }
        let response = request
            .send()
            .await
            // Whoever prints the error names the URL, without the query.
            .map_err(reqwest::Error::without_url)
            .context(HttpSnafu { reason: "sending the request" })?;
        let status = response.status();
        if status.is_client_error() && offset > 0 && body.validator.take().is_some() {
            // Some servers refuse ranges instead of ignoring them. Without one the next try may do.
            return RangeRefusedSnafu { status }.fail();
        }
        if !status.is_success() {
            return StatusSnafu { status }.fail();
        }
        Ok(response)
    }
}

/// What is known of the file from the first answer that carried it.
#[derive(Debug, Default)]
struct Body {
    length: Option<u64>,
    /// Names this state of the file; without one nothing is continued.
    validator: Option<HeaderValue>,
}

impl Body {
    /// Checks that `response` is the file from its start, or from `offset` on. Returns how many
    /// of its first bytes were delivered before.
    fn accept(&mut self, response: &Response, offset: u64) -> Result<u64, TransferError> {
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let (start, length) = content_range(response.headers()).context(WrongRangeSnafu)?;
            if start != offset || self.length.is_some_and(|known| known != length) {
                // Never ask for a range of this body again.
                self.validator = None;
                return WrongRangeSnafu.fail();
            }
            return Ok(0);
        }
        self.length = response.content_length();
        self.validator = validator(response.headers());
        Ok(offset)
    }
}

/// A strong entity tag, or else the time of the last change.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"))
        .or_else(|| headers.get(LAST_MODIFIED))
        .cloned()
}

/// First byte and whole length of `bytes FIRST-LAST/LENGTH`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, length) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let length = length.parse().ok()?;
    (first <= last && last.checked_add(1) == Some(length)).then_some((first, length))
}

async fn transfer_file(
    url: &Url,
    delivery: &mut Delivery<'_>,
) -> Result<Result<(), TransferError>, ReaderGone> {
    let Ok(path) = url.to_file_path() else {
        return Ok(NotAPathSnafu.fail());
    };
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(source) => return Ok(Err(TransferError::File { source })),
    };
    loop {
        let mut chunk = bytes::BytesMut::with_capacity(FILE_CHUNK_BYTES);
        match file.read_buf(&mut chunk).await {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => {
                if let Err(error) = delivery.chunk(chunk.freeze()).await? {
                    return Ok(Err(error));
                }
            }
            Err(source) => return Ok(Err(TransferError::File { source })),
        }
    }
}

fn redirect_policy(attempt: redirect::Attempt) -> redirect::Action {
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if from_https && attempt.url().scheme() != "https" {
        attempt.error("redirected from https to an unprotected address")
    } else {
        attempt.follow()
    }
}

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A panic elsewhere leaves both maps whole: every change is one insertion.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        for (value, expected) in [
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 0-0/1", Some((0, 1))),
            ("bytes 5-8/10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 18446744073709551615-18446744073709551615/0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            assert_eq!(content_range(&headers), expected, "{value}");
        }
    }

    #[test]
    fn a_weak_tag_does_not_name_a_body() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_static("W/\"1\""));
        assert_eq!(validator(&headers), None);
        headers.insert(
            LAST_MODIFIED,
            HeaderValue::from_static("Sat, 01 Mar 2031 00:00:00 GMT"),
        );
        assert_eq!(
            validator(&headers).unwrap(),
            "Sat, 01 Mar 2031 00:00:00 GMT"
        );
        headers.insert(ETAG, HeaderValue::from_static("\"1\""));
        assert_eq!(validator(&headers).unwrap(), "\"1\"");
    }
}
