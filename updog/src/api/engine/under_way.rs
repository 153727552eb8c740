//! The command of this process, and who looks on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Engine, Told};
use crate::api::announced::{Announced, Begun};
use crate::api::progress::Progress;
use crate::api::updates::{Command, RunningCommand};
use crate::cancel::Cancel;
use crate::event::{Event, Note, Observer};
use crate::render::{self, Throttle};

/// The command of this process.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    pub(super) command: Command,
    /// What callers are told meanwhile; `None` until the command is on record.
    pub(super) announced: Option<Announced>,
    pub(super) cancel: Cancel,
    pub(super) progress: Arc<Mutex<Progress>>,
}

/// Sees what a command tells.
#[derive(Debug)]
pub(super) struct Onlooker {
    engine: Arc<Engine>,
    progress: Arc<Mutex<Progress>>,
    throttle: Mutex<Throttle>,
    begun: Instant,
}

impl Onlooker {
    /// Of a command that begins now.
    pub(super) fn new(engine: Arc<Engine>, progress: Arc<Mutex<Progress>>) -> Self {
        Self {
            engine,
            progress,
            throttle: Mutex::default(),
            begun: Instant::now(),
        }
    }
}

impl Observer for Onlooker {
    fn observe(&self, event: &Event) {
        self.engine.log.0.observe(event);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = progress.follow(event);
        if let Some(step) = &progress.step {
            self.engine.meters.bytes(step, bytes);
        }
        drop(progress);
        if let Event::Note(Note::Assembled { fetched, .. } | Note::Incomplete { fetched, .. }) =
            event
        {
            self.engine.meters.fetched(*fetched);
        }
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if throttle.lets_pass(event, self.begun.elapsed()) {
            let line = render::line(event);
            self.engine.tell(Told::Event(line.trim_end().into()));
        }
    }
}

impl UnderWay {
    /// The same for callers, once it is on record.
    pub(super) fn told(&self) -> Option<(Announced, RunningCommand)> {
        let announced = self.announced.clone()?;
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let running = told(announced.begun()?, &progress);
        Some((announced, running))
    }
}

/// A command that began, and how far it is.
pub(super) fn told(begun: Begun, progress: &Progress) -> RunningCommand {
    RunningCommand {
        command: begun.command,
        id: begun.id,
        since: begun.since,
        step: progress.words(),
        done: progress.done(),
        total: progress.total(),
    }
}
