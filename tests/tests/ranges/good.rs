//! Servers that do ranges as they are meant, and files.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::Duration;

use system_tests::publisher::noise;
use system_tests::server::{Fault, Seen, Server};
use system_tests::tls::Authority;
use updog::cancel::{self, Signal};
use updog::exit::chain;
use updog::repository::RangesError;

use super::{World, asked, assert_right, failure, header, sum};

#[test]
fn ranges_come_in_their_order_and_nothing_else_comes() {
    let world = World::new(noise("file", 300_000));
    let ranges = [
        0..1,
        5..70_000,
        70_000..70_001,
        100_000..250_000,
        299_999..300_000,
    ];
    let (repository, target) = world.open();
    repository.add_query("seed", "7");
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    assert_right(&mut reader, &ranges, &world.file);
    assert_eq!(reader.received(), sum(&ranges));
    assert_eq!(reader.requests(), 5);
    assert!(!reader.is_whole());

    let seen = world.server.seen();
    assert_eq!(
        asked(&seen),
        [
            "bytes=0-0",
            "bytes=5-69999",
            "bytes=70000-70000",
            "bytes=100000-249999",
            "bytes=299999-299999",
        ]
    );
    for request in &seen {
        assert_eq!(request.query, "seed=7");
        assert_eq!(header(request, "accept-encoding"), Some("identity"));
        // Of the first answer nothing is known yet.
        let is_first = request.range.as_deref() == Some("bytes=0-0");
        assert_eq!(header(request, "if-range").is_none(), is_first);
    }
}

