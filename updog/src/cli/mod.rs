//! The command line of `updog`: what was typed -> what is meant -> how it ended.

mod activate;
mod check_update;
mod explain;
mod fetch;
mod help;
mod history;
pub(crate) mod log_level;
mod mirror;
mod plan;
mod printer;
mod rate;
mod refresh;
mod rollback;
mod serve;
pub(crate) mod signals;
mod status;
mod time;
mod verify;
mod write;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use semver::Version;
use snafu::{ResultExt, Snafu};
use update_metadata::WaveCheck;

use self::log_level::LogLevel;
use self::printer::Printer;
use crate::api::server::ServeError;
use crate::cancel::{self, Cancel, Cancelled};
use crate::config::{Config, ConfigError, DEFAULT_PATH, THREADS};
use crate::env::Env;
use crate::event::{End, Event, Observer as _};
use crate::exit::{Exit, chain};
use crate::render::{Progress, Renderer};
use crate::repository::RepositoryError;
use crate::repository::save::{Existing, SaveError};
use crate::session::{self, Choice, OtherHost, SessionError, WhichSet};

/// Updates this host from a signed repository, into the partition set that is not running.
#[derive(Debug, Parser)]
#[command(name = "updog", version, after_help = help::UPDOG)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// Accepted before and after every verb, also where they have no effect.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag on the command line
struct Options {
    /// check-update: list every update that this host could be given, older ones too
    #[arg(short, long, global = true)]
    all: bool,
    /// Do not wait for this host's wave
    #[arg(
        short = 'n',
        long = "now",
        visible_alias = "ignore-waves",
        global = true
    )]
    now: bool,
    /// Take exactly this version, also if it is older or runs already
    #[arg(short, long, value_name = "VERSION", global = true)]
    image: Option<Version>,
    /// Print data as JSON
    #[arg(short, long, global = true)]
    json: bool,
    /// update, update-apply, rollback: reboot when done
    #[arg(short, long, global = true)]
    reboot: bool,
    /// Take another variant than the running one
    #[arg(long, value_name = "NAME", global = true)]
    variant: Option<String>,
    /// Fetch at most so many bytes a second, instead of the configuration's `max_bytes_per_second`:
    /// 500K, 2M; K, M and G are powers of 1024
    #[arg(long, value_name = "RATE", value_parser = rate::parse, global = true)]
    max_rate: Option<NonZeroU64>,
    /// Take no blocks from the running set: fetch all that is not in its place already
    #[arg(long, global = true)]
    no_delta: bool,
    /// Decode, hash and write on so many threads, instead of the configuration's `threads`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(THREADS), global = true)]
    threads: Option<u64>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
    /// How much to tell on stderr
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    log_level: LogLevel,
    /// How to show progress on stderr; auto is bar on a terminal and plain elsewhere
    #[arg(long, value_name = "FORM", default_value = "auto", global = true)]
    progress: ProgressForm,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Verb {
    /// Show both sets, what boots next, what was tried and what is trusted; needs no network
    #[command(after_help = help::STATUS)]
    Status,
    /// Say which update this host would take; exit code 3 when there is none
    #[command(visible_alias = "whats", after_help = help::CHECK_UPDATE)]
    CheckUpdate,
    /// Say of every version why this host takes it or does not, and when it will
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// Only this version; exit code 3 when there is none
        #[arg(long = "version", value_name = "VERSION")]
        only: Option<Version>,
    },
    /// Show what the next update would fetch and write, in which order; does none of it
    #[command(after_help = help::PLAN)]
    Plan,
    /// Write the update to the inactive set and verify it there; it does not boot by that
    #[command(visible_alias = "update-image", after_help = help::PREPARE)]
    Prepare,
    /// Let the written set boot next; needs no network
    #[command(after_help = help::UPDATE_APPLY)]
    UpdateApply,
    /// Let the running set boot next after all; needs no network
    #[command(after_help = help::UPDATE_REVERT)]
    UpdateRevert,
    /// prepare, then update-apply
    #[command(after_help = help::UPDATE)]
    Update,
    /// Let the system from before this one boot next, for one try; needs no network
    #[command(after_help = help::ROLLBACK)]
    Rollback,
    /// Show what was tried on this host and how it ended, the newest first
    #[command(after_help = help::HISTORY)]
    History,
    /// Let a version be taken again that failed to boot here, or was left by hand
    #[command(after_help = help::RELEASE_HOLD)]
    ReleaseHold {
        /// The version
        version: Version,
    },
    /// Read a whole set and compare it with what was signed of it; needs no network
    #[command(after_help = help::VERIFY)]
    Verify {
        /// A, B, active or inactive
        #[arg(long, value_name = "SET", default_value = "inactive", value_parser = verify::parse_set)]
        set: WhichSet,
    },
    /// Refresh the repository and show which metadata are trusted, and until when
    #[command(after_help = help::REFRESH)]
    Refresh,
    /// Fetch any signed target to a file, verified
    #[command(after_help = help::FETCH)]
    Fetch {
        /// The name under which the target is signed
        target: String,
        /// The file; not stdout, since nothing leaves unverified
        #[arg(short, long, value_name = "FILE", value_parser = fetch::parse_output)]
        output: PathBuf,
        /// Replace another file of this name
        #[arg(short, long)]
        force: bool,
    },
    /// Serve the update API on a Unix socket, until it is told to stop
    #[command(after_help = help::SERVE)]
    Serve,
    /// Make a folder of all that one host needs for one update, to be used without a network
    #[command(after_help = help::MIRROR)]
    Mirror {
        /// The folder; what is there and right is kept
        #[arg(short, long, value_name = "DIR")]
        out: PathBuf,
        /// The host's architecture, where it is not this one's
        #[arg(long, value_name = "ARCH")]
        arch: Option<String>,
        /// The version that the host runs, where it is not this one
        #[arg(long, value_name = "VERSION")]
        from: Option<Version>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressForm {
    Auto,
    Bar,
    Plain,
    Json,
    None,
}

impl Verb {
    /// As it is typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::CheckUpdate => "check-update",
            Self::Explain { .. } => "explain",
            Self::Plan => "plan",
            Self::Prepare => "prepare",
            Self::UpdateApply => "update-apply",
            Self::UpdateRevert => "update-revert",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::History => "history",
            Self::ReleaseHold { .. } => "release-hold",
            Self::Verify { .. } => "verify",
            Self::Refresh => "refresh",
            Self::Fetch { .. } => "fetch",
            Self::Serve => "serve",
            Self::Mirror { .. } => "mirror",
        }
    }

    /// What is left behind when the verb is interrupted.
    fn leaves(&self, env: &Env) -> String {
        let on_disk = || session::standing(env);
        let left = match self {
            Self::Status
            | Self::CheckUpdate
            | Self::Explain { .. }
            | Self::Plan
            | Self::Refresh
            | Self::Serve
            | Self::History => None,
            Self::Fetch { .. } => Some("no part of the file was left behind".to_owned()),
            Self::Mirror { .. } => Some("what is in the folder already is kept".to_owned()),
            _ => on_disk(),
        };
        left.unwrap_or_else(|| "nothing was changed on the disk".to_owned())
    }
}

