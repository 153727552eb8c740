//! `migrator sandbox`: what a migration runs below. Internal; started by [`crate::runner`] only.
//!
//! Three stages, each this program again, with one thread each, as some of it needs:
//! 1. *outer* leaves the network, the processes, the host's name and its IPC behind, in namespaces of its
//!    own, as an ordinary user in a user namespace, and starts
//! 2. *init*, the first process of the new process namespace, with whose end all others in there
//!    end, wherever they moved to. It starts
//! 3. *enter*, which gives up what it can for itself (capabilities, new privileges, resources, the
//!    file system but for what the migration needs) and becomes the migration.
//!
//! Each dies with the one that started it. What this kernel does not let a stage give up is said,
//! and does not stop it: a migration is signed by the publisher of the image, and a host without
//! settings is of no use.

mod confine;
mod init;
mod namespaces;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::room::Size;
pub(crate) use crate::runner::Word;

/// How far a migration may go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    /// The one folder that it may write to.
    pub writable: PathBuf,
    /// What it may read besides the system's programs and libraries.
    pub readable: Vec<PathBuf>,
    /// Resources.
    pub limits: Limits,
    /// Whether it has a user namespace of its own. Set by the outer stage.
    pub own_users: bool,
}

/// What the kernel counts for it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds of processor time of one process.
    pub cpu_seconds: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of address space of one process.
    pub address_space: u64,
    /// Processes of its user; the kernel does not count those of root.
    pub processes: u64,
    /// Open files of one process.
    pub files: u64,
}

impl Limits {
    /// For a migration that may leave so much and take so long.
    pub fn of(limit: Size, time: Duration) -> Self {
        Self {
            // A little more, so that the clock ends it, with a better message.
            cpu_seconds: time.as_secs().saturating_add(2),
            file_bytes: limit.bytes,
            address_space: 1 << 30,
            processes: 64,
            files: 256,
        }
    }
}

/// Which part of the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Leaves the host's namespaces.
    Outer,
    /// Is the first process of the new one.
    Init,
    /// Becomes the migration.
    Enter,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Outer => "outer",
            Self::Init => "init",
            Self::Enter => "enter",
        }
    }
}

impl Policy {
    /// The arguments of this program that start `stage`; the program to run and its arguments come
    /// after them.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn arguments(&self, stage: Stage) -> io::Result<[OsString; 6]> {
        let policy = serde_json::to_string(self)?;
        Ok([
            "sandbox",
            "--stage",
            stage.name(),
            "--policy",
            &policy,
            "--",
        ]
        .map(OsString::from))
    }

    /// This program again, for the next stage.
    fn next(&self, stage: Stage, program: &[OsString]) -> io::Result<Command> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(self.arguments(stage)?)
            .args(program)
            .env_clear();
        Ok(command)
    }
}

/// Does the work of one stage. `program` is what to run in the end, with its arguments.
pub fn run(stage: Stage, policy: &str, program: &[OsString]) -> ExitCode {
    let done = serde_json::from_str(policy)
        .map_err(io::Error::from)
        .and_then(|policy: Policy| match stage {
            Stage::Outer => namespaces::outer(policy, program),
            Stage::Init => init::init(&policy, program),
            Stage::Enter => enter(&policy, program),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Word::Setup(format!("{}: {error}", stage.name())));
            ExitCode::FAILURE
        }
    }
}

/// Becomes the migration; comes back only with an error.
fn enter(policy: &Policy, program: &[OsString]) -> io::Result<()> {
    let (path, arguments) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    die_with_parent()?;
    confine::confine(policy);
    // Standard input is gone by the time that an execution fails; this one goes with its success.
    let words = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    std::env::set_current_dir(&policy.writable)?;
    let error = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .exec();
    say_to(
        &words,
        &Word::Setup(format!("it cannot be executed: {error}")),
    );
    Err(error)
}

/// Tells the migrator. Standard input is the pipe that leads there.
fn say(word: &Word) {
    say_to(rustix::stdio::stdin(), word);
}

fn say_to(pipe: impl rustix::fd::AsFd, word: &Word) {
    if let Ok(mut line) = serde_json::to_vec(word) {
        line.push(b'\n');
        // One short write is whole or not there. Without the migrator there is nobody to tell.
        let _ = rustix::io::write(pipe, &line);
    }
}

/// Says what could not be given up.
fn missing(what: &str, error: &dyn std::fmt::Display) {
    say(&Word::Missing(format!("not confined by {what}: {error}")));
}

/// From now on the end of the process that started this one ends it; and if the migrator ended
/// already, nobody reads the pipe that leads there.
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let stdin = rustix::stdio::stdin();
    let mut pipe = [PollFd::new(&stdin, PollFlags::OUT)];
    poll(&mut pipe, Some(&Timespec::default()))?;
    if pipe[0].revents().contains(PollFlags::ERR) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
