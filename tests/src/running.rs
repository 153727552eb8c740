//! A program of ours while it runs: its events, and the signals that it gets.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::kill_process;
pub use rustix::process::{Pid, Signal};
use serde_json::Value;

/// A started `updog --progress json`, whose events are read one by one.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

/// How it ended, and everything that it told.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// The events that were not read before.
    pub events: Vec<Value>,
    /// Its data.
    pub stdout: String,
}

impl Running {
    /// Starts `command`, which has to write JSON lines to stderr.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = child.stderr.take().expect("stderr is a pipe");
        Self {
            child,
            stderr: BufReader::new(stderr),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it `signal`. One that has ended already gets none.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// The next line, as it is; none when there are no more.
    ///
    /// # Panics
    /// When it is no text.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.stderr.read_line(&mut line).expect("stderr");
        (length > 0).then_some(line)
    }

    /// The next event; none when there are no more.
    ///
    /// # Panics
    /// When a line is no JSON: nothing else may be on stderr.
    pub fn event(&mut self) -> Option<Value> {
        // What a killed process was about to write may end anywhere.
        let line = self.line().filter(|line| line.ends_with('\n'))?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Reads until an event has these keys and values.
    ///
    /// # Panics
    /// When none comes.
    pub fn until(&mut self, keys: &[(&str, &str)]) -> Value {
        let mut before = Vec::new();
        while let Some(event) = self.event() {
            if keys.iter().all(|(key, value)| event[*key] == *value) {
                return event;
            }
            before.push(event);
        }
        panic!("no event with {keys:?} after {before:#?}");
    }

    /// Reads what is left, and waits for the end.
    ///
    /// # Panics
    /// As [`Running::event`].
    pub fn end(mut self) -> Ended {
        let events = std::iter::from_fn(|| self.event()).collect();
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take().expect("stdout is a pipe");
        pipe.read_to_string(&mut stdout).expect("stdout");
        Ended {
            status: self.child.wait().expect("a child of ours"),
            events,
            stdout,
        }
    }
}

/// A test that is over, or has failed, leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended and was waited for gets no signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The last event, which says how it ended.
    ///
    /// # Panics
    /// When there is none.
    pub fn last(&self) -> &Value {
        self.events.last().expect("a last event")
    }
}

/// Sends `signal` to the process `pid`, if it is still there.
pub fn send(pid: Pid, signal: Signal) {
    // A child that nobody waited for keeps its number, so this never meets another process.
    let _ = kill_process(pid, signal);
}
