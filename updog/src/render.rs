//! Events and log lines on stderr: a bar on a terminal, plain lines otherwise.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::event::{Event, Observer};

/// Shows one step at a time. Clones share the bar.
#[derive(Debug, Clone)]
pub struct Renderer {
    bar: ProgressBar,
    terminal: bool,
}

impl Renderer {
    /// For this process's stderr.
    pub fn for_stderr() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(
            "{msg:32} [{bar:24}] {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12}  {eta}",
        )
        .expect("a constant template, rendered in a test")
        .progress_chars("=> ");
        bar.set_style(style);
        Self { bar, terminal }
    }

    /// Sends log lines of `level` and above to stderr, around the bar.
    pub fn init_logging(&self, level: LevelFilter) {
        // Fails only when logging is set up already, and then it is.
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .without_time() // the journal adds its own
            .with_target(false)
            // A log that cannot be written is lost; it must not end the work.
            .log_internal_errors(false)
            .with_ansi(self.terminal)
            .with_writer(self.clone())
            .try_init();
    }

    /// Removes the bar, so that what follows starts on a line of its own.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// An [`Observer`] that draws with a [`Renderer`].
#[derive(Debug)]
pub struct Drawing {
    renderer: Renderer,
    /// What the plain lines have told of the current step.
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    step: String,
    finished: bool,
}

impl Drawing {
    /// Draws with `renderer`.
    pub fn new(renderer: Renderer) -> Self {
        Self {
            renderer,
            told: Mutex::default(),
        }
    }
}

impl Observer for Drawing {
    fn observe(&self, event: &Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Effect(_) => {}
            Event::Step(step) => {
                *told = Told {
                    step: step.to_string(),
                    finished: false,
                };
                self.renderer.bar.reset();
                self.renderer.bar.set_length(0);
                self.renderer.bar.set_message(step.to_string());
                tracing::info!("{step}");
            }
            Event::Progress { done, total } => {
                self.renderer.bar.set_length(*total);
                self.renderer.bar.set_position(*done);
                if done == total && !told.finished {
                    told.finished = true;
                    tracing::info!("{}: {} done", told.step, HumanBytes(*total));
                }
            }
        }
    }
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
        self.0.bar.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use update_metadata::ImageKind;

    use super::*;
    use crate::event::Step;

    #[test]
    fn every_event_can_be_drawn() {
        let drawing = Drawing::new(Renderer::for_stderr());
        drawing.observe(&Event::Step(Step::Write(ImageKind::Root)));
        drawing.observe(&Event::Progress { done: 1, total: 2 });
        drawing.observe(&Event::Progress { done: 2, total: 2 });
        assert_eq!(drawing.renderer.bar.position(), 2);
        assert_eq!(drawing.renderer.bar.length(), Some(2));
        assert_eq!(drawing.renderer.bar.message(), "writing the root image");
    }
}
