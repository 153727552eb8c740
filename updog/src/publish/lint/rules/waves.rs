//! Pure: waves go up, end, and start about now.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use update_metadata::{MAX_SEED, Update};

use super::super::facts::{FolderFacts, Yardstick};
use super::super::finding::Finding;
use super::super::rule::Rule;
use super::{about_update, updates};

/// A first wave further ahead is taken for a slip of the year.
const FAR_AHEAD: TimeDelta = TimeDelta::days(180);
/// Waves of a version about to be published that ended longer ago hold nobody back.
const OVER: TimeDelta = TimeDelta::days(1);
/// No update is that old.
const FAR_BACK: TimeDelta = TimeDelta::days(20 * 365);

pub(super) fn judge(folder: &FolderFacts, by: &Yardstick, findings: &mut Vec<Finding>) {
    for (update, _) in updates(folder) {
        let mut find = |rule, problem: String| {
            findings.push(Finding::new(rule, about_update(folder, update), problem));
        };
        if let Err(error) = update.waves.check_order() {
            find(Rule::WaveOrder, error.to_string());
        }
        let bounds = || update.waves.iter();
        if let Some((bound, _)) = bounds().find(|(bound, _)| *bound > MAX_SEED) {
            let problem = format!("a wave is bounded by seed {bound}, seeds end at {MAX_SEED}");
            find(Rule::WaveBound, problem);
        }
        if let Some((bound, _)) = bounds().next().filter(|(bound, _)| *bound > 0) {
            find(
                Rule::WaveGap,
                format!("the first wave starts at seed {bound}"),
            );
        }
        if let Some(problem) = out_of_time(folder, update, by.now) {
            find(Rule::WaveTime, problem);
        }
    }
}

fn out_of_time(folder: &FolderFacts, update: &Update, now: DateTime<Utc>) -> Option<String> {
    let times = || update.waves.iter().map(|(_, time)| time);
    let (first, last) = (times().min()?, times().max()?);
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let releasing = folder.releasing.as_ref() == Some(&update.version);
    if first.signed_duration_since(now) > FAR_AHEAD {
        Some(format!("the first wave starts only at {}", text(first)))
    } else if now.signed_duration_since(last) > OVER && releasing {
        Some(format!("the last wave started at {} already", text(last)))
    } else if now.signed_duration_since(first) > FAR_BACK {
        Some(format!("the first wave started at {}", text(first)))
    } else {
        None
    }
}
