//! Wave policies: the published ones give their published bounds, and everything wrong is refused
//! with the entry and the line.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use std::error::Error;
use update_metadata::{WavePlan, WavePlanError};

fn start() -> DateTime<Utc> {
    "2031-03-01T00:00:00Z".parse().expect("a time")
}

fn policy(entries: &[(&str, i64)]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (start_after, percentage) in entries {
        writeln!(
            text,
            "[[waves]]\nstart_after = '{start_after}'\nfleet_percentage = {percentage}\n"
        )
        .expect("a policy of this file");
    }
    text
}

/// The bounds of a schedule, each with the minutes from the start.
fn bounds(entries: &[(&str, i64)]) -> Vec<(u32, i64)> {
    let plan = WavePlan::from_toml(&policy(entries)).expect("a policy of this file");
    let schedule = plan.schedule(start()).expect("a policy of this file");
    schedule
        .iter()
        .map(|(bound, time)| (bound, (time - start()).num_minutes()))
        .collect()
}

fn refused(text: &str) -> WavePlanError {
    WavePlan::from_toml(text).expect_err("a bad policy of this file")
}

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

#[test]
fn the_default_policy_spreads_over_six_days() {
    let policy = [
        ("1 hour", 1),
        ("4 hours", 5),
        ("1 day", 15),
        ("2 days", 40),
        ("4 days", 60),
        ("5 days", 90),
        ("6 days", 100),
    ];
    let expected = [
        (0, HOUR),
        (20, 4 * HOUR),
        (102, DAY),
        (307, 2 * DAY),
        (819, 4 * DAY),
        (1228, 5 * DAY),
        (1843, 6 * DAY),
    ];
    assert_eq!(bounds(&policy), expected);
}

#[test]
fn the_accelerated_policy_spreads_over_one_day() {
    let policy = [
        ("1 hour", 3),
        ("4 hours", 12),
        ("8 hours", 40),
        ("16 hours", 80),
        ("1 day", 100),
    ];
    let expected = [
        (0, HOUR),
        (61, 4 * HOUR),
        (245, 8 * HOUR),
        (819, 16 * HOUR),
        (1638, DAY),
    ];
    assert_eq!(bounds(&policy), expected);
}

#[test]
fn the_slow_policy_spreads_over_thirteen_days() {
    let policy = [
        ("1 hour", 1),
        ("1 day", 5),
        ("3 days", 15),
        ("7 days", 40),
        ("9 days", 60),
        ("12 days", 90),
        ("13 days", 100),
    ];
    let expected = [
        (0, HOUR),
        (20, DAY),
        (102, 3 * DAY),
        (307, 7 * DAY),
        (819, 9 * DAY),
        (1228, 12 * DAY),
        (1843, 13 * DAY),
    ];
    assert_eq!(bounds(&policy), expected);
}

#[test]
fn the_emergency_policy_in_minutes_can_be_read_unlike_by_the_reference() {
    let policy = [
        ("30 minutes", 5),
        ("60 minutes", 25),
        ("120 minutes", 50),
        ("150 minutes", 90),
        ("180 minutes", 100),
    ];
    let expected = [(0, 30), (102, 60), (512, 120), (1024, 150), (1843, 180)];
    assert_eq!(bounds(&policy), expected);
}

#[test]
fn the_last_percentage_and_a_single_entry_open_to_all() {
    assert_eq!(bounds(&[("1 hour", 10)]), [(0, HOUR)]);
    assert_eq!(
        bounds(&[("1 hour", 10), ("2 hours", 11)]),
        [(0, HOUR), (204, 2 * HOUR)]
    );
}

#[test]
fn offsets_and_times_may_be_mixed() {
    let entries = [
        ("in 1 hour", 10),
        ("2031-03-02T00:00:00Z", 50),
        ("1 week", 100),
    ];
    assert_eq!(bounds(&entries), [(0, HOUR), (204, DAY), (1024, 7 * DAY)]);
}

#[test]
fn a_policy_without_waves_is_refused() {
    for text in [
        "",
        "waves = []",
        "# nothing\n",
        "[[wave]]\nstart_after = '1 day'\n",
    ] {
        assert_eq!(refused(text), WavePlanError::Empty, "{text:?}");
    }
}

#[test]
fn percentages_outside_of_1_to_100_are_refused_with_entry_and_line() {
    for percentage in [0, -1, 101, 4_294_967_297, i64::MAX] {
        let error = refused(&policy(&[("1 hour", 1), ("2 hours", percentage)]));
        assert_eq!(
            error,
            WavePlanError::Percentage {
                entry: 2,
                line: 7,
                percentage
            }
        );
        assert_eq!(
            error.to_string(),
            format!("wave 2 at line 7 has a fleet percentage of {percentage}, not from 1 to 100")
        );
    }
}