/// Why a verb failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message is the source's
enum CliError {
    /// There is no usable configuration.
    #[snafu(transparent)]
    Config { source: ConfigError },
    /// The session failed.
    #[snafu(transparent)]
    Session { source: SessionError },
    /// The repository cannot be used, or has no such target.
    #[snafu(transparent)]
    Repository { source: RepositoryError },
    /// There is no server.
    #[snafu(transparent)]
    Serve { source: ServeError },
    /// A target is not in its file.
    #[snafu(transparent)]
    Save { source: SaveError },
    /// A signal would not be noticed.
    #[snafu(display("asking for signals"))]
    Signals { source: std::io::Error },
    /// The data could not be printed.
    #[snafu(display("writing to stdout"))]
    Print { source: std::io::Error },
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Session { source } => source.exit(),
            Self::Save { source } if source.is_refusal() => Exit::Refused,
            _ => Exit::Failed,
        }
    }

    /// What the operator can do next, where that is known.
    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Session { source } => return source.advice(),
            Self::Repository {
                source: RepositoryError::NoTarget { .. },
            } => {
                "targets are named as in the repository's targets.json, without a digest before it"
            }
            Self::Repository {
                source: RepositoryError::Trust { .. },
            } => RepositoryError::TRUST_ADVICE,
            Self::Config {
                source: ConfigError::Read { .. },
            } => "name the configuration with --config",
            Self::Repository { source } if source.is_remote() => {
                "once the repository can be reached and is good, run the command again"
            }
            Self::Save { source } => source.advice(),
            Self::Serve { source } => return source.advice().map(str::to_owned),
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// What can be typed, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process and says how it ended. Everything that there is to say
/// was said.
pub fn run(cli: &Cli) -> Exit {
    let renderer = Renderer::for_stderr(match cli.options.progress {
        ProgressForm::Auto => Progress::Auto,
        ProgressForm::Bar => Progress::Bar,
        ProgressForm::Plain => Progress::Plain,
        ProgressForm::Json => Progress::Json,
        ProgressForm::None => Progress::None,
    });
    renderer.init_logging(cli.options.log_level.into());
    renderer.observe(&Event::Begin {
        verb: cli.verb.name(),
        version: env!("CARGO_PKG_VERSION"),
    });
    let end = match prepare(cli, &renderer) {
        Ok(env) => match dispatch(cli, &env, &renderer) {
            Ok(exit) => End {
                exit,
                error: None,
                advice: None,
            },
            Err(error) => match cancel::find(&error) {
                Some(cancelled) => interrupted(&error, cancelled, &cli.verb.leaves(&env)),
                None => failed(&error),
            },
        },
        Err(error) => failed(&error),
    };
    let exit = end.exit;
    renderer.observe(&Event::End(end));
    exit
}

