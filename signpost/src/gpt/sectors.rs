//! Pure: the port to a disk that is read in whole sectors, and a copy read through it.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use snafu::{OptionExt, Snafu, ensure};

use super::fault::{EntriesChecksumSnafu, EntryCountSnafu};
use super::{Entries, Fault, Geometry, Header, Side};

/// A disk as a boot loader has it: sectors that can be read.
pub trait ReadSectors {
    /// Bytes of a sector.
    fn sector_size(&self) -> usize;

    /// How many sectors there are.
    fn sectors(&self) -> u64;

    /// Fills `buf`, whose length is a number of whole sectors, from sector `lba` on.
    ///
    /// # Errors
    /// When any of these sectors cannot be read, or is not on the disk.
    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), Unreadable>;
}

/// Sectors of a disk could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("the disk reports an error"))]
pub struct Unreadable;

/// A copy of which every checksum and every address is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundCopy {
    /// What its header says.
    pub header: Header,
    /// The whole sector of the header.
    pub sector: Vec<u8>,
    /// The entries.
    pub entries: Entries,
}

/// Why a copy is of no use, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub fault: Fault,
    /// The header, when only the entries are wrong.
    pub header: Option<Header>,
}

impl SoundCopy {
    /// Reads the copy of `side` whose header should be at `lba`. A sector that cannot be read is a
    /// fault like any other.
    ///
    /// # Errors
    /// When anything is wrong with the copy.
    pub fn read(
        disk: &impl ReadSectors,
        side: Side,
        lba: u64,
        geometry: &Geometry,
    ) -> Result<Self, Unusable> {
        let lost = |fault| Unusable {
            fault,
            header: None,
        };
        let sector = read(disk, lba, geometry.sector(), geometry).map_err(lost)?;
        let header = Header::parse(&sector, side, lba, geometry).map_err(lost)?;
        match read_entries(disk, &header, geometry) {
            Ok(entries) => Ok(Self {
                header,
                sector,
                entries,
            }),
            Err(fault) => Err(Unusable {
                fault,
                header: Some(header),
            }),
        }
    }

    /// Whether `other`, which is on the other side, says the same about the same disk.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.header.agrees_with(&other.header) && self.entries.agree_with(&other.entries)
    }
}

fn read_entries(
    disk: &impl ReadSectors,
    header: &Header,
    geometry: &Geometry,
) -> Result<Entries, Fault> {
    let count = header.entry_count;
    let length = geometry.entries_length(count);
    let bytes = read(disk, header.entries_lba, length, geometry)?;
    let entries = Entries::new(bytes, count).context(EntryCountSnafu { count })?;
    ensure!(
        entries.checksum() == header.entries_checksum,
        EntriesChecksumSnafu
    );
    Ok(entries)
}

fn read(
    disk: &impl ReadSectors,
    lba: u64,
    length: usize,
    geometry: &Geometry,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; length];
    match disk.read(lba, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Fault::Unreadable {
            offset: geometry.offset(lba),
            length,
            reason: error.to_string(),
        }),
    }
}
