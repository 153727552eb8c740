//! Pure: from where each block of an image is taken, and what is fetched for that.
//!
//! What is in its place already is kept, what the running set has is copied, zeros are written, and the
//! rest is fetched: whole frames, in ranges that take small gaps along, since a request costs more than
//! some bytes. A frame that is fetched gives all of its blocks.

use std::ops::Range;

use update_metadata::block_map::BlockMap;

use super::index::Index;
use super::judge::{Hash, Judge, UNKNOWN};

/// The smallest gap for whose sake a second request is made: fetching it takes about as long.
const GAP_BYTES: u64 = 32 << 10;
/// The most ranges that an image is fetched in. With more of them, larger gaps are fetched along.
const MAX_RANGES: usize = 64;

/// Where blocks are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is nothing in them.
    Zero,
    /// They are in their place.
    Keep,
    /// The partition of the running set, from this block of it on.
    CopyFromActive(u32),
    /// The repository.
    Fetch,
}

/// Blocks in a row that are taken from the same source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first one's number.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// From where.
    pub source: Source,
}

impl Run {
    /// The number after the last one's.
    pub fn end(&self) -> usize {
        self.first.saturating_add(self.count)
    }

    /// The part of it that is in `blocks`.
    fn within(self, blocks: &Range<usize>) -> Self {
        let first = self.first.max(blocks.start);
        let skipped = first.saturating_sub(self.first);
        let source = match self.source {
            Source::CopyFromActive(from) => {
                let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
                Source::CopyFromActive(from.saturating_add(skipped))
            }
            other => other,
        };
        Self {
            first,
            count: self.end().min(blocks.end).saturating_sub(first),
            source,
        }
    }
}

/// How an image is put together. Serves [`BlockMap`]s only as they were planned for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Every block once, in order.
    runs: Vec<Run>,
    /// What is fetched, in order: parts of the compressed file that do not touch.
    ranges: Vec<Range<u64>>,
    block_length: u32,
    /// Of the image.
    length: u64,
}

/// What is where.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The hashes of blocks in their place, by number. [`UNKNOWN`] and those past its end are not.
    pub kept: &'a [Hash],
    /// What the running set has.
    pub active: Option<&'a Index>,
}

impl Plan {
    /// The plan for the image of `map`, whose blocks `judge` hashes.
    pub fn new(map: &BlockMap, judge: &Judge, found: Found<'_>) -> Self {
        let mut runs = Vec::new();
        let mut needed = Vec::new();
        let mut likely = None;
        let mut sources = Vec::with_capacity(map.blocks_in_frame());
        for frame in 0..map.frame_count() {
            let first = frame.saturating_mul(map.blocks_in_frame());
            let end = first.saturating_add(map.blocks_in_frame());
            sources.clear();
            for block in first..end.min(map.block_count()) {
                let source = source_of(block, map, judge, found, likely);
                if let Source::CopyFromActive(from) = source {
                    likely = from.checked_add(1);
                }
                sources.push(source);
            }
            // A frame that is fetched for one block is decoded for all.
            if sources.contains(&Source::Fetch) {
                sources.fill(Source::Fetch);
                needed.push(frame);
            }
            for (block, &source) in (first..end).zip(&sources) {
                add(&mut runs, block, source);
            }
        }
        Self {
            runs,
            ranges: ranges(map, &needed),
            block_length: map.parts().block_length,
            length: map.parts().raw.length,
        }
    }

    /// What is fetched of the compressed file: ascending ranges with gaps between them.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Bytes that are fetched.
    pub fn fetched(&self) -> u64 {
        let lengths = self.ranges.iter().map(|range| range.end - range.start);
        lengths.fold(0, u64::saturating_add)
    }

    /// Every block once, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// What is done for `blocks`, in order.
    pub fn within(&self, blocks: Range<usize>) -> impl Iterator<Item = Run> {
        let first = self.runs.partition_point(|run| run.end() <= blocks.start);
        let runs = self.runs.get(first..).unwrap_or_default();
        let end = blocks.end;
        runs.iter()
            .take_while(move |run| run.first < end)
            .map(move |run| run.within(&blocks))
    }

    /// Bytes of the image that come from each source.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for run in &self.runs {
            let at = |block: usize| {
                let block = u64::try_from(block).unwrap_or(u64::MAX);
                block
                    .saturating_mul(u64::from(self.block_length))
                    .min(self.length)
            };
            let bytes = at(run.end()) - at(run.first);
            let sum = match run.source {
                Source::Zero => &mut sums.zero,
                Source::Keep => &mut sums.kept,
                Source::CopyFromActive(_) => &mut sums.copied,
                Source::Fetch => &mut sums.decoded,
            };
            *sum = sum.saturating_add(bytes);
        }
        sums
    }
}

/// Bytes of an image, by where they come from. Together they are its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Zeros.
    pub zero: u64,
    /// In their place already.
    pub kept: u64,
    /// Copied from the running set.
    pub copied: u64,
    /// Decoded from what is fetched.
    pub decoded: u64,
}

impl Sums {
    /// These sums where, of what was to be copied or kept, as much as `again` has was fetched instead.
    #[must_use]
    pub fn instead(self, again: Self) -> Self {
        let copied = self.copied.saturating_sub(again.decoded);
        let rest = again.decoded.saturating_sub(self.copied - copied);
        Self {
            decoded: self.decoded.saturating_add(again.decoded),
            copied,
            kept: self.kept.saturating_sub(rest),
            ..self
        }
    }
}

fn source_of(
    block: usize,
    map: &BlockMap,
    judge: &Judge,
    found: Found<'_>,
    likely: Option<u32>,
) -> Source {
    let wanted = &map.parts().hashes;
    if found.kept.get(block).is_some_and(|hash| *hash != UNKNOWN) {
        return Source::Keep;
    }
    if judge.is_zero(wanted, block) {
        return Source::Zero;
    }
    let place = wanted
        .key(block)
        .and_then(|key| found.active?.find(key, likely));
    place.map_or(Source::Fetch, Source::CopyFromActive)
}

/// Puts `block`, which is the next one, into the last run or a new one.
fn add(runs: &mut Vec<Run>, block: usize, source: Source) {
    if let Some(last) = runs.last_mut() {
        let goes_on = match (last.source, source) {
            (Source::CopyFromActive(from), Source::CopyFromActive(next)) => {
                let count = u32::try_from(last.count).ok();
                count.and_then(|count| from.checked_add(count)) == Some(next)
            }
            (last, next) => last == next,
        };
        if goes_on {
            last.count += 1;
            return;
        }
    }
    runs.push(Run {
        first: block,
        count: 1,
        source,
    });
}

/// The ranges in which `needed` frames are fetched, which ascend.
fn ranges(map: &BlockMap, needed: &[usize]) -> Vec<Range<u64>> {
    let mut gap = GAP_BYTES;
    loop {
        let ranges = with_gaps(map, needed, gap);
        if ranges.len() <= MAX_RANGES {
            return ranges;
        }
        // Ends: with a gap as long as the file there is one range.
        gap = gap.saturating_mul(2);
    }
}

fn with_gaps(map: &BlockMap, needed: &[usize], gap: u64) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for range in needed.iter().map(|&frame| map.frame_range(frame)) {
        match ranges.last_mut() {
            Some(last) if range.start - last.end <= gap => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
