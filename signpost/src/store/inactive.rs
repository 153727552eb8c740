//! What can be written to.

use std::io;

use crate::device::BlockDevice;
use crate::slot::{PartitionKind, Slot};
use crate::window::Window;

/// A partition of the set that does not run: the only part of a disk that can be written.
#[derive(Debug)]
pub struct InactivePartition {
    pub(super) slot: Slot,
    pub(super) kind: PartitionKind,
    pub(super) window: Window,
}

impl InactivePartition {
    /// The set it belongs to, which is not the running one.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// What it is for.
    pub const fn kind(&self) -> PartitionKind {
        self.kind
    }
}

impl BlockDevice for InactivePartition {
    fn len(&self) -> u64 {
        self.window.len()
    }

    fn block_size(&self) -> u32 {
        self.window.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.window.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.window.write_at(offset, buf)
    }

    fn write_direct_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.window.write_direct_at(offset, buf)
    }

    fn zero_at(&self, offset: u64, length: usize) -> io::Result<bool> {
        self.window.zero_at(offset, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.window.sync()
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.window.read_back_at(offset, buf)
    }

    fn name(&self) -> String {
        self.window.name()
    }
}
