//! Hashes what is read, on its way to a decoder.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest as _, Sha256};
use update_metadata::{Digest, RawImage};

/// Passes reads through, and remembers a failure that a decoder would take for bad data.
pub(super) struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    length: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
            failed: None,
        }
    }

    /// The failure that a read met, once.
    pub(super) fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// What was read from, and length and digest of what was read.
    pub(super) fn finish(self) -> (R, RawImage) {
        let seen = RawImage {
            length: self.length,
            sha256: Digest::from(<[u8; 32]>::from(self.hasher.finalize())),
        };
        (self.inner, seen)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(read) => {
                self.hasher.update(&buf[..read]);
                let more = u64::try_from(read).unwrap_or(u64::MAX);
                self.length = self.length.saturating_add(more);
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
