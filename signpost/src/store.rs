//! The one door to a disk's partition sets: which one runs, what the bits say, how they change, and
//! where an update may be written.
//!
//! It refuses to touch the running set. The only thing that can be written through it besides the
//! boot bits is an [`InactivePartition`], and that is given out only for a set that is not running,
//! whose bits are cleared on the medium, in both copies of the table, and that nothing has mounted.

mod error;
mod inactive;
mod kernel;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use snafu::{OptionExt, ResultExt, ensure};

use self::error::{
    DiscoverSnafu, NoSuchSetSnafu, NodeDisagreesSnafu, NotClearedSnafu, NotInOrderSnafu,
    OtherNodeSnafu, OutsideSnafu, PartitionSnafu, ReadOnlySnafu, RefusedSnafu,
};
use self::kernel::{Kernel, named_or_unknown};
use crate::boot_disk::{self, BootDisk, OpenedDisk};
use crate::bootloader::Pick;
use crate::device::{Access, BlockDevice, FileDevice};
use crate::discover::{self, PartitionNode, System};
use crate::gpt::MbrFault;
use crate::layout::Layout;
use crate::slot::{Partition, PartitionKind, Slot};
use crate::state::{BootState, Command, Force, Refusal};
use crate::table::{Damage, Repaired};
use crate::window::Window;

pub use self::error::Error;
pub use self::inactive::InactivePartition;
pub use crate::boot_disk::SpendTry;
pub use crate::discover::{ActiveChoice, DiskChoice, Naming};

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The bits before, as they were on the disk when the command was decided.
    pub before: BootState,
    /// The bits after, as they are on the disk now.
    pub after: BootState,
    /// Whether they are others than before.
    pub changed: bool,
    /// What was wrong with a copy of the table before, and has been put right first.
    pub damage: Option<Damage>,
}

/// A disk's partition sets, with the one that runs known.
#[derive(Debug)]
pub struct SlotStore {
    disk: BootDisk,
    active: Slot,
    access: Access,
    kernel: Option<Kernel>,
}

impl SlotStore {
    /// Opens a disk, reads its table and finds out which set runs. Writes nothing.
    ///
    /// On a block device the kernel is asked which set runs even when one is named, and a name that
    /// contradicts it is refused: what was taken for the inactive set would be the running one.
    ///
    /// # Errors
    /// When the disk cannot be found, opened or read, has no partition sets, or when it is not
    /// known which of them runs.
    pub fn open(disk: &DiskChoice, active: ActiveChoice, access: Access) -> Result<Self, Error> {
        Self::open_on(disk, active, access, System::host)
    }

    fn open_on(
        choice: &DiskChoice,
        active: ActiveChoice,
        access: Access,
        system: impl Fn() -> Result<System, discover::Error>,
    ) -> Result<Self, Error> {
        let OpenedDisk { disk, number } = BootDisk::open_on(choice, access, &system)?;
        let kernel = match number {
            None => None,
            Some(number) => {
                let system = system().with_context(|_| DiscoverSnafu { disk: disk.name() })?;
                Some(Kernel { system, number })
            }
        };
        let active = match &kernel {
            None => named_or_unknown(&disk, active)?,
            Some(kernel) => kernel.active(&disk, active)?,
        };
        Self::checked(disk, active, access, kernel)
    }

    /// The store of a disk that is already open: a disk image, or a disk in memory. Partitions are
    /// windows onto it. Since nobody knows which set runs, one must be named.
    ///
    /// # Errors
    /// When the disk cannot be read, has no partition sets, or no set or an absent one is named.
    pub fn from_device(device: Arc<dyn BlockDevice>, active: ActiveChoice) -> Result<Self, Error> {
        let disk = BootDisk::read(device)?;
        let active = named_or_unknown(&disk, active)?;
        Self::checked(disk, active, Access::ReadWrite, None)
    }

    fn checked(
        disk: BootDisk,
        active: Slot,
        access: Access,
        kernel: Option<Kernel>,
    ) -> Result<Self, Error> {
        ensure!(
            disk.sets().get(active).is_some(),
            NoSuchSetSnafu {
                disk: disk.name(),
                slot: active
            }
        );
        Ok(Self {
            disk,
            active,
            access,
            kernel,
        })
    }

    /// Where the sets are.
    pub const fn layout(&self) -> &Layout {
        self.disk.layout()
    }

    /// The bits as they were last read or written. Another program may have changed them since;
    /// [`run`](Self::run) looks again.
    pub fn state(&self) -> BootState {
        state_of(&self.disk, self.active)
    }

