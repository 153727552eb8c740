//! Pure: sector 0, whose partition entry of type 0xEE tells everybody that there is a GPT behind it.
//!
//! UEFI, Linux and most tools do not look for a GPT on a disk without it. Nothing here judges more
//! than that: an MBR with boot code, or one that shows some partitions a second time (a hybrid), is
//! as good as any.

use alloc::string::String;
use alloc::vec::Vec;

use snafu::{Snafu, ensure};

/// Where the boot code ends.
const CODE_END: usize = 440;
/// Where the four entries are, between the disk's old-style signature and the mark at the end.
const ENTRIES: core::ops::Range<usize> = 446..510;
const ENTRY_SIZE: usize = 16;
/// Where an entry's type is, and its number of sectors.
const TYPE_AT: usize = 4;
const PROTECTIVE: u8 = 0xee;
/// Where the MBR ends, in sectors of any size.
const END: usize = 512;
const MARK: [u8; 2] = [0x55, 0xaa];

/// Why sector 0 is no protective MBR.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum MbrFault {
    /// It could not be read.
    #[snafu(display("there is no protective MBR: sector 0 cannot be read ({reason})"))]
    Unreadable {
        /// The system's answer.
        reason: String,
    },
    /// It is no MBR at all.
    #[snafu(display("there is no protective MBR: sector 0 does not end in 0x55AA"))]
    NoSignature,
    /// It is an MBR, which says nothing of a GPT. Somebody may have wanted that.
    #[snafu(display("there is no protective MBR: the one in sector 0 has no entry of type 0xEE"))]
    NotProtective,
}

impl MbrFault {
    /// Whether there is no MBR that could be lost by writing one.
    pub const fn may_be_repaired(&self) -> bool {
        !matches!(self, Self::NotProtective)
    }
}

/// An error unless this sector is an MBR with an entry of type 0xEE.
///
/// # Errors
/// What is wrong with it.
pub fn check_mbr(sector: &[u8]) -> Result<(), MbrFault> {
    let mark = sector.get(ENTRIES.end..END);
    ensure!(mark == Some(MARK.as_slice()), NoSignatureSnafu);
    let entries = sector.get(ENTRIES).unwrap_or_default();
    let mut types = entries.chunks(ENTRY_SIZE).map(|entry| entry.get(TYPE_AT));
    ensure!(
        types.any(|found| found == Some(&PROTECTIVE)),
        NotProtectiveSnafu
    );
    Ok(())
}

/// This sector 0 of a disk of so many sectors with a protective MBR. Boot code, and what follows the
/// MBR in a large sector, stay.
#[must_use]
pub fn protective_mbr(sector: &[u8], sectors: u64) -> Vec<u8> {
    let mut made = sector.to_vec();
    let covered = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let [a, b, c, d] = covered.to_le_bytes();
    // Not active; from sector 1, in the old notation too; to the end, which that cannot express.
    let entry = [
        0, 0, 2, 0, PROTECTIVE, 0xff, 0xff, 0xff, 1, 0, 0, 0, a, b, c, d,
    ];
    if let Some(table) = made.get_mut(CODE_END..END) {
        table.fill(0);
        let (table, mark) = table.split_at_mut(ENTRIES.end - CODE_END);
        mark.copy_from_slice(&MARK);
        let first = ENTRIES.start - CODE_END;
        table[first..first + ENTRY_SIZE].copy_from_slice(&entry);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::DiskBuilder;

    fn built() -> (Vec<u8>, u64) {
        let disk = DiskBuilder::new().build().to_bytes();
        let sectors = u64::try_from(disk.len()).unwrap() / 512;
        (disk[..512].to_vec(), sectors)
    }

    #[test]
    fn what_is_made_is_what_gptman_makes_and_keeps_the_boot_code() {
        let (expected, sectors) = built();
        assert_eq!(check_mbr(&expected), Ok(()));
        assert_eq!(protective_mbr(&[0; 512], sectors), expected);
        let made = protective_mbr(&[0x90; 4096], u64::MAX);
        assert_eq!(check_mbr(&made), Ok(()));
        assert!(made[..440].iter().all(|byte| *byte == 0x90));
        assert!(made[512..].iter().all(|byte| *byte == 0x90));
        assert_eq!(made[458..462], [0xff; 4]);
    }

    #[test]
    fn any_of_the_four_entries_protects() {
        let (mut sector, _) = built();
        sector[446..462].fill(0);
        assert_eq!(check_mbr(&sector), Err(MbrFault::NotProtective));
        for nth in 0..4 {
            let mut hybrid = sector.clone();
            hybrid[446 + 16 * nth + 4] = 0xee;
            assert_eq!(check_mbr(&hybrid), Ok(()), "{nth}");
        }
    }

    #[test]
    fn a_sector_without_the_mark_is_no_mbr() {
        let (sector, _) = built();
        for sector in [&sector[..511], &[0; 512], &[0xe5; 512], &[]] {
            assert_eq!(check_mbr(sector), Err(MbrFault::NoSignature));
            assert_eq!(protective_mbr(sector, 100).len(), sector.len());
        }
    }
}
