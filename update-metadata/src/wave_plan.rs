//! Wave policies: how a publisher says how fast a release is to reach a fleet.

use crate::seed::MAX_SEED;
use crate::wave::{MAX_WAVES, WaveError, WaveSchedule};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use std::ops::Range;
use toml::Spanned;

pub use crate::start_after::{StartAfter, StartAfterError};

/// A wave policy.
///
/// As TOML a list of `[[waves]]`, each with a `start_after` and a `fleet_percentage`: from
/// `start_after` on the update spreads evenly, until the next entry starts, to that part of the
/// fleet. The last entry has no next one and opens to all the rest at once, whatever its
/// percentage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WavePlan(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    start_after: StartAfter,
    fleet_percentage: u32,
}

/// Why a wave policy is refused. Entries count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum WavePlanError {
    /// The text is no list of waves in TOML. The source says what is wrong, and where.
    #[snafu(display("the wave policy is not valid"))]
    Invalid {
        /// What is wrong.
        source: toml::de::Error,
    },

    /// There are no entries. A release to the whole fleet at once is not asked for by leaving a
    /// file empty.
    #[snafu(display("the wave policy has no waves"))]
    Empty,

    /// The start is neither an offset nor a time.
    #[snafu(display("wave {entry} at line {line} has no valid `start_after`"))]
    StartAfter {
        /// The entry's number.
        entry: usize,
        /// The line of the start.
        line: usize,
        /// What is wrong with it.
        source: StartAfterError,
    },

    /// The percentage is not from 1 to 100.
    #[snafu(display(
        "wave {entry} at line {line} has a fleet percentage of {percentage}, not from 1 to 100"
    ))]
    Percentage {
        /// The entry's number.
        entry: usize,
        /// The line of the percentage.
        line: usize,
        /// The percentage.
        percentage: i64,
    },

    /// Two entries reach the same part of the fleet, so that the waves after them would start from
    /// the same seed.
    #[snafu(display(
        "waves {} and {entry} (line {line}) both reach {percentage}% of the fleet, seed {seed}",
        entry - 1
    ))]
    SameSeed {
        /// The number of the second of the two entries.
        entry: usize,
        /// The line of its percentage.
        line: usize,
        /// The percentage of both.
        percentage: u32,
        /// The seed of that percentage.
        seed: u32,
    },

    /// An entry reaches less of the fleet than the one before it.
    #[snafu(display(
        "wave {entry} at line {line} reaches {percentage}% of the fleet, wave {} reached \
         {previous}% already",
        entry - 1
    ))]
    PercentagesUnordered {
        /// The entry's number.
        entry: usize,
        /// The line of the percentage.
        line: usize,
        /// The percentage.
        percentage: u32,
        /// The percentage of the entry before.
        previous: u32,
    },

    /// An offset leads past the end of the calendar.
    #[snafu(display("wave {entry} at line {line} starts later than any date"))]
    StartOutOfRange {
        /// The entry's number.
        entry: usize,
        /// The line of its start.
        line: usize,
    },

    /// An entry starts no later than the one before it.
    #[snafu(display("wave {entry} at line {line} does not start after the wave before it"))]
    StartsUnordered {
        /// The entry's number.
        entry: usize,
        /// The line of its start.
        line: usize,
        /// The two starts.
        source: WaveError,
    },
}

#[derive(Deserialize)]
struct RawPlan {
    #[serde(default, deserialize_with = "crate::bounded::list::<_, _, MAX_WAVES>")]
    waves: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    start_after: Spanned<String>,
    fleet_percentage: Spanned<i64>,
}

impl WavePlan {
    /// Reads a wave policy.
    ///
    /// Percentages are from 1 to 100 and rise from one entry to the next. What `start_after` may be
    /// is told at [`StartAfter`]. Whether the starts rise depends on the release's own start and is
    /// checked by [`schedule`](Self::schedule).
    pub fn from_toml(text: &str) -> Result<Self, WavePlanError> {
        let raw: RawPlan = toml::from_str(text).context(InvalidSnafu)?;
        ensure!(!raw.waves.is_empty(), EmptySnafu);
        let line = |span: Range<usize>| {
            1 + text
                .bytes()
                .take(span.start)
                .filter(|byte| *byte == b'\n')
                .count()
        };
        let mut entries: Vec<Entry> = Vec::new();
        for (raw, entry) in raw.waves.into_iter().zip(1_usize..) {
            let percentage_line = line(raw.fleet_percentage.span());
            let fleet_percentage =
                percentage(*raw.fleet_percentage.get_ref()).context(PercentageSnafu {
                    entry,
                    line: percentage_line,
                    percentage: raw.fleet_percentage.into_inner(),
                })?;
            if let Some(previous) = entries.last() {
                check_rise(
                    previous.fleet_percentage,
                    fleet_percentage,
                    entry,
                    percentage_line,
                )?;
            }
            let line = line(raw.start_after.span());
            let start_after = raw
                .start_after
                .get_ref()
                .parse()
                .context(StartAfterSnafu { entry, line })?;
            entries.push(Entry {
                line,
                start_after,
                fleet_percentage,
            });
        }
        Ok(Self(entries))
    }

    /// The schedule of a release that starts at `start`.
    ///
    /// The first wave starts from seed 0, each other one from the seed that is the percentage of
    /// the entry before it: `percentage * 2048 / 100`, rounded down.
    ///
    /// # Errors
    ///
    /// [`WavePlanError::StartOutOfRange`] and [`WavePlanError::StartsUnordered`].
    pub fn schedule(&self, start: DateTime<Utc>) -> Result<WaveSchedule, WavePlanError> {
        let mut schedule = WaveSchedule::new();
        let mut bound = 0;
        for (
            Entry {
                line,
                start_after,
                fleet_percentage,
            },
            entry,
        ) in self.0.iter().zip(1_usize..)
        {
            let line = *line;
            let time = start_after
                .time(start)
                .context(StartOutOfRangeSnafu { entry, line })?;
            schedule
                .insert(bound, time)
                .and_then(|()| schedule.check_order())
                .context(StartsUnorderedSnafu { entry, line })?;
            bound = seed_of(*fleet_percentage);
        }
        Ok(schedule)
    }
}

/// A percentage from 1 to 100.
fn percentage(number: i64) -> Option<u32> {
    u32::try_from(number)
        .ok()
        .filter(|percentage| (1..=100).contains(percentage))
}

/// The seed below which that part of the fleet lies.
fn seed_of(percentage: u32) -> u32 {
    percentage * MAX_SEED / 100
}

fn check_rise(
    previous: u32,
    percentage: u32,
    entry: usize,
    line: usize,
) -> Result<(), WavePlanError> {
    let seed = seed_of(percentage);
    ensure!(
        seed != seed_of(previous),
        SameSeedSnafu {
            entry,
            line,
            percentage,
            seed
        }
    );
    ensure!(
        previous < percentage,
        PercentagesUnorderedSnafu {
            entry,
            line,
            percentage,
            previous
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::seed_of;

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the formula to compare with is one in floating point"
    )]
    fn every_percentage_gives_the_seed_of_the_formula_in_floating_point() {
        for percentage in 1..=100 {
            let seed = (percentage as f32 / 100.0 * 2048.0).trunc() as u32;
            assert_eq!(seed_of(percentage), seed, "{percentage}%");
        }
        assert_eq!(
            [1, 5, 15, 40, 60, 90].map(seed_of),
            [20, 102, 307, 819, 1228, 1843]
        );
    }
}
