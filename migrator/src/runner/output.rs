//! What a program says: everything is read, so that it never waits for us, and the end is kept.

use std::collections::VecDeque;
use std::io;

use rustix::fd::{AsFd, OwnedFd};

/// Bytes of one stream that are kept.
const KEPT_BYTES: usize = 64 << 10;
/// Lines that an error quotes.
const QUOTED_LINES: usize = 5;
/// Letters of such a line.
const QUOTED_LETTERS: usize = 300;

/// One stream.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<OwnedFd>,
    kept: VecDeque<u8>,
    discarded: u64,
}

impl Output {
    /// Reads from `pipe`, which does not block.
    pub(super) fn of(pipe: OwnedFd) -> Self {
        Self {
            pipe: Some(pipe),
            kept: VecDeque::new(),
            discarded: 0,
        }
    }

    /// Where there may be more.
    pub(super) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Takes what is there now, at most 1 MiB: whoever never stops talking is not listened to
    /// without looking at the clock.
    pub(super) fn take(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 16 << 10];
        for _ in 0..64 {
            let Some(pipe) = &self.pipe else {
                return Ok(());
            };
            match rustix::io::read(pipe.as_fd(), &mut buffer[..]) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.keep(buffer.get(..length).unwrap_or_default()),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..excess);
        self.discarded = self
            .discarded
            .saturating_add(u64::try_from(excess).unwrap_or(u64::MAX));
    }

    /// Bytes that came and were not kept.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    /// The lines that were kept, made harmless for a terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.kept.iter().copied().collect();
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.escape_debug().to_string())
            .collect()
    }

    /// Its last lines, for an error.
    pub(super) fn quote(&self) -> String {
        let lines = self.lines();
        let first = lines.len().saturating_sub(QUOTED_LINES);
        let last: Vec<String> = lines
            .iter()
            .skip(first)
            .map(|line| line.chars().take(QUOTED_LETTERS).collect())
            .collect();
        if last.is_empty() {
            return String::new();
        }
        format!("; its last words: {}", last.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_rest_is_counted() {
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        let mut output = Output::of(pipe);
        for _ in 0..10_000 {
            output.keep(b"0123456789");
        }
        output.keep(b"\nthe \x1b[1mend\n\n");
        assert_eq!(output.kept.len(), 64 << 10);
        assert_eq!(output.discarded(), 100_000 + 14 - (64 << 10));
        assert_eq!(output.lines().last().unwrap(), r"the \u{1b}[1mend");
        assert!(
            output.quote().ends_with(r" | the \u{1b}[1mend"),
            "{}",
            output.quote()
        );
        assert!(output.quote().len() < 400);
    }
}
