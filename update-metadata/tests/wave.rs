//! When an update becomes ready: the table of cases, and the laws that hold for every schedule.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use update_metadata::{MAX_WAVES, Seed, Wave, WaveError, WaveSchedule};

fn start() -> DateTime<Utc> {
    time("2031-03-01T00:00:00Z")
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time of this file")
}

fn millis(count: i64) -> DateTime<Utc> {
    start() + TimeDelta::milliseconds(count)
}

fn hours(count: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(count)
}

fn seed(seed: u32) -> Seed {
    Seed::new(seed).expect("a seed of this file")
}

fn schedule(waves: &[(u32, DateTime<Utc>)]) -> WaveSchedule {
    let mut schedule = WaveSchedule::new();
    for (bound, time) in waves {
        schedule
            .insert(*bound, *time)
            .expect("a bound of this file");
    }
    schedule
}

const NANOSECOND: TimeDelta = TimeDelta::nanoseconds(1);

#[test]
fn one_wave_over_the_fleet_reaches_a_seed_each_slot() {
    let waves = schedule(&[(0, start()), (2048, millis(2048))]);
    assert!(waves.is_ready(seed(100), millis(100)));
    assert!(!waves.is_ready(seed(100), millis(99)));
    assert!(!waves.is_ready(seed(100), millis(100) - NANOSECOND));
    for number in 0..2048 {
        assert_eq!(waves.ready_at(seed(number)), Some(millis(number.into())));
    }
}

#[test]
fn the_last_wave_opens_at_once_from_its_start() {
    let waves = schedule(&[(0, start()), (256, hours(1)), (512, hours(2))]);
    assert!(waves.is_ready(seed(1024), hours(2)));
    assert!(!waves.is_ready(seed(1024), hours(2) - NANOSECOND));
    for number in [513, 1024, 2047] {
        assert_eq!(waves.ready_at(seed(number)), Some(hours(2)));
    }
}

#[test]
fn waves_ramp_inside_their_own_window_unlike_the_reference() {
    let waves = schedule(&[(0, start()), (1024, hours(10)), (2048, hours(20))]);
    // In the middle of the upper wave. Multiplying by the absolute seed, this one would wait until
    // the whole wave's end.
    assert_eq!(waves.ready_at(seed(1536)), Some(hours(15)));
    assert_eq!(
        waves.ready_at(seed(1024 + 512 + 256)),
        Some(hours(15) + TimeDelta::minutes(150))
    );
    // The first wave starts from seed 0, where both rules agree.
    assert_eq!(waves.ready_at(seed(512)), Some(hours(5)));
}

#[test]
fn seed_0_waits_for_the_first_start_unlike_the_reference() {
    let waves = schedule(&[(0, start()), (1024, hours(10))]);
    assert_eq!(waves.ready_at(seed(0)), Some(start()));
    assert!(!waves.is_ready(seed(0), start() - NANOSECOND));
    assert!(waves.is_ready(seed(0), start()));
}

#[test]
fn seeds_below_the_first_bound_are_in_no_wave_and_never_wait() {
    let waves = schedule(&[(20, hours(1)), (40, hours(2))]);
    assert_eq!(waves.ready_at(seed(0)), None);
    assert_eq!(waves.ready_at(seed(19)), None);
    assert!(waves.is_ready(seed(19), DateTime::<Utc>::MIN_UTC));
    // From the first bound on nobody is ready before the first start.
    assert_eq!(waves.ready_at(seed(20)), Some(hours(1)));
    assert_eq!(
        waves.ready_at(seed(21)),
        Some(hours(1) + TimeDelta::minutes(3))
    );
    assert_eq!(waves.ready_at(seed(40)), Some(hours(2)));
    assert_eq!(waves.ready_at(seed(41)), Some(hours(2)));
}

#[test]
fn without_waves_every_seed_is_ready_at_any_time() {
    let waves = WaveSchedule::new();
    assert!(waves.is_empty());
    assert_eq!(waves.wave(seed(7)), None);
    assert_eq!(waves.ready_at(seed(7)), None);
    assert!(waves.is_ready(seed(7), DateTime::<Utc>::MIN_UTC));
}

