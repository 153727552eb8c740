//! A disk's GUID partition table, and the order in which its sectors are written.
//!
//! A table exists twice, at the start and at the end of the disk. Either copy is enough to boot
//! from, so as long as only one of them is being written there is always a sound one. That is the
//! whole of the safety here, and this is the order that keeps it:
//!
//! 1. a copy that was found damaged is made from the other one;
//! 2. the changed sectors of the backup;
//! 3. the changed sectors of the primary.
//!
//! Each of them is: the header, sync, read back; the entries, sync, read back.
//!
//! **After a crash** in step 1 the table is as it was. In step 2 it is as it was: the primary counts.
//! In step 3 it is either as it was or as it was to be: if the primary is whole it counts, and it
//! is whole only with all its sectors old or all new, else the backup counts, and that is new.
//! GRUB repairs such a table before it boots, and so does [`Table::write`] next time: what a crash
//! leaves behind is damage of one copy.
//!
//! **Why the header first, and durable before the entries.** GRUB holds the backup against the
//! primary header even when the primary entries are torn, and will not have a backup that says
//! otherwise. New entries under the old header would leave it nothing; the new header over old
//! entries agrees with the backup. See [`loader`](crate::loader).
//!
//! **What this cannot protect.** A drive with 4096-byte physical blocks that shows 512-byte sectors
//! may lose the whole block around the sector it was writing. Sectors 0 to 7 are one such block, so
//! a crash in step 3 may take the protective MBR along; a UEFI boot does not mind, a BIOS boot from
//! code in that sector does. And a table in which both copies are damaged is not repaired here:
//! there is nothing left to go by.
//!
//! Nothing but the attribute bits that were asked for changes. Foreign entries, names, unused
//! entries, reserved bytes and the MBR stay byte for byte, and that is checked against the rendered
//! sectors before the first of them is written.

mod copy;
mod error;
mod header;
mod image;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use snafu::{ResultExt, ensure};

use self::copy::TableCopy;
use self::error::{BothDamagedSnafu, NoTableSnafu, RenderSnafu, StaleSnafu};
use self::header::Header;
use self::step::{Extent, Step};
use crate::device::BlockDevice;
use crate::gpt::{Geometry, PRIMARY_LBA};
use crate::layout::Entry;

pub use self::copy::Error as RenderError;
pub use self::error::Error;
pub use crate::gpt::{Fault, Side};

/// One copy of the table was not as it should be when it was read. The other one was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The copy.
    pub side: Side,
    /// What was wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} partition table is not in order: {}",
            self.side, self.fault
        )
    }
}

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
    changes: BTreeMap<u32, u64>,
}

#[derive(Debug)]
enum Twin {
    Sound(TableCopy),
    Broken {
        damage: Damage,
        header: Option<Box<Header>>,
    },
}

/// What a disk looks like under one sector size.
enum Attempt {
    Table(Box<Table>),
    /// No copy is sound.
    Damaged {
        primary: Fault,
        backup: Fault,
    },
}

impl Table {
    /// Reads the table of a disk. Writes nothing.
    ///
    /// It is looked for in sectors of the device's own size, and in the other size if neither copy
    /// has a signature there. When both copies are sound and differ, the primary counts, as it does
    /// for the boot loader. When one copy is damaged or unreadable, the other one counts. Either is
    /// reported by [`damage`](Self::damage) and put right by the next write.
    ///
    /// # Errors
    /// When there is no table, or when neither copy can be trusted.
    pub fn read(device: &dyn BlockDevice) -> Result<Self, Error> {
        let disk = device.name();
        let mut damaged = None;
        for sector in sector_sizes(device.block_size()) {
            let Some(geometry) = Geometry::of_length(device.len(), sector) else {
                continue;
            };
            match Self::read_as(device, geometry) {
                Attempt::Table(table) => return Ok(*table),
                Attempt::Damaged { primary, backup } => {
                    let signed = is_signed(&primary) || is_signed(&backup);
                    let silent = primary == Fault::NoSignature && backup == Fault::NoSignature;
                    if damaged.is_none() && !silent {
                        damaged = Some((primary, backup));
                    }
                    if signed {
                        break;
                    }
                }
            }
        }
        match damaged {
            Some((primary, backup)) => BothDamagedSnafu {
                disk,
                primary,
                backup,
            }
            .fail(),
            None => NoTableSnafu { disk }.fail(),
        }
    }

