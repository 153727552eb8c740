//! Log lines: for people, for the journal, or as events.

use std::ffi::OsStr;
use std::fmt;
use std::io;

use tracing::{Event as Logged, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::{Renderer, json};
use crate::event::{Event, Note};

/// Lines of this target are sentences for whoever gave the command: they have no level, and are told
/// at every one.
pub(crate) const NOTE: &str = "updog::note";
/// The same, of what went wrong.
pub(crate) const COMPLAINT: &str = "updog::complaint";
/// Whom such a sentence is from; where a line says that anyway, it is left out.
const PROGRAM: &str = "updog: ";

/// Whom lines are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    People,
    Journal,
    Json,
}

/// Formats lines of one form.
#[derive(Debug)]
pub(super) struct LogFormat(pub(super) Form);

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        logged: &Logged<'_>,
    ) -> fmt::Result {
        let target = logged.metadata().target();
        let is_sentence = target == NOTE || target == COMPLAINT;
        if self.0 == Form::People && !is_sentence {
            let format: Format<Full, ()> = Format::default().without_time().with_target(false);
            return format.format_event(context, writer, logged);
        }
        let mut message = String::new();
        context.format_fields(Writer::new(&mut message), logged)?;
        let level = *logged.metadata().level();
        match self.0 {
            Form::People => writeln!(writer, "{message}"),
            Form::Journal => {
                let priority = match target {
                    NOTE => 5,
                    _ => priority(level),
                };
                let message = message.strip_prefix(PROGRAM).unwrap_or(&message);
                message
                    .lines()
                    .try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
            }
            Form::Json => {
                let event = if is_sentence {
                    let message = message.strip_prefix(PROGRAM).unwrap_or(&message).to_owned();
                    Event::Note(Note::Message { message })
                } else {
                    Event::Log {
                        level: name(level),
                        message,
                    }
                };
                writer.write_str(&json::line(&event))
            }
        }
    }
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "trace",
    }
}

/// Whether nobody has said that there shall be no colours (`NO_COLOR`, whatever it says but nothing).
pub(super) fn is_colourful() -> bool {
    is_colourful_with(std::env::var_os("NO_COLOR").as_deref())
}

fn is_colourful_with(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

/// Whether stderr goes to the journal, which adds time and program itself.
pub(super) fn is_journal() -> bool {
    let Some(announced) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| announced.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino)))
}

impl<'a> MakeWriter<'a> for Renderer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One log line on its way out.
#[derive(Debug)]
pub struct Line<'a>(&'a Renderer);

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_that_nobody_wants_are_left_out() {
        for (no_color, expected) in [(None, true), (Some(""), true), (Some("1"), false)] {
            let no_color = no_color.map(OsStr::new);
            assert_eq!(is_colourful_with(no_color), expected, "{no_color:?}");
        }
    }
}
