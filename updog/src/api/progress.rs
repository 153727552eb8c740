//! PURE: how far the command under way is, from the events that it tells.

use crate::event::{Event, Step, Wait};

/// Where a command is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// What it is at.
    pub(super) step: Option<Step>,
    /// What nothing goes on without.
    waits_for: Option<Wait>,
    /// Bytes of the step behind us.
    done: u64,
}

impl Progress {
    /// What it is after `event`; returns the bytes that came with it.
    pub(super) fn follow(&mut self, event: &Event) -> u64 {
        match event {
            Event::Step(step) => {
                *self = Self {
                    step: Some(step.clone()),
                    ..Self::default()
                };
            }
            Event::Progress { done, .. } => {
                let before = std::mem::replace(&mut self.done, *done);
                return done.saturating_sub(before);
            }
            Event::StepEnd | Event::End(_) => *self = Self::default(),
            Event::Waiting(wait) => self.waits_for = Some(*wait),
            Event::Resumed => self.waits_for = None,
            Event::Begin { .. } | Event::Effect(_) | Event::Note(_) | Event::Log { .. } => {}
        }
        0
    }

    /// In words.
    pub(super) fn words(&self) -> Option<String> {
        let wait = self.waits_for.map(|wait| match wait {
            Wait::Server => "waiting for the server",
            Wait::Data => "the transfer stands still",
            Wait::Pause { .. } => "waiting to try again",
            Wait::Sync => "waiting for the disk",
        });
        match (&self.step, wait) {
            (Some(step), Some(wait)) => Some(format!("{step}: {wait}")),
            (Some(step), None) => Some(step.to_string()),
            (None, wait) => wait.map(str::to_owned),
        }
    }

    /// Bytes of the step behind us, where it has bytes.
    pub(super) fn done(&self) -> Option<u64> {
        self.total().map(|_| self.done)
    }

    /// Bytes of the step in all, where it has bytes.
    pub(super) fn total(&self) -> Option<u64> {
        self.step.as_ref()?.total()
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
            let step = progress.words().unwrap_or_default();
            (step, progress.done(), progress.total())
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
