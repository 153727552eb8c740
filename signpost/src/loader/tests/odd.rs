//! Tables that are whole and not quite as usual.

use super::*;
use crate::guid;
use crate::testing::DiskBuilder;

/// Puts bytes at an offset in the header of a copy, and makes its checksum right.
fn with_header(mut raw: Raw, side: Side, offset: usize, bytes: &[u8]) -> Raw {
    let at = raw.header(side).start + offset;
    raw.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    raw.fix_header(side);
    raw
}

#[test]
fn a_strict_loader_has_doubts_about_reserved_bytes_and_grub_has_none() {
    // In the four reserved bytes of the header, and in the rest of its sector.
    for offset in [20, 23, 92, 511] {
        let doubtful = with_header(disk(512, 0x101, 0x012), Side::Primary, offset, &[1]);
        let run = strict_boot(&Disk::new(&doubtful));
        assert_eq!(run.pick, Some(Slot::B), "byte {offset}");
        let mut expected = doubtful.clone();
        expected.set_attributes(Side::Backup, BOOT_B, bits(0x002));
        assert!(after(&doubtful, &run.steps).bytes == expected.bytes);

        let both = with_header(doubtful, Side::Backup, offset, &[1]);
        assert_eq!(strict_boot(&Disk::new(&both)), LoaderRun::default());
        assert_eq!(grub_boot(&Disk::new(&both)).pick, Some(Slot::B));
    }
}

#[test]
fn no_loader_has_anything_to_do_with_another_revision() {
    let mut raw = disk(512, 0x101, 0x012);
    for side in SIDES {
        raw = with_header(raw, side, 8, &0x0002_0000u32.to_le_bytes());
    }
    for (name, loader) in LOADERS {
        assert_eq!(loader(&Disk::new(&raw)), LoaderRun::default(), "{name}");
    }
}

#[test]
fn grub_wants_room_for_128_entries_and_a_strict_loader_does_not() {
    for (count, grub) in [(128u32, Some(Slot::A)), (127, None), (13, None)] {
        let mut raw = disk(512, 0x101, 0x000);
        for side in SIDES {
            raw = with_header(raw, side, 80, &count.to_le_bytes());
            raw.fix(side);
        }
        assert_eq!(grub_boot(&Disk::new(&raw)).pick, grub, "{count}");
        assert_eq!(strict_boot(&Disk::new(&raw)).pick, Some(Slot::A), "{count}");
    }
}

#[test]
fn a_third_boot_partition_is_booted_and_is_no_set() {
    let mut raw = disk(512, 0x101, 0x012);
    for side in SIDES {
        let entry = raw.entry(side, 13).start;
        raw.bytes[entry..entry + 16].copy_from_slice(&guid::BOOT.bytes());
        raw.set_attributes(side, 13, bits(0x013));
    }
    for (name, loader) in LOADERS {
        let run = loader(&Disk::new(&raw));
        assert_eq!(run.pick, None, "{name}");
        let left = after(&raw, &run.steps);
        assert_eq!(left.attributes(Side::Primary, 13), bits(0x003), "{name}");
        assert_eq!(
            left.attributes(Side::Primary, BOOT_B),
            bits(0x012),
            "{name}"
        );
    }
}

#[test]
fn a_disk_of_one_set_boots_a() {
    let device = DiskBuilder::new().unit(32 * 1024).single().build();
    let raw = Raw {
        bytes: device.to_bytes(),
        sector: 512,
    };
    for (name, loader) in LOADERS {
        let run = loader(&Disk::new(&raw));
        assert_eq!((run.pick, run.steps), (Some(Slot::A), Vec::new()), "{name}");
    }
}

#[test]
fn what_is_no_table_boots_nothing() {
    for length in [0, 512, 1024, 1536, 65536] {
        for sector in [512, 4096, 0x600] {
            let raw = Raw {
                bytes: vec![0xa5; length],
                sector,
            };
            for (name, loader) in LOADERS {
                let run = loader(&Disk::new(&raw));
                assert_eq!(run, LoaderRun::default(), "{name} {length} {sector}");
            }
        }
    }
}

/// A disk that is larger than its image: the backup is not in its last sector.
#[test]
fn on_a_disk_that_has_grown_the_primary_header_says_where_the_backup_is() {
    let mut raw = disk(512, 0x101, 0x002);
    let old_end = lba(&raw, raw.header(Side::Backup).start);
    raw.bytes.resize(raw.bytes.len() + 64 * 512, 0);
    let end = lba(&raw, raw.bytes.len() - 512);

    for (name, loader) in LOADERS {
        let run = loader(&Disk::new(&raw));
        assert_eq!((run.pick, run.steps), (Some(Slot::A), Vec::new()), "{name}");
    }

    // Entries that are torn leave the header, which knows.
    let mut torn = raw.clone();
    let entries = torn.entries(Side::Primary).start;
    torn.bytes[entries] ^= 1;
    for (name, loader) in LOADERS {
        assert_eq!(loader(&Disk::new(&torn)).pick, Some(Slot::A), "{name}");
    }

    // Without the header nobody knows.
    let mut lost = raw.clone();
    lost.bytes[512] ^= 1;
    for (name, loader) in LOADERS {
        assert_eq!(loader(&Disk::new(&lost)), LoaderRun::default(), "{name}");
    }

    // A backup that GRUB has to make anew goes to the end, and the primary is told, after it.
    let mut moved = raw.clone();
    let backup = moved.header(Side::Backup).start;
    moved.bytes[backup] ^= 1;
    let run = grub_boot(&Disk::new(&moved));
    let expected = [Some(end), None, Some(end - 32), None, Some(1), None];
    assert_eq!(
        (run.pick, order(&run.steps)),
        (Some(Slot::A), expected.to_vec())
    );
    let moved = after(&moved, &run.steps);
    assert_eq!(lba(&moved, moved.header(Side::Backup).start), end);
    let again = grub_boot(&Disk::new(&moved));
    assert_eq!((again.pick, again.steps), (Some(Slot::A), Vec::new()));
    assert!(end > old_end);
}
