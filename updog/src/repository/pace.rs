//! Pure: whether a transfer still gets anywhere. Time is what has passed since its start.
//!
//! A bad link may take as many tries as it needs, as long as bytes come; a server that is down is
//! waited for, and one that drips is left. So every transfer has an end.

use std::time::Duration;

use snafu::Snafu;

/// Slow retrieval has an end: fewer bytes than this in each second of a window.
const FLOOR_BYTES_PER_SECOND: u64 = 1 << 10;
/// How many times the outage that is waited for the window is long: 2.5, so that an outage is
/// always told as one. That is five minutes if nothing else is set.
const WINDOW_OUTAGES: (u32, u32) = (5, 2);
/// Times that a file is started over because its server cannot continue it.
const MAX_RESTARTS: u32 = 20;
/// Progress that counts as a link that works again.
const FRESH_BYTES: u64 = 64 << 10;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Why a transfer is given up.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum GiveUp {
    /// Nothing came for too long.
    #[snafu(display("no byte came for {} s", waited.as_secs()))]
    Outage { waited: Duration },
    /// Bytes come, and too slowly.
    #[snafu(display("only {bytes} bytes came in {} s", window.as_secs()))]
    TooSlow { bytes: u64, window: Duration },
    /// Metadata are small; this file takes too long.
    #[snafu(display("the metadata file was not complete after {} s", total.as_secs()))]
    Total { total: Duration },
    /// The server starts over each time.
    #[snafu(display("the server started over {restarts} times instead of continuing"))]
    Restarts { restarts: u32 },
}

/// What kind of file is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Small, and needed before anything else can be done.
    Metadata,
    /// Of any size.
    Target,
}

/// Keeps the account of one transfer.
#[derive(Debug)]
pub struct Pace {
    kind: FileKind,
    outage: Duration,
    /// Over which slowness is judged. No metadata file takes longer, however steadily it comes.
    window: Duration,
    last_byte: Duration,
    window_start: Duration,
    window_bytes: u64,
    restarts: u32,
    since_failure: u64,
    backoff: Duration,
}

impl Pace {
    /// A transfer that starts now. It is given up when no byte comes for `outage`.
    pub fn new(kind: FileKind, outage: Duration) -> Self {
        Self {
            kind,
            outage,
            window: outage.saturating_mul(WINDOW_OUTAGES.0) / WINDOW_OUTAGES.1,
            last_byte: Duration::ZERO,
            window_start: Duration::ZERO,
            window_bytes: 0,
            restarts: 0,
            since_failure: 0,
            backoff: FIRST_BACKOFF,
        }
    }

    /// `bytes` came, `new` of them for the first time.
    ///
    /// # Errors
    /// [`GiveUp::TooSlow`] and [`GiveUp::Total`].
    pub fn received(&mut self, at: Duration, bytes: u64, new: u64) -> Result<(), GiveUp> {
        self.window_bytes = self.window_bytes.saturating_add(bytes);
        self.since_failure = self.since_failure.saturating_add(new);
        if new > 0 {
            self.last_byte = at;
        }
        let window = at.saturating_sub(self.window_start);
        if window >= self.window {
            let floor = window.as_secs().saturating_mul(FLOOR_BYTES_PER_SECOND);
            if self.window_bytes < floor {
                return TooSlowSnafu {
                    bytes: self.window_bytes,
                    window,
                }
                .fail();
            }
            self.window_start = at;
            self.window_bytes = 0;
        }
        if self.kind == FileKind::Metadata && at > self.window {
            return TotalSnafu { total: at }.fail();
        }
        Ok(())
    }

