//! One thread: it puts pieces of an image together, hashes and writes them.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::{iter, mem};

use signpost::BlockDevice;
use snafu::{OptionExt, ResultExt, ensure};
use update_metadata::ImageKind;

use super::feed::frames_of;
use super::{
    ApplyError, Desk, FrameSnafu, Image, OtherBlockSnafu, OtherFrameSnafu, Piece, WriteSnafu, lock,
};
use crate::image::buffer::AlignedBuffer;
use crate::image::frame;
use crate::image::judge::{Hash, Judge};
use crate::image::plan::{Run, Source};

/// Takes the pieces that are left when a thread stops before the feed does, which may be waiting for
/// somebody to take one.
struct UntilEnd<'a, 'h> {
    desk: &'a Desk<'h>,
    has_ended: bool,
}

impl Drop for UntilEnd<'_, '_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.desk.is_stopped.store(true, Ordering::Relaxed);
            // In place of the one that this thread had.
            let _ = self.desk.give_back.send(Vec::new());
            while let Ok(piece) = lock(&self.desk.pieces).recv() {
                let _ = self.desk.give_back.send(piece.fetched);
            }
        }
    }
}

pub(super) struct Worker<'a> {
    image: Image<'a>,
    /// Hashes frames.
    plain: Judge,
    /// As long as the longest piece.
    buffer: AlignedBuffer,
}

impl<'a> Worker<'a> {
    /// For pieces of at most so many blocks.
    pub(super) fn new(image: Image<'a>, blocks: usize) -> Self {
        let length = blocks.saturating_mul(image.judge.block_length());
        Self {
            plain: Judge::plain(0),
            buffer: AlignedBuffer::new(length),
            image,
        }
    }

    /// Until there are no more pieces, or one fails.
    pub(super) fn work(mut self, desk: &Desk<'_>) -> Result<(), ApplyError> {
        let mut until_end = UntilEnd {
            desk,
            has_ended: false,
        };
        loop {
            let next = lock(&desk.pieces).recv();
            // The feed has ended.
            let Ok(mut piece) = next else {
                until_end.has_ended = true;
                return Ok(());
            };
            let lacking = self.put(&mut piece, desk)?;
            lock(&desk.lacking).extend(lacking);
        }
    }

    /// Puts one piece into its place. Returns the blocks that are not there.
    fn put(&mut self, piece: &mut Piece<'_>, desk: &Desk<'_>) -> Result<Vec<usize>, ApplyError> {
        let first = piece.runs.first().map_or(0, |run| run.first);
        let block = self.image.judge.block_length();
        let start = self.offset(first);
        let left = self.image.map.parts().raw.length.saturating_sub(start);
        let length =
            usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
        let length = length.min(piece.hashes.len() * block);
        let part = |run: &Run| {
            let at = (run.first - first) * block;
            at..at.saturating_add(run.count * block).min(length)
        };

        if let [run] = &piece.runs[..]
            && run.source == Source::Zero
        {
            let _ = desk.give_back.send(mem::take(&mut piece.fetched));
            let found = iter::repeat_n(*self.image.judge.zero(), run.count);
            let lacking = self.judge(first, found, piece.hashes);
            self.zero(start, part(run).len())?;
            return Ok(lacking);
        }
        let mut frames = &piece.fetched[..];
        for run in &piece.runs {
            if run.source == Source::Fetch {
                self.decode(run, part(run), &mut frames)?;
            } else {
                self.fill(run, part(run));
            }
        }
        // The feed may wait for it.
        let _ = desk.give_back.send(mem::take(&mut piece.fetched));

        let mut lacking = Vec::new();
        for run in &piece.runs {
            let hashes = &mut piece.hashes[run.first - first..];
            let blocks = self.buffer[part(run)].chunks(block);
            let others = self.judge(run.first, self.image.judge.hashes(blocks), hashes);
            if run.source != Source::Fetch {
                lacking.extend(others);
            } else if let Some(&number) = others.first() {
                let (kind, offset) = (self.image.kind, self.offset(number));
                return OtherBlockSnafu { kind, offset }.fail();
            }
        }
        let is_written = piece.runs.iter().all(|run| run.source == Source::Keep);
        if !is_written {
            self.write(start, length)?;
        }
        Ok(lacking)
    }

