//! A device as it is on the medium, whatever the system has in memory.

use std::io;

use crate::device::BlockDevice;

/// Reads past the system's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Medium<'a>(pub(super) &'a dyn BlockDevice);

impl BlockDevice for Medium<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_back_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_back_at(offset, buf)
    }

    fn name(&self) -> String {
        self.0.name()
    }
}
