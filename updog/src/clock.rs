//! The wall clock. Everything that judges time takes `now` as an argument; programs ask here, once
//! a run, so that one run has one time.

use chrono::{DateTime, Utc};

/// When the source of this version was finished, in seconds since the epoch: 2026-11-24. Moved
/// forward with every release.
const SOURCE_TIME: i64 = 1_795_478_400;

/// The time of this run.
#[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A time that is over: this version did not exist before. The later of the source's own time and
/// `SOURCE_DATE_EPOCH` of the build, in the seconds since the epoch that reproducible builds set
/// it to.
pub fn build_time() -> DateTime<Utc> {
    let stated = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    let seconds = stated.map_or(SOURCE_TIME, |stated: i64| stated.max(SOURCE_TIME));
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
