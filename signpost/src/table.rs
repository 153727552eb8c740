//! A disk's GUID partition table, and the order in which its sectors are written.
//!
//! A table exists twice, at the start and at the end of the disk. Either copy is enough to boot
//! from, so as long as only one of them is being written there is always a sound one. That is the
//! whole of the safety here, and this is the order that keeps it:
//!
//! 1. what is not in order is put right, see below;
//! 2. the changed sectors of the backup;
//! 3. the changed sectors of the primary.
//!
//! Each copy is: the header, sync, read back; the entries, sync, read back.
//!
//! **After a crash** in step 1 the table is as it was. In step 2 it is as it was: the primary counts.
//! In step 3 it is either as it was or as it was to be: if the primary is whole it counts, and it
//! is whole only with all its sectors old or all new, else the backup counts, and that is new.
//! GRUB repairs such a table before it boots, and so does [`Table::write`] next time, also when its
//! bits are there already: what a crash leaves behind is damage of one copy.
//!
//! **Why the header first, and durable before the entries.** GRUB holds the backup against the
//! primary header even when the primary entries are torn, and will not have a backup that says
//! otherwise. New entries under the old header would leave it nothing; the new header over old
//! entries agrees with the backup. See [`loader`](crate::loader).
//!
//! **What is put right first**, with or without a change, in this order:
//!
//! * *A damaged copy, or one that differs*, is made from the one that counts.
//! * *A backup that is not in the last sector*, as on a disk larger than its image. Loaders find it
//!   only by the primary header, so that a torn primary header would be the end. A whole backup is
//!   written to the end of the disk, and only then is the primary made to point to it. Where that
//!   cannot be done ([`TailFault`]) nothing is written at all.
//! * *Memory and medium that differ*, after a sync that failed: see [`Table::read_durable`]. Every
//!   sector of both copies is written as it is on the medium.
//! * *A sector 0 that is no MBR* becomes a protective one. An MBR, whatever is in it, stays.
//!
//! **What this cannot protect.** A drive with 4096-byte physical blocks that shows 512-byte sectors
//! may lose the whole block around the sector it was writing. Sectors 0 to 7 are one such block, so
//! a crash in step 3 may take the protective MBR along, and firmware then does not look for a table
//! at all; so does a crash while GRUB takes a try. The next write puts it back. And a table in which
//! both copies are damaged is not repaired here: there is nothing left to go by.
//!
//! Nothing else but the attribute bits that were asked for changes. Foreign entries, names, unused
//! entries, reserved bytes and a valid MBR stay byte for byte, and that is checked against the rendered
//! sectors before the first of them is written.

mod copy;
mod damage;
mod error;
mod header;
mod image;
mod medium;
mod read;
mod settle;
mod step;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use snafu::{ResultExt, ensure};

use self::copy::{Remains, TableCopy};
use self::error::{FlushSnafu, MismatchSnafu, RenderSnafu, StaleSnafu};
use self::medium::Medium;
use self::step::{Extent, Step};
use crate::device::BlockDevice;
use crate::gpt::{Geometry, MbrFault};
use crate::layout::{ByteRange, Entry};

pub use self::copy::Error as RenderError;
pub use self::damage::{Damage, Repaired};
pub use self::error::Error;
pub use self::tail::TailFault;
pub use crate::gpt::{Fault, Side};

/// What [`Table::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The disk was as wanted already; not a byte was written.
    Nothing,
    /// Both copies on the disk are sound and as wanted.
    Changed,
}

/// A partition table as it was read, and the changes that are to be written.
#[derive(Debug)]
pub struct Table {
    disk: String,
    geometry: Geometry,
    /// The copy that counts.
    trusted: TableCopy,
    twin: Twin,
    mbr: Option<MbrFault>,
    origin: Origin,
    changes: BTreeMap<u32, u64>,
    repaired: Vec<Repaired>,
}

#[derive(Debug)]
enum Twin {
    Sound(TableCopy),
    Broken {
        damage: Damage,
        remains: Option<Box<Remains>>,
    },
}

/// Where a table was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// From the system's memory, as other programs see it.
    Memory,
    /// From the medium, whatever is in memory.
    Medium {
        /// Something else is.
        memory_differs: bool,
    },
}

impl Table {
    /// Bytes of a sector of this table: 512 or 4096.
    pub const fn sector_size(&self) -> usize {
        self.geometry.sector()
    }

    /// The bytes that the table leaves to partitions.
    pub fn usable(&self) -> Option<ByteRange> {
        self.trusted.usable(&self.geometry)
    }

    /// What is wrong with sector 0, where a protective MBR should be.
    pub const fn mbr_fault(&self) -> Option<&MbrFault> {
        self.mbr.as_ref()
    }

    /// What has been put right since the table was read, in this order.
    pub fn repaired(&self) -> &[Repaired] {
        &self.repaired
    }

    /// What was wrong with a copy when the table was read.
    pub const fn damage(&self) -> Option<&Damage> {
        match &self.twin {
            Twin::Sound(_) => None,
            Twin::Broken { damage, .. } => Some(damage),
        }
    }

