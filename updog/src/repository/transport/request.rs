//! One request: sent, answered and read, each in time.

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::{RequestBuilder, Response};
use snafu::ResultExt as _;
use url::Url;

use super::super::pace::FileKind;
use super::error::{HttpSnafu, StalledSnafu, TransferError};
use super::tries::{Tries, Turn};
use super::{Shared, lock};
use crate::event::Wait;

impl Shared {
    /// `url` with what every request tells.
    pub(super) fn with_query(&self, url: &Url) -> Url {
        let mut url = url.clone();
        let query = lock(&self.query);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter());
        }
        url
    }

    /// Asks for the file itself: no content coding, so that lengths and digests are those that were
    /// signed.
    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client
            .get(url.clone())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// The answer to `request`, whatever its status.
    pub(super) async fn answer(
        &self,
        request: RequestBuilder,
        tries: &Tries,
        turn: &Turn,
    ) -> Result<Response, TransferError> {
        tries.counts.add_request();
        let answer = self.in_time("sending the request", request.send());
        tries.wait_for(turn, Wait::Server, answer).await
    }

    /// What comes next of a body; nothing at its end.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        tries: &Tries,
        turn: &Turn,
    ) -> Result<Option<Bytes>, TransferError> {
        let chunk = self.in_time("receiving the body", response.chunk());
        tries.wait_for(turn, Wait::Data, chunk).await
    }

    /// The HTTP client has a timer of its own for this, which runs on while nobody reads.
    async fn in_time<T>(
        &self,
        reason: &'static str,
        future: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, TransferError> {
        let waited = self.stall_timeout;
        match tokio::time::timeout(waited, future).await {
            Ok(done) => done
                // Whoever prints the error names the URL, without the query.
                .map_err(reqwest::Error::without_url)
                .context(HttpSnafu { reason }),
            Err(_) => StalledSnafu { reason, waited }.fail(),
        }
    }

    /// The next piece of `chunk`, of at most `most` bytes, once the rate allows for it.
    pub(super) async fn piece(
        &self,
        kind: FileKind,
        chunk: &mut Bytes,
        most: usize,
    ) -> Option<Bytes> {
        if chunk.is_empty() {
            return None;
        }
        let limit = match kind {
            FileKind::Metadata => None,
            FileKind::Target => self.rate.as_ref(),
        };
        let most = limit.map_or(most, |limit| limit.piece().min(most));
        let piece = chunk.split_to(most.min(chunk.len()));
        if let Some(limit) = limit {
            limit.pass(length_of(&piece)).await;
        }
        Some(piece)
    }
}

pub(super) fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
