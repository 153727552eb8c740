//! Pure: what a partial answer says of itself, and whether that is what was asked for.

use std::ops::Range;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use snafu::{OptionExt as _, ensure};

use super::error::{
    LyingSnafu, OtherBytesSnafu, OtherFileSnafu, OtherLengthSnafu, RangeFault, UnnamedSnafu,
};

/// `bytes FIRST-LAST/LENGTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Of the whole file; some servers do not say it.
    pub(super) length: Option<u64>,
}

impl ContentRange {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    fn parse(value: &str) -> Option<Self> {
        let (range, length) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let length = match length {
            "*" => None,
            length => Some(number(length)?),
        };
        let fits = first <= last && length.is_none_or(|length| last < length);
        fits.then_some(Self {
            first,
            last,
            length,
        })
    }
}

/// Digits and nothing else: `parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// A strong entity tag, or else the time of the last change.
pub(super) fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"))
        .or_else(|| headers.get(LAST_MODIFIED))
        .cloned()
}

/// Whether a partial answer with `headers` is the `asked` bytes, of a file of `length` bytes that
/// `known` names.
pub(super) fn judge_part(
    headers: &HeaderMap,
    asked: &Range<u64>,
    length: u64,
    known: Option<&HeaderValue>,
) -> Result<(), RangeFault> {
    let found = ContentRange::of(headers).context(UnnamedSnafu)?;
    ensure!(
        found.first == asked.start && found.last.checked_add(1) == Some(asked.end),
        OtherBytesSnafu {
            asked: asked.clone(),
            first: found.first,
            last: found.last,
        }
    );
    if let Some(found) = found.length {
        ensure!(found == length, OtherLengthSnafu { found, length });
    }
    // `If-Range` was ignored: this is a part of another file.
    if let (Some(ours), Some(theirs)) = (known, validator(headers)) {
        ensure!(*ours == theirs, OtherFileSnafu);
    }
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| number(length.to_str().ok()?));
    let wanted = asked.end.saturating_sub(asked.start);
    // Fewer may be a transfer that will break, and is noticed then.
    ensure!(
        announced.is_none_or(|announced| announced <= wanted),
        LyingSnafu { wanted }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        let range = |first, last, length| {
            Some(ContentRange {
                first,
                last,
                length,
            })
        };
        for (value, expected) in [
            ("bytes 5-9/10", range(5, 9, Some(10))),
            ("bytes 0-0/1", range(0, 0, Some(1))),
            ("bytes 5-8/10", range(5, 8, Some(10))),
            ("bytes 5-9/*", range(5, 9, None)),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes=5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-/10", None),
            ("bytes -5/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-9/+10", None),
            ("bytes 5-9/", None),
            ("bytes 5-9/10 ", None),
            ("bytes 5-9/10, 12-13/20", None),
            (
                "bytes 18446744073709551615-18446744073709551615/18446744073709551615",
                None,
            ),
            ("bytes 0-18446744073709551616/*", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn a_weak_tag_does_not_name_a_body() {
        let (weak, date) = (("etag", "W/\"1\""), "Sat, 01 Mar 2031 00:00:00 GMT");
        assert_eq!(validator(&headers(&[weak])), None);
        let dated = headers(&[weak, ("last-modified", date)]);
        assert_eq!(validator(&dated).unwrap(), date);
        let strong = headers(&[("etag", "\"1\""), ("last-modified", date)]);
        assert_eq!(validator(&strong).unwrap(), "\"1\"");
    }

    #[test]
    fn a_part_must_be_exactly_the_bytes_that_were_asked_for_of_the_same_file() {
        for (lines, fault) in [
            (&[("content-range", "bytes 5-9/20")][..], ""),
            (&[("content-range", "bytes 5-9/*")], ""),
            (&[("content-range", "bytes 5-9/20"), ("etag", "\"1\"")], ""),
            (
                &[("content-range", "bytes 5-9/20"), ("etag", "W/\"1\"")],
                "",
            ),
            (
                &[("content-range", "bytes 5-9/20"), ("content-length", "5")],
                "",
            ),
            (
                &[("content-range", "bytes 5-9/20"), ("content-length", "4")],
                "",
            ),
            (&[], "it does not say which bytes it sends"),
            (
                &[("content-type", "multipart/byteranges; boundary=x")],
                "it does not say which bytes it sends",
            ),
            (
                &[("content-range", "bytes 4-8/20")],
                "it was asked for bytes 5-9 and sends bytes 4-8",
            ),
            (
                &[("content-range", "bytes 5-8/20")],
                "it was asked for bytes 5-9 and sends bytes 5-8",
            ),
            (
                &[("content-range", "bytes 5-19/20")],
                "it was asked for bytes 5-9 and sends bytes 5-19",
            ),
            (
                &[("content-range", "bytes 5-9/21")],
                "it has a file of 21 bytes, and 20 are signed",
            ),
            (
                &[("content-range", "bytes 5-9/20"), ("etag", "\"2\"")],
                "it has parts of different files",
            ),
            (
                &[("content-range", "bytes 5-9/20"), ("content-length", "6")],
                "it sends more than the 5 bytes of which it speaks",
            ),
        ] {
            let known = HeaderValue::from_static("\"1\"");
            let judged = judge_part(&headers(lines), &(5..10), 20, Some(&known));
            let found = judged.map_or_else(|fault| fault.to_string(), |()| String::new());
            assert_eq!(found, fault, "{lines:?}");
        }
    }
}