    /// The server sends the file from its start again.
    ///
    /// # Errors
    /// [`GiveUp::Restarts`].
    pub fn restarted(&mut self) -> Result<(), GiveUp> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return RestartsSnafu {
                restarts: self.restarts,
            }
            .fail();
        }
        Ok(())
    }

    /// A try failed in a way that may pass. Returns how long to wait before the next.
    ///
    /// # Errors
    /// Every [`GiveUp`] but the one about restarts.
    pub fn failed(&mut self, at: Duration) -> Result<Duration, GiveUp> {
        self.received(at, 0, 0)?;
        let waited = at.saturating_sub(self.last_byte);
        if waited >= self.outage {
            return OutageSnafu { waited }.fail();
        }
        if self.since_failure >= FRESH_BYTES {
            self.backoff = FIRST_BACKOFF;
        }
        self.since_failure = 0;
        // What would be waited for after the outage's end is waited for in vain.
        let wait = self.backoff.min(self.outage.saturating_sub(waited));
        self.backoff = self.backoff.saturating_mul(2).min(MAX_BACKOFF);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Duration = Duration::from_secs(120);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_waited_for_with_longer_pauses_and_then_given_up() {
        let mut pace = Pace::new(FileKind::Target, OUTAGE);
        pace.received(seconds(5), 1000, 1000).unwrap();
        let mut now = seconds(5);
        let mut waits = Vec::new();
        let end = loop {
            match pace.failed(now) {
                Ok(wait) => {
                    waits.push(wait.as_millis());
                    now += wait;
                }
                Err(end) => break end,
            }
        };
        assert_eq!(waits[..8], [100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert!(matches!(end, GiveUp::Outage { waited } if waited >= OUTAGE));
        assert!(now < seconds(5) + OUTAGE + seconds(11));
    }

    #[test]
    fn progress_renews_the_wait_and_a_drip_does_not_shorten_the_pauses() {
        let mut pace = Pace::new(FileKind::Target, OUTAGE);
        for _ in 0..4 {
            pace.failed(seconds(1)).unwrap();
        }
        pace.received(seconds(100), 1, 1).unwrap();
        assert_eq!(
            pace.failed(seconds(100)).unwrap(),
            Duration::from_millis(1600)
        );
        // 120 s after the last byte, not after the first failure.
        pace.failed(seconds(219)).unwrap();
        pace.received(seconds(219), FRESH_BYTES, FRESH_BYTES)
            .unwrap();
        assert_eq!(pace.failed(seconds(220)).unwrap(), FIRST_BACKOFF);
    }

    #[test]
    fn a_byte_every_second_is_too_slow_after_five_minutes() {
        let mut pace = Pace::new(FileKind::Target, OUTAGE);
        for second in 1..300 {
            pace.received(seconds(second), 1, 1).unwrap();
        }
        let end = pace.received(seconds(300), 1, 1).unwrap_err();
        assert_eq!(
            end,
            GiveUp::TooSlow {
                bytes: 300,
                window: seconds(300)
            }
        );
    }

    #[test]
    fn a_long_outage_that_is_to_be_waited_for_is_waited_for() {
        for kind in [FileKind::Metadata, FileKind::Target] {
            let mut pace = Pace::new(kind, seconds(3600));
            let mut now = Duration::ZERO;
            let end = loop {
                match pace.failed(now) {
                    Ok(wait) => now += wait,
                    Err(end) => break end,
                }
            };
            assert!(matches!(end, GiveUp::Outage { waited } if waited >= seconds(3600)));
        }
    }

    #[test]
    fn a_slow_link_above_the_floor_may_take_for_ever() {
        let mut pace = Pace::new(FileKind::Target, OUTAGE);
        for second in 1..100_000 {
            pace.received(seconds(second), 1030, 1030).unwrap();
        }
    }

    #[test]
    fn metadata_have_a_total() {
        let mut pace = Pace::new(FileKind::Metadata, OUTAGE);
        for second in 1..=300 {
            pace.received(seconds(second), 10_000, 10_000).unwrap();
        }
        assert!(matches!(
            pace.received(seconds(301), 1, 1),
            Err(GiveUp::Total { .. })
        ));
    }

    #[test]
    fn a_server_that_always_starts_over_is_left() {
        let mut pace = Pace::new(FileKind::Target, OUTAGE);
        for _ in 0..20 {
            pace.restarted().unwrap();
        }
        assert_eq!(pace.restarted(), Err(GiveUp::Restarts { restarts: 21 }));
    }

    #[test]
    fn no_pause_is_longer_than_what_is_left_of_the_outage() {
        let mut pace = Pace::new(FileKind::Target, seconds(1));
        let waits = [0, 950, 990].map(|at| pace.failed(Duration::from_millis(at)).unwrap());
        assert_eq!(waits.map(|wait| wait.as_millis()), [100, 50, 10]);
        pace.failed(seconds(1)).unwrap_err();
    }
}
