//! Waits for a confined program, reads what it says, and says when it has to be ended.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

use super::Execution;
use super::output::Output;
use crate::room::{Free, Limit, measure};

/// How often the room on the disk is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often the target is counted; that costs more.
const COUNT_EVERY: Duration = Duration::from_millis(200);
/// How often in a row counting may fail.
const MAX_UNCOUNTED: u32 = 3;
/// Bytes that are always left for the rest of the system.
pub(super) const FLOOR_BYTES: u64 = 4 << 20;
/// How long the end of a program that was ended is waited for, before its whole group is.
const GRACE: Duration = Duration::from_secs(2);
/// How long what is left in the pipes is waited for. Nobody holds them any more, except without a
/// process namespace.
const REST: Duration = Duration::from_millis(200);
/// Of what the sandbox says.
const MAX_REPORT_BYTES: usize = 64 << 10;

/// What the stages of the sandbox say, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// The process whose end ends all of them, as the migrator sees it.
    Init(i32),
    /// Something that could not be dropped.
    Missing(String),
    /// The program was not started.
    Setup(String),
    /// The program's exit code.
    Exit(i32),
    /// The signal that ended the program.
    Signal(i32),
}

/// Why a program was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Timeout,
    TooMuch,
    DiskFull(u64),
    Uncountable,
}

/// What there is to watch.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) execution: &'a Execution<'a>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    words_pipe: Option<OwnedFd>,
    words_text: Vec<u8>,
    pub(super) words: Vec<Word>,
    /// The first stage, which leads the process group.
    outer: Pid,
    outer_fd: OwnedFd,
    init_fd: Option<OwnedFd>,
    pub(super) ended: Option<Ended>,
    /// How often in a row what it wrote could not be counted, and why not.
    uncounted: (u32, String),
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        execution: &'a Execution<'a>,
        outer: Pid,
        [stdout, stderr, words]: [OwnedFd; 3],
    ) -> io::Result<Self> {
        for pipe in [&stdout, &stderr, &words] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            execution,
            stdout: Output::of(stdout),
            stderr: Output::of(stderr),
            words_pipe: Some(words),
            words_text: Vec::new(),
            words: Vec::new(),
            outer,
            outer_fd: pidfd_open(outer, PidfdFlags::empty())?,
            init_fd: None,
            ended: None,
            uncounted: (0, String::new()),
        })
    }

    /// Waits until nothing of the program runs any more. The first stage is then still to be reaped.
    pub(super) fn until_the_end(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let mut counted = began;
        let mut ended_at = None;
        loop {
            let over = self.poll_once(TICK)?;
            if over {
                break;
            }
            let now = Instant::now();
            match ended_at {
                None => {
                    let count = now.duration_since(counted) >= COUNT_EVERY;
                    if count {
                        counted = now;
                    }
                    self.ended = self.judge(now.duration_since(began), count);
                    if self.ended.is_some() {
                        self.kill();
                        ended_at = Some(now);
                    }
                }
                Some(at) if now.duration_since(at) > GRACE => self.kill_group(),
                Some(_) => {}
            }
        }
        // Whoever changed its group and has no process namespace around it stays: see the README.
        self.kill_group();
        let over = Instant::now();
        while (self.stdout.pipe().is_some() || self.stderr.pipe().is_some())
            && over.elapsed() < REST
        {
            self.poll_pipes(TICK)?;
        }
        self.take_words()
    }

    /// Why what it wrote cannot be counted.
    pub(super) fn uncounted(&self) -> &str {
        &self.uncounted.1
    }

    /// Whether it has to be ended.
    fn judge(&mut self, elapsed: Duration, count: bool) -> Option<Ended> {
        let Execution {
            folder,
            limit,
            time,
            ..
        } = self.execution;
        if elapsed >= *time {
            return Some(Ended::Timeout);
        }
        if let Ok(free) = Free::at(folder)
            && free.bytes < FLOOR_BYTES
        {
            return Some(Ended::DiskFull(free.bytes));
        }
        if !count {
            return None;
        }
        match measure(folder, Limit(*limit)) {
            Ok(size) => {
                self.uncounted.0 = 0;
                (!size.fits(*limit)).then_some(Ended::TooMuch)
            }
            // Once, since it changes while it is counted. Again and again, by folders that lie too
            // deep to be looked into, or that nobody may look into: that is no store.
            Err(error) => {
                self.uncounted = (self.uncounted.0.saturating_add(1), error.to_string());
                (self.uncounted.0 >= MAX_UNCOUNTED).then_some(Ended::Uncountable)
            }
        }
    }

    fn kill(&self) {
        let result = match &self.init_fd {
            // All of its namespace goes with it, whatever group it is in, and the first stage then
            // ends by itself: afterwards nothing is left.
            Some(init) => pidfd_send_signal(init, Signal::KILL),
            None => kill_process_group(self.outer, Signal::KILL),
        };
        if let Err(error) = result {
            tracing::debug!("ending {}: {error}", self.execution.name);
        }
    }

    /// The first stage is not reaped yet, so its number is still its own.
    fn kill_group(&self) {
        // When it has no group of its own yet, it is told by itself; when none is left, all is well.
        let _ = kill_process_group(self.outer, Signal::KILL);
        let _ = pidfd_send_signal(&self.outer_fd, Signal::KILL);
    }

    /// Returns whether the first stage is over.
    fn poll_once(&mut self, timeout: Duration) -> io::Result<bool> {
        self.poll_pipes(timeout)?;
        let mut outer = [PollFd::new(&self.outer_fd, PollFlags::IN)];
        poll(&mut outer, Some(&Timespec::default()))?;
        Ok(!outer[0].revents().is_empty())
    }

    fn poll_pipes(&mut self, timeout: Duration) -> io::Result<()> {
        let pipes = [
            self.stdout.pipe().map(AsFd::as_fd),
            self.stderr.pipe().map(AsFd::as_fd),
            self.words_pipe.as_ref().map(AsFd::as_fd),
            Some(self.outer_fd.as_fd()),
        ];
        let mut fds: Vec<PollFd<'_>> = pipes
            .into_iter()
            .flatten()
            .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.stdout.take()?;
        self.stderr.take()?;
        self.take_words()
    }

    fn take_words(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 4096];
        while let Some(pipe) = &self.words_pipe {
            match rustix::io::read(pipe, &mut buffer[..]) {
                Ok(length) if length == 0 || self.words_text.len() > MAX_REPORT_BYTES => {
                    self.words_pipe = None;
                }
                Ok(length) => self
                    .words_text
                    .extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(end) = self.words_text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.words_text.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Word::Init(pid)) => {
                    self.init_fd = Pid::from_raw(pid)
                        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                }
                Ok(word) => self.words.push(word),
                Err(error) => tracing::debug!("the sandbox said something else: {error}"),
            }
        }
        Ok(())
    }
}
