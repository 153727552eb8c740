//! One line on a terminal that is drawn anew: the step, how much of it is done, and how it goes.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::phase::View;

/// So that a terminal is alive while nothing is counted.
const SPIN: Duration = Duration::from_millis(200);

/// The bar takes what the words leave: on eighty columns that is little.
const COUNTED: &str = "{prefix} {percent:>3} % [{wide_bar}] {msg}";
const UNCOUNTED: &str = "{spinner} {prefix}  {wide_msg}";

#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(crate) fn for_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self {
            // Its own style would be seen before the first step.
            bar: ProgressBar::with_draw_target(None, target).with_style(style(UNCOUNTED)),
        }
    }

    /// Shows `view`, or nothing.
    pub(crate) fn draw(&self, view: Option<&View>) {
        let Some(view) = view else {
            self.clear();
            return;
        };
        let done = HumanBytes(view.done);
        let message = match view.total {
            Some(_) if view.how.is_empty() => done.to_string(),
            Some(_) => format!("{done}, {}", view.how),
            None => view.how.clone(),
        };
        // A server may tell only later how much there is to do.
        if self.bar.prefix() != view.step || self.bar.length() != Some(view.total.unwrap_or(0)) {
            self.bar.set_style(style(match view.total {
                Some(_) => COUNTED,
                None => UNCOUNTED,
            }));
            self.bar.set_prefix(view.step.clone());
            self.bar.set_message(message.clone());
            self.bar.set_length(view.total.unwrap_or(0));
            self.bar.reset();
            self.bar.enable_steady_tick(SPIN);
        }
        self.bar.set_message(message);
        self.bar.set_position(view.done);
    }

    /// Does `print` with the line out of the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.set_prefix("");
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a constant template, rendered in a test")
        .progress_chars("=> ")
        .tick_chars("|/-\\ ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that remembers the last line that was drawn on it.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_shows_step_percent_bytes_and_how_it_goes() {
        let screen = Screen::default();
        let shown = || screen.0.lock().unwrap().trim().to_owned();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = Bar::on(target);
        bar.draw(Some(&View {
            step: "writing the root image".into(),
            done: 1 << 20,
            total: Some(4 << 20),
            how: "stalled for 12 s".into(),
        }));
        bar.bar.force_draw();
        assert_eq!(
            shown(),
            "writing the root image  25 % [=====>                ] 1.00 MiB, stalled for 12 s"
        );
        bar.draw(Some(&View {
            step: "refreshing the repository".into(),
            done: 0,
            total: None,
            how: "waiting for the server, 3 s".into(),
        }));
        bar.bar.force_draw();
        let refreshing = shown();
        assert!(
            refreshing.ends_with("refreshing the repository  waiting for the server, 3 s"),
            "{refreshing}"
        );
        bar.draw(None);
        assert_eq!(shown(), "");
    }
}
