//! What a disk was before something was done to it, and what must still be so afterwards.

use std::ops::Range;
use std::sync::Arc;

use signpost::device::DeviceSectors;
use signpost::gpt::{Geometry, MbrFault, PRIMARY_LBA, SoundCopy};
use signpost::layout::{Entry, Layout};
use signpost::loader::{LoaderRun, grub_boot, strict_boot};
use signpost::table::{Damage, Side, Table};
use signpost::{BlockDevice, BootDisk, Slot};

use crate::journal::Journal;
use crate::raw;

/// What was there before.
#[derive(Debug)]
pub struct Facts {
    /// Bytes of a sector of the table.
    pub sector: usize,
    /// What was wrong with a copy.
    pub damage: Option<Damage>,
    /// Nothing is to be put right: both copies are sound and at the ends of the disk, and there is an
    /// MBR.
    pub in_order: bool,
    /// What GRUB's model makes of the disk.
    pub grub: LoaderRun,
    /// What the strict model makes of it.
    pub strict: LoaderRun,
    layout: Layout,
    entries: Vec<Entry>,
    /// Sector 0, if it has to stay as it is.
    mbr: Option<Vec<u8>>,
    /// The copy that counts.
    trusted: Copy,
    writes: usize,
}

/// A copy as bytes.
#[derive(Debug, PartialEq, Eq)]
struct Copy {
    /// The whole sector of the header.
    header: (Range<usize>, Vec<u8>),
    /// Every entry, used or not.
    entries: (Range<usize>, Vec<u8>),
}

/// The same disk as signpost takes it.
pub fn device(disk: &Arc<Journal>) -> Arc<dyn BlockDevice> {
    Arc::clone(disk) as Arc<dyn BlockDevice>
}

/// What both loader models make of a disk with sectors of this size.
pub fn loaders(disk: &Journal, sector: usize) -> [LoaderRun; 2] {
    let sectors = DeviceSectors::new(disk, sector);
    [grub_boot(&sectors), strict_boot(&sectors)]
}

impl Facts {
    /// Looks at a disk that signpost reads.
    pub fn of(disk: &Journal, read: &BootDisk) -> Self {
        let sector = Table::read(disk).map(|table| table.sector_size());
        let sector = sector.expect("it has just been read");
        let [grub, strict] = loaders(disk, sector);
        let damage = read.damage().cloned();
        let side = damage
            .as_ref()
            .map_or(Side::Primary, |damage| damage.side.other());
        Self {
            sector,
            grub,
            strict,
            in_order: damage.is_none() && !mbr_is_lost(read) && backup_is_at_end(disk, sector),
            mbr: (!mbr_is_lost(read)).then(|| disk.look(|bytes| bytes[..sector].to_vec())),
            layout: *read.layout(),
            entries: read.entries(),
            trusted: {
                let header = trusted(disk, sector, side);
                disk.look(|bytes| Copy::read(bytes, sector, header))
            },
            damage,
            writes: disk.writes(),
        }
    }

    /// Nothing was written.
    pub fn assert_untouched(&self, disk: &Journal, by: &str) {
        let written = disk.written_since(self.writes);
        assert!(written.is_empty(), "{by} wrote {written:?}");
    }

    /// Nothing was written, or only what was not in order is put right.
    pub fn assert_settled_at_most(&self, disk: &Arc<Journal>, by: &str) {
        if self.in_order {
            self.assert_untouched(disk, by);
        } else if disk.writes() > self.writes {
            self.assert_changed(disk, by);
        }
    }

    /// Everything is in order now, and of what was there before only boot bits are changed. Gives what
    /// is there now.
    pub fn assert_changed(&self, disk: &Arc<Journal>, by: &str) -> BootDisk {
        let now = self.assert_table_kept(disk, by);
        assert!(!mbr_is_lost(&now), "after {by}");
        assert!(backup_is_at_end(disk, self.sector), "after {by}");
        if let Some(mbr) = &self.mbr {
            let wrong = disk.look(|bytes| difference(mbr, &bytes[..self.sector]));
            assert_eq!(wrong, None, "the MBR after {by}");
        }
        let mut places = disk.look(|bytes| tables(bytes, self.sector));
        if self.mbr.is_none() {
            places.push(0..self.sector);
        }
        for written in disk.written_since(self.writes) {
            let inside =
                |place: &Range<usize>| place.start <= written.start && written.end <= place.end;
            assert!(
                places.iter().any(inside),
                "{by} wrote {written:?}, where there is no table"
            );
        }
        let primary = disk.look(|bytes| Copy::read(bytes, self.sector, self.sector));
        self.assert_only_our_bits_differ(&primary, by);
        if self.in_order {
            let [before, after] = [&self.trusted, &primary].map(|copy| {
                let mut header = copy.header.1.clone();
                raw::put(&mut header, 16, &[0; 4]);
                raw::put(&mut header, 88, &[0; 4]);
                header
            });
            let wrong = difference(&before, &after);
            assert_eq!(wrong, None, "the sector of the header after {by}");
        }
        now
    }

    /// Both copies are sound and the same, wherever they are now, and say what was said before but
    /// for boot bits. Gives what is there now.
    pub fn assert_table_kept(&self, disk: &Arc<Journal>, by: &str) -> BootDisk {
        let wrong = disk.look(|bytes| raw::contradiction(bytes, self.sector));
        assert_eq!(wrong, None, "after {by}");
        let now = BootDisk::read(device(disk))
            .unwrap_or_else(|error| panic!("after {by} the table is not read: {error:?}"));
        assert_eq!(now.damage(), None, "after {by}");
        assert_eq!(now.layout(), &self.layout, "after {by}");
        assert_eq!(now.entries().len(), self.entries.len(), "after {by}");
        for (now, before) in now.entries().iter().zip(&self.entries) {
            let mask = self.our_bits(before.number);
            let expected = Entry {
                attributes: (before.attributes & !mask) | (now.attributes & mask),
                ..*before
            };
            assert_eq!(*now, expected, "after {by}");
        }
        now
    }

