//! A disk image whose table is read and changed by hand, bit by bit where that is simpler.

use std::ops::Range;

use crate::attributes::BootAttributes;
use crate::gpt::Side;
use crate::slot::Slot;
use crate::testing::{DiskBuilder, MemoryDevice};

/// The entry of set A's boot partition in a built disk.
pub(crate) const BOOT_A: u32 = 3;
/// The entry of set B's boot partition in a built disk.
pub(crate) const BOOT_B: u32 = 8;

/// The entry of its private partition.
pub(crate) const PRIVATE: u32 = 12;

pub(crate) const SIDES: [Side; 2] = [Side::Primary, Side::Backup];

/// The checksum of a table, one bit at a time.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = remainder & 1 == 1;
            remainder >>= 1;
            if carry {
                remainder ^= 0xedb8_8320;
            }
        }
    }
    !remainder
}

/// A disk image and the size of its sectors.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sector: usize,
}

/// The bytes of each partition of a [`small`] disk.
pub(crate) const UNIT: u64 = 32 * 1024;

/// The smallest disk the builder makes.
pub(crate) fn small(sector: u32) -> DiskBuilder {
    DiskBuilder::new()
        .unit(UNIT)
        .root_mib(1)
        .sector_size(sector)
}

/// The image as it is after it was put onto a disk that is larger by so many bytes.
pub(crate) fn grown(sector: u32, by: usize) -> Raw {
    let mut raw = Raw::new(sector);
    raw.bytes.resize(raw.bytes.len() + by, 0);
    raw
}

impl Raw {
    pub(crate) fn new(sector: u32) -> Self {
        Self::of(&small(sector), sector)
    }

    fn of(builder: &DiskBuilder, sector: u32) -> Self {
        Self {
            bytes: builder.build().to_bytes(),
            sector: usize::try_from(sector).unwrap(),
        }
    }

    /// A disk with things in it that are not ours, and that nobody may change: boot code in the MBR,
    /// bits in every attribute, text after the headers, a name and a number in an unused entry.
    pub(crate) fn with_foreign_bytes(sector: u32) -> Self {
        let foreign = BootAttributes::from_bits(0xfd01_1234_5678_9abc);
        let mut raw = Self::of(&small(sector).bits(Slot::A, foreign), sector);
        raw.bytes[..440].fill(0x90);
        for side in SIDES {
            let header = raw.header(side);
            let end = header.start + raw.sector;
            raw.bytes[header.end..end].fill(0x77);
            let unused = raw.entry(side, 100);
            raw.bytes[unused.start + 32..unused.end].fill(0x55);
            raw.fix(side);
        }
        raw
    }

    pub(crate) fn device(&self) -> MemoryDevice {
        MemoryDevice::new(self.bytes.clone(), u32::try_from(self.sector).unwrap())
    }

    pub(crate) fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// The offset of a sector whose number stands at `at`.
    fn pointed_at(&self, at: usize) -> usize {
        usize::try_from(self.u64_at(at)).unwrap() * self.sector
    }

    /// The 92 bytes of a header.
    pub(crate) fn header(&self, side: Side) -> Range<usize> {
        let start = match side {
            Side::Primary => self.sector,
            Side::Backup => self.pointed_at(self.sector + 32),
        };
        start..start + 92
    }

    /// The whole array of entries.
    pub(crate) fn entries(&self, side: Side) -> Range<usize> {
        let header = self.header(side).start;
        let start = self.pointed_at(header + 72);
        start..start + 128 * usize::try_from(self.u32_at(header + 80)).unwrap()
    }

    pub(crate) fn entry(&self, side: Side, number: u32) -> Range<usize> {
        let start = self.entries(side).start + 128 * (usize::try_from(number).unwrap() - 1);
        start..start + 128
    }

    pub(crate) fn attributes(&self, side: Side, number: u32) -> u64 {
        self.u64_at(self.entry(side, number).start + 48)
    }

    pub(crate) fn set_attributes(&mut self, side: Side, number: u32, bits: u64) {
        let at = self.entry(side, number).start + 48;
        self.bytes[at..at + 8].copy_from_slice(&bits.to_le_bytes());
        self.fix(side);
    }

    /// Makes the checksums of a copy right.
    pub(crate) fn fix(&mut self, side: Side) {
        let sum = crc32(&self.bytes[self.entries(side)]);
        let header = self.header(side).start;
        self.put_u32(header + 88, sum);
        self.fix_header(side);
    }

    /// Makes the checksum of a header right, whatever it says about the entries.
    pub(crate) fn fix_header(&mut self, side: Side) {
        let header = self.header(side);
        self.put_u32(header.start + 16, 0);
        let sum = crc32(&self.bytes[header.clone()]);
        self.put_u32(header.start + 16, sum);
    }

    pub(crate) fn put_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn put_u64(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

#[test]
fn the_checksum_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn built_disks_have_right_checksums_in_both_copies() {
    for sector in [512, 4096] {
        let raw = Raw::new(sector);
        for side in SIDES {
            let mut fixed = raw.clone();
            fixed.fix(side);
            assert!(raw.bytes == fixed.bytes, "{side} at {sector}");
        }
    }
}
