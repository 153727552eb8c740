//! A disk behind a cache that can lose what it holds, as a kernel's does.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::{BlockDevice, check_bounds};

/// The unit in which the cache knows what is dirty.
const UNIT: usize = 512;

/// A disk in memory of two layers: what is written goes into the cache, and with a sync onto the
/// medium.
///
/// A sync can be made to fail as it does on Linux: the error is reported once, and the bytes stay in
/// the cache as if they had been written. And the program can be made to die between two operations.
/// [`read_at`](BlockDevice::read_at) sees the cache, [`read_back_at`](BlockDevice::read_back_at) the
/// medium.
pub struct CachedDevice {
    state: Mutex<State>,
    length: u64,
    block_size: u32,
}

struct State {
    cache: Vec<u8>,
    medium: Vec<u8>,
    dirty: BTreeSet<usize>,
    syncs_before_failure: Option<u32>,
    operations_before_death: Option<u32>,
}

impl CachedDevice {
    /// A disk with these bytes in both layers, which says that its sectors have `block_size` bytes.
    pub fn new(bytes: Vec<u8>, block_size: u32) -> Self {
        let length = u64::try_from(bytes.len()).expect("no memory has more than 2^64 bytes");
        let state = State {
            cache: bytes.clone(),
            medium: bytes,
            dirty: BTreeSet::new(),
            syncs_before_failure: None,
            operations_before_death: None,
        };
        Self {
            state: Mutex::new(state),
            length,
            block_size,
        }
    }

    /// Lets one sync fail, after so many good ones.
    pub fn fail_sync_after(&self, good: u32) {
        self.state().syncs_before_failure = Some(good);
    }

    /// Lets every write and sync fail and do nothing, after so many good ones: the program that gave
    /// them has died.
    pub fn die_after(&self, good: u32) {
        self.state().operations_before_death = Some(good);
    }

    /// Another program takes over: what was in the cache still is, and nothing fails any more.
    pub fn revive(&self) {
        let state = &mut *self.state();
        state.operations_before_death = None;
        state.syncs_before_failure = None;
    }

    /// The power goes and comes back: only what is on the medium is left. Nothing fails any more.
    pub fn cut_power(&self) {
        self.revive();
        let state = &mut *self.state();
        state.cache.clone_from(&state.medium);
        state.dirty.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the bytes has failed; others may still look at them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live(&mut self) -> io::Result<()> {
        match &mut self.operations_before_death {
            Some(0) => Err(io::Error::other("the program has died")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CachedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedDevice({} bytes)", self.length)
    }
}

impl BlockDevice for CachedDevice {
    fn len(&self) -> u64 {
        self.length
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.state().cache[start..start + buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let state = &mut *self.state();
        state.live()?;
        let end = start + buf.len();
        state.cache[start..end].copy_from_slice(buf);
        state.dirty.extend(start / UNIT..end.div_ceil(UNIT));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.state();
        state.live()?;
        let dirty = std::mem::take(&mut state.dirty);
        match state.syncs_before_failure.take() {
            Some(0) => return Err(io::Error::other("input/output error")),
            left => state.syncs_before_failure = left.map(|left| left - 1),
        }
        for unit in dirty {
            let start = unit * UNIT;
            let end = (start + UNIT).min(state.cache.len());
            state.medium[start..end].copy_from_slice(&state.cache[start..end]);
        }
        Ok(())
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.state().medium[start..start + buf.len()]);
        Ok(())
    }

    fn name(&self) -> String {
        "cached".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(device: &CachedDevice) -> [u8; 2] {
        let mut bytes = [0; 2];
        let (cache, medium) = bytes.split_at_mut(1);
        device.read_at(600, cache).unwrap();
        device.read_back_at(600, medium).unwrap();
        bytes
    }

    #[test]
    fn a_sync_that_fails_is_reported_once_and_what_it_lost_stays_in_the_cache() {
        let device = CachedDevice::new(vec![0; 2048], 512);
        device.write_at(600, &[1]).unwrap();
        assert_eq!(both(&device), [1, 0]);
        device.fail_sync_after(0);
        device.sync().unwrap_err();
        device.sync().unwrap();
        assert_eq!(both(&device), [1, 0]);
        device.write_at(600, &[2]).unwrap();
        device.sync().unwrap();
        assert_eq!(both(&device), [2, 2]);
    }

    #[test]
    fn a_dead_program_writes_nothing_and_the_next_one_sees_its_writes_until_the_power_goes() {
        let device = CachedDevice::new(vec![0; 2048], 512);
        device.die_after(1);
        device.write_at(600, &[1]).unwrap();
        device.write_at(600, &[2]).unwrap_err();
        device.sync().unwrap_err();
        device.revive();
        assert_eq!(both(&device), [1, 0]);
        device.cut_power();
        assert_eq!(both(&device), [0, 0]);
    }
}
