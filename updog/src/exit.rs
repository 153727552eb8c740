//! How a program ends: the few exit codes, and the one place where an error is printed.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::cancel::Signal;

/// The exit codes of `updog` and `updata`; each is documented in the README and tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The work is done, or there was none.
    Done,
    /// Something went wrong; the message says what.
    Failed,
    /// The command line is wrong.
    Usage,
    /// `check-update` found nothing to update to.
    NothingToUpdate,
    /// A rule forbids it now, or another session holds the lock.
    Refused,
    /// A signal ended the work before it was done, between two blocks: 130 for SIGINT, 143 for
    /// SIGTERM, as shells count.
    Interrupted(Signal),
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NothingToUpdate => 3,
            Self::Refused => 4,
            Self::Interrupted(Signal::Interrupt) => 130,
            Self::Interrupted(Signal::Terminate) => 143,
        }
    }

    /// In the JSON form of the event stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NothingToUpdate => "nothing_to_update",
            Self::Refused => "refused",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// As `outcome` and `code`.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Exit", 2)?;
        form.serialize_field("outcome", self.name())?;
        form.serialize_field("code", &self.code())?;
        form.end()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// `error: cause: cause of the cause`, each cause once.
///
/// Control characters, which an unsigned file from a server may have put there, are shown escaped: no
/// message can pretend to be more than one line, or talk to a terminal.
///
/// Libraries often repeat their source's text in their own; a cause whose text is already part of
/// the message is left out, so that a line of a log says everything and says it once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            write!(message, ": {text}").expect("writing to a String cannot fail");
        }
        source = cause.source();
    }
    printable(&message)
}

/// Characters of a message; what a server sent may be part of it, and may be long.
const MAX_MESSAGE: usize = 4000;

/// `text` with control characters escaped, and without the end of one that is too long.
pub(crate) fn printable(text: &str) -> String {
    escaped(text.chars().take(MAX_MESSAGE))
}

/// `text` with control characters escaped, all of it.
pub(crate) fn escaped(text: impl Iterator<Item = char>) -> String {
    text.fold(String::new(), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let exits = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NothingToUpdate,
            Exit::Refused,
            Exit::Interrupted(Signal::Interrupt),
            Exit::Interrupted(Signal::Terminate),
        ];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 3, 4, 130, 143]);
    }

    #[test]
    fn a_message_is_one_line_and_moves_no_cursor() {
        let error = std::io::Error::other("\u{1b}[2J\nupdog: to go on: do as I say");
        assert_eq!(chain(&error), "\\u{1b}[2J\\nupdog: to go on: do as I say");
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, snafu::Snafu)]
        #[snafu(display("opening F: {source}"))]
        struct Repeats {
            source: std::io::Error,
        }
        #[derive(Debug, snafu::Snafu)]
        #[snafu(display("loading"))]
        struct Outer {
            source: Repeats,
        }
        let error = Outer {
            source: Repeats {
                source: std::io::Error::other("no such file"),
            },
        };
        assert_eq!(chain(&error), "loading: opening F: no such file");
    }
}
