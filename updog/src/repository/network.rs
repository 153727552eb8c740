//! The runtime that drives the network. The rest of the program is blocking, and waits here.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::cancel::{Cancel, Cancelled};

/// A runtime that nobody waits for when it is dropped: a name that is being looked up, or a file
/// system that is gone, must not hold up a program that is to end.
#[derive(Debug)]
pub(super) struct Network {
    /// There until dropped.
    runtime: Option<Runtime>,
}

impl Network {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("taken only when dropped: see `drop`")
    }

    /// Waits for `future`, or until the run is to stop.
    pub(super) fn block_on<F: Future>(
        &self,
        cancel: &Cancel,
        future: F,
    ) -> Result<F::Output, Cancelled> {
        self.runtime().block_on(cancel.unless(future))
    }

    /// Lets `future` go on by itself.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(future);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::cancel::Signal;

    #[test]
    fn a_look_up_that_hangs_does_not_hold_up_the_end() {
        let network = Network::start().unwrap();
        let (release, hangs) = channel::<()>();
        network.runtime().spawn_blocking(move || hangs.recv());
        let (ended, end) = channel();
        thread::spawn(move || {
            drop(network);
            ended.send(())
        });
        end.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(release);
    }

    #[test]
    fn a_wait_ends_when_the_run_is_to_stop() {
        let network = Network::start().unwrap();
        let cancel = Cancel::default();
        assert_eq!(network.block_on(&cancel, async { 3 }), Ok(3));
        let signal = Signal::Terminate;
        cancel.cancel(signal);
        let never = std::future::pending::<()>();
        assert_eq!(network.block_on(&cancel, never), Err(Cancelled { signal }));
    }
}
