//! PURE: how far the command under way is, from the events that it tells.

use crate::event::{Event, Step, Wait};

/// Where a command is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// In words.
    pub(super) step: Option<String>,
    /// Bytes behind us.
    pub(super) done: Option<u64>,
    /// Bytes in all.
    pub(super) total: Option<u64>,
    /// The step itself.
    pub(super) current: Option<Step>,
}

impl Progress {
    /// What it is after `event`; returns the bytes that came with it.
    pub(super) fn follow(&mut self, event: &Event) -> u64 {
        match event {
            Event::Step(step) => {
                *self = Self {
                    step: Some(step.to_string()),
                    done: step.total().map(|_| 0),
                    total: step.total(),
                    current: Some(step.clone()),
                };
            }
            Event::Progress { done, total } => {
                let before = self.done.replace(*done).unwrap_or(0);
                self.total = Some(*total);
                return done.saturating_sub(before);
            }
            Event::StepEnd | Event::End(_) => *self = Self::default(),
            Event::Waiting(wait) => {
                let what = match wait {
                    Wait::Server => "waiting for the server",
                    Wait::Data => "the transfer stands still",
                    Wait::Pause { .. } => "waiting to try again",
                    Wait::Sync => "waiting for the disk",
                };
                self.step = Some(match &self.current {
                    Some(step) => format!("{step}: {what}"),
                    None => what.to_owned(),
                });
            }
            Event::Resumed => self.step = self.current.as_ref().map(ToString::to_string),
            Event::Begin { .. } | Event::Effect(_) | Event::Note(_) | Event::Log { .. } => {}
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use update_metadata::ImageKind;

    use super::*;

    #[test]
    fn a_step_is_told_with_its_bytes_and_what_it_waits_for() {
        let mut progress = Progress::default();
        let image = ImageKind::Root;
        let write = Event::Step(Step::Write { image, bytes: 10 });
        let told = |progress: &Progress| {
            let step = progress.step.clone().unwrap_or_default();
            (step, progress.done, progress.total)
        };
        for (event, bytes, expected) in [
            (write, 0, ("writing the root image", Some(0), Some(10))),
            (
                Event::Progress { done: 4, total: 10 },
                4,
                ("writing the root image", Some(4), Some(10)),
            ),
            (
                Event::Waiting(Wait::Data),
                0,
                (
                    "writing the root image: the transfer stands still",
                    Some(4),
                    Some(10),
                ),
            ),
            (
                Event::Resumed,
                0,
                ("writing the root image", Some(4), Some(10)),
            ),
            (
                Event::Progress { done: 9, total: 10 },
                5,
                ("writing the root image", Some(9), Some(10)),
            ),
            (Event::StepEnd, 0, ("", None, None)),
            (
                Event::Waiting(Wait::Sync),
                0,
                ("waiting for the disk", None, None),
            ),
            (Event::Resumed, 0, ("", None, None)),
        ] {
            assert_eq!(progress.follow(&event), bytes, "{event:?}");
            let (step, done, total) = expected;
            assert_eq!(told(&progress), (step.to_owned(), done, total), "{event:?}");
        }
    }
}