#[test]
fn a_seed_on_a_bound_belongs_to_the_wave_below_it() {
    let waves = schedule(&[(20, hours(1)), (40, hours(2)), (60, hours(3))]);
    let initial = Wave::Initial {
        end_seed: 20,
        end: hours(1),
    };
    let general = |start_seed, start, end_seed, end| Wave::General {
        start_seed,
        start: hours(start),
        end_seed,
        end: hours(end),
    };
    let last = Wave::Last {
        start_seed: 60,
        start: hours(3),
    };
    for (number, wave) in [
        (0, initial),
        (20, initial),
        (21, general(20, 1, 40, 2)),
        (40, general(20, 1, 40, 2)),
        (41, general(40, 2, 60, 3)),
        (60, general(40, 2, 60, 3)),
        (61, last),
        (2047, last),
    ] {
        assert_eq!(waves.wave(seed(number)), Some(wave), "seed {number}");
    }
}

#[test]
fn bounds_above_2048_are_kept_and_never_met() {
    let waves = schedule(&[(0, start()), (2049, hours(1)), (u32::MAX, hours(2))]);
    assert_eq!(waves.len(), 3);
    assert_eq!(
        waves.wave(seed(2047)),
        Some(Wave::Last {
            start_seed: 0,
            start: start()
        })
    );
    assert_eq!(schedule(&[(2049, start())]).wave(seed(2047)), None);
    assert_eq!(
        schedule(&[(2048, start())]).wave(seed(2047)),
        Some(Wave::Initial {
            end_seed: 2048,
            end: start()
        })
    );
}

#[test]
fn a_wave_that_ends_before_it_starts_opens_at_its_end() {
    for end in [hours(-1), start()] {
        let waves = schedule(&[(0, start()), (100, end), (200, hours(5))]);
        assert_eq!(waves.ready_at(seed(50)), Some(end));
        assert_eq!(waves.ready_at(seed(100)), Some(end));
    }
}

#[test]
fn the_ramp_is_exact_where_a_window_does_not_divide() {
    // 10 ns over 3 seeds: 3 and 6 after rounding down, then the end.
    let waves = schedule(&[(0, start()), (3, start() + NANOSECOND * 10)]);
    let delays = [0, 1, 2, 3].map(|number| {
        let at = waves.ready_at(seed(number)).expect("a wave");
        (at - start()).num_nanoseconds()
    });
    assert_eq!(delays, [Some(0), Some(3), Some(6), Some(10)]);
}

#[test]
fn the_longest_window_of_the_calendar_does_not_overflow() {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let waves = schedule(&[(0, first), (2048, last)]);
    let middle = waves.ready_at(seed(1024)).expect("a wave");
    // Half of an odd number of nanoseconds is rounded down.
    let short_of_half = (last - middle) - (middle - first);
    assert_eq!(short_of_half, NANOSECOND);
    assert!(waves.ready_at(seed(2047)).expect("a wave") < last);
}

#[test]
fn a_leap_second_is_the_next_minute() {
    let waves = schedule(&[(0, time("2016-12-31T23:59:60.5Z"))]);
    assert_eq!(
        waves.ready_at(seed(0)),
        Some(time("2017-01-01T00:00:00.5Z"))
    );
}

#[test]
fn order_is_checked_on_request() {
    assert_eq!(WaveSchedule::new().check_order(), Ok(()));
    assert_eq!(schedule(&[(0, start())]).check_order(), Ok(()));
    assert_eq!(
        schedule(&[(0, start()), (20, hours(1))]).check_order(),
        Ok(())
    );
    for late in [hours(1), hours(2)] {
        let waves = schedule(&[(0, start()), (20, late), (40, hours(1)), (60, start())]);
        let error = WaveError::Unordered {
            previous_bound: 20,
            previous_time: late,
            bound: 40,
            time: hours(1),
        };
        assert_eq!(waves.check_order(), Err(error));
    }
    let error = schedule(&[(0, hours(2)), (20, hours(1))])
        .check_order()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the wave from seed 20 starts at 2031-03-01T01:00:00Z, not after 2031-03-01T02:00:00Z, \
         when the wave from seed 0 starts"
    );
}

