use update_metadata::ImageKind;

use super::*;
use crate::event::End;
use crate::exit::Exit;

const MIB: u64 = 1 << 20;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn write(bytes: u64) -> Event {
    let image = ImageKind::Root;
    Event::Step(Step::Write { image, bytes })
}

fn progress(done: u64) -> Event {
    Event::Progress { done, total: 0 }
}

fn texts(lines: impl IntoIterator<Item = Line>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

/// Plays events and the passing of time, and collects what is said.
fn play(until: u64, events: &[(u64, Event)]) -> Vec<String> {
    let mut phase = Phase::default();
    let mut said = Vec::new();
    for second in 0..=until {
        for (_, event) in events.iter().filter(|(at, _)| *at == second) {
            said.extend(texts(phase.see(event, seconds(second))));
        }
        said.extend(texts(phase.tick(seconds(second))));
    }
    said
}

#[test]
fn a_step_is_told_when_it_begins_and_when_it_is_done() {
    let events = [
        (0, Event::Step(Step::Refresh)),
        (1, Event::StepEnd),
        (1, write(4 * MIB)),
        (2, progress(4 * MIB)),
        (3, Event::StepEnd),
    ];
    assert_eq!(
        play(3, &events),
        [
            "refreshing the repository",
            "refreshing the repository: done in 1 s",
            "writing the root image, 4.00 MiB",
            "writing the root image: 100 % of 4.00 MiB, 4.00 MiB/s",
            "writing the root image: done, 4.00 MiB in 2 s",
        ]
    );
}

#[test]
fn a_step_that_fails_is_not_said_to_be_done() {
    let end = Event::End(End {
        exit: Exit::Failed,
        error: None,
        advice: None,
    });
    let events = [(0, write(MIB)), (1, end)];
    assert_eq!(play(30, &events), ["writing the root image, 1.00 MiB"]);
}

#[test]
fn a_fast_step_is_told_at_every_tenth_and_a_slow_one_every_ten_seconds() {
    let fast: Vec<_> = std::iter::once((0, write(100 * MIB)))
        .chain((1..=20).map(|at| (at, progress(at * 5 * MIB))))
        .collect();
    let said = play(20, &fast);
    assert_eq!(said.len(), 11, "{said:#?}");
    assert_eq!(
        said[5],
        "writing the root image: 50 % of 100.00 MiB, 5.00 MiB/s, 10 s left"
    );
    let slow: Vec<_> = std::iter::once((0, write(1000 * MIB)))
        .chain((1..=60).map(|at| (at, progress(at * MIB))))
        .collect();
    let said = play(60, &slow);
    assert_eq!(said.len(), 7, "{said:#?}");
    assert_eq!(
        said[6],
        "writing the root image: 6 % of 1000.00 MiB, 1.00 MiB/s, 15 min 40 s left"
    );
}

#[test]
fn many_events_at_once_are_one_line() {
    let mut events = vec![(0, write(100 * MIB))];
    events.extend((1..=100).map(|done| (0, progress(done * MIB))));
    assert_eq!(play(0, &events).len(), 1);
}

#[test]
fn what_is_waited_for_is_said_with_the_time_it_takes() {
    for (wait, expected) in [
        (Wait::Server, "waiting for the server, 12 s"),
        (Wait::Data, "stalled for 12 s"),
        (Wait::Pause { milliseconds: 1 }, "trying again soon, 12 s"),
        (Wait::Sync, "syncing to the disk, 12 s"),
    ] {
        let mut phase = Phase::default();
        phase.see(&write(4 * MIB), seconds(0));
        phase.see(&progress(MIB), seconds(1));
        phase.see(&Event::Waiting(wait), seconds(2));
        assert_eq!(phase.view(seconds(14)).unwrap().how, expected);
        assert_eq!(
            texts(phase.tick(seconds(14))),
            [format!(
                "writing the root image: 25 % of 4.00 MiB, {expected}"
            )]
        );
        // What came before that does not end it; the word that it is over does.
        let how = |phase: &Phase| phase.view(seconds(16)).unwrap().how;
        phase.see(&progress(2 * MIB), seconds(15));
        assert!(!how(&phase).contains("/s"), "{}", how(&phase));
        phase.see(&Event::Resumed, seconds(15));
        assert!(how(&phase).contains("/s"), "{}", how(&phase));
    }
    let refresh = [
        (0, Event::Step(Step::Refresh)),
        (1, Event::Waiting(Wait::Server)),
    ];
    assert_eq!(
        play(20, &refresh)[1..],
        [
            "refreshing the repository: waiting for the server, 9 s",
            "refreshing the repository: waiting for the server, 19 s",
        ]
    );
}

#[test]
fn a_step_of_unknown_length_shows_life() {
    assert_eq!(
        play(10, &[(0, Event::Step(Step::CacheMigrations))])[1..],
        ["caching migrations: still at it after 10 s"]
    );
}

#[test]
fn a_rate_falls_when_nothing_comes_and_is_never_a_division_by_zero() {
    let mut phase = Phase::default();
    phase.see(&write(100 * MIB), seconds(0));
    phase.see(&progress(10 * MIB), seconds(0));
    assert_eq!(phase.view(seconds(0)).unwrap().how, "");
    phase.see(&progress(20 * MIB), seconds(1));
    let how = |phase: &Phase, at| phase.view(seconds(at)).unwrap().how;
    assert_eq!(how(&phase, 1), "20.00 MiB/s, 4 s left");
    assert_eq!(how(&phase, 20), "1.00 MiB/s, 1 min 20 s left");
    phase.see(&write(0), seconds(21));
    assert_eq!(phase.view(seconds(22)).unwrap().how, "0 B/s");
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let mut phase = Phase::default();
    phase.see(&write(10_000 * MIB), seconds(0));
    // A burst, then a steady trickle.
    phase.see(&progress(1000 * MIB), seconds(1));
    for second in 2..60 {
        phase.see(&progress(1000 * MIB + second * MIB), seconds(second));
    }
    let how = phase.view(seconds(59)).unwrap().how;
    assert!(how.starts_with("1.00 MiB/s"), "{how}");
}

#[test]
fn times_are_told_in_two_units() {
    for (of, expected) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3660, "1 h 1 min"),
        (360_000, "100 h 0 min"),
    ] {
        assert_eq!(time(seconds(of)), expected);
    }
}
