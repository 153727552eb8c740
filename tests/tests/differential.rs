//! Thousands of tables, and what `sgdisk` and `cgpt` say about them, held against what we say.
//!
//! The tables are made by hand, from seeds that are the same in every run. A few hundred of them are
//! tried normally, several thousand with `UPDOG_TEST_LONG=1`; a line on stdout counts them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use signpost::device::DeviceSectors;
use signpost::loader::grub_boot;
use signpost::table::{Fault, Side};
use signpost::testing::{DiskBuilder, MemoryDevice};
use signpost::{BlockDevice, BootDisk, Slot, boot_disk};
use system_tests::tables::act::Act;
use system_tests::tables::bench::{Bench, Seen};
use system_tests::tables::harm::Harm;
use system_tests::tables::random::Random;
use system_tests::tables::raw;
use system_tests::tables::spec::{Shape, Spec};
use system_tests::tables::verdict::{Judgement, Partitions, Printed};

/// How many tables: few, or with `UPDOG_TEST_LONG` many.
fn number_of_tables(few: u64, many: u64) -> u64 {
    let long = std::env::var_os("UPDOG_TEST_LONG").is_some_and(|value| value != "0");
    if long { many } else { few }
}

/// Says what was tried, also when the test passes.
fn report(test: &str, tables: u64, counts: &BTreeMap<String, usize>) {
    let kinds: Vec<_> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let _ = writeln!(
        std::io::stdout(),
        "{test}: {tables} tables: {}",
        kinds.join(", ")
    );
}

fn count(counts: &mut BTreeMap<String, usize>, kind: &str) {
    *counts.entry(kind.to_owned()).or_insert(0) += 1;
}

/// The bits of a partition that we may change.
fn our_bits(disk: &BootDisk, number: u32) -> u64 {
    let mut sets = disk.layout().sets.iter();
    if sets.any(|(_, set)| set.boot.number == number) {
        0x01ff << 48
    } else if disk.layout().private.number == number {
        1 << 57
    } else {
        0
    }
}

/// What `sgdisk` prints, but for our bits.
fn foreign(disk: &BootDisk, partitions: &Partitions) -> Partitions {
    let masked = |(number, printed): (&u32, &Printed)| {
        let attributes = printed.attributes & !our_bits(disk, *number);
        let printed = Printed {
            attributes,
            ..printed.clone()
        };
        (*number, printed)
    };
    partitions.iter().map(masked).collect()
}

/// Compares a sound table, does so much to it, and compares it each time.
fn compare_sound(bench: &Bench, seed: u64, shapes: &[Shape], counts: &mut BTreeMap<String, usize>) {
    let mut random = Random::new(seed);
    let shape = shapes[usize::try_from(seed).unwrap() % shapes.len()];
    let spec = Spec::random(&mut random, bench.sector, shape);
    let (mut bytes, how) = made_by_sgdisk(bench, &spec, &mut random);
    let mut kind = format!("{shape:?}{how}");
    let mut before = bench.sgdisk(&bytes, &spec);
    let what = format!("table {seed} ({kind})\n{}", before.text);
    let expected = if kind == "Grown" {
        Judgement::BackupNotAtEnd
    } else {
        Judgement::Content
    };
    assert_eq!(before.judgement, expected, "{what}");
    assert_eq!(bench.read(&bytes).unwrap().damage(), None, "{what}");
    match bench.assert_same(&bytes, &before, &what) {
        Seen::ByBoth if random.once_in(8) => bench.assert_same_flags(&bytes, &what),
        Seen::ByBoth => {}
        Seen::BySgdisk => kind += " (not for cgpt)",
    }
    for _ in 0..2 {
        let act = Act::random(&mut random);
        let device = bench.device(&bytes);
        act.perform(&device, bench.sector);
        let changed = device.to_bytes();
        if changed == bytes {
            count(counts, "acts that changed nothing");
            continue;
        }
        let after = bench.sgdisk(&changed, &spec);
        let what = format!("table {seed} ({kind}) after {act:?}\n{}", after.text);
        // A backup that is not at the end of the disk is moved there; the loaders leave it.
        let left = matches!(act, Act::Grub | Act::Strict) && after.judgement == before.judgement;
        assert!(left || after.judgement == Judgement::Content, "{what}");
        let disk = bench.read(&changed).unwrap();
        let [one, two] = [&before, &after].map(|seen| foreign(&disk, &seen.partitions));
        assert_eq!(one, two, "{what}");
        let mbr = ..bench.sector;
        assert!(changed[mbr] == bytes[mbr], "the MBR: {what}");
        bench.assert_same(&changed, &after, &what);
        (bytes, before) = (changed, after);
        count(counts, "acts that changed bits");
    }
    count(counts, &kind);
}

