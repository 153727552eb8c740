//! How bytes come from servers that are slow, broken or elsewhere: the transport over real sockets.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use system_tests::client::Client;
use system_tests::publisher::{Publisher, noise};
use system_tests::server::{Fault, Seen, Server};
use tempfile::TempDir;
use tough::{IntoVec as _, Transport as _};
use updog::exit::chain;
use updog::repository::RepositorySettings;
use updog::repository::transport::RepositoryTransport;

/// Two folders, `meta` and `targets`, behind a server.
struct Folders {
    publisher: Publisher,
    dir: TempDir,
    server: Server,
}

impl Folders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["meta", "targets"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            publisher: Publisher::new(),
            server: Server::start(dir.path()),
            dir,
        }
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let folders = Self::new();
        folders.put(name, bytes);
        folders
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// How they are reached at `base`, with outages of milliseconds.
    fn settings_at(&self, base: &str) -> RepositorySettings {
        let (meta, targets) = (format!("{base}/meta"), format!("{base}/targets"));
        let client = Client::of(&self.publisher, &meta, &targets);
        let mut settings = client.env("").repository_settings();
        settings.transport.stall_timeout = Duration::from_millis(200);
        settings.transport.outage_timeout = Duration::from_millis(500);
        settings
    }

    fn transport_at(&self, base: &str) -> RepositoryTransport {
        RepositoryTransport::new(&self.settings_at(base)).unwrap()
    }

    fn transport(&self) -> RepositoryTransport {
        self.transport_at(&self.server.url())
    }

    /// What `name` is, or why it is not.
    fn fetch(&self, name: &str) -> Result<Vec<u8>, String> {
        fetch(&self.transport(), &self.server.url(), name)
    }

    /// The requests since the last look.
    fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }
}

fn fetch(transport: &RepositoryTransport, base: &str, name: &str) -> Result<Vec<u8>, String> {
    let url = format!("{base}/{name}").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { transport.fetch(url).await?.into_vec().await })
        .map_err(|error| chain(&error))
}

/// That it was asked for these parts.
fn ranges(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter()
        .map(|request| request.range.as_deref())
        .collect()
}

#[test]
fn a_server_that_takes_a_request_and_never_answers_is_given_up() {
    let folders = Folders::with("targets/x", b"x");
    folders.server.fault("x", Fault::Silence, 99);
    let error = folders.fetch("targets/x").unwrap_err();
    assert!(error.contains("giving up, no byte came for"), "{error}");
    assert!(folders.seen().len() > 1, "it was tried again first");
}

#[test]
fn a_host_that_takes_a_connection_and_never_speaks_tls_is_given_up() {
    let folders = Folders::new();
    // The kernel takes the connection; nobody accepts it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let (meta, targets) = (format!("{base}/meta"), format!("{base}/targets"));
    let client = Client::of(&folders.publisher, &meta, &targets);
    let mut settings = client.env("").repository_settings();
    settings.transport.connect_timeout = Duration::from_millis(100);
    settings.transport.outage_timeout = Duration::from_millis(100);
    // So that only the connect timeout can end it.
    settings.transport.stall_timeout = Duration::from_secs(3600);
    let transport = RepositoryTransport::new(&settings).unwrap();
    let error = fetch(&transport, &base, "targets/x").unwrap_err();
    assert!(error.contains("sending the request"), "{error}");
}

#[test]
fn a_body_that_stands_still_is_continued_where_it_stopped() {
    let file = noise("stall", 50_000);
    let folders = Folders::with("targets/x", &file);
    folders.server.fault("x", Fault::StallAfter(20_000), 2);
    assert_eq!(folders.fetch("targets/x").unwrap(), file);
    assert_eq!(
        ranges(&folders.seen()),
        [None, Some("bytes=20000-"), Some("bytes=40000-")]
    );
}

#[test]
fn a_server_that_drips_is_left() {
    let folders = Folders::with("targets/x", &noise("drip", 50_000));
    folders.server.fault("x", Fault::Drip, 1);
    let error = folders.fetch("targets/x").unwrap_err();
    assert!(error.contains("giving up: only "), "{error}");
    assert!(error.contains(" bytes came in 1 s"), "{error}");
}

#[test]
fn a_pause_that_a_rate_makes_is_no_stall() {
    let file = noise("rate", 60_000);
    let folders = Folders::with("targets/x", &file);
    let base = folders.server.url();
    let mut settings = folders.settings_at(&base);
    settings.transport.max_rate = NonZeroU64::new(50_000);
    // A chunk of some 30 kB has longer to wait.
    settings.transport.stall_timeout = Duration::from_millis(500);
    let transport = RepositoryTransport::new(&settings).unwrap();
    assert_eq!(fetch(&transport, &base, "targets/x").unwrap(), file);
    assert_eq!(folders.seen().len(), 1, "it was not tried again");
}

