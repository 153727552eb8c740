//! `thar-be-updates`: exit codes, lock and status file as an API server that is not ours has them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Pid;
use serde_json::Value;
use system_tests::host::Host;
use system_tests::programs::{self, Ran};
use system_tests::running::{Signal, send};
use system_tests::world::TwoReleases as World;

/// The files that it shares with an API server.
struct Place<'a> {
    host: &'a Host,
}

impl Place<'_> {
    fn lock(&self) -> PathBuf {
        self.host.path("tbu.lock")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(programs::path("thar-be-updates"));
        command
            .arg("--config-path")
            .arg(self.host.path("tbu.toml"))
            .arg("--updog-config")
            .arg(self.host.path("updog.toml"))
            .arg("--status-path")
            .arg(self.host.path("cache/status.json"))
            .arg("--lock-path")
            .arg(self.lock())
            .arg(verb);
        command
    }

    fn run(&self, verb: &str) -> Ran {
        Ran::of(&mut self.command(verb))
    }

    /// As the API server reads it: under its shared lock, which waits for the command's end.
    fn status(&self) -> Value {
        let lock = File::create(self.lock()).unwrap();
        lock.lock_shared().unwrap();
        serde_json::from_slice(&fs::read(self.host.path("cache/status.json")).unwrap()).unwrap()
    }
}

#[test]
fn each_verb_is_begun_answered_at_once_and_told_in_the_status_file() {
    let world = World::new();
    let place = Place { host: &world.host };
    place.run("prepare").expect(65);
    let status = place.status();
    assert_eq!(status["update_state"], "Idle");
    assert_eq!(status["most_recent_command"], Value::Null);
    for (verb, state) in [
        ("refresh", "Available"),
        ("prepare", "Staged"),
        ("activate", "Ready"),
        ("deactivate", "Staged"),
        ("activate", "Ready"),
    ] {
        let ran = place.run(verb).done();
        assert_eq!(ran.stdout, "");
        let status = place.status();
        assert_eq!(status["update_state"], state, "{verb}: {status:#}");
        let last = &status["most_recent_command"];
        assert_eq!(last["cmd_type"], verb);
        assert_eq!(last["cmd_status"], "Success", "{last:#}");
        assert!(last["exit_status"].is_u64() && last["stderr"].is_string());
    }
    place.run("prepare").expect(65);
    place.run("activate").expect(65);
    assert_eq!(world.host.next(), "B");
    place.run("reboot").expect(2);
}

#[test]
fn what_is_staged_without_a_choice_has_its_own_exit_code() {
    let world = World::new();
    let place = Place { host: &world.host };
    world.host.updog(&["prepare"]).done();
    place.run("prepare").expect(66);
    assert_eq!(place.status()["update_state"], "Staged");
    place.run("activate").done();
    assert_eq!(place.status()["update_state"], "Ready");
}

#[test]
fn while_a_command_runs_there_is_no_second_one_and_its_caller_does_not_wait() {
    let world = World::new();
    let place = Place { host: &world.host };
    place.run("refresh").done();
    assert_eq!(place.status()["update_state"], "Available");
    let (is_asked, go_on) = world.hold_back_root_image();
    place.run("prepare").done();
    is_asked.recv().unwrap();
    for verb in ["refresh", "prepare", "activate", "deactivate"] {
        place.run(verb).expect(64);
    }
    go_on.send(()).unwrap();
    assert_eq!(place.status()["update_state"], "Staged");
    // A session of the command line is one, too.
    let held = File::create(world.host.path("run/lock")).unwrap();
    held.lock().unwrap();
    place.run("activate").expect(64);
    drop(held);
    place.run("activate").done();
    assert_eq!(place.status()["update_state"], "Ready");
}

#[test]
fn a_command_that_is_told_to_stop_says_so_in_the_status_file() {
    let world = World::new();
    let place = Place { host: &world.host };
    place.run("refresh").done();
    assert_eq!(place.status()["update_state"], "Available");
    let (is_asked, go_on) = world.hold_back_root_image();
    place.run("prepare").done();
    is_asked.recv().unwrap();
    let holder = fs::read_to_string(world.host.path("run/lock.commands")).unwrap();
    let pid = holder.split("process ").nth(1).unwrap();
    let pid = pid.split(',').next().unwrap().parse().unwrap();
    send(Pid::from_raw(pid).unwrap(), Signal::TERM);
    let status = place.status();
    go_on.send(()).unwrap();
    let last = &status["most_recent_command"];
    assert_eq!(
        (&last["cmd_type"], &last["cmd_status"]),
        (&"prepare".into(), &"Failed".into())
    );
    assert_eq!(last["exit_status"], 143);
    assert_eq!(status["update_state"], "Available");
}

#[test]
fn an_api_server_that_reads_the_status_holds_nobody_up_for_long() {
    let world = World::new();
    let place = Place { host: &world.host };
    let lock = File::create(place.lock()).unwrap();
    lock.lock_shared().unwrap();
    place.run("refresh").expect(64);
    drop(lock);
    place.run("refresh").done();
    assert_eq!(place.status()["update_state"], "Available");
}

#[test]
fn its_own_version_lock_is_the_one_that_counts() {
    let world = World::new();
    world.publisher.release("1.2.0");
    let place = Place { host: &world.host };
    fs::write(world.host.path("tbu.toml"), "version-lock = \"1.1.0\"\n").unwrap();
    place.run("refresh").done();
    assert_eq!(place.status()["chosen_update"]["version"], "1.1.0");
    fs::write(world.host.path("tbu.toml"), "version-lock = \"latest\"\n").unwrap();
    place.run("refresh").done();
    assert_eq!(place.status()["chosen_update"]["version"], "1.2.0");
    fs::write(world.host.path("tbu.toml"), "version-lock = 7\n").unwrap();
    place.run("refresh").expect(1).says("tbu.toml");
}

#[test]
fn the_api_of_updog_and_this_program_know_of_each_other() {
    let world = World::new();
    let place = Place { host: &world.host };
    let api = system_tests::api::Api::start(&world.host);
    api.done("refresh-updates");
    place.run("prepare").done();
    assert_eq!(place.status()["update_state"], "Staged");
    let status = api.status();
    assert_eq!(status["update_state"], "Staged");
    assert_eq!(status["most_recent_command"]["cmd_type"], "prepare");
    assert_eq!(api.done("activate-update")["update_state"], "Ready");
    place.run("deactivate").done();
    assert_eq!(place.status()["update_state"], "Staged");
}
