//! What is handed down to whatever takes time: who looks on, and whether to go on.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cancel::{Cancel, Cancelled};
use crate::event::{Event, Note, Observer, Step, Unobserved, Wait};

/// What is waited for no longer than this is not told: most answers come at once.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// An [`Observer`] and a [`Cancel`]. Clones are of the same run.
#[derive(Clone)]
pub struct Watch {
    observer: Arc<dyn Observer>,
    cancel: Cancel,
}

impl Watch {
    /// `observer` sees what happens, and `cancel` ends it.
    pub fn new(observer: Arc<dyn Observer>, cancel: Cancel) -> Self {
        Self { observer, cancel }
    }

    /// Nobody looks on, and nothing is stopped.
    pub fn nobody() -> Self {
        Self::new(Arc::new(Unobserved), Cancel::default())
    }

    /// Nobody looks on, and the same ends it.
    #[must_use]
    pub fn unobserved(&self) -> Self {
        Self::new(Arc::new(Unobserved), self.cancel.clone())
    }

    /// Whether to stop.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Goes on.
    ///
    /// # Errors
    /// [`Cancelled`] once the run is to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.cancel.check()
    }

    /// `event` happens now.
    pub fn tell(&self, event: &Event) {
        self.observer.observe(event);
    }

    /// `step` begins.
    pub fn step(&self, step: Step) {
        self.tell(&Event::Step(step));
    }

    /// The step is done.
    pub fn step_end(&self) {
        self.tell(&Event::StepEnd);
    }

    /// `done` of `total` units of the step are behind us.
    pub fn progress(&self, done: u64, total: u64) {
        self.tell(&Event::Progress { done, total });
    }

    /// Counts up to `total` units of the step, whichever thread is done with them.
    pub fn tally(&self, total: u64) -> Tally<'_> {
        Tally {
            watch: self,
            done: Mutex::new(0),
            total,
        }
    }

    /// Something that an operator may want to know.
    pub fn note(&self, note: Note) {
        self.tell(&Event::Note(note));
    }

    /// Does `work`, which is all that is waited for meanwhile.
    pub fn while_waiting<T>(&self, wait: Wait, work: impl FnOnce() -> T) -> T {
        self.tell(&Event::Waiting(wait));
        let done = work();
        self.tell(&Event::Resumed);
        done
    }

    /// Waits for `future`; tells so if that takes a second.
    pub async fn wait_for<F: Future>(&self, wait: Wait, future: F) -> F::Output {
        let mut future = pin!(future);
        if let Ok(done) = tokio::time::timeout(WORTH_TELLING, &mut future).await {
            return done;
        }
        self.tell(&Event::Waiting(wait));
        let done = future.await;
        self.tell(&Event::Resumed);
        done
    }
}

/// How far several threads are with a step.
#[derive(Debug)]
pub struct Tally<'a> {
    watch: &'a Watch,
    done: Mutex<u64>,
    total: u64,
}

impl Tally<'_> {
    /// So many more are done. Told one at a time, so that what is told never falls.
    pub fn add(&self, more: usize) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        *done = done.saturating_add(more).min(self.total);
        self.watch.progress(*done, self.total);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}
