//! Parts of a target from servers that do ranges well, badly or not at all, over real sockets.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(clippy::single_range_in_vec_init)] // some rows have one range

mod bad;
mod good;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use system_tests::client::Client;
use system_tests::foreign;
use system_tests::publisher::Publisher;
use system_tests::server::{Seen, Server};
use tempfile::TempDir;
use updog::repository::{
    RangeReader, RangesError, RepositorySettings, SignedTarget, UpdateRepository,
};

/// A signed target in a folder of the repository, which is where tough and the specification differ.
const NAME: &str = "dir/image";

/// One signed target behind a server.
struct World {
    publisher: Publisher,
    site: TempDir,
    server: Server,
    file: Vec<u8>,
}

impl World {
    fn new(file: Vec<u8>) -> Self {
        Self::behind(file, Server::start)
    }

    fn behind(file: Vec<u8>, start: impl FnOnce(&Path) -> Server) -> Self {
        let publisher = Publisher::new();
        let site = tempfile::tempdir().unwrap();
        foreign::sign(&publisher, &site.path().join("meta"), &[NAME], &file);
        let targets = site.path().join("targets/dir");
        fs::create_dir_all(&targets).unwrap();
        let digest = hex::encode(Sha256::digest(&file));
        fs::write(targets.join(format!("{digest}.image")), &file).unwrap();
        Self {
            server: start(site.path()),
            publisher,
            site,
            file,
        }
    }

    /// Where the target lies as the specification has it, and as tough has it.
    fn places(&self) -> [String; 2] {
        let digest = hex::encode(Sha256::digest(&self.file));
        [format!("dir/{digest}.image"), format!("{digest}.dir/image")]
    }

    fn settings_at(&self, base: &str, more: &str) -> RepositorySettings {
        let (meta, targets) = (format!("{base}/meta"), format!("{base}/targets"));
        let client = Client::of(&self.publisher, &meta, &targets);
        let mut settings = client.env(more).repository_settings();
        // The client's folder goes with it; what is remembered there is made anew.
        settings.trusted_root = self.publisher.path("root.json");
        settings.trust_dir = self.site.path().join("trust");
        settings.transport.stall_timeout = Duration::from_millis(200);
        settings.transport.outage_timeout = Duration::from_millis(500);
        settings
    }

    fn open_with(&self, settings: RepositorySettings) -> (UpdateRepository, SignedTarget) {
        let repository = UpdateRepository::refresh(settings, updog::clock::now()).unwrap();
        let target = repository.target(NAME).unwrap();
        self.server.seen();
        (repository, target)
    }

    fn open(&self) -> (UpdateRepository, SignedTarget) {
        self.open_with(self.settings_at(&self.server.url(), ""))
    }

    /// Reads `ranges` to their end, all of which have to be right.
    fn read(&self, ranges: &[Range<u64>]) -> RangeReader {
        let (repository, target) = self.open();
        let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
        assert_right(&mut reader, ranges, &self.file);
        reader
    }

    /// Reads until something goes wrong.
    fn fail(&self, ranges: &[Range<u64>]) -> RangesError {
        let (repository, target) = self.open();
        let mut reader = repository.open_ranges(&target, ranges.to_vec()).unwrap();
        failure(&mut reader)
    }
}

fn failure(reader: &mut RangeReader) -> RangesError {
    loop {
        match reader.next_chunk() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("nothing went wrong"),
            Err(error) => return error,
        }
    }
}

/// Reads to the end; what comes must be `ranges` of `file`, byte for byte, each chunk within its range.
fn assert_right(reader: &mut RangeReader, ranges: &[Range<u64>], file: &[u8]) {
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let chunk = reader.next_chunk().unwrap().unwrap();
            assert_eq!(chunk.offset, at);
            let end = at + u64::try_from(chunk.bytes.len()).unwrap();
            assert!(at < end && end <= range.end, "{at}..{end} of {range:?}");
            let place = usize::try_from(at).unwrap()..usize::try_from(end).unwrap();
            assert!(chunk.bytes == file[place], "{at}..{end}");
            at = end;
        }
    }
    assert!(reader.next_chunk().unwrap().is_none());
    assert!(
        reader.next_chunk().unwrap().is_none(),
        "the end stays the end"
    );
}

fn sum(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// What was asked for, in the order of the file; requests at the same time come in any order.
fn asked(seen: &[Seen]) -> Vec<String> {
    let mut ranges: Vec<(u64, String)> = seen
        .iter()
        .map(|request| {
            let range = request.range.clone().unwrap_or_default();
            let first = range.trim_start_matches("bytes=").split('-').next();
            (first.unwrap().parse().unwrap_or(0), range)
        })
        .collect();
    ranges.sort();
    ranges.into_iter().map(|(_, range)| range).collect()
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.get(name).map(String::as_str)
}
