//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use semver::Version;

use super::help;
use super::raw::RawArgs;
use super::talk::Loudness;
use crate::cli::log_level::LogLevel;
use crate::config::DEFAULT_SOCKET;

/// Asks this host's update API.
#[derive(Debug, Parser)]
#[command(
    name = "apiclient",
    version,
    after_help = help::APICLIENT,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(flatten)]
    pub(super) options: Options,
    /// Without a verb.
    #[command(flatten)]
    pub(super) raw: Option<RawArgs>,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// Accepted before and after every verb.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The server's socket
    #[arg(
        short,
        long,
        value_name = "PATH",
        default_value = DEFAULT_SOCKET,
        global = true
    )]
    pub(super) socket_path: PathBuf,
    /// How much to tell on stderr
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    log_level: LogLevel,
    /// As --log-level debug: every answer's status, too
    #[arg(short, long, global = true)]
    verbose: bool,
    /// For how long nothing may happen; tests do not wait for a minute
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        hide = true,
        global = true
    )]
    patience: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Verb {
    /// Any request; what is done without a verb, too
    #[command(after_help = help::RAW)]
    Raw(RawArgs),
    /// Look for updates of this host, take them, or leave them
    #[command(subcommand, after_help = help::UPDATE)]
    Update(UpdateVerb),
    /// Reboot this host
    #[command(after_help = help::REBOOT)]
    Reboot,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum UpdateVerb {
    /// Ask the repository, and print the whole status as JSON
    #[command(after_help = help::CHECK)]
    Check,
    /// Write the chosen update to the other set, and let it boot next
    #[command(after_help = help::APPLY)]
    Apply {
        /// Check first; there may be nothing to do
        #[arg(short, long)]
        check: bool,
        /// Reboot when an update is ready
        #[arg(short, long)]
        reboot: bool,
    },
    /// Let the running set boot next after all
    #[command(after_help = help::CANCEL)]
    Cancel,
    /// Show how updates stand
    #[command(after_help = help::STATUS)]
    Status {
        /// Print the server's JSON
        #[arg(short, long)]
        json: bool,
    },
    /// Print of every version why this host takes it or does not, as JSON
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// Only this version
        #[arg(long = "version", value_name = "VERSION")]
        only: Option<Version>,
    },
    /// Print what the next update would fetch and write, as JSON
    #[command(after_help = help::PLAN)]
    Plan,
    /// Print what was tried on this host and how it ended, as JSON
    #[command(after_help = help::HISTORY)]
    History,
    /// Print what happens as it happens
    #[command(after_help = help::WATCH)]
    Watch {
        /// Print the server's JSON, one object a line
        #[arg(short, long)]
        json: bool,
    },
    /// Let the system from before this one boot next, for one try
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// Reboot when that is ready
        #[arg(short, long)]
        reboot: bool,
    },
}

impl Options {
    pub(super) fn loudness(&self) -> Loudness {
        match self.log_level {
            _ if self.verbose => Loudness::Answers,
            LogLevel::Trace | LogLevel::Debug => Loudness::Answers,
            LogLevel::Info => Loudness::Progress,
            LogLevel::Warn | LogLevel::Error => Loudness::Failures,
        }
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

impl Verb {
    /// Whether it has something done that takes time, and goes on without us.
    pub(super) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Update(
                UpdateVerb::Check
                    | UpdateVerb::Apply { .. }
                    | UpdateVerb::Cancel
                    | UpdateVerb::Rollback { .. }
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn raw_is_what_is_done_without_a_verb() {
        for line in [
            &["apiclient", "-u", "/os", "-X", "post", "-s", "x"][..],
            &["apiclient", "-s", "x", "-m", "POST", "--uri", "os"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            let with = [&["apiclient", "raw"], &line[1..]].concat();
            let verb = Cli::try_parse_from(with).unwrap().verb.unwrap();
            assert_eq!(Verb::Raw(cli.raw.unwrap()), verb);
            assert_eq!(cli.options.socket_path, PathBuf::from("x"));
            assert!(cli.verb.is_none());
        }
    }

    #[test]
    fn options_may_come_before_and_after_every_verb() {
        for verb in [&["update", "check"][..], &["reboot"], &["raw", "-u", "/os"]] {
            let options = ["-s", "x", "-v", "--log-level", "error"];
            for line in [
                [&["apiclient"], &options[..], verb].concat(),
                [&["apiclient"], verb, &options[..]].concat(),
            ] {
                let cli = Cli::try_parse_from(&line).unwrap();
                assert_eq!(cli.options.socket_path, PathBuf::from("x"), "{line:?}");
                assert_eq!(cli.options.loudness(), Loudness::Answers, "{line:?}");
            }
        }
    }

    #[test]
    fn what_means_nothing_is_a_usage_error() {
        for line in [
            &["apiclient"][..],
            &["apiclient", "-m", "POST"],
            &["apiclient", "no-such-verb"],
            &["apiclient", "raw"],
            &["apiclient", "raw", "-u", "/a b"],
            &["apiclient", "raw", "-u", "/os", "-m", "CONNECT"],
            &["apiclient", "raw", "-u", "/os", "-m", "a b"],
            &["apiclient", "update"],
            &["apiclient", "update", "apply", "--now"],
            &["apiclient", "update", "explain", "--version", "1.2"],
            &["apiclient", "-u", "/os", "update", "check"],
            &["apiclient", "-m", "POST", "reboot"],
        ] {
            assert!(super::super::parse(line).is_err(), "{line:?}");
        }
    }
}
