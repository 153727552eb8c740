//! Those who call the API on fleets, as they do it: the ECS updater and the Kubernetes update operator,
//! with parsers as strict as theirs, through `apiclient`, with boots that are played.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::Command;

use serde::Deserialize;
use system_tests::api::Api;
use system_tests::programs::{self, Ran};
use system_tests::world::TwoReleases as World;

/// What the ECS updater reads of the check's output; whatever else there is, nothing but JSON may be
/// there.
#[derive(Debug, Deserialize)]
struct EcsStatus {
    update_state: String,
    active_partition: EcsPartition,
}

#[derive(Debug, Deserialize)]
struct EcsPartition {
    image: EcsImage,
}

#[derive(Debug, Deserialize)]
struct EcsImage {
    version: String,
}

/// What the operator's agent reads of the status. It fails over a `null`, and over a name that it does
/// not know.
#[derive(Debug, Deserialize)]
#[allow(dead_code)] // what is not used has to be there all the same
struct AgentStatus {
    update_state: AgentState,
    available_updates: Vec<String>,
    chosen_update: Option<AgentImage>,
    active_partition: Option<AgentPartition>,
    staging_partition: Option<AgentPartition>,
    most_recent_command: AgentCommand,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
enum AgentState {
    Idle,
    Available,
    Staged,
    Ready,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct AgentImage {
    arch: String,
    version: String,
    variant: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct AgentPartition {
    image: AgentImage,
    next_to_boot: bool,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct AgentCommand {
    cmd_type: AgentCommandType,
    cmd_status: AgentCommandStatus,
    timestamp: String,
    exit_status: u32,
    stderr: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum AgentCommandType {
    Refresh,
    Prepare,
    Activate,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
enum AgentCommandStatus {
    Success,
    Failed,
    Unknown,
}

#[derive(Debug, Deserialize)]
struct AgentOs {
    version_id: String,
}

/// `apiclient` against `api`.
fn apiclient(api: &Api, arguments: &[&str]) -> Ran {
    let mut command = Command::new(programs::path("apiclient"));
    command
        .arg("--socket-path")
        .arg(api.socket())
        .args(arguments);
    Ran::of(&mut command)
}

/// As the agent calls it: what is on stdout, or the code after the word `Status` on stderr.
fn agent(api: &Api, uri: &str, method: &str) -> Result<String, String> {
    let ran = apiclient(api, &["raw", "-u", uri, "-m", method]);
    if ran.code == Some(0) {
        return Ok(ran.stdout);
    }
    let words: Vec<&str> = ran.stderr.split_whitespace().collect();
    let status = words.iter().position(|word| *word == "Status");
    let code = status.unwrap_or_else(|| panic!("the agent would panic: {}", ran.stderr));
    Err(words[code + 1].to_owned())
}

fn agent_status(api: &Api) -> AgentStatus {
    let body = agent(api, "/updates/status", "GET").unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn host(world: &World) -> Api {
    let mark = world.host.path("rebooted");
    world.host.configure(&format!(
        "reboot_command = [\"touch\", \"{}\"]\n",
        mark.display()
    ));
    Api::start(&world.host)
}

/// The host reboots, as it was asked to, and comes up in `set` with `version`.
fn reboots(world: &mut World, api: Api, set: &str, version: &str) -> Api {
    assert!(
        world.host.path("rebooted").exists(),
        "nobody asked for a reboot"
    );
    std::fs::remove_file(world.host.path("rebooted")).unwrap();
    assert!(api.stop().status.success());
    assert_eq!(world.host.boot(), set);
    world.host.runs(version);
    world.host.signpost(&["mark-successful-boot"]).done();
    host(world)
}

#[test]
fn the_ecs_updater_checks_applies_reboots_and_checks() {
    let mut world = World::new();
    let api = host(&world);
    let check = |api: &Api| -> EcsStatus {
        let ran = apiclient(api, &["update", "check"]).done();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    };
    let before = check(&api);
    assert_eq!(before.update_state, "Available");
    // Checked again once the host is drained.
    assert_eq!(check(&api).update_state, "Available");
    apiclient(&api, &["update", "apply"]).done();
    assert_eq!(check(&api).update_state, "Ready");
    apiclient(&api, &["reboot"]).done();
    let api = reboots(&mut world, api, "B", "1.1.0");
    let after = check(&api);
    assert_eq!(after.update_state, "Idle");
    assert_eq!(after.active_partition.image.version, "1.1.0");
    assert_ne!(
        before.active_partition.image.version,
        after.active_partition.image.version
    );
}

#[test]
fn the_operators_agent_goes_from_state_to_state() {
    let mut world = World::new();
    let api = host(&world);
    let os = |api: &Api| -> AgentOs {
        serde_json::from_str(&agent(api, "/os", "GET").unwrap()).unwrap()
    };
    assert_eq!(os(&api).version_id, "1.0.0");
    agent(&api, "/actions/refresh-updates", "POST").unwrap();
    let status = agent_status(&api);
    assert_eq!(status.update_state, AgentState::Available);
    assert_eq!(status.chosen_update.unwrap().version, "1.1.0");

    agent(&api, "/actions/prepare-update", "POST").unwrap();
    // It looks once, right away.
    let status = agent_status(&api);
    assert_eq!(
        status.most_recent_command.cmd_type,
        AgentCommandType::Prepare
    );
    assert_eq!(
        status.most_recent_command.cmd_status,
        AgentCommandStatus::Success
    );
    assert_eq!(status.update_state, AgentState::Staged);
    agent(&api, "/actions/activate-update", "POST").unwrap();
    let status = agent_status(&api);
    assert_eq!(
        status.most_recent_command.cmd_type,
        AgentCommandType::Activate
    );
    assert_eq!(status.update_state, AgentState::Ready);
    assert!(status.staging_partition.unwrap().next_to_boot);

    agent(&api, "/actions/reboot", "POST").unwrap();
    let api = reboots(&mut world, api, "B", "1.1.0");
    assert_eq!(os(&api).version_id, "1.1.0");
    agent(&api, "/actions/refresh-updates", "POST").unwrap();
    let status = agent_status(&api);
    assert_eq!(status.update_state, AgentState::Idle);
    assert!(status.chosen_update.is_none());
}

#[test]
fn the_agent_learns_the_code_of_every_refusal() {
    let world = World::new();
    let api = host(&world);
    assert_eq!(agent(&api, "/updates/status", "GET").unwrap_err(), "404");
    assert_eq!(
        agent(&api, "/actions/prepare-update", "POST").unwrap_err(),
        "409"
    );
    assert_eq!(agent(&api, "/no/such/path", "GET").unwrap_err(), "404");
    agent(&api, "/actions/refresh-updates", "POST").unwrap();
    let (is_asked, go_on) = world.hold_back_root_image();
    api.post("/actions/prepare-update").expect(204);
    is_asked.recv().unwrap();
    assert_eq!(
        agent(&api, "/actions/prepare-update", "POST").unwrap_err(),
        "423"
    );
    // Its parser takes the status of a host at work.
    assert_eq!(agent_status(&api).update_state, AgentState::Available);
    go_on.send(()).unwrap();
    apiclient(&api, &["update", "apply"]).done();
    assert_eq!(agent_status(&api).update_state, AgentState::Ready);
}

#[test]
fn a_rollback_by_hand_is_in_no_parsers_way() {
    let mut world = World::new();
    let api = host(&world);
    apiclient(&api, &["update", "check"]).done();
    apiclient(&api, &["update", "apply", "--reboot"]).done();
    let api = reboots(&mut world, api, "B", "1.1.0");
    apiclient(&api, &["update", "rollback", "--reboot"]).done();
    assert_eq!(agent_status(&api).update_state, AgentState::Ready);
    let api = reboots(&mut world, api, "A", "1.0.0");
    let ran = apiclient(&api, &["update", "check"]).done();
    assert_eq!(ran.json()["update_state"], "Idle", "1.1.0 is held");
    assert_eq!(agent_status(&api).update_state, AgentState::Idle);
}
