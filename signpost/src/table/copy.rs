//! One sound copy of a partition table: read, changed in memory, or made from its twin.
//!
//! Nothing here writes to a disk. gptman decodes and renders, one copy at a time and each from its
//! own header: its functions for a whole table compute where the backup belongs from the length of
//! the disk, which is wrong on every disk that is larger than the image it was made from.

mod made;

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};

use gptman::GPTPartitionEntry;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use super::header::Header;
use super::image::{Image, Region};
use crate::device::BlockDevice;
use crate::gpt::{ENTRY_SIZE, Fault, Geometry, Side};
use crate::guid::Guid;
use crate::layout::{ByteRange, Entry};

/// Where the checksum of the header is in the header, and where that of the entries is.
const CHECKSUMS: [std::ops::Range<usize>; 2] = [16..20, 88..92];
/// Where the attribute bits are in an entry.
const ATTRIBUTES: std::ops::Range<usize> = 48..56;

/// Why a copy could not be rendered. Nothing was written.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum Error {
    /// There is no such entry.
    #[snafu(display("there is no partition {number}"))]
    NoEntry {
        /// The number that was asked for.
        number: u32,
    },
    /// gptman failed.
    #[snafu(display("rendering the {side} table"))]
    Gptman {
        /// The copy.
        side: Side,
        /// Its answer.
        source: gptman::Error,
    },
    /// What came out would not be read back as a sound table.
    #[snafu(display("the rendered {side} table would not be sound"))]
    Unsound {
        /// The copy.
        side: Side,
        /// What is wrong with it.
        source: Fault,
    },
    /// What came out differs from what is on the disk in more than what was asked for.
    #[snafu(display("rendering would change more of the {side} table than was asked for"))]
    Unintended {
        /// The copy.
        side: Side,
    },
}

/// A copy of which every checksum and every address is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableCopy {
    pub(super) side: Side,
    pub(super) header: Header,
    partitions: Vec<GPTPartitionEntry>,
    image: Image,
}

/// Why a copy is of no use, and what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Unusable {
    pub(super) fault: Fault,
    /// The header, when only the entries are wrong.
    pub(super) remains: Option<Box<Remains>>,
}

/// The sound header of a copy that is to be made anew.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) header: Header,
    /// Its whole sector, of which nobody knows what follows the header.
    sector: Vec<u8>,
}

impl TableCopy {
    /// Reads the copy of `side` whose header should be at `lba`. An unreadable sector is a fault
    /// like any other: the twin may be sound, and writing heals the sector.
    pub(super) fn read(
        device: &dyn BlockDevice,
        side: Side,
        lba: u64,
        geometry: &Geometry,
    ) -> Result<Self, Unusable> {
        let lost = |fault| Unusable {
            fault,
            remains: None,
        };
        let sector = read(device, geometry.offset(lba), geometry.sector()).map_err(lost)?;
        let header = Header::parse(&sector.bytes, side, lba, geometry).map_err(lost)?;
        let length = geometry.entries_length(header.fields.number_of_partition_entries);
        let entries_at = geometry.offset(header.fields.partition_entry_lba);
        let remains = Remains {
            header: header.clone(),
            sector: sector.bytes.clone(),
        };
        read(device, entries_at, length)
            .and_then(|entries| Self::decode(side, header, Image::new(sector, entries), geometry))
            .map_err(|fault| Unusable {
                fault,
                remains: Some(Box::new(remains)),
            })
    }

    fn decode(
        side: Side,
        header: Header,
        mut image: Image,
        geometry: &Geometry,
    ) -> Result<Self, Fault> {
        let partitions = header
            .fields
            .read_partitions(&mut image, geometry.sector_bytes())
            .map_err(|error| match error {
                gptman::Error::InvalidPartitionEntryArrayChecksum(..) => Fault::EntriesChecksum,
                other => Fault::Unparsable {
                    reason: other.to_string(),
                },
            })?;
        // Two images are equal when their bytes are.
        image
            .seek(SeekFrom::Start(0))
            .map_err(|error| Fault::Unparsable {
                reason: error.to_string(),
            })?;
        Ok(Self {
            side,
            header,
            partitions,
            image,
        })
    }

    /// The header sector and the entries, each with its offset on the disk.
    pub(super) const fn regions(&self) -> [&Region; 2] {
        [&self.image.header, &self.image.entries]
    }

    /// Whether the disk still holds exactly these bytes.
    pub(super) fn is_on(&self, device: &dyn BlockDevice) -> bool {
        self.regions().into_iter().all(|region| {
            read(device, region.offset, region.bytes.len()).is_ok_and(|found| found == *region)
        })
    }

