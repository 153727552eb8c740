//! A child process that cannot hold up its parent: bounded in time, in what is kept of its output,
//! and ended when the run is to stop, with whatever it started.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use snafu::{ResultExt, Snafu};

use crate::cancel::{Cancel, Cancelled};

/// How often the child is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What is kept of its words.
const MAX_WORDS_BYTES: u64 = 64 << 10;
/// How long its pipes may stay open once it is gone: some child of its own may have them.
const PIPES_CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

/// Why it did not end by itself.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ChildError {
    /// It could not be started.
    #[snafu(display("starting it"))]
    Start { source: io::Error },
    /// Nobody can say whether it ended.
    #[snafu(display("waiting for it"))]
    Wait { source: io::Error },
    /// The run was told to stop, and so it was killed.
    #[snafu(display("it was ended"))]
    Stopped { source: Cancelled },
    /// It was killed.
    #[snafu(display("it did not end within {} seconds", within.as_secs()))]
    TooLong { within: Duration },
    /// It said more than anybody has to listen to.
    #[snafu(display("it printed more than {limit} bytes"))]
    TooMuch { limit: u64 },
}

/// Runs `command` for at most `within`, and takes at most `limit` bytes from its stdout. It gets no
/// stdin, a process group of its own, and of the environment only `PATH`.
pub(super) fn run(
    command: &mut Command,
    within: Duration,
    limit: u64,
    cancel: &Cancel,
) -> Result<Ended, ChildError> {
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context(StartSnafu)?;
    let stdout = child.stdout.take().map(|pipe| drain(pipe, limit));
    let stderr = child.stderr.take().map(|pipe| drain(pipe, MAX_WORDS_BYTES));
    let pid = Pid::from_child(&child);
    let end = wait(pid, within, cancel);
    // Whatever it left running, and itself where it did not end. Nobody has collected it yet, so the
    // number is no other group's; where all of it has ended there is nothing to end.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait().context(WaitSnafu)?;
    end?;
    let told = |pipe: Option<Receiver<Drained>>| {
        pipe.and_then(|pipe| pipe.recv_timeout(PIPES_CLOSE_WITHIN).ok())
            .unwrap_or_default()
    };
    let (stdout, stderr) = (told(stdout), told(stderr));
    if stdout.has_more {
        return TooMuchSnafu { limit }.fail();
    }
    Ok(Ended {
        status,
        stdout: stdout.bytes,
        stderr: String::from_utf8_lossy(&stderr.bytes).into_owned(),
    })
}

/// Waits for the end of `pid`, and leaves it to be collected.
fn wait(pid: Pid, within: Duration, cancel: &Cancel) -> Result<(), ChildError> {
    let begin = Instant::now();
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        let ended = waitid(WaitId::Pid(pid), look)
            .map_err(io::Error::from)
            .context(WaitSnafu)?;
        if ended.is_some() {
            return Ok(());
        }
        cancel.check().context(StoppedSnafu)?;
        if begin.elapsed() >= within {
            return TooLongSnafu { within }.fail();
        }
        thread::sleep(LOOK);
    }
}

#[derive(Debug, Default)]
struct Drained {
    bytes: Vec<u8>,
    has_more: bool,
}

/// Reads `pipe` to its end and keeps the first `limit` bytes, so that nobody waits for a full pipe.
fn drain(mut pipe: impl Read + Send + 'static, limit: u64) -> Receiver<Drained> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        let rest = io::copy(&mut pipe, &mut io::sink()).unwrap_or(0);
        // Nobody may be left to listen.
        let _ = sender.send(Drained {
            bytes,
            has_more: rest > 0,
        });
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Signal as Asked;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn run_shell(script: &str, within: Duration, cancel: &Cancel) -> Result<Ended, ChildError> {
        run(&mut shell(script), within, 1000, cancel)
    }

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let ended = run_shell(
            "echo data; echo words >&2; echo $HOME; exit 3",
            LONG,
            &Cancel::default(),
        )
        .unwrap();
        assert_eq!(ended.stdout, b"data\n\n", "no environment but PATH");
        assert_eq!(ended.stderr, "words\n");
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let begin = Instant::now();
        let script = "sleep 1000 & sleep 1000";
        let error = run_shell(script, Duration::from_millis(100), &Cancel::default()).unwrap_err();
        assert!(matches!(error, ChildError::TooLong { .. }), "{error}");
        let cancel = Cancel::default();
        cancel.cancel(Asked::Terminate);
        let error = run_shell(script, LONG, &cancel).unwrap_err();
        assert!(matches!(error, ChildError::Stopped { .. }), "{error}");
        // One that only leaves a child behind has ended, and the child does not hold us up.
        let ended = run_shell("sleep 1000 & echo done", LONG, &Cancel::default()).unwrap();
        assert_eq!(ended.stdout, b"done\n");
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn endless_output_is_not_kept() {
        let error = run_shell("yes | head -c 5000000", LONG, &Cancel::default()).unwrap_err();
        assert_eq!(error.to_string(), "it printed more than 1000 bytes");
        let words = run_shell("yes | head -c 5000000 >&2", LONG, &Cancel::default()).unwrap();
        assert_eq!(words.stderr.len(), 64 << 10);
    }

    #[test]
    fn one_that_is_not_there_is_told() {
        let error = run(
            &mut Command::new("/no/such/program"),
            LONG,
            1,
            &Cancel::default(),
        )
        .unwrap_err();
        assert!(matches!(error, ChildError::Start { .. }), "{error}");
    }
}
