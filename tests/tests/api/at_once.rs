//! Many who ask at once, and two who want something done.

use std::thread;

use serde_json::{Value, json};
use system_tests::api::{Api, ask};
use system_tests::world::TwoReleases as World;

#[test]
fn readers_are_answered_while_a_command_runs_and_a_second_command_is_not_begun() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let (is_asked, go_on) = world.hold_back_root_image();
    let begun = api.post("/actions/prepare-update").expect(204);
    let id: u64 = begun.headers["updog-command"].parse().unwrap();
    is_asked.recv().unwrap();

    let statuses: Vec<Value> = thread::scope(|scope| {
        let readers: Vec<_> = (0..50).map(|_| scope.spawn(|| api.status())).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    assert_eq!(statuses.len(), 50);
    for status in statuses {
        let running = &status["running_command"];
        assert_eq!(
            (&running["command"], &running["id"]),
            (&json!("prepare"), &json!(id))
        );
        assert_eq!(
            status["most_recent_command"]["cmd_type"], "refresh",
            "the last one that ended"
        );
        assert_eq!(status["update_state"], "Available");
    }
    for command in [
        "refresh-updates",
        "prepare-update",
        "activate-update",
        "rollback",
    ] {
        let refused = api.post(&format!("/actions/{command}")).expect(423);
        assert_eq!(refused.headers["updog-error"], "busy", "{command}");
    }
    // Neither is a session of the command line.
    world
        .host
        .updog(&["update"])
        .expect(4)
        .says("updog prepare");
    api.get("/updates/history").expect(200);
    api.get("/metrics").expect(200);
    go_on.send(()).unwrap();
    // Who waits for the end needs no other way to know of it.
    while api.status()["running_command"] != Value::Null {
        thread::yield_now();
    }
    let status = api.status();
    assert_eq!(status["update_state"], "Staged");
    assert_eq!(status["most_recent_command"]["id"], id);
    api.post("/actions/activate-update").expect(204);
}

#[test]
fn of_many_who_want_the_same_one_gets_it_and_who_saw_the_end_may_go_on() {
    let world = World::new();
    let api = Api::start(&world.host);
    for _ in 0..20 {
        let codes: Vec<u16> = thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| api.post("/actions/refresh-updates").code))
                .collect();
            callers
                .into_iter()
                .map(|caller| caller.join().unwrap())
                .collect()
        });
        assert!(codes.contains(&204), "{codes:?}");
        assert!(
            codes.iter().all(|code| matches!(code, 204 | 423)),
            "{codes:?}"
        );
        while api.status()["running_command"] != Value::Null {
            thread::yield_now();
        }
        // The lock is free before the end can be read.
        api.post_and_wait("/actions/refresh-updates").expect(204);
    }
}

#[test]
fn a_session_of_the_command_line_keeps_commands_out_and_readers_in() {
    let world = World::new();
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    let (is_asked, go_on) = world.hold_back_root_image();
    thread::scope(|scope| {
        let session = scope.spawn(|| world.host.updog(&["prepare"]));
        is_asked.recv().unwrap();
        let refused = api.post("/actions/prepare-update").expect(423);
        assert!(refused.body.contains("updog prepare"), "{refused:?}");
        assert_eq!(api.status()["update_state"], "Available");
        go_on.send(()).unwrap();
        session.join().unwrap().done();
    });
    assert_eq!(api.status()["update_state"], "Staged", "the disk says so");
    assert_eq!(api.done("activate-update")["update_state"], "Ready");
}

#[test]
fn a_status_that_is_asked_for_on_one_connection_again_and_again_stays_one_connection() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    let api = Api::start(&world.host);
    let mut stream = api.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /os HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut seen = String::new();
        while !seen.ends_with('}') {
            let mut part = [0; 512];
            let read = stream.read(&mut part).unwrap();
            assert_ne!(read, 0, "{seen}");
            seen.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
        assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    }
    let closed = ask(api.socket(), "GET", "/os", &[]).expect(200);
    assert_eq!(closed.json()["version_id"], "1.0.0");
}
