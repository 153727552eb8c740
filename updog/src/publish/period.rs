//! Pure: how long signed metadata stays valid, as `52w`, `14d` or `12h`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;
const WEEK: u32 = 7 * DAY;
/// Longer is no expiry at all.
const MAX_WEEKS: u32 = 20 * 52;

/// Why a text is not a period.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum PeriodError {
    /// Neither weeks, days nor hours.
    #[snafu(display("'{text}' does not end in w, d or h; write for example 2w, 14d or 12h"))]
    Unit { text: String },
    /// What stands before the unit is not a number.
    #[snafu(display(
        "'{text}' is not a whole number and a unit; write for example 2w, 14d or 12h"
    ))]
    Number {
        text: String,
        source: std::num::ParseIntError,
    },
    /// Nothing would ever be valid, or everything for ever.
    #[snafu(display("'{text}' is out of range; from 1h to {MAX_WEEKS}w"))]
    Range { text: String },
}

/// A time span of at least an hour and at most twenty years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    seconds: u32,
}

impl Period {
    /// `weeks` weeks, for defaults in code.
    ///
    /// # Panics
    /// In a constant, at compile time, when `weeks` is out of range.
    pub const fn weeks(weeks: u32) -> Self {
        assert!(weeks > 0 && weeks <= MAX_WEEKS);
        Self {
            seconds: weeks * WEEK,
        }
    }

    /// `days` days, for defaults in code.
    ///
    /// # Panics
    /// In a constant, at compile time, when `days` is out of range.
    pub const fn days(days: u32) -> Self {
        assert!(days > 0 && days <= 7 * MAX_WEEKS);
        Self {
            seconds: days * DAY,
        }
    }

    /// The end of the period that starts at `start`, to the second; `None` past the calendar's end.
    pub fn after(self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let seconds = start.timestamp().checked_add(i64::from(self.seconds))?;
        DateTime::from_timestamp(seconds, 0)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let unit = match text.chars().last() {
            Some('w') => WEEK,
            Some('d') => DAY,
            Some('h') => HOUR,
            _ => return UnitSnafu { text }.fail(),
        };
        let number = &text[..text.len() - 1];
        let number: u32 = number.parse().context(NumberSnafu { text })?;
        let seconds = number.checked_mul(unit).context(RangeSnafu { text })?;
        ensure!(
            (HOUR..=MAX_WEEKS * WEEK).contains(&seconds),
            RangeSnafu { text }
        );
        Ok(Self { seconds })
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    /// In the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, letter) = [(WEEK, 'w'), (DAY, 'd')]
            .into_iter()
            .find(|(unit, _)| self.seconds.is_multiple_of(*unit))
            .unwrap_or((HOUR, 'h'));
        write!(f, "{}{letter}", self.seconds / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_to_the_second() {
        let start = "2031-03-01T01:00:00.75Z".parse().unwrap();
        for (text, end) in [
            ("1h", "2031-03-01T02:00:00Z"),
            ("14d", "2031-03-15T01:00:00Z"),
            ("2w", "2031-03-15T01:00:00Z"),
            ("52w", "2032-02-28T01:00:00Z"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.after(start), Some(end.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_period_is_printed_in_its_largest_unit() {
        for (text, printed) in [
            ("336h", "2w"),
            ("48h", "2d"),
            ("25h", "25h"),
            ("52w", "52w"),
        ] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), printed);
        }
        assert_eq!(Period::weeks(2), "2w".parse().unwrap());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "w", "2", "2m", "-1w", "1.5d", "2 w", "é"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["0w", "0h", "1041w", "4294967295w"] {
            assert!(
                matches!(text.parse::<Period>(), Err(PeriodError::Range { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_no_panic() {
        assert_eq!(Period::weeks(1).after(DateTime::<Utc>::MAX_UTC), None);
    }
}
