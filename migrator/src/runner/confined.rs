//! The real thing: the program in a sealed memory file, below the stages of [`crate::sandbox`].

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pentacle::SealOptions;
use rustix::process::Pid;
use snafu::ResultExt;

use super::watch::{Ended, Watch, Word};
use super::{
    DiskFullSnafu, ExecError, Execution, FailedSnafu, MigrationExec, SetupSnafu, SignalSnafu,
    StartSnafu, TimeoutSnafu, TooMuchSnafu, UncountableSnafu, UnknownSnafu, WatchSnafu,
};
use crate::sandbox::{Limits, Policy, Stage};

/// Runs migrations below this program itself, which then is its own sandbox.
#[derive(Debug, Clone)]
pub struct Confined {
    /// This program.
    migrator: PathBuf,
}

impl Confined {
    /// `migrator` is this program: what understands `migrator sandbox`.
    pub fn new(migrator: PathBuf) -> Self {
        Self { migrator }
    }

    fn start(
        &self,
        execution: &Execution<'_>,
        program: &File,
    ) -> io::Result<(Child, [OwnedFd; 3])> {
        // The write end is the standard input of the stages, and only theirs: the migration itself
        // gets an empty one, and no way to speak for them.
        let (words, words_writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let policy = Policy {
            writable: execution.folder.to_owned(),
            readable: vec![execution.source.to_owned()],
            limits: Limits::of(execution.limit, execution.time),
            own_users: false,
        };
        let mut child = Command::new(&self.migrator)
            .args(policy.arguments(Stage::Outer)?)
            // Inherited by number: it has no other name.
            .arg(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .args(execution.arguments())
            .env_clear()
            .stdin(Stdio::from(words_writer))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((child, [stdout.into(), stderr.into(), words]))
    }
}

impl MigrationExec for Confined {
    fn run(&self, execution: &Execution<'_>) -> Result<(), ExecError> {
        let program = seal(execution).context(StartSnafu {
            what: "sealing it in memory (vm.memfd_noexec = 2 forbids it)",
        })?;
        let (mut child, pipes) = self.start(execution, &program).context(StartSnafu {
            what: "starting its sandbox, which is this program again (/proc has to be mounted)",
        })?;
        drop(program);
        let watched = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
            .and_then(|pid| Watch::new(execution, pid, pipes))
            .and_then(|mut watch| watch.until_the_end().map(|()| watch));
        if watched.is_err() {
            // Never leave one running. It is ours and not reaped, so the number is its own; what it
            // started is told by the kernel.
            let _ = child.kill();
        }
        let reaped = child.wait();
        let watch = watched.context(WatchSnafu {
            what: "reading what it says",
        })?;
        reaped.context(WatchSnafu {
            what: "waiting for its sandbox",
        })?;
        judge(&watch)
    }
}

/// The program as a file in memory that nobody can change, this process included. Scripts are opened
/// again by their interpreter, so it stays open across the execution.
fn seal(execution: &Execution<'_>) -> io::Result<File> {
    let name = CString::new("migration").unwrap_or_default();
    SealOptions::new()
        .close_on_exec(false)
        .executable(true)
        .memfd_name(&name)
        .copy_and_seal(&mut &*execution.program)
}

fn judge(watch: &Watch<'_>) -> Result<(), ExecError> {
    let execution = watch.execution;
    let output = || {
        let said = watch.stderr.quote();
        if said.is_empty() {
            watch.stdout.quote()
        } else {
            said
        }
    };
    for word in &watch.words {
        if let Word::Missing(what) = word {
            tracing::debug!("{}: {what}", execution.name);
        }
    }
    let result = match watch.ended {
        Some(Ended::Timeout) => TimeoutSnafu {
            time: execution.time,
            output: output(),
        }
        .fail(),
        Some(Ended::TooMuch) => TooMuchSnafu {
            limit: execution.limit,
            output: output(),
        }
        .fail(),
        Some(Ended::DiskFull(free)) => DiskFullSnafu {
            free,
            output: output(),
        }
        .fail(),
        Some(Ended::Uncountable) => UncountableSnafu {
            reason: watch.uncounted(),
            output: output(),
        }
        .fail(),
        None => outcome(&watch.words, output),
    };
    say(watch, result.is_ok());
    result
}

fn outcome(words: &[Word], output: impl Fn() -> String) -> Result<(), ExecError> {
    for word in words {
        if let Word::Setup(what) = word {
            return SetupSnafu { what }.fail();
        }
    }
    let end = words
        .iter()
        .find(|word| matches!(word, Word::Exit(_) | Word::Signal(_)));
    match end {
        Some(Word::Exit(0)) => Ok(()),
        Some(Word::Exit(code)) => FailedSnafu {
            code: *code,
            output: output(),
        }
        .fail(),
        Some(Word::Signal(signal)) => SignalSnafu {
            signal: *signal,
            output: output(),
        }
        .fail(),
        _ => UnknownSnafu { output: output() }.fail(),
    }
}

/// What it said, for whoever reads the log.
fn say(watch: &Watch<'_>, went_well: bool) {
    let name = watch.execution.name;
    for line in watch.stdout.lines() {
        tracing::debug!("{name}: {line}");
    }
    for line in watch.stderr.lines() {
        if went_well {
            tracing::warn!("{name}: {line}");
        } else {
            tracing::error!("{name}: {line}");
        }
    }
    for (stream, output) in [("stdout", &watch.stdout), ("stderr", &watch.stderr)] {
        if output.discarded() > 0 {
            tracing::warn!(
                "{name}: {} bytes of its {stream} came before these and were not kept",
                output.discarded()
            );
        }
    }
}
