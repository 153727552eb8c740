//! What is promised of any text that should be a wave policy.
//!
//! * Nothing panics, and every refusal says something.
//! * A schedule has a bound for each wave, survives JSON, and reads the same by a simpler
//!   calculation: no host before the first wave or after the last, none before one with a lower
//!   seed, each at its place in its wave.
//!
//! Bytes that start as text are a policy as written. Others stand for one: two bytes a wave, so that
//! the fuzzer need not find out what a date looks like.

use std::error::Error;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use update_metadata::{MAX_SEED, Seed, WavePlan, WaveSchedule};

/// From this first byte on an input is no text.
pub const RECIPE: u8 = 0x80;

/// Checks every promise.
pub fn run(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let plan = match WavePlan::from_toml(&text) {
        Ok(plan) => plan,
        Err(error) => return check_error(&error),
    };
    for start in starts() {
        match plan.schedule(start) {
            Ok(schedule) => check(&schedule),
            Err(error) => check_error(&error),
        }
    }
}

/// The policy that an input stands for.
pub fn text(data: &[u8]) -> Option<String> {
    if data.first().is_none_or(|first| *first < RECIPE) {
        return String::from_utf8(data.to_vec()).ok();
    }
    let (mut text, mut percentage) = (String::new(), 0);
    for wave in data[1..].chunks_exact(2) {
        let units = ["minutes", "hours", "days", "weeks"];
        let unit = units[usize::from(wave[0] % 4)];
        let number = u64::from(wave[0] / 4) * u64::from(wave[0] / 4);
        percentage += u32::from(wave[1] % 32);
        let start = match wave[1] / 32 {
            0 => format!("20{:02}-03-01T01:02:03.{number}Z", wave[0] % 100),
            1 => format!("in {number} {unit}"),
            2 => format!("{} {unit}", (number << 23).min(u64::from(u32::MAX))),
            _ => format!("{number} {unit}"),
        };
        let _ = writeln!(
            text,
            "[[waves]]\nstart_after = '{start}'\nfleet_percentage = {percentage}"
        );
    }
    Some(text)
}

/// When the release starts: a usual time, and the ends of the calendar.
fn starts() -> [DateTime<Utc>; 4] {
    let usual = DateTime::from_timestamp(1_930_000_000, 123_456_789).expect("a time");
    let late = DateTime::<Utc>::MAX_UTC - TimeDelta::days(2);
    [
        usual,
        DateTime::<Utc>::MIN_UTC,
        late,
        DateTime::<Utc>::MAX_UTC,
    ]
}

/// Every error in the chain has words.
pub fn check_error(error: &dyn Error) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        assert!(!error.to_string().is_empty());
        cause = error.source();
    }
}

fn check(schedule: &WaveSchedule) {
    assert!((1..=100).contains(&schedule.len()));
    assert_eq!(schedule.check_order(), Ok(()));
    check_schedule(schedule);
    let bounds: Vec<_> = schedule.iter().collect();
    let mut before = bounds[0].1;
    assert_eq!(bounds[0].0, 0);
    for seed in 0..MAX_SEED {
        let at = schedule
            .ready_at(Seed::new(seed).expect("in range"))
            .expect("a policy has a time for each seed");
        assert!(before <= at, "seed {seed} is ready before the one below it");
        before = at;
    }
    assert!(before <= bounds.last().expect("not empty").1);
}

/// What holds for every schedule, in order or not.
pub fn check_schedule(schedule: &WaveSchedule) {
    let json = serde_json::to_string(schedule).expect("no field fails");
    let again: WaveSchedule = serde_json::from_str(&json).expect("our own JSON");
    assert_eq!(again, *schedule, "{json}");
    let bounds: Vec<_> = schedule.iter().collect();
    let near = bounds
        .iter()
        .flat_map(|(bound, _)| [bound.saturating_sub(1), *bound, bound.saturating_add(1)]);
    for seed in near
        .chain([0, 1, 1000, MAX_SEED - 1])
        .filter(|seed| *seed < MAX_SEED)
    {
        let at = schedule.ready_at(Seed::new(seed).expect("in range"));
        assert_eq!(at, simply(&bounds, seed), "seed {seed} of {json}");
        if let Some(at) = at {
            let seed = Seed::new(seed).expect("in range");
            assert!(schedule.is_ready(seed, at));
            let just_before = at.checked_sub_signed(TimeDelta::nanoseconds(1));
            assert!(!just_before.is_some_and(|before| schedule.is_ready(seed, before)));
        }
    }
}

/// When a seed is ready, looked up bound by bound and reckoned in nanoseconds.
fn simply(bounds: &[(u32, DateTime<Utc>)], seed: u32) -> Option<DateTime<Utc>> {
    let nanos = |time: DateTime<Utc>| {
        i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos())
    };
    let mut below: Option<(u32, DateTime<Utc>)> = None;
    for &(bound, time) in bounds.iter().filter(|(bound, _)| *bound <= MAX_SEED) {
        if bound < seed {
            below = Some((bound, time));
            continue;
        }
        let Some((start_seed, start)) = below else {
            return (bound == seed).then_some(time);
        };
        if time <= start {
            return Some(time);
        }
        let part = (nanos(time) - nanos(start)) * i128::from(seed - start_seed);
        let at = nanos(start) + part / i128::from(bound - start_seed);
        let seconds = i64::try_from(at.div_euclid(1_000_000_000)).expect("between two times");
        let fraction = u32::try_from(at.rem_euclid(1_000_000_000)).expect("below a second");
        return DateTime::from_timestamp(seconds, fraction);
    }
    below.map(|(_, time)| time)
}
