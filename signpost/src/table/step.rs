//! One copy to write, sector by sector, and the order within it.

use snafu::{ResultExt, ensure};

use super::copy::TableCopy;
use super::error::{Error, MismatchSnafu, ReadBackSnafu, SyncSnafu, WriteSnafu};
use super::image::Region;
use crate::device::BlockDevice;
use crate::gpt::Geometry;

/// One copy to write: what it will be, and which of its bytes to put on the disk.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) copy: TableCopy,
    /// The sectors of the header and those of the entries. The first are on the disk before the
    /// second are written.
    groups: [Vec<SectorWrite>; 2],
}

#[derive(Debug)]
struct SectorWrite {
    offset: u64,
    bytes: Vec<u8>,
}

/// How much of a copy to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    ChangedSectors,
    EverySector,
}

impl Step {
    /// Every sector of this copy.
    pub(super) fn whole(copy: &TableCopy, geometry: &Geometry) -> Self {
        Self::new(copy, copy.clone(), Extent::EverySector, geometry)
    }

    pub(super) fn new(
        old: &TableCopy,
        new: TableCopy,
        extent: Extent,
        geometry: &Geometry,
    ) -> Self {
        let ([old_header, old_entries], [header, entries]) = (old.regions(), new.regions());
        let groups = [
            changes(old_header, header, extent, geometry),
            changes(old_entries, entries, extent, geometry),
        ];
        Self { copy: new, groups }
    }

    /// Writes the header, makes it durable and reads it back from the medium; then the entries.
    pub(super) fn carry_out(&self, device: &dyn BlockDevice, disk: &str) -> Result<(), Error> {
        let side = self.copy.side;
        for (region, sectors) in self.copy.regions().into_iter().zip(&self.groups) {
            for SectorWrite { offset, bytes } in sectors {
                let offset = *offset;
                device
                    .write_at(offset, bytes)
                    .context(WriteSnafu { disk, side, offset })?;
            }
            device.sync().context(SyncSnafu { disk, side })?;
            let offset = region.offset;
            let mut found = vec![0; region.bytes.len()];
            device
                .read_back_at(offset, &mut found)
                .context(ReadBackSnafu { disk, side, offset })?;
            ensure!(found == region.bytes, MismatchSnafu { disk, side, offset });
        }
        Ok(())
    }
}

/// The sectors of a region that are to be written.
fn changes(
    before: &Region,
    after: &Region,
    extent: Extent,
    geometry: &Geometry,
) -> Vec<SectorWrite> {
    let offsets = (0u64..).map(|nth| after.offset.saturating_add(geometry.offset(nth)));
    let pairs = before
        .bytes
        .chunks(geometry.sector())
        .zip(after.bytes.chunks(geometry.sector()));
    offsets
        .zip(pairs)
        .filter(|(_, (before, after))| extent == Extent::EverySector || before != after)
        .map(|(offset, (_, after))| SectorWrite {
            offset,
            bytes: after.to_vec(),
        })
        .collect()
}
