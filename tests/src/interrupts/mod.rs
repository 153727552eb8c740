//! Updates that are interrupted at some moment and run again, over and over on the same host: by
//! SIGINT, by SIGTERM, by kill -9, and inside this process by a run that is told to stop.
//!
//! The moment is an event of the stream (the n-th line of the program's stderr, or the n-th call of
//! the observer), or the n-th request that comes to the server, before it is answered. Which one is
//! drawn from a seed, evenly over all of them. After each interruption the disk must boot a
//! complete set; the same command, run again, must finish; and then there must be exactly the files
//! that a run leaves that nobody interrupted.

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::lab::Lab;
use crate::tables::random::Random;

/// What interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// SIGINT to the program.
    Interrupt,
    /// SIGTERM to the program.
    Terminate,
    /// SIGKILL to the program.
    Kill,
    /// A run in this process is told to stop.
    Told,
}

impl Blow {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Interrupt, Self::Terminate, Self::Kill, Self::Told];
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Kill => "SIGKILL",
            Self::Told => "told to stop",
        })
    }
}

/// When it does.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When this event comes, counted from 1.
    Event(usize),
    /// When this request comes, counted from 1.
    Request(usize),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "event {event}"),
            Self::Request(request) => write!(f, "request {request}"),
        }
    }
}

/// How many of both an update has that nobody interrupts.
#[derive(Debug, Clone, Copy)]
struct Length {
    events: usize,
    requests: usize,
}

impl Length {
    /// A moment from the `part`-th of `parts` parts: of the events and of the requests in turn.
    fn draw(self, random: &mut Random, part: usize, parts: usize) -> Moment {
        let (part, is_request) = (part / 2, part % 2 == 1);
        let parts = parts.div_ceil(2);
        let all = if is_request {
            self.requests
        } else {
            self.events
        };
        let (first, next) = (part * all / parts, (part + 1) * all / parts);
        let drawn = first + random.index(next - first) + 1;
        if is_request {
            Moment::Request(drawn)
        } else {
            Moment::Event(drawn)
        }
    }
}

/// What came of the interruptions of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    /// Runs that were interrupted, or were about to be.
    pub runs: usize,
    /// Of these, how many stopped.
    pub stopped: usize,
    /// And how many had done their work, or would not stop any more.
    pub finished: usize,
    /// The longest time from the blow to the end.
    pub slowest: Duration,
}

/// What is counted before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Files and folders of the host, the folder for temporary files included.
    pub files: BTreeSet<PathBuf>,
    /// Bytes of what is remembered between runs.
    pub state_bytes: u64,
    /// Open descriptors of this process.
    pub descriptors: usize,
    /// Its threads.
    pub threads: usize,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Report {
    /// By what interrupted.
    pub rows: BTreeMap<Blow, Row>,
    /// Stopped runs by the effect that was under way.
    pub moments: BTreeMap<String, usize>,
    /// After one run that nobody interrupted.
    pub before: Resources,
    /// At the end.
    pub after: Resources,
    /// What should not be.
    pub failures: Vec<String>,
}

/// Interrupts `count` updates, and says after each how many are done.
///
/// # Panics
/// When the host cannot be set up.
pub fn run(count: usize, seed: u64, mut done: impl FnMut(usize)) -> Report {
    let lab = Lab::new();
    lab.clean(0);
    let length = lab.clean(1);
    let before = lab.resources(None);
    let mut report = Report {
        rows: BTreeMap::new(),
        moments: BTreeMap::new(),
        after: before.clone(),
        before,
        failures: Vec::new(),
    };
    let mut random = Random::new(seed);
    for turn in 0..count {
        let blow = Blow::ALL[turn % Blow::ALL.len()];
        // Each kind of blow goes through all parts.
        let (part, parts) = (turn / Blow::ALL.len(), count.div_ceil(Blow::ALL.len()));
        let moment = length.draw(&mut random, part, parts);
        let result = lab.turn(turn, blow, moment, &mut report);
        if let Err(why) = result {
            let failure = format!("turn {turn}, {blow} at {moment}: {why}");
            report.failures.push(failure);
        }
        done(turn + 1);
    }
    report.after = lab.resources(Some(&report.before));
    report
}
