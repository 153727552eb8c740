//! A signed target on its way in: its facts, and a reader that hands out its bytes and at their
//! end says whether they were the signed ones.

use std::io::{self, ErrorKind, Read};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use snafu::{OptionExt as _, ResultExt as _};
use tokio::sync::mpsc;
use tough::TargetName;
use tough::schema::Targets;
use update_metadata::Digest;

use super::error::{NoTargetSnafu, RepositoryError, TargetDigestSnafu, TargetNameSnafu};

/// What the signed metadata say of a target.
#[derive(Debug, Clone)]
pub struct SignedTarget {
    pub(super) tough_name: TargetName,
    /// Bytes of the file.
    pub length: u64,
    /// Of the whole file.
    pub sha256: Digest,
}

impl SignedTarget {
    /// What `targets` sign under `name`.
    ///
    /// # Errors
    /// [`RepositoryError::NoTarget`] when they list none of that name.
    pub(super) fn find(targets: &Targets, name: &str) -> Result<Self, RepositoryError> {
        let tough_name = TargetName::new(name).context(TargetNameSnafu { name })?;
        let target = targets
            .find_target(&tough_name, false)
            .ok()
            .context(NoTargetSnafu { name })?;
        let sha256 = <[u8; 32]>::try_from(target.hashes.sha256.as_ref())
            .ok()
            .context(TargetDigestSnafu { name })?;
        Ok(Self {
            tough_name,
            length: target.length,
            sha256: Digest::from(sha256),
        })
    }

    /// The name under which the target is signed.
    pub fn name(&self) -> &str {
        self.tough_name.raw()
    }
}

/// Reads a target from the repository.
///
/// Bytes are handed out as they come. A read returns 0 only when as many bytes came as were
/// signed and their digest is the signed one; whoever stops before that knows nothing.
#[derive(Debug)]
pub struct TargetReader {
    target: SignedTarget,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    received: u64,
    hasher: Sha256,
    verified: bool,
}

impl TargetReader {
    pub(super) fn new(target: SignedTarget, chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            target,
            chunks,
            current: Bytes::new(),
            received: 0,
            hasher: Sha256::new(),
            verified: false,
        }
    }

    /// A target whose signed bytes are `bytes`.
    #[cfg(test)]
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let (length, sha256) = crate::digest::of_reader(bytes.as_slice()).unwrap();
        let (sender, receiver) = mpsc::channel(1);
        sender.blocking_send(Ok(Bytes::from(bytes))).unwrap();
        Self::new(
            SignedTarget {
                tough_name: TargetName::new(name).unwrap(),
                length,
                sha256,
            },
            receiver,
        )
    }

    /// The target that is read.
    pub fn target(&self) -> &SignedTarget {
        &self.target
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    fn judge(&mut self) -> io::Result<()> {
        let SignedTarget { length, sha256, .. } = &self.target;
        if self.received != *length {
            return Err(self.invalid(&format!(
                "{} bytes came, {length} are signed",
                self.received
            )));
        }
        let came = Digest::from(<[u8; 32]>::from(self.hasher.clone().finalize()));
        if came != *sha256 {
            return Err(self.invalid(&format!("its SHA-256 is {came}, signed is {sha256}")));
        }
        self.verified = true;
        Ok(())
    }

    fn invalid(&self, what: &str) -> io::Error {
        let name = self.target.name();
        io::Error::new(
            ErrorKind::InvalidData,
            format!("target {name} is not what was signed: {what}"),
        )
    }
}

impl Read for TargetReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if buf.is_empty() || self.verified {
                return Ok(0);
            }
            let Some(chunk) = self.chunks.blocking_recv() else {
                self.judge()?;
                return Ok(0);
            };
            let chunk = chunk?;
            self.received = self
                .received
                .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if self.received > self.target.length {
                return Err(self.invalid(&format!("more than {} bytes came", self.target.length)));
            }
            self.hasher.update(&chunk);
            self.current = chunk;
        }
        let length = buf.len().min(self.current.len());
        buf[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(signed: &[u8], chunks: &[&'static [u8]]) -> TargetReader {
        let (sender, receiver) = mpsc::channel(8);
        for chunk in chunks {
            sender.blocking_send(Ok(Bytes::from_static(chunk))).unwrap();
        }
        let target = SignedTarget {
            tough_name: TargetName::new("t").unwrap(),
            length: u64::try_from(signed.len()).unwrap(),
            sha256: Digest::from(<[u8; 32]>::from(Sha256::digest(signed))),
        };
        TargetReader::new(target, receiver)
    }

    #[test]
    fn exactly_the_signed_bytes_are_read_to_their_end() {
        let mut out = Vec::new();
        let mut reader = reader(b"abcdef", &[b"abc", b"", b"def"]);
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(out, b"abcdef");
        assert_eq!(reader.received(), 6);
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn other_bytes_of_the_same_length_are_refused() {
        let error = reader(b"abcdef", &[b"abcdeg"])
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(
            error
                .to_string()
                .contains("target t is not what was signed"),
            "{error}"
        );
    }

    #[test]
    fn fewer_and_more_bytes_are_refused() {
        for chunks in [
            &[b"abc".as_slice()][..],
            &[b"abcdefg"],
            &[b"abcdef", b"g"],
            &[],
        ] {
            assert!(
                reader(b"abcdef", chunks)
                    .read_to_end(&mut Vec::new())
                    .is_err(),
                "{chunks:?}"
            );
        }
    }
}
