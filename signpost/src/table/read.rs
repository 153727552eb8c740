//! Which copy of a table counts, and what is not in order.

use std::collections::BTreeMap;

use snafu::ResultExt;

use super::copy::{TableCopy, Unusable};
use super::error::{BothDamagedSnafu, Error, FlushSnafu, NoTableSnafu};
use super::medium::Medium;
use super::{Damage, Origin, Table, Twin};
use crate::device::BlockDevice;
use crate::gpt::{Fault, Geometry, MbrFault, PRIMARY_LBA, Side, check_mbr};

/// Entries that GRUB wants room for; it takes a copy with less for no copy at all.
const MIN_GRUB_ENTRIES: u32 = 128;

fn is_read_by_grub(copy: &TableCopy) -> bool {
    copy.entry_count() >= MIN_GRUB_ENTRIES
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
    /// for the boot loader: unless it has too few entries for GRUB, which then boots from the backup. When one copy is damaged or unreadable, the other one counts. Either is
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

    /// Like [`read`](Self::read), but what it gives is on the medium.
    ///
    /// The system's memory may say something else: a write that was never synced, or one that could
    /// not be, which Linux reports once and then takes for done. So both copies are read from there
    /// as well. Only if that is not the same sound table, the device is synced first and the table of
    /// the medium counts; the next write then writes every sector of both copies, so that memory and
    /// medium agree again.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and when the device cannot be synced.
    pub fn read_durable(device: &dyn BlockDevice) -> Result<Self, Error> {
        let medium = Medium(device);
        if let Ok(table) = Self::read(device)
            && let Some(copies) = table.copies()
            && copies.iter().all(|copy| copy.is_on(&medium))
        {
            return Ok(table);
        }
        Self::read_synced(device)
    }

    /// Syncs the device and reads the table from the medium.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and when the device cannot be synced.
    pub fn read_synced(device: &dyn BlockDevice) -> Result<Self, Error> {
        let disk = device.name();
        device.sync().context(FlushSnafu { disk })?;
        let mut table = Self::read(&Medium(device))?;
        let in_memory = match &table.twin {
            Twin::Sound(twin) => table.trusted.is_on(device) && twin.is_on(device),
            Twin::Broken { .. } => table.trusted.is_on(device),
        };
        table.origin = Origin::Medium {
            memory_differs: !in_memory,
        };
        Ok(table)
    }

    fn read_as(device: &dyn BlockDevice, geometry: Geometry) -> Attempt {
        let primary = TableCopy::read(device, Side::Primary, PRIMARY_LBA, &geometry);
        // Where the backup is the primary knows, even if its entries are gone. The end of the disk
        // is the place to look only when there is no word of it: a disk may be larger than the
        // image that it was made from.
        let backup_lba = match &primary {
            Ok(copy) => Some(copy.header.twin_lba()),
            Err(unusable) => unusable
                .remains
                .as_ref()
                .map(|remains| remains.header.twin_lba()),
        };
        let unconfirmed = backup_lba.is_none();
        let backup_lba = backup_lba.unwrap_or(geometry.last_lba());
        let backup = TableCopy::read(device, Side::Backup, backup_lba, &geometry);

        let broken = |side, Unusable { fault, remains }, unconfirmed| Twin::Broken {
            damage: Damage {
                side,
                fault,
                unconfirmed,
            },
            remains,
        };
        let (trusted, twin) = match (primary, backup) {
            (Ok(primary), Ok(backup)) if primary.agrees_with(&backup) => {
                (primary, Twin::Sound(backup))
            }
            (Ok(primary), Ok(backup)) => {
                let differs = |copy: &TableCopy| Unusable {
                    fault: Fault::Differs,
                    remains: Some(Box::new(copy.remains())),
                };
                if is_read_by_grub(&backup) && !is_read_by_grub(&primary) {
                    let differs = differs(&primary);
                    (backup, broken(Side::Primary, differs, false))
                } else {
                    let differs = differs(&backup);
                    (primary, broken(Side::Backup, differs, false))
                }
            }
            (Ok(primary), Err(backup)) => (primary, broken(Side::Backup, backup, false)),
            (Err(primary), Ok(backup)) => (backup, broken(Side::Primary, primary, unconfirmed)),
            (Err(primary), Err(backup)) => {
                return Attempt::Damaged {
                    primary: primary.fault,
                    backup: backup.fault,
                };
            }
        };
        Attempt::Table(Box::new(Self {
            disk: device.name(),
            mbr: mbr_fault(device, &geometry),
            geometry,
            trusted,
            twin,
            origin: Origin::Memory,
            changes: BTreeMap::new(),
            repaired: Vec::new(),
        }))
    }
}

fn mbr_fault(device: &dyn BlockDevice, geometry: &Geometry) -> Option<MbrFault> {
    let mut sector = vec![0; geometry.sector()];
    match device.read_at(0, &mut sector) {
        Ok(()) => check_mbr(&sector).err(),
        Err(error) => Some(MbrFault::Unreadable {
            reason: error.to_string(),
        }),
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
