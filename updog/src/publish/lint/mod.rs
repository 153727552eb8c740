//! `updata lint`: what would go wrong on hosts, found before hosts find it.
//!
//! Facts are gathered (`load`, `contents`, `scan`), and judged by pure rules ([`rules`]). A release is held to the same rules before anything is signed ([`gate`]): errors refuse it,
//! warnings are told. Nothing here writes, and nothing is kept of a target but what the rules need.
//!
//! No lock is taken. While a release is under way, what it has placed and not yet listed counts as
//! a file that nobody lists.

pub mod facts;
pub mod finding;
pub mod gate;
pub mod rule;
pub mod rules;

mod comparison;
mod contents;
mod load;
mod maps;
mod outcome;
mod scan;

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use snafu::{ResultExt, Snafu};

use self::contents::{ContentError, Contents, Depth};
use self::facts::Yardstick;
use self::load::{LoadError, Place};
pub use self::outcome::LintOutcome;
use self::rule::Rule;
use self::scan::Listed;
use super::event::Observer;
use super::period::Period;

/// How long a timestamp has to stay valid: nobody signs at the weekend.
pub const TIMESTAMP_HORIZON: Period = Period::days(2);
/// How long every other role has to stay valid.
pub const HORIZON: Period = Period::days(7);

/// What is looked at, and how closely.
#[derive(Debug, Clone, Args)]
pub struct LintArgs {
    /// The repository, or one metadata folder VARIANT/ARCH of it
    #[arg(value_name = "REPO")]
    pub repo: PathBuf,
    /// The root role to verify from; without it the newest one that a metadata folder has
    #[arg(long, value_name = "FILE")]
    pub root_role: Option<PathBuf>,
    /// The folder of the targets, if it is not the folder targets of the repository
    #[arg(long, value_name = "DIR")]
    pub targets: Option<PathBuf>,
    /// Read every target: its length and digest, what it decodes to, the verity trees and the block
    /// maps
    #[arg(long)]
    pub deep: bool,
    /// The size that `updata disk` was given for the disks of the hosts; without it an image that
    /// outgrew the disk made for the oldest version is a warning
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub os_image_size_gib: Option<u16>,
    /// Warn of a timestamp that expires sooner: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = TIMESTAMP_HORIZON)]
    pub timestamp_horizon: Period,
    /// Warn of another role that expires sooner
    #[arg(long, value_name = "PERIOD", default_value_t = HORIZON)]
    pub horizon: Period,
    /// Tell of this rule, but do not count it. May be given several times
    #[arg(long, value_name = "RULE")]
    pub allow: Vec<Rule>,
}

/// Why nothing can be said of the repository.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The metadata cannot be read.
    #[snafu(transparent)]
    Load { source: LoadError },
    /// A target cannot be read.
    #[snafu(transparent)]
    Content { source: ContentError },
    /// The targets folder cannot be listed.
    #[snafu(display("reading {}", folder.display()))]
    Scan { folder: PathBuf, source: io::Error },
}

/// Reads and judges.
///
/// # Errors
/// When something cannot be read or does not verify; a broken rule is a finding and no error.
pub fn run(
    args: &LintArgs,
    now: DateTime<Utc>,
    observer: Observer<'_>,
) -> Result<LintOutcome, Error> {
    let place = Place::find(&args.repo, args.targets.as_deref())?;
    let depth = if args.deep {
        Depth::All
    } else {
        Depth::BootImages
    };
    let by = Yardstick {
        now,
        os_image_size_gib: args.os_image_size_gib,
        timestamp_horizon: args.timestamp_horizon,
        horizon: args.horizon,
    };
    let mut contents = Contents::default();
    let mut listed = Listed::default();
    let mut findings = Vec::new();
    let [mut updates, mut targets] = [0_usize; 2];
    // One folder after the other, so that the facts of many do not add up.
    for folder in &place.folders {
        let mut facts = load::folder(folder, &place.targets, args.root_role.as_deref())?;
        contents.read(&mut facts, depth, observer)?;
        listed.add(&facts);
        findings.extend(rules::judge(&facts, &by));
        updates = updates.saturating_add(facts.manifest.updates.len());
        targets = targets.saturating_add(facts.targets.len());
    }
    for (folder, files) in &place.lost {
        findings.push(rules::judge_lost(folder, files));
    }
    if place.whole {
        let folder = &place.targets;
        let unlisted = scan::unlisted(folder, &listed).context(ScanSnafu { folder })?;
        findings.extend(rules::judge_unlisted(&unlisted));
    }

    let mut findings = rules::in_order(findings);
    finding::allow(&mut findings, &args.allow);
    let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(LintOutcome {
        folders: count(place.folders.len().saturating_add(place.lost.len())),
        updates: count(updates),
        targets: count(targets),
        bytes_read: contents.bytes,
        ..LintOutcome::new(findings)
    })
}
