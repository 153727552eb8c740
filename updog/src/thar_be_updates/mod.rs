//! `thar-be-updates`: how an API server that is not ours has the engine work.
//!
//! Arguments, exit codes, lock and status file are those that Bottlerocket's apiserver expects
//! (interface sheet, section 5). The program answers at once whether the command may begin; a process
//! of its own carries it out and holds the lock until what came of it is in the status file. The lock
//! goes to that process as its standard input.

mod place;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use snafu::{ResultExt, Snafu};

use self::place::{LOCK, Place, PlaceError, STATUS, VERSION_LOCK};
use crate::api::announced::{Overrides, Refused};
use crate::api::engine::{Engine, EngineError};
use crate::api::updates::Command;
use crate::cancel::Cancel;
use crate::cli::log_level::LogLevel;
use crate::cli::signals;
use crate::config::DEFAULT_PATH;
use crate::exit::chain;
use crate::render::{Progress, Renderer};

/// Begins an update command; an API server calls it.
#[derive(Debug, Parser)]
#[command(name = "thar-be-updates", version, after_help = HELP)]
pub struct Cli {
    /// A file with the key version-lock; without the file the configuration of updog says
    #[arg(long, value_name = "FILE", default_value = VERSION_LOCK, global = true)]
    config_path: PathBuf,
    /// The configuration of updog
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    updog_config: PathBuf,
    /// Where the status goes that the API server hands out
    #[arg(long, value_name = "FILE", default_value = STATUS, global = true)]
    status_path: PathBuf,
    /// Held while a command runs, and by the API server while it reads the status
    #[arg(long, value_name = "FILE", default_value = LOCK, global = true)]
    lock_path: PathBuf,
    /// How much to tell on stderr
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    log_level: LogLevel,
    #[command(subcommand)]
    verb: Verb,
    /// Carry the command out instead of beginning it; the lock is standard input
    #[arg(long, hide = true, global = true)]
    carry_out: bool,
}

const HELP: &str = "\
Exit codes: 0 the command was begun and goes on by itself, 1 it failed, 2 the command line is wrong,
64 another command is under way, 65 not in this state, 66 no update was chosen, 67 it is not known
what the other set holds.

Where no other API server owns the socket, updog serve does the same and more.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Verb {
    /// Ask the repository which updates there are
    Refresh,
    /// Write the chosen update to the inactive set
    Prepare,
    /// Let the written set boot next
    Activate,
    /// Let the running set boot next after all
    Deactivate,
}

impl Verb {
    fn command(self) -> Command {
        match self {
            Self::Refresh => Command::Refresh,
            Self::Prepare => Command::Prepare,
            Self::Activate => Command::Activate,
            Self::Deactivate => Command::Deactivate,
        }
    }
}

/// Why a command is not begun.
#[derive(Debug, Snafu)]
enum TbuError {
    /// The engine says no.
    #[snafu(transparent)]
    Engine { source: EngineError },
    /// The files around it cannot be had.
    #[snafu(transparent)]
    Place { source: PlaceError },
    /// The other process cannot be started.
    #[snafu(display("starting the process that carries the command out"))]
    Start { source: io::Error },
}

impl TbuError {
    /// As the API server expects it.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Place {
                source: PlaceError::Held { .. },
            }
            | Self::Engine {
                source: EngineError::Busy { .. } | EngineError::Stopping,
            } => 64,
            Self::Engine {
                source: EngineError::Refused { source },
            } => match source {
                Refused::WrongState { .. } | Refused::Machine { .. } => 65,
                Refused::NoUpdate => 66,
                Refused::NoStagedImage => 67,
            },
            _ => 1,
        }
    }
}

/// What can be typed, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line and says how it ended.
pub fn run(cli: &Cli) -> ExitCode {
    let renderer = Renderer::for_stderr(Progress::None);
    renderer.init_logging(cli.log_level.into());
    let done = if cli.carry_out {
        carry_out(cli, &renderer)
    } else {
        begin(cli, &renderer)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Answers whether the command may begin, and has it carried out.
fn begin(cli: &Cli, renderer: &Renderer) -> Result<(), TbuError> {
    let place = Place::new(&cli.status_path, &cli.lock_path);
    let lock = place.lock()?;
    let engine = engine(cli, renderer);
    // What the status says is brought up to the disk, whatever comes of the command.
    place.write(&engine.status()?)?;
    engine.check(cli.verb.command())?;
    // The answer of this process is all that its caller waits for.
    place::version_lock(&cli.config_path)?;
    Process::new(std::env::current_exe().context(StartSnafu)?)
        .args(std::env::args_os().skip(1))
        .arg("--carry-out")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context(StartSnafu)?;
    Ok(())
}

/// Does it, with the lock that was handed over.
fn carry_out(cli: &Cli, renderer: &Renderer) -> Result<(), TbuError> {
    let _lock = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .context(StartSnafu)?;
    let place = Place::new(&cli.status_path, &cli.lock_path);
    let engine = engine(cli, renderer);
    let overrides = Overrides {
        lock: place::version_lock(&cli.config_path)?,
        ..Overrides::default()
    };
    let cancel = signals::watch().context(StartSnafu)?;
    let begun = engine.begin(cli.verb.command(), overrides);
    let done = begun.map(|accepted| {
        let stopped = engine.clone();
        thread::spawn(move || stop_when_told(&cancel, &stopped));
        accepted.wait();
    });
    // Whatever came of it.
    place.write(&engine.status()?)?;
    Ok(done?)
}

/// An API server that is restarted takes its children along. The command ends at the next safe point
/// then, and the status says so.
fn stop_when_told(cancel: &Cancel, engine: &Engine) {
    const LOOK: Duration = Duration::from_millis(100);
    while cancel.check().is_ok() {
        thread::sleep(LOOK);
    }
    engine.stop();
}

fn engine(cli: &Cli, renderer: &Renderer) -> Arc<Engine> {
    Arc::new(Engine::new(
        cli.updog_config.clone(),
        Arc::new(renderer.clone()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_refusal_has_the_exit_code_that_the_api_server_knows() {
        let refused = |source| TbuError::Engine {
            source: EngineError::Refused { source },
        };
        let state = crate::api::updates::UpdateState::Idle;
        let command = Command::Prepare;
        let busy = EngineError::Busy {
            holder: String::new(),
        };
        for (error, code) in [
            (TbuError::Engine { source: busy }, 64),
            (refused(Refused::WrongState { command, state }), 65),
            (refused(Refused::NoUpdate), 66),
            (refused(Refused::NoStagedImage), 67),
            (
                TbuError::Start {
                    source: io::ErrorKind::NotFound.into(),
                },
                1,
            ),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
    }
}
