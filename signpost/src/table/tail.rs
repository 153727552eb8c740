//! Whether a backup can be put at the end of the disk without taking anything away.

use std::ops::Range;

use snafu::{Snafu, ensure};

use super::copy::TableCopy;
use super::header::Header;
use crate::device::BlockDevice;
use crate::gpt::{Geometry, Side};

/// Why the backup cannot be put at the end of the disk.
#[derive(Debug, Snafu, Clone, Copy, PartialEq, Eq)]
#[snafu(visibility(pub(super)))]
#[non_exhaustive]
pub enum TailFault {
    /// A partition is there.
    #[snafu(display("partition {number} reaches the sectors that it would take up"))]
    Partition {
        /// Its number.
        number: u32,
    },
    /// The table leaves these sectors to partitions.
    #[snafu(display("the table leaves the sectors that it would take up to partitions"))]
    Usable,
    /// The only sound copy is there.
    #[snafu(display("it is the only sound copy and would be written over"))]
    OnlyCopy,
    /// Something is there that is neither zeros nor a table.
    #[snafu(display("there is something else in sector {lba}, which it would take up"))]
    Data {
        /// The first such sector.
        lba: u64,
    },
}

/// An error unless `backup`, which is to lie at the end of the disk, can be written there.
///
/// Free is a sector that is zero, that cannot be read, or that an older table takes up: one that is
/// sound, or of which at least the header is and has this disk's identifier, as a cut in the middle
/// of this very work leaves it. `own` is where the backup is now; that is free too, unless it is
/// `only`, the one copy there is.
pub(super) fn check_free(
    device: &dyn BlockDevice,
    backup: &TableCopy,
    own: &[Range<u64>],
    only: bool,
    geometry: &Geometry,
) -> Result<(), TailFault> {
    let fields = &backup.header.fields;
    let place = fields.partition_entry_lba..geometry.sectors();
    let reaching = backup.ends_of_partitions();
    if let Some((number, _)) = reaching.into_iter().find(|(_, last)| *last >= place.start) {
        return PartitionSnafu { number }.fail();
    }
    ensure!(fields.last_usable_lba < place.start, UsableSnafu);
    let overlaps = |range: &Range<u64>| range.start < place.end && place.start < range.end;
    ensure!(!only || !own.iter().any(overlaps), OnlyCopySnafu);

    let mut free = own.to_vec();
    free.extend(older_table(device, backup, geometry));
    let mut sector = vec![0; geometry.sector()];
    for lba in place {
        let known = free.iter().any(|range| range.contains(&lba));
        let readable = device.read_at(geometry.offset(lba), &mut sector).is_ok();
        let empty = !readable || sector.iter().all(|byte| *byte == 0);
        ensure!(known || empty, DataSnafu { lba });
    }
    Ok(())
}

/// The sectors of a table at the end of the disk that may be written over.
fn older_table(
    device: &dyn BlockDevice,
    backup: &TableCopy,
    geometry: &Geometry,
) -> Vec<Range<u64>> {
    let last = geometry.last_lba();
    match TableCopy::read(device, Side::Backup, last, geometry) {
        Ok(copy) => sectors(&copy.header, geometry),
        Err(unusable) => unusable
            .remains
            .filter(|remains| remains.header.fields.disk_guid == backup.header.fields.disk_guid)
            .map(|remains| sectors(&remains.header, geometry))
            .unwrap_or_default(),
    }
}

/// The sectors of a copy with this header.
pub(super) fn sectors(header: &Header, geometry: &Geometry) -> Vec<Range<u64>> {
    let fields = &header.fields;
    let entries = fields.partition_entry_lba;
    let count = geometry.entries_sectors(fields.number_of_partition_entries);
    vec![
        fields.primary_lba..fields.primary_lba.saturating_add(1),
        entries..entries.saturating_add(count),
    ]
}
