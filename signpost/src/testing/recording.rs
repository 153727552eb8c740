//! A disk that remembers in which order it was written.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::BlockDevice;

/// Something done to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// Which.
        bytes: Vec<u8>,
    },
    /// Everything before was made durable.
    Sync,
}

/// Passes everything on to another device and keeps a list of the writes and syncs.
#[derive(Debug)]
pub struct RecordingDevice {
    device: Arc<dyn BlockDevice>,
    operations: Mutex<Vec<Operation>>,
}

impl RecordingDevice {
    /// Watches `device`.
    pub fn new(device: Arc<dyn BlockDevice>) -> Self {
        Self {
            device,
            operations: Mutex::default(),
        }
    }

    /// The operations since the last call, in their order.
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(
            &mut self
                .operations
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn record(&self, operation: Operation) {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(operation);
    }
}

impl BlockDevice for RecordingDevice {
    fn len(&self) -> u64 {
        self.device.len()
    }

    fn block_size(&self) -> u32 {
        self.device.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.record(Operation::Write {
            offset,
            bytes: buf.to_vec(),
        });
        self.device.write_at(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        self.record(Operation::Sync);
        self.device.sync()
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_back_at(offset, buf)
    }

    fn name(&self) -> String {
        self.device.name()
    }
}
