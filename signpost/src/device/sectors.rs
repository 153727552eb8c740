//! A device as a boot loader has it: whole sectors.

use std::fmt;

use super::BlockDevice;
use crate::gpt::{ReadSectors, Unreadable};

/// Shows a device to a loader model.
#[derive(Clone, Copy)]
pub struct DeviceSectors<'a> {
    device: &'a dyn BlockDevice,
    sector_size: usize,
}

impl<'a> DeviceSectors<'a> {
    /// `device` in sectors of this many bytes. What does not fill a sector at its end is not seen.
    pub fn new(device: &'a dyn BlockDevice, sector_size: usize) -> Self {
        Self {
            device,
            sector_size,
        }
    }

    fn bytes_of_sector(&self) -> Option<u64> {
        u64::try_from(self.sector_size).ok()
    }
}

impl fmt::Debug for DeviceSectors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in sectors of {}",
            self.device.name(),
            self.sector_size
        )
    }
}

impl ReadSectors for DeviceSectors<'_> {
    fn sector_size(&self) -> usize {
        self.sector_size
    }

    fn sectors(&self) -> u64 {
        let sectors = |bytes| self.device.len().checked_div(bytes);
        self.bytes_of_sector().and_then(sectors).unwrap_or(0)
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), Unreadable> {
        let offset = self
            .bytes_of_sector()
            .and_then(|bytes| lba.checked_mul(bytes))
            .ok_or(Unreadable)?;
        self.device
            .read_at(offset, buf)
            .map_err(|_reason| Unreadable)
    }
}
