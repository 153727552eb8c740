//! Each state, each command in it, and what is told of both.

use std::fs;

use serde_json::{Value, json};
use system_tests::api::Api;
use system_tests::publisher::{ARCH, VARIANT};
use system_tests::world::TwoReleases as World;

fn image(version: &str) -> Value {
    json!({"arch": "x86_64", "version": version, "variant": "demo"})
}

fn partition(version: &str, next_to_boot: bool) -> Value {
    json!({"image": image(version), "next_to_boot": next_to_boot})
}

/// The keys that Bottlerocket's API has, without the time.
fn shared(status: &Value) -> Value {
    let mut shared = json!({});
    for key in [
        "update_state",
        "available_updates",
        "chosen_update",
        "active_partition",
        "staging_partition",
    ] {
        shared[key] = status[key].clone();
    }
    for key in ["cmd_type", "cmd_status", "exit_status", "stderr"] {
        shared["most_recent_command"][key] = status["most_recent_command"][key].clone();
    }
    shared
}

fn done(command: &str) -> Value {
    json!({"cmd_type": command, "cmd_status": "Success", "exit_status": 0, "stderr": ""})
}

#[test]
fn an_update_goes_from_state_to_state() {
    let mut world = World::new();
    let api = Api::start(&world.host);
    let refused = api.get("/updates/status").expect(404);
    assert_eq!(refused.headers["updog-error"], "never_refreshed");
    for command in ["prepare-update", "activate-update", "deactivate-update"] {
        let refused = api.post(&format!("/actions/{command}")).expect(409);
        assert_eq!(refused.headers["updog-error"], "wrong_state", "{command}");
        assert_eq!(refused.body.lines().count(), 1, "{refused:?}");
    }

    assert_eq!(
        shared(&api.done("refresh-updates")),
        json!({
            "update_state": "Available",
            "available_updates": ["1.1.0", "1.0.0"],
            "chosen_update": image("1.1.0"),
            "active_partition": partition("1.0.0", true),
            "staging_partition": null,
            "most_recent_command": done("refresh"),
        })
    );
    api.post("/actions/activate-update").expect(409);
    api.post("/actions/deactivate-update").expect(409);

    assert_eq!(
        shared(&api.done("prepare-update")),
        json!({
            "update_state": "Staged",
            "available_updates": ["1.1.0", "1.0.0"],
            "chosen_update": image("1.1.0"),
            "active_partition": partition("1.0.0", true),
            "staging_partition": partition("1.1.0", false),
            "most_recent_command": done("prepare"),
        })
    );
    assert_eq!(world.host.bits(), [[1, 0, 1], [0, 1, 0]]);
    api.post("/actions/deactivate-update").expect(409);

    assert_eq!(
        shared(&api.done("activate-update")),
        json!({
            "update_state": "Ready",
            "available_updates": ["1.1.0", "1.0.0"],
            "chosen_update": image("1.1.0"),
            "active_partition": partition("1.0.0", false),
            "staging_partition": partition("1.1.0", true),
            "most_recent_command": done("activate"),
        })
    );
    assert_eq!(world.host.bits(), [[1, 0, 1], [2, 1, 0]]);
    api.post("/actions/prepare-update").expect(409);
    api.post("/actions/activate-update").expect(409);

    let status = api.done("deactivate-update");
    assert_eq!(status["update_state"], "Staged");
    assert_eq!(status["staging_partition"], partition("1.1.0", false));
    assert_eq!(status["most_recent_command"]["cmd_type"], "deactivate");
    assert_eq!(api.done("activate-update")["update_state"], "Ready");
    assert!(api.stop().status.success());

    // The new version boots, and is found as it is.
    assert_eq!(world.host.boot(), "B");
    world.host.runs("1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    let api = Api::start(&world.host);
    let status = api.status();
    assert_eq!(
        shared(&status),
        json!({
            "update_state": "Idle",
            "available_updates": ["1.1.0", "1.0.0"],
            "chosen_update": null,
            "active_partition": partition("1.1.0", true),
            "staging_partition": null,
            "most_recent_command": done("activate"),
        })
    );
    let status = api.done("refresh-updates");
    assert_eq!(status["update_state"], "Idle");
    assert_eq!(status["chosen_update"], Value::Null);
    assert_eq!(status["last_outcome"]["outcome"], "nothing_to_update");
    assert!(api.stop().status.success());
    assert!(!world.host.path("api.sock").exists());
}

#[test]
fn what_fails_is_told_with_its_reason_and_can_be_done_again() {
    let world = World::new();
    let api = Api::start(&world.host);
    let moved = world.publisher.path("moved");
    fs::rename(world.publisher.metadata(), &moved).unwrap();
    let status = api.done("refresh-updates");
    assert_eq!(status["update_state"], "Idle");
    let last = &status["most_recent_command"];
    assert_eq!(
        (&last["cmd_type"], &last["cmd_status"]),
        (&json!("refresh"), &json!("Failed"))
    );
    assert_eq!(last["exit_status"], 1);
    let stderr = last["stderr"].as_str().unwrap();
    assert!(stderr.contains("looking for an update"), "{stderr}");
    fs::rename(&moved, world.publisher.metadata()).unwrap();

    assert_eq!(api.done("refresh-updates")["update_state"], "Available");
    let name = format!("{VARIANT}-{ARCH}-1.1.0-root.ext4.lz4");
    let image = world.publisher.target(&name);
    let good = fs::read(&image).unwrap();
    fs::write(&image, vec![0; good.len()]).unwrap();
    let status = api.done("prepare-update");
    assert_eq!(
        status["update_state"], "Available",
        "it can be prepared again"
    );
    assert_eq!(status["most_recent_command"]["cmd_status"], "Failed");
    assert_eq!(status["staging_partition"], Value::Null);
    assert_eq!(world.host.next(), "A");
    fs::write(&image, good).unwrap();
    assert_eq!(api.done("prepare-update")["update_state"], "Staged");
}

#[test]
fn an_update_that_did_not_boot_is_not_announced_after_the_fallback() {
    let mut world = World::new();
    // One boot that is lost without a sign of life may have met a power cut.
    for _ in 0..2 {
        let api = Api::start(&world.host);
        for (command, state) in [
            ("refresh-updates", "Available"),
            ("prepare-update", "Staged"),
            ("activate-update", "Ready"),
        ] {
            assert_eq!(api.done(command)["update_state"], state);
        }
        api.stop();
        assert_eq!(world.host.boot(), "B");
        assert_eq!(world.host.boot(), "A", "it was not marked successful");
    }
    let api = Api::start(&world.host);
    let status = api.status();
    assert_eq!(status["update_state"], "Idle", "{status:#}");
    assert_eq!(status["chosen_update"], Value::Null);
    assert_eq!(api.done("refresh-updates")["update_state"], "Idle");
    // An operator may ask for it all the same.
    let status = api.done("refresh-updates?version=1.1.0");
    assert_eq!(status["update_state"], "Available", "{status:#}");
    assert_eq!(api.done("prepare-update")["update_state"], "Staged");
}

#[test]
fn a_rollback_before_any_refresh_ends_in_a_status() {
    let mut world = World::new();
    world.host.updog(&["update"]).done();
    assert_eq!(world.host.boot(), "B");
    world.host.runs("1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();
    let api = Api::start(&world.host);
    api.get("/updates/status").expect(404);
    let status = api.done("rollback");
    assert_eq!(status["last_outcome"]["outcome"], "done", "{status:#}");
    assert_eq!(status["most_recent_command"], Value::Null);
    assert_eq!(status["update_state"], "Ready");
}
