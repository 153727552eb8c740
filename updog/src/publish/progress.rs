//! Draws the progress of long work on stderr, where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::Event;

/// One line that shows the present step; it leaves nothing behind.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// Hidden unless stderr is a terminal.
    pub fn for_stderr() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "{msg} [{bar:24}] {bytes} of {total_bytes} {bytes_per_sec}",
        )
        .expect("a constant template, rendered in a test")
        .progress_chars("=> ");
        bar.set_style(style);
        Self(bar)
    }

    /// Shows what happened.
    pub fn draw(&self, event: &Event) {
        match event {
            Event::Started { step, total } => {
                self.0.reset();
                self.0.set_length(*total);
                self.0.set_message(step.clone());
            }
            Event::Advanced { bytes } => self.0.inc(*bytes),
            Event::Finished => self.clear(),
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_counted_from_its_own_start() {
        let bar = Bar::for_stderr();
        for step in ["hashing", "compressing"] {
            bar.draw(&Event::Started {
                step: step.to_owned(),
                total: 10,
            });
            bar.draw(&Event::Advanced { bytes: 4 });
            assert_eq!((bar.0.position(), bar.0.length()), (4, Some(10)));
            assert_eq!(bar.0.message(), step);
            bar.draw(&Event::Finished);
        }
        bar.clear();
    }
}
