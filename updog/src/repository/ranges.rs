//! Parts of a signed target: some ranges of its bytes, and nothing of the rest.
//!
//! What comes is not verified here. A part of a file has no digest in the signed metadata; whoever
//! asks for it knows from elsewhere what it has to be.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use snafu::{IntoError as _, ResultExt as _, Snafu, ensure};
use tokio::sync::mpsc;

use super::transport::Counts;
use super::{SignedTarget, UpdateRepository};
use crate::cancel::Cancelled;

/// Chunks that wait for the reader, beside those of each request.
const CHUNKS_AHEAD: usize = 2;

/// Bytes of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where they lie.
    pub offset: u64,
    /// At least one.
    pub bytes: Bytes,
}

/// Why ranges of a target cannot be had.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RangesError {
    /// They are not in ascending order, overlap, are empty or lead out of the target.
    #[snafu(display(
        "bytes {} to {} are no part of target {name} of {length} bytes, or not the next one",
        range.start,
        range.end
    ))]
    NoRange {
        name: String,
        length: u64,
        range: Range<u64>,
    },
    /// The name is none that can be asked for.
    #[snafu(display("asking for parts of target {name}"))]
    Name {
        name: String,
        source: url::ParseError,
    },
    /// The server does not do ranges as they are meant, or has another file. Whoever asks for the
    /// whole target may still get it.
    #[snafu(display("parts of {file} cannot be had"))]
    Unusable {
        file: String,
        source: Box<dyn Error + Send + Sync>,
    },
    /// They did not come. The whole target would not either.
    #[snafu(display("fetching parts of {file}"))]
    Transfer {
        file: String,
        source: Box<dyn Error + Send + Sync>,
    },
    /// The run was told to stop.
    #[snafu(display("fetching parts of target {name}"))]
    Stopped { name: String, source: Cancelled },
    /// The transfer ended with the run.
    #[snafu(display("the transfer of target {name} ended {left} bytes before its end"))]
    Ended { name: String, left: u64 },
}

impl RangesError {
    /// Whether it is worth asking for the whole target instead.
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }
}

/// Reads ranges of a target from the repository, in their order.
///
/// Bytes are handed out as they come, and are not verified: the caller knows what they have to be.
#[derive(Debug)]
pub struct RangeReader {
    target: SignedTarget,
    chunks: mpsc::Receiver<Result<Chunk, RangesError>>,
    counts: Arc<Counts>,
    /// Bytes that have to come.
    left: u64,
}

impl RangeReader {
    /// The next bytes, which do not cross the end of a range; nothing when all ranges are complete.
    ///
    /// # Errors
    /// Every [`RangesError`] but [`RangesError::NoRange`]. Nothing comes after one.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, RangesError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(chunk) = self.chunks.blocking_recv() else {
            let (name, left) = (self.target.name(), self.left);
            return EndedSnafu { name, left }.fail();
        };
        let chunk = chunk?;
        let length = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(length);
        Ok(Some(chunk))
    }

    /// The target of which parts are read.
    pub fn target(&self) -> &SignedTarget {
        &self.target
    }

    /// Bytes of bodies that came so far, also those that nobody wanted and those that are still to be
    /// handed out.
    pub fn received(&self) -> u64 {
        self.counts.received()
    }

    /// Requests that were sent so far; none to files.
    pub fn requests(&self) -> u64 {
        self.counts.requests()
    }

    /// Whether the server sends the whole target, of which the ranges are cut out here.
    pub fn is_whole(&self) -> bool {
        self.counts.is_whole()
    }
}

impl UpdateRepository {
    /// Starts to fetch `ranges` of `target`. Dropping the reader ends that. When the run is to stop, a
    /// read fails with [`RangesError::Stopped`], however long the server says nothing.
    ///
    /// # Errors
    /// [`RangesError::NoRange`] unless `ranges` are in ascending order, disjoint, not empty, and within
    /// the target; [`RangesError::Name`].
    pub fn open_ranges(
        &self,
        target: &SignedTarget,
        ranges: Vec<Range<u64>>,
    ) -> Result<RangeReader, RangesError> {
        let left = total(target, &ranges)?;
        let name = target.name();
        let url = self.settings.targets_base_url.join(&self.file_name(target));
        let url = url.context(NameSnafu { name })?;
        let counts = Arc::<Counts>::default();
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reader = RangeReader {
            target: target.clone(),
            chunks,
            counts: counts.clone(),
            left,
        };
        if left == 0 {
            return Ok(reader);
        }
        let (transport, target) = (self.transport.clone(), target.clone());
        let cancel = self.settings.watch.cancel().clone();
        self.network.spawn(async move {
            let fetch = transport.fetch_ranges(url, target.length, ranges, counts, sender.clone());
            if let Err(cancelled) = cancel.unless(fetch).await {
                let name = target.name();
                let stopped = StoppedSnafu { name }.into_error(cancelled);
                // A send fails only when the reader is gone; then nobody is left to tell.
                let _ = sender.send(Err(stopped)).await;
            }
        });
        Ok(reader)
    }

    /// The name of `target`'s file as tough has it.
    fn file_name(&self, target: &SignedTarget) -> String {
        let name = target.tough_name.resolved();
        if self.is_consistent() {
            format!("{}.{name}", target.sha256)
        } else {
            name.to_owned()
        }
    }
}

/// Bytes in `ranges`, if they are ranges of `target`.
fn total(target: &SignedTarget, ranges: &[Range<u64>]) -> Result<u64, RangesError> {
    let (mut total, mut end) = (0_u64, 0);
    for range in ranges {
        ensure!(
            end <= range.start && range.start < range.end && range.end <= target.length,
            NoRangeSnafu {
                name: target.name(),
                length: target.length,
                range: range.clone(),
            }
        );
        end = range.end;
        total = total.saturating_add(range.end - range.start);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use tough::TargetName;
    use update_metadata::Digest;

    use super::*;

    #[test]
    // Rows of one range, and wrong ones, are what this is about.
    #[allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges)]
    fn ranges_ascend_and_lie_within_the_target() {
        let target = SignedTarget {
            tough_name: TargetName::new("t").unwrap(),
            length: 100,
            sha256: Digest::from([0; 32]),
        };
        for (ranges, expected) in [
            (&[][..], Some(0)),
            (&[0..100], Some(100)),
            (&[0..1, 1..2, 99..100], Some(3)),
            (&[0..101], None),
            (&[100..101], None),
            (&[5..5], None),
            (&[6..5], None),
            (&[10..20, 5..6], None),
            (&[10..20, 19..30], None),
            (&[10..20, 10..20], None),
            (&[0..u64::MAX], None),
        ] {
            let found = total(&target, ranges).ok();
            assert_eq!(found, expected, "{ranges:?}");
        }
    }
}
