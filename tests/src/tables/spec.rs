//! Disks with partition sets as nobody would lay them out by hand, but as the format allows.

use signpost::Guid;
use signpost::guid;
use signpost::table::Side;

use super::random::Random;
use super::raw;

/// What is special about a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Two sets in a table of 128 entries, at both ends of the disk.
    Usual,
    /// One set.
    Single,
    /// More than 128 entries, up to 1024.
    MoreEntries,
    /// Fewer than 128 entries, which GRUB does not boot from.
    FewerEntries,
    /// The entries are not next to their headers.
    Moved,
    /// The disk goes on after the backup.
    Grown,
}

impl Shape {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Usual,
        Self::Single,
        Self::MoreEntries,
        Self::FewerEntries,
        Self::Moved,
        Self::Grown,
    ];
}

/// A used entry.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for.
    pub type_guid: Guid,
    guid: Guid,
    first: u64,
    last: u64,
    /// All 64 bits.
    pub attributes: u64,
    name: String,
}

/// A disk with its table, and boot code in its MBR.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What is special about it.
    pub shape: Shape,
    /// Bytes of a sector.
    pub sector: usize,
    /// How many sectors there are.
    pub sectors: u64,
    /// The used entries.
    pub entries: Vec<Planned>,
    boot_code: Vec<u8>,
    disk_guid: [u8; 16],
    entry_count: u32,
    usable: [u64; 2],
    entries_lba: [u64; 2],
    backup_lba: u64,
}

/// Words for names: of more than one byte, of more than one unit of UTF-16, and of none.
const WORDS: [&str; 6] = [
    "",
    "data",
    "größe",
    "диск",
    "🦀 crab",
    "a name of thirty-six units in all 36",
];

impl Spec {
    /// A disk of this shape, in which everything else is random.
    pub fn random(random: &mut Random, sector: usize, shape: Shape) -> Self {
        let entry_count = match shape {
            Shape::MoreEntries => 132 + 4 * u32_below(random, 224),
            Shape::FewerEntries => 4 + 4 * u32_below(random, 31),
            _ => 128,
        };
        let mut entries = numbered(random, shape, entry_count);
        let array = u64::from(entry_count) * 128;
        let array = array.div_ceil(u64::try_from(sector).unwrap_or(512));
        let mut gap = |at_most| match shape {
            Shape::Moved => random.below(at_most),
            _ => 0,
        };
        let primary_entries = 2 + gap(40);
        let first_usable = primary_entries + array + gap(9);
        let after_last_usable = gap(9);
        let after_backup_entries = gap(5);
        let mut next = first_usable;
        let mut places: Vec<_> = entries.iter_mut().collect();
        random.shuffle(&mut places);
        for entry in places {
            entry.first = next + random.below(6);
            entry.last = entry.first + random.below(40);
            next = entry.last + 1;
        }
        let last_usable = next + random.below(20);
        let backup_entries = last_usable + 1 + after_last_usable;
        let backup_lba = backup_entries + array + after_backup_entries;
        let growth = match shape {
            Shape::Grown => 1 + random.below(200),
            _ => 0,
        };
        Self {
            shape,
            sector,
            sectors: backup_lba + 1 + growth,
            entries,
            boot_code: (0..28).flat_map(|_| random.bytes()).take(440).collect(),
            disk_guid: random.bytes(),
            entry_count,
            usable: [first_usable, last_usable],
            entries_lba: [primary_entries, backup_entries],
            backup_lba,
        }
    }

    /// The disk. Partitions hold zeros.
    ///
    /// # Panics
    /// When it does not fit into memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let at = |lba: u64| usize::try_from(lba).expect("a small disk") * self.sector;
        let mut disk = vec![0; at(self.sectors)];
        raw::put(&mut disk, 0, &self.boot_code);
        // One partition of type EE over the whole disk, and the signature.
        let length = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        raw::put(&mut disk, 446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        raw::put(&mut disk, 454, &1u32.to_le_bytes());
        raw::put(&mut disk, 458, &length.to_le_bytes());
        raw::put(&mut disk, 510, &[0x55, 0xaa]);
        let headers = [1, self.backup_lba];
        for copy in [0, 1] {
            let (own, twin) = (headers[copy], headers[1 - copy]);
            for entry in &self.entries {
                let index = usize::try_from(entry.number - 1).expect("a small table");
                let place = at(self.entries_lba[copy]) + index * raw::ENTRY;
                raw::put(&mut disk, place, &entry.to_bytes());
            }
            raw::put(
                &mut disk,
                at(own),
                &self.header(own, twin, self.entries_lba[copy]),
            );
        }
        for side in [Side::Backup, Side::Primary] {
            raw::fix(&mut disk, self.sector, side);
        }
        disk
    }

    /// A header without its checksums.
    fn header(&self, own: u64, twin: u64, entries: u64) -> Vec<u8> {
        let [first, last] = self.usable;
        [
            &b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0"[..],
            &[own, twin, first, last].map(u64::to_le_bytes).concat(),
            &self.disk_guid,
            &entries.to_le_bytes(),
            &[self.entry_count, 128, 0].map(u32::to_le_bytes).concat(),
        ]
        .concat()
    }
}

impl Planned {
    fn to_bytes(&self) -> Vec<u8> {
        let name = self.name.encode_utf16().flat_map(u16::to_le_bytes);
        [
            &self.type_guid.bytes()[..],
            &self.guid.bytes(),
            &[self.first, self.last, self.attributes]
                .map(u64::to_le_bytes)
                .concat(),
            &name.collect::<Vec<_>>(),
        ]
        .concat()
    }
}

/// Sets, the private partition and others in any order of their numbers, with gaps.
fn numbered(random: &mut Random, shape: Shape, entry_count: u32) -> Vec<Planned> {
    let set = vec![guid::BOOT, guid::ROOT, guid::HASH];
    let mut groups = vec![set.clone(), vec![guid::PRIVATE]];
    let mut room = entry_count.saturating_sub(4);
    if shape != Shape::Single && room >= 3 {
        groups.push(set);
        room -= 3;
    }
    for _ in 0..random.below(9).min(u64::from(room)) {
        let others = [
            guid::RESERVED,
            guid::DATA,
            guid::EFI_SYSTEM,
            guid::EFI_BACKUP,
            guid::BIOS_BOOT,
            Guid(random.bytes()),
        ];
        groups.push(vec![random.pick(&others)]);
        room -= 1;
    }
    random.shuffle(&mut groups);
    let mut number = 0;
    let mut entries = Vec::new();
    for group in groups {
        let gap = u32_below(random, 6).min(room);
        room -= gap;
        number += gap;
        for type_guid in group {
            number += 1;
            entries.push(planned(random, number, type_guid));
        }
    }
    entries
}

fn planned(random: &mut Random, number: u32, type_guid: Guid) -> Planned {
    // Half of them as they are in real tables: none, or a set that boots.
    let attributes = match random.below(4) {
        0 => 0,
        1 => 0x0102 << 48,
        _ => random.any(),
    };
    Planned {
        number,
        type_guid,
        guid: Guid(random.bytes()),
        first: 0,
        last: 0,
        attributes,
        name: random.pick(&WORDS).to_owned(),
    }
}

fn u32_below(random: &mut Random, bound: u64) -> u32 {
    u32::try_from(random.below(bound)).unwrap_or(0)
}
