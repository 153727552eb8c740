//! A disk with partition sets: its table and what the table means, without saying which set runs.
//!
//! Reading is free. A change locks the disk, reads the table anew, decides on what it read and
//! writes, so that it never acts on a table that somebody else has changed in the meantime.

use std::io;
use std::sync::Arc;

use snafu::{ResultExt, Snafu, ensure};

use crate::attributes::{BootAttributes, PrivateAttributes};
use crate::bootloader::{self, Pick};
use crate::device::{self, Access, BlockDevice, FileDevice};
use crate::discover::{self, DiskChoice, Naming, System};
use crate::gpt::MbrFault;
use crate::layout::{self, Entry, Layout};
use crate::slot::{PerSlot, Sets, Slot};
use crate::table::{self, Damage, Repaired, Table};

/// Why a disk with partition sets could not be read or changed.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The disk that the system booted from could not be found.
    #[snafu(display("finding the disk that this system booted from"))]
    Discover {
        /// Why.
        source: discover::Error,
    },
    /// The disk could not be opened.
    #[snafu(transparent)]
    Open {
        /// Why.
        source: device::Error,
    },
    /// The device node that sysfs names is another device.
    #[snafu(display("{disk} is not the device {expected} that this system booted from"))]
    OtherDevice {
        /// The path.
        disk: String,
        /// The number that it should have.
        expected: device::DeviceNumber,
    },
    /// The partition table could not be read or written.
    #[snafu(transparent)]
    Table {
        /// Why.
        source: table::Error,
    },
    /// The partitions do not make up sets.
    #[snafu(display("finding the partition sets of {disk}"))]
    Layout {
        /// The disk.
        disk: String,
        /// Why.
        source: layout::Error,
    },
    /// The partitions are not those that were there when the disk was opened.
    #[snafu(display("the partitions of {disk} have been changed by another program"))]
    LayoutChanged {
        /// The disk.
        disk: String,
    },
    /// The lock could not be taken.
    #[snafu(display("locking {disk}"))]
    Lock {
        /// The disk.
        disk: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The lock could not be given back. What was to be written is written.
    #[snafu(display("unlocking {disk}"))]
    Unlock {
        /// The disk.
        disk: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Discover { source } => Some(source.advice()),
            Self::Open { source } => source.advice(),
            Self::Table { source } => source.advice(),
            Self::OtherDevice { .. } => Some("name the disk with `--disk PATH`"),
            Self::Layout { .. } => Some(
                "nothing was written; is this the right disk? `sgdisk -p` shows its partitions",
            ),
            Self::LayoutChanged { .. } => Some("nothing was written; run the command again"),
            Self::Lock { .. } => Some("nothing was written; wait for the other program to end"),
            Self::Unlock { .. } => None,
        }
    }

    /// As [`crate::store::Error::naming`].
    pub(crate) const fn naming(&self) -> Option<Naming> {
        match self {
            Self::Discover { source } => source.naming(),
            Self::OtherDevice { .. }
            | Self::Open {
                source: device::Error::NotADisk { .. },
            }
            | Self::Table {
                source: table::Error::NoTable { .. },
            } => Some(Naming::Disk),
            _ => None,
        }
    }

    /// Whether nothing was written because another program held the lock, or because the table is
    /// such that writing it could cost the disk.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Lock { source, .. } => source.kind() == io::ErrorKind::TimedOut,
            Self::Table { source } => matches!(source, table::Error::BackupNotAtEnd { .. }),
            _ => false,
        }
    }
}

/// Whether looking what boots next also takes a try off, as the boot loader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendTry {
    /// It does: this is the boot.
    Yes,
    /// It only looks.
    No,
}

/// A disk, its partition sets and their bits as they were last read.
#[derive(Debug)]
pub struct BootDisk {
    device: Arc<dyn BlockDevice>,
    layout: Layout,
    sets: Sets<BootAttributes>,
    private: PrivateAttributes,
    table: Table,
}

/// A disk that was opened by its path, and what the kernel calls it.
#[derive(Debug)]
pub(crate) struct OpenedDisk {
    pub(crate) disk: BootDisk,
    pub(crate) number: Option<device::DeviceNumber>,
}

