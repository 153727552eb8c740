//! `updata set-waves`: how fast an update reaches the fleet.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use semver::Version;
use serde::Serialize;
use snafu::Snafu;
use update_metadata::WaveSchedule;

use super::instant;
use super::manifest_file::{self, ManifestFileError};
use super::wave_file::{self, WaveFileError};

/// Which update, which policy, from when on.
#[derive(Debug, Clone, Args)]
pub struct SetWavesArgs {
    /// The manifest
    pub file: PathBuf,
    /// The variant
    #[arg(short = 'l', long)]
    pub variant: String,
    /// The version
    #[arg(short = 'v', long)]
    pub version: Version,
    /// The architecture: `x86_64` or `aarch64`
    #[arg(short = 'a', long)]
    pub arch: String,
    /// The wave policy, TOML
    #[arg(short = 'w', long, value_name = "FILE")]
    pub wave_file: PathBuf,
    /// When the release starts, RFC 3339; without it now
    #[arg(long, value_name = "TIME", value_parser = instant::parse)]
    pub start_at: Option<DateTime<Utc>>,
}

/// The waves that were set.
#[derive(Debug, Clone, Serialize)]
pub struct SetWavesOutcome {
    /// The manifest.
    pub file: PathBuf,
    /// How many updates matched; 0 is a success.
    pub changed: usize,
    /// The waves, by the seed that each starts from.
    pub waves: WaveSchedule,
}

/// Why the waves are as they were.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The policy makes no waves.
    #[snafu(transparent)]
    Waves { source: WaveFileError },
    /// The manifest cannot be changed.
    #[snafu(transparent)]
    Manifest { source: ManifestFileError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Manifest { source } if source.is_refusal())
    }
}

/// Replaces the waves of the update.
pub fn run(args: &SetWavesArgs, now: DateTime<Utc>) -> Result<SetWavesOutcome, Error> {
    let waves = wave_file::schedule(&args.wave_file, args.start_at.unwrap_or(now))?;
    let changed = manifest_file::edit(&args.file, |manifest| {
        manifest.set_waves(&args.variant, &args.arch, &args.version, &waves)
    })?;
    Ok(SetWavesOutcome {
        file: args.file.clone(),
        changed,
        waves,
    })
}

impl fmt::Display for SetWavesOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.changed {
            0 => write!(f, "{file}: no such update, the waves of 0 were set"),
            changed => {
                write!(
                    f,
                    "{file}: {} wave(s) for {changed} update(s)",
                    self.waves.len()
                )
            }
        }
    }
}
