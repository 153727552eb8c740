//! The event stream, and the metrics.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use system_tests::api::Api;
use system_tests::publisher::{ARCH, VARIANT};
use system_tests::server::Fault;
use system_tests::world::TwoReleases as World;

/// A listener, message by message.
struct Listener {
    stream: BufReader<UnixStream>,
}

impl Listener {
    fn new(api: &Api) -> Self {
        let mut stream = api.connect();
        stream
            .write_all(b"GET /updates/events HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut listener = Self {
            stream: BufReader::new(stream),
        };
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(listener.stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        listener
    }

    /// The next message: its name and its data. None at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).unwrap();
                return Some((name.unwrap(), data));
            }
        }
    }
}

#[test]
fn whoever_listens_sees_a_command_from_its_beginning_to_its_end() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let mut listener = Listener::new(&api);
    let (name, status) = listener.next().unwrap();
    assert_eq!(
        (name.as_str(), &status["update_state"]),
        ("status", &"Available".into())
    );
    api.post("/actions/prepare-update").expect(204);
    let mut events = Vec::new();
    let last = loop {
        let (name, data) = listener.next().unwrap();
        if name == "event" {
            events.push(data);
        } else if data["running_command"].is_null() {
            break data;
        }
    };
    assert_eq!(last["update_state"], "Staged");
    let kinds = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((kinds("begin"), kinds("end")), (1, 1), "{events:#?}");
    assert_eq!(events[0]["verb"], "prepare");
    assert!(kinds("step") >= 7 && kinds("progress") >= 3, "{events:#?}");
    assert!(events.iter().all(|event| event["schema"] == 1));

    api.stop();
    assert_eq!(listener.next(), None, "the server ends its streams");
}

#[test]
fn listeners_that_vanish_or_do_not_read_hold_nothing_up() {
    let world = World::new();
    let api = Api::start(&world.host);
    let deaf: Vec<_> = (0..20).map(|_| Listener::new(&api)).collect();
    for _ in 0..20 {
        drop(Listener::new(&api));
    }
    for (command, state) in [
        ("refresh-updates", "Available"),
        ("prepare-update", "Staged"),
        ("activate-update", "Ready"),
    ] {
        assert_eq!(api.done(command)["update_state"], state);
    }
    drop(deaf);
    assert!(api.stop().status.success());
}

#[test]
fn metrics_say_how_the_host_stands() {
    let world = World::new();
    let api = Api::start(&world.host);
    let fresh = api.get("/metrics").expect(200);
    assert!(fresh.headers["content-type"].starts_with("application/openmetrics-text"));
    assert!(fresh.body.ends_with("# EOF\n"));
    api.done("refresh-updates");
    api.done("prepare-update");
    let moved = world.publisher.path("moved");
    std::fs::rename(world.publisher.metadata(), &moved).unwrap();
    api.done("refresh-updates");
    let metrics = api.get("/metrics").expect(200).body;
    for line in [
        "updog_running_info{variant=\"demo\",arch=\"x86_64\",version=\"1.0.0\"} 1",
        "updog_boot_state{state=\"staged\"} 1",
        "updog_boot_state{state=\"idle\"} 0",
        "updog_update_state{state=\"Staged\"} 1",
        "updog_set_boots_next{set=\"B\",variant=\"demo\",version=\"1.1.0\"} 0",
        "updog_commands_total{command=\"prepare\",outcome=\"done\"} 1",
        "updog_commands_total{command=\"refresh\",outcome=\"done\"} 1",
        "updog_commands_total{command=\"refresh\",outcome=\"failed\"} 1",
        "updog_last_command_info{command=\"refresh\",outcome=\"failed\"} 1",
        "updog_held_versions 0",
        "updog_command_running 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
    for name in [
        "updog_metadata_expiry_timestamp_seconds{role=\"timestamp\"} ",
        "updog_command_duration_seconds_total{command=\"prepare\"} ",
        "updog_image_bytes_total{what=\"fetched\"} ",
        "updog_image_bytes_total{what=\"verified\"} ",
    ] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value: f64 = value
            .unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
            .parse()
            .unwrap();
        assert!(value > 0.0, "{name}{value}");
    }
}

#[test]
fn what_a_failed_update_by_blocks_fetched_is_counted() {
    let world = World::new();
    world.host.configure("outage_timeout_seconds = 1\n");
    let boot = format!("{VARIANT}-{ARCH}-1.1.0-boot.ext4.lz4");
    let boot = world.publisher.target(&boot);
    let boot = boot.file_name().unwrap().to_str().unwrap();
    world.server.fault(boot, Fault::DropAfter(20_000), 1);
    world.server.fault(boot, Fault::Status(503), 1000);
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let status = api.done("prepare-update");
    assert_eq!(status["most_recent_command"]["cmd_status"], "Failed");
    let metrics = api.get("/metrics").expect(200).body;
    let name = "updog_image_bytes_total{what=\"fetched\"} ";
    let fetched = metrics.lines().find_map(|line| line.strip_prefix(name));
    let fetched: u64 = fetched.unwrap().parse().unwrap();
    // The maps are shorter.
    assert!((20_000..30_000).contains(&fetched), "{fetched}");
}
