//! What a fuzzer starts from: each place and each way of damage once.

use signpost::table::Side;

use crate::check::Act;
use crate::input::{
    ARMED, BOTH_COPIES, FIX_BACKUP, FIX_PRIMARY, GROWN, OTHER_SECTORS, Place, RAW, SINGLE,
};
use crate::{announced, api_request, block_map, document, lz4, verity, wave_plan, zstd};

/// An input with a name.
pub type Seed = (String, Vec<u8>);

/// The fuzz targets, each with its seeds.
pub fn all() -> [(&'static str, Vec<Seed>); 11] {
    [
        ("gpt_512", tables()),
        ("gpt_4096", tables()),
        ("manifest", manifests()),
        ("wave_plan", wave_plans()),
        ("verity_superblock", superblocks()),
        ("lz4", frames()),
        ("zstd", zstd::seeds()),
        ("block_map", block_map::seeds()),
        ("document", document::seeds()),
        ("announced", announced::seeds()),
        ("api_request", api_request::seeds()),
    ]
}

fn named(name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    (name.to_owned(), bytes.into())
}

/// An edit as the input has it.
fn edit(place: Place, offset: u16, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let [low, high] = offset.to_le_bytes();
    [&[place.byte(), low, high, length], bytes].concat()
}

/// Some tens of inputs of some tens of bytes, with every act in turn: one that does everything to
/// its disk takes a fuzzer long.
fn tables() -> Vec<Seed> {
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
    // A sound primary copy of 64 entries beside a backup of more. GRUB holds the one against the
    // other.
    for act in [None, Some(Act::Grub), Some(Act::Repair)] {
        let edit = edit(
            Place::Header(Side::Primary),
            80,
            &0x80_0000_0040_u64.to_le_bytes(),
        );
        let number = match act {
            None => Act::all().len(),
            Some(act) => Act::all().iter().position(|one| *one == act).unwrap_or(0),
        };
        let name = match act {
            None => "primary-of-64-entries".to_owned(),
            Some(act) => format!("primary-of-64-entries-{act:?}").to_lowercase(),
        };
        let head = [FIX | ARMED, u8::try_from(number).unwrap_or(0)];
        seeds.push((name, [&head[..], &edit].concat()));
    }
    seeds
}

fn manifests() -> Vec<Seed> {
    const IMAGES: &str =
        r#""images": {"boot": "boot.lz4", "root": "root.lz4", "hash": "hash.lz4"}"#;
    let update = |version: &str, max: &str, waves: &str, more: &str| {
        format!(
            r#"{{"variant": "demo", "arch": "x86_64", "version": "{version}", "max_version": "{max}",
            "waves": {{{waves}}}, {IMAGES}{more}}}"#
        )
    };
    let manifest = |updates: &[String], migrations: &str| {
        let updates = updates.join(",");
        format!(r#"{{"updates": [{updates}], "migrations": {{{migrations}}}}}"#)
    };
    let waves = r#""0": "2031-03-01T00:00:00Z", "512": "2031-03-01T06:00:00Z", "1024": "2031-03-03T00:00:00.5Z""#;
    let digest = "3ee9d0c1a0c1b8d3b2f5e4d3c2b1a0f9e8d7c6b5a4938271605f4e3d2c1b0a99";
    let verity = format!(
        r#", "verity": {{"algorithm": "sha256", "root_hash": "{digest}", "salt": "00ff",
        "data_block_size": 4096, "hash_block_size": 4096, "data_blocks": 64}},
        "raw_images": {{"boot": {{"length": 1, "sha256": "{digest}"}}, "root": {{"length": 262144,
        "sha256": "{digest}"}}, "hash": {{"length": 8192, "sha256": "{digest}"}}}}"#
    );
    vec![
        named("empty", manifest(&[], "")),
        named("one", manifest(&[update("1.1.0", "1.1.0", "", "")], "")),
        named(
            "waves",
            manifest(&[update("1.1.0", "1.1.0", waves, "")], ""),
        ),
        named(
            "verity",
            manifest(&[update("1.1.0", "1.1.0", "", &verity)], ""),
        ),
        named(
            "withdrawn",
            manifest(
                &[
                    update("1.1.0", "1.0.0", "", ""),
                    update("1.0.0", "1.0.0", "", ""),
                ],
                r#""(1.0.0, 1.1.0)": ["a", "b/c"]"#,
            ),
        ),
        named(
            "long-way",
            manifest(
                &[update("1.3.0-rc.1+b", "2.0.0", "", "")],
                r#""(1.0.0, 1.1.0)": ["a"], "(1.1.0, 1.3.0-rc.1+b)": [], "(1.0.0, 1.2.0)": ["c"]"#,
            ),
        ),
        named(
            "calendar",
            manifest(
                &[update(
                    "1.1.0",
                    "1.1.0",
                    r#""0": "-262143-01-01T00:00:00Z", "2048": "+262142-12-31T23:59:60Z", "4294967295": "0000-01-01T00:00:00-23:59""#,
                    "",
                )],
                "",
            ),
        ),
        named(
            "recipe-updates",
            [
                &[wave_plan::RECIPE],
                &b"\x01\x01\x02\x00\x00\x01\x02\x02\x03\x99"[..],
            ]
            .concat(),
        ),
        named(
            "recipe-path",
            [
                &[wave_plan::RECIPE],
                &b"\x00\x01\x02\x01a\x00\x02\x03\x02b\x00\x03\x0f\x03c\x01\x0f\x0f\x00\x00"[..],
            ]
            .concat(),
        ),
        named(
            "recipe-crossing",
            [
                &[wave_plan::RECIPE],
                &b"\x00\x01\x03\x01a\x00\x02\x03\x02b\x00\x03\x01\x01c\x00\x02\x02\x01d"[..],
            ]
            .concat(),
        ),
    ]
}

