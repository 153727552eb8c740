//! A server that is killed, at rest and at work, and one that is told to stop.

use std::fs;
use std::sync::mpsc::channel;

use serde_json::{Value, json};
use system_tests::api::Api;
use system_tests::running::{Signal, send};
use system_tests::world::TwoReleases as World;

/// The same but what is ours and what passes.
fn shared(status: &Value) -> Value {
    let mut status = status.clone();
    let keys = status.as_object_mut().unwrap();
    keys.remove("running_command");
    keys.remove("last_outcome");
    status
}

#[test]
fn a_server_that_is_killed_in_a_state_finds_it_again() {
    let world = World::new();
    let mut api = Api::start(&world.host);
    for command in [
        "refresh-updates",
        "prepare-update",
        "activate-update",
        "deactivate-update",
    ] {
        let before = api.done(command);
        api.kill();
        api = Api::start(&world.host);
        assert_eq!(shared(&api.status()), shared(&before), "after {command}");
    }
    assert_eq!(api.done("activate-update")["update_state"], "Ready");
}

#[test]
fn a_command_whose_server_is_killed_has_an_unknown_end_and_can_be_given_again() {
    let world = World::new();
    for (command, file) in [
        ("refresh-updates", "timestamp"),
        ("prepare-update", "root.ext4"),
    ] {
        let api = Api::start(&world.host);
        let (killed, is_killed) = channel();
        let pid = api.running.pid();
        world.server.when(file, move || {
            send(pid, Signal::KILL);
            killed.send(()).unwrap();
        });
        api.post(&format!("/actions/{command}")).expect(204);
        is_killed.recv().unwrap();
        api.running.end();

        let api = Api::start(&world.host);
        let status = api.status();
        let last = &status["most_recent_command"];
        let name = command.split('-').next().unwrap();
        assert_eq!(
            (&last["cmd_type"], &last["cmd_status"]),
            (&json!(name), &json!("Unknown"))
        );
        assert!(
            last["exit_status"].is_u64() && last["stderr"].is_string(),
            "{last}"
        );
        assert_eq!(status["last_outcome"]["outcome"], "unknown");
        assert_eq!(status["running_command"], Value::Null);
        assert_eq!(world.host.next(), "A");
        let status = api.done(command);
        assert_eq!(
            status["most_recent_command"]["cmd_status"], "Success",
            "{status:#}"
        );
        api.stop();
    }
}

#[test]
fn a_server_that_is_told_to_stop_ends_its_command_at_a_safe_point() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let (go_on, told) = channel::<()>();
    world.server.when("root.ext4", move || {
        let _ = told.recv();
    });
    api.post("/actions/prepare-update").expect(204);
    let mut running = api.running;
    running.signal(Signal::TERM);
    let message = "interrupted by SIGTERM; a command under way ends at the next safe point";
    running.until(&[("event", "log"), ("message", message)]);
    go_on.send(()).unwrap();
    let ended = running.end();
    assert!(
        ended.status.success(),
        "that is how it ends well: {:?}",
        ended.status
    );

    let api = Api::start(&world.host);
    let status = api.status();
    let last = &status["most_recent_command"];
    assert_eq!(
        (&last["cmd_status"], &last["exit_status"]),
        (&json!("Failed"), &json!(143))
    );
    assert_eq!(status["last_outcome"]["outcome"], "interrupted");
    assert_eq!(api.done("prepare-update")["update_state"], "Staged");
}

#[test]
fn a_state_file_that_is_damaged_lost_or_newer_stops_nobody() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    api.done("prepare-update");
    let file = world.host.path("state/announced.json");
    for (text, stays) in [
        ("{", false),
        ("{\"schema\": 2, \"chosen\": 3}", true),
        ("{\"schema\": 1, \"next_id\": \"many\"}", false),
    ] {
        fs::write(&file, text).unwrap();
        assert_eq!(
            api.get("/updates/status").code,
            404,
            "nothing is remembered: {text}"
        );
        // What is written is still there to be activated.
        assert_eq!(
            api.done("activate-update")["update_state"],
            "Ready",
            "{text}"
        );
        assert_eq!(
            api.done("deactivate-update")["update_state"],
            "Staged",
            "{text}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap() == text, stays, "{text}");
        let beside = world.host.path("state/announced.schema-1.json");
        assert_eq!(beside.exists(), stays, "{text}");
        if stays {
            fs::remove_file(beside).unwrap();
        }
    }
}

