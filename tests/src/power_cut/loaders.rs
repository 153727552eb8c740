//! The loader models, on an [`Overlay`].

use signpost::Slot;
use signpost::loader::{LoaderRun, ReadSectors, Step, Unreadable, grub_boot, strict_boot};
use signpost::testing::Operation;

use super::Loader;
use super::overlay::Overlay;

/// GRUB's `gptprio`, which repairs.
pub(super) struct Grub(pub(super) usize);
/// A loader that repairs nothing and boots from no table that it doubts.
pub(super) struct Strict(pub(super) usize);

impl Loader for Grub {
    fn name(&self) -> &'static str {
        "GRUB"
    }

    fn repairs(&self) -> bool {
        true
    }

    fn boot(&self, disk: &Overlay) -> (Vec<Operation>, Option<Slot>) {
        operations(grub_boot(&Sectors { disk, size: self.0 }), self.0)
    }
}

impl Loader for Strict {
    fn name(&self) -> &'static str {
        "the strict loader"
    }

    fn repairs(&self) -> bool {
        false
    }

    fn boot(&self, disk: &Overlay) -> (Vec<Operation>, Option<Slot>) {
        operations(strict_boot(&Sectors { disk, size: self.0 }), self.0)
    }
}

fn operations(run: LoaderRun, sector: usize) -> (Vec<Operation>, Option<Slot>) {
    let sector = u64::try_from(sector).expect("512 or 4096");
    let operation = |step| match step {
        Step::Write { lba, bytes } => Operation::Write {
            offset: lba * sector,
            bytes,
        },
        Step::Sync => Operation::Sync,
    };
    (run.steps.into_iter().map(operation).collect(), run.pick)
}

/// An [`Overlay`] as a loader reads it.
struct Sectors<'a> {
    disk: &'a Overlay,
    size: usize,
}

impl ReadSectors for Sectors<'_> {
    fn sector_size(&self) -> usize {
        self.size
    }

    fn sectors(&self) -> u64 {
        self.disk.len() / u64::try_from(self.size).expect("512 or 4096")
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), Unreadable> {
        let size = u64::try_from(self.size).expect("512 or 4096");
        let offset = lba.checked_mul(size).ok_or(Unreadable)?;
        self.disk.read(offset, buf).map_err(|_| Unreadable)
    }
}