fn failed(error: &CliError) -> End {
    End {
        exit: error.exit(),
        error: Some(chain(error)),
        advice: error.advice(),
    }
}

/// The end of a run that was told to stop, with what it leaves behind.
fn interrupted(error: &CliError, cancelled: Cancelled, leaves: &str) -> End {
    End {
        exit: Exit::Interrupted(cancelled.signal),
        error: Some(chain(error)),
        advice: Some(format!("{leaves}; run the command again")),
    }
}

/// Everything that a verb works with.
fn prepare(cli: &Cli, renderer: &Renderer) -> Result<Env, CliError> {
    let cancel: Cancel = signals::watch().context(SignalsSnafu)?;
    let path = &cli.options.config;
    let mut config = Config::load(path)?;
    for key in &config.unknown_keys {
        tracing::warn!("{}: key '{key}' means nothing here", path.display());
    }
    if let Some(rate) = cli.options.max_rate {
        config.transport.max_rate = Some(rate);
    }
    if let Some(threads) = cli.options.threads {
        config.threads = usize::try_from(threads).unwrap_or(1);
    }
    config.delta &= !cli.options.no_delta;
    Ok(Env::of(config, Arc::new(renderer.clone()), cancel))
}

fn dispatch(cli: &Cli, env: &Env, renderer: &Renderer) -> Result<Exit, CliError> {
    let options = &cli.options;
    let printer = Printer::new(options.json, renderer);
    let choice = Choice {
        variant: options.variant.clone(),
        forced: options.image.clone(),
        lock: None,
        waves: if options.now {
            WaveCheck::Ignore
        } else {
            WaveCheck::Respect
        },
    };
    match &cli.verb {
        Verb::CheckUpdate if options.all => check_update::list(env, &choice, printer),
        Verb::CheckUpdate => check_update::check(env, &choice, printer),
        Verb::Status => status::status(env, printer),
        Verb::Explain { only } => explain::explain(env, &choice, only.as_ref(), printer),
        Verb::Plan => plan::plan(env, &choice, printer),
        Verb::Prepare => write::prepare(env, &choice, printer),
        Verb::Update => write::update(env, &choice, options.reboot, printer),
        Verb::UpdateApply => activate::apply(env, options.reboot),
        Verb::UpdateRevert => activate::revert(env),
        Verb::Rollback => rollback::rollback(env, options.reboot, printer),
        Verb::History => history::history(env, printer),
        Verb::ReleaseHold { version } => history::release_hold(env, version),
        Verb::Verify { set } => verify::verify(env, *set, printer),
        Verb::Refresh => refresh::refresh(env, printer),
        Verb::Serve => serve::serve(env, &options.config),
        Verb::Fetch {
            target,
            output,
            force,
        } => {
            let existing = if *force {
                Existing::Replace
            } else {
                Existing::Keep
            };
            fetch::fetch(env, target, output, existing, printer)
        }
        Verb::Mirror { out, arch, from } => {
            let other = OtherHost {
                arch: arch.clone(),
                version: from.clone(),
            };
            mirror::mirror(env, &choice, &other, out, printer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_come_before_and_after_every_verb() {
        for verb in [
            "check-update",
            "whats",
            "prepare",
            "update-image",
            "update",
            "update-apply",
            "update-revert",
            "refresh",
        ] {
            let options = [
                &["-a", "-n", "-i", "1.2.3", "-j", "-r", "--variant", "x"][..],
                &["--max-rate", "500K"],
            ]
            .concat();
            let before = [&["updog"], &options[..], &[verb]].concat();
            let after = [&["updog", verb], &options[..]].concat();
            for line in [before, after] {
                let cli = Cli::try_parse_from(&line).unwrap();
                assert!(
                    cli.options.all && cli.options.now && cli.options.reboot,
                    "{line:?}"
                );
                assert_eq!(cli.options.image, Some(Version::new(1, 2, 3)), "{line:?}");
                assert_eq!(cli.options.max_rate, NonZeroU64::new(512_000), "{line:?}");
            }
        }
    }

    #[test]
    fn what_means_nothing_is_a_usage_error() {
        for line in [
            &["updog"][..],
            &["updog", "no-such-verb"],
            &["updog", "update", "update"],
            &["updog", "update", "-i", "v1.2.3"],
            &["updog", "update", "-i", "1.2"],
            &["updog", "update", "-t", "x"],
            &["updog", "fetch", "x"],
            &["updog", "fetch", "x", "--output", "-"],
            &["updog", "fetch", "x", "--output", ""],
            &["updog", "fetch", "--output", "x"],
            &["updog", "update", "--max-rate", "fast"],
            &["updog", "mirror"],
            &["updog", "mirror", "--out", "x", "--from", "1.2"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