    /// Whether both say the same about the same disk.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let (one, two) = (&self.header.fields, &other.header.fields);
        self.partitions == other.partitions
            && one.disk_guid == two.disk_guid
            && one.first_usable_lba == two.first_usable_lba
            && one.last_usable_lba == two.last_usable_lba
    }

    /// The used entries, in the order of their numbers.
    pub(super) fn entries(&self, geometry: &Geometry) -> Vec<Entry> {
        self.entries_with(|partition| geometry.range(partition.starting_lba, partition.ending_lba))
    }

    /// The same, each with what it takes up of the disk, also when it ends beyond.
    pub(super) fn extents(&self, geometry: &Geometry) -> Vec<Entry> {
        self.entries_with(|partition| geometry.extent(partition.starting_lba, partition.ending_lba))
    }

    fn entries_with(&self, range: impl Fn(&GPTPartitionEntry) -> Option<ByteRange>) -> Vec<Entry> {
        self.used()
            .map(|(number, partition)| Entry {
                number,
                type_guid: Guid(partition.partition_type_guid),
                guid: Guid(partition.unique_partition_guid),
                range: range(partition),
                attributes: partition.attribute_bits,
            })
            .collect()
    }

    fn used(&self) -> impl Iterator<Item = (u32, &GPTPartitionEntry)> {
        (1u32..)
            .zip(&self.partitions)
            .filter(|(_, partition)| partition.is_used())
    }

    /// The last sector of each used entry, whether or not the disk has it.
    pub(super) fn ends_of_partitions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.used()
            .map(|(number, partition)| (number, partition.ending_lba))
    }

    /// The bytes that partitions may have.
    pub(super) fn usable(&self, geometry: &Geometry) -> Option<ByteRange> {
        let fields = &self.header.fields;
        geometry.range(fields.first_usable_lba, fields.last_usable_lba)
    }

    /// The sector of the backup header, by the word of this copy.
    pub(super) const fn backup_lba(&self) -> u64 {
        match self.side {
            Side::Primary => self.header.fields.backup_lba,
            Side::Backup => self.header.fields.primary_lba,
        }
    }

    /// What would be left of this copy if its entries were lost.
    pub(super) fn remains(&self) -> Remains {
        Remains {
            header: self.header.clone(),
            sector: self.image.header.bytes.clone(),
        }
    }

    /// The attribute bits of an entry that is used.
    pub(super) fn attributes(&self, number: u32) -> Option<u64> {
        let partition = self.partitions.get(index(number)?)?;
        partition.is_used().then_some(partition.attribute_bits)
    }

    /// This copy with other attribute bits, and every other byte as it is but the checksums.
    pub(super) fn with_attributes(
        &self,
        changes: &BTreeMap<u32, u64>,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let mut partitions = self.partitions.clone();
        let mut expected = self.image.entries.bytes.clone();
        for (&number, &bits) in changes {
            let place = index(number).context(NoEntrySnafu { number })?;
            let partition = partitions.get_mut(place).context(NoEntrySnafu { number })?;
            partition.attribute_bits = bits;
            // The same change by hand, to hold gptman's work against.
            let field = expected
                .chunks_exact_mut(ENTRY_SIZE)
                .nth(place)
                .and_then(|entry| entry.get_mut(ATTRIBUTES))
                .context(NoEntrySnafu { number })?;
            field.copy_from_slice(&bits.to_le_bytes());
        }
        let rendered = render(
            self.side,
            self.header.clone(),
            &partitions,
            self.image.clone(),
            geometry,
        )?;

        let same_entries = rendered.image.entries.bytes == expected;
        let same_header = without_checksums(&rendered.image.header.bytes)
            == without_checksums(&self.image.header.bytes);
        ensure!(
            same_entries && same_header,
            UnintendedSnafu { side: self.side }
        );
        Ok(rendered)
    }
}

/// Lets gptman write a copy into `image`, and reads it as if it came from a disk.
fn render(
    side: Side,
    mut header: Header,
    partitions: &[GPTPartitionEntry],
    mut image: Image,
    geometry: &Geometry,
) -> Result<TableCopy, Error> {
    let lba = header.fields.primary_lba;
    header
        .fields
        .write_into(&mut image, geometry.sector_bytes(), partitions)
        .context(GptmanSnafu { side })?;
    let reread = Header::parse(&image.header.bytes, side, lba, geometry)
        .and_then(|header| TableCopy::decode(side, header, image, geometry))
        .context(UnsoundSnafu { side })?;
    ensure!(
        reread.header == header && reread.partitions == partitions,
        UnintendedSnafu { side }
    );
    Ok(reread)
}

fn read(device: &dyn BlockDevice, offset: u64, length: usize) -> Result<Region, Fault> {
    let mut bytes = vec![0; length];
    match device.read_at(offset, &mut bytes) {
        Ok(()) => Ok(Region { offset, bytes }),
        Err(error) => Err(Fault::Unreadable {
            offset,
            length,
            reason: error.to_string(),
        }),
    }
}

/// The place of an entry in the array.
fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

fn without_checksums(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    for field in CHECKSUMS {
        if let Some(bytes) = header.get_mut(field) {
            bytes.fill(0);
        }
    }
    header
}