    /// A partition of a set that lies over a table, or over the MBR: writing an update would destroy
    /// it. There must be none.
    pub fn set_over_a_table(&self, disk: &Journal) -> Option<String> {
        let mut places = vec![
            0..self.sector,
            self.trusted.header.0.clone(),
            self.trusted.entries.0.clone(),
        ];
        if self.damage.is_none() {
            places.extend(disk.look(|bytes| tables(bytes, self.sector)));
        }
        for (slot, set) in self.layout.sets.iter() {
            for (kind, partition) in set.iter() {
                let start = usize::try_from(partition.start).expect("it is in memory");
                let end = start + usize::try_from(partition.length).expect("it is in memory");
                let over = |place: &&Range<usize>| start < place.end && place.start < end;
                if let Some(place) = places.iter().find(over) {
                    return Some(format!("{kind} of {slot}, {start}..{end}, over {place:?}"));
                }
            }
        }
        None
    }

    /// The bits of an entry that are ours.
    fn our_bits(&self, number: u32) -> u64 {
        let of_a_set = |(_, set): (Slot, &signpost::PartitionSet)| set.boot.number == number;
        if self.layout.sets.iter().any(of_a_set) {
            0x01ff << 48
        } else if self.layout.private.number == number {
            1 << 57
        } else {
            0
        }
    }

    /// A copy has the usable sectors, the identifier and the entries of the one that counted, used or
    /// not, but for our bits.
    fn assert_only_our_bits_differ(&self, now: &Copy, by: &str) {
        let fields = |copy: &Copy| [&copy.header.1[40..72], &copy.header.1[80..88]].concat();
        let wrong = difference(&fields(&self.trusted), &fields(now));
        assert_eq!(wrong, None, "the header after {by}");
        let [before, after] =
            [&self.trusted.entries.1, &now.entries.1].map(|bytes| bytes.chunks(raw::ENTRY));
        assert_eq!(before.len(), after.len(), "after {by}");
        for ((number, before), after) in (1..).zip(before).zip(after) {
            let mask = self.our_bits(number);
            let masked = |entry: &[u8]| {
                let mut entry = entry.to_vec();
                let bits = raw::u64_at(&entry, 48) & !mask;
                raw::put(&mut entry, 48, &bits.to_le_bytes());
                entry
            };
            let wrong = difference(&masked(before), &masked(after));
            assert_eq!(wrong, None, "entry {number} after {by}");
        }
    }
}

impl Copy {
    fn read(disk: &[u8], sector: usize, header: usize) -> Self {
        let entries = raw::entries(disk, sector, &(header..header + raw::HEADER));
        let entries = entries.expect("signpost has read them");
        Self {
            header: cut(disk, &(header..header + sector)),
            entries: cut(disk, &entries),
        }
    }
}

/// Whether there is no MBR, so that one may be written.
fn mbr_is_lost(read: &BootDisk) -> bool {
    read.mbr_fault().is_some_and(MbrFault::may_be_repaired)
}

/// Whether the primary points to the last sector.
fn backup_is_at_end(disk: &Journal, sector: usize) -> bool {
    let sectors = disk.look(<[u8]>::len) / sector;
    let twin = disk.look(|bytes| raw::u64_at(bytes, sector + 32));
    usize::try_from(twin).is_ok_and(|twin| twin + 1 == sectors)
}

/// Where the header of the copy is that signpost goes by.
fn trusted(disk: &Journal, sector: usize, side: Side) -> usize {
    if side == Side::Primary {
        return sector;
    }
    // A primary header counts for where the backup is even if its entries are gone.
    let sectors = DeviceSectors::new(disk, sector);
    let geometry = Geometry::of_length(disk.len(), sector).expect("it has been read");
    let primary = SoundCopy::read(&sectors, Side::Primary, PRIMARY_LBA, &geometry);
    let header = match primary {
        Ok(copy) => Some(copy.header),
        Err(unusable) => unusable.header,
    };
    let lba = header.map_or(geometry.last_lba(), |header| header.twin_lba);
    usize::try_from(geometry.offset(lba)).expect("it is in memory")
}

/// The first byte in which two differ, for messages that can be read.
fn difference(one: &[u8], two: &[u8]) -> Option<usize> {
    if one.len() != two.len() {
        return Some(one.len().min(two.len()));
    }
    one.iter().zip(two).position(|(one, two)| one != two)
}

/// Where the copies are, each header with its whole sector and the entries to the end of theirs.
fn tables(disk: &[u8], sector: usize) -> Vec<Range<usize>> {
    let sides = [Side::Primary, Side::Backup];
    let headers = sides.map(|side| raw::header(disk, sector, side));
    let entries = headers
        .iter()
        .filter_map(|header| raw::entries(disk, sector, header))
        .map(|entries| entries.start..entries.end.next_multiple_of(sector));
    let sectors = headers
        .iter()
        .map(|header| header.start..header.start + sector);
    sectors.chain(entries).collect()
}

fn cut(disk: &[u8], place: &Range<usize>) -> (Range<usize>, Vec<u8>) {
    let bytes = disk.get(place.clone()).unwrap_or_default();
    (place.clone(), bytes.to_vec())
}
