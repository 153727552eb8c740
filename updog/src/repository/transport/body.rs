//! Whether an answer is the file that was asked for, from the byte that was asked for.

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use snafu::{OptionExt, ensure};

use super::content_range::{ContentRange, validator};
use super::error::{ChangedSnafu, TransferError, WrongRangeSnafu};

/// What is known of the file from the first answer that carried it.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Bytes of the whole file, where the server says it.
    pub(super) length: Option<u64>,
    /// Names this state of the file; without one nothing is continued.
    pub(super) validator: Option<HeaderValue>,
}

impl Body {
    /// Checks that `response` is the file from its start, or from `offset` on. Returns how many
    /// of its first bytes were delivered before.
    ///
    /// # Errors
    /// [`TransferError::WrongRange`], after which no range of this body is asked for any more, and
    /// [`TransferError::Changed`].
    pub(super) fn accept(
        &mut self,
        response: &Response,
        offset: u64,
    ) -> Result<u64, TransferError> {
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let accepted = self.accept_part(response.headers(), offset);
            if accepted.is_err() {
                self.validator = None;
            }
            return accepted.map(|()| 0);
        }
        let length = response.content_length();
        if let (true, Some(known), Some(now)) = (offset > 0, self.length, length) {
            ensure!(known == now, ChangedSnafu { known, now });
        }
        self.length = length;
        self.validator = validator(response.headers());
        Ok(offset)
    }

    fn accept_part(&mut self, headers: &HeaderMap, offset: u64) -> Result<(), TransferError> {
        let range = ContentRange::of(headers).context(WrongRangeSnafu)?;
        // Everything from here on was asked for, and of which file that is has to be told.
        let length = range.length.context(WrongRangeSnafu)?;
        ensure!(
            range.first == offset
                && range.last.checked_add(1) == Some(length)
                && self.length.is_none_or(|known| known == length),
            WrongRangeSnafu
        );
        // `If-Range` was ignored: this is a part of another file.
        if let (Some(ours), Some(theirs)) = (&self.validator, validator(headers)) {
            ensure!(*ours == theirs, WrongRangeSnafu);
        }
        self.length = Some(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_RANGE, ETAG};

    use super::*;

    #[test]
    fn a_part_must_be_the_one_asked_for_of_the_same_file() {
        let part = |range: &'static str, tag: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(range));
            if let Some(tag) = tag {
                headers.insert(ETAG, HeaderValue::from_static(tag));
            }
            headers
        };
        for (headers, good) in [
            (part("bytes 5-9/10", Some("\"1\"")), true),
            (part("bytes 5-9/10", None), true),
            (part("bytes 5-9/10", Some("\"2\"")), false),
            (part("bytes 4-9/10", Some("\"1\"")), false),
            (part("bytes 5-10/11", Some("\"1\"")), false),
            (part("bytes 5-8/10", Some("\"1\"")), false),
            (part("bytes 5-9/*", Some("\"1\"")), false),
            (HeaderMap::new(), false),
        ] {
            let mut body = Body {
                length: Some(10),
                validator: Some(HeaderValue::from_static("\"1\"")),
            };
            let accepted = body.accept_part(&headers, 5);
            assert_eq!(accepted.is_ok(), good, "{headers:?}");
        }
    }
}
