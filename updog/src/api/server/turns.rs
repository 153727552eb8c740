//! How much of a kind is done at once.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::subscriber::NoSubscriber;

use super::answer::Failure;

/// How much of a kind is done at once.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Does what may wait for a disk or a network, beside everything else.
    ///
    /// The turn ends when the work does, and not when nobody waits for it any more: whoever asks and
    /// hangs up, again and again, would have more of it under way than there are threads and files.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // It is never closed.
        let turn = self.0.clone().acquire_owned().await.ok();
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Failure::internal(&error))
    }

    /// The same for what only looks, and may be asked for twice a second: what is wrong is in the
    /// answer, and a command says it to the log.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let silent = NoSubscriber::default();
        self.blocking(move || tracing::subscriber::with_default(silent, work))
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_hangs_up_gives_no_turn_away_before_the_work_is_over() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        runtime.block_on(async {
            let turns = Turns::new(1);
            let (go_on, told) = channel::<()>();
            // It has begun, and nobody waits for it any more.
            let work = turns.blocking(move || told.recv().unwrap());
            assert!(work.now_or_never().is_none());
            assert!(turns.blocking(|| ()).now_or_never().is_none());
            go_on.send(()).unwrap();
            turns.blocking(|| ()).await.unwrap();
        });
    }
}
