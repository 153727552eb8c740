//! PURE: how one attempt goes on, by what the disk says.

use chrono::{DateTime, Utc};
use signpost::BootAttributes;

use super::{Attempt, AttemptKind, AttemptResult};

/// Characters of a reason; what a server said may be part of it.
pub(super) const MAX_REASON: usize = 1000;

/// What the disk says of the set that an attempt is about, and of the system that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) runs: bool,
    pub(super) boots_next: bool,
    pub(super) bits: BootAttributes,
    /// Whether the set is known to hold what the attempt was to write.
    pub(super) holds_it: bool,
}

impl Attempt {
    /// Follows what the disk says. Whether that is news.
    pub(super) fn see(&mut self, seen: Seen, now: DateTime<Utc>) -> bool {
        use AttemptResult::{Failed, Good, Left, Lost, Ready, Replaced, Staged, Trial, Writing};
        let bits = seen.bits;
        let (result, reason) = match self.result {
            Writing if !seen.holds_it || !seen.runs && bits.tries_left() == 0 && !is_lost(bits) => {
                (Failed, Some("its process ended before the set was written"))
            }
            Writing | Staged | Ready | Trial | Good | Lost | Left
                if seen.runs && bits.successful() =>
            {
                (Good, None)
            }
            Writing | Staged | Ready | Trial | Lost | Left if seen.runs => (Trial, None),
            Writing | Staged | Ready if is_lost(bits) => (Lost, Some("the boot loader fell back")),
            Writing | Staged | Ready if seen.boots_next => (Ready, None),
            Writing | Staged | Ready if self.kind == AttemptKind::Update && bits.successful() => {
                (Left, Some("it was good, and was left by hand"))
            }
            Writing | Staged | Ready if bits.tries_left() > 0 || bits.successful() => {
                (Staged, None)
            }
            Writing | Staged | Ready => (Replaced, Some("the set was cleared")),
            Good | Trial if bits.successful() => (Left, Some("it was left by hand")),
            Trial if seen.boots_next => (Ready, None),
            Trial => (
                Lost,
                Some("the boot loader fell back before it was marked successful"),
            ),
            Good | Lost | Left | Failed | Replaced => return false,
        };
        let is_news = result != self.result;
        self.seen_running |= seen.runs;
        if result.has_ended() {
            if is_news {
                self.end(result, now, reason);
            }
        } else {
            self.result = result;
            self.ended = None;
        }
        is_news
    }

    pub(super) fn end(&mut self, result: AttemptResult, now: DateTime<Utc>, reason: Option<&str>) {
        self.result = result;
        self.ended = Some(now);
        self.reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect());
    }
}

/// Whether a set with these bits, while the other one runs, was tried and did not come up.
pub(super) fn is_lost(bits: BootAttributes) -> bool {
    bits.priority() > 0 && bits.tries_left() == 0 && !bits.successful()
}
