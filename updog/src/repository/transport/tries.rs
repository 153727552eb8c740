//! The account of one transfer: what came, when the next try begins, and when there is none.
//!
//! Time counts only while something is waited for that is the network's to do. A reader that takes
//! its time, or a limit on the rate, is nothing that a server is left for.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use tokio::sync::watch;
use url::Url;

use super::super::pace::{FileKind, GiveUp, Pace};
use super::super::shown;
use super::error::{NoUseSnafu, TransferError};
use super::lock;
use super::stopwatch::Stopwatch;
use crate::event::{Note, Wait};
use crate::exit::chain;
use crate::watch::Watch;

/// What a transfer cost so far.
#[derive(Debug, Default)]
pub(in super::super) struct Counts {
    received: AtomicU64,
    requests: AtomicU64,
    is_whole: AtomicBool,
}

impl Counts {
    pub(in super::super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(in super::super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the file comes as a whole, though parts were asked for.
    pub(in super::super) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Relaxed)
    }

    pub(super) fn set_whole(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }
}

/// Whether what a request waits for is what its transfer waits for.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// It is.
    Now,
    /// It will be once this number has come.
    After(watch::Receiver<usize>, usize),
}

/// The account of one transfer, over one request or several at once.
#[derive(Debug)]
pub(super) struct Tries {
    watch: Watch,
    /// Its address, for people.
    file: String,
    pub(super) kind: FileKind,
    pace: Mutex<Pace>,
    /// When the pause after the last failure ends. What else fails until then failed for the same reason.
    paused_until: Mutex<Duration>,
    start: Instant,
    waited: Mutex<Stopwatch>,
    pub(super) counts: Arc<Counts>,
}

/// Time passes while this is there.
struct Waiting<'a>(&'a Tries);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.waited).stop(self.0.start.elapsed());
    }
}

impl Tries {
    /// A transfer of `url` that begins now. It is given up when no byte comes for `outage`.
    pub(super) fn new(
        watch: Watch,
        url: &Url,
        kind: FileKind,
        outage: Duration,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            watch,
            file: shown(url),
            kind,
            pace: Mutex::new(Pace::new(kind, outage)),
            paused_until: Mutex::default(),
            start: Instant::now(),
            waited: Mutex::default(),
            counts,
        }
    }

    fn now(&self) -> Duration {
        lock(&self.waited).passed(self.start.elapsed())
    }

    /// `bytes` came, `new` of them for the first time.
    ///
    /// # Errors
    /// [`TransferError::NoUse`] when they come too slowly.
    pub(super) fn received(&self, bytes: u64, new: u64) -> Result<(), TransferError> {
        self.counts.add_received(bytes);
        no_use(lock(&self.pace).received(self.now(), bytes, new))
    }

    /// The server sends the file from its start again.
    ///
    /// # Errors
    /// [`TransferError::NoUse`] when it does so each time.
    pub(super) fn restarted(&self) -> Result<(), TransferError> {
        no_use(lock(&self.pace).restarted())
    }

    /// Returns when it is time to try again after `error`, which happened at byte `at`.
    ///
    /// # Errors
    /// `error`, when there is no use in that, and [`TransferError::GaveUp`].
    pub(super) async fn again(
        &self,
        turn: &Turn,
        error: TransferError,
        at: u64,
    ) -> Result<(), TransferError> {
        if !error.is_passing() {
            return Err(error);
        }
        let (wait, is_news) = match self.pause() {
            Ok(pause) => pause,
            Err(why) => {
                let source = Box::new(error);
                return Err(TransferError::GaveUp { why, source });
            }
        };
        if is_news {
            self.watch.note(Note::Retry {
                file: self.file.clone(),
                at,
                reason: chain(&error),
            });
        }
        let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let pause = Wait::Pause { milliseconds };
        self.wait_for(turn, pause, tokio::time::sleep(wait)).await;
        Ok(())
    }

    /// How long to wait after a failure, and whether it is the first since the last pause.
    fn pause(&self) -> Result<(Duration, bool), GiveUp> {
        let now = self.now();
        let mut until = lock(&self.paused_until);
        let left = until.saturating_sub(now);
        if !left.is_zero() {
            return Ok((left, false));
        }
        let wait = lock(&self.pace).failed(now)?;
        *until = now.saturating_add(wait);
        Ok((wait, true))
    }

    /// Waits for `future`, for which the network is to blame. Tells so if it takes a second in which
    /// it is what the transfer waits for.
    pub(super) async fn wait_for<F: Future>(
        &self,
        turn: &Turn,
        wait: Wait,
        future: F,
    ) -> F::Output {
        lock(&self.waited).start(self.start.elapsed());
        let _waiting = Waiting(self);
        let mut future = pin!(future);
        if let Turn::After(front, number) = turn {
            let mut front = front.clone();
            let comes = pin!(front.wait_for(|front| front >= number));
            if let Either::Right((done, _)) = select(comes, future.as_mut()).await {
                return done;
            }
        }
        self.watch.wait_for(wait, future).await
    }
}

fn no_use(judged: Result<(), GiveUp>) -> Result<(), TransferError> {
    judged.or_else(|why| NoUseSnafu { why }.fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_during_a_pause_shares_it() {
        let url = Url::parse("http://127.0.0.1/x").unwrap();
        let outage = Duration::from_secs(60);
        let tries = Tries::new(
            Watch::nobody(),
            &url,
            FileKind::Target,
            outage,
            Arc::default(),
        );
        // No time passes: nothing is waited for.
        let pause = Duration::from_millis(100);
        assert_eq!(tries.pause().unwrap(), (pause, true));
        assert_eq!(tries.pause().unwrap(), (pause, false));
        assert_eq!(tries.pause().unwrap(), (pause, false));
        *lock(&tries.paused_until) = Duration::ZERO;
        assert_eq!(tries.pause().unwrap(), (pause * 2, true));
    }
}
