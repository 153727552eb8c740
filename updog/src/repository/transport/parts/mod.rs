//! Ranges of one file over HTTP: the next ones are asked for while the current one is read.
//!
//! How much is ahead of the reader is bounded, in our own queues and in those of HTTP/2, however long
//! ranges are. Where a server sends the whole file after all, that one body serves all ranges that are
//! left.

mod part;
mod wanted;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::HeaderValue;
use snafu::ensure;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use url::Url;

use self::part::{Came, Part, PartedFile};
pub(super) use self::wanted::Wanted;
use super::super::pace::FileKind;
use super::Shared;
use super::body::Body;
use super::client::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use super::delivery::{Delivery, Ended};
use super::error::{OtherLengthSnafu, ShortSnafu, TransferError};
use super::request::length_of;
use super::transfer::{Job, Whole};
use super::tries::{Counts, Turn};
use crate::repository::ranges::{Chunk, RangesError};

/// Requests that are under way at once.
const AT_ONCE: usize = 4;
/// No range is asked for while more than this of those before it is unread. More requests do not make
/// a long range faster, and one that waits unread is broken off by servers. Together with [`AT_ONCE`] it
/// keeps those that wait from taking up the window of an HTTP/2 connection: all but the last one asked for
/// have less than this, and that one has a window of its own.
const UNREAD_BYTES: u32 = 1 << 20;
const _: () = assert!(
    UNREAD_BYTES + STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES,
    "the range that is read can always come"
);
/// The most bytes that are handed over at once.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for their turn, of each request.
const PIECES_AHEAD: usize = 3;

pub(super) type Sink = mpsc::Sender<Result<Chunk, RangesError>>;

/// Ranges of one file, and who wants them.
pub(super) struct PartsJob<'a> {
    /// Of the file, as signed.
    pub(super) length: u64,
    pub(super) wanted: Wanted,
    pub(super) counts: Arc<Counts>,
    sink: &'a Sink,
    has_begun: bool,
}

impl PartsJob<'_> {
    /// Whether the file was found.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Checks that there are `found` bytes of the file.
    pub(super) fn check_length(&self, found: u64) -> Result<(), TransferError> {
        let length = self.length;
        ensure!(found == length, OtherLengthSnafu { found, length });
        Ok(())
    }

    /// Hands over `bytes`, which lie at `offset`.
    pub(super) async fn send(&mut self, offset: u64, bytes: Bytes) -> Result<(), Ended> {
        self.has_begun = true;
        let chunk = Ok(Chunk { offset, bytes });
        self.sink.send(chunk).await.map_err(|_| Ended::Enough)
    }
}

impl Shared {
    /// Fetches ranges of what tough calls `url`, of `length` bytes; a failure is the last item.
    pub(super) async fn transfer_parts(
        self: Arc<Self>,
        url: Url,
        length: u64,
        ranges: Vec<Range<u64>>,
        counts: Arc<Counts>,
        sink: Sink,
    ) {
        let mut job = Job::Parts(PartsJob {
            length,
            wanted: Wanted::new(ranges),
            counts,
            sink: &sink,
            has_begun: false,
        });
        let (url, result) = self.fetch_from_either(url, &mut job).await;
        if let Err(Ended::Failed(error)) = result {
            let error = error.of_ranges(&url, job.has_begun());
            // Fails only when the reader is gone.
            let _ = sink.send(Err(error)).await;
        }
    }

