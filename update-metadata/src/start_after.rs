//! When a wave of a policy starts: an offset from the release, or a time of its own.

use chrono::{DateTime, TimeDelta, Utc};
use snafu::{OptionExt, ResultExt, Snafu};
use std::str::FromStr;

/// The start of a wave.
///
/// As text one of
///
/// - an offset: an optional `in`, a whole number, and one of `minute`, `hour`, `day`, `week`, each
///   with or without an `s`, for example `in 30 minutes` or `1 day`;
/// - a time in RFC 3339, for example `2031-03-01T01:00:00Z`.
///
/// Minutes and times are not accepted by Bottlerocket's publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAfter {
    /// So much later than the release.
    Offset(TimeDelta),
    /// At this time, whenever the release is.
    At(DateTime<Utc>),
}

/// Why a text says no start.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum StartAfterError {
    /// The text is neither of the two forms.
    #[snafu(display(
        "{text:?} is neither `[in] NUMBER minutes|hours|days|weeks` nor an RFC 3339 time"
    ))]
    Form {
        /// The text.
        text: String,
    },

    /// The text looks like a time but is none.
    #[snafu(display("{text:?} is not an RFC 3339 time"))]
    Time {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: chrono::ParseError,
    },

    /// The number of an offset is not a whole number of at most 32 bits.
    #[snafu(display("{number:?} is not a whole number up to {}", u32::MAX))]
    Number {
        /// The number's text.
        number: String,
    },

    /// The unit of an offset is not known.
    #[snafu(display("{unit:?} is not one of minutes, hours, days and weeks"))]
    Unit {
        /// The unit.
        unit: String,
    },
}

impl StartAfter {
    /// The start for a release at `release`; `None` if that is past the end of the calendar.
    pub fn time(self, release: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Offset(offset) => release.checked_add_signed(offset),
            Self::At(time) => Some(time),
        }
    }
}

impl FromStr for StartAfter {
    type Err = StartAfterError;

    fn from_str(text: &str) -> Result<Self, StartAfterError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["in", number, unit] | [number, unit] => offset(number, unit).map(Self::Offset),
            [time] if time.contains('-') => {
                let time = DateTime::parse_from_rfc3339(time).context(TimeSnafu { text })?;
                Ok(Self::At(time.to_utc()))
            }
            _ => FormSnafu { text }.fail(),
        }
    }
}

fn offset(number: &str, unit: &str) -> Result<TimeDelta, StartAfterError> {
    // `parse` would take a sign as well.
    let is_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = Some(number)
        .filter(|_| is_digits)
        .and_then(|number| number.parse().ok())
        .context(NumberSnafu { number })?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        "week" | "weeks" => 7 * 24 * 60,
        _ => return UnitSnafu { unit }.fail(),
    };
    // At most 2^32 weeks, which is far below what a TimeDelta holds.
    Ok(TimeDelta::minutes(i64::from(count) * minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release() -> DateTime<Utc> {
        "2031-03-01T00:00:00Z".parse().unwrap()
    }

    fn start(text: &str) -> String {
        let start: StartAfter = text.parse().unwrap();
        start.time(release()).unwrap().to_string()
    }

    #[test]
    fn an_offset_counts_from_the_release() {
        for (text, time) in [
            ("1 minute", "2031-03-01 00:01:00 UTC"),
            ("30 minutes", "2031-03-01 00:30:00 UTC"),
            ("in 90 minutes", "2031-03-01 01:30:00 UTC"),
            ("1 hour", "2031-03-01 01:00:00 UTC"),
            ("in 4 hours", "2031-03-01 04:00:00 UTC"),
            ("1 day", "2031-03-02 00:00:00 UTC"),
            ("in 13 days", "2031-03-14 00:00:00 UTC"),
            ("1 week", "2031-03-08 00:00:00 UTC"),
            ("in  2\tweeks ", "2031-03-15 00:00:00 UTC"),
            ("0 hours", "2031-03-01 00:00:00 UTC"),
            ("007 days", "2031-03-08 00:00:00 UTC"),
        ] {
            assert_eq!(start(text), time, "{text:?}");
        }
    }

    #[test]
    fn a_time_stands_whenever_the_release_is() {
        assert_eq!(start("2031-04-01T12:30:00Z"), "2031-04-01 12:30:00 UTC");
        assert_eq!(
            start("2031-04-01T12:30:00+02:00"),
            "2031-04-01 10:30:00 UTC"
        );
    }

    #[test]
    fn everything_else_is_refused_with_what_is_wrong() {
        for (text, error) in [
            (
                "1 month",
                "\"month\" is not one of minutes, hours, days and weeks",
            ),
            (
                "1 Day",
                "\"Day\" is not one of minutes, hours, days and weeks",
            ),
            (
                "in 1 second",
                "\"second\" is not one of minutes, hours, days and weeks",
            ),
            ("one day", "\"one\" is not a whole number up to 4294967295"),
            ("-1 days", "\"-1\" is not a whole number up to 4294967295"),
            ("+1 days", "\"+1\" is not a whole number up to 4294967295"),
            ("1.5 days", "\"1.5\" is not a whole number up to 4294967295"),
            (
                "4294967296 days",
                "\"4294967296\" is not a whole number up to 4294967295",
            ),
            ("2031-03-01", "\"2031-03-01\" is not an RFC 3339 time"),
            (
                "2031-03-01T01:00:00",
                "\"2031-03-01T01:00:00\" is not an RFC 3339 time",
            ),
        ] {
            assert_eq!(text.parse::<StartAfter>().unwrap_err().to_string(), error);
        }
        for text in [
            "",
            " ",
            "1day",
            "1",
            "day",
            "in",
            "after 1 day",
            "in 1 day now",
            "in 1 2 days",
        ] {
            assert_eq!(
                text.parse::<StartAfter>().unwrap_err().to_string(),
                format!(
                    "{text:?} is neither `[in] NUMBER minutes|hours|days|weeks` nor an RFC 3339 \
                     time"
                )
            );
        }
    }

    #[test]
    fn a_start_past_the_calendar_is_none() {
        let longest: StartAfter = "4294967295 weeks".parse().unwrap();
        assert_eq!(longest.time(release()), None);
    }

    proptest! {
        #[test]
        fn no_string_panics(text in "(in )?[-+0-9a-z:TZ ]*") {
            if let Ok(start) = text.parse::<StartAfter>() {
                let _ = start.time(DateTime::<Utc>::MAX_UTC);
            }
        }
    }
}