#[test]
fn two_entries_for_the_same_seed_are_refused_by_number() {
    let error = refused(&policy(&[("1 hour", 1), ("2 hours", 5), ("3 hours", 5)]));
    assert_eq!(
        error,
        WavePlanError::SameSeed {
            entry: 3,
            line: 11,
            percentage: 5,
            seed: 102
        }
    );
    assert_eq!(
        error.to_string(),
        "waves 2 and 3 (line 11) both reach 5% of the fleet, seed 102"
    );
}

#[test]
fn falling_percentages_are_refused() {
    let error = refused(&policy(&[("1 hour", 50), ("2 hours", 40)]));
    assert_eq!(
        error.to_string(),
        "wave 2 at line 7 reaches 40% of the fleet, wave 1 reached 50% already"
    );
}

#[test]
fn a_bad_start_is_refused_with_entry_and_line() {
    let error = refused(&policy(&[("1 hour", 50), ("2 months", 60)]));
    assert_eq!(
        error.to_string(),
        "wave 2 at line 6 has no valid `start_after`"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        "\"months\" is not one of minutes, hours, days and weeks"
    );
}

#[test]
fn starts_have_to_rise() {
    for second in ["1 hour", "60 minutes", "30 minutes", "2031-03-01T01:00:00Z"] {
        let plan = WavePlan::from_toml(&policy(&[("1 hour", 50), (second, 60)])).unwrap();
        let error = plan.schedule(start()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "wave 2 at line 6 does not start after the wave before it"
        );
    }
    // Whether a time of its own comes after an offset depends on the release.
    let entries = [("1 hour", 50), ("2031-03-01T02:00:00Z", 60)];
    let plan = WavePlan::from_toml(&policy(&entries)).unwrap();
    assert!(plan.schedule(start()).is_ok());
    assert!(plan.schedule(start() + TimeDelta::hours(1)).is_err());
}

#[test]
fn a_start_past_the_calendar_is_refused() {
    let plan = WavePlan::from_toml(&policy(&[("4294967295 weeks", 100)])).unwrap();
    let error = plan.schedule(start()).unwrap_err();
    assert_eq!(error, WavePlanError::StartOutOfRange { entry: 1, line: 2 });
    assert_eq!(
        error.to_string(),
        "wave 1 at line 2 starts later than any date"
    );
}

#[test]
fn what_is_no_policy_is_refused_with_the_place() {
    for (text, expected) in [
        (
            "waves = 1",
            "invalid type: integer `1`, expected a list of at most 4096 elements",
        ),
        (
            "[[waves]]\nstart_after = '1 day'",
            "missing field `fleet_percentage`",
        ),
        (
            "[[waves]]\nfleet_percentage = 1",
            "missing field `start_after`",
        ),
        (
            "[[waves]]\nstart_after = 1\nfleet_percentage = 1",
            "invalid type: integer `1`",
        ),
        (
            "[[waves]]\nstart_after = ''\nfleet_percentage = 1.5",
            "invalid type: floating",
        ),
        ("[[waves]", "TOML parse error at line 1, column 9"),
        (
            "[[waves]]\nstart_after = ''\nstart_after = ''",
            "duplicate key",
        ),
    ] {
        let error = refused(text);
        assert_eq!(error.to_string(), "the wave policy is not valid");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(expected), "{source}");
        assert!(source.contains("at line "), "{source}");
    }
}

proptest! {
    #[test]
    fn a_plan_gives_an_ordered_schedule_of_as_many_waves(
        entries in prop::collection::btree_map(1_i64..=100, 1_u32..1000, 1..20),
    ) {
        let mut hours = 0;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(percentage, gap)| {
                hours += gap;
                (format!("{hours} hours"), percentage)
            })
            .collect();
        let entries: Vec<_> =
            entries.iter().map(|(start, percentage)| (start.as_str(), *percentage)).collect();
        let plan = WavePlan::from_toml(&policy(&entries)).unwrap();
        let schedule = plan.schedule(start()).unwrap();
        prop_assert_eq!(schedule.check_order(), Ok(()));
        prop_assert_eq!(schedule.len(), entries.len());
        prop_assert_eq!(schedule.iter().next().map(|(bound, _)| bound), Some(0));
    }

    #[test]
    fn no_string_panics(text: String, start_after: String, percentage: i64) {
        let _ = WavePlan::from_toml(&text);
        let entry = format!("[[waves]]\nstart_after = {start_after:?}\nfleet_percentage = {percentage}");
        if let Ok(plan) = WavePlan::from_toml(&entry) {
            let _ = plan.schedule(DateTime::<Utc>::MAX_UTC);
        }
    }
}
