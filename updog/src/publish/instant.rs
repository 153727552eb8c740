//! Pure: a time as it is typed, RFC 3339, to the second or finer.

use chrono::{DateTime, ParseError, Utc};

/// For `#[arg(value_parser = ...)]`.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, ParseError> {
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_turned_into_utc_and_other_forms_refused() {
        let parsed = parse("2031-03-01T03:00:00+02:00").unwrap();
        assert_eq!(parsed.to_rfc3339(), "2031-03-01T01:00:00+00:00");
        for text in ["2031-03-01", "now", "1930000000", "2031-13-01T01:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
