//! An image, put together in its partition as planned: kept, copied, fetched, each block hashed before
//! it is written.
//!
//! One thread, the caller's, takes what is fetched and cuts it into frames; others decode, copy, hash
//! and write, a piece of the image each. Memory is bounded: a piece for each thread, and the frames of
//! those, of the few that wait, and of the one that comes.
//!
//! Nothing here makes an image valid. Every block is the one that the map admits, which for a root image
//! means that its leaf begins as the signed one: the caller computes the tree, and reads everything
//! back.

mod feed;
mod worker;

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use signpost::{BlockDevice, InactivePartition};
use snafu::Snafu;
use update_metadata::ImageKind;
use update_metadata::block_map::BlockMap;

use self::feed::Feed;
pub use self::feed::Fetched;
use self::worker::Worker;
use super::frame::FrameError;
use super::judge::{Hash, Judge};
use super::plan::{Plan, Run};
use crate::cancel::Cancelled;
use crate::watch::Watch;

/// Bytes of an image that are put together at once, where frames are not longer.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for a thread.
const WAITING: usize = 2;
/// How many threads work on frames that are longer, which take up to 8 MiB each; none of those waits.
const LONG_FRAME_THREADS: usize = 2;

/// Why an image is not in its partition.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(self)))]
#[allow(missing_docs)] // the message says what each field is
pub enum ApplyError {
    /// What was to be fetched did not come.
    #[snafu(display("fetching the {kind} image, at byte {at} of its file"))]
    Fetch {
        kind: ImageKind,
        at: u64,
        source: io::Error,
    },
    /// A part of the compressed image is not the signed one.
    #[snafu(display(
        "the bytes {start} to {end} of the compressed {kind} image are not what was signed"
    ))]
    OtherFrame {
        kind: ImageKind,
        start: u64,
        end: u64,
    },
    /// A signed part does not decode.
    #[snafu(display("the bytes from {start} on of the compressed {kind} image"))]
    Frame {
        kind: ImageKind,
        start: u64,
        source: FrameError,
    },
    /// A signed part decodes to other blocks than the map says.
    #[snafu(display(
        "the {kind} image decodes to another block at offset {offset} than its block map says"
    ))]
    OtherBlock { kind: ImageKind, offset: u64 },
    /// The device refused a write.
    #[snafu(display("writing the {kind} image to {partition} at offset {offset}"))]
    Write {
        kind: ImageKind,
        partition: String,
        offset: u64,
        source: io::Error,
    },
    /// The run was told to stop.
    #[snafu(display("writing the {kind} image"))]
    Cancelled { kind: ImageKind, source: Cancelled },
}

/// One image, and what it is put together from.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Which.
    pub kind: ImageKind,
    /// Its map.
    pub map: &'a BlockMap,
    /// How its blocks are hashed.
    pub judge: &'a Judge,
    /// Where it goes.
    pub partition: &'a InactivePartition,
    /// The partition of the running set that the plan copies from.
    pub active: Option<&'a dyn BlockDevice>,
}

/// Puts `image` together as `plan` says, on `threads` threads besides the caller's, and puts the hash of
/// every block into `hashes`. What is in its place and has its hash there already is left alone.
///
/// Returns the blocks that were to be copied or kept, and turned out to be others. Everything else is in
/// its place, though not synced.
///
/// # Errors
/// Every [`ApplyError`]; the partition then holds anything, up to its end.
pub fn apply(
    image: Image<'_>,
    plan: &Plan,
    hashes: &mut [Hash],
    fetched: &mut dyn Fetched,
    threads: usize,
    watch: &Watch,
) -> Result<Vec<usize>, ApplyError> {
    let frame = usize::try_from(image.map.parts().frame_length).unwrap_or(PIECE_BYTES);
    let blocks = image
        .map
        .blocks_in_frame()
        .saturating_mul((PIECE_BYTES / frame).max(1));
    // One for each thread, each piece that waits, and the feed; with long frames the feed waits for one that
    // a thread has decoded.
    let (threads, waiting, buffers) = if frame > PIECE_BYTES {
        let threads = threads.clamp(1, LONG_FRAME_THREADS);
        (threads, 0, threads)
    } else {
        let threads = threads.max(1);
        (threads, WAITING, threads + WAITING + 1)
    };
    let (hand_out, pieces) = sync_channel(waiting);
    let (give_back, spare) = channel();
    for _ in 0..buffers {
        // The other end is there.
        let _ = give_back.send(Vec::new());
    }
    let desk = Desk {
        pieces: Mutex::new(pieces),
        give_back,
        lacking: Mutex::default(),
        is_stopped: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        // Their memory comes from here: what a thread asks for itself, malloc keeps apart from that of others.
        let workers: Vec<_> = (0..threads)
            .map(|_| Worker::new(image, blocks))
            .map(|worker| scope.spawn(|| worker.work(&desk)))
            .collect();
        let fed =
            Feed::new(image, plan, fetched, spare).run(blocks, hashes, &hand_out, &desk, watch);
        drop(hand_out);
        // Why a worker stopped is the reason why the rest was not wanted.
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .and(fed)
    })?;
    let mut lacking = lock(&desk.lacking).split_off(0);
    lacking.sort_unstable();
    Ok(lacking)
}

/// What the threads share.
struct Desk<'h> {
    /// What is to be done.
    pieces: Mutex<Receiver<Piece<'h>>>,
    /// Memory that was used for frames goes back to the feed.
    give_back: Sender<Vec<u8>>,
    /// Blocks that were not where they were thought to be.
    lacking: Mutex<Vec<usize>>,
    /// Whether one has failed.
    is_stopped: AtomicBool,
}

/// A part of an image that is put together at once.
struct Piece<'h> {
    /// What is done for it.
    runs: Vec<Run>,
    /// Where the hashes of its blocks go.
    hashes: &'h mut [Hash],
    /// The fetched frames, one behind the other.
    fetched: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
