//! What goes to stdout and stderr. stdout is data, and nothing else ever goes there.

use std::io::{self, Write as _};

use serde::Serialize;

/// Prints data as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    json: bool,
}

impl Printer {
    /// Prints JSON if `json`.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// `value` as pretty JSON, or else each of `lines`.
    pub(super) fn data(
        self,
        value: &impl Serialize,
        lines: impl IntoIterator<Item = String>,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, value)?;
            writeln!(out)?;
        } else {
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }

    /// A note to whoever watches.
    pub(super) fn note(text: &str) {
        // Nobody can be told that stderr is gone.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// An error, and below it what to do.
    pub(super) fn complain(program: &str, message: &str, advice: Option<&str>) {
        Self::note(&format!("{program}: {message}"));
        if let Some(advice) = advice {
            Self::note(&format!("{program}: to go on: {advice}"));
        }
    }
}
