//! Servers that do ranges badly or not at all, and transfers that break.

use std::ops::Range;

use system_tests::publisher::noise;
use system_tests::server::Fault;
use updog::exit::chain;

use super::{World, asked, header, sum};

#[test]
fn one_whole_file_serves_all_ranges_where_a_server_knows_none() {
    let world = World::new(noise("file", 500_000));
    let ranges = [10..20, 1000..2000, 100_000..100_001, 300_000..400_000];
    world.server.fault("image", Fault::IgnoreRange, 99);
    let reader = world.read(&ranges);
    assert!(reader.is_whole());
    assert_eq!(reader.requests(), 1);
    assert!(reader.received() >= 400_000, "{}", reader.received());
    // One that breaks is continued like any other.
    world.server.forgive();
    let fault = Fault::IgnoreRangeAndDrop(150_000);
    world.server.fault("image", fault, 1);
    let reader = world.read(&ranges);
    assert!(reader.is_whole());
    let seen = world.server.seen();
    assert_eq!(asked(&seen), ["bytes=10-19", "bytes=150000-"]);
}

#[test]
fn a_file_that_changes_while_ranges_come_is_noticed() {
    let world = World::new(noise("file", 500_000));
    let ranges = [0..1000, 2000..3000, 400_000..500_000];
    // The second request finds another file, and gets all of it.
    let first = Fault::Tag("\"first\"".to_owned());
    world.server.fault("image", first, 1);
    let reader = world.read(&ranges);
    assert!(reader.is_whole());
    let seen = world.server.seen();
    let known = seen
        .iter()
        .filter(|seen| header(seen, "if-range") == Some("\"first\""));
    assert_eq!(known.count(), seen.len() - 1);
    // The same in the middle of a range.
    world.server.fault("image", Fault::DropAfter(500), 1);
    let second = Fault::Tag("\"second\"".to_owned());
    world.server.fault("image", second, 1);
    let reader = world.read(&[0..1000]);
    assert!(reader.is_whole());
    assert_eq!(
        asked(&world.server.seen()),
        ["bytes=0-999", "bytes=500-999"]
    );
    // And of another length it is not what was signed.
    let first = Fault::Tag("\"first\"".to_owned());
    world.server.fault("image", first, 1);
    let longer = Fault::Replace(noise("longer", 600_000));
    world.server.fault("image", longer, 9);
    let error = world.fail(&ranges);
    let said = chain(&error);
    assert!(
        error.is_unusable() && said.contains("a file of 600000 bytes"),
        "{said}"
    );
}

#[test]
fn a_file_without_a_strong_name_is_read_all_the_same() {
    let world = World::new(noise("file", 50_000));
    let weak = Fault::Tag("W/\"1\"".to_owned());
    world.server.fault("image", weak, 99);
    let reader = world.read(&[0..1000, 2000..3000]);
    assert!(!reader.is_whole());
    let seen = world.server.seen();
    assert!(
        seen.iter()
            .all(|request| header(request, "if-range").is_none())
    );
    // Nor is a length needed.
    world.server.forgive();
    world.server.fault("image", Fault::UnknownLength, 99);
    assert!(!world.read(&[0..1000, 2000..3000]).is_whole());
}

