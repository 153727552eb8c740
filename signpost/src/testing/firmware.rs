//! Carries out what a loader model says.

use std::io;

use crate::device::BlockDevice;
use crate::loader::Step;

/// Does these steps to a disk with sectors of `sector_size` bytes.
///
/// # Errors
/// When the device fails, or a step leaves it.
pub fn carry_out(device: &dyn BlockDevice, sector_size: usize, steps: &[Step]) -> io::Result<()> {
    let sector_size = u64::try_from(sector_size).map_err(io::Error::other)?;
    for step in steps {
        match step {
            Step::Write { lba, bytes } => {
                let offset = lba
                    .checked_mul(sector_size)
                    .ok_or(io::ErrorKind::InvalidInput)?;
                device.write_at(offset, bytes)?;
            }
            Step::Sync => device.sync()?,
        }
    }
    Ok(())
}
