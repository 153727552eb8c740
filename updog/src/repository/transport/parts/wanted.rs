//! Pure: which bytes of a file are wanted, and cutting them out of a body that brings all of them.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::super::request::length_of;
use crate::repository::ranges::Chunk;

/// Ranges of a file that are still wanted, in ascending order.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Wanted {
    ranges: VecDeque<Range<u64>>,
}

impl Wanted {
    pub(in super::super) fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self {
            ranges: ranges.into_iter().collect(),
        }
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The first range.
    pub(in super::super) fn take(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// The first part of `bytes`, which lie at `at` of the file, that is wanted; it is no longer
    /// wanted then. It and what lies before it are taken off `bytes`.
    pub(in super::super) fn cut(&mut self, at: &mut u64, bytes: &mut Bytes) -> Option<Chunk> {
        let range = self.ranges.front_mut()?;
        let before = range.start.saturating_sub(*at);
        take(bytes, at, before);
        if bytes.is_empty() {
            return None;
        }
        let offset = *at;
        let part = take(bytes, at, range.end.saturating_sub(offset));
        range.start = *at;
        if range.start >= range.end {
            self.ranges.pop_front();
        }
        Some(Chunk {
            offset,
            bytes: part,
        })
    }
}

/// Takes up to `count` bytes off the front.
fn take(bytes: &mut Bytes, at: &mut u64, count: u64) -> Bytes {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let taken = bytes.split_to(count.min(bytes.len()));
    *at = at.saturating_add(length_of(&taken));
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `ranges` of `file` when its bytes come in chunks of `size`.
    fn cut(file: &'static [u8], ranges: &[Range<u64>], size: usize) -> Vec<(u64, Bytes)> {
        let mut wanted = Wanted::new(ranges.iter().cloned());
        let mut cut = Vec::new();
        let mut at = 0;
        for chunk in file.chunks(size) {
            let mut chunk = Bytes::from_static(chunk);
            let mut place = at;
            at += length_of(&chunk);
            while let Some(Chunk { offset, bytes }) = wanted.cut(&mut place, &mut chunk) {
                cut.push((offset, bytes));
            }
        }
        let is_all = ranges
            .last()
            .is_none_or(|last| last.end <= length_of(&Bytes::from_static(file)));
        assert_eq!(wanted.is_empty(), is_all);
        cut
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // some rows have one range
    fn what_is_wanted_is_cut_out_of_chunks() {
        let file = b"0123456789";
        for (ranges, size, expected) in [
            (&[0..10][..], 10, &[(0, "0123456789")][..]),
            (&[0..10], 4, &[(0, "0123"), (4, "4567"), (8, "89")]),
            (&[3..5], 10, &[(3, "34")]),
            (&[3..5], 4, &[(3, "3"), (4, "4")]),
            (&[9..10], 3, &[(9, "9")]),
            (&[1..2, 2..3, 5..6], 10, &[(1, "1"), (2, "2"), (5, "5")]),
            (&[0..4, 8..10], 4, &[(0, "0123"), (8, "89")]),
            (&[5..6, 30..40], 10, &[(5, "5")]),
            (&[], 10, &[]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(at, text)| (*at, Bytes::from_static(text.as_bytes())))
                .collect();
            assert_eq!(cut(file, ranges, size), expected, "{ranges:?} by {size}");
        }
    }

    #[test]
    fn bytes_come_out_in_their_order_however_they_came() {
        let file: Vec<u8> = (0..=255).collect();
        let file: &'static [u8] = file.leak();
        let ranges = [0..1, 7..90, 90..91, 200..201, 250..256];
        let simply: Vec<u8> = ranges
            .iter()
            .cloned()
            .flatten()
            .map(|at| u8::try_from(at).unwrap())
            .collect();
        for size in 1..=256 {
            let cut = cut(file, &ranges, size);
            let bytes: Vec<u8> = cut.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
            assert_eq!(bytes, simply, "by {size}");
        }
    }
}
