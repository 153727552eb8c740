//! The header `Prefer`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a caller would rather have, of RFC 7240 only `wait`: to be answered when the command has ended,
/// or so many seconds are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preferred {
    pub(super) wait: Option<Duration>,
}

impl<S: Sync> FromRequestParts<S> for Preferred {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

impl Preferred {
    fn of(headers: &HeaderMap) -> Self {
        let wait = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .find_map(|preference| {
                let (name, seconds) = preference.split_once('=')?;
                let is_wait = name.trim().eq_ignore_ascii_case("wait");
                let seconds: u32 = seconds.trim().trim_matches('"').parse().ok()?;
                is_wait.then_some(Duration::from_secs(seconds.into()))
            });
        Self { wait }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_caller_may_want_to_wait() {
        for (values, seconds) in [
            (&[][..], None),
            (&["wait=10"], Some(10)),
            (&["respond-async, wait=10"], Some(10)),
            (&["return=minimal", "Wait = \"7\""], Some(7)),
            (&["wait"], None),
            (&["wait=-1"], None),
            (&["wait=99999999999"], None),
            (&["await=10"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            let wait = seconds.map(Duration::from_secs);
            assert_eq!(Preferred::of(&headers), Preferred { wait }, "{values:?}");
        }
    }
}
