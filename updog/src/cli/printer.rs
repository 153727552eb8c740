//! What goes to stdout and stderr. stdout is data, and nothing else ever goes there.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::render::{NOTE, Renderer};

/// Prints data as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer<'a> {
    json: bool,
    renderer: &'a Renderer,
}

impl<'a> Printer<'a> {
    /// Prints JSON if `json`, with what `renderer` draws out of the way.
    pub(super) fn new(json: bool, renderer: &'a Renderer) -> Self {
        Self { json, renderer }
    }

    /// `value` as pretty JSON, or else each of `lines`.
    pub(super) fn data(
        self,
        value: &impl Serialize,
        lines: impl IntoIterator<Item = String>,
    ) -> io::Result<()> {
        self.renderer.suspend(|| {
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
        })
    }

    /// A note to whoever watches, in the form that stderr has.
    pub(super) fn note(text: &str) {
        tracing::error!(target: NOTE, "{text}");
    }
}