    /// Writes the beginning of the buffer.
    fn write(&self, start: u64, length: usize) -> Result<(), ApplyError> {
        let partition = self.image.partition;
        let written = partition.write_direct_at(start, &self.buffer[..length]);
        written.with_context(|_| self.writing(start))
    }

    /// Has the device make zeros, or writes them.
    fn zero(&mut self, start: u64, length: usize) -> Result<(), ApplyError> {
        let zeroed = self.image.partition.zero_at(start, length);
        if zeroed.with_context(|_| self.writing(start))? {
            return Ok(());
        }
        self.buffer[..length].fill(0);
        self.write(start, length)
    }

    fn writing(&self, offset: u64) -> WriteSnafu<ImageKind, String, u64> {
        WriteSnafu {
            kind: self.image.kind,
            partition: self.image.partition.name(),
            offset,
        }
    }

    /// Fills a part of the buffer from where `run` says. What a disk does not give is filled with
    /// zeros, which are not what is wanted there.
    fn fill(&mut self, run: &Run, part: Range<usize>) {
        let image = self.image;
        let start = self.offset(run.first);
        let bytes = &mut self.buffer[part];
        let is_read = match run.source {
            Source::Zero | Source::Fetch => false,
            Source::Keep => image.partition.read_back_at(start, bytes).is_ok(),
            Source::CopyFromActive(from) => {
                let block = u64::try_from(image.judge.block_length()).unwrap_or(u64::MAX);
                let at = u64::from(from).saturating_mul(block);
                image
                    .active
                    .is_some_and(|active| active.read_back_at(at, bytes).is_ok())
            }
        };
        if !is_read {
            bytes.fill(0);
        }
    }

    /// Puts what was `found`, the hashes of the blocks from number `first` on, into `hashes`. Returns those
    /// that are not what is wanted.
    fn judge(
        &self,
        first: usize,
        found: impl Iterator<Item = Hash>,
        hashes: &mut [Hash],
    ) -> Vec<usize> {
        let map = self.image.map;
        let mut others = Vec::new();
        for ((number, found), hash) in (first..).zip(found).zip(hashes) {
            if map.parts().hashes.admits(number, &found) {
                *hash = found;
            } else {
                others.push(number);
            }
        }
        others
    }

    /// Decodes the frames of `run`, which come next in `frames`, into a part of the buffer. Each is
    /// judged by its own hash before it is decoded.
    fn decode(
        &mut self,
        run: &Run,
        part: Range<usize>,
        frames: &mut &[u8],
    ) -> Result<(), ApplyError> {
        let Image { map, kind, .. } = self.image;
        let indices = frames_of(run, self.image);
        let other = |index| {
            let Range { start, end } = map.frame_range(index);
            OtherFrameSnafu { kind, start, end }
        };
        let mut split = Vec::with_capacity(indices.len());
        for index in indices.clone() {
            let signed = map.parts().frames.get(index);
            let length = signed.map_or(usize::MAX, |frame| {
                usize::try_from(frame.length).unwrap_or(usize::MAX)
            });
            // Otherwise the plan was made for another map.
            let (frame, rest) = frames
                .split_at_checked(length)
                .with_context(|| other(index))?;
            split.push(frame);
            *frames = rest;
        }
        let found = self.plain.hashes(split.iter().copied());
        for (index, found) in indices.clone().zip(found) {
            let signed = map.parts().frames.get(index);
            let is_signed = signed.is_some_and(|frame| *frame.sha256.as_bytes() == found);
            ensure!(is_signed, other(index));
        }
        let mut at = part.start;
        for (index, frame) in indices.zip(split) {
            let raw = usize::try_from(map.frame_raw_length(index)).unwrap_or(usize::MAX);
            let end = at.saturating_add(raw);
            let into = self.buffer.get_mut(at..end).filter(|_| end <= part.end);
            let into = into.with_context(|| other(index))?;
            let start = map.frame_range(index).start;
            frame::decode(map.parts().codec, frame, into).context(FrameSnafu { kind, start })?;
            at = end;
        }
        Ok(())
    }

    fn offset(&self, block: usize) -> u64 {
        u64::try_from(block.saturating_mul(self.image.judge.block_length())).unwrap_or(u64::MAX)
    }
}
