use super::*;
use crate::api::updates::CommandType;
use crate::session::machine::Offer;

fn at(second: u32) -> DateTime<Utc> {
    format!("2031-03-01T01:00:{second:02}.5Z").parse().unwrap()
}

fn image(version: &str) -> Image {
    Image {
        arch: "x86_64".to_owned(),
        version: version.parse().unwrap(),
        variant: "demo".to_owned(),
    }
}

/// A host that runs 1.0.0, whose other set holds 1.1.0 unless the state is `Idle`.
fn view(state: State) -> View {
    View {
        facts: Facts {
            state,
            running_boots_next: state != State::Ready,
            other_was_good: state == State::Trial,
            is_rolling_back: false,
            other_is_verified: true,
            offer: Offer::Unknown,
        },
        other_boots_next: matches!(state, State::Ready | State::Trial),
        running: Some(image("1.0.0")),
        other: (state != State::Idle).then(|| image("1.1.0")),
        held: Vec::new(),
    }
}

fn refreshed(chosen: Option<&str>) -> Ended {
    Ended::Refreshed {
        available: vec![Version::new(1, 1, 0), Version::new(1, 0, 0)],
        chosen: chosen.map(|version| Chosen {
            image: image(version),
            running: Version::new(1, 0, 0),
            overrides: Overrides::default(),
            despite_hold: false,
        }),
        reason: chosen.is_none().then(|| "nothing is newer".to_owned()),
    }
}

fn failed() -> Ended {
    Ended::NotDone {
        exit: Exit::Failed,
        version: None,
        error: "the server is gone".to_owned(),
        advice: Some("run it again".to_owned()),
    }
}

/// What is told after `command` has ended like this.
fn after(mut announced: Announced, command: Command, ended: Ended) -> Announced {
    announced.begin(command, at(1));
    announced.end(ended, at(2));
    announced
}

fn with_choice() -> Announced {
    after(
        Announced::default(),
        Command::Refresh,
        refreshed(Some("1.1.0")),
    )
}

fn state(announced: &Announced, view: &View) -> UpdateState {
    announced.status(view, None).update_state
}

#[test]
fn the_state_is_what_the_disk_says_and_then_what_was_chosen() {
    use UpdateState::{Available, Idle, Ready, Staged};
    let nothing = Announced::default();
    for (disk, without, with) in [
        (State::Idle, Idle, Available),
        (State::Trial, Idle, Available),
        (State::Staged, Staged, Staged),
        (State::Ready, Ready, Ready),
    ] {
        assert_eq!(state(&nothing, &view(disk)), without, "{disk:?}");
        assert_eq!(state(&with_choice(), &view(disk)), with, "{disk:?}");
    }
}

#[test]
fn a_set_is_staging_while_it_waits_to_be_booted() {
    for (disk, expected) in [
        (State::Idle, None),
        (State::Trial, None),
        (State::Staged, Some(false)),
        (State::Ready, Some(true)),
    ] {
        let status = with_choice().status(&view(disk), None);
        let staging = status.staging_partition;
        let next = staging.as_ref().map(|partition| partition.next_to_boot);
        assert_eq!(next, expected, "{disk:?}");
        let active = status.active_partition.unwrap();
        assert_eq!(active.image, image("1.0.0"));
        assert_eq!(active.next_to_boot, disk != State::Ready, "{disk:?}");
    }
}

#[test]
fn what_was_chosen_for_another_version_is_not_told() {
    let mut view = view(State::Idle);
    for running in ["1.1.0", "0.9.0"] {
        view.running = Some(image(running));
        let status = with_choice().status(&view, None);
        assert_eq!(status.chosen_update, None, "{running}");
        assert_eq!(status.update_state, UpdateState::Idle, "{running}");
    }
    view.running = None;
    assert_eq!(with_choice().status(&view, None).chosen_update, None);
}

#[test]
fn each_command_has_its_states_and_each_refusal_its_kind() {
    // What a command is answered with in each state, without and with a choice.
    let wrong = |command, state| Err(Refused::WrongState { command, state });
    let machine = |command, refusal| Err(Refused::Machine { command, refusal });
    for (command, disk, without, with) in [
        (Command::Refresh, State::Idle, Ok(()), Ok(())),
        (Command::Refresh, State::Trial, Ok(()), Ok(())),
        (Command::Refresh, State::Staged, Ok(()), Ok(())),
        (Command::Refresh, State::Ready, Ok(()), Ok(())),
        (
            Command::Prepare,
            State::Idle,
            wrong(Command::Prepare, UpdateState::Idle),
            Ok(()),
        ),
        (
            Command::Prepare,
            State::Trial,
            wrong(Command::Prepare, UpdateState::Idle),
            machine(Command::Prepare, Refusal::NotYetGood),
        ),
        (
            Command::Prepare,
            State::Staged,
            Err(Refused::NoUpdate),
            Ok(()),
        ),
        (
            Command::Prepare,
            State::Ready,
            wrong(Command::Prepare, UpdateState::Ready),
            wrong(Command::Prepare, UpdateState::Ready),
        ),
        (
            Command::Activate,
            State::Idle,
            wrong(Command::Activate, UpdateState::Idle),
            wrong(Command::Activate, UpdateState::Available),
        ),
        (Command::Activate, State::Staged, Ok(()), Ok(())),
        (
            Command::Activate,
            State::Ready,
            wrong(Command::Activate, UpdateState::Ready),
            wrong(Command::Activate, UpdateState::Ready),
        ),
        (
            Command::Deactivate,
            State::Staged,
            wrong(Command::Deactivate, UpdateState::Staged),
            wrong(Command::Deactivate, UpdateState::Staged),
        ),
        (Command::Deactivate, State::Ready, Ok(()), Ok(())),
        (
            Command::Rollback,
            State::Idle,
            machine(Command::Rollback, Refusal::NoPrevious),
            machine(Command::Rollback, Refusal::NoPrevious),
        ),
        (Command::Rollback, State::Trial, Ok(()), Ok(())),
    ] {
        let view = view(disk);
        let nothing = Announced::default();
        assert_eq!(nothing.check(&view, command), without, "{command} {disk:?}");
        assert_eq!(
            with_choice().check(&view, command),
            with,
            "{command} {disk:?}"
        );
    }
    let unknown = View {
        other: None,
        ..view(State::Staged)
    };
    assert_eq!(
        with_choice().check(&unknown, Command::Activate),
        Err(Refused::NoStagedImage)
    );
}

