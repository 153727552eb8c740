//! Both models on whole disks: intact, damaged, torn, and with sectors that cannot be read.

mod cuts;
mod damage;
mod odd;
mod picking;

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::testing::carry_out;
use crate::testing::raw::{BOOT_A, BOOT_B, Raw, SIDES};

/// A disk image of which some sectors cannot be read, and that remembers which were.
struct Disk<'a> {
    raw: &'a Raw,
    bad: BTreeSet<u64>,
    read: RefCell<BTreeSet<u64>>,
}

impl<'a> Disk<'a> {
    fn new(raw: &'a Raw) -> Self {
        Self {
            raw,
            bad: BTreeSet::new(),
            read: RefCell::default(),
        }
    }

    fn with_bad(raw: &'a Raw, bad: impl IntoIterator<Item = u64>) -> Self {
        Self {
            bad: bad.into_iter().collect(),
            ..Self::new(raw)
        }
    }
}

impl ReadSectors for Disk<'_> {
    fn sector_size(&self) -> usize {
        self.raw.sector
    }

    fn sectors(&self) -> u64 {
        u64::try_from(self.raw.bytes.len() / self.raw.sector).unwrap()
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), Unreadable> {
        let start = usize::try_from(lba).unwrap() * self.raw.sector;
        assert_eq!(buf.len() % self.raw.sector, 0, "whole sectors");
        for sector in lba..lba + u64::try_from(buf.len() / self.raw.sector).unwrap() {
            self.read.borrow_mut().insert(sector);
            if self.bad.contains(&sector) {
                return Err(Unreadable);
            }
        }
        let bytes = self.raw.bytes.get(start..start + buf.len());
        buf.copy_from_slice(bytes.ok_or(Unreadable)?);
        Ok(())
    }
}

/// A model, by its name.
type Loader = (&'static str, fn(&Disk<'_>) -> LoaderRun);

const GRUB: Loader = ("grub", |disk| grub_boot(disk));
const STRICT: Loader = ("strict", |disk| strict_boot(disk));
const LOADERS: [Loader; 2] = [GRUB, STRICT];

/// Priority, tries left and successful as hexadecimal digits: `0x121` has priority 1, two tries, and
/// is successful.
fn bits(successful_tries_priority: u64) -> u64 {
    successful_tries_priority << 48
}

/// A disk with these bits in both copies.
fn disk(sector: u32, a: u64, b: u64) -> Raw {
    let mut raw = Raw::new(sector);
    for side in SIDES {
        raw.set_attributes(side, BOOT_A, bits(a));
        raw.set_attributes(side, BOOT_B, bits(b));
    }
    raw
}

fn lba(raw: &Raw, offset: usize) -> u64 {
    u64::try_from(offset / raw.sector).unwrap()
}

/// The disk after these steps.
fn after(raw: &Raw, steps: &[Step]) -> Raw {
    let device = raw.device();
    carry_out(&device, raw.sector, steps).unwrap();
    Raw {
        bytes: device.to_bytes(),
        sector: raw.sector,
    }
}

/// Where the steps write and sync, without what they write.
fn order(steps: &[Step]) -> Vec<Option<u64>> {
    steps
        .iter()
        .map(|step| match step {
            Step::Write { lba, .. } => Some(*lba),
            Step::Sync => None,
        })
        .collect()
}

/// The bytes of both copies of a disk's table.
fn tables(raw: &Raw) -> Vec<u8> {
    SIDES
        .into_iter()
        .flat_map(|side| [raw.header(side), raw.entries(side)])
        .flat_map(|range| raw.bytes[range].to_vec())
        .collect()
}
