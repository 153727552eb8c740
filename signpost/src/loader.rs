//! Pure: what a boot loader does to a disk, write by write, and what it boots then.
//!
//! [`bootloader`] says what a loader makes of the *bits*. Here it is given the
//! disk: two copies of a table of which either may be damaged or half written. A model answers with
//! a [`LoaderRun`], the writes and syncs in their order and then the set that boots. It does not
//! carry them out, so that a test of power cuts can stop after any of them, or within one.
//!
//! Two models, because a disk has to boot with either. [`grub_boot`] is GRUB's `gptprio.next`, which
//! repairs. [`strict_boot`] is a loader that repairs nothing and boots from no table that it has
//! doubts about. What they share:
//!
//! * **Both copies are good and differ:** the primary counts, as it does for
//!   `table::Table::read`.
//! * **Where the backup is** the primary header knows, if that is sound, even if its entries are not;
//!   else the backup is looked for in the last sector of the disk.
//! * **The pick:** of the boot partitions, in the order of the table, the one of strictly the
//!   greatest priority above 0 that has a try left or is successful. There is no last resort.
//! * **The try** is spent before the set boots, also when it is successful: in the backup first, then
//!   in the primary, in each the header before the entries. Without a try nothing is written.
//! * **Sector 0** is not looked at. Firmware does: a machine whose protective MBR is lost does not come
//!   as far as this.
//! * **Writes are synchronous**, as those of firmware are: each is on the disk before the next
//!   begins. So a [`Step::Sync`] follows every write.
//!
//! **Why the header comes first.** GRUB holds a backup against the primary *header* when that is
//! sound, and will not have one that says otherwise, although the primary entries may be torn. New
//! entries under an old header, beside a new backup, are a disk that GRUB does not boot. A new
//! header over old entries agrees with the backup, which then counts.

mod grub;
mod strict;
#[cfg(test)]
mod tests;
use alloc::vec::Vec;

pub use self::grub::grub_boot;
pub use self::strict::strict_boot;
pub use crate::gpt::{ReadSectors, Unreadable};

use crate::attributes::BootAttributes;
use crate::bootloader;
use crate::gpt::{Entries, Entry, Geometry, Header, PRIMARY_LBA, Side, SoundCopy, Unusable};
use crate::guid;
use crate::slot::Slot;

/// Something that a loader does to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes whole sectors.
    Write {
        /// The first of them.
        lba: u64,
        /// What it writes.
        bytes: Vec<u8>,
    },
    /// Everything before is on the disk, whatever happens now.
    Sync,
}

/// A loader's work, from power on to the moment at which it starts a system or gives up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderRun {
    /// What it does to the disk first, in this order.
    pub steps: Vec<Step>,
    /// The set that it boots after that; nothing when it stops with an error, or would boot a third
    /// boot partition, which is no set.
    pub pick: Option<Slot>,
}

/// The boot partition that was picked.
struct Picked {
    number: u32,
    slot: Option<Slot>,
    bits: BootAttributes,
}

/// Picks a boot partition by the rule at the head of this module.
fn pick(entries: &Entries) -> Option<Picked> {
    let mut slots = Slot::BOTH.into_iter();
    let mut best = 0;
    let mut picked = None;
    for entry in entries.used().filter(|entry| entry.type_guid == guid::BOOT) {
        let Entry {
            number, attributes, ..
        } = entry;
        let bits = BootAttributes::from_bits(attributes);
        let slot = slots.next();
        let may_boot = bits.tries_left() > 0 || bits.successful();
        if may_boot && bits.priority() > best {
            best = bits.priority();
            picked = Some(Picked { number, slot, bits });
        }
    }
    picked
}

impl Picked {
    /// The entries once the try is spent, or nothing when there is none to spend.
    fn spent(&self, entries: &Entries) -> Option<Entries> {
        let after = bootloader::consume_try(self.bits);
        if after == self.bits {
            return None;
        }
        entries.with_attributes(self.number, after.bits())
    }
}

/// Where the backup is, from what there is of the primary.
fn backup_lba(primary: &Result<SoundCopy, Unusable>, geometry: &Geometry) -> u64 {
    header_of(primary).map_or(geometry.last_lba(), |header| header.twin_lba)
}

/// The header of a copy, if that much of it is sound.
fn header_of(copy: &Result<SoundCopy, Unusable>) -> Option<&Header> {
    match copy {
        Ok(copy) => Some(&copy.header),
        Err(unusable) => unusable.header.as_ref(),
    }
}

fn read_primary(disk: &impl ReadSectors, geometry: &Geometry) -> Result<SoundCopy, Unusable> {
    SoundCopy::read(disk, Side::Primary, PRIMARY_LBA, geometry)
}

/// A write of whole sectors, and that it is synchronous.
fn write(steps: &mut Vec<Step>, lba: u64, bytes: &[u8]) {
    steps.push(Step::Write {
        lba,
        bytes: bytes.to_vec(),
    });
    steps.push(Step::Sync);
}

impl SoundCopy {
    /// This copy with other entries in the same place. What follows the header in its sector stays.
    fn with_entries(&self, entries: Entries) -> Self {
        let header = Header {
            entries_checksum: entries.checksum(),
            ..self.header.clone()
        };
        let sector = overlaid(&self.sector, &header);
        Self {
            header,
            sector,
            entries,
        }
    }
}

/// A sector with a header at its start.
fn overlaid(sector: &[u8], header: &Header) -> Vec<u8> {
    let mut sector = sector.to_vec();
    for (place, byte) in sector.iter_mut().zip(header.to_bytes()) {
        *place = byte;
    }
    sector
}