#[test]
fn a_bound_is_inserted_once() {
    let mut waves = schedule(&[(20, hours(1))]);
    assert_eq!(
        waves.insert(20, hours(2)),
        Err(WaveError::DuplicateBound { bound: 20 })
    );
    assert_eq!(waves, schedule(&[(20, hours(1))]));
}

#[test]
fn bounds_are_written_in_numeric_order_and_times_in_utc() {
    let waves = schedule(&[(1024, hours(72)), (204, hours(24)), (0, hours(1))]);
    let json = "{\"0\":\"2031-03-01T01:00:00Z\",\"204\":\"2031-03-02T00:00:00Z\",\
                \"1024\":\"2031-03-04T00:00:00Z\"}";
    assert_eq!(serde_json::to_string(&waves).expect("JSON"), json);
    assert_eq!(
        serde_json::from_str::<WaveSchedule>(json).expect("a schedule"),
        waves
    );
    let abroad = r#"{"0": "2031-03-01T03:00:00.000+02:00"}"#;
    assert_eq!(
        serde_json::from_str::<WaveSchedule>(abroad).expect("a schedule"),
        schedule(&[(0, hours(1))])
    );
}

#[test]
fn unordered_times_are_read() {
    let json = r#"{"0": "2031-03-01T01:00:00Z", "20": "2031-03-01T00:00:00Z"}"#;
    let waves: WaveSchedule = serde_json::from_str(json).expect("a schedule");
    assert!(waves.check_order().is_err());
}

#[test]
fn bad_schedules_are_refused_with_the_place() {
    const T: &str = "\"2031-03-01T01:00:00Z\"";
    for (json, error) in [
        (
            format!("{{\"a\": {T}}}"),
            "wave bound \"a\" is not a number of 32 bits: invalid digit",
        ),
        (
            format!("{{\"\": {T}}}"),
            "wave bound \"\" is not a number of 32 bits: cannot parse",
        ),
        (
            format!("{{\"-1\": {T}}}"),
            "wave bound \"-1\" is not a number of 32 bits: invalid digit",
        ),
        (
            format!("{{\"4294967296\": {T}}}"),
            "wave bound \"4294967296\" is not a number of 32 bits: number too large",
        ),
        (
            format!("{{\"1\": {T}, \"1\": {T}}}"),
            "wave bound 1 is given twice",
        ),
        (
            format!("{{\"1\": {T}, \"01\": {T}}}"),
            "wave bound 1 is given twice",
        ),
        (
            "{\"0\": \"tomorrow\"}".to_owned(),
            "input contains invalid characters",
        ),
        (
            "{\"0\": \"2031-03-01\"}".to_owned(),
            "premature end of input",
        ),
        ("{\"0\": 1}".to_owned(), "invalid type: integer `1`"),
        (
            "[]".to_owned(),
            "invalid type: sequence, expected an object of seed bounds and times",
        ),
    ] {
        let shown = serde_json::from_str::<WaveSchedule>(&json)
            .unwrap_err()
            .to_string();
        assert!(shown.starts_with(error), "{json}: {shown}");
        assert!(shown.contains(" at line 1 column "), "{json}: {shown}");
    }
}

#[test]
fn more_waves_than_any_publisher_needs_are_refused() {
    let json = |count: usize| {
        let waves: Vec<String> = (0..count)
            .map(|bound| format!("\"{bound}\":\"2031-03-01T01:00:00Z\""))
            .collect();
        format!("{{{}}}", waves.join(","))
    };
    let waves: WaveSchedule = serde_json::from_str(&json(MAX_WAVES)).expect("a schedule");
    assert_eq!(waves.len(), MAX_WAVES);
    let error = serde_json::from_str::<WaveSchedule>(&json(MAX_WAVES + 1)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("more than 4096 waves in one schedule at line 1")
    );
}

