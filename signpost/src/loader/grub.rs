//! Pure: GRUB's `gptprio.next`, as Bottlerocket builds it.
//!
//! **Where this model is not GRUB.** It is stricter about headers than GRUB is (one header size,
//! one entry size, a bounded number of entries, the backup inside the disk): such a table boots here
//! less often than it does there. It is milder in two ways, which no order of our own writes could
//! make up for:
//!
//! * GRUB makes its repair in memory, and writes both copies over when it spends a try. Here a
//!   repaired copy is written by itself, and before the try. A power cut in GRUB on top of a copy
//!   that is damaged already can do more harm there.
//! * GRUB writes the 92 bytes of a header, for which it reads the sector first. A sector that reports
//!   an error is a damaged copy here and is healed by writing it. There it stops the boot, if there
//!   is a try to spend.

use alloc::vec;
use alloc::vec::Vec;

use super::{
    LoaderRun, ReadSectors, Step, backup_lba, header_of, overlaid, pick, read_primary, write,
};
use crate::gpt::{ENTRY_SIZE, Fault, Geometry, Header, Side, SoundCopy, Unusable};

/// GRUB refuses a table whose entries take up less, however few are used.
const MIN_ENTRIES_SIZE: usize = 16384;
/// Where GRUB puts the entries of a primary that it makes from the backup.
const PRIMARY_ENTRIES_LBA: u64 = 2;

/// What GRUB does with this disk: it validates both copies, repairs a damaged one from the good one,
/// picks, spends the try, and boots.
///
/// A copy is damaged when a sector of it cannot be read, when its signature, revision or a checksum
/// is wrong, or when an address in it cannot be. A backup is damaged as well when it differs from a
/// primary that is good, or only from its header if that is. Both damaged: it boots nothing and
/// writes nothing. A backup that has to be repaired moves to the end of the disk if it was not
/// there.
///
/// **After a cut** within these steps, one copy is as good as it was or as it was to be, and another
/// run finishes the job.
pub fn grub_boot(disk: &impl ReadSectors) -> LoaderRun {
    boot(disk).unwrap_or_default()
}

/// Both copies, good.
struct Both {
    primary: SoundCopy,
    backup: SoundCopy,
}

fn boot(disk: &impl ReadSectors) -> Option<LoaderRun> {
    let geometry = Geometry::new(disk.sector_size(), disk.sectors())?;
    let mut steps = Vec::new();
    let both = Both::repaired(disk, &geometry, &mut steps)?;

    let picked = pick(&both.primary.entries);
    if let Some(picked) = &picked
        && let Some(entries) = picked.spent(&both.primary.entries)
    {
        for copy in [both.backup, both.primary] {
            write_copy(&copy.with_entries(entries.clone()), &mut steps);
        }
    }
    Some(LoaderRun {
        steps,
        pick: picked.and_then(|picked| picked.slot),
    })
}

impl Both {
    /// Both copies as they are after the repair, whose steps are added to `steps`; nothing when
    /// neither is good, or when the other one cannot be made from the good one.
    fn repaired(
        disk: &impl ReadSectors,
        geometry: &Geometry,
        steps: &mut Vec<Step>,
    ) -> Option<Self> {
        let primary = read_primary(disk, geometry).and_then(large_enough);
        let backup_lba = backup_lba(&primary, geometry);
        let backup = SoundCopy::read(disk, Side::Backup, backup_lba, geometry)
            .and_then(large_enough)
            .ok()
            .filter(|backup| in_step(&primary, backup));
        match (primary, backup) {
            (Ok(primary), Some(backup)) => Some(Self { primary, backup }),
            (Ok(primary), None) => {
                let both = Self::from_primary(primary.clone(), disk, geometry)?;
                write_copy(&both.backup, steps);
                if both.primary != primary {
                    write(steps, both.primary.header.own_lba, &both.primary.sector);
                }
                Some(both)
            }
            (Err(_), Some(backup)) => {
                let primary = twin(&backup, Side::Primary, PRIMARY_ENTRIES_LBA, disk, geometry)?;
                write_copy(&primary, steps);
                Some(Self { primary, backup })
            }
            (Err(_), None) => None,
        }
    }

    /// The primary and a backup made from it, at the end of the disk.
    fn from_primary(
        primary: SoundCopy,
        disk: &impl ReadSectors,
        geometry: &Geometry,
    ) -> Option<Self> {
        let header = Header {
            twin_lba: geometry.last_lba(),
            ..primary.header
        };
        let entries_lba = header
            .twin_lba
            .checked_sub(geometry.entries_sectors(header.entry_count))?;
        let primary = SoundCopy {
            sector: overlaid(&primary.sector, &header),
            header,
            entries: primary.entries,
        };
        let backup = twin(&primary, Side::Backup, entries_lba, disk, geometry)?;
        Some(Self { primary, backup })
    }
}

/// Whether GRUB lets this backup count beside what there is of the primary.
fn in_step(primary: &Result<SoundCopy, Unusable>, backup: &SoundCopy) -> bool {
    match (primary, header_of(primary)) {
        (Ok(primary), _) => primary.agrees_with(backup),
        (Err(_), Some(header)) => header.agrees_with(&backup.header),
        (Err(_), None) => true,
    }
}

/// A copy of which GRUB does not say that it has too few entries.
fn large_enough(copy: SoundCopy) -> Result<SoundCopy, Unusable> {
    let count = copy.header.entry_count;
    let size = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(ENTRY_SIZE));
    if size.is_some_and(|size| size >= MIN_ENTRIES_SIZE) {
        Ok(copy)
    } else {
        Err(Unusable {
            fault: Fault::EntryCount { count },
            header: None,
        })
    }
}

/// The copy for the other side of `copy`, if it would be sound there.
fn twin(
    copy: &SoundCopy,
    side: Side,
    entries_lba: u64,
    disk: &impl ReadSectors,
    geometry: &Geometry,
) -> Option<SoundCopy> {
    let header = Header {
        own_lba: copy.header.twin_lba,
        twin_lba: copy.header.own_lba,
        entries_lba,
        ..copy.header.clone()
    };
    let mut found = vec![0; geometry.sector()];
    if disk.read(header.own_lba, &mut found).is_err() {
        found.fill(0);
    }
    let sector = overlaid(&found, &header);
    Header::parse(&sector, side, header.own_lba, geometry).ok()?;
    Some(SoundCopy {
        header,
        sector,
        entries: copy.entries.clone(),
    })
}

fn write_copy(copy: &SoundCopy, steps: &mut Vec<Step>) {
    write(steps, copy.header.own_lba, &copy.sector);
    write(steps, copy.header.entries_lba, copy.entries.bytes());
}
