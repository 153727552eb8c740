//! A disk in memory that knows what was written to it, and takes it back.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use signpost::{BlockDevice, device};

/// A disk whose writes can be undone, which costs as much as they did and not a copy of the disk.
pub struct Journal {
    state: Mutex<State>,
    length: u64,
}

struct State {
    bytes: Vec<u8>,
    block_size: u32,
    /// Of each write where it was and what was there before.
    undo: Vec<(usize, Vec<u8>)>,
}

impl Journal {
    /// A disk with these bytes, which says that its sectors have `block_size` bytes.
    pub fn new(bytes: Vec<u8>, block_size: u32) -> Self {
        Self {
            length: u64::try_from(bytes.len()).expect("memory has fewer than 2^64 bytes"),
            state: Mutex::new(State {
                bytes,
                block_size,
                undo: Vec::new(),
            }),
        }
    }

    /// What the disk says about its sectors from now on.
    pub fn set_block_size(&self, block_size: u32) {
        self.state().block_size = block_size;
    }

    /// How many writes there were that have not been taken back.
    pub fn writes(&self) -> usize {
        self.state().undo.len()
    }

    /// Where the writes since there were `writes` of them went.
    pub fn written_since(&self, writes: usize) -> Vec<Range<usize>> {
        let state = self.state();
        let since = state.undo.iter().skip(writes);
        since
            .map(|(at, old)| *at..at.saturating_add(old.len()))
            .collect()
    }

    /// Takes back what was written since there were `writes` writes, the last one first.
    pub fn undo_to(&self, writes: usize) {
        let state = &mut *self.state();
        while state.undo.len() > writes {
            if let Some((at, old)) = state.undo.pop() {
                state.bytes[at..at + old.len()].copy_from_slice(&old);
            }
        }
    }

    /// Shows the bytes.
    pub fn look<T>(&self, at: impl FnOnce(&[u8]) -> T) -> T {
        at(&self.state().bytes)
    }

    /// Changes bytes that lie on the disk; others are left alone. Counts as a write.
    pub fn put(&self, at: usize, new: &[u8]) {
        let state = &mut *self.state();
        let end = at.checked_add(new.len());
        if let Some(place) = end.and_then(|end| state.bytes.get_mut(at..end)) {
            state.undo.push((at, place.to_vec()));
            place.copy_from_slice(new);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({} bytes)", self.length)
    }
}

impl BlockDevice for Journal {
    fn len(&self) -> u64 {
        self.length
    }

    fn block_size(&self) -> u32 {
        self.state().block_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        device::check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.state().bytes[start..start + buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        device::check_bounds(self.length, offset, buf.len())?;
        self.put(usize::try_from(offset).map_err(io::Error::other)?, buf);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }

    fn name(&self) -> String {
        "fuzzed".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_writes_are_taken_back_in_the_right_order() {
        let disk = Journal::new(vec![0; 16], 512);
        disk.put(2, &[1; 4]);
        let mark = disk.writes();
        disk.put(4, &[2; 4]);
        disk.write_at(3, &[3; 2]).unwrap();
        assert_eq!(disk.written_since(mark), [4..8, 3..5]);
        disk.undo_to(mark);
        disk.look(|bytes| assert_eq!(bytes[..8], [0, 0, 1, 1, 1, 1, 0, 0]));
        disk.put(15, &[9; 2]);
        assert_eq!(disk.writes(), mark, "what does not fit is not written");
        disk.undo_to(0);
        disk.look(|bytes| assert_eq!(bytes, [0; 16]));
    }
}
