//! Pure: a loader that repairs nothing and boots from no table that it has doubts about.

use alloc::vec::Vec;

use super::{LoaderRun, ReadSectors, Step, backup_lba, pick, read_primary, write};
use crate::gpt::{Geometry, HEADER_SIZE, Side, SoundCopy};

/// What such a loader does with this disk: it takes the first copy that validates completely, the
/// primary, else the backup, picks, spends the try, and boots.
///
/// Completely is: everything that GRUB checks, and also that the reserved bytes of the header and
/// the rest of its sector are 0. Neither copy does: it boots nothing.
///
/// The try is spent in the copy that was used, and in the other one if that validates completely and
/// says the same. It is spent in place, in the one sector of the entry and that of the header. A
/// copy that is damaged or differs stays as it is: this loader never repairs. **After a cut** within
/// these steps there is a good copy left if there were two before; the last good copy of a table
/// that was damaged already may be lost, as it must be with any loader that does not repair first.
pub fn strict_boot(disk: &impl ReadSectors) -> LoaderRun {
    boot(disk).unwrap_or_default()
}

fn boot(disk: &impl ReadSectors) -> Option<LoaderRun> {
    let geometry = Geometry::new(disk.sector_size(), disk.sectors())?;
    let primary = read_primary(disk, &geometry);
    let backup = SoundCopy::read(
        disk,
        Side::Backup,
        backup_lba(&primary, &geometry),
        &geometry,
    );
    let primary = primary.ok().filter(has_clean_header);
    let backup = backup.ok().filter(has_clean_header);
    let used = primary.as_ref().or(backup.as_ref())?;

    let mut steps = Vec::new();
    let picked = pick(&used.entries);
    if let Some(picked) = &picked
        && let Some(entries) = picked.spent(&used.entries)
    {
        for copy in [&backup, &primary].into_iter().flatten() {
            if copy == used || copy.agrees_with(used) {
                write_changes(
                    copy,
                    &copy.with_entries(entries.clone()),
                    &geometry,
                    &mut steps,
                );
            }
        }
    }
    Some(LoaderRun {
        steps,
        pick: picked.and_then(|picked| picked.slot),
    })
}

/// Whether everything in the header's sector that should be 0 is.
fn has_clean_header(copy: &SoundCopy) -> bool {
    let rest = copy.sector.get(HEADER_SIZE..).unwrap_or_default();
    copy.header.reserved == 0 && rest.iter().all(|byte| *byte == 0)
}

/// The sectors of `new` that are not those of `old`, the header first.
fn write_changes(old: &SoundCopy, new: &SoundCopy, geometry: &Geometry, steps: &mut Vec<Step>) {
    write(steps, new.header.own_lba, &new.sector);
    let [before, after] = [old, new].map(|copy| copy.entries.bytes().chunks(geometry.sector()));
    let lbas = (0..).map(|nth| new.header.entries_lba.saturating_add(nth));
    for (lba, (before, after)) in lbas.zip(before.zip(after)) {
        if before != after {
            write(steps, lba, after);
        }
    }
}
