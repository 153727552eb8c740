//! Pure: how a disk is cut into sectors.

use super::ENTRY_SIZE;
use crate::layout::ByteRange;

/// A sector size and a number of sectors, large enough for two headers and something between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    sector: usize,
    sectors: u64,
}

impl Geometry {
    /// The geometry, or nothing when a sector is neither 512 nor 4096 bytes or there are fewer than
    /// three.
    pub const fn new(sector: usize, sectors: u64) -> Option<Self> {
        if matches!(sector, 512 | 4096) && sectors > 2 {
            Some(Self { sector, sectors })
        } else {
            None
        }
    }

    /// The geometry of a disk of `length` bytes; what does not fill a sector at its end is left out.
    pub fn of_length(length: u64, sector: usize) -> Option<Self> {
        let sectors = length.checked_div(u64::try_from(sector).ok()?)?;
        Self::new(sector, sectors)
    }

    /// Bytes of a sector: 512 or 4096.
    pub const fn sector(&self) -> usize {
        self.sector
    }

    /// The same, as an offset.
    pub fn sector_bytes(&self) -> u64 {
        u64::try_from(self.sector).expect("512 or 4096: checked in new()")
    }

    /// The offset of a sector's first byte. Where `lba` is inside the disk, so is this.
    pub fn offset(&self, lba: u64) -> u64 {
        lba.saturating_mul(self.sector_bytes())
    }

    /// How many sectors there are.
    pub const fn sectors(&self) -> u64 {
        self.sectors
    }

    /// The number of the last sector.
    pub const fn last_lba(&self) -> u64 {
        self.sectors - 1
    }

    /// The bytes that `count` entries take up, to the end of their last sector.
    pub fn entries_length(&self, count: u32) -> usize {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        count
            .saturating_mul(ENTRY_SIZE)
            .div_ceil(self.sector)
            .saturating_mul(self.sector)
    }

    /// The sectors that `count` entries take up.
    pub fn entries_sectors(&self, count: u32) -> u64 {
        let sectors = self.entries_length(count) / self.sector;
        u64::try_from(sectors).unwrap_or(u64::MAX)
    }

    /// The bytes of the sectors `first` to `last`, both included, if there are any and they are on
    /// this disk.
    pub fn range(&self, first: u64, last: u64) -> Option<ByteRange> {
        if last > self.last_lba() {
            return None;
        }
        let sectors = last.checked_sub(first)?.checked_add(1)?;
        let sector = self.sector_bytes();
        ByteRange::new(first.checked_mul(sector)?, sectors.checked_mul(sector)?)
    }

    /// Of the bytes of the sectors `first` to `last` those that are on this disk, if there are any.
    pub fn extent(&self, first: u64, last: u64) -> Option<ByteRange> {
        self.range(first, last.min(self.last_lba()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_sector_sizes_and_no_fewer_than_three_sectors() {
        for (sector, sectors, fits) in [
            (512, 2, false),
            (512, 3, true),
            (4096, 3, true),
            (4096, u64::MAX, true),
            (0, 100, false),
            (1024, 100, false),
            (usize::MAX, 100, false),
        ] {
            assert_eq!(
                Geometry::new(sector, sectors).is_some(),
                fits,
                "{sector} {sectors}"
            );
        }
        assert_eq!(Geometry::of_length(1535, 512), None);
        assert_eq!(Geometry::of_length(1536, 512), Geometry::new(512, 3));
        assert_eq!(Geometry::of_length(2047, 512), Geometry::new(512, 3));
        assert_eq!(Geometry::of_length(u64::MAX, 0), None);
    }

    #[test]
    fn entries_end_with_their_last_sector() {
        let small = Geometry::new(512, 100).unwrap();
        let large = Geometry::new(4096, 100).unwrap();
        for (count, sectors_of_512, sectors_of_4096) in
            [(1, 1, 1), (4, 1, 1), (5, 2, 1), (128, 32, 4), (129, 33, 5)]
        {
            assert_eq!(small.entries_sectors(count), sectors_of_512);
            assert_eq!(large.entries_sectors(count), sectors_of_4096);
            assert_eq!(large.entries_length(count) % 4096, 0);
        }
        assert!(small.entries_length(u32::MAX) >= 512 * 1024);
    }

    #[test]
    fn a_range_counts_both_its_ends_and_stays_on_the_disk() {
        let disk = Geometry::new(512, 100).unwrap();
        assert_eq!(disk.range(2, 2), ByteRange::new(1024, 512));
        assert_eq!(disk.range(2, 99), ByteRange::new(1024, 98 * 512));
        assert_eq!(disk.range(2, 100), None);
        assert_eq!(disk.range(3, 2), None);
        assert_eq!(disk.extent(2, u64::MAX), disk.range(2, 99));
        assert_eq!(disk.extent(2, 3), disk.range(2, 3));
        assert_eq!(disk.extent(100, u64::MAX), None);
        let huge = Geometry::new(4096, u64::MAX).unwrap();
        assert_eq!(huge.range(1, u64::MAX - 1), None, "more bytes than numbers");
    }
}
