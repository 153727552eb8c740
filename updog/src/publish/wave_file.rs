//! A wave policy in a file.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use snafu::{ResultExt, Snafu};
use update_metadata::{WavePlan, WavePlanError, WaveSchedule};

use super::bounded;

/// A larger file is not a wave policy.
const MAX_POLICY_BYTES: u64 = 1 << 20;

/// Why there is no schedule.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum WaveFileError {
    /// The file cannot be read.
    #[snafu(display("reading the wave policy {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is no wave policy, or makes no schedule from the start given.
    #[snafu(display("{} makes no waves", path.display()))]
    Policy {
        path: PathBuf,
        source: WavePlanError,
    },
}

/// The waves of a release that starts at `start`.
pub fn schedule(path: &Path, start: DateTime<Utc>) -> Result<WaveSchedule, WaveFileError> {
    let text = bounded::read_text(path, MAX_POLICY_BYTES).context(ReadSnafu { path })?;
    let plan = WavePlan::from_toml(&text).context(PolicySnafu { path })?;
    plan.schedule(start).context(PolicySnafu { path })
}
