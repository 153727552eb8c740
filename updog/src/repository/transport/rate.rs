//! How many bytes a second are taken from the bodies of targets, all of them together.
//!
//! A reader that takes no more than that makes the sender slow down, by the window of TCP or HTTP/2.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// What was not used stays good for so long. It makes up for pauses that are longer than asked for.
const KEPT: Duration = Duration::from_millis(100);
/// Pieces for each second, so that progress is steady and a pause is short.
const PIECES_PER_SECOND: u64 = 8;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Pure: what was taken, and until when it is paid for with time.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    paid_at: Duration,
}

impl Bucket {
    fn new(rate: NonZeroU64) -> Self {
        let paid_at = Duration::ZERO;
        Self { rate, paid_at }
    }

    /// Takes `bytes`. Returns for how long to wait before they are used.
    fn take(&mut self, at: Duration, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * NANOS_PER_SECOND).div_ceil(u128::from(self.rate.get()));
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self
            .paid_at
            .max(at.saturating_sub(KEPT))
            .saturating_add(price);
        self.paid_at.saturating_sub(at)
    }
}

/// Shared by whatever is limited together.
#[derive(Debug)]
pub(super) struct RateLimit {
    bucket: Mutex<Bucket>,
    start: Instant,
    piece: usize,
}

impl RateLimit {
    /// So many bytes a second.
    pub(super) fn new(rate: NonZeroU64) -> Self {
        let piece = (rate.get() / PIECES_PER_SECOND).max(1);
        Self {
            bucket: Mutex::new(Bucket::new(rate)),
            start: Instant::now(),
            piece: usize::try_from(piece).unwrap_or(usize::MAX),
        }
    }

    /// The most bytes that are worth taking at once.
    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    /// Waits until `bytes` may be used.
    pub(super) async fn pass(&self, bytes: u64) {
        let wait = lock(&self.bucket).take(self.start.elapsed(), bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(rate.try_into().unwrap())
    }

    #[test]
    fn bytes_are_paid_for_with_time() {
        let mut bucket = bucket(1000);
        for (at, bytes, wait) in [
            // Nothing is free at the start.
            (0, 500, 500),
            // Two at the same time wait one after the other.
            (0, 500, 1000),
            (400, 100, 700),
            (1100, 0, 0),
            // Paid a tenth of a second ago: that much is good.
            (1200, 100, 0),
            (1200, 1, 1),
            // And no more, however long nobody took anything.
            (100_000, 100, 0),
            (100_000, 100, 100),
        ] {
            let found = bucket.take(Duration::from_millis(at), bytes);
            assert_eq!(found, Duration::from_millis(wait), "{bytes} at {at}");
        }
    }

    #[test]
    fn no_rate_and_no_number_of_bytes_is_too_large_to_reckon_with() {
        for (rate, bytes) in [(1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1), (3, 1)] {
            let mut bucket = bucket(rate);
            let first = bucket.take(Duration::ZERO, bytes);
            assert!(!first.is_zero(), "{bytes} at {rate}");
            let second = bucket.take(Duration::ZERO, bytes);
            assert!(second > first, "{bytes} at {rate}");
        }
    }

    #[test]
    fn however_it_is_asked_no_more_passes_than_the_rate_and_what_was_kept() {
        const RATE: u64 = 10_000;
        // Who takes pieces of every size, and always oversleeps.
        let mut bucket = bucket(RATE);
        let (mut now, mut taken) = (Duration::ZERO, 0);
        for step in 0..2000 {
            let bytes = (step * 7919) % 1250;
            let oversleep = Duration::from_micros((step * 104_729) % 3000);
            now += bucket.take(now, bytes) + oversleep;
            taken += bytes;
            let most = (now + KEPT).as_millis() * u128::from(RATE) / 1000 + 1;
            assert!(u128::from(taken) <= most, "{taken} by {now:?}");
        }
        // And hardly less.
        let least = now.as_millis() * u128::from(RATE) / 1000 * 99 / 100;
        assert!(u128::from(taken) >= least, "{taken} by {now:?}");
    }
}
