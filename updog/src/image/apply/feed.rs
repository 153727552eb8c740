//! Takes what is fetched, cuts it into frames, and hands pieces of the image to the threads.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

use bytes::{Buf as _, Bytes};
use snafu::ResultExt;

use super::{ApplyError, CancelledSnafu, Desk, FetchSnafu, Image, Piece};
use crate::image::judge::{Hash, UNKNOWN};
use crate::image::plan::{Plan, Run, Source};
use crate::watch::Watch;

/// Where fetched bytes come from.
pub trait Fetched {
    /// The next bytes of the compressed file, and where in it they begin. Those of a plan's ranges come
    /// in order; others may come as well, also in order. `None` when nothing else comes.
    fn next(&mut self) -> io::Result<Option<(u64, Bytes)>>;
}

pub(super) struct Feed<'a> {
    image: Image<'a>,
    plan: &'a Plan,
    fetched: &'a mut dyn Fetched,
    /// Memory for frames, as it comes back from the threads.
    spare: Receiver<Vec<u8>>,
    /// What has come and was not taken.
    came: Bytes,
    /// Where that begins.
    at: u64,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        image: Image<'a>,
        plan: &'a Plan,
        fetched: &'a mut dyn Fetched,
        spare: Receiver<Vec<u8>>,
    ) -> Self {
        Self {
            image,
            plan,
            fetched,
            spare,
            came: Bytes::new(),
            at: 0,
        }
    }

    /// Hands out pieces of so many blocks, until all are or a thread has failed.
    pub(super) fn run<'h>(
        mut self,
        blocks: usize,
        hashes: &'h mut [Hash],
        hand_out: &SyncSender<Piece<'h>>,
        desk: &Desk<'h>,
        watch: &Watch,
    ) -> Result<(), ApplyError> {
        let kind = self.image.kind;
        let total = self.image.map.parts().raw.length;
        let mut first = 0_usize;
        for hashes in hashes.chunks_mut(blocks.max(1)) {
            watch.check().context(CancelledSnafu { kind })?;
            if desk.is_stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let end = first.saturating_add(hashes.len());
            let runs: Vec<Run> = self.plan.within(first..end).collect();
            first = end;
            if !is_done(&runs, hashes) {
                let Some(fetched) = self.frames(&runs, desk)? else {
                    return Ok(());
                };
                let piece = Piece {
                    runs,
                    hashes,
                    fetched,
                };
                if hand_out.send(piece).is_err() {
                    return Ok(());
                }
            }
            let done = u64::try_from(end.saturating_mul(self.image.judge.block_length()));
            watch.progress(done.unwrap_or(total).min(total), total);
        }
        Ok(())
    }

    /// The frames that `runs` need, one behind the other; none once a thread has failed.
    fn frames(&mut self, runs: &[Run], desk: &Desk<'_>) -> Result<Option<Vec<u8>>, ApplyError> {
        let image = self.image;
        let ranges = || {
            let frames = runs.iter().flat_map(|run| frames_of(run, image));
            frames.map(|frame| image.map.frame_range(frame))
        };
        // A thread that fails gives back what it had, too.
        let Ok(mut bytes) = self.spare.recv() else {
            return Ok(None);
        };
        bytes.clear();
        let length = ranges().map(|range| range.end - range.start).sum::<u64>();
        let length = usize::try_from(length).unwrap_or(0);
        // No more than they need, and what is too small goes first: there are several of these.
        if bytes.capacity() < length {
            drop(bytes);
            bytes = Vec::with_capacity(length);
        }
        for range in ranges() {
            let (kind, at) = (image.kind, range.start);
            let taken = self.take(range, &mut bytes, desk);
            if !taken.context(FetchSnafu { kind, at })? {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    /// Whether all of `range` came before a thread failed.
    fn take(&mut self, range: Range<u64>, into: &mut Vec<u8>, desk: &Desk<'_>) -> io::Result<bool> {
        let mut wanted = range.start;
        while wanted < range.end {
            let skipped = wanted.checked_sub(self.at).ok_or(ErrorKind::InvalidData)?;
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            if skipped >= self.came.len() {
                if desk.is_stopped.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                let next = self.fetched.next()?.ok_or(ErrorKind::UnexpectedEof)?;
                (self.at, self.came) = next;
                continue;
            }
            self.came.advance(skipped);
            let left = usize::try_from(range.end - wanted).unwrap_or(usize::MAX);
            let taken = self.came.split_to(left.min(self.came.len()));
            into.extend_from_slice(&taken);
            let length = u64::try_from(taken.len()).map_err(io::Error::other)?;
            wanted = wanted.saturating_add(length);
            self.at = wanted;
        }
        Ok(true)
    }
}

/// The frames that a run is decoded from; none if it is not.
pub(super) fn frames_of(run: &Run, image: Image<'_>) -> Range<usize> {
    match run.source {
        // Fetched are whole frames, and pieces consist of whole frames.
        Source::Fetch => {
            let blocks = image.map.blocks_in_frame();
            run.first / blocks..run.end().div_ceil(blocks)
        }
        _ => 0..0,
    }
}

/// Whether nothing is to be done: all is in its place, with known hashes.
fn is_done(runs: &[Run], hashes: &[Hash]) -> bool {
    let is_kept = |run: &Run| run.source == Source::Keep;
    runs.iter().all(is_kept) && !hashes.contains(&UNKNOWN)
}
