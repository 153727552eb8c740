//! The migrations of an update, tried on a copy of this host's settings while the old system runs:
//! `migrator rehearse`, as a child process that is bounded in time and in what it says.
//!
//! What is rehearsed is what was staged for the next boot, from the same files. The migrator writes
//! to a scratch folder and nowhere else, so that a rehearsal that fails, or is stopped, has changed
//! nothing.

mod child;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use self::child::{ChildError, Ended};
use crate::cancel::Cancel;
use crate::config::Config;
use crate::repository::cache::CacheFolders;
use crate::scratch::ScratchError;

/// Where a Bottlerocket image has it.
const INSTALLED: &str = "/usr/bin/migrator";
/// The migrator ends each migration after five minutes; a way of many is still none of hours.
const WITHIN: Duration = Duration::from_secs(3600);
/// What is believed of a report. One line for each setting that changes is far less.
const MAX_REPORT_BYTES: u64 = 16 << 20;
/// The form of the report that is understood.
const SCHEMA: u32 = 1;

/// What the migrator found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// The version of this form, 1.
    pub schema: u32,
    /// How it went.
    pub result: Verdict,
    /// The version whose settings are in use.
    #[serde(default)]
    pub from: Option<Version>,
    /// The version that was rehearsed.
    pub to: Version,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The way to the version.
    #[serde(default)]
    pub there: Option<Leg>,
    /// The way back, from what that made.
    #[serde(default)]
    pub back: Option<Leg>,
    /// The settings that the new version would find changed.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// The settings that would not be as they are now after going back.
    #[serde(default)]
    pub lost: Vec<Change>,
}

/// How a rehearsal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both ways can be gone.
    Ok,
    /// One of them cannot.
    Failed,
    /// There are no settings yet.
    NoDatastore,
}

/// One way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// From which version.
    pub from: Version,
    /// To which.
    pub to: Version,
    /// The migrations that were begun, in their order.
    #[serde(default)]
    pub steps: Vec<RehearsedStep>,
    /// Why it cannot be gone.
    #[serde(default)]
    pub reason: Option<String>,
}

/// One migration of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsedStep {
    /// Its signed name.
    pub migration: String,
}

/// A setting, or a piece of its metadata, that would not be as it is. Values are not told: settings
/// can be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The setting.
    pub key: String,
    /// The piece of its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The transaction in which it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// `added`, `removed` or `changed`.
    pub change: String,
}

/// Why nothing speaks for the migrations.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RehearsalError {
    /// Nobody knows whether there are settings.
    #[snafu(display("looking for the settings at {}", path.display()))]
    Datastore { path: PathBuf, source: io::Error },
    /// There is no folder for the copies.
    #[snafu(transparent)]
    Scratch { source: ScratchError },
    /// There is no migrator to ask.
    #[snafu(display("there is no migrator: none of {} is there", list(tried)))]
    NoMigrator { tried: Vec<PathBuf> },
    /// It did not come to an end.
    #[snafu(display("running {}", program.display()))]
    Run {
        program: PathBuf,
        source: ChildError,
    },
    /// What it said is no report.
    #[snafu(display(
        "{} ended with {status} and without a report{}",
        program.display(),
        said.as_ref().map(|said| format!(": {said}")).unwrap_or_default()
    ))]
    NoReport {
        program: PathBuf,
        status: ExitStatus,
        said: Option<String>,
    },
    /// The migrations do not work.
    #[snafu(display("{reason}"))]
    Failed { reason: String },
}

impl RehearsalError {
    /// What the operator can do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoMigrator { .. } => {
                "nothing was written to the partition sets; name the migrator: the configuration's \
                 key `migrator`"
            }
            Self::Failed { .. } => {
                "nothing was written to the partition sets; where a migration failed, this release \
                 cannot be taken with these settings: tell its publisher, who has to mend it"
            }
            _ => {
                "nothing was written to the partition sets; once the cause is mended, run the \
                 command again"
            }
        }
    }
}

/// What there is to rehearse.
#[derive(Debug)]
pub struct Rehearsed<'a> {
    /// The staged migrations and metadata.
    pub folders: CacheFolders<'a>,
    /// The version to go to.
    pub to: &'a Version,
    /// The variant to go to.
    pub variant: &'a str,
    /// Where the copies are made.
    pub scratch: &'a Path,
}

/// Whether this host has settings.
///
/// # Errors
/// [`RehearsalError::Datastore`].
pub fn has_datastore(config: &Config) -> Result<bool, RehearsalError> {
    let path = &config.datastore;
    // A link that leads nowhere is no host without settings.
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(source).context(DatastoreSnafu { path }),
    }
}

/// Goes to the version and back again on a copy of the settings. A report is of a rehearsal that
/// went well, or of settings that are not there.
///
/// # Errors
/// Every [`RehearsalError`] but [`RehearsalError::Datastore`] and [`RehearsalError::Scratch`].
pub fn rehearse(
    config: &Config,
    what: &Rehearsed<'_>,
    cancel: &Cancel,
) -> Result<Rehearsal, RehearsalError> {
    let program = migrator(config)?;
    let mut command = Command::new(&program);
    command
        .arg("rehearse")
        .arg("--json")
        .args(["--to", &what.to.to_string()])
        .args(["--variant", what.variant])
        .arg("--datastore-path")
        .arg(&config.datastore)
        .arg("--migration-directory")
        .arg(what.folders.targets)
        .arg("--metadata-directory")
        .arg(what.folders.metadata)
        .arg("--root-path")
        .arg(&config.trusted_root)
        .arg("--os-release")
        .arg(&config.os_release)
        .arg("--scratch")
        .arg(what.scratch);
    let ended = child::run(&mut command, WITHIN, MAX_REPORT_BYTES, cancel)
        .context(RunSnafu { program: &program })?;
    for line in ended.stderr.lines() {
        tracing::debug!("migrator: {line}");
    }
    let report = understand(&ended).context(NoReportSnafu {
        program,
        status: ended.status,
        said: ended.stderr.lines().last().map(str::to_owned),
    })?;
    ensure!(
        report.result != Verdict::Failed,
        FailedSnafu {
            reason: reason(&report)
        }
    );
    Ok(report)
}

/// The exit code says again what the report says; where the two disagree neither is believed.
fn understand(ended: &Ended) -> Option<Rehearsal> {
    let report: Rehearsal = serde_json::from_slice(&ended.stdout).ok()?;
    let is_told = ended.status.success() == (report.result != Verdict::Failed);
    (report.schema == SCHEMA && is_told).then_some(report)
}

fn reason(report: &Rehearsal) -> String {
    let of_leg = |leg: &Option<Leg>| leg.as_ref().and_then(|leg| leg.reason.clone());
    report
        .reason
        .clone()
        .or_else(|| of_leg(&report.there))
        .or_else(|| of_leg(&report.back))
        .unwrap_or_else(|| "the migrator does not say why".to_owned())
}

/// The configured migrator, or the one beside this program, or the installed one.
fn migrator(config: &Config) -> Result<PathBuf, RehearsalError> {
    let tried = if let Some(path) = &config.migrator {
        vec![path.clone()]
    } else {
        let own = std::env::current_exe().ok();
        let beside = own.and_then(|own| Some(own.parent()?.join("migrator")));
        let installed = PathBuf::from(INSTALLED);
        beside.into_iter().chain([installed]).collect()
    };
    let found = tried.iter().find(|path| path.is_file()).cloned();
    found.context(NoMigratorSnafu { tried })
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
