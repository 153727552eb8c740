//! Waves: when an update becomes ready for each seed of a fleet.
//!
//! A schedule maps *bounds*, which are seeds, to times. A bound's time is when the wave above it
//! begins and when the wave below it ends. A seed equal to a bound belongs to the wave below.
//!
//! This follows Bottlerocket's manifest with one deliberate difference: within a wave, hosts become
//! ready evenly from the wave's start to its end, by their place *between the wave's bounds*.
//! Bottlerocket's client multiplies by the absolute seed instead, so that the seeds of the upper
//! waves all wait for their wave's end and then come at once; and its seed 0 never waits. Nothing
//! on the wire depends on either.

use crate::chain::Chain;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use snafu::{ResultExt, Snafu, ensure};
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::num::ParseIntError;

pub use crate::seed::{MAX_SEED, Seed, SeedError};

/// The most bounds a schedule read from outside may have. One for every seed is 2049.
pub const MAX_WAVES: usize = 4096;

/// When an update becomes ready for each seed.
///
/// As JSON an object: the bounds in decimal as keys, in numeric order, and RFC 3339 times as
/// values. Reading refuses a key that is no `u32` and a bound given twice (`"1"` and `"01"` are the
/// same bound). Bounds above [`MAX_SEED`] are kept but no seed ever meets them. Times out of order
/// are accepted, because only a publisher can mend them: see [`check_order`](Self::check_order).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveSchedule(BTreeMap<u32, DateTime<Utc>>);

/// Why a schedule is refused.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum WaveError {
    /// A key of the JSON object is no seed bound.
    #[snafu(display("wave bound {bound:?} is not a number of 32 bits"))]
    BadBound {
        /// The key.
        bound: String,
        /// What is wrong with it as a number.
        source: ParseIntError,
    },

    /// A bound is there already.
    #[snafu(display("wave bound {bound} is given twice"))]
    DuplicateBound {
        /// The bound.
        bound: u32,
    },

    /// There are more than [`MAX_WAVES`] bounds.
    #[snafu(display("more than {MAX_WAVES} waves in one schedule"))]
    TooMany,

    /// A wave starts no later than the one below it.
    #[snafu(display(
        "the wave from seed {bound} starts at {}, not after {}, when the wave from seed \
         {previous_bound} starts",
        time_text(*time), time_text(*previous_time)
    ))]
    Unordered {
        /// The lower bound.
        previous_bound: u32,
        /// When the wave above the lower bound starts.
        previous_time: DateTime<Utc>,
        /// The next bound.
        bound: u32,
        /// When the wave above that one starts.
        time: DateTime<Utc>,
    },
}

/// The part of a schedule that holds one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// No bound lies below the seed.
    Initial {
        /// The first bound, at or above the seed.
        end_seed: u32,
        /// When the wave above that bound starts.
        end: DateTime<Utc>,
    },
    /// The seed lies between two bounds, or on the upper one.
    General {
        /// The bound below the seed.
        start_seed: u32,
        /// When this wave starts.
        start: DateTime<Utc>,
        /// The bound at or above the seed.
        end_seed: u32,
        /// When this wave ends and the next one starts.
        end: DateTime<Utc>,
    },
    /// No bound lies at or above the seed.
    Last {
        /// The bound below the seed.
        start_seed: u32,
        /// When this wave starts.
        start: DateTime<Utc>,
    },
}

impl WaveSchedule {
    /// A schedule without waves: ready for every seed at any time.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are no waves.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of bounds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bounds in numeric order, each with its time.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Adds a bound.
    ///
    /// A leap second is taken as the first of the next minute: the same instant, one spelling.
    ///
    /// # Errors
    ///
    /// [`WaveError::DuplicateBound`] and [`WaveError::TooMany`]; the schedule is then unchanged.
    pub fn insert(&mut self, bound: u32, time: DateTime<Utc>) -> Result<(), WaveError> {
        ensure!(!self.0.contains_key(&bound), DuplicateBoundSnafu { bound });
        ensure!(self.0.len() < MAX_WAVES, TooManySnafu);
        self.0.insert(bound, without_leap_second(time));
        Ok(())
    }

    /// Checks that each wave starts later than the one below it.
    ///
    /// Publishing checks this, reading does not, as in Bottlerocket.
    ///
    /// # Errors
    ///
    /// [`WaveError::Unordered`] with the first pair out of order.
    pub fn check_order(&self) -> Result<(), WaveError> {
        for ((previous_bound, previous_time), (bound, time)) in self.iter().zip(self.iter().skip(1))
        {
            ensure!(
                previous_time < time,
                UnorderedSnafu {
                    previous_bound,
                    previous_time,
                    bound,
                    time
                }
            );
        }
        Ok(())
    }