#[test]
fn the_last_command_is_told_to_strict_parsers_without_a_null() {
    let announced = with_choice();
    let told = announced.status(&view(State::Idle), None);
    let last = told.most_recent_command.unwrap();
    assert_eq!(last.cmd_status, CommandStatus::Success);
    assert_eq!(
        (last.exit_status, last.stderr.as_deref()),
        (Some(0), Some(""))
    );
    assert_eq!((last.timestamp, last.id), (at(2), Some(1)));

    let announced = after(announced, Command::Refresh, refreshed(None));
    let told = announced.status(&view(State::Idle), None);
    let last = told.most_recent_command.unwrap();
    assert_eq!(
        last.cmd_status,
        CommandStatus::Success,
        "there is no update"
    );
    assert_eq!((last.exit_status, last.id), (Some(0), Some(2)));
    let outcome = told.last_outcome.unwrap();
    assert_eq!(outcome.outcome, "nothing_to_update");
    assert_eq!(outcome.error.as_deref(), Some("nothing is newer"));

    let announced = after(announced, Command::Refresh, failed());
    let told = announced.status(&view(State::Idle), None);
    let last = told.most_recent_command.unwrap();
    assert_eq!(last.cmd_status, CommandStatus::Failed);
    assert_eq!(last.exit_status, Some(1));
    assert_eq!(
        last.stderr.as_deref(),
        Some("the server is gone; to go on: run it again")
    );
}

#[test]
fn a_refresh_that_fails_leaves_the_list_and_no_choice() {
    let announced = after(with_choice(), Command::Refresh, failed());
    let status = announced.status(&view(State::Idle), None);
    assert_eq!(status.update_state, UpdateState::Idle);
    assert_eq!(status.available_updates.len(), 2);
    let announced = after(with_choice(), Command::Prepare, failed());
    let status = announced.status(&view(State::Idle), None);
    assert_eq!(
        status.update_state,
        UpdateState::Available,
        "it can be tried again"
    );
}

#[test]
fn a_choice_that_failed_to_boot_is_no_longer_told() {
    let mut announced = with_choice();
    let mut view = view(State::Idle);
    view.held = vec![Version::new(1, 1, 0)];
    let status = announced.status(&view, None);
    assert_eq!(status.chosen_update, None);
    assert_eq!(status.update_state, UpdateState::Idle);
    // Chosen again in spite of it, as by an operator.
    if let Some(chosen) = &mut announced.chosen {
        chosen.despite_hold = true;
    }
    assert_eq!(state(&announced, &view), UpdateState::Available);
}

#[test]
fn a_rollback_before_any_refresh_has_an_end_that_can_be_read() {
    let done = Ended::Done { version: None };
    let view = view(State::Idle);
    let blank = Announced::default();
    assert!(blank.status(&view, None).is_blank());
    let announced = after(blank, Command::Rollback, done);
    assert!(!announced.status(&view, None).is_blank());
}

#[test]
fn a_rollback_is_never_the_most_recent_command() {
    let done = Ended::Done {
        version: Some(Version::new(1, 1, 0)),
    };
    let announced = after(with_choice(), Command::Rollback, done);
    let status = announced.status(&view(State::Ready), None);
    let last = status.most_recent_command.unwrap();
    assert_eq!(last.cmd_type, CommandType::Refresh);
    let outcome = status.last_outcome.unwrap();
    assert_eq!(outcome.command, Command::Rollback);
    assert_eq!((outcome.id, outcome.outcome.as_str()), (2, "done"));
}

#[test]
fn a_command_that_nobody_carries_out_any_more_has_an_unknown_end() {
    let mut announced = with_choice();
    announced.begin(Command::Prepare, at(5));
    announced.settle();
    assert_eq!(announced.begun(), None);
    let status = announced.status(&view(State::Idle), None);
    let last = status.most_recent_command.unwrap();
    assert_eq!(last.cmd_type, CommandType::Prepare);
    assert_eq!(last.cmd_status, CommandStatus::Unknown);
    assert_eq!(last.timestamp, at(5));
    assert!(last.exit_status.is_some() && last.stderr.is_some());
    assert_eq!(status.update_state, UpdateState::Available);
    let before = announced.clone();
    announced.settle();
    assert_eq!(announced, before, "nothing was under way");
}

#[test]
fn what_is_told_of_a_large_repository_is_bounded() {
    let many = Ended::Refreshed {
        available: (0..10_000).rev().map(|n| Version::new(1, n, 0)).collect(),
        chosen: None,
        reason: None,
    };
    let announced = after(Announced::default(), Command::Refresh, many);
    let status = announced.status(&view(State::Idle), None);
    assert_eq!(status.available_updates.len(), MAX_AVAILABLE);
    assert_eq!(status.available_updates[0], Version::new(1, 9_999, 0));
}
