//! What a fuzzer starts from: each place and each way of damage once.

use signpost::table::Side;

use crate::check::Act;
use crate::input::{
    ARMED, BOTH_COPIES, FIX_BACKUP, FIX_PRIMARY, GROWN, OTHER_SECTORS, Place, RAW, SINGLE,
};

/// An input with a name.
pub type Seed = (String, Vec<u8>);

/// An edit as the input has it.
fn edit(place: Place, offset: u16, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let [low, high] = offset.to_le_bytes();
    [&[place.byte(), low, high, length], bytes].concat()
}

/// Some tens of inputs of some tens of bytes, with every act in turn: one that does everything to
/// its disk takes a fuzzer long.
pub fn seeds() -> Vec<Seed> {
    const FIX: u8 = FIX_PRIMARY | FIX_BACKUP;
    let mut seeds: Vec<Seed> = Vec::new();
    let mut acts = (0..u8::try_from(Act::all().len()).unwrap_or(u8::MAX)).cycle();
    let mut add = |name: &str, flags: u8, edits: &[Vec<u8>]| {
        let head = vec![flags, acts.next().unwrap_or(0)];
        seeds.push((name.to_owned(), [head, edits.concat()].concat()));
    };
    for act in Act::all() {
        let name = format!("{act:?}").to_lowercase();
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        add(&format!("act-{name}"), ARMED, &[]);
    }
    for (name, flags) in [
        ("factory", 0),
        ("single", SINGLE),
        ("armed", ARMED),
        ("grown", GROWN),
        ("other-sector-size", OTHER_SECTORS),
    ] {
        add(name, flags, &[]);
    }
    for side in [Side::Primary, Side::Backup] {
        let (header, entries) = (Place::Header(side), Place::Entries(side));
        // Each field of a header, with right checksums and with wrong ones.
        for (field, offset, value) in [
            ("revision", 8, 0x0002_0000u64),
            ("size", 12, 512),
            ("reserved", 20, 1),
            ("own", 24, 2),
            ("twin", 32, 100),
            ("first", 40, 20),
            ("last", 48, 200),
            ("guid", 56, 7),
            ("entries", 72, 3),
            ("count", 80, 0x80_0000_0400),
        ] {
            let edit = [edit(header, offset, &value.to_le_bytes())];
            add(&format!("{side}-header-{field}"), 0, &edit);
            add(&format!("{side}-header-{field}-fixed"), FIX, &edit);
            add(
                &format!("both-{side}-{field}-fixed"),
                FIX | BOTH_COPIES,
                &edit,
            );
        }
        let foreign = [0xff; 128];
        let edits = [edit(entries, 13 * 128, &foreign)];
        add(&format!("{side}-entry"), 0, &edits);
        add(&format!("{side}-entry-fixed"), FIX, &edits);
        let flags = FIX | BOTH_COPIES;
        add(&format!("both-{side}-entry-fixed"), flags, &edits);
        let bits = [edit(entries, 2 * 128 + 48, &[0xff; 8])];
        add(&format!("{side}-bits"), FIX, &bits);
    }
    let boot_code = [edit(Place::Mbr, 0, &[0x90; 64])];
    add("mbr", 0, &boot_code);
    add("raw", RAW, &[vec![0xee; 64]]);
    add("raw-fixed", RAW | FIX, &[vec![0x11; 64]]);
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_keeps_every_promise() {
        for sector in [512, 4096] {
            for (name, mut bytes) in seeds() {
                println!("{name} at {sector}");
                bytes[1] = u8::try_from(Act::all().len()).unwrap();
                crate::run(&bytes, sector);
            }
        }
    }
}
