//! How far a server may send us elsewhere: a few times, and never from https to anything else.
//!
//! What is a secret of the first host stays with it: reqwest drops credentials when the host
//! changes, and no `Referer` is sent.

use reqwest::redirect::{Action, Attempt, Policy};

/// Redirects that are followed before a server is taken to be lost.
const MAX_REDIRECTS: usize = 5;

pub(super) fn policy() -> Policy {
    Policy::custom(judge)
}

fn judge(attempt: Attempt) -> Action {
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if from_https && attempt.url().scheme() != "https" {
        attempt.error("redirected from https to an unprotected address")
    } else {
        attempt.follow()
    }
}
