//! One range of a file: tries, until its last byte came or there is no use in trying.

use std::ops::Range;
use std::sync::Arc;

use reqwest::header::{HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;
use url::Url;

use super::super::Shared;
use super::super::content_range::{judge_part, validator};
use super::super::delivery::Ended;
use super::super::error::{LyingSnafu, RefusedSnafu, ShortSnafu, TransferError};
use super::super::request::length_of;
use super::super::tries::{Tries, Turn};
use super::PIECE_BYTES;
use crate::repository::ranges::Chunk;

/// What comes of a request for a range.
#[derive(Debug)]
pub(super) enum Came {
    /// The server gives parts of the file, and names the file so.
    Begun(Option<HeaderValue>),
    /// The next bytes of the range.
    Bytes(Chunk),
    /// The server sends the whole file instead. The last to come.
    Whole(Box<Response>),
    /// The last to come.
    Failed(TransferError),
}

/// A file at one place, and the account of what is fetched of it.
#[derive(Debug)]
pub(super) struct PartedFile {
    pub(super) shared: Arc<Shared>,
    /// With the query.
    pub(super) url: Url,
    /// As signed.
    pub(super) length: u64,
    pub(super) tries: Tries,
}

/// One range of it.
pub(super) struct Part {
    pub(super) file: Arc<PartedFile>,
    /// What is missing.
    pub(super) range: Range<u64>,
    /// Names the file of which there are other parts already.
    pub(super) validator: Option<HeaderValue>,
    pub(super) turn: Turn,
    pub(super) came: mpsc::Sender<Came>,
}

impl Part {
    /// Fetches it. Ends also when nobody listens.
    pub(super) async fn fetch(mut self) {
        loop {
            let Err(Ended::Failed(error)) = self.attempt().await else {
                return;
            };
            let at = self.range.start;
            if let Err(error) = self.file.tries.again(&self.turn, error, at).await {
                // Fails only when nobody listens.
                let _ = self.came.send(Came::Failed(error)).await;
                return;
            }
        }
    }

    /// One request for what is missing.
    async fn attempt(&mut self) -> Result<(), Ended> {
        let file = self.file.clone();
        let (start, end) = (self.range.start, self.range.end);
        let mut response = self.request(&file).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return self.send(Came::Whole(Box::new(response))).await;
        }
        let known = self.validator.as_ref();
        judge_part(response.headers(), &self.range, file.length, known)
            .map_err(TransferError::from)?;
        if self.validator.is_none() {
            self.validator = validator(response.headers());
        }
        self.send(Came::Begun(self.validator.clone())).await?;
        while self.range.start < end {
            let chunk = file.shared.chunk(&mut response, &file.tries, &self.turn);
            let Some(mut chunk) = chunk.await? else {
                let (received, expected) = (self.range.start - start, end - start);
                return Err(ShortSnafu { received, expected }.build().into());
            };
            let came = length_of(&chunk);
            file.tries.received(came, came)?;
            if came > end - self.range.start {
                let wanted = end - start;
                return Err(TransferError::from(LyingSnafu { wanted }.build()).into());
            }
            let kind = file.tries.kind;
            while let Some(bytes) = file.shared.piece(kind, &mut chunk, PIECE_BYTES).await {
                let offset = self.range.start;
                self.range.start += length_of(&bytes);
                self.send(Came::Bytes(Chunk { offset, bytes })).await?;
            }
        }
        Ok(())
    }

    /// An answer with a part of the file, or all of it.
    async fn request(&self, file: &PartedFile) -> Result<Response, TransferError> {
        let (first, last) = (self.range.start, self.range.end.saturating_sub(1));
        let mut request = file.shared.get(&file.url);
        request = request.header(RANGE, format!("bytes={first}-{last}"));
        if let Some(validator) = &self.validator {
            request = request.header(IF_RANGE, validator);
        }
        let answer = file.shared.answer(request, &file.tries, &self.turn);
        let response = answer.await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let error = TransferError::Status { status };
        let is_refusal = match status {
            StatusCode::NOT_IMPLEMENTED => true,
            _ => status.is_client_error() && !error.is_passing() && !error.is_not_found(),
        };
        if is_refusal {
            // Some servers refuse ranges instead of ignoring them. If it is the file that they
            // refuse, whoever asks for the whole of it hears of that.
            return Err(RefusedSnafu { status }.build().into());
        }
        Err(error)
    }

    async fn send(&self, came: Came) -> Result<(), Ended> {
        self.came.send(came).await.map_err(|_| Ended::Enough)
    }
}