    pub(super) async fn parts_http(
        self: &Arc<Self>,
        url: &Url,
        job: &mut PartsJob<'_>,
    ) -> Result<(), Ended> {
        let file = Arc::new(PartedFile {
            shared: self.clone(),
            url: self.with_query(url),
            length: job.length,
            tries: self.tries(url, FileKind::Target, job.counts.clone()),
        });
        let mut row = Row::new(file.clone(), job.wanted.clone());
        while let Some(came) = row.next().await {
            match came {
                Came::Begun(validator) => {
                    job.has_begun = true;
                    row.has_begun(validator);
                }
                Came::Bytes(Chunk { offset, bytes }) => job.send(offset, bytes).await?,
                Came::Whole(response) => return whole(&file, *response, row.rest(), job).await,
                Came::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Takes what is wanted from a body that begins with the file's first byte.
async fn whole(
    file: &PartedFile,
    response: Response,
    mut wanted: Wanted,
    job: &mut PartsJob<'_>,
) -> Result<(), Ended> {
    job.has_begun = true;
    job.counts.set_whole();
    if let Some(length) = response.content_length() {
        job.check_length(length)?;
    }
    let mut whole = Whole {
        url: file.url.clone(),
        body: Body::default(),
        tries: &file.tries,
    };
    let mut delivery = Delivery::of_parts(job.sink, &mut wanted);
    whole
        .fetch(&file.shared, Some(response), &mut delivery)
        .await?;
    // There was no length to hold it against, and there is something left that is wanted.
    let (received, expected) = (delivery.sent, job.length);
    Err(ShortSnafu { received, expected }.build().into())
}

/// Requests under way, in the order of their ranges. They end when this is dropped.
struct Row {
    file: Arc<PartedFile>,
    validator: Option<HeaderValue>,
    has_begun: bool,
    requests: JoinSet<()>,
    under_way: VecDeque<UnderWay>,
    wanted: Wanted,
    /// How many ranges were asked for.
    asked: usize,
    /// Bytes of those that did not come out of here yet.
    unread: u64,
    /// The number of the request that is read.
    front: watch::Sender<usize>,
}

struct UnderWay {
    /// What did not come out of here yet.
    range: Range<u64>,
    came: mpsc::Receiver<Came>,
}

impl Row {
    fn new(file: Arc<PartedFile>, wanted: Wanted) -> Self {
        Self {
            file,
            validator: None,
            has_begun: false,
            requests: JoinSet::new(),
            under_way: VecDeque::new(),
            wanted,
            asked: 0,
            unread: 0,
            front: watch::Sender::new(0),
        }
    }

    /// The first answer is here: it is known where the file lies, and that there are parts of it.
    fn has_begun(&mut self, validator: Option<HeaderValue>) {
        if !self.has_begun {
            self.has_begun = true;
            self.validator = validator;
        }
    }

    /// What comes next of the first range that is not complete; nothing when all are.
    async fn next(&mut self) -> Option<Came> {
        loop {
            self.ask();
            let front = self.under_way.front_mut()?;
            let came = front.came.recv().await;
            if let Some(Came::Bytes(chunk)) = &came {
                let length = length_of(&chunk.bytes);
                front.range.start = front.range.start.saturating_add(length);
                self.unread = self.unread.saturating_sub(length);
            }
            if came.is_some() {
                return came;
            }
            if !front.range.is_empty() {
                // The runtime ends, or there was a panic.
                let (received, expected) = (0_u64, front.range.end - front.range.start);
                return Some(Came::Failed(ShortSnafu { received, expected }.build()));
            }
            self.under_way.pop_front();
            self.front.send_modify(|front| *front += 1);
        }
    }

    /// Asks for as many ranges as may be under way.
    fn ask(&mut self) {
        // Who is done need not be kept.
        while self.requests.try_join_next().is_some() {}
        while may_ask(self.has_begun, self.under_way.len(), self.unread) {
            let Some(range) = self.wanted.take() else {
                return;
            };
            let (sender, came) = mpsc::channel(PIECES_AHEAD);
            let part = Part {
                file: self.file.clone(),
                range: range.clone(),
                validator: self.validator.clone(),
                turn: Turn::After(self.front.subscribe(), self.asked),
                came: sender,
            };
            self.requests.spawn(part.fetch());
            self.asked += 1;
            self.unread = self.unread.saturating_add(range.end - range.start);
            self.under_way.push_back(UnderWay { range, came });
        }
    }

    /// What did not come out of here. Ends all requests.
    fn rest(mut self) -> Wanted {
        let under_way = self.under_way.drain(..).map(|under_way| under_way.range);
        let mut ranges: Vec<_> = under_way.collect();
        ranges.extend(std::iter::from_fn(|| self.wanted.take()));
        Wanted::new(ranges)
    }
}

/// Pure: whether the next range may be asked for.
fn may_ask(has_begun: bool, under_way: usize, unread: u64) -> bool {
    under_way == 0 || has_begun && under_way < AT_ONCE && unread < u64::from(UNREAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_asked_for_ahead_within_bounds() {
        for (has_begun, under_way, unread, expected) in [
            // Where the file lies is not known before the first answer.
            (false, 0, 0, true),
            (false, 1, 1, false),
            (true, 1, 1, true),
            (true, AT_ONCE - 1, 1, true),
            (true, AT_ONCE, 1, false),
            // A long one does not get faster by others beside it.
            (true, 1, u64::from(UNREAD_BYTES) - 1, true),
            (true, 1, u64::from(UNREAD_BYTES), false),
            (true, 0, u64::from(UNREAD_BYTES), true),
        ] {
            let found = may_ask(has_begun, under_way, unread);
            assert_eq!(found, expected, "{has_begun} {under_way} {unread}");
        }
    }
}
