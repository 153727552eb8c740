//! The command line.

mod check;
mod help;
mod list;
mod log;
mod migrate;
mod rehearse;
mod status;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};
use semver::Version;
use serde::Serialize;

use crate::folder::Disk;
use crate::repository::Places;
use crate::run::{Ports, open_cached};
use crate::runner::Confined;
use crate::sandbox::{self, Stage};

const DATASTORE: &str = "/var/lib/bottlerocket/datastore/current";
const MIGRATIONS: &str = "/var/lib/bottlerocket-migrations";
const METADATA: &str = "/var/cache/bottlerocket-metadata";
const ROOT: &str = "/usr/share/updog/root.json";
const OS_RELEASE: &str = "/usr/lib/os-release";

/// Brings the settings into the form of the version that boots.
#[derive(Debug, Parser)]
#[command(
    name = "migrator",
    version,
    args_override_self = true,
    subcommand_negates_reqs = true,
    after_help = help::MIGRATOR
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    migrate: Migrate,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Args)]
struct Common {
    /// The link that all readers of the settings begin with
    #[arg(long, global = true, value_name = "PATH", default_value = DATASTORE)]
    datastore_path: PathBuf,
    /// The folder of the cached migrations
    #[arg(long, global = true, value_name = "DIR", default_value = MIGRATIONS)]
    migration_directory: PathBuf,
    /// The folder of the cached metadata
    #[arg(long, global = true, value_name = "DIR", default_value = METADATA)]
    metadata_directory: PathBuf,
    /// The booting image's root of trust
    #[arg(long, global = true, value_name = "FILE", default_value = ROOT)]
    root_path: PathBuf,
    /// Where the booting image says its version and variant
    #[arg(long, global = true, value_name = "FILE", default_value = OS_RELEASE)]
    os_release: PathBuf,
    /// Seconds that one migration may take
    #[arg(long, global = true, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    migration_timeout: Duration,
    /// off, error, warn, info, debug or trace
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true
    )]
    log_level: log::Level,
    /// No colours, also on a terminal
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    no_color: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Migrate {
    /// Migrate to this version
    #[arg(
        long,
        value_name = "VERSION",
        overrides_with = "migrate_to_version_from_os_release"
    )]
    migrate_to_version: Option<Version>,
    /// Migrate to the version that boots
    #[arg(long, overrides_with = "migrate_to_version")]
    migrate_to_version_from_os_release: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Which version's settings are in use, what else there is, how the last run ended
    #[command(after_help = help::STATUS)]
    Status(Form),
    /// The stores, their versions and sizes
    #[command(after_help = help::LIST)]
    List(Form),
    /// Go to a version and back on a copy, and tell what would change
    #[command(after_help = help::REHEARSE)]
    Rehearse(RehearseArgs),
    /// Read a declarative migration and tell what it does, both ways
    #[command(after_help = help::CHECK)]
    Check(CheckArgs),
    /// Internal: confine a migration and become it
    #[command(hide = true)]
    Sandbox {
        #[arg(long)]
        stage: Stage,
        #[arg(long)]
        policy: String,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The document, as it is written or compressed
    file: PathBuf,
}

#[derive(Debug, Args)]
struct RehearseArgs {
    /// The version to go to
    #[arg(long, value_name = "VERSION")]
    to: Version,
    /// The variant, when not that of os-release
    #[arg(long)]
    variant: Option<String>,
    /// The folder for the copies, instead of the system's for temporary files
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Tell values, too; settings can hold secrets
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    form: Form,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "not a positive number of seconds".to_owned())
}

impl Common {
    fn places(&self) -> Places {
        Places {
            metadata: self.metadata_directory.clone(),
            targets: self.migration_directory.clone(),
            root: self.root_path.clone(),
        }
    }
}

/// Calls `act` with what the program acts with.
fn with_ports<T>(act: impl FnOnce(Ports<'_>) -> T) -> T {
    act(Ports {
        effects: &Disk,
        exec: &Confined::new(PathBuf::from("/proc/self/exe")),
        open: &open_cached,
    })
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::from(error.use_stderr()) * 2;
            // Nobody is left to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // First of all: the sandbox needs a process with one thread.
    if let Some(Verb::Sandbox {
        stage,
        policy,
        program,
    }) = &cli.verb
    {
        return sandbox::run(*stage, policy, program);
    }
    let says_so = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    log::begin(cli.common.log_level, cli.common.no_color || says_so);
    let done = match &cli.verb {
        None => migrate::run(&cli.common, &cli.migrate),
        Some(Verb::Status(form)) => status::run(&cli.common, form),
        Some(Verb::List(form)) => list::run(&cli.common, form),
        Some(Verb::Rehearse(args)) => rehearse::run(&cli.common, args),
        Some(Verb::Check(args)) => check::run(args),
        Some(Verb::Sandbox { .. }) => Ok(ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        tracing::error!("{}", chain(&*error));
        if let Some(advice) = migrate::advice(&*error) {
            tracing::error!("{advice}");
        }
        ExitCode::FAILURE
    })
}

type Done = Result<ExitCode, Box<dyn Error>>;

/// Prints what was asked for.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// An error with its reasons, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Some libraries' messages repeat their reason.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

/// The command line's definition, for documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn of_the_two_ways_to_say_a_version_the_last_one_counts() {
        let both = "migrator --migrate-to-version 1.2.3 --migrate-to-version-from-os-release";
        let cli = parse(both).unwrap();
        assert!(cli.migrate.migrate_to_version.is_none());
        assert!(cli.migrate.migrate_to_version_from_os_release);
        let both = "migrator --migrate-to-version-from-os-release --migrate-to-version 1.0.0 \
                    --migrate-to-version 1.2.3";
        let cli = parse(both).unwrap();
        assert_eq!(cli.migrate.migrate_to_version, Some(Version::new(1, 2, 3)));
        assert!(!cli.migrate.migrate_to_version_from_os_release);
    }

    #[test]
    fn the_unit_of_the_image_is_understood() {
        let unit = "migrator --datastore-path /d/current --migration-directory /m --root-path /r \
                    --metadata-directory /c --migrate-to-version-from-os-release --no-color \
                    --log-level DEBUG";
        let cli = parse(unit).unwrap();
        assert_eq!(cli.common.datastore_path, PathBuf::from("/d/current"));
        assert_eq!(cli.common.log_level, log::Level::Debug);
        assert!(cli.verb.is_none());
    }

    #[test]
    fn nothing_to_migrate_to_is_wrong_usage_and_a_verb_needs_none() {
        assert!(parse("migrator").is_err());
        assert!(parse("migrator --log-level info").is_err());
        assert!(parse("migrator --migrate-to-version 1.2").is_err());
        assert!(parse("migrator status --json --datastore-path /d/current").is_ok());
        assert!(parse("migrator --datastore-path /d/current list").is_ok());
        assert!(parse("migrator rehearse").is_err());
        for time in ["0", "-1", "x", "inf", "nan"] {
            let words = format!("migrator --migration-timeout {time} list");
            assert!(parse(&words).is_err(), "{time}");
        }
    }
}
