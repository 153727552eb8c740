//! Pure: what there is to say of the step under way, and when. Time is what has passed since the
//! program began.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::HumanBytes;

use crate::event::{Event, Step, Wait};

/// A line at least so often while a step lasts.
const EVERY: Duration = Duration::from_secs(10);
/// And one when so much more is done, but not more often than every [`SOONEST`].
const EVERY_PERCENT: u64 = 10;
const SOONEST: Duration = Duration::from_secs(1);
/// Over which the rate is taken: long enough to be calm, short enough to show that nothing comes.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples in the window.
const MAX_SAMPLES: usize = 64;
/// A wait is told once it is so long; a shorter one is not seen.
const WORTH_SHOWING: Duration = Duration::from_secs(1);

/// The step under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct Phase {
    current: Option<Current>,
}

/// Something to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether it says that a step is done.
    pub(super) is_end: bool,
}

/// What a bar shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) step: String,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    /// Rate and time left, or what is waited for.
    pub(crate) how: String,
}

#[derive(Debug)]
struct Current {
    step: Step,
    began: Duration,
    done: u64,
    wait: Option<(Wait, Duration)>,
    /// When which bytes were behind us, the oldest first.
    samples: VecDeque<(Duration, u64)>,
    told_at: Duration,
    told_percent: u64,
}

impl Phase {
    /// `event` happened: what is there to say of the step that ends, the one that begins, the one
    /// that goes on?
    pub(super) fn see(&mut self, event: &Event, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        match event {
            Event::Step(step) => {
                let current = Current::new(step.clone(), now);
                lines.push(Line::of(match step.total() {
                    Some(total) => format!("{step}, {}", HumanBytes(total)),
                    None => step.to_string(),
                }));
                self.current = Some(current);
            }
            Event::StepEnd => lines.extend(self.end(now)),
            Event::End(_) => self.current = None,
            Event::Progress { done, .. } => {
                if let Some(current) = &mut self.current {
                    // What came before a wait began may be told of after that.
                    current.advance(*done, now);
                }
                lines.extend(self.tick(now));
            }
            Event::Waiting(wait) => {
                if let Some(current) = &mut self.current {
                    current.wait = Some((*wait, now));
                }
            }
            Event::Resumed => {
                if let Some(current) = &mut self.current {
                    current.wait = None;
                }
            }
            Event::Begin { .. } | Event::Effect(_) | Event::Note(_) | Event::Log { .. } => {}
        }
        lines
    }

    /// Time has passed: is a line due?
    pub(super) fn tick(&mut self, now: Duration) -> Option<Line> {
        let current = self.current.as_mut()?;
        let since = now.saturating_sub(current.told_at);
        let percent = current.percent().unwrap_or(0);
        let is_further = percent.saturating_sub(current.told_percent) >= EVERY_PERCENT;
        if since < EVERY && !(is_further && since >= SOONEST) {
            return None;
        }
        (current.told_at, current.told_percent) = (now, percent);
        let how = current.how(now);
        let step = &current.step;
        Some(Line::of(match current.step.total() {
            Some(total) => format!(
                "{step}: {percent} % of {}{}{how}",
                HumanBytes(total),
                if how.is_empty() { "" } else { ", " }
            ),
            None if how.is_empty() => {
                let lasts = now.saturating_sub(current.began);
                format!("{step}: still at it after {}", time(lasts))
            }
            None => format!("{step}: {how}"),
        }))
    }

    /// What a bar shows now.
    pub(super) fn view(&self, now: Duration) -> Option<View> {
        let current = self.current.as_ref()?;
        Some(View {
            step: current.step.to_string(),
            done: current.done,
            total: current.step.total(),
            how: current.how(now),
        })
    }

    fn end(&mut self, now: Duration) -> Option<Line> {
        let current = self.current.take()?;
        let took = time(now.saturating_sub(current.began));
        let step = &current.step;
        let text = match current.step.total() {
            // What was there already is not gone through.
            Some(_) if current.done == 0 => format!("{step}: done"),
            Some(_) => format!("{step}: done, {} in {took}", HumanBytes(current.done)),
            None => format!("{step}: done in {took}"),
        };
        Some(Line { text, is_end: true })
    }
}

impl Line {
    fn of(text: String) -> Self {
        Self {
            text,
            is_end: false,
        }
    }
}

impl Current {
    fn new(step: Step, now: Duration) -> Self {
        Self {
            step,
            began: now,
            done: 0,
            wait: None,
            samples: VecDeque::from([(now, 0)]),
            told_at: now,
            told_percent: 0,
        }
    }

    fn advance(&mut self, done: u64, now: Duration) {
        self.done = done;
        let spacing = WINDOW / u32::try_from(MAX_SAMPLES).unwrap_or(1);
        let last = self.samples.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_sub(last) >= spacing) {
            self.samples.push_back((now, done));
        }
        // The one just outside the window is its start.
        while self.samples.len() > MAX_SAMPLES
            || self
                .samples
                .get(1)
                .is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW)
        {
            self.samples.pop_front();
        }
    }

    fn percent(&self) -> Option<u64> {
        let total = self.step.total()?;
        Some(
            self.done
                .saturating_mul(100)
                .checked_div(total)
                .unwrap_or(100)
                .min(100),
        )
    }

    /// Bytes a second over the window, up to now.
    fn rate(&self, now: Duration) -> Option<u64> {
        let (at, bytes) = *self.samples.front()?;
        let millis = u64::try_from(now.saturating_sub(at).as_millis()).ok()?;
        let came = self.done.saturating_sub(bytes);
        came.saturating_mul(1000).checked_div(millis)
    }

    /// Rate and time left, or what is waited for and since when; nothing where neither is known.
    fn how(&self, now: Duration) -> String {
        if let Some((wait, since)) = self.wait {
            let waited = now.saturating_sub(since);
            if waited >= WORTH_SHOWING {
                let waited = time(waited);
                return match wait {
                    Wait::Server => format!("waiting for the server, {waited}"),
                    Wait::Data => format!("stalled for {waited}"),
                    Wait::Pause { .. } => format!("trying again soon, {waited}"),
                    Wait::Sync => format!("syncing to the disk, {waited}"),
                };
            }
        }
        let (Some(total), Some(rate)) = (self.step.total(), self.rate(now)) else {
            return String::new();
        };
        let left = total.saturating_sub(self.done);
        match left.checked_div(rate) {
            // Nothing came in the whole window, or nothing is left.
            None | Some(0) if left == 0 => format!("{}/s", HumanBytes(rate)),
            None => "nothing comes".to_owned(),
            Some(seconds) => format!(
                "{}/s, {} left",
                HumanBytes(rate),
                time(Duration::from_secs(seconds))
            ),
        }
    }
}

/// Two units at most: `7 s`, `3 min 20 s`, `2 h 5 min`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