#[test]
fn ranges_of_files_come_without_a_server() {
    let world = World::new(noise("file", 300_000));
    let ranges = [3..4, 100_000..300_000];
    let base = format!("file://{}", world.site.path().display());
    let (repository, target) = world.open_with(world.settings_at(&base, ""));
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    assert_right(&mut reader, &ranges, &world.file);
    assert_eq!((reader.received(), reader.requests()), (200_001, 0));

    let path = world.site.path().join("targets").join(&world.places()[0]);
    fs::write(&path, &world.file[1..]).unwrap();
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    let error = failure(&mut reader);
    assert!(error.is_unusable(), "{}", chain(&error));
    fs::remove_file(&path).unwrap();
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    let error = failure(&mut reader);
    assert!(!error.is_unusable(), "{}", chain(&error));
    let said = chain(&error);
    assert!(
        said.contains(&world.places()[0]) && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn what_is_no_row_of_ranges_is_refused_before_anything_is_asked_for() {
    let world = World::new(noise("file", 1000));
    let (repository, target) = world.open();
    for ranges in [
        vec![5..5],
        vec![0..1001],
        vec![10..20, 15..30],
        vec![10..20, 0..5],
    ] {
        let error = repository.open_ranges(&target, ranges).unwrap_err();
        assert!(matches!(error, RangesError::NoRange { .. }), "{error}");
    }
    let mut none = repository.open_ranges(&target, Vec::new()).unwrap();
    assert!(none.next_chunk().unwrap().is_none());
    assert_eq!(world.server.seen(), []);
}

#[test]
fn a_target_in_a_folder_is_looked_for_at_both_places_once() {
    let world = World::new(noise("file", 50_000));
    let [specified, tough] = world.places();
    let targets = world.site.path().join("targets");
    fs::create_dir_all(targets.join(&tough).parent().unwrap()).unwrap();
    fs::rename(targets.join(&specified), targets.join(&tough)).unwrap();
    let ranges = [0..10, 20..30, 40..50];
    let reader = world.read(&ranges);
    assert_eq!(reader.requests(), 4);
    let paths: Vec<String> = world
        .server
        .seen()
        .into_iter()
        .map(|seen| seen.path)
        .collect();
    assert_eq!(paths[0], format!("/targets/{specified}"));
    assert!(
        paths[1..]
            .iter()
            .all(|path| *path == format!("/targets/{tough}"))
    );

    fs::remove_file(targets.join(&tough)).unwrap();
    let error = world.fail(&ranges);
    let said = chain(&error);
    assert!(!error.is_unusable() && said.contains("404"), "{said}");
    assert!(said.contains(&specified), "{said}");
}

#[test]
fn a_range_that_is_long_is_asked_for_alone_and_is_not_fetched_ahead_of_its_reader() {
    let world = World::new(noise("file", 40 << 20));
    let ranges = [0..(20 << 20), (20 << 20)..(40 << 20)];
    let (repository, target) = world.open();
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    let mut read = 0;
    while read < 18 << 20 {
        let chunk = reader.next_chunk().unwrap().unwrap();
        read += u64::try_from(chunk.bytes.len()).unwrap();
        assert_eq!(reader.requests(), 1);
        assert!(
            reader.received() <= read + (2 << 20),
            "{}",
            reader.received()
        );
    }
    while reader.next_chunk().unwrap().is_some() {}
    assert_eq!(reader.requests(), 2);
    assert_eq!(reader.received(), 40 << 20);
}

#[test]
fn many_small_ranges_share_one_connection_of_http_2() {
    let Some(authority) = Authority::new("many_small_ranges_share_one_connection_of_http_2") else {
        return;
    };
    let issued = authority.issue("server", "IP:127.0.0.1");
    let mut tls = Authority::server(&issued);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let file = noise("file", 4 << 20);
    let world = World::behind(file, |site| Server::start_tls(site, tls));
    let trust = format!("ca_file = \"{}\"\n", authority.certificate().display());
    let settings = world.settings_at(&world.server.url(), &trust);
    let (repository, target) = world.open_with(settings);

    let mut ranges: Vec<Range<u64>> = (0..50).map(|at| at * 10_000..at * 10_000 + 5000).collect();
    // And one that is larger than a window.
    ranges.push(1_000_000..4_000_000);
    let mut reader = repository.open_ranges(&target, ranges.clone()).unwrap();
    assert_right(&mut reader, &ranges, &world.file);
    let seen = world.server.seen();
    assert_eq!(seen.len(), 51);
    assert!(seen.iter().all(|request| request.is_http2));
    assert_eq!(connections(&seen), 1);
}

#[test]
fn a_run_that_is_to_stop_waits_for_no_server() {
    let world = World::new(noise("file", 50_000));
    let mut settings = world.settings_at(&world.server.url(), "");
    settings.transport.stall_timeout = Duration::from_secs(3600);
    settings.transport.outage_timeout = Duration::from_secs(3600);
    let cancel = settings.watch.cancel().clone();
    let (repository, target) = world.open_with(settings);
    // The first range comes, the second never does.
    world
        .server
        .fault("image", Fault::Tag("\"1\"".to_owned()), 1);
    world.server.fault("image", Fault::Silence, 9);
    let mut reader = repository
        .open_ranges(&target, vec![0..10, 20..30])
        .unwrap();
    assert_eq!(reader.next_chunk().unwrap().unwrap().bytes.len(), 10);
    cancel.cancel(Signal::Terminate);
    let error = reader.next_chunk().unwrap_err();
    assert!(matches!(error, RangesError::Stopped { .. }), "{error}");
    assert!(cancel::find(&error).is_some());
}

#[test]
fn connections_are_used_again() {
    let world = World::new(noise("file", 100_000));
    let ranges: Vec<Range<u64>> = (0..100).map(|at| at * 1000..at * 1000 + 500).collect();
    world.read(&ranges);
    let connections = connections(&world.server.seen());
    assert!(connections < 50, "{connections} for 100 ranges");
}

#[test]
fn a_pause_that_a_rate_makes_is_no_stall() {
    let world = World::new(noise("file", 60_000));
    let mut settings = world.settings_at(&world.server.url(), "");
    settings.transport.max_rate = NonZeroU64::new(50_000);
    // A chunk of some 16 kB has longer to wait.
    settings.transport.stall_timeout = Duration::from_millis(300);
    let (repository, target) = world.open_with(settings);
    let ranges = [5..9, 100..40_000];
    let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
    assert_right(&mut reader, &ranges, &world.file);
    assert_eq!(reader.requests(), 2);
}

/// How many there were.
fn connections(seen: &[Seen]) -> usize {
    let numbers: BTreeSet<usize> = seen.iter().map(|request| request.connection).collect();
    numbers.len()
}