#[test]
fn a_server_that_lies_about_ranges_is_told_from_one_that_is_gone() {
    let world = World::new(noise("file", 50_000));
    for (fault, says) in [
        (
            Fault::LieAboutRange,
            "it was asked for bytes 100-199 and sends bytes 101-199",
        ),
        (
            Fault::LieAboutLength,
            "it has a file of 50001 bytes, and 50000 are signed",
        ),
        (
            Fault::NoContentRange,
            "it does not say which bytes it sends",
        ),
        (
            Fault::LongPart(1),
            "it sends more than the 100 bytes of which it speaks",
        ),
        (Fault::RefuseRange(416), "the server refuses them (416"),
        (Fault::RefuseRange(403), "the server refuses them (403"),
        (
            Fault::ContinueAs(noise("longer", 60_000)),
            "it has a file of 60000 bytes, and 50000 are signed",
        ),
    ] {
        world.server.fault("image", fault.clone(), 1);
        let error = world.fail(&[100..200, 300..400]);
        let said = chain(&error);
        assert!(error.is_unusable(), "{fault:?}: {said}");
        assert!(said.contains(says), "{fault:?}: {said}");
        assert!(said.contains(&world.places()[0]), "{said}");
        // At once: nothing was tried again.
        assert_eq!(asked(&world.server.seen()), ["bytes=100-199"], "{fault:?}");
        world.server.forgive();
    }
    // A part of another file, though the one that is there was named.
    world
        .server
        .fault("image", Fault::Tag("\"1\"".to_owned()), 1);
    world
        .server
        .fault("image", Fault::ContinueAs(noise("other", 50_000)), 9);
    let error = world.fail(&[100..200, 300..400]);
    let said = chain(&error);
    assert!(
        error.is_unusable() && said.contains("parts of different files"),
        "{said}"
    );
    // Whoever asks for the whole of it gets it.
    let (repository, target) = world.open();
    assert_eq!(repository.read(&target, 50_000).unwrap(), world.file);
}

#[test]
fn a_range_that_breaks_is_continued_where_it_stopped() {
    for (fault, times, expected) in [
        (
            Fault::DropAfter(20_000),
            2,
            &["bytes=1000-50999", "bytes=21000-50999", "bytes=41000-50999"][..],
        ),
        (
            Fault::StallAfter(20_000),
            2,
            &["bytes=1000-50999", "bytes=21000-50999", "bytes=41000-50999"],
        ),
        (
            Fault::ShortPart(100),
            1,
            &["bytes=1000-50999", "bytes=50900-50999"],
        ),
        (
            Fault::Status(503),
            1,
            &["bytes=1000-50999", "bytes=1000-50999"],
        ),
        (Fault::Silence, 1, &["bytes=1000-50999", "bytes=1000-50999"]),
    ] {
        let world = World::new(noise("file", 60_000));
        world.server.fault("image", fault.clone(), times);
        let reader = world.read(&[1000..51_000]);
        assert!(!reader.is_whole());
        let seen = world.server.seen();
        assert_eq!(asked(&seen), expected, "{fault:?}");
        assert_eq!(reader.received(), 50_000, "{fault:?}");
    }
}

#[test]
fn ranges_of_which_one_after_the_other_breaks_come_all_the_same() {
    let world = World::new(noise("file", 1_000_000));
    let ranges: Vec<Range<u64>> = (0..10)
        .map(|at| at * 100_000..at * 100_000 + 90_000)
        .collect();
    world.server.fault("image", Fault::DropAfter(70_000), 12);
    let reader = world.read(&ranges);
    assert_eq!(reader.received(), sum(&ranges));
    assert!(
        (11..=22).contains(&reader.requests()),
        "{}",
        reader.requests()
    );
}

#[test]
fn a_server_that_is_gone_or_drips_is_left_by_the_rules_of_whole_transfers() {
    let world = World::new(noise("file", 100_000));
    let ranges: Vec<Range<u64>> = (0..90).map(|at| at * 1000..at * 1000 + 50).collect();
    let nothing = "giving up, no byte came for ";
    for (fault, says, may_serve_the_whole) in [
        (Fault::Silence, nothing, true),
        (Fault::Status(503), nothing, true),
        (Fault::StallAfter(0), nothing, false),
        // Each range is complete in a moment; all of them would take for ever.
        (Fault::Drip, "giving up: only ", false),
    ] {
        world.server.fault("image", fault.clone(), 999);
        let error = world.fail(&ranges);
        let said = chain(&error);
        assert!(
            error.is_unusable() == may_serve_the_whole && said.contains(says),
            "{fault:?}: {said}"
        );
        world.server.forgive();
    }
}