impl BootDisk {
    /// Opens a disk and reads its table. Writes nothing.
    ///
    /// # Errors
    /// When the disk cannot be found, opened or read, or has no partition sets.
    pub fn open(choice: &DiskChoice, access: Access) -> Result<Self, Error> {
        Self::open_on(choice, access, System::host).map(|opened| opened.disk)
    }

    pub(crate) fn open_on(
        choice: &DiskChoice,
        access: Access,
        system: impl FnOnce() -> Result<System, discover::Error>,
    ) -> Result<OpenedDisk, Error> {
        let device = match choice {
            DiskChoice::Path(path) => FileDevice::open(path, access)?,
            DiskChoice::Auto => {
                let running = system().and_then(|system| system.running());
                let node = running.context(DiscoverSnafu)?.disk;
                let device = FileDevice::open(&node.path, access)?;
                ensure!(
                    device.number() == Some(node.number),
                    OtherDeviceSnafu {
                        disk: device.name(),
                        expected: node.number
                    }
                );
                device
            }
        };
        let number = device.number();
        Ok(OpenedDisk {
            disk: Self::read(Arc::new(device))?,
            number,
        })
    }

    /// Reads the table of a disk that is already open. Writes nothing.
    ///
    /// # Errors
    /// When the table cannot be read, or has no partition sets.
    pub fn read(device: Arc<dyn BlockDevice>) -> Result<Self, Error> {
        let table = Table::read(&*device)?;
        Self::of(device, table)
    }

    /// Like [`read`](Self::read), but what it gives is on the medium, whatever the system has in
    /// memory; see [`Table::read_durable`].
    ///
    /// # Errors
    /// As for [`read`](Self::read), and when the device cannot be synced.
    pub(crate) fn read_durable(device: Arc<dyn BlockDevice>) -> Result<Self, Error> {
        let table = Table::read_durable(&*device)?;
        Self::of(device, table)
    }

    /// The same disk as it is on the medium after a sync.
    pub(crate) fn read_synced(&self) -> Result<Self, Error> {
        let device = Arc::clone(&self.device);
        let table = Table::read_synced(&*device)?;
        Self::of(device, table)
    }

    fn of(device: Arc<dyn BlockDevice>, table: Table) -> Result<Self, Error> {
        let entries = table.entries();
        let disk = || device.name();
        let layout = Layout::from_entries(&entries)
            .and_then(|layout| {
                layout.check_identifiers()?;
                if let Some(usable) = table.usable() {
                    layout.check_places(usable, &table.extents())?;
                }
                Ok(layout)
            })
            .with_context(|_| LayoutSnafu { disk: disk() })?;
        // The layout was made of this very table, so that each partition has an entry in it.
        let bits = |number| table.attributes(number).unwrap_or_default();
        let sets = layout
            .sets
            .map(|set| BootAttributes::from_bits(bits(set.boot.number)));
        let private = PrivateAttributes::from_bits(bits(layout.private.number));
        Ok(Self {
            device,
            layout,
            sets,
            private,
            table,
        })
    }

    /// What to call the disk in a message.
    pub fn name(&self) -> String {
        self.device.name()
    }

    /// The device itself, for reading. Only [`open_inactive`] gives out places to write to.
    ///
    /// [`open_inactive`]: crate::store::SlotStore::open_inactive
    pub(crate) const fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// Where the sets are.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The used entries of the table, those of no set too.
    pub fn entries(&self) -> Vec<Entry> {
        self.table.entries()
    }

    /// The bits of each set that the disk has.
    pub const fn sets(&self) -> Sets<BootAttributes> {
        self.sets
    }

    /// The bits as a boot loader sees them: all 0 for a set that the disk does not have.
    pub fn bits(&self) -> PerSlot<BootAttributes> {
        let bits = |slot| self.sets.get(slot).copied().unwrap_or_default();
        PerSlot {
            a: bits(Slot::A),
            b: bits(Slot::B),
        }
    }

    /// The bits of the private partition.
    pub const fn private(&self) -> PrivateAttributes {
        self.private
    }

    /// What was wrong with a copy of the table, if the last read found something and no write has
    /// put it right since.
    pub const fn damage(&self) -> Option<&Damage> {
        self.table.damage()
    }

