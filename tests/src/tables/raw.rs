//! A partition table as the bytes of a disk, looked at and changed by hand.
//!
//! None of signpost's code reads or writes here, on purpose: its work is held against this.

use std::ops::Range;

use signpost::table::Side;

/// The bytes of a header that mean something.
pub const HEADER: usize = 92;
/// The bytes of an entry.
pub const ENTRY: usize = 128;
/// More entries than this are not looked for.
const MAX_ENTRIES: usize = 4096;

/// The checksum of headers and entries.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for &byte in bytes {
        let [low, ..] = remainder.to_le_bytes();
        remainder = (remainder >> 8) ^ TABLE[usize::from(low ^ byte)];
    }
    !remainder
}

/// The remainder that each byte leaves.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    let mut remainder = 0u32;
    while byte < table.len() {
        table[byte] = remainder;
        let mut bit = 0;
        while bit < 8 {
            let carry = table[byte] & 1 == 1;
            table[byte] >>= 1;
            if carry {
                table[byte] ^= 0xedb8_8320;
            }
            bit += 1;
        }
        byte += 1;
        remainder += 1;
    }
    table
};

/// A number of four bytes; 0 where there are none.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A number of eight bytes; 0 where there are none.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Puts bytes where there is room for them, and nowhere else.
pub fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = at
        .checked_add(new.len())
        .and_then(|end| bytes.get_mut(at..end))
    {
        place.copy_from_slice(new);
    }
}

/// Where the header of a copy is: sector 1, and where that one says if there is a header; else the
/// last sector.
pub fn header(disk: &[u8], sector: usize, side: Side) -> Range<usize> {
    let primary = sector;
    let start = match side {
        Side::Primary => primary,
        Side::Backup => offset(u64_at(disk, primary + 32), sector)
            .filter(|start| disk.get(*start..).is_some_and(is_header))
            .unwrap_or_else(|| (disk.len() / sector).saturating_sub(1) * sector),
    };
    start..start + HEADER
}

/// Where the entries are to which a header points, if all of them are on the disk.
pub fn entries(disk: &[u8], sector: usize, header: &Range<usize>) -> Option<Range<usize>> {
    let start = offset(u64_at(disk, header.start + 72), sector)?;
    let count = usize::try_from(u32_at(disk, header.start + 80)).ok()?;
    let end = start.checked_add(count.checked_mul(ENTRY)?)?;
    (count <= MAX_ENTRIES && end <= disk.len()).then_some(start..end)
}

/// Makes the checksums of a copy right, as far as it is on the disk.
pub fn fix(disk: &mut [u8], sector: usize, side: Side) {
    if let Some((start, fixed)) = fixed_header(disk, sector, side) {
        put(disk, start, &fixed);
    }
}

/// Where the header of a copy is, and what it has to be for the checksums to be right.
pub fn fixed_header(disk: &[u8], sector: usize, side: Side) -> Option<(usize, Vec<u8>)> {
    let place = header(disk, sector, side);
    let mut fixed = disk.get(place.clone())?.to_vec();
    if let Some(entries) = entries(disk, sector, &place) {
        put(&mut fixed, 88, &crc32(&disk[entries]).to_le_bytes());
    }
    fix_header(&mut fixed, &(0..HEADER));
    Some((place.start, fixed))
}

/// Makes the checksum of a header right, whatever it says about the entries.
pub fn fix_header(disk: &mut [u8], header: &Range<usize>) {
    put(disk, header.start + 16, &[0; 4]);
    let sum = disk.get(header.clone()).map_or(0, crc32);
    put(disk, header.start + 16, &sum.to_le_bytes());
}

/// What is wrong with the two copies of a table, each by itself and against the other: nothing, if
/// they are sound and say the same.
pub fn contradiction(disk: &[u8], sector: usize) -> Option<String> {
    let sides = [Side::Primary, Side::Backup];
    let places = sides.map(|side| header(disk, sector, side));
    let mut arrays = Vec::new();
    for (side, place) in sides.into_iter().zip(&places) {
        let Some(bytes) = disk.get(place.clone()).filter(|bytes| is_header(bytes)) else {
            return Some(format!("there is no {side} header"));
        };
        let mut unsigned = bytes.to_vec();
        put(&mut unsigned, 16, &[0; 4]);
        if u32_at(bytes, 16) != crc32(&unsigned) {
            return Some(format!("the checksum of the {side} header"));
        }
        if offset(u64_at(bytes, 24), sector) != Some(place.start) {
            return Some(format!("the {side} header is elsewhere by its own word"));
        }
        let Some(array) = entries(disk, sector, place) else {
            return Some(format!("the {side} entries are not on the disk"));
        };
        if u32_at(bytes, 88) != crc32(&disk[array.clone()]) {
            return Some(format!("the checksum of the {side} entries"));
        }
        arrays.push(array);
    }
    let [one, two] = places.map(|place| &disk[place]);
    if u64_at(one, 32) != u64_at(two, 24) || u64_at(one, 24) != u64_at(two, 32) {
        return Some("the headers do not point to each other".to_owned());
    }
    // Usable sectors and identifier; count, size and checksum of the entries.
    if one[40..72] != two[40..72] || one[80..92] != two[80..92] {
        return Some("the headers differ".to_owned());
    }
    if let [one, two] = &arrays[..]
        && disk[one.clone()] != disk[two.clone()]
    {
        return Some("the entries differ".to_owned());
    }
    None
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"EFI PART")
}

fn offset(lba: u64, sector: usize) -> Option<usize> {
    usize::try_from(lba).ok()?.checked_mul(sector)
}

#[cfg(test)]
mod tests {
    use signpost::testing::DiskBuilder;

    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_built_disk_does_not_contradict_itself_and_a_flipped_bit_does() {
        for (bytes_of_sector, sector) in [(512, 512), (4096, 4096)] {
            let builder = DiskBuilder::new().sector_size(bytes_of_sector);
            let disk = builder.build().to_bytes();
            assert_eq!(contradiction(&disk, sector), None);
            for side in [Side::Primary, Side::Backup] {
                let header = header(&disk, sector, side);
                let entries = entries(&disk, sector, &header).unwrap();
                for at in [header.start + 57, entries.start + 300, entries.end - 1] {
                    let mut flipped = disk.clone();
                    flipped[at] ^= 4;
                    assert!(contradiction(&flipped, sector).is_some(), "byte {at}");
                    fix(&mut flipped, sector, side);
                    let left = contradiction(&flipped, sector).unwrap();
                    assert!(left.contains("differ"), "byte {at}: {left}");
                }
                let mut fixed = disk.clone();
                fix(&mut fixed, sector, side);
                assert!(fixed == disk, "a sound copy needs no fixing");
            }
        }
    }
}
