//! Pure: bytes a second, as they are typed.

use std::num::NonZeroU64;

use crate::repository::transport::RATES;

/// `text` is a number of bytes, or of 1024, 1024² or 1024³ of them.
pub(super) fn parse(text: &str) -> Result<NonZeroU64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1_u64),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let rate = digits.parse::<u64>().ok().filter(|_| is_number);
    rate.and_then(|rate| rate.checked_mul(unit))
        .filter(|rate| RATES.contains(rate))
        .and_then(NonZeroU64::new)
        .ok_or_else(|| {
            "must be from 1K to 1024G bytes a second, such as 2000000 or 500K".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit_or_without() {
        for (text, rate) in [
            ("1024", Some(1024)),
            ("1K", Some(1024)),
            ("500k", Some(512_000)),
            ("2M", Some(2_097_152)),
            ("1g", Some(1_073_741_824)),
            ("1024G", Some(1 << 40)),
            ("1025G", None),
            ("99999999999999999999", None),
            ("99999999999G", None),
            ("1023", None),
            ("0", None),
            ("", None),
            ("K", None),
            ("+2M", None),
            ("-2M", None),
            ("2 M", None),
            ("1.5M", None),
            ("2MB", None),
            ("2T", None),
            ("2é", None),
        ] {
            let expected = rate.and_then(NonZeroU64::new);
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
