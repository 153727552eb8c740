//! A copy made from another one: the other side's, or one in another place.

use snafu::{OptionExt, ResultExt};

use super::{Error, Header, Image, Region, Remains, TableCopy, UnsoundSnafu, render};
use crate::gpt::{AddressSnafu, Geometry, PRIMARY_LBA, Side};

/// Where a copy belongs.
struct Place {
    side: Side,
    lba: u64,
    twin_lba: u64,
    entries_lba: u64,
}

impl TableCopy {
    /// The copy that belongs on the other side, from this one.
    ///
    /// `remains` is the header that is there, if it is sound: then the entries go where it says, and
    /// what follows it in its sector stays. Else the entries go where they usually are, after the
    /// primary header or before the backup header.
    pub(in crate::table) fn twin(
        &self,
        remains: Option<&Remains>,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let side = self.side.other();
        let own = &self.header.fields;
        let lba = own.backup_lba;
        let usual = match side {
            Side::Primary => PRIMARY_LBA.checked_add(1),
            Side::Backup => lba.checked_sub(geometry.entries_sectors(self.entry_count())),
        };
        let entries_lba = remains
            .filter(|remains| {
                remains.header.fields.number_of_partition_entries == self.entry_count()
            })
            .map(|remains| remains.header.fields.partition_entry_lba)
            .or(usual);
        let place = Place {
            side,
            lba,
            twin_lba: own.primary_lba,
            entries_lba: address(side, lba, entries_lba)?,
        };
        self.made(&place, remains, geometry)
    }

    /// A backup in the last sectors of the disk that says what this copy says. What followed the
    /// header of the backup that was there before comes along.
    pub(in crate::table) fn backup_at_end(
        &self,
        remains: Option<&Remains>,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let side = Side::Backup;
        let lba = geometry.last_lba();
        let entries_lba = lba.checked_sub(geometry.entries_sectors(self.entry_count()));
        let place = Place {
            side,
            lba,
            twin_lba: PRIMARY_LBA,
            entries_lba: address(side, lba, entries_lba)?,
        };
        self.made(&place, remains, geometry)
    }

    /// This primary with its backup elsewhere.
    pub(in crate::table) fn with_backup_at(
        &self,
        lba: u64,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let fields = &self.header.fields;
        let place = Place {
            side: self.side,
            lba: fields.primary_lba,
            twin_lba: lba,
            entries_lba: fields.partition_entry_lba,
        };
        self.made(&place, Some(&self.remains()), geometry)
    }

    pub(in crate::table) const fn entry_count(&self) -> u32 {
        self.header.fields.number_of_partition_entries
    }

    fn made(
        &self,
        place: &Place,
        remains: Option<&Remains>,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let mut fields = self.header.fields.clone();
        fields.primary_lba = place.lba;
        fields.backup_lba = place.twin_lba;
        fields.partition_entry_lba = place.entries_lba;
        let image = Image::new(
            Region {
                offset: geometry.offset(place.lba),
                bytes: remains.map_or_else(
                    || vec![0; geometry.sector()],
                    |remains| remains.sector.clone(),
                ),
            },
            Region {
                offset: geometry.offset(place.entries_lba),
                // What follows the last entry in its sector comes along.
                bytes: self.image.entries.bytes.clone(),
            },
        );
        render(
            place.side,
            Header { fields },
            &self.partitions,
            image,
            geometry,
        )
    }
}

/// The sector of the entries, if there can be one.
fn address(side: Side, lba: u64, entries_lba: Option<u64>) -> Result<u64, Error> {
    entries_lba
        .context(AddressSnafu {
            field: "entry array",
            lba,
        })
        .context(UnsoundSnafu { side })
}
