//! The event stream on stderr: a bar on a terminal, plain lines otherwise, or one JSON object a line.
//!
//! Log lines and progress share the stream: a line never lands in the middle of the bar, and where
//! JSON is asked for, nothing else is written. What the lines say is decided in `phase`, which is
//! pure; a thread that wakes once a second sees to it that time passes there also while nothing
//! happens.

mod bar;
mod json;
mod log;
mod phase;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

use self::log::{Form, LogFormat};
use self::phase::Phase;
use crate::event::{End, Event, Note, Observer};

pub(crate) use self::bar::Bar;
pub(crate) use self::json::{Throttle, line};
pub(crate) use self::log::{COMPLAINT, NOTE};
pub(crate) use self::phase::View;

/// How often time passes for the lines and the bar.
const TICK: Duration = Duration::from_secs(1);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// [`Progress::Bar`] on a terminal that can move its cursor, otherwise [`Progress::Plain`].
    Auto,
    /// One line that is drawn anew; where stderr is no terminal, as [`Progress::Plain`].
    Bar,
    /// A line when a step begins and when it is done, and now and then in between.
    Plain,
    /// Every event as a JSON object, and nothing else.
    Json,
    /// Not at all.
    None,
}

/// Shows events, and what is logged. Clones share the stream.
#[derive(Debug, Clone)]
pub struct Renderer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Mode {
    Bar(Bar),
    Plain,
    Json,
    Nothing,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    throttle: Throttle,
    /// There while a thread lets time pass; dropping it ends the thread.
    clock: Option<Sender<()>>,
}

impl Renderer {
    /// For this process's stderr.
    pub fn for_stderr(progress: Progress) -> Self {
        let terminal = io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let mode = match progress {
            Progress::Auto if terminal && !dumb => Mode::Bar(Bar::for_stderr()),
            Progress::Bar if terminal => Mode::Bar(Bar::for_stderr()),
            Progress::Auto | Progress::Bar | Progress::Plain => Mode::Plain,
            Progress::Json => Mode::Json,
            Progress::None => Mode::Nothing,
        };
        Self::of(mode)
    }

    fn of(mode: Mode) -> Self {
        Self {
            shared: Arc::new(Shared {
                mode,
                begun: Instant::now(),
                state: Mutex::default(),
            }),
        }
    }

    /// Sends log lines of `level` and above to stderr too: as `<N>message` where that is the
    /// journal, as events where events are JSON.
    pub fn init_logging(&self, level: LevelFilter) {
        let form = match self.shared.mode {
            Mode::Json => Form::Json,
            _ if log::is_journal() => Form::Journal,
            _ => Form::People,
        };
        // Fails only when logging is set up already, and then it is.
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            // A log that cannot be written is lost; it must not end the work.
            .log_internal_errors(false)
            .with_ansi(form == Form::People && io::stderr().is_terminal() && log::is_colourful())
            .event_format(LogFormat(form))
            .with_writer(self.clone())
            .try_init();
    }

    /// Does `print` on the same terminal without the bar in its way.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.shared.mode {
            Mode::Bar(bar) => bar.suspend(print),
            _ => print(),
        }
    }

    /// Removes the bar, so that what follows starts on a line of its own.
    fn finish(&self) {
        self.shared.state().clock = None;
        if let Mode::Bar(bar) = &self.shared.mode {
            bar.clear();
        }
    }
}

impl Observer for Renderer {
    fn observe(&self, event: &Event) {
        match self.shared.mode {
            Mode::Json => self.shared.json(event),
            Mode::Bar(_) | Mode::Plain => self.shared.show(event),
            Mode::Nothing => {}
        }
        if matches!(event, Event::End(_)) {
            self.finish();
        }
        if !matches!(self.shared.mode, Mode::Json) {
            tell(event);
        }
    }
}

/// What is said in full wherever lines are for people.
fn tell(event: &Event) {
    match event {
        Event::Note(note @ (Note::NothingToDo { .. } | Note::NotOffered { .. })) => {
            tracing::error!(target: NOTE, "updog: {note}");
        }
        Event::Note(Note::Message { message }) => {
            tracing::error!(target: NOTE, "updog: {message}");
        }
        Event::Note(note @ Note::StaleMirror { .. }) => tracing::warn!("{note}"),
        Event::Note(note) => tracing::info!("{note}"),
        Event::End(End { error, advice, .. }) => {
            if let Some(error) = error {
                tracing::error!(target: COMPLAINT, "updog: {error}");
            }
            if let Some(advice) = advice {
                tracing::error!(target: COMPLAINT, "updog: to go on: {advice}");
            }
        }
        _ => {}
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn json(&self, event: &Event) {
        let now = self.begun.elapsed();
        if self.state().throttle.lets_pass(event, now) {
            // Nobody can be told that stderr is gone.
            let _ = io::stderr().write_all(line(event).as_bytes());
        }
    }

    fn show(self: &Arc<Self>, event: &Event) {
        let now = self.begun.elapsed();
        let lines = {
            let mut state = self.state();
            if matches!(event, Event::Step(_)) && state.clock.is_none() {
                state.clock = self.start_clock();
            }
            let lines = state.phase.see(event, now);
            self.draw(&state.phase, now);
            lines
        };
        self.print(lines);
    }

    fn tick(&self) {
        let now = self.begun.elapsed();
        let line = {
            let mut state = self.state();
            let line = state.phase.tick(now);
            self.draw(&state.phase, now);
            line
        };
        self.print(line);
    }

    fn draw(&self, phase: &Phase, now: Duration) {
        if let Mode::Bar(bar) = &self.mode {
            bar.draw(phase.view(now).as_ref());
        }
    }

    /// A bar tells how a step goes; what stays on the screen is that it was done.
    fn print(&self, lines: impl IntoIterator<Item = phase::Line>) {
        let is_bar = matches!(self.mode, Mode::Bar(_));
        for line in lines {
            if !is_bar || line.is_end {
                tracing::info!("{}", line.text);
            }
        }
    }

    /// Lets time pass until the sender is gone, or everybody who draws.
    fn start_clock(self: &Arc<Self>) -> Option<Sender<()>> {
        let (sender, receiver) = channel();
        let shared = Arc::downgrade(self);
        let run = move || {
            while receiver.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                match shared.upgrade() {
                    Some(shared) => shared.tick(),
                    None => return,
                }
            }
        };
        // Without a thread the lines come with the events alone.
        let spawned = thread::Builder::new().name("progress".into()).spawn(run);
        spawned.is_ok().then_some(sender)
    }
}

#[cfg(test)]
mod tests {
    use update_metadata::ImageKind;

    use super::*;
    use crate::event::{Step, Wait};

    #[test]
    fn every_event_can_be_shown_in_every_mode() {
        let image = ImageKind::Root;
        for mode in [
            Mode::Bar(Bar::for_stderr()),
            Mode::Plain,
            Mode::Json,
            Mode::Nothing,
        ] {
            let renderer = Renderer::of(mode);
            renderer.observe(&Event::Step(Step::Write { image, bytes: 2 }));
            renderer.observe(&Event::Progress { done: 1, total: 2 });
            renderer.observe(&Event::Waiting(Wait::Sync));
            renderer.observe(&Event::Resumed);
            renderer.observe(&Event::Progress { done: 2, total: 2 });
            renderer.shared.tick();
            assert_eq!(renderer.suspend(|| 3), 3);
            renderer.finish();
            assert!(renderer.shared.state().clock.is_none());
        }
    }
}