/// The disk; some grown and moved ones as `sgdisk` makes them, which takes it a second each.
fn made_by_sgdisk(bench: &Bench, spec: &Spec, random: &mut Random) -> (Vec<u8>, &'static str) {
    let bytes = spec.to_bytes();
    if bench.sector != 512 || !random.once_in(8) {
        return (bytes, "");
    }
    match spec.shape {
        Shape::Grown => (bench.changed_by_sgdisk(&bytes, &["-e"]), ", then sgdisk -e"),
        Shape::Moved => {
            // The entries directly before the first partition.
            let seen = bench.sgdisk(&bytes, spec).partitions;
            let first = seen.values().map(|printed| printed.first).min().unwrap();
            let place = (first - 32).to_string();
            let moved = bench.changed_by_sgdisk(&bytes, &["-j", &place]);
            (moved, ", then sgdisk -j")
        }
        _ => (bytes, ""),
    }
}

#[test]
fn sgdisk_and_cgpt_read_sound_tables_as_we_do_before_and_after_every_command() {
    const TEST: &str = "sgdisk_and_cgpt_read_sound_tables_as_we_do_before_and_after_every_command";
    let Some(bench) = Bench::find(TEST, 512) else {
        return;
    };
    let mut counts = BTreeMap::new();
    let tables = number_of_tables(180, 2400);
    for seed in 0..tables {
        compare_sound(&bench, seed, &Shape::ALL, &mut counts);
    }
    report(TEST, tables, &counts);
}

#[test]
fn sgdisk_and_cgpt_read_sound_tables_in_sectors_of_4096_bytes_as_we_do() {
    const TEST: &str = "sgdisk_and_cgpt_read_sound_tables_in_sectors_of_4096_bytes_as_we_do";
    let Some(bench) = Bench::find(TEST, 4096) else {
        return;
    };
    let mut counts = BTreeMap::new();
    let tables = number_of_tables(24, 240);
    for seed in 0..tables {
        compare_sound(&bench, seed | 1 << 33, &Shape::ALL, &mut counts);
    }
    report(TEST, tables, &counts);
}

/// What we make of a damaged disk.
#[derive(Debug)]
enum Ours {
    Sound,
    Damaged(Side, Fault),
    /// The table is read, and what it says makes no sets.
    NoSets,
}

impl Ours {
    fn of(disk: Result<BootDisk, boot_disk::Error>) -> Self {
        match disk {
            Ok(disk) => match disk.damage() {
                None => Self::Sound,
                Some(damage) => Self::Damaged(damage.side, damage.fault.clone()),
            },
            Err(boot_disk::Error::Layout { .. }) => Self::NoSets,
            Err(error) => panic!("one copy is whole, and this is {error:?}"),
        }
    }
}

/// Whether we say what `sgdisk` says, or on purpose something else, and then why.
///
/// `sgdisk` names the damaged copies where it can; where it cannot it has some other complaint, and
/// that is taken for agreement.
fn agreement(harm: Harm, side: Side, ours: &Ours, theirs: &Judgement) -> Result<&'static str, ()> {
    let by_hand = matches!(harm, Harm::Field(_) | Harm::Entry);
    Ok(match (ours, theirs) {
        (Ours::Sound, Judgement::Content) => "sound to both",
        (Ours::Damaged(ours, _), Judgement::Complains(theirs)) if theirs.contains(ours) => {
            "the same copy damaged to both"
        }
        (Ours::Damaged(..), Judgement::Complains(theirs)) if theirs.is_empty() => "damaged to both",
        // It does not look at the size of a header, which GRUB wants to be 92 at least; we want it
        // to be what everybody writes.
        (Ours::Damaged(_, Fault::HeaderSize { .. }), Judgement::Content) => {
            "a header size that sgdisk does not look at"
        }
        // It walks from entry to entry, be there 2^32 of them.
        (Ours::Damaged(_, Fault::EntryCount { .. }), Judgement::Silent) => {
            "a number of entries that sgdisk does not come to the end of"
        }
        // Of a header with a right checksum it believes every address, follows it, and blames what it
        // finds there, or does not find. We blame the header for an address that cannot be.
        (Ours::Damaged(_, Fault::Address { .. }), Judgement::Complains(_)) if by_hand => {
            "an address in a header that sgdisk follows"
        }
        // It wants whole sectors of entries and else drops the copy. To us both are sound and differ,
        // and then the primary counts.
        (Ours::Damaged(Side::Backup, Fault::Differs), Judgement::Complains(_))
            if harm == Harm::Field("number of entries") =>
        {
            "a number of entries that does not fill a sector"
        }
        // Somebody wrote another primary table, with right checksums, and it counts: to both.
        (Ours::NoSets, Judgement::Complains(_)) if by_hand && side == Side::Primary => {
            "a primary of which somebody has made another one"
        }
        _ => return Err(()),
    })
}