    /// The used entries as they are on the disk, in the order of their numbers.
    pub fn entries(&self) -> Vec<Entry> {
        self.trusted.entries(&self.geometry)
    }

    /// The same, each with what it takes up of the disk, also when it ends beyond.
    pub fn extents(&self) -> Vec<Entry> {
        self.trusted.extents(&self.geometry)
    }

    /// The attribute bits of a used entry: those to be written, else those on the disk.
    pub fn attributes(&self, number: u32) -> Option<u64> {
        let on_disk = self.trusted.attributes(number)?;
        Some(self.changes.get(&number).copied().unwrap_or(on_disk))
    }

    /// Plans to change all 64 attribute bits of a used entry. [`write`](Self::write) does it.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn set_attributes(&mut self, number: u32, bits: u64) -> Result<(), Error> {
        let used = self.trusted.attributes(number).is_some();
        if !used {
            let source = RenderError::NoEntry { number };
            return Err(source).context(RenderSnafu { disk: &self.disk });
        }
        self.changes.insert(number, bits);
        Ok(())
    }

    /// Writes the planned changes, in the order given at the head of this module.
    ///
    /// If nothing would change, what is not in order is put right all the same; if all is, the device
    /// is synced and both copies are read back from the medium, since whoever wrote them may not have
    /// come so far. Before anything is written, `device` must still hold what was read. On success
    /// both copies have been read back from the medium and are sound, and [`damage`](Self::damage) is
    /// gone.
    ///
    /// # Errors
    /// After an error one copy is sound, and the table says what it said before or what it should
    /// have said after. This value no longer knows which: read the table again.
    pub fn write(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let trusted = &self.trusted;
        self.changes
            .retain(|number, bits| trusted.attributes(*number) != Some(*bits));
        if self.changes.is_empty() {
            return self.repair(device);
        }
        self.settle(device)?;
        self.change(device, Extent::ChangedSectors)
    }

    /// Writes every sector of both copies, in the order given at the head of this module, with the
    /// planned changes if there are any. What is not in order is put right first.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn rewrite(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        self.settle(device)?;
        self.change(device, Extent::EverySector)
    }

    /// Puts right what is not in order, and if all is, syncs and reads both copies back from the
    /// medium. The planned changes stay planned.
    ///
    /// # Errors
    /// As for [`write`](Self::write); the copy that counts is not touched while the other one is not
    /// sound.
    pub fn repair(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let written = self.settle(device)?;
        if written == Written::Nothing {
            self.confirm(device)?;
        }
        Ok(written)
    }

    /// Both copies, the backup first; nothing while one is damaged.
    const fn copies(&self) -> Option<[&TableCopy; 2]> {
        match (&self.twin, self.trusted.side) {
            (Twin::Broken { .. }, _) => None,
            (Twin::Sound(twin), Side::Primary) => Some([twin, &self.trusted]),
            (Twin::Sound(twin), Side::Backup) => Some([&self.trusted, twin]),
        }
    }

    /// Syncs, and reads both copies from the medium.
    fn confirm(&self, device: &dyn BlockDevice) -> Result<(), Error> {
        let disk = &self.disk;
        device.sync().context(FlushSnafu { disk })?;
        for copy in self.copies().into_iter().flatten() {
            let (side, offset) = (copy.side, copy.regions()[0].offset);
            ensure!(
                copy.is_on(&Medium(device)),
                MismatchSnafu { disk, side, offset }
            );
        }
        Ok(())
    }

    /// Writes the planned changes to a table that is in order.
    fn change(&mut self, device: &dyn BlockDevice, extent: Extent) -> Result<Written, Error> {
        let new = |old: &TableCopy| {
            old.with_attributes(&self.changes, &self.geometry)
                .map(|new| Step::new(old, new, extent, &self.geometry))
        };
        let steps = self.copies().into_iter().flatten().map(new);
        let steps: Vec<_> = steps
            .collect::<Result<_, _>>()
            .context(RenderSnafu { disk: &self.disk })?;
        self.carry_out(device, steps)?;
        self.changes.clear();
        Ok(Written::Changed)
    }

    fn carry_out(&mut self, device: &dyn BlockDevice, steps: Vec<Step>) -> Result<(), Error> {
        self.check_unchanged(device)?;
        for step in steps {
            step.carry_out(device, &self.disk)?;
            let copy = step.copy;
            if copy.side == self.trusted.side {
                self.trusted = copy;
            } else {
                self.twin = Twin::Sound(copy);
            }
        }
        Ok(())
    }

    /// An error unless the device still holds what was read, where it was read.
    fn check_unchanged(&self, device: &dyn BlockDevice) -> Result<(), Error> {
        let medium = Medium(device);
        let device: &dyn BlockDevice = match self.origin {
            Origin::Memory => device,
            Origin::Medium { .. } => &medium,
        };
        let unchanged = match &self.twin {
            Twin::Sound(twin) => self.trusted.is_on(device) && twin.is_on(device),
            Twin::Broken { .. } => self.trusted.is_on(device),
        };
        ensure!(unchanged, StaleSnafu { disk: &self.disk });
        Ok(())
    }
}
