//! Two good copies: what boots, and how the try is spent.

use proptest::prelude::*;

use super::*;
use crate::slot::PerSlot;

#[test]
fn each_model_boots_by_the_table_of_an_update_and_spends_the_try() {
    use Slot::{A, B};
    // Set A and B before, what boots, and both after it.
    let cases = [
        (0x101, 0x000, Some(A), 0x101, 0x000),
        (0x101, 0x010, Some(A), 0x101, 0x010),
        (0x101, 0x012, Some(B), 0x101, 0x002),
        (0x101, 0x002, Some(A), 0x101, 0x002),
        (0x101, 0x102, Some(B), 0x101, 0x102),
        (0x111, 0x010, Some(A), 0x101, 0x010),
        (0x022, 0x022, Some(A), 0x012, 0x022),
        (0x1ff, 0x1fe, Some(A), 0x1ef, 0x1fe),
        (0x002, 0x031, Some(B), 0x002, 0x021),
        (0x000, 0x000, None, 0x000, 0x000),
        (0x1f0, 0x1f0, None, 0x1f0, 0x1f0),
        (0x002, 0x00f, None, 0x002, 0x00f),
    ];
    for (name, loader) in LOADERS {
        for sector in [512, 4096] {
            for (a, b, pick, a_after, b_after) in cases {
                let before = disk(sector, a, b);
                let run = loader(&Disk::new(&before));
                let expected = disk(sector, a_after, b_after);
                let context = format!("{name} on {sector}: {a:03x} {b:03x}");
                assert_eq!(run.pick, pick, "{context}");
                assert!(
                    after(&before, &run.steps).bytes == expected.bytes,
                    "{context}"
                );
                assert_eq!(
                    run.steps.is_empty(),
                    (a, b) == (a_after, b_after),
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn the_try_is_spent_in_the_backup_first_and_in_the_header_first() {
    for sector in [512, 4096] {
        let raw = disk(sector, 0x101, 0x012);
        let header = |side| Some(lba(&raw, raw.header(side).start));
        let entries = |side| Some(lba(&raw, raw.entries(side).start));
        let entry = |side| Some(lba(&raw, raw.entry(side, BOOT_B).start));
        let (primary, backup) = (Side::Primary, Side::Backup);

        let run = grub_boot(&Disk::new(&raw));
        let expected = [
            [header(backup), None, entries(backup), None],
            [header(primary), None, entries(primary), None],
        ];
        assert_eq!(order(&run.steps), expected.concat());

        let run = strict_boot(&Disk::new(&raw));
        let expected = [
            [header(backup), None, entry(backup), None],
            [header(primary), None, entry(primary), None],
        ];
        assert_eq!(order(&run.steps), expected.concat());
    }
}

#[test]
fn what_is_not_ours_stays_byte_for_byte_when_grub_spends_a_try() {
    for sector in [512, 4096] {
        let mut before = Raw::with_foreign_bytes(sector);
        let mut expected = before.clone();
        for side in SIDES {
            before.set_attributes(side, BOOT_B, 0xfc1f_0000_0000_ffff);
            expected.set_attributes(side, BOOT_B, 0xfc0f_0000_0000_ffff);
        }
        let run = grub_boot(&Disk::new(&before));
        assert_eq!(run.pick, Some(Slot::B));
        assert!(after(&before, &run.steps).bytes == expected.bytes);
    }
}

#[test]
fn no_more_than_the_table_is_read() {
    let raw = disk(512, 0x101, 0x012);
    let copies = SIDES.map(|side| {
        let header = lba(&raw, raw.header(side).start);
        let entries = raw.entries(side);
        let entries = lba(&raw, entries.start)..lba(&raw, entries.end);
        entries.chain([header]).collect::<BTreeSet<_>>()
    });
    let expected: BTreeSet<_> = copies.into_iter().flatten().collect();
    for (name, loader) in LOADERS {
        let disk = Disk::new(&raw);
        loader(&disk);
        assert_eq!(disk.read.into_inner(), expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The disk against the bits alone, for any bits, ours or not.
    #[test]
    fn the_models_of_the_disk_agree_with_the_model_of_the_bits(a: u64, b: u64, large: bool) {
        let mut raw = Raw::new(if large { 4096 } else { 512 });
        let mut expected = raw.clone();
        let both = PerSlot { a, b }.map(BootAttributes::from_bits);
        let pick = bootloader::grub_pick(&both);
        for side in SIDES {
            for (slot, number) in [(Slot::A, BOOT_A), (Slot::B, BOOT_B)] {
                let before = both[slot];
                let spent = bootloader::consume_try(before);
                let then = if pick == Some(slot) { spent } else { before };
                raw.set_attributes(side, number, before.bits());
                expected.set_attributes(side, number, then.bits());
            }
        }
        for (_, loader) in LOADERS {
            let run = loader(&Disk::new(&raw));
            prop_assert_eq!(run.pick, pick);
            prop_assert!(after(&raw, &run.steps).bytes == expected.bytes);
        }
    }
}
