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