#[test]
fn as_many_interruptions_as_there_are_end_well_while_bytes_come() {
    let file = noise("progress", 1_500_000);
    let folders = Folders::with("targets/x", &file);
    folders.server.fault("x", Fault::DropAfter(70_000), 20);
    assert_eq!(folders.fetch("targets/x").unwrap(), file);
    assert_eq!(folders.seen().len(), 21);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_taken() {
    let file = noise("file", 50_000);
    let other = noise("another", 50_000);
    for fault in [
        Fault::IgnoreRange,
        Fault::LieAboutRange,
        Fault::RefuseRange(416),
        Fault::RefuseRange(403),
        Fault::ContinueAs(other),
        Fault::ContinueAs(noise("longer", 60_000)),
    ] {
        let folders = Folders::with("targets/x", &file);
        folders.server.fault("x", Fault::DropAfter(20_000), 1);
        folders.server.fault("x", fault.clone(), 1);
        assert_eq!(folders.fetch("targets/x").unwrap(), file, "{fault:?}");
        let seen = folders.seen();
        assert_eq!(seen[1].range.as_deref(), Some("bytes=20000-"));
        let tag = seen[1].headers.get("if-range").unwrap();
        assert!(tag.starts_with('"'), "{tag}");
    }
}

#[test]
fn a_file_that_is_replaced_by_a_longer_one_meanwhile_is_told() {
    let folders = Folders::with("targets/x", &noise("short", 50_000));
    folders.server.fault("x", Fault::DropAfter(20_000), 1);
    let longer = noise("longer", 60_000);
    folders.server.fault("x", Fault::Replace(longer), 1);
    let error = folders.fetch("targets/x").unwrap_err();
    assert!(
        error.contains("the file had 50000 bytes when its transfer began and has 60000 now"),
        "{error}"
    );
}

#[test]
fn what_is_meant_for_one_host_is_not_told_to_another() {
    let folders = Folders::with("targets/x", b"x");
    let elsewhere = Server::start(folders.dir.path());
    let to = format!("{}/targets/x", elsewhere.url());
    folders.server.fault("x", Fault::Redirect(to), 1);
    let base = folders.server.url().replace("://", "://user:s3cret@");
    let transport = folders.transport_at(&base);
    transport.add_query("seed", "1000");
    assert_eq!(fetch(&transport, &base, "targets/x").unwrap(), b"x");

    let here = &folders.seen()[0];
    assert_eq!(here.headers["authorization"], "Basic dXNlcjpzM2NyZXQ=");
    assert_eq!(here.query, "seed=1000");
    let there = &elsewhere.seen()[0];
    for (name, value) in &there.headers {
        assert!(
            !value.contains("1000") && !value.contains("s3cret") && name != "authorization",
            "{name}: {value}"
        );
    }
    assert_eq!(there.query, "");
}

#[test]
fn redirects_end() {
    let folders = Folders::with("targets/x", b"x");
    let here = Fault::Redirect("/targets/x".to_owned());
    folders.server.fault("x", here.clone(), 5);
    assert_eq!(folders.fetch("targets/x").unwrap(), b"x");
    assert_eq!(folders.seen().len(), 6);
    folders.server.fault("x", here, 99);
    let error = folders.fetch("targets/x").unwrap_err();
    assert!(error.contains("too many redirects"), "{error}");
    assert_eq!(folders.seen().len(), 6, "it is not tried again");
}

#[test]
fn metadata_that_are_too_large_are_refused_with_both_numbers() {
    let folders = Folders::new();
    for (name, limit, key) in [
        ("meta/timestamp.json", 1 << 20, "max_root_bytes"),
        ("meta/2.root.json", 1 << 20, "max_root_bytes"),
        ("meta/3.snapshot.json", 10 << 20, "max_metadata_bytes"),
        ("meta/4.targets.json", 10 << 20, "max_metadata_bytes"),
    ] {
        folders.put(name, &vec![b' '; limit]);
        assert_eq!(folders.fetch(name).unwrap().len(), limit);

        folders.put(name, &vec![b' '; limit + 1]);
        let length = limit + 1;
        let said = format!("has {length} bytes, and {key} allows no more than {limit}");
        let error = folders.fetch(name).unwrap_err();
        assert!(error.contains(&said), "{error}");
        // The same of files.
        let base = format!("file://{}", folders.dir.path().display());
        let error = fetch(&folders.transport_at(&base), &base, name).unwrap_err();
        assert!(error.contains(&said), "{error}");

        // And of a server that does not say how much there is.
        let endless = Fault::Endless(vec![b' '; 64 << 10]);
        folders.server.fault(name, endless, 1);
        let error = folders.fetch(name).unwrap_err();
        let said = format!("more than {limit} bytes, and {key} allows no more than {limit}");
        assert!(error.contains(&said), "{error}");
    }
}

#[test]
fn caches_are_passed_by_from_the_moment_on_that_it_is_asked_for() {
    let folders = Folders::with("meta/x.json", b"x");
    folders.put("targets/x", b"x");
    let (transport, base) = (folders.transport(), folders.server.url());
    fetch(&transport, &base, "meta/x.json").unwrap();
    transport.bypass_caches();
    fetch(&transport, &base, "meta/x.json").unwrap();
    // A target is known by its digest.
    fetch(&transport, &base, "targets/x").unwrap();
    let seen = folders.seen();
    let header = |at: usize, name: &str| seen[at].headers.get(name).map(String::as_str);
    for name in ["cache-control", "pragma"] {
        assert_eq!(header(0, name), None);
        assert_eq!(header(1, name), Some("no-cache"));
        assert_eq!(header(2, name), None);
    }
    for at in [0, 1, 2] {
        let expected = format!("updog/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(header(at, "user-agent"), Some(expected.as_str()));
        assert_eq!(header(at, "accept-encoding"), Some("identity"));
    }
}

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_target_in_a_folder_is_found_where_the_specification_or_tough_puts_it() {
    let tough = format!("targets/{HASH}.dir/sub/f");
    let specified = format!("targets/dir/sub/{HASH}.f");
    for (there, missing) in [
        (&tough[..], Fault::Status(404)),
        (&tough, Fault::Status(410)),
        (&specified, Fault::Status(404)),
    ] {
        let folders = Folders::with(there, b"content");
        folders
            .server
            .fault("sub/ba", missing, usize::from(there == tough));
        assert_eq!(folders.fetch(&tough).unwrap(), b"content", "{there}");
        let base = format!("file://{}", folders.dir.path().display());
        let transport = folders.transport_at(&base);
        assert_eq!(fetch(&transport, &base, &tough).unwrap(), b"content");

        let seen = folders.seen();
        assert_eq!(seen[0].path, format!("/{specified}"));
        assert_eq!(seen.len(), if there == tough { 2 } else { 1 });
    }
    let folders = Folders::new();
    let error = folders.fetch(&tough).unwrap_err();
    assert!(
        error.contains(&specified) && error.contains("404"),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_forbidden_is_no_missing_file() {
    let folders = Folders::with(&format!("targets/{HASH}.dir/f"), b"content");
    folders.server.fault("targets/dir", Fault::Status(403), 1);
    // The test's server looks for the file first.
    folders.put(&format!("targets/dir/{HASH}.f"), b"content");
    let error = folders.fetch(&format!("targets/{HASH}.dir/f")).unwrap_err();
    assert!(error.contains("403"), "{error}");
}

#[test]
fn nothing_outside_the_folders_is_read_or_asked_for() {
    let folders = Folders::with("secret", b"secret");
    folders.put("targets/a/b", b"b");
    let files = format!("file://{}", folders.dir.path().display());
    for base in [folders.server.url(), files] {
        let transport = folders.transport_at(&base);
        for name in [
            "targets/..%2Fsecret",
            "targets/a%2F..%2F..%2Fsecret",
            "targets/%2e%2e/secret",
            "targets/../secret",
            "targets/a%5C..%5C..%5Csecret",
            "secret",
        ] {
            let error = fetch(&transport, &base, name).unwrap_err();
            assert!(error.contains("leads out of the repository"), "{error}");
        }
        assert_eq!(fetch(&transport, &base, "targets/a/b").unwrap(), b"b");
    }
    let asked: Vec<String> = folders.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, ["/targets/a/b"]);
}

#[test]
fn a_folder_or_a_pipe_is_no_file_and_waits_for_nobody() {
    let folders = Folders::with("targets/dir/x", b"x");
    let pipe = folders.dir.path().join("targets/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let base = format!("file://{}", folders.dir.path().display());
    let transport = folders.transport_at(&base);
    for name in ["targets/dir", "targets/pipe"] {
        let error = fetch(&transport, &base, name).unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
