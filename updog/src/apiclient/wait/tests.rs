use serde_json::{Value, json};

use super::*;

/// A status of our server, with `more` over it.
fn status(state: &str, more: &Value) -> Standing {
    let mut value = json!({
        "update_state": state,
        "available_updates": [],
        "chosen_update": null,
        "active_partition": null,
        "staging_partition": null,
        "most_recent_command": null,
    });
    for (key, part) in more.as_object().unwrap() {
        value[key] = part.clone();
    }
    Standing {
        status: serde_json::from_value(value.clone()).unwrap(),
        text: value.to_string(),
    }
}

fn look(state: &str, more: &Value) -> Look {
    Look::Status(Box::new(status(state, more)))
}

fn result(kind: &str, how: &str, second: u32, id: Option<u64>) -> Value {
    json!({
        "cmd_type": kind,
        "cmd_status": how,
        "timestamp": format!("2031-03-02T10:00:{second:02}.000000001Z"),
        "exit_status": if how == "Success" { Some(0) } else { id.map(|_| 1) },
        "stderr": if how == "Success" { "" } else { "updog: no\n" },
        "id": id,
    })
}

fn outcome(command: &str, outcome: &str, id: u64) -> Value {
    json!({
        "command": command,
        "id": id,
        "outcome": outcome,
        "at": "2031-03-02T10:00:00Z",
        "version": null,
        "error": if outcome == "done" { None } else { Some("no room") },
        "advice": if outcome == "done" { None } else { Some("make some") },
    })
}

fn running(command: &str, id: u64) -> Value {
    json!({"command": command, "id": id, "since": "2031-03-02T10:00:00Z",
        "step": null, "done": null, "total": null})
}

/// `over`, `under way` or `quiet`; what failed and was said; who overtook.
fn told(stage: Stage) -> String {
    match stage {
        Stage::UnderWay => "under way".to_owned(),
        Stage::Quiet => "quiet".to_owned(),
        Stage::Over(End {
            result,
            overtaken_by,
        }) => {
            let by = overtaken_by.map(|by| format!(" (overtaken by {by})"));
            let how = match result {
                Ok(()) => "done".to_owned(),
                Err(CommandFailure { how, said, advice }) => {
                    format!("{how} | {said} | {}", advice.unwrap_or_default())
                }
            };
            how + &by.unwrap_or_default()
        }
    }
}

/// An outcome and what stands beside it.
fn both(command: &str, how: &str, ended: &str) -> Value {
    json!({
        "last_outcome": outcome(command, ended, 7),
        "most_recent_command": result(command, how, 1, Some(7)),
    })
}

fn last(command: &str, ended: &str, id: u64) -> Value {
    json!({"last_outcome": outcome(command, ended, id)})
}

/// Asks for each command, which gets the number 7, and looks at a status.
fn assert_numbered<const N: usize>(rows: [(Command, &str, Value, &str); N]) {
    for (command, state, more, expected) in rows {
        let asked = Asked {
            command,
            id: Some(7),
            before: None,
        };
        let found = told(stage(&asked, &look(state, &more)));
        assert_eq!(found, expected, "{command}: {more}");
    }
}

#[test]
fn what_has_our_number_is_ours() {
    use Command::{Activate, Deactivate, Prepare, Refresh, Rollback};
    assert_numbered([
        // not over
        (Refresh, "Idle", json!({}), "quiet"),
        (Refresh, "Idle", last("refresh", "done", 6), "quiet"),
        (
            Refresh,
            "Idle",
            json!({"running_command": running("refresh", 7)}),
            "under way",
        ),
        (
            Refresh,
            "Idle",
            json!({"running_command": running("prepare", 6)}),
            "under way",
        ),
        // over
        (Refresh, "Idle", last("refresh", "done", 7), "done"),
        (
            Refresh,
            "Idle",
            last("refresh", "nothing_to_update", 7),
            "done",
        ),
        (
            Refresh,
            "Available",
            both("refresh", "Success", "done"),
            "done",
        ),
        (
            Prepare,
            "Staged",
            both("prepare", "Success", "done"),
            "done",
        ),
        (
            Activate,
            "Ready",
            both("activate", "Success", "done"),
            "done",
        ),
        (Deactivate, "Staged", last("deactivate", "done", 7), "done"),
        (Rollback, "Ready", last("rollback", "done", 7), "done"),
        // over, and another one runs
        (
            Refresh,
            "Idle",
            json!({"last_outcome": outcome("refresh", "done", 7), "running_command": running("prepare", 8)}),
            "done",
        ),
    ]);
}

