//! What long work tells while it runs. Libraries emit these; a program may draw them.

use std::io::{self, Read};

/// A step of long work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step starts.
    Started {
        /// What is being done, in words: `hashing root.img`.
        step: String,
        /// How many bytes there are to go through.
        total: u64,
    },
    /// So many further bytes of the step are done.
    Advanced {
        /// Bytes since the last event.
        bytes: u64,
    },
    /// The step that started last is done.
    Finished,
}

/// Where events go.
pub type Observer<'a> = &'a mut dyn FnMut(Event);

/// An observer for callers that do not want to know.
pub fn ignore(_: Event) {}

/// Passes a reader's bytes through and tells the observer how many they were.
pub(super) struct Watched<'a, R> {
    inner: R,
    observer: Observer<'a>,
}

impl<'a, R: Read> Watched<'a, R> {
    /// Starts the step and watches `inner`.
    pub(super) fn start(step: String, total: u64, inner: R, observer: Observer<'a>) -> Self {
        observer(Event::Started { step, total });
        Self { inner, observer }
    }

    /// Ends the step.
    pub(super) fn finish(self) -> R {
        (self.observer)(Event::Finished);
        self.inner
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buf)?;
        let bytes = u64::try_from(length).expect("a buffer's length fits in 64 bits");
        (self.observer)(Event::Advanced { bytes });
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_once_between_start_and_end() {
        let mut events = Vec::new();
        let mut observer = |event| events.push(event);
        let mut watched = Watched::start("hashing x".into(), 3, &b"abc"[..], &mut observer);
        let mut out = Vec::new();
        watched.read_to_end(&mut out).unwrap();
        watched.finish();
        assert_eq!(out, b"abc");
        assert_eq!(
            events.first(),
            Some(&Event::Started {
                step: "hashing x".into(),
                total: 3
            })
        );
        assert_eq!(events.last(), Some(&Event::Finished));
        let bytes: u64 = events
            .iter()
            .map(|event| {
                if let Event::Advanced { bytes } = event {
                    *bytes
                } else {
                    0
                }
            })
            .sum();
        assert_eq!(bytes, 3);
    }
}
