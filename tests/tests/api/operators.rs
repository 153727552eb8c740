//! What is for root only, who else may connect, and what only root can ask for.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::{fs, path::Path};

use serde_json::{Value, json};
use system_tests::api::Api;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::world::TwoReleases as World;

/// A user and a group that own nothing here.
const SOMEBODY: u32 = 64_999;
const GROUP: u32 = 64_998;

/// `curl` as a user of the group, and what it got: the code, or none where it could not connect.
fn as_member(socket: &Path, group: u32, method: &str, uri: &str) -> Option<u16> {
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--request", method, "--unix-socket"])
        .arg(socket)
        .arg(format!("http://localhost{uri}"))
        .uid(SOMEBODY)
        .gid(group);
    let ran = Ran::of(&mut command);
    ran.stdout.trim().parse().ok().filter(|code| *code != 0)
}

#[test]
fn a_member_of_the_group_updates_and_is_refused_what_is_for_root() {
    let test = "a_member_of_the_group_updates_and_is_refused_what_is_for_root";
    if oracle::find(test, "curl").is_none() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        oracle::skip(test, "root, to be somebody else");
        return;
    }
    let world = World::new();
    let host = &world.host;
    host.configure(&format!(
        "socket_group = {GROUP}\nreboot_command = [\"true\"]\n"
    ));
    // Others than root have to come this far.
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let api = Api::start(host);
    let found = fs::metadata(api.socket()).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, GROUP));
    let member = |method, uri| as_member(api.socket(), GROUP, method, uri);

    assert_eq!(
        as_member(api.socket(), SOMEBODY, "GET", "/os"),
        None,
        "nobody else connects"
    );
    api.done("refresh-updates");
    for (method, uri, code) in [
        ("GET", "/updates/status", 200),
        ("GET", "/updates/history", 200),
        ("POST", "/actions/rollback", 403),
        ("POST", "/actions/release-hold?version=1.1.0", 403),
        ("POST", "/actions/refresh-updates?ignore_waves=true", 403),
        ("POST", "/actions/refresh-updates?version=1.0.0", 403),
        ("POST", "/actions/reboot", 204),
        ("POST", "/actions/prepare-update", 204),
    ] {
        assert_eq!(member(method, uri), Some(code), "{method} {uri}");
    }
    while api.status()["running_command"] != Value::Null {
        std::thread::yield_now();
    }
    assert_eq!(api.status()["update_state"], "Staged");
}

#[test]
fn root_takes_a_version_that_nobody_announced_and_goes_back() {
    let mut world = World::new();
    world.publisher.release("1.2.0");
    let api = Api::start(&world.host);
    let status = api.done("refresh-updates?version=1.1.0");
    assert_eq!(status["chosen_update"]["version"], "1.1.0");
    // What was announced is written, although there is a newer one.
    let status = api.done("prepare-update");
    assert_eq!(status["staging_partition"]["image"]["version"], "1.1.0");
    api.done("activate-update");
    api.stop();
    assert_eq!(world.host.boot(), "B");
    world.host.runs("1.1.0");
    world.host.signpost(&["mark-successful-boot"]).done();

    let api = Api::start(&world.host);
    let before = api.status()["most_recent_command"].clone();
    let status = api.done("rollback");
    assert_eq!(status["update_state"], "Ready");
    assert_eq!(status["staging_partition"]["image"]["version"], "1.0.0");
    assert_eq!(
        status["most_recent_command"], before,
        "there are parsers that fail over others"
    );
    assert_eq!(status["last_outcome"]["command"], "rollback");
    assert_eq!(status["last_outcome"]["outcome"], "done");
    api.stop();
    assert_eq!(world.host.boot(), "A");
    world.host.runs("1.0.0");
    world.host.signpost(&["mark-successful-boot"]).done();

    let api = Api::start(&world.host);
    let held = api.get("/updates/history").expect(200).json();
    assert_eq!(held["holds"][0]["release"]["version"], "1.1.0");
    api.post("/actions/release-hold?version=1.1.0").expect(204);
    let gone = api.post("/actions/release-hold?version=1.1.0").expect(404);
    assert_eq!(gone.headers["updog-error"], "no_such_hold");
    let held = api.get("/updates/history").expect(200).json();
    assert_eq!(held["holds"], json!([]));
}

#[test]
fn what_was_announced_is_written_or_nothing_is() {
    let world = World::new();
    let api = Api::start(&world.host);
    assert_eq!(
        api.done("refresh-updates")["chosen_update"]["version"],
        "1.1.0"
    );
    // A newer one that nobody was told of.
    world.publisher.release("1.2.0");
    let status = api.done("prepare-update");
    assert_eq!(status["staging_partition"]["image"]["version"], "1.1.0");
    // The next refresh tells of it, and then it is written over the other one.
    assert_eq!(
        api.done("refresh-updates")["chosen_update"]["version"],
        "1.2.0"
    );
    let status = api.done("prepare-update");
    assert_eq!(status["staging_partition"]["image"]["version"], "1.2.0");
}

#[test]
fn the_configuration_is_read_for_each_command() {
    let world = World::new();
    let api = Api::start(&world.host);
    assert_eq!(api.done("refresh-updates")["update_state"], "Available");
    world.host.configure("version_lock = \"1.0.0\"\n");
    assert_eq!(api.done("refresh-updates")["update_state"], "Idle");
    world.host.configure("version_lock = \"nonsense\"\n");
    let failed = api.post("/actions/refresh-updates").expect(500);
    assert!(failed.body.contains("version_lock"), "{failed:?}");
    world.host.configure("");
    assert_eq!(api.done("refresh-updates")["update_state"], "Available");
}

#[test]
fn a_reboot_is_the_configured_command_and_its_failure_is_told() {
    let world = World::new();
    let mark = world.host.path("rebooted");
    world.host.configure(&format!(
        "reboot_command = [\"touch\", \"{}\"]\n",
        mark.display()
    ));
    let api = Api::start(&world.host);
    api.post("/actions/reboot").expect(204);
    assert!(mark.exists());
    world.host.configure("reboot_command = [\"false\"]\n");
    let failed = api.post("/actions/reboot").expect(500);
    assert!(failed.body.contains("'false'"), "{failed:?}");
}

#[test]
fn on_trial_nothing_is_prepared_and_the_way_back_is_open() {
    let mut world = World::new();
    world.publisher.release("1.2.0");
    world.host.updog(&["update", "--image", "1.1.0"]).done();
    assert_eq!(world.host.boot(), "B");
    world.host.runs("1.1.0");
    let api = Api::start(&world.host);
    let status = api.done("refresh-updates");
    assert_eq!(status["update_state"], "Available");
    let refused = api.post("/actions/prepare-update").expect(409);
    assert!(
        refused.body.contains("not been marked successful"),
        "{refused:?}"
    );
    api.post("/actions/activate-update").expect(409);
    api.post("/actions/deactivate-update").expect(409);
    world.host.signpost(&["mark-successful-boot"]).done();
    assert_eq!(api.done("prepare-update")["update_state"], "Staged");
}