    fn read_as(device: &dyn BlockDevice, geometry: Geometry) -> Attempt {
        let primary = TableCopy::read(device, Side::Primary, PRIMARY_LBA, &geometry);
        // Where the backup is the primary knows, even if its entries are gone. The end of the disk
        // is the place to look only when there is no word of it: a disk may be larger than the
        // image that it was made from.
        let backup_lba = match &primary {
            Ok(copy) => copy.header.twin_lba(),
            Err(unusable) => unusable
                .header
                .as_ref()
                .map_or(geometry.last_lba(), |header| header.twin_lba()),
        };
        let backup = TableCopy::read(device, Side::Backup, backup_lba, &geometry);

        let (trusted, twin) = match (primary, backup) {
            (Ok(primary), Ok(backup)) if primary.agrees_with(&backup) => {
                (primary, Twin::Sound(backup))
            }
            (Ok(primary), Ok(backup)) => {
                let damage = Damage {
                    side: Side::Backup,
                    fault: Fault::Differs,
                };
                (
                    primary,
                    Twin::Broken {
                        damage,
                        header: Some(Box::new(backup.header)),
                    },
                )
            }
            (Ok(primary), Err(backup)) => {
                let damage = Damage {
                    side: Side::Backup,
                    fault: backup.fault,
                };
                (
                    primary,
                    Twin::Broken {
                        damage,
                        header: backup.header,
                    },
                )
            }
            (Err(primary), Ok(backup)) => {
                let damage = Damage {
                    side: Side::Primary,
                    fault: primary.fault,
                };
                (
                    backup,
                    Twin::Broken {
                        damage,
                        header: primary.header,
                    },
                )
            }
            (Err(primary), Err(backup)) => {
                return Attempt::Damaged {
                    primary: primary.fault,
                    backup: backup.fault,
                };
            }
        };
        let (disk, changes) = (device.name(), BTreeMap::new());
        Attempt::Table(Box::new(Self {
            disk,
            geometry,
            trusted,
            twin,
            changes,
        }))
    }

    /// Bytes of a sector of this table: 512 or 4096.
    pub const fn sector_size(&self) -> usize {
        self.geometry.sector()
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
    /// If nothing would change nothing is written, not even to a damaged copy. Before anything is
    /// written, `device` must still hold what was read. On success both copies have been read back
    /// from the medium and are sound, and [`damage`](Self::damage) is gone.
    ///
    /// # Errors
    /// After an error one copy is sound, and the table says what it said before or what it should
    /// have said after. This value no longer knows which: read the table again.
    pub fn write(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let trusted = &self.trusted;
        self.changes
            .retain(|number, bits| trusted.attributes(*number) != Some(*bits));
        if self.changes.is_empty() {
            return Ok(Written::Nothing);
        }
        let steps = self
            .plan(Extent::ChangedSectors)
            .context(RenderSnafu { disk: &self.disk })?;
        let written = self.carry_out(device, steps)?;
        self.changes.clear();
        Ok(written)
    }

    /// Writes every sector of both copies, in the order given at the head of this module, with the
    /// planned changes if there are any. A damaged copy is whole after this.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn rewrite(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let steps = self
            .plan(Extent::EverySector)
            .context(RenderSnafu { disk: &self.disk })?;
        let written = self.carry_out(device, steps)?;
        self.changes.clear();
        Ok(written)
    }

    /// Makes a damaged copy, or one that differs, from the one that counts. Writes nothing else: not
    /// the good copy, not the planned changes, which stay planned.
    ///
    /// # Errors
    /// As for [`write`](Self::write); the copy that counts is not touched.
    pub fn repair(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let (_, step) = self
            .whole_twin()
            .context(RenderSnafu { disk: &self.disk })?;
        match step {
            None => Ok(Written::Nothing),
            Some(step) => self.carry_out(device, vec![step]),
        }
    }

    /// The copy that does not count as it should be, and the step that makes it so if it is not.
    fn whole_twin(&self) -> Result<(TableCopy, Option<Step>), RenderError> {
        match &self.twin {
            Twin::Sound(twin) => Ok((twin.clone(), None)),
            Twin::Broken { header, .. } => {
                let twin = self.trusted.twin(header.as_deref(), &self.geometry)?;
                let extent = Extent::EverySector;
                let step = Step::new(&twin, twin.clone(), extent, &self.geometry);
                Ok((twin, Some(step)))
            }
        }
    }

    /// Decides what to write, in which order. Touches nothing.
    fn plan(&self, extent: Extent) -> Result<Vec<Step>, RenderError> {
        let (twin, repair) = self.whole_twin()?;
        let mut steps = Vec::from_iter(repair);
        let (primary, backup) = match self.trusted.side {
            Side::Primary => (&self.trusted, &twin),
            Side::Backup => (&twin, &self.trusted),
        };
        for old in [backup, primary] {
            let new = old.with_attributes(&self.changes, &self.geometry)?;
            steps.push(Step::new(old, new, extent, &self.geometry));
        }
        Ok(steps)
    }

    fn carry_out(&mut self, device: &dyn BlockDevice, steps: Vec<Step>) -> Result<Written, Error> {
        let unchanged = match &self.twin {
            Twin::Sound(twin) => self.trusted.is_on(device) && twin.is_on(device),
            Twin::Broken { .. } => self.trusted.is_on(device),
        };
        ensure!(unchanged, StaleSnafu { disk: &self.disk });

        for step in steps {
            step.carry_out(device, &self.disk)?;
            let copy = step.copy;
            if copy.side == self.trusted.side {
                self.trusted = copy;
            } else {
                self.twin = Twin::Sound(copy);
            }
        }
        Ok(Written::Changed)
    }
}

/// The device's own sector size, then the other one.
const fn sector_sizes(block_size: u32) -> [usize; 2] {
    if block_size == 4096 {
        [4096, 512]
    } else {
        [512, 4096]
    }
}

/// Whether there is a table, although something is wrong with it.
const fn is_signed(fault: &Fault) -> bool {
    !matches!(fault, Fault::NoSignature | Fault::Unreadable { .. })
}
