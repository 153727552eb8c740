//! One transfer: tries, until the file is complete or there is no use in trying.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderValue, IF_RANGE, PRAGMA, RANGE};
use snafu::{ResultExt, ensure};
use tokio::sync::mpsc;
use tough::{TransportError, TransportErrorKind};
use url::Url;

use super::super::pace::{FileKind, Pace};
use super::super::shown;
use super::body::Body;
use super::error::{
    HttpSnafu, NoUseSnafu, RangeRefusedSnafu, ShortSnafu, StatusSnafu, TooLargeSnafu, TransferError,
};
use super::settings::{MAX_METADATA_BYTES, SizeLimit};
use super::{Shared, file, lock};
use crate::event::{Note, Wait};
use crate::exit::chain;

pub(super) type Sink = mpsc::Sender<Result<Bytes, TransportError>>;

/// The reader of the transfer is gone; nobody is left to tell.
pub(super) struct ReaderGone;

/// Where a transfer goes: to its reader, and for metadata also to the record.
pub(super) struct Delivery<'a> {
    sink: &'a Sink,
    sent: u64,
    recorded: Option<Record>,
}

/// The bytes of a metadata file so far, and how many there may be.
struct Record {
    bytes: Vec<u8>,
    limit: SizeLimit,
}

impl Delivery<'_> {
    pub(super) async fn chunk(
        &mut self,
        chunk: Bytes,
    ) -> Result<Result<(), TransferError>, ReaderGone> {
        let sent = self.sent.saturating_add(length_of(&chunk));
        if let Some(Record { bytes, limit }) = &mut self.recorded {
            if sent > limit.bytes || bytes.len().saturating_add(chunk.len()) > MAX_METADATA_BYTES {
                let (limit, length) = (*limit, None);
                return Ok(TooLargeSnafu { length, limit }.fail());
            }
            bytes.extend_from_slice(&chunk);
        }
        self.sent = sent;
        self.sink.send(Ok(chunk)).await.map_err(|_| ReaderGone)?;
        Ok(Ok(()))
    }

    /// Refuses metadata that are said to be too large before their first byte is read.
    pub(super) fn check_length(&self, length: u64) -> Result<(), TransferError> {
        if let Some(Record { limit, .. }) = self.recorded {
            ensure!(length <= limit.bytes, TooLargeSnafu { length, limit });
        }
        Ok(())
    }
}

impl Shared {
    /// Fetches what tough calls `url` into `sink`; a failure is the last item.
    pub(super) async fn transfer(self: Arc<Self>, url: Url, sink: Sink) {
        let name = self.places.metadata_name(&url).map(str::to_owned);
        let mut delivery = Delivery {
            sink: &sink,
            sent: 0,
            recorded: name.as_ref().map(|name| Record {
                bytes: Vec::new(),
                limit: self.limits.of(name),
            }),
        };
        let (url, result) = self.fetch_from_either(url, &mut delivery).await;
        match result {
            Ok(Ok(())) => {
                if let (Some(name), Some(record)) = (name, delivery.recorded) {
                    lock(&self.record).insert(name, record.bytes);
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

    /// Returns also where the file was, or was to be, found.
    async fn fetch_from_either(
        &self,
        url: Url,
        delivery: &mut Delivery<'_>,
    ) -> (Url, Result<Result<(), TransferError>, ReaderGone>) {
        let address = match self.places.address(&url) {
            Ok(address) => address,
            Err(error) => return (url, Ok(Err(error))),
        };
        let first = self.fetch_at(&address.first, delivery).await;
        let (Ok(Err(missing)), Some(second)) = (&first, address.second) else {
            return (address.first, first);
        };
        if !missing.is_not_found() || delivery.sent > 0 {
            return (address.first, first);
        }
        tracing::debug!(
            "{} is not there; trying {}",
            shown(&address.first),
            shown(&second)
        );
        let found = self.fetch_at(&second, delivery).await;
        if matches!(&found, Ok(Err(error)) if error.is_not_found()) {
            // Missing at both places: the one that the specification knows is told.
            return (address.first, first);
        }
        (second, found)
    }

    async fn fetch_at(
        &self,
        url: &Url,
        delivery: &mut Delivery<'_>,
    ) -> Result<Result<(), TransferError>, ReaderGone> {
        if url.scheme() == "file" {
            file::transfer(url, delivery).await
        } else {
            self.transfer_http(url, delivery).await
        }
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
            self.watch.note(Note::Retry {
                file: shown(url),
                at: delivery.sent,
                reason: chain(&error),
            });
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let pause = Wait::Pause { milliseconds };
            let pausing = tokio::time::sleep(wait);
            self.watch.wait_for(pause, pausing).await;
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
        let accepted = match self.request(url, body, delivery).await {
            Ok(response) => {
                let skip = body.accept(&response, delivery.sent);
                skip.map(|skip| (response, skip))
            }
            Err(error) => Err(error),
        };
        let fits =
            |length: Option<u64>| length.map_or(Ok(()), |bytes| delivery.check_length(bytes));
        let (mut response, mut skip) = match accepted.and_then(|a| fits(body.length).map(|()| a)) {
            Ok(accepted) => accepted,
            Err(error) => return Ok(Err(error)),
        };
        if skip > 0
            && let Err(why) = pace.restarted()
        {
            return Ok(NoUseSnafu { why }.fail());
        }
        loop {
            let chunk = match self.watch.wait_for(Wait::Data, response.chunk()).await {
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
        delivery: &Delivery<'_>,
    ) -> Result<Response, TransferError> {
        let offset = delivery.sent;
        // No content coding: lengths and digests are those of the file itself.
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Targets are known by their digests: a cached one is as good as the server's own.
        if self.fresh.load(Ordering::Relaxed) && delivery.recorded.is_some() {
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
        let response = self
            .watch
            .wait_for(Wait::Server, request.send())
            .await
            // Whoever prints the error names the URL, without the query.
            .map_err(reqwest::Error::without_url)
            .context(HttpSnafu {
                reason: "sending the request",
            })?;
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

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
