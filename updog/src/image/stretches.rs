//! An image by stretches of 256 KiB or so, on several threads.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::buffer::AlignedBuffer;

/// Bytes of a stretch.
const STRETCH_BYTES: usize = 256 << 10;

/// Blocks of a stretch.
pub(super) fn blocks_in_stretch(block: usize) -> usize {
    (STRETCH_BYTES / block).max(1)
}

/// Hands stretches of `items`, of which there is one for each block of so many bytes, to `work`, with
/// the number of their first block and memory for their blocks; on `threads` threads, in about this
/// order.
///
/// # Errors
/// The first that `work` returned, by the threads' order. Others may have gone on a little.
pub(super) fn in_stretches<T: Send, E: Send>(
    items: &mut [T],
    block: usize,
    threads: usize,
    work: impl Fn(usize, &mut [T], &mut [u8]) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let per_stretch = blocks_in_stretch(block);
    let stretches = Mutex::new(items.chunks_mut(per_stretch).enumerate());
    let worker = |mut buffer: AlignedBuffer| {
        loop {
            let next = stretches
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next();
            let Some((stretch, items)) = next else {
                return Ok(());
            };
            let length = items.len().saturating_mul(block);
            work(
                stretch.saturating_mul(per_stretch),
                items,
                &mut buffer[..length],
            )?;
        }
    };
    // What a thread asks for itself, malloc keeps apart from that of others.
    let buffers =
        (0..threads.max(1)).map(|_| AlignedBuffer::new(per_stretch.saturating_mul(block)));
    thread::scope(|scope| {
        let workers: Vec<_> = buffers
            .map(|buffer| scope.spawn(|| worker(buffer)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_worked_on_once_with_memory_for_it() {
        for (count, threads) in [(0, 2), (1, 0), (255, 1), (256, 2), (1000, 3)] {
            let mut items = vec![0; count];
            in_stretches(&mut items, 4096, threads, |first, items, buffer| {
                assert_eq!(buffer.len(), items.len() * 4096);
                for (number, item) in (first..).zip(items) {
                    *item += number + 1;
                }
                Ok::<_, ()>(())
            })
            .unwrap();
            let expected: Vec<usize> = (1..=count).collect();
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn a_failure_ends_it() {
        let ended = in_stretches(&mut [(); 5000], 4096, 2, |first, _, _| {
            if first == 512 { Err(first) } else { Ok(()) }
        });
        assert_eq!(ended, Err(512));
    }
}