    /// The set that runs.
    pub const fn active(&self) -> Slot {
        self.active
    }

    /// The other one, whether or not the disk has it.
    pub const fn inactive(&self) -> Slot {
        self.active.other()
    }

    /// What to call the disk in a message.
    pub fn disk_name(&self) -> String {
        self.disk.name()
    }

    /// What was wrong with a copy of the table, if the last read found something and no write has
    /// put it right since.
    pub const fn damage(&self) -> Option<&Damage> {
        self.disk.damage()
    }

    /// What is wrong with sector 0, where a protective MBR should be, likewise.
    pub const fn mbr_fault(&self) -> Option<&MbrFault> {
        self.disk.mbr_fault()
    }

    /// What the last command put right before it changed a bit, or was refused, or had nothing to
    /// change.
    pub fn repaired(&self) -> &[Repaired] {
        self.disk.repaired()
    }

    /// Carries out a command: locks the disk, reads the table anew from the medium, puts right what
    /// is not in order, decides, writes, reads back.
    ///
    /// A table that is not in order is repaired also when the command is refused then, or has nothing
    /// to change: it is what the way back depends on. `clear-inactive`, `mark-inactive-valid` and
    /// `upgrade-to-inactive` want the inactive set unused, by
    /// [`check_inactive_unused`](Self::check_inactive_unused), before anything else.
    ///
    /// On success both copies of the table are on the medium with the new bits, also when these were
    /// there before. **After a crash in the middle** the disk has the old bits or the new ones, and
    /// one sound copy of the table that says so.
    ///
    /// # Errors
    /// [`Error::Refused`], and then no bit was changed; else the disk has the old bits or the new
    /// ones, and giving the command again finishes the job.
    pub fn run(&mut self, command: Command, force: &Force) -> Result<Outcome, Error> {
        let active = self.active;
        let concerns_contents = matches!(
            command,
            Command::ClearInactive | Command::MarkInactiveValid | Command::UpgradeToInactive
        );
        if concerns_contents && self.disk.sets().get(self.inactive()).is_some() {
            self.check_inactive_unused()?;
        }
        self.disk.locked(|disk| {
            disk.reread_durable()?;
            let before = state_of(disk, active);
            let damage = disk.damage().cloned();
            let after = match before.apply(command, force) {
                Ok(after) => after,
                Err(refusal) => {
                    disk.settle()?;
                    return RefusedSnafu { refusal }.fail();
                }
            };
            disk.put(after.bits(), after.private())?;
            Ok(Outcome {
                before,
                after,
                changed: before != after,
                damage,
            })
        })
    }

    /// What boots next; see [`BootDisk::select`].
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn select(&mut self, spend: SpendTry) -> Result<Option<Pick>, Error> {
        Ok(self.disk.select(spend)?)
    }

    /// Writes both copies of the table anew; see [`BootDisk::rewrite_table`].
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn rewrite_table(&mut self) -> Result<Option<Damage>, Error> {
        Ok(self.disk.rewrite_table()?)
    }

    /// Makes a damaged copy of the table from the good one; see [`BootDisk::repair`].
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn repair(&mut self) -> Result<Option<Damage>, Error> {
        Ok(self.disk.repair()?)
    }

    /// An error unless each partition of the inactive set could be opened for writing, but for the
    /// bits of the set. For whoever is about to clear it: what is found only afterwards costs the
    /// way back to what the set holds.
    ///
    /// In use is a partition that is mounted, that another device is built on, or that a program has
    /// claimed, as [`open_inactive`](Self::open_inactive) does. A program that opened it without
    /// claiming it is not seen, nor is any use of a disk image or of a partition without a device
    /// node.
    ///
    /// # Errors
    /// When there is no inactive set, when a partition is mounted or otherwise in use, or when the
    /// kernel has it elsewhere than the table.
    pub fn check_inactive_unused(&self) -> Result<(), Error> {
        for kind in PartitionKind::ALL {
            self.inactive_window(kind)?;
        }
        Ok(())
    }