#[test]
fn what_did_not_do_what_it_should_is_a_failure() {
    use Command::{Activate, Prepare, Rollback};
    assert_numbered([
        // failed
        (
            Prepare,
            "Available",
            both("prepare", "Failed", "failed"),
            "it failed, exit status 1 | updog: no\n | make some",
        ),
        (
            Rollback,
            "Idle",
            last("rollback", "refused", 7),
            "it was refused, exit status unknown | no room | make some",
        ),
        (
            Prepare,
            "Available",
            last("prepare", "interrupted", 7),
            "it was interrupted, exit status unknown | no room | make some",
        ),
        (
            Prepare,
            "Available",
            both("prepare", "Unknown", "unknown"),
            "how it ended is not known, exit status 1 | updog: no\n | make some",
        ),
        // a word of a later version: the one that there always was decides
        (
            Prepare,
            "Staged",
            both("prepare", "Success", "done_twice"),
            "done",
        ),
        (
            Prepare,
            "Staged",
            both("prepare", "Failed", "done_not"),
            "it failed, exit status 1 | updog: no\n | make some",
        ),
        // a success that did nothing
        (
            Prepare,
            "Idle",
            both("prepare", "Success", "nothing_to_update"),
            "it is over, but the update state is Idle |  | ",
        ),
        (
            Activate,
            "Staged",
            both("activate", "Success", "done"),
            "it is over, but the update state is Staged |  | ",
        ),
    ]);
}

#[test]
fn what_was_overtaken_is_judged_by_the_state() {
    use Command::{Activate, Prepare, Refresh, Rollback};
    assert_numbered([
        // overtaken
        (
            Prepare,
            "Ready",
            last("activate", "done", 8),
            "done (overtaken by activate)",
        ),
        (
            Prepare,
            "Available",
            last("refresh", "done", 8),
            "it is over, but the update state is Available |  |  (overtaken by refresh)",
        ),
        (
            Refresh,
            "Idle",
            last("refresh", "done", 9),
            "done (overtaken by refresh)",
        ),
        (
            Refresh,
            "Idle",
            last("refresh", "failed", 9),
            "it failed, exit status unknown | no room | make some (overtaken by refresh)",
        ),
        (
            Refresh,
            "Staged",
            last("prepare", "failed", 9),
            "done (overtaken by prepare)",
        ),
        (
            Rollback,
            "Idle",
            last("deactivate", "done", 8),
            "it is over, but the update state is Idle |  |  (overtaken by deactivate)",
        ),
        // overtaken by what does not stand where ours still does
        (
            Activate,
            "Ready",
            json!({
                "last_outcome": outcome("rollback", "refused", 8),
                "most_recent_command": result("activate", "Success", 1, Some(7)),
            }),
            "done",
        ),
    ]);
}