    /// The wave that holds `seed`; none if there are no bounds up to [`MAX_SEED`].
    pub fn wave(&self, seed: Seed) -> Option<Wave> {
        let at = |(bound, time): (&u32, &DateTime<Utc>)| (*bound, *time);
        let below = self.0.range(..seed.get()).next_back().map(at);
        let above = self.0.range(seed.get()..=MAX_SEED).next().map(at);
        match (below, above) {
            (None, None) => None,
            (None, Some((end_seed, end))) => Some(Wave::Initial { end_seed, end }),
            (Some((start_seed, start)), Some((end_seed, end))) => Some(Wave::General {
                start_seed,
                start,
                end_seed,
                end,
            }),
            (Some((start_seed, start)), None) => Some(Wave::Last { start_seed, start }),
        }
    }

    /// The first instant at which the update is ready for `seed`; `None` means at any time.
    ///
    /// With bounds in order this never falls as the seed rises, whatever the bounds:
    ///
    /// - strictly below the first bound no wave was announced: ready at any time;
    /// - on the first bound (seed 0 as a rule): ready from the first wave's start;
    /// - between two bounds: ready from `start + (end - start) * (seed - start_seed) /
    ///   (end_seed - start_seed)`, to the nanosecond, rounded down; so the last seed of a wave is
    ///   ready at its end, never before its start;
    /// - above the last bound: ready from the last wave's start.
    ///
    /// A wave whose end is not after its start opens at its end, without a ramp.
    pub fn ready_at(&self, seed: Seed) -> Option<DateTime<Utc>> {
        self.wave(seed)?.ready_at(seed)
    }

    /// Whether the update is ready for `seed` at `now`.
    pub fn is_ready(&self, seed: Seed, now: DateTime<Utc>) -> bool {
        self.ready_at(seed).is_none_or(|at| at <= now)
    }
}

impl Wave {
    /// When this wave reaches `seed`, which lies in it.
    fn ready_at(self, seed: Seed) -> Option<DateTime<Utc>> {
        match self {
            Self::Initial { end_seed, end } => (seed.get() == end_seed).then_some(end),
            Self::Last { start, .. } => Some(start),
            Self::General {
                start_seed,
                start,
                end_seed,
                end,
            } => {
                let part = seed.get().saturating_sub(start_seed);
                let whole = end_seed.saturating_sub(start_seed);
                Some(between(start, end, part, whole))
            }
        }
    }
}

/// The instant `part / whole` of the way from `start` to `end`, rounded down to the nanosecond.
///
/// `end` itself if it is not after `start`, or if `part` is not less than `whole`.
fn between(start: DateTime<Utc>, end: DateTime<Utc>, part: u32, whole: u32) -> DateTime<Utc> {
    const NANOS: i128 = 1_000_000_000;
    if end <= start || part >= whole {
        return end;
    }
    // The longest window chrono can express is below 2^44 seconds or 2^74 nanoseconds, so that the
    // product with a seed stays far inside an i128.
    let window = end - start;
    let window = i128::from(window.num_seconds()) * NANOS + i128::from(window.subsec_nanos());
    let delay = window * i128::from(part) / i128::from(whole);
    let seconds = i64::try_from(delay / NANOS).ok();
    let nanos = u32::try_from(delay % NANOS).ok();
    seconds
        .zip(nanos)
        .and_then(|(seconds, nanos)| TimeDelta::new(seconds, nanos))
        .and_then(|delay| start.checked_add_signed(delay))
        // Never taken, since the delay is within the window; and if it were, late is the safe side.
        .unwrap_or(end)
}

/// The same instant with a fraction below one second.
fn without_leap_second(time: DateTime<Utc>) -> DateTime<Utc> {
    match time.timestamp_subsec_nanos().checked_sub(1_000_000_000) {
        Some(nanos) => DateTime::from_timestamp(time.timestamp() + 1, nanos).unwrap_or(time),
        None => time,
    }
}

/// A time as messages and manifests write it: RFC 3339 in UTC with a `Z`.
pub(crate) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The bounds of a schedule in numeric order.
#[derive(Clone, Debug)]
pub struct Iter<'a>(btree_map::Iter<'a, u32, DateTime<Utc>>);

impl Iterator for Iter<'_> {
    type Item = (u32, DateTime<Utc>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(bound, time)| (*bound, *time))
    }
}

impl<'a> IntoIterator for &'a WaveSchedule {
    type Item = (u32, DateTime<Utc>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Serialize for WaveSchedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(bound, time)| (bound.to_string(), time)))
    }
}

impl<'de> Deserialize<'de> for WaveSchedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScheduleVisitor;

        impl<'de> Visitor<'de> for ScheduleVisitor {
            type Value = WaveSchedule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of seed bounds and times")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WaveSchedule, A::Error> {
                let mut schedule = WaveSchedule::new();
                while let Some(bound) = map.next_key::<String>()? {
                    let bound = bound
                        .parse()
                        .context(BadBoundSnafu { bound })
                        .map_err(|error| A::Error::custom(Chain(&error)))?;
                    schedule
                        .insert(bound, map.next_value()?)
                        .map_err(A::Error::custom)?;
                }
                Ok(schedule)
            }
        }

        deserializer.deserialize_map(ScheduleVisitor)
    }
}
