//! Memory that a disk is read into and written from directly.

use std::ops::{Deref, DerefMut};

use signpost::DIRECT_ALIGNMENT;

/// So many bytes at an address that suits [`BlockDevice::write_direct_at`](signpost::BlockDevice) and
/// `read_back_at`. Made once and used again: the system gives new memory page by page.
#[derive(Debug)]
pub struct AlignedBuffer {
    store: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zeros.
    pub fn new(length: usize) -> Self {
        let store = vec![0; length.saturating_add(DIRECT_ALIGNMENT)];
        let start = store.as_ptr().align_offset(DIRECT_ALIGNMENT);
        Self {
            // Where there is no such address, any does: reads and writes are slower then.
            start: start.min(DIRECT_ALIGNMENT),
            length,
            store,
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.store[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.store[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page_and_has_its_length() {
        for length in [0, 1, 4096, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().align_offset(DIRECT_ALIGNMENT), 0);
            buffer.fill(7);
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
    }
}
