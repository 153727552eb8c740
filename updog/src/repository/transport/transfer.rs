//! One transfer: tries, until the file is complete or there is no use in trying.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::Response;
use reqwest::header::{CACHE_CONTROL, HeaderValue, IF_RANGE, PRAGMA, RANGE};
use tough::{TransportError, TransportErrorKind};
use url::Url;

use super::super::pace::FileKind;
use super::super::shown;
use super::body::Body;
use super::delivery::{Delivery, Ended, Sink};
use super::error::{RangeRefusedSnafu, ShortSnafu, StatusSnafu, TransferError};
use super::parts::PartsJob;
use super::request::length_of;
use super::tries::{Counts, Tries, Turn};
use super::{Shared, file, lock};

/// What is fetched, and for whom.
pub(super) enum Job<'a> {
    Whole(Delivery<'a>),
    Parts(PartsJob<'a>),
}

impl Job<'_> {
    /// Whether something of it came.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::Whole(delivery) => delivery.sent > 0,
            Self::Parts(job) => job.has_begun(),
        }
    }
}

impl Shared {
    /// Fetches what tough calls `url` into `sink`; a failure is the last item.
    pub(super) async fn transfer(self: Arc<Self>, url: Url, sink: Sink) {
        let name = self.places.metadata_name(&url).map(str::to_owned);
        let limit = name.as_ref().map(|name| self.limits.of(name));
        let mut job = Job::Whole(Delivery::to_tough(&sink, limit));
        let (url, result) = self.fetch_from_either(url, &mut job).await;
        match result {
            Ok(()) => {
                if let (Some(name), Job::Whole(delivery)) = (name, job)
                    && let Some(bytes) = delivery.recorded()
                {
                    lock(&self.record).insert(name, bytes);
                }
            }
            Err(Ended::Failed(error)) => {
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
            Err(Ended::Enough) => {}
        }
    }

    /// Returns also where the file was, or was to be, found.
    pub(super) async fn fetch_from_either(
        self: &Arc<Self>,
        url: Url,
        job: &mut Job<'_>,
    ) -> (Url, Result<(), Ended>) {
        let address = match self.places.address(&url) {
            Ok(address) => address,
            Err(error) => return (url, Err(error.into())),
        };
        let first = self.fetch_at(&address.first, job).await;
        let (Err(Ended::Failed(missing)), Some(second)) = (&first, address.second) else {
            return (address.first, first);
        };
        if !missing.is_not_found() || job.has_begun() {
            return (address.first, first);
        }
        tracing::debug!(
            "{} is not there; trying {}",
            shown(&address.first),
            shown(&second)
        );
        let found = self.fetch_at(&second, job).await;
        if matches!(&found, Err(Ended::Failed(error)) if error.is_not_found()) {
            // Missing at both places: the one that the specification knows is told.
            return (address.first, first);
        }
        (second, found)
    }

    async fn fetch_at(self: &Arc<Self>, url: &Url, job: &mut Job<'_>) -> Result<(), Ended> {
        match (job, url.scheme()) {
            (Job::Whole(delivery), "file") => file::transfer(self, url, delivery).await,
            (Job::Parts(job), "file") => file::parts(self, url, job).await,
            (Job::Whole(delivery), _) => {
                let counts = Arc::default();
                let tries = self.tries(url, delivery.kind(), counts);
                let mut whole = Whole {
                    url: self.with_query(url),
                    body: Body::default(),
                    tries: &tries,
                };
                whole.fetch(self, None, delivery).await
            }
            (Job::Parts(job), _) => self.parts_http(url, job).await,
        }
    }

    pub(super) fn tries(&self, url: &Url, kind: FileKind, counts: Arc<Counts>) -> Tries {
        Tries::new(self.watch.clone(), url, kind, self.outage_timeout, counts)
    }
}

/// A whole file on its way in over HTTP.
pub(super) struct Whole<'a> {
    /// With the query.
    pub(super) url: Url,
    pub(super) body: Body,
    pub(super) tries: &'a Tries,
}

impl Whole<'_> {
    /// Fetches the file, or goes on with what `begun` brings of it.
    pub(super) async fn fetch(
        &mut self,
        shared: &Shared,
        mut begun: Option<Response>,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), Ended> {
        loop {
            let error = match self.attempt(shared, begun.take(), delivery).await {
                Err(Ended::Failed(error)) => error,
                ended => return ended,
            };
            self.tries.again(&Turn::Now, error, delivery.sent).await?;
        }
    }

    /// One request: the whole body, or what is missing of it.
    async fn attempt(
        &mut self,
        shared: &Shared,
        begun: Option<Response>,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), Ended> {
        let mut response = match begun {
            Some(response) => response,
            None => self.request(shared, delivery.sent).await?,
        };
        let mut skip = self.body.accept(&response, delivery.sent)?;
        if let Some(length) = self.body.length {
            delivery.check_length(length)?;
        }
        if skip > 0 {
            self.tries.restarted()?;
        }
        while let Some(mut chunk) = shared.chunk(&mut response, self.tries, &Turn::Now).await? {
            // A server that starts over sends again what was delivered. The digest at the end
            // tells whether it was the same file.
            let came = length_of(&chunk);
            self.tries.received(came, came.saturating_sub(skip))?;
            let (kind, most) = (delivery.kind(), delivery.most());
            while let Some(mut piece) = shared.piece(kind, &mut chunk, most).await {
                let skipped = skip.min(length_of(&piece));
                skip -= skipped;
                let piece = piece.split_off(usize::try_from(skipped).unwrap_or(piece.len()));
                if !piece.is_empty() {
                    delivery.chunk(piece).await?;
                }
            }
        }
        match self.body.length {
            Some(expected) if delivery.sent < expected => {
                let received = delivery.sent;
                Err(ShortSnafu { received, expected }.build().into())
            }
            _ => Ok(()),
        }
    }

    async fn request(&mut self, shared: &Shared, offset: u64) -> Result<Response, TransferError> {
        let mut request = shared.get(&self.url);
        // Targets are known by their digests: a cached one is as good as the server's own.
        if shared.fresh.load(Ordering::Relaxed) && self.tries.kind == FileKind::Metadata {
            let no_cache = HeaderValue::from_static("no-cache");
            request = request
                .header(CACHE_CONTROL, no_cache.clone())
                .header(PRAGMA, no_cache);
        }
        if let (true, Some(validator)) = (offset > 0, &self.body.validator) {
            request = request
                .header(RANGE, format!("bytes={offset}-"))
                .header(IF_RANGE, validator);
        }
        let response = shared.answer(request, self.tries, &Turn::Now).await?;
        let status = response.status();
        if status.is_client_error() && offset > 0 && self.body.validator.take().is_some() {
            // Some servers refuse ranges instead of ignoring them. Without one the next try may do.
            return RangeRefusedSnafu { status }.fail();
        }
        if !status.is_success() {
            return StatusSnafu { status }.fail();
        }
        Ok(response)
    }
}