/// A schedule whose times rise with its bounds.
fn ordered() -> impl Strategy<Value = WaveSchedule> {
    let bounds = prop::collection::btree_set(0_u32..2100, 0..8);
    let gaps = prop::collection::vec(1_i64..1_000_000_000_000_000_000, 8);
    (bounds, gaps).prop_map(|(bounds, gaps)| {
        let mut time = start();
        let waves: Vec<_> = bounds
            .into_iter()
            .zip(gaps)
            .map(|(bound, gap)| {
                time += NANOSECOND * i32::try_from(gap % 1000).expect("below 1000");
                time += TimeDelta::nanoseconds(gap);
                (bound, time)
            })
            .collect();
        schedule(&waves)
    })
}

/// A schedule with any times at all.
fn any_schedule() -> impl Strategy<Value = WaveSchedule> {
    let (first, last) = (
        DateTime::<Utc>::MIN_UTC.timestamp(),
        DateTime::<Utc>::MAX_UTC.timestamp(),
    );
    let time = (first..last, 0_u32..2_000_000_000).prop_filter_map("a time", |(seconds, nanos)| {
        DateTime::from_timestamp(seconds, nanos)
    });
    prop::collection::btree_map(0_u32..2100, time, 0..8)
        .prop_map(|waves| schedule(&waves.into_iter().collect::<Vec<_>>()))
}

fn any_seed() -> impl Strategy<Value = Seed> {
    (0_u32..2048).prop_map(seed)
}

proptest! {
    #[test]
    fn a_higher_seed_is_never_ready_earlier(waves in ordered(), a in any_seed(), b in any_seed()) {
        let (low, high) = (a.min(b), a.max(b));
        // `None`, at any time, sorts before every time.
        prop_assert!(waves.ready_at(low) <= waves.ready_at(high));
    }

    #[test]
    fn ready_from_ready_at_on_and_not_before(waves in any_schedule(), seed in any_seed()) {
        match waves.ready_at(seed) {
            None => prop_assert!(waves.is_ready(seed, DateTime::<Utc>::MIN_UTC)),
            Some(at) => {
                prop_assert!(waves.is_ready(seed, at));
                prop_assert!(waves.is_ready(seed, DateTime::<Utc>::MAX_UTC));
                if let Some(before) = at.checked_sub_signed(NANOSECOND) {
                    prop_assert!(!waves.is_ready(seed, before));
                }
            }
        }
    }

    #[test]
    fn within_a_wave_the_delay_is_the_seeds_share_of_the_window(
        waves in any_schedule(),
        seed in any_seed(),
    ) {
        let nanos = |delta: TimeDelta| {
            i128::from(delta.num_seconds()) * 1_000_000_000 + i128::from(delta.subsec_nanos())
        };
        let Some(Wave::General { start_seed, start, end_seed, end }) = waves.wave(seed) else {
            return Ok(());
        };
        let at = waves.ready_at(seed).expect("a general wave has a time");
        if end <= start {
            prop_assert_eq!(at, end);
            return Ok(());
        }
        prop_assert!(start <= at && at <= end);
        // By the definition of rounding down: no more than the share, and less than one short of it.
        let (delay, window) = (nanos(at - start), nanos(end - start));
        let (part, whole) = (i128::from(seed.get() - start_seed), i128::from(end_seed - start_seed));
        prop_assert!(delay * whole <= window * part);
        prop_assert!(window * part < (delay + 1) * whole);
    }

    #[test]
    fn from_the_first_bound_on_nobody_is_ready_before_the_first_start(
        waves in ordered(),
        seed in any_seed(),
    ) {
        let Some((first, opens)) = waves.iter().next() else { return Ok(()) };
        if first <= 2048 {
            let at = waves.ready_at(seed);
            prop_assert_eq!(at.is_none(), seed.get() < first);
            prop_assert!(at.is_none_or(|at| at >= opens));
        }
    }

    #[test]
    fn every_schedule_survives_json(waves in any_schedule()) {
        let json = serde_json::to_string(&waves).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<WaveSchedule>(&json).expect("a schedule"), waves);
    }

    #[test]
    fn no_json_panics(bytes: Vec<u8>, key: String, value: String) {
        let _ = serde_json::from_slice::<WaveSchedule>(&bytes);
        let json = serde_json::json!({ key: value }).to_string();
        let _ = serde_json::from_str::<WaveSchedule>(&json);
    }
}