    /// What is wrong with sector 0, where a protective MBR should be, likewise.
    pub const fn mbr_fault(&self) -> Option<&MbrFault> {
        self.table.mbr_fault()
    }

    /// What the last change, or the last attempt at one, put right before anything else: also when
    /// it was refused then, or had nothing to change.
    pub fn repaired(&self) -> &[Repaired] {
        self.table.repaired()
    }

    /// What boots next: GRUB's pick, else the last resort. Reads the table anew.
    ///
    /// With [`SpendTry::Yes`] the try is off the disk, and synced, when this returns; and what was
    /// not in order is put right, also when there is no try to take off. After a crash in the middle
    /// it is either spent or not.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn select(&mut self, spend: SpendTry) -> Result<Option<Pick>, Error> {
        match spend {
            SpendTry::No => {
                self.reread()?;
                Ok(bootloader::select(&self.bits()))
            }
            SpendTry::Yes => self.locked(|disk| {
                disk.reread_durable()?;
                let pick = bootloader::select(&disk.bits());
                let mut bits = disk.bits();
                if let Some(Pick { slot, after, .. }) = pick {
                    bits[slot] = after;
                }
                disk.put(bits, disk.private)?;
                Ok(pick)
            }),
        }
    }

    /// Reads the table anew and writes every sector of both copies. What it says stays the same;
    /// what was not in order is put right first, and a damaged copy is returned.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn rewrite_table(&mut self) -> Result<Option<Damage>, Error> {
        self.locked(|disk| {
            disk.reread_durable()?;
            let damage = disk.damage().cloned();
            disk.table.rewrite(&*disk.device)?;
            Ok(damage)
        })
    }

    /// Reads the table anew and makes a copy that is damaged, or differs, from the one that counts.
    /// Moves a backup that is not at the end of the disk there, and writes a protective MBR where
    /// there is no MBR. What was wrong with a copy is returned, and all that was done is in
    /// [`repaired`](Self::repaired); when all is in order, nothing is written.
    ///
    /// After a crash in the middle the table says what it said before, and repairing it again
    /// finishes the job.
    ///
    /// # Errors
    /// When the table cannot be read or written, above all when both copies are damaged.
    pub fn repair(&mut self) -> Result<Option<Damage>, Error> {
        self.locked(|disk| {
            disk.reread_durable()?;
            let damage = disk.damage().cloned();
            disk.table.repair(&*disk.device)?;
            Ok(damage)
        })
    }

    /// Does `work` while no other program that asks changes the table.
    pub(crate) fn locked<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.device
            .lock()
            .with_context(|_| LockSnafu { disk: self.name() })?;
        let done = work(self);
        let unlocked = self
            .device
            .unlock()
            .with_context(|_| UnlockSnafu { disk: self.name() });
        let done = done?;
        unlocked?;
        Ok(done)
    }

    /// Reads the table anew. The partitions must still be those that were opened: somebody may hold
    /// a window onto one of them.
    fn reread(&mut self) -> Result<(), Error> {
        self.replace(Self::read(Arc::clone(&self.device))?)
    }

    /// The same, from the medium.
    pub(crate) fn reread_durable(&mut self) -> Result<(), Error> {
        self.replace(Self::read_durable(Arc::clone(&self.device))?)
    }

    fn replace(&mut self, found: Self) -> Result<(), Error> {
        ensure!(
            found.layout == self.layout,
            LayoutChangedSnafu { disk: self.name() }
        );
        *self = found;
        Ok(())
    }

    /// Puts right what is not in order, and changes no bit.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.table.settle(&*self.device)?;
        Ok(())
    }

    /// Writes the bits of each set that the disk has, and of the private partition.
    pub(crate) fn put(
        &mut self,
        bits: PerSlot<BootAttributes>,
        private: PrivateAttributes,
    ) -> Result<(), Error> {
        for (slot, set) in self.layout.sets.iter() {
            self.table
                .set_attributes(set.boot.number, bits[slot].bits())?;
        }
        self.table
            .set_attributes(self.layout.private.number, private.bits())?;
        self.table.write(&*self.device)?;
        self.sets = match self.sets {
            Sets::Single(_) => Sets::Single(bits.a),
            Sets::Dual(_) => Sets::Dual(bits),
        };
        self.private = private;
        Ok(())
    }
}
