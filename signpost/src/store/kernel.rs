//! Which set of a disk runs, by the kernel's word and the caller's.

use snafu::ResultExt;

use super::error::{ActiveContradictedSnafu, ActiveUnknownSnafu, DiscoverSnafu, Error};
use crate::boot_disk::BootDisk;
use crate::device::DeviceNumber;
use crate::discover::{ActiveChoice, System};
use crate::slot::Slot;

/// What the kernel calls the disk, and where it says so.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) system: System,
    pub(super) number: DeviceNumber,
}

impl Kernel {
    /// The running set of a disk that the kernel knows.
    pub(super) fn active(&self, disk: &BootDisk, choice: ActiveChoice) -> Result<Slot, Error> {
        let here = self.system.running().and_then(|running| {
            let is_here = running.disk.number == self.number;
            is_here
                .then(|| running.slot(disk.layout(), &disk.entries()))
                .transpose()
        });
        match (here, choice) {
            (Ok(Some(running)), ActiveChoice::Set(named)) if named != running => {
                ActiveContradictedSnafu {
                    disk: disk.name(),
                    named,
                    running,
                }
                .fail()
            }
            (Ok(Some(running)), _) => Ok(running),
            // Another disk than the system's, or one about which the kernel has nothing to say.
            (Ok(None), choice) => named_or_unknown(disk, choice),
            // Naming the set is what is advised when sysfs does not tell; there is nothing in its
            // answer to contradict the name.
            (Err(error), ActiveChoice::Set(named)) if error.can_be_named() => Ok(named),
            (Err(error), _) => Err(error).with_context(|_| DiscoverSnafu { disk: disk.name() }),
        }
    }
}

pub(super) fn named_or_unknown(disk: &BootDisk, choice: ActiveChoice) -> Result<Slot, Error> {
    match choice {
        ActiveChoice::Set(slot) => Ok(slot),
        ActiveChoice::Auto => ActiveUnknownSnafu { disk: disk.name() }.fail(),
    }
}
