//! Runs one migration that is a program: sealed, confined, watched, and ended if need be.

mod confined;
mod output;
mod watch;

use std::path::Path;
use std::time::Duration;

use snafu::Snafu;

use crate::migration::Direction;
use crate::room::Size;

pub use confined::Confined;
pub(crate) use watch::Word;

/// PORT: runs a program that makes one store from another.
pub trait MigrationExec {
    /// Runs it to its end. After: the program and everything that it started is gone, and it said
    /// that it made the store; whether it did is for the caller to look at.
    ///
    /// # Errors
    /// Every [`ExecError`].
    fn run(&self, execution: &Execution<'_>) -> Result<(), ExecError>;
}

/// What is run, on what, and how far it may go.
#[derive(Debug, Clone, Copy)]
pub struct Execution<'a> {
    /// The migration's name, for messages.
    pub name: &'a str,
    /// The program: an ELF file, or a script with `#!`.
    pub program: &'a [u8],
    /// Which way.
    pub direction: Direction,
    /// The store to read.
    pub source: &'a Path,
    /// The store to make; it does not exist.
    pub target: &'a Path,
    /// The folder of the target, which holds nothing else: all that the program may write to.
    pub folder: &'a Path,
    /// What may be in that folder.
    pub limit: Size,
    /// How long it may take.
    pub time: Duration,
}

impl Execution<'_> {
    /// The arguments, in an order that existing migrations depend on.
    pub fn arguments(&self) -> [&std::ffi::OsStr; 5] {
        [
            self.direction.flag().as_ref(),
            "--source-datastore".as_ref(),
            self.source.as_ref(),
            "--target-datastore".as_ref(),
            self.target.as_ref(),
        ]
    }
}

/// Why a migration did not run to a good end.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[allow(missing_docs)] // the message says what each field is
pub enum ExecError {
    /// It cannot be started.
    #[snafu(display("starting it: {what}"))]
    Start {
        what: &'static str,
        source: std::io::Error,
    },
    /// It cannot be confined, or is no program.
    #[snafu(display("starting it: {what}"))]
    Setup { what: String },
    /// It says that it failed.
    #[snafu(display("it ended with exit code {code}{output}"))]
    Failed { code: i32, output: String },
    /// A signal ended it.
    #[snafu(display("signal {signal} ended it{output}"))]
    Signal { signal: i32, output: String },
    /// It was ended for taking too long.
    #[snafu(display("it was ended after {} seconds{output}", time.as_secs_f64()))]
    Timeout { time: Duration, output: String },
    /// It was ended for writing too much.
    #[snafu(display(
        "it was ended for writing more than {} bytes or {} files{output}",
        limit.bytes,
        limit.entries
    ))]
    TooMuch { limit: Size, output: String },
    /// It was ended before it filled the disk.
    #[snafu(display("it was ended because only {free} bytes were left on the disk{output}"))]
    DiskFull { free: u64, output: String },
    /// It was ended because nobody can tell how much it wrote.
    #[snafu(display("it was ended because what it wrote cannot be counted: {reason}{output}"))]
    Uncountable { reason: String, output: String },
    /// It vanished.
    #[snafu(display("it is not known how it ended{output}"))]
    Unknown { output: String },
    /// It cannot be watched.
    #[snafu(display("watching it: {what}"))]
    Watch {
        what: &'static str,
        source: std::io::Error,
    },
}