    /// Opens a partition of the inactive set for writing.
    ///
    /// The device is synced and the table read anew from the medium. Both copies must be sound there,
    /// and the set cleared in both: whatever happens to the machine from now on, no loader boots what
    /// is being written. If the kernel has a device node for the partition, that is opened, and as long
    /// as it is open nobody can mount it; else, and always on a disk image, it is a window onto the
    /// disk.
    ///
    /// # Errors
    /// When there is no inactive set, when it is not cleared, when a copy of the table is damaged or
    /// differs, when the partition is mounted or otherwise in use, or when the kernel has the
    /// partition elsewhere than the table.
    pub fn open_inactive(&self, kind: PartitionKind) -> Result<InactivePartition, Error> {
        let slot = self.inactive();
        let now = self.disk.read_synced()?;
        ensure!(
            now.layout() == self.layout(),
            boot_disk::LayoutChangedSnafu {
                disk: self.disk_name()
            }
        );
        if let Some(damage) = now.damage() {
            return NotInOrderSnafu {
                disk: self.disk_name(),
                damage: damage.clone(),
            }
            .fail();
        }
        let bits = now.bits()[slot];
        ensure!(
            bits.is_cleared(),
            NotClearedSnafu {
                disk: self.disk_name(),
                slot,
                bits
            }
        );
        let window = self.inactive_window(kind)?;
        Ok(InactivePartition { slot, kind, window })
    }

    fn inactive_window(&self, kind: PartitionKind) -> Result<Window, Error> {
        let slot = self.inactive();
        ensure!(
            self.access == Access::ReadWrite,
            ReadOnlySnafu {
                disk: self.disk_name()
            }
        );
        let Some(partition) = self.layout().partition(slot, kind) else {
            return RefusedSnafu {
                refusal: Refusal::NoInactiveSet,
            }
            .fail();
        };
        self.open_window(slot, kind, partition, Access::ReadWrite)
    }

    /// Opens a partition of either set for reading.
    ///
    /// # Errors
    /// When the disk does not have that set, or the partition cannot be opened.
    pub fn open_partition(&self, slot: Slot, kind: PartitionKind) -> Result<Window, Error> {
        let partition = self
            .layout()
            .partition(slot, kind)
            .with_context(|| NoSuchSetSnafu {
                disk: self.disk_name(),
                slot,
            })?;
        self.open_window(slot, kind, partition, Access::ReadOnly)
    }

    /// What to call a partition: its device node, or `DISK@OFFSET` where it has none. Nothing when
    /// the disk does not have that set.
    ///
    /// # Errors
    /// When sysfs cannot be read, or has the partition elsewhere than the table.
    pub fn partition_name(&self, slot: Slot, kind: PartitionKind) -> Result<Option<String>, Error> {
        let Some(partition) = self.layout().partition(slot, kind) else {
            return Ok(None);
        };
        let node = self.node_of(partition)?;
        Ok(Some(match node {
            Some(node) => node.path.display().to_string(),
            None => self.window_name(partition),
        }))
    }

    fn window_name(&self, partition: &Partition) -> String {
        format!("{}@{}", self.disk_name(), partition.start)
    }

    fn open_window(
        &self,
        slot: Slot,
        kind: PartitionKind,
        partition: &Partition,
        access: Access,
    ) -> Result<Window, Error> {
        let Some(node) = self.node_of(partition)? else {
            let device = Arc::clone(self.disk.device());
            let name = self.window_name(partition);
            return Window::new(device, partition.start, partition.length, access, name)
                .with_context(|_| OutsideSnafu {
                    kind,
                    slot,
                    disk: self.disk_name(),
                });
        };
        let device = match access {
            Access::ReadOnly => FileDevice::open(&node.path, access),
            Access::ReadWrite => FileDevice::open_exclusive(&node.path, access),
        };
        let device = device.context(PartitionSnafu { kind, slot })?;
        ensure!(
            device.number() == Some(node.number),
            OtherNodeSnafu {
                node: node.path,
                expected: node.number
            }
        );
        let name = device.name();
        Window::new(Arc::new(device), 0, partition.length, access, name).with_context(|_| {
            OutsideSnafu {
                kind,
                slot,
                disk: self.disk_name(),
            }
        })
    }

    /// The device node of a partition, if the kernel has one, and has it where the table does.
    fn node_of(&self, partition: &Partition) -> Result<Option<PartitionNode>, Error> {
        let Some(kernel) = &self.kernel else {
            return Ok(None);
        };
        let disk = || self.disk_name();
        let node = kernel
            .system
            .partition(kernel.number, partition.number)
            .with_context(|_| DiscoverSnafu { disk: disk() })?;
        if let Some(PartitionNode {
            path,
            start,
            length,
            ..
        }) = &node
        {
            ensure!(
                (*start, *length) == (partition.start, partition.length),
                NodeDisagreesSnafu {
                    node: path,
                    start: *start,
                    length: *length,
                    disk: disk(),
                    partition: *partition,
                }
            );
        }
        Ok(node)
    }
}

fn state_of(disk: &BootDisk, active: Slot) -> BootState {
    BootState::new(active, disk.sets(), disk.private())
        .expect("the disk has the active set: checked when opened, and rereading keeps the layout")
}