fn wave_plans() -> Vec<Seed> {
    let wave = |start: &str, percentage: &str| {
        format!("[[waves]]\nstart_after = \"{start}\"\nfleet_percentage = {percentage}\n")
    };
    vec![
        named("empty", ""),
        named("one", wave("1 hour", "100")),
        named(
            "usual",
            [
                wave("1 hour", "10"),
                wave("in 1 day", "50"),
                wave("2 weeks", "100"),
            ]
            .concat(),
        ),
        named(
            "dates",
            [
                wave("2031-03-01T01:00:00Z", "5"),
                wave("2031-03-02T01:00:00.25+01:00", "90"),
            ]
            .concat(),
        ),
        named(
            "both",
            [wave("30 minutes", "1"), wave("2199-01-01T00:00:00Z", "2")].concat(),
        ),
        named("late", wave("4294967295 weeks", "1")),
        named(
            "falls",
            [wave("2 days", "50"), wave("1 day", "60")].concat(),
        ),
        named(
            "twice",
            [wave("1 day", "50"), wave("2 days", "50")].concat(),
        ),
        named(
            "inline",
            "waves = [{ start_after = '1 day', fleet_percentage = 0x10 }]",
        ),
        named("recipe", b"\x80\x05\x25\x0a\x2f\x13\x64".to_vec()),
        named("recipe-dates", b"\x80\x05\x05\x0a\x0f\x13\x04".to_vec()),
        named("recipe-late", b"\x80\x05\x45\x0a\x4f\xf3\x44".to_vec()),
    ]
}

fn superblocks() -> Vec<Seed> {
    // Signature to salt, with zeros where the flag fixes it.
    let block = |flags: u8, data: u32, hash: u32, blocks: u64, salt: &[u8]| {
        let mut bytes = vec![0; 65];
        bytes[0] = flags;
        bytes.extend_from_slice(&data.to_le_bytes());
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&blocks.to_le_bytes());
        let length = u16::try_from(salt.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(salt);
        bytes
    };
    let small = verity::FIX | verity::SMALL;
    let mut seeds: Vec<Seed> = [1_u64, 2, 16, 17, 64, 255]
        .into_iter()
        .map(|blocks| {
            (
                format!("{blocks}-blocks"),
                block(small, 512, 512, blocks, b"salt"),
            )
        })
        .collect();
    seeds.extend([
        named("mixed", block(small, 512, 4096, 200, &[7; 32])),
        named("usual", block(small, 4096, 4096, 60, &[7; 32])),
        named("large-blocks", block(small, 65_536, 65_536, 3, b"")),
        named("no-blocks", block(small, 4096, 4096, 0, b"")),
        named("long-salt", block(small, 512, 1024, 9, &[0x55; 256])),
        named("longer-salt", block(small, 512, 1024, 9, &[0x55; 257])),
        named(
            "most",
            block(verity::FIX, 512, 512, u64::MAX / 4 / 512, b"s"),
        ),
        named(
            "too-many",
            block(verity::FIX, 512, 512, u64::MAX / 4 / 512 + 1, b"s"),
        ),
        named("odd-size", block(verity::FIX, 4095, 4096, 8, b"s")),
        named("no-signature", block(0, 4096, 4096, 8, b"s")),
    ]);
    seeds
}

