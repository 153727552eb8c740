//! What a fuzzer's bytes stand for: a sound disk, changes to it, and whether checksums are made
//! right afterwards.
//!
//! ```text
//! 1 byte   flags, see below
//! 1 byte   what is done to the disk, see `check::Act::of`
//! edits    place (1 byte), offset (2, little-endian), length (1), bytes; the last may be cut short
//! ```
//!
//! An edit puts its bytes at an offset into the MBR, a header, an array of entries or the start of
//! the disk. With the raw flag there are no edits: the first half of the bytes is put at the start
//! of the disk and the second half at its end. Only with the checksums right does a fuzzer get past
//! the first doors.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use signpost::BootAttributes;
use signpost::Slot;
use signpost::table::Side;
use signpost::testing::DiskBuilder;

use crate::journal::Journal;
use crate::raw;

/// The checksums of the primary copy are made right after the edits.
pub const FIX_PRIMARY: u8 = 0x01;
/// The same of the backup.
pub const FIX_BACKUP: u8 = 0x02;
/// What is put into one copy is put into the other one too.
pub const BOTH_COPIES: u8 = 0x04;
/// The disk says that its sectors are of the other size.
pub const OTHER_SECTORS: u8 = 0x08;
/// The disk has one set.
pub const SINGLE: u8 = 0x10;
/// Set B is about to be tried; else only set A has bits.
pub const ARMED: u8 = 0x20;
/// The disk goes on after its backup.
pub const GROWN: u8 = 0x40;
/// No edits: bytes for the start and the end of the disk.
pub const RAW: u8 = 0x80;

/// Bytes of each partition; those of a table of 1024 entries fit in before the first.
const UNIT: u64 = 32 * 1024;
/// What a grown disk has more, in bytes.
const GROWTH: usize = 64 * 1024;
/// More bytes than this are not looked at.
const LONGEST: usize = 64 * 1024;

/// A fuzzer's input, taken apart.
#[derive(Debug)]
pub struct Input<'a> {
    flags: u8,
    act: u8,
    rest: &'a [u8],
}

/// Where an edit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Sector 0.
    Mbr,
    /// The header of a copy.
    Header(Side),
    /// The entries of a copy.
    Entries(Side),
    /// An offset, in units of eight bytes, from the start of the disk.
    Disk,
}

impl Place {
    const ALL: [Self; 6] = [
        Self::Header(Side::Primary),
        Self::Header(Side::Backup),
        Self::Entries(Side::Primary),
        Self::Entries(Side::Backup),
        Self::Mbr,
        Self::Disk,
    ];

    fn of(byte: u8) -> Self {
        Self::ALL[usize::from(byte) % Self::ALL.len()]
    }

    /// The byte that stands for it.
    pub fn byte(self) -> u8 {
        (0..=u8::MAX)
            .find(|byte| Self::of(*byte) == self)
            .unwrap_or(0)
    }

    /// The same in the other copy.
    fn twin(self) -> Option<Self> {
        match self {
            Self::Header(side) => Some(Self::Header(side.other())),
            Self::Entries(side) => Some(Self::Entries(side.other())),
            Self::Mbr | Self::Disk => None,
        }
    }
}

impl<'a> Input<'a> {
    /// Takes the first two bytes off; nothing when there are not so many.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (&[flags, act], rest) = data.split_first_chunk()?;
        let rest = &rest[..rest.len().min(LONGEST)];
        Some(Self { flags, act, rest })
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Makes the disk, shows it, and takes every change back.
    pub fn on_disk(&self, sector: usize, show: impl FnOnce(&Arc<Journal>, u8)) {
        let disk = template(self.flags & (SINGLE | ARMED | GROWN), sector);
        let other = if sector == 512 { 4096 } else { 512 };
        let said = if self.has(OTHER_SECTORS) {
            other
        } else {
            sector
        };
        disk.set_block_size(u32::try_from(said).expect("512 or 4096"));
        if self.has(RAW) {
            self.put_raw(&disk);
        } else {
            self.put_edits(&disk, sector);
        }
        self.fix(&disk, sector);
        show(&disk, self.act);
        disk.undo_to(0);
    }

    fn put_raw(&self, disk: &Journal) {
        let (start, end) = self.rest.split_at(self.rest.len() / 2);
        disk.put(0, start);
        let length = disk.look(<[u8]>::len);
        disk.put(length.saturating_sub(end.len()), end);
    }

    fn put_edits(&self, disk: &Journal, sector: usize) {
        let mut rest = self.rest;
        while let [place, low, high, length, tail @ ..] = rest {
            let place = Place::of(*place);
            let offset = usize::from(u16::from_le_bytes([*low, *high]));
            let (bytes, tail) = tail.split_at(tail.len().min(usize::from(*length)));
            put(disk, sector, place, offset, bytes);
            if let Some(twin) = place.twin().filter(|_| self.has(BOTH_COPIES)) {
                put(disk, sector, twin, offset, bytes);
            }
            rest = tail;
        }
    }

    /// Makes checksums right. Of the backup first, as the primary says where it is.
    fn fix(&self, disk: &Journal, sector: usize) {
        for (flag, side) in [(FIX_BACKUP, Side::Backup), (FIX_PRIMARY, Side::Primary)] {
            let fixed = disk.look(|bytes| raw::fixed_header(bytes, sector, side));
            if let Some((start, fixed)) = fixed.filter(|_| self.has(flag)) {
                disk.put(start, &fixed);
            }
        }
    }
}

fn put(disk: &Journal, sector: usize, place: Place, offset: usize, bytes: &[u8]) {
    let start = disk.look(|disk| match place {
        Place::Mbr => Some(0),
        Place::Header(side) => Some(raw::header(disk, sector, side).start),
        Place::Entries(side) => {
            let header = raw::header(disk, sector, side);
            raw::entries(disk, sector, &header).map(|entries| entries.start)
        }
        // So that offsets of two bytes reach all of it.
        Place::Disk => Some(offset * 7),
    });
    if let Some(start) = start {
        disk.put(start + offset, bytes);
    }
}

/// The sound disk that these flags ask for, made once.
fn template(flags: u8, sector: usize) -> Arc<Journal> {
    thread_local! {
        static MADE: RefCell<BTreeMap<(u8, usize), Arc<Journal>>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| {
        let disk = made
            .entry((flags, sector))
            .or_insert_with(|| Arc::new(make(flags, sector)));
        Arc::clone(disk)
    })
}

fn make(flags: u8, sector: usize) -> Journal {
    let bytes_of_sector = u32::try_from(sector).expect("512 or 4096");
    let builder = DiskBuilder::new()
        .unit(UNIT)
        .root_mib(1)
        .sector_size(bytes_of_sector);
    let builder = if flags & SINGLE == 0 {
        builder
    } else {
        builder.single()
    };
    let builder = if flags & ARMED == 0 {
        builder
    } else {
        builder.bits(Slot::B, BootAttributes::from_bits(0x0012 << 48))
    };
    let mut bytes = builder.build().to_bytes();
    if flags & GROWN != 0 {
        bytes.resize(bytes.len() + GROWTH, 0);
    }
    Journal::new(bytes, bytes_of_sector)
}
