//! What goes to stderr: sentences, how a command goes, and why it failed.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;

use super::failure::Failure;
use crate::api::updates::{Command, RunningCommand};
use crate::exit::{chain, escaped, printable};
use crate::render::{Bar, View};

/// A line so often while a command is waited for.
const EVERY: Duration = Duration::from_secs(5);

/// How much to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loudness {
    /// What failed.
    Failures,
    /// And how it goes.
    Progress,
    /// And each answer.
    Answers,
}

/// This process's stderr.
#[derive(Debug)]
pub(super) struct Talk {
    loudness: Loudness,
    bar: Option<Bar>,
    /// When the last line on progress was told.
    told: Cell<Duration>,
}

/// How the command goes that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Going<'a> {
    /// Ours.
    pub(super) command: Command,
    /// Whether it waits for another one to end.
    pub(super) is_queued: bool,
    /// What the server says of the one under way.
    pub(super) running: Option<&'a RunningCommand>,
    /// Since it was asked for.
    pub(super) elapsed: Duration,
}

impl Talk {
    pub(super) fn on_stderr(loudness: Loudness) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_bar = io::stderr().is_terminal() && !dumb && loudness >= Loudness::Progress;
        Self {
            loudness,
            bar: is_bar.then(Bar::for_stderr),
            told: Cell::default(),
        }
    }

    /// A sentence for whoever gave the command.
    pub(super) fn say(&self, text: &str) {
        if self.loudness >= Loudness::Progress {
            self.line(&format!("apiclient: {text}"));
        }
    }

    /// What only somebody who looks for a mistake wants to know.
    pub(super) fn detail(&self, text: &str) {
        if self.loudness >= Loudness::Answers {
            self.line(&format!("apiclient: {text}"));
        }
    }

    /// How it goes: in the bar, or else as a line now and then.
    pub(super) fn going(&self, going: &Going<'_>) {
        if let Some(bar) = &self.bar {
            bar.draw(Some(&going.view()));
        } else if going.elapsed.saturating_sub(self.told.get()) >= EVERY {
            self.told.set(going.elapsed);
            self.say(&going.line());
        }
    }

    /// The next command begins.
    pub(super) fn begin(&self) {
        self.told.set(Duration::ZERO);
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }

    /// Why a verb failed. Of a request it is the line that fleet agents read, and begins with it.
    pub(super) fn failure(&self, failure: &Failure, socket: &Path) {
        self.clear();
        let text = chain(failure);
        match failure {
            Failure::Status { .. } | Failure::Request { .. } => self.line(&text),
            _ => self.line(&format!("apiclient: {text}")),
        }
        for line in failure.said().into_iter().flat_map(str::lines) {
            self.line(&escaped(line.chars()));
        }
        if let Some(advice) = failure.advice(socket) {
            self.line(&format!("apiclient: to go on: {}", printable(&advice)));
        }
    }

    fn line(&self, text: &str) {
        // Nobody can be told that stderr is gone.
        let print = || {
            let _ = writeln!(io::stderr(), "{text}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Going<'_> {
    fn what(&self) -> String {
        match (self.is_queued, self.running) {
            (true, Some(running)) => format!("waiting for {} to end", running.command),
            (true, None) => "waiting for another command to end".to_owned(),
            (false, _) => self.command.to_string(),
        }
    }

    fn step(&self) -> Option<String> {
        let step = self.running?.step.as_deref()?;
        Some(printable(step))
    }

    /// Of how much there is to do; a step without bytes has none.
    fn total(&self) -> Option<u64> {
        self.running?.total.filter(|total| *total > 0)
    }

    fn done(&self) -> u64 {
        let done = self.running.and_then(|running| running.done);
        done.unwrap_or(0)
    }

    fn view(&self) -> View {
        View {
            step: self.step().unwrap_or_else(|| self.what()),
            done: self.done(),
            total: self.total(),
            how: format!("{} s", self.elapsed.as_secs()),
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{}, {} s", self.what(), self.elapsed.as_secs());
        if let Some(step) = self.step() {
            line.push_str(": ");
            line.push_str(&step);
        }
        if let Some(total) = self.total() {
            let done = u128::from(self.done()) * 100 / u128::from(total);
            let share = format!(", {} % of {}", done.min(100), HumanBytes(total));
            line.push_str(&share);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_as_much_as_the_server_does() {
        let running = |step: Option<&str>, done, total| RunningCommand {
            command: Command::Prepare,
            id: 3,
            since: "2031-03-02T10:00:00Z".parse().unwrap(),
            step: step.map(str::to_owned),
            done,
            total,
        };
        let step = Some("writing the root image");
        let mib = 1 << 20;
        for (is_queued, running, expected) in [
            (false, None, "prepare, 7 s"),
            (true, None, "waiting for another command to end, 7 s"),
            (
                true,
                Some(running(None, None, None)),
                "waiting for prepare to end, 7 s",
            ),
            (false, Some(running(None, None, None)), "prepare, 7 s"),
            (
                false,
                Some(running(step, Some(mib), Some(4 * mib))),
                "prepare, 7 s: writing the root image, 25 % of 4.00 MiB",
            ),
            (
                false,
                Some(running(step, Some(9), Some(0))),
                "prepare, 7 s: writing the root image",
            ),
            (
                false,
                Some(running(Some("a\u{1b}[2J"), Some(u64::MAX), Some(1))),
                "prepare, 7 s: a\\u{1b}[2J, 100 % of 1 B",
            ),
        ] {
            let going = Going {
                command: Command::Prepare,
                is_queued,
                running: running.as_ref(),
                elapsed: Duration::from_millis(7_900),
            };
            assert_eq!(going.line(), expected);
            assert_eq!(going.view().how, "7 s");
        }
    }
}