fn frames() -> Vec<Seed> {
    let content = b"every block the same, every block the same, every block the same, and an end";
    let head = |flags: u8, bytes: &[u8]| [&[flags, 0][..], bytes].concat();
    let mut seeds: Vec<Seed> = Vec::new();
    // Every setting of the encoder, as a frame and to be packed.
    for settings in (0..0x80_u8).step_by(4).chain([1, 2, 3]) {
        let frame = lz4::pack(content, settings);
        seeds.push((
            format!("frame-{settings:02x}"),
            head(lz4::FIX | 0x14, &frame),
        ));
    }
    for settings in [0, 0x3c, 0x7c] {
        let bytes = [&[lz4::PACK | 0x0c, settings][..], content].concat();
        seeds.push((format!("pack-{settings:02x}"), bytes));
    }
    let frame = lz4::pack(content, 0x10);
    seeds.extend([
        named("nothing", head(0, b"")),
        named("as-it-is", head(0x3c, &frame)),
        named("twice", head(0, &[frame.clone(), frame.clone()].concat())),
        named("cut", head(0, &frame[..frame.len() - 8])),
        named("trailing", head(0, &[&frame[..], b"x"].concat())),
        named(
            "skippable",
            head(
                0,
                &[&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9], &frame[..]].concat(),
            ),
        ),
        named(
            "legacy",
            head(0, &[0x02, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x10, b'a']),
        ),
        // The old form with an end mark, which it does not have, and a frame after it.
        named(
            "legacy-then-frame",
            head(
                0,
                &[
                    &[0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0],
                    &lz4::pack(content, 4)[..],
                ]
                .concat(),
            ),
        ),
        // A block that decodes to nothing, with and without an end mark after it.
        named(
            "empty-block",
            head(
                lz4::FIX,
                &[0, 0, 0, 0, 0x60, 0x40, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ),
        named(
            "empty-last-block",
            head(lz4::FIX, &[0, 0, 0, 0, 0x60, 0x40, 0, 1, 0, 0, 0, 0]),
        ),
    ]);
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_keeps_every_promise() {
        for (name, mut bytes) in tables() {
            println!("{name}");
            bytes[1] = u8::try_from(Act::all().len()).unwrap();
            crate::run(&bytes, 512);
            crate::run(&bytes, 4096);
        }
        for (target, seeds) in all() {
            for (name, bytes) in seeds {
                println!("{target} {name}");
                match target {
                    "manifest" => crate::manifest::run(&bytes),
                    "wave_plan" => wave_plan::run(&bytes),
                    "verity_superblock" => verity::run(&bytes),
                    "lz4" => lz4::run(&bytes),
                    "zstd" => zstd::run(&bytes),
                    "block_map" => block_map::run(&bytes),
                    "document" => document::run(&bytes),
                    "announced" => announced::run(&bytes),
                    "api_request" => api_request::run(&bytes),
                    // Above, on disks of both sector sizes.
                    "gpt_512" | "gpt_4096" => {}
                    other => panic!("nothing is promised of {other}"),
                }
            }
        }
    }

    /// A seed that is refused at the door leads a fuzzer nowhere.
    #[test]
    fn most_seeds_get_past_the_first_door() {
        let read = |text: &[u8]| update_metadata::Manifest::from_slice(text).is_ok();
        for (name, bytes) in manifests() {
            assert!(read(&crate::manifest::text(&bytes)), "{name}");
        }
        let refused: Vec<_> = wave_plans()
            .into_iter()
            .filter(|(_, bytes)| {
                let text = wave_plan::text(bytes).unwrap();
                update_metadata::WavePlan::from_toml(&text).is_err()
            })
            .map(|(name, _)| name)
            .collect();
        assert_eq!(refused, ["empty", "twice"]);
    }
}