#[test]
fn without_numbers_a_command_is_over_when_it_has_another_time() {
    use Command::{Prepare, Refresh, Rollback};
    let recent = |kind: &str, how: &str, second| json!({"most_recent_command": result(kind, how, second, None)});
    let before = |second: u32| {
        Some(
            format!("2031-03-02T10:00:{second:02}.000000001Z")
                .parse()
                .unwrap(),
        )
    };
    for (command, before, state, more, expected) in [
        (Refresh, None, "Idle", json!({}), "quiet"),
        (
            Refresh,
            None,
            "Idle",
            recent("refresh", "Success", 1),
            "done",
        ),
        (
            Refresh,
            before(1),
            "Idle",
            recent("refresh", "Success", 1),
            "quiet",
        ),
        (
            Refresh,
            before(1),
            "Idle",
            recent("refresh", "Success", 2),
            "done",
        ),
        // a clock that went back
        (
            Refresh,
            before(2),
            "Idle",
            recent("refresh", "Success", 1),
            "done",
        ),
        (
            Refresh,
            before(1),
            "Idle",
            recent("prepare", "Success", 2),
            "quiet",
        ),
        (
            Refresh,
            before(1),
            "Idle",
            recent("refresh", "Failed", 2),
            "it failed, exit status unknown | updog: no\n | ",
        ),
        (
            Prepare,
            before(1),
            "Staged",
            recent("prepare", "Success", 2),
            "done",
        ),
        (
            Prepare,
            before(1),
            "Available",
            recent("prepare", "Success", 2),
            "it is over, but the update state is Available |  | ",
        ),
        (Rollback, None, "Ready", json!({}), "done"),
        (
            Rollback,
            None,
            "Idle",
            json!({"running_command": running("rollback", 1)}),
            "under way",
        ),
    ] {
        let asked = Asked {
            command,
            id: None,
            before,
        };
        let found = told(stage(&asked, &look(state, &more)));
        assert_eq!(found, expected, "{command}: {more}");
    }
}

#[test]
fn what_is_no_status_tells_only_whether_something_is_under_way() {
    let asked = Asked {
        command: Command::Refresh,
        id: Some(1),
        before: None,
    };
    assert_eq!(stage(&asked, &Look::Locked), Stage::UnderWay);
    assert_eq!(stage(&asked, &Look::Absent), Stage::Quiet);
    let gone = Look::Unusable("gone".to_owned());
    assert_eq!(stage(&asked, &gone), Stage::Quiet);
}

const LIMIT: Duration = Duration::from_secs(60);

fn second(second: u64) -> Duration {
    Duration::from_secs(second)
}

#[test]
fn there_is_no_limit_while_something_is_under_way() {
    let mut patience = Patience::of(LIMIT, second(0));
    for hour in 1..100 {
        let now = second(hour * 3600);
        assert!(
            patience
                .after(&Stage::UnderWay, Look::Locked, now)
                .is_some()
        );
    }
    let last = 99 * 3600;
    let quiet =
        |patience: &mut Patience, at| patience.after(&Stage::Quiet, Look::Absent, second(at));
    assert!(quiet(&mut patience, last + 59).is_some());
    assert!(quiet(&mut patience, last + 60).is_none());
}

#[test]
fn whatever_changes_is_a_sign_of_life_and_what_cannot_be_read_is_none() {
    let mut patience = Patience::of(LIMIT, second(0));
    let mut at = |look, now| patience.after(&Stage::Quiet, look, second(now)).is_some();
    let gone = || Look::Unusable("connection refused".to_owned());
    assert!(at(look("Idle", &json!({})), 50));
    assert!(at(gone(), 100));
    assert!(at(
        look("Idle", &json!({"available_updates": ["1.0.0"]})),
        109
    ));
    assert!(
        at(look("Idle", &json!({"available_updates": ["1.0.0"]})), 168),
        "nothing new"
    );
    assert!(!at(gone(), 169));
}

#[test]
fn pauses_grow_up_to_half_a_second() {
    let mut patience = Patience::of(LIMIT, second(0));
    let pauses: Vec<_> = (0..6)
        .map(|_| patience.after(&Stage::UnderWay, Look::Locked, second(0)))
        .map(|pause| pause.unwrap().as_millis())
        .collect();
    assert_eq!(pauses, [100, 150, 225, 337, 500, 500]);
}
