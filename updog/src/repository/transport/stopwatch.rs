//! Pure: time that passes only while it counts. Whoever asks says how late it is.

use std::time::Duration;

/// Runs while at least one is waiting.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    waiting: usize,
    /// When the first of those began that are waiting now.
    since: Duration,
    /// What ran up before that.
    passed: Duration,
}

impl Stopwatch {
    /// One more is waiting.
    pub(super) fn start(&mut self, at: Duration) {
        if self.waiting == 0 {
            self.since = at;
        }
        self.waiting += 1;
    }

    /// One of them is waiting no longer.
    pub(super) fn stop(&mut self, at: Duration) {
        self.passed = self.passed(at);
        self.since = at;
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The time that ran up until `at`.
    pub(super) fn passed(&self, at: Duration) -> Duration {
        if self.waiting == 0 {
            return self.passed;
        }
        self.passed.saturating_add(at.saturating_sub(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_while_at_least_one_is_waiting() {
        enum Step {
            Start,
            Stop,
            Look,
        }
        use Step::{Look, Start, Stop};
        let mut stopwatch = Stopwatch::default();
        for (at, step, passed) in [
            (5, Look, 0),
            (10, Start, 0),
            (12, Look, 2),
            (13, Start, 3),
            (15, Stop, 5),
            (16, Look, 6),
            (20, Stop, 10),
            (90, Look, 10),
            (100, Start, 10),
            (101, Stop, 11),
        ] {
            let at = Duration::from_secs(at);
            match step {
                Start => stopwatch.start(at),
                Stop => stopwatch.stop(at),
                Look => {}
            }
            assert_eq!(stopwatch.passed(at), Duration::from_secs(passed), "{at:?}");
        }
    }
}
