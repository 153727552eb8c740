//! A run that is to stop, and how whatever takes time hears of it.
//!
//! A [`Cancel`] is handed down to everything that fetches, writes or reads; each looks at it between
//! two blocks, and whoever waits for the network looks at it ten times a second. Nothing looks at it
//! in the middle of a table write: that is finished. Setting it is all that a signal handler does.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use signal_hook::consts::{SIGINT, SIGTERM};
use snafu::Snafu;

/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(100);

/// Who wants a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: a person.
    Interrupt,
    /// SIGTERM: whoever manages the process.
    Terminate,
}

impl Signal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    /// As the kernel counts.
    pub fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    /// The same for [`Cancel::flag`].
    pub fn flag(self) -> usize {
        usize::try_from(self.number()).unwrap_or(0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The run was told to stop, and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
#[snafu(display("interrupted by {signal}"))]
pub struct Cancelled {
    /// By whom.
    pub signal: Signal,
}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        // Not `Interrupted`: that asks to be tried again.
        Self::other(cancelled)
    }
}

/// Whether to stop. Clones are of the same run.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    /// 0, or the number of a signal.
    signal: Arc<AtomicUsize>,
}

impl Cancel {
    /// Asks the run to stop, as `signal` would.
    pub fn cancel(&self, signal: Signal) {
        self.signal.store(signal.flag(), Ordering::Relaxed);
    }

    /// What a signal handler sets to [`Signal::flag`].
    pub fn flag(&self) -> Arc<AtomicUsize> {
        self.signal.clone()
    }

    /// Goes on.
    ///
    /// # Errors
    /// [`Cancelled`] once the run is to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        let flag = self.signal.load(Ordering::Relaxed);
        match Signal::ALL.into_iter().find(|s| s.flag() == flag) {
            Some(signal) => Err(Cancelled { signal }),
            None => Ok(()),
        }
    }

    /// Ends when the run is to stop, at most a tenth of a second later. Needs tokio's timer.
    pub async fn cancelled(&self) -> Cancelled {
        loop {
            if let Err(cancelled) = self.check() {
                return cancelled;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for `future`, or until the run is to stop. The future is dropped then.
    ///
    /// # Errors
    /// [`Cancelled`] once the run is to stop.
    pub async fn unless<F: Future>(&self, future: F) -> Result<F::Output, Cancelled> {
        match select(pin!(self.cancelled()), pin!(future)).await {
            Either::Left((cancelled, _)) => Err(cancelled),
            Either::Right((done, _)) => Ok(done),
        }
    }

    /// `reader`, until the run is to stop: then its reads fail with [`Cancelled`].
    pub fn guard<R: Read>(&self, reader: R) -> Guarded<'_, R> {
        Guarded {
            reader,
            cancel: self,
        }
    }
}

/// See [`Cancel::guard`].
#[derive(Debug)]
pub struct Guarded<'a, R> {
    reader: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.reader.read(buf)
    }
}

/// The [`Cancelled`] that `error` is, or that it comes from.
pub fn find(error: &(dyn Error + 'static)) -> Option<Cancelled> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(cancelled) = cause.downcast_ref::<Cancelled>() {
            return Some(*cancelled);
        }
        // What an io::Error wraps, it hides from `source`.
        next = match cause.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_read_until_the_run_is_to_stop() {
        let cancel = Cancel::default();
        let mut reader = cancel.guard(&b"abcdef"[..]);
        let mut buf = [0; 2];
        assert_eq!(reader.read(&mut buf).unwrap(), 2);
        cancel.clone().cancel(Signal::Terminate);
        let error = reader.read(&mut buf).unwrap_err();
        assert_eq!(error.to_string(), "interrupted by SIGTERM");
        assert_eq!(reader.reader, b"cdef", "nothing was read after that");
    }

    #[test]
    fn the_cause_is_found_wherever_it_is_wrapped() {
        #[derive(Debug, Snafu)]
        #[snafu(display("fetching"))]
        struct Fetching {
            source: io::Error,
        }
        let signal = Signal::Interrupt;
        let io = || io::Error::from(Cancelled { signal });
        assert_eq!(find(&io()), Some(Cancelled { signal }));
        assert_eq!(find(&Fetching { source: io() }), Some(Cancelled { signal }));
        let twice = io::Error::other(Fetching { source: io() });
        assert_eq!(find(&twice), Some(Cancelled { signal }));
        let other = Fetching {
            source: io::ErrorKind::Interrupted.into(),
        };
        assert_eq!(find(&other), None);
    }
}