#[test]
fn whoever_asks_again_and_again_does_not_fill_the_log() {
    let world = World::new();
    fs::create_dir_all(world.host.path("state")).unwrap();
    for file in ["announced.json", "history.json"] {
        // After a fallback both are a newer engine's.
        let newer = json!({"schema": 2, "of": "a newer engine"}).to_string();
        fs::write(world.host.path("state").join(file), newer).unwrap();
    }
    let api = Api::start(&world.host);
    for _ in 0..3 {
        api.get("/updates/status").expect(404);
        api.get("/updates/history").expect(200);
        api.get("/metrics").expect(200);
    }
    let ended = api.stop();
    let warnings = |events: &[Value]| {
        let warnings = events.iter().filter(|event| event["level"] == "warn");
        warnings.cloned().collect::<Vec<_>>()
    };
    assert_eq!(warnings(&ended.events), Vec::<Value>::new());
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let ended = api.stop();
    assert_ne!(
        warnings(&ended.events),
        Vec::<Value>::new(),
        "a command says so"
    );
}

#[test]
fn what_another_process_told_since_is_told_by_a_server_that_could_not_write() {
    let world = World::new();
    let api = Api::start(&world.host);
    let file = world.host.path("state/announced.json");
    fs::create_dir_all(file.join("in-the-way")).unwrap();
    assert_eq!(api.done("refresh-updates")["last_outcome"]["id"], 1);
    fs::remove_dir_all(&file).unwrap();
    // One that could write, and began after it.
    fs::write(
        &file,
        json!({
            "schema": 1,
            "next_id": 7,
            "available": [],
            "chosen": null,
            "most_recent": {
                "cmd_type": "prepare",
                "cmd_status": "Failed",
                "timestamp": "2031-03-01T01:00:00Z",
                "exit_status": 1,
                "stderr": "e",
                "id": 7,
            },
            "last_outcome": null,
            "begun": null,
        })
        .to_string(),
    )
    .unwrap();
    assert_eq!(api.status()["most_recent_command"]["id"], 7);
    assert_eq!(api.done("refresh-updates")["last_outcome"]["id"], 8);
}

#[test]
fn a_server_whose_state_cannot_be_kept_still_tells_how_commands_end() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    // Whoever writes there gets an error, root too.
    let file = world.host.path("state/announced.json");
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("in-the-way")).unwrap();
    api.get("/updates/status").expect(404);
    for (command, state) in [
        ("refresh-updates", "Available"),
        ("prepare-update", "Staged"),
        ("activate-update", "Ready"),
    ] {
        let status = api.done(command);
        assert_eq!(status["update_state"], state, "{command}: {status:#}");
    }
    assert!(file.join("in-the-way").exists());
}

#[test]
fn two_servers_do_not_share_a_socket_and_a_dead_ones_is_taken_over() {
    let world = World::new();
    let api = Api::start(&world.host);
    world
        .host
        .updog(&["serve"])
        .expect(1)
        .says("has a server already");
    api.get("/os").expect(200);
    api.kill();
    assert!(world.host.path("api.sock").exists(), "nobody removed it");
    let api = Api::start(&world.host);
    api.get("/os").expect(200);
    api.stop();
    assert!(!world.host.path("api.sock").exists());
    // What is no socket is nobody's to remove.
    fs::write(world.host.path("api.sock"), "precious").unwrap();
    world.host.updog(&["serve"]).expect(1).says("no socket");
    assert_eq!(fs::read(world.host.path("api.sock")).unwrap(), b"precious");
}
