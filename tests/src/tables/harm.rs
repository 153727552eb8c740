//! What happens to tables.

use signpost::table::Side;

use super::random::Random;
use super::raw;

/// A part of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The 92 bytes of its header.
    Header,
    /// Its entries.
    Entries,
}

/// A way to damage a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// One bit is another one.
    FlippedBit(Part),
    /// Every byte is 0.
    Zeroed(Part),
    /// Some bytes are others.
    Garbage(Part),
    /// This field of the header says something else, and the checksum is right.
    Field(&'static str),
    /// An entry says something else, and the checksums are right.
    Entry,
}

/// The fields of a header, each with its offset and length. The ones that nobody looks at, and the
/// checksums, are not among them.
const FIELDS: [(&str, usize, usize); 10] = [
    ("revision", 8, 4),
    ("size", 12, 4),
    ("own place", 24, 8),
    ("other place", 32, 8),
    ("first usable sector", 40, 8),
    ("last usable sector", 48, 8),
    ("identifier", 56, 8),
    ("place of the entries", 72, 8),
    ("number of entries", 80, 4),
    ("size of an entry", 84, 4),
];

impl Harm {
    /// One after the other: of eight that follow each other one is to a field.
    pub fn nth(number: u64) -> Self {
        let place = |of: u64| usize::try_from(number / of).unwrap_or(0);
        let (field, _, _) = FIELDS[place(8) % FIELDS.len()];
        let all = [
            Self::FlippedBit(Part::Header),
            Self::FlippedBit(Part::Entries),
            Self::Zeroed(Part::Header),
            Self::Zeroed(Part::Entries),
            Self::Garbage(Part::Header),
            Self::Garbage(Part::Entries),
            Self::Entry,
            Self::Field(field),
        ];
        all[place(1) % all.len()]
    }

    /// Damages the copy of `side`. Says what was done.
    ///
    /// # Panics
    /// When there is no such copy.
    pub fn inflict(
        self,
        disk: &mut [u8],
        sector: usize,
        side: Side,
        random: &mut Random,
    ) -> String {
        let header = raw::header(disk, sector, side);
        let entries = raw::entries(disk, sector, &header).expect("a sound table");
        let place = |part| match part {
            Part::Header => header.clone(),
            Part::Entries => entries.clone(),
        };
        match self {
            Self::FlippedBit(part) => {
                let at = place(part).start + random.index(place(part).len());
                let bit = 1 << random.below(8);
                disk[at] ^= bit;
                format!("bit {bit:#x} of byte {}", at - place(part).start)
            }
            Self::Zeroed(part) => {
                disk[place(part)].fill(0);
                String::new()
            }
            Self::Garbage(part) => {
                let at = place(part).start + random.index(place(part).len() - 16);
                raw::put(disk, at, &random.bytes());
                format!("from byte {}", at - place(part).start)
            }
            Self::Field(name) => field(disk, sector, header.start, name, random),
            Self::Entry => {
                let number = random.index(entries.len() / raw::ENTRY);
                let within = random.index(raw::ENTRY);
                disk[entries.start + number * raw::ENTRY + within] ^= 1 << random.below(8);
                raw::fix(disk, sector, side);
                format!("byte {within} of entry {}", number + 1)
            }
        }
    }
}

fn field(disk: &mut [u8], sector: usize, header: usize, name: &str, random: &mut Random) -> String {
    let known = FIELDS.iter().find(|(known, ..)| *known == name);
    let (_, offset, length) = *known.expect("it comes from the list");
    let at = header + offset;
    let bits = if length == 4 { 32 } else { 64 };
    let before = raw::u64_at(disk, at);
    let after = match random.below(5) {
        0 => 0,
        1 => before.wrapping_add(1 + random.below(40)),
        2 => before.wrapping_sub(1 + random.below(40)),
        3 => before ^ (1 << random.below(bits)),
        _ => random.any(),
    };
    raw::put(disk, at, &after.to_le_bytes()[..length]);
    // It stays where it was, whatever it says about itself.
    let mut fixed = disk[header..header + raw::HEADER].to_vec();
    if let Some(entries) = raw::entries(disk, sector, &(header..header + raw::HEADER)) {
        raw::put(&mut fixed, 88, &raw::crc32(&disk[entries]).to_le_bytes());
    }
    raw::fix_header(&mut fixed, &(0..raw::HEADER));
    raw::put(disk, header, &fixed);
    format!("{before:#x} -> {after:#x}")
}
