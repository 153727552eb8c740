//! The wall clock. Everything that judges time takes `now` as an argument; programs ask here, once
//! a run, so that one run has one time.

use chrono::{DateTime, Utc};

/// The time of this run.
#[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