/// Our repair makes of a disk what it was, or if `sound` is nothing, two copies of the table that
/// counts now.
fn assert_repaired(bench: &Bench, bytes: &[u8], spec: &Spec, sound: Option<&[u8]>, what: &str) {
    let device = bench.device(bytes);
    let shared = Arc::clone(&device) as Arc<dyn BlockDevice>;
    if let Err(error) = BootDisk::read(shared).unwrap().repair() {
        // The primary that counts now may leave no place for a backup.
        assert!(sound.is_none(), "{error:?}: {what}");
        assert!(device.to_bytes() == bytes, "{error:?}: {what}");
        return;
    }
    let repaired = device.to_bytes();
    let theirs = bench.sgdisk(&repaired, spec);
    let what = format!("repaired: {}\n{what}", theirs.text);
    bench.assert_same(&repaired, &theirs, &what);
    match (sound, theirs.judgement) {
        (Some(sound), Judgement::Content) => {
            let before = bench.sgdisk(sound, spec);
            assert_eq!(theirs.partitions, before.partitions, "{what}");
            // What is made anew goes where it usually is.
            let moved = spec.shape == Shape::Moved;
            assert!(moved || repaired == sound, "{what}");
        }
        // Its partitions may not be where partitions can be.
        (None, Judgement::Content) => {}
        (None, Judgement::Complains(blamed)) => assert_eq!(blamed, [], "{what}"),
        (_, judgement) => panic!("{judgement:?}: {what}"),
    }
}

#[test]
fn a_copy_that_sgdisk_finds_damaged_is_damaged_to_us_and_whole_after_our_repair() {
    const TEST: &str =
        "a_copy_that_sgdisk_finds_damaged_is_damaged_to_us_and_whole_after_our_repair";
    // A grown disk has a complaint of its own.
    const SHAPES: [Shape; 5] = [
        Shape::Usual,
        Shape::Single,
        Shape::MoreEntries,
        Shape::FewerEntries,
        Shape::Moved,
    ];
    let Some(bench) = Bench::find(TEST, 512) else {
        return;
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let tables = number_of_tables(320, 4000);
    for seed in 0..tables {
        let mut random = Random::new(seed | 1 << 32);
        let shape = random.pick(&SHAPES);
        let spec = Spec::random(&mut random, bench.sector, shape);
        let sound = spec.to_bytes();
        let mut bytes = sound.clone();
        let harm = Harm::nth(seed);
        let side = random.pick(&[Side::Primary, Side::Backup]);
        let detail = harm.inflict(&mut bytes, bench.sector, side, &mut random);
        let theirs = bench.sgdisk(&bytes, &spec);
        let disk = bench.read(&bytes);
        let ours = Ours::of(disk);
        let what = format!(
            "table {seed} ({shape:?}), {harm:?} of the {side}, {detail}: {ours:?}\n{}",
            theirs.text
        );
        let kind = agreement(harm, side, &ours, &theirs.judgement)
            .unwrap_or_else(|()| panic!("no agreement: {what}"));
        *counts.entry(kind.to_owned()).or_insert(0) += 1;
        if let Ours::Damaged(damaged, _) = ours {
            // Somebody wrote another primary with right checksums, and that counts.
            let outvoted = damaged != side;
            let expected = (!outvoted).then_some(&sound[..]);
            assert_repaired(&bench, &bytes, &spec, expected, &what);
        }
    }
    report(TEST, tables, &counts);
}

/// GRUB takes no copy of fewer than 128 entries and boots from the other one. Were the smaller one
/// copied over that, nothing would boot any more.
#[test]
fn a_primary_too_small_for_grub_does_not_outvote_the_backup_that_grub_boots_from() {
    for sector in [512, 4096] {
        let bytes_of_sector = u32::try_from(sector).unwrap();
        let builder = DiskBuilder::new().unit(32 * 1024).root_mib(1);
        let mut disk = builder.sector_size(bytes_of_sector).build().to_bytes();
        let header = raw::header(&disk, sector, Side::Primary);
        raw::put(&mut disk, header.start + 80, &64u32.to_le_bytes());
        raw::fix(&mut disk, sector, Side::Primary);
        let device = Arc::new(MemoryDevice::new(disk, bytes_of_sector));
        let boots = || grub_boot(&DeviceSectors::new(&*device, sector)).pick;
        assert_eq!(boots(), Some(Slot::A), "from the backup, at {sector}");

        let shared = Arc::clone(&device) as Arc<dyn BlockDevice>;
        if let Ok(mut read) = BootDisk::read(shared) {
            // It may well be refused.
            let _ = read.repair();
        }
        assert_eq!(boots(), Some(Slot::A), "after our repair, at {sector}");
    }
}
