//! PURE: times and spans as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// `2031-03-01T01:00:00Z`.
pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Two units at most, rounded down: `13 d 4 h`, `3 h 20 min`, `5 min`, `40 s`. Whether it lies
/// ahead or behind is for the caller to say.
pub(super) fn span(span: TimeDelta) -> String {
    let span = span.abs();
    let (days, hours, minutes) = (span.num_days(), span.num_hours(), span.num_minutes());
    match (days, hours, minutes) {
        (1.., ..) => format!("{days} d {} h", hours % 24),
        (_, 1.., _) => format!("{hours} h {} min", minutes % 60),
        (_, _, 1..) => format!("{minutes} min"),
        _ => format!("{} s", span.num_seconds()),
    }
}

/// `5 min ago`. What lies ahead was written by a clock that was ahead, or this one is behind.
pub(super) fn since(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if time > now {
        format!("at {}, after this host's time", stamp(time))
    } else {
        format!("{} ago", span(now - time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_not_told_as_past() {
        let now: DateTime<Utc> = "2031-03-01T01:00:00Z".parse().unwrap();
        let at = |seconds| since(now + TimeDelta::seconds(seconds), now);
        assert_eq!(at(-300), "5 min ago");
        assert_eq!(at(0), "0 s ago");
        assert_eq!(at(300), "at 2031-03-01T01:05:00Z, after this host's time");
    }

    #[test]
    fn a_span_is_told_in_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_600 * 3 + 60 * 20 + 59, "3 h 20 min"),
            (86_399, "23 h 59 min"),
            (86_400 * 13 + 3_600 * 4, "13 d 4 h"),
            (-3_600, "1 h 0 min"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), expected);
        }
    }
}
