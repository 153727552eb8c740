//! A disk that is a vector of bytes.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::{BlockDevice, check_bounds};

/// A disk in memory. What is written is there at once, so that `sync` has nothing to do.
pub struct MemoryDevice {
    bytes: Mutex<Vec<u8>>,
    length: u64,
    block_size: u32,
}

impl MemoryDevice {
    /// A disk with these bytes, which says that its sectors have `block_size` bytes.
    pub fn new(bytes: Vec<u8>, block_size: u32) -> Self {
        let length = u64::try_from(bytes.len()).expect("no memory has more than 2^64 bytes");
        Self {
            bytes: Mutex::new(bytes),
            length,
            block_size,
        }
    }

    /// A copy of all its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    /// Changes its bytes behind the back of whoever uses it. They keep their number.
    pub fn edit(&self, change: impl FnOnce(&mut [u8])) {
        change(&mut self.bytes());
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        // A test that panicked while it held the bytes has failed; others may still look at them.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryDevice({} bytes)", self.length)
    }
}

impl BlockDevice for MemoryDevice {
    fn len(&self) -> u64 {
        self.length
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.bytes()[start..start + buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.bytes()[start..start + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
