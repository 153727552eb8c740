//! `updata inspect`: what a repository says of itself, and what deserves attention.
//!
//! It judges by the root role that the folder has, or by the one that is given, and fails only when
//! there is nothing to read: expired, unsigned and damaged metadata are what it is for, and become
//! warnings. Nothing is written, and no lock is taken.

mod folder;
mod warnings;

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use semver::Version;
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::RoleType;

use super::key_file::KeyType;
use super::published::{self, PublishedError};
use super::tuf::{RootFile, TufError};
use super::word::TARGETS_FOLDER;

/// Which repository, judged by what.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The repository, or one folder of its metadata
    pub repo: PathBuf,
    /// Judge by this root role instead of the newest one in the folder
    #[arg(long, value_name = "FILE")]
    pub root_role: Option<PathBuf>,
}

/// Why there is nothing to tell.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// There are no metadata.
    #[snafu(display("{} is neither a repository nor a folder of metadata", repo.display()))]
    Nothing { repo: PathBuf },
    /// The folder cannot be listed.
    #[snafu(transparent)]
    Published { source: PublishedError },
    /// The root role that was given cannot be used.
    #[snafu(transparent)]
    Tuf { source: TufError },
}

impl Error {
    /// Whether a rule forbade it: there is none here.
    pub fn is_refusal(&self) -> bool {
        false
    }
}

/// What there is.
#[derive(Debug, Clone, Serialize)]
pub struct InspectOutcome {
    /// Each folder of metadata, sorted.
    pub folders: Vec<FolderReport>,
}

/// A folder of metadata.
#[derive(Debug, Clone, Serialize)]
pub struct FolderReport {
    /// The folder.
    pub metadata: PathBuf,
    /// root, targets, snapshot and timestamp, as far as they can be read.
    pub roles: Vec<RoleReport>,
    /// Whether clients get from `timestamp.json` to the targets role. Where they do not, the newest
    /// snapshot and targets roles that can be read are shown all the same.
    pub reachable: bool,
    /// How many targets are listed; none where no targets role can be read.
    pub targets: Option<usize>,
    /// How many bytes these have together.
    pub target_bytes: Option<u64>,
    /// The versions that the manifest offers, by variant and architecture.
    pub releases: Vec<ReleaseReport>,
    /// What deserves attention.
    pub warnings: Vec<String>,
}

/// A role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleReport {
    /// Which.
    pub role: RoleType,
    /// Its file.
    pub file: PathBuf,
    /// Its version.
    pub version: u64,
    /// When it stops being valid.
    pub expires: DateTime<Utc>,
    /// How many seconds are left until then; negative when it is past.
    pub seconds_left: i64,
    /// How many keys must sign it; 0 where the root role does not name the role.
    pub threshold: u64,
    /// How many valid signatures it has, each key counted once.
    pub valid: usize,
    /// How many signatures are in the file.
    pub signatures: usize,
    /// The keys that may sign it.
    pub keys: Vec<KeyReport>,
}

/// A key of a role.
#[derive(Debug, Clone, Serialize)]
pub struct KeyReport {
    /// Its id.
    pub key_id: String,
    /// Its kind; none where the root role lists the id without a key.
    pub key_type: Option<KeyType>,
    /// Whether it has signed the role.
    pub signed: bool,
}

/// The versions of one variant and architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseReport {
    /// The variant.
    pub variant: String,
    /// The architecture.
    pub arch: String,
    /// The versions, ascending.
    pub versions: Vec<Version>,
    /// The highest version that is offered.
    pub max_version: Version,
}

/// Reads; changes nothing.
pub fn run(args: &InspectArgs, now: DateTime<Utc>) -> Result<InspectOutcome, Error> {
    let root = args
        .root_role
        .as_deref()
        .map(RootFile::read_unsigned)
        .transpose()?;
    let repo = &args.repo;
    let is_folder = published::is_metadata_folder(repo)?;
    let (folders, targets) = if is_folder {
        // As updata lays it out: DIR/VARIANT/ARCH beside DIR/targets.
        (vec![repo.clone()], repo.join("../..").join(TARGETS_FOLDER))
    } else {
        (published::folders(repo)?, repo.join(TARGETS_FOLDER))
    };
    ensure!(!folders.is_empty(), NothingSnafu { repo });
    let folders = folders
        .iter()
        .map(|metadata| folder::report(metadata, &targets, root.as_ref(), now))
        .collect();
    Ok(InspectOutcome { folders })
}

/// Pure: a time span as people say it, in its two largest units.
fn span(seconds: i64) -> String {
    let left = TimeDelta::seconds(seconds.saturating_abs());
    let (days, hours, minutes) = (
        left.num_days(),
        left.num_hours() % 24,
        left.num_minutes() % 60,
    );
    match days {
        0 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Pure: when a role stops being valid, and how long that is from now.
fn validity(expires: DateTime<Utc>, seconds_left: i64) -> String {
    let at = expires.to_rfc3339_opts(SecondsFormat::Secs, true);
    if seconds_left > 0 {
        format!("valid until {at} ({} left)", span(seconds_left))
    } else {
        format!("expired at {at} ({} ago)", span(seconds_left))
    }
}

impl fmt::Display for InspectOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, folder) in self.folders.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            folder.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for FolderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.metadata.display())?;
        for role in &self.roles {
            write!(
                f,
                "\n{:<9}  version {}, {}, {} of {} signature(s)",
                role.role.to_string(),
                role.version,
                validity(role.expires, role.seconds_left),
                role.valid,
                role.threshold
            )?;
            for key in &role.keys {
                let kind = key
                    .key_type
                    .map_or_else(|| "no key".to_owned(), |kind| kind.to_string());
                let signed = if key.signed { ", signed" } else { "" };
                write!(f, "\n           {} {kind}{signed}", key.key_id)?;
            }
        }
        match (self.targets, self.target_bytes) {
            (Some(targets), Some(bytes)) => write!(f, "\n{targets} targets of {bytes} bytes")?,
            _ => f.write_str("\ntargets: not known")?,
        }
        if !self.reachable {
            f.write_str(", and no client gets to them")?;
        }
        for release in &self.releases {
            let versions: Vec<String> = release.versions.iter().map(ToString::to_string).collect();
            write!(
                f,
                "\n{} {}: {}, offered up to {}",
                release.variant,
                release.arch,
                versions.join(", "),
                release.max_version
            )?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_said_in_two_units_and_the_past_as_past() {
        for (seconds, text) in [
            (59, "0h 0m"),
            (3_660, "1h 1m"),
            (86_400, "1d 0h"),
            (-90_000, "1d 1h"),
            (604_799, "6d 23h"),
        ] {
            assert_eq!(span(seconds), text);
        }
        let at = "2031-03-01T01:00:00Z".parse().unwrap();
        assert_eq!(
            validity(at, 3600),
            "valid until 2031-03-01T01:00:00Z (1h 0m left)"
        );
        assert_eq!(
            validity(at, 0),
            "expired at 2031-03-01T01:00:00Z (0h 0m ago)"
        );
    }
}
