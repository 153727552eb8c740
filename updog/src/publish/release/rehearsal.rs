//! Loads new metadata as a client would, before any client can.
//!
//! The files are in memory, so what is tried is exactly what will be written.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use snafu::{ResultExt, Snafu, ensure};
use tough::schema::Targets;
use tough::{
    ExpirationEnforcement, Repository, RepositoryLoader, Transport, TransportError,
    TransportErrorKind, TransportStream,
};
use url::Url;

use crate::publish::tuf::RootFile;
use crate::repository::transport::MetadataLimits;

/// Why nothing was written.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RehearsalError {
    /// A client would refuse the metadata.
    #[snafu(display("the new metadata do not verify; nothing was published"))]
    Refused {
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// Hosts read no more than so much, whatever the snapshot announces.
    #[snafu(display(
        "the new {name} has {length} bytes, hosts read {limit}; nothing was published"
    ))]
    TooLarge {
        name: String,
        length: usize,
        limit: u64,
    },
    /// A client would see other targets than were signed.
    #[snafu(display("the new metadata read back with other targets; nothing was published"))]
    OtherTargets,
}

/// Verifies `files` from `root` down to the targets, which must be `expected`.
pub(in crate::publish) async fn load(
    root: &RootFile,
    files: &[(String, Vec<u8>)],
    expected: &Targets,
) -> Result<(), RehearsalError> {
    let limit = MetadataLimits::default().metadata;
    for (name, bytes) in files {
        let length = bytes.len();
        ensure!(
            u64::try_from(length).is_ok_and(|length| length <= limit),
            TooLargeSnafu {
                name,
                length,
                limit
            }
        );
    }
    let repository = open(&root.bytes, files).await.context(RefusedSnafu)?;
    ensure!(
        repository.targets().signed.targets == expected.targets,
        OtherTargetsSnafu
    );
    Ok(())
}

/// Loads `files`, and nothing but them, from `root` on. No root role that is not among the files is
/// followed to; expiry is the caller's to judge, for the library would do it by the wall clock.
pub(in crate::publish) async fn open(
    root: &[u8],
    files: &[(String, Vec<u8>)],
) -> Result<Repository, tough::error::Error> {
    let url = Url::parse("memory:///").expect("a constant URL, parsed in a test");
    let files = files
        .iter()
        .map(|(name, bytes)| (name.clone(), Bytes::copy_from_slice(bytes)));
    RepositoryLoader::new(&root, url.clone(), url)
        .transport(Memory {
            files: files.collect(),
        })
        .expiration_enforcement(ExpirationEnforcement::Unsafe)
        .load()
        .await
}

/// Serves files by the last part of their URL.
#[derive(Debug, Clone)]
struct Memory {
    files: HashMap<String, Bytes>,
}

#[async_trait]
impl Transport for Memory {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url
            .path_segments()
            .and_then(|mut segments| segments.next_back());
        match name.and_then(|name| self.files.get(name)) {
            Some(bytes) => Ok(Box::pin(stream::iter([Ok(bytes.clone())]))),
            None => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::publish::keyring::KeyArgs;
    use crate::publish::keys::{self, KeysNewArgs};
    use crate::publish::period::Period;
    use crate::publish::release::metadata::{self, Periods};
    use crate::publish::root::{self, RootNewArgs};
    use crate::publish::{keyring, tuf};

    #[test]
    fn metadata_that_were_changed_after_signing_are_not_published() {
        let temp = tempfile::tempdir().unwrap();
        let (keys, out) = (temp.path().join("keys"), temp.path().join("root.json"));
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let one = NonZeroU64::MIN;
        keys::run(&KeysNewArgs::new(&keys)).unwrap();
        root::run(&RootNewArgs::new(KeyArgs::folder(&keys), &out), now).unwrap();
        let root = RootFile::read(&out).unwrap();
        let keys = keyring::read(&keys, &keyring::ROLES).unwrap();
        let week = Period::weeks(1);
        let periods = Periods {
            targets: week,
            snapshot: week,
            timestamp: week,
        };
        let expires = tuf::expiry(week, now).unwrap();
        let mut targets = Targets::new("1.0.0".to_owned(), one, expires);
        targets.delegations = None;
        let signed = metadata::sign(targets.clone(), one, periods, &root, &keys, now).unwrap();
        assert_eq!(
            signed
                .files
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            [
                "1.root.json",
                "1.targets.json",
                "1.snapshot.json",
                "timestamp.json"
            ]
        );

        for at in 1..4 {
            let mut files = signed.files.clone();
            let text = String::from_utf8(files[at].1.clone()).unwrap();
            files[at].1 = text.replace("2031", "2032").into_bytes();
            let refused = tuf::block_on(load(&root, &files, &targets)).unwrap();
            assert!(
                matches!(refused, Err(RehearsalError::Refused { .. })),
                "{}",
                files[at].0
            );
        }
    }
}
