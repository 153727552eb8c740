//! Pure: a header that was judged first and decoded by gptman then.
//!
//! gptman allocates and computes on the fields of a header as it finds them, and asserts some of
//! them. So what it is given has passed [`gpt::Header::parse`], and what it makes of it must be the
//! same.

use std::io::Cursor;

use gptman::GPTHeader;
use snafu::ensure;

use crate::gpt::{self, Fault, Geometry, Side};

/// A header whose checksum matches and whose every field has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// All fields. `primary_lba` is where this header is and `backup_lba` where the other one is,
    /// on either side.
    pub(super) fields: GPTHeader,
}

impl Header {
    /// Checks the sector that was read at `lba`, where the header of `side` should be.
    pub(super) fn parse(
        sector: &[u8],
        side: Side,
        lba: u64,
        geometry: &Geometry,
    ) -> Result<Self, Fault> {
        let judged = gpt::Header::parse(sector, side, lba, geometry)?;
        let unparsable = |reason| Fault::Unparsable { reason };
        let fields = GPTHeader::read_from(&mut Cursor::new(sector))
            .map_err(|error| unparsable(error.to_string()))?;
        ensure!(
            says_the_same(&judged, &fields),
            gpt::UnparsableSnafu {
                reason: "two readings of its header differ"
            }
        );
        Ok(Self { fields })
    }

    /// Where the header of the other side is.
    pub(super) const fn twin_lba(&self) -> u64 {
        self.fields.backup_lba
    }
}

fn says_the_same(judged: &gpt::Header, fields: &GPTHeader) -> bool {
    judged.own_lba == fields.primary_lba
        && judged.twin_lba == fields.backup_lba
        && judged.first_usable_lba == fields.first_usable_lba
        && judged.last_usable_lba == fields.last_usable_lba
        && judged.entries_lba == fields.partition_entry_lba
        && judged.entry_count == fields.number_of_partition_entries
        && judged.entries_checksum == fields.partition_entry_array_crc32
}
