//! The record of a set: `state_dir/sets/A.json` and `B.json`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use signpost::Slot;
use snafu::{ResultExt, Snafu};
use tempfile::NamedTempFile;
use update_metadata::{ImageKind, RawImage, Stored, Verity};

use super::blocks::BlockDigests;
use crate::durable::{self, ReplaceError};

/// The version of the record's form. A newer engine's record is not read, and goes only with the
/// set that it describes: when that is written again.
const SCHEMA: u32 = 1;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What was signed of a set, and when it was last found to be on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFacts {
    /// The version of this form, 1.
    pub schema: u32,
    /// What the images are.
    pub variant: String,
    /// The same.
    pub arch: String,
    /// The same.
    pub version: Version,
    /// The tree of the root image; its root hash is the set's identity.
    pub verity: Verity,
    /// The decoded images.
    pub images: ImageFacts,
    /// The blocks of the boot image, which has no tree; taken when it was last found to be good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_blocks: Option<BlockDigests>,
    /// The last time that every byte was read and compared.
    pub verified: Verified,
}

/// Length and digest of each decoded image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Of the boot image.
    pub boot: RawImage,
    /// Of the root image.
    pub root: RawImage,
    /// Of the hash image.
    pub hash: RawImage,
}

impl ImageFacts {
    /// Of one image.
    pub fn get(&self, kind: ImageKind) -> &RawImage {
        match kind {
            ImageKind::Boot => &self.boot,
            ImageKind::Root => &self.root,
            ImageKind::Hash => &self.hash,
        }
    }
}

/// When a set was last verified; never is the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// By this host's clock.
    pub at: DateTime<Utc>,
    /// In which boot: the kernel's boot id, or empty where there is none.
    pub boot_id: String,
}

impl Verified {
    /// Not on this host, or it was found to be damaged since.
    pub fn never() -> Self {
        Self {
            at: DateTime::UNIX_EPOCH,
            boot_id: String::new(),
        }
    }

    /// Whether that was in the boot with this id; an empty one is no boot.
    pub fn is_in(&self, boot_id: &str) -> bool {
        !boot_id.is_empty() && self.boot_id == boot_id
    }
}

impl SetFacts {
    /// Facts in the present form.
    pub fn new(
        variant: String,
        arch: String,
        version: Version,
        verity: Verity,
        images: ImageFacts,
        boot_blocks: Option<BlockDigests>,
        verified: Verified,
    ) -> Self {
        Self {
            schema: SCHEMA,
            variant,
            arch,
            version,
            verity,
            images,
            boot_blocks,
            verified,
        }
    }
}

/// Why a record cannot be read or written.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum FactsError {
    /// The folder cannot be made.
    #[snafu(display("making files in the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// The record cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The record cannot be written.
    #[snafu(display("recording what was written"))]
    Write { source: ReplaceError },
    /// The record cannot be removed.
    #[snafu(display("removing {}", path.display()))]
    Remove { path: PathBuf, source: io::Error },
}

/// The folder of the records. Its writer holds the session lock.
#[derive(Debug)]
pub struct FactsStore {
    dir: PathBuf,
}

impl FactsStore {
    /// The records in `state_dir/sets`.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("sets"),
        }
    }

    /// The record of `slot`. `None` where there is none, or none that this version understands;
    /// the log says which.
    ///
    /// # Errors
    /// [`FactsError::Read`] when the file is there and cannot be read.
    pub fn load(&self, slot: Slot) -> Result<Option<SetFacts>, FactsError> {
        let path = self.path(slot);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        match Stored::from_slice(&bytes, SCHEMA) {
            Ok(Stored::Known(facts)) => Ok(Some(facts)),
            Ok(Stored::Newer) => {
                tracing::warn!("{} was written by a newer version", path.display());
                Ok(None)
            }
            Err(error) => {
                tracing::warn!("{} is not understood: {error}", path.display());
                Ok(None)
            }
        }
    }

    /// Makes the folder, and makes sure that a record can be written there: better known before the
    /// old set is given up than after.
    ///
    /// # Errors
    /// [`FactsError::MakeFolder`].
    pub fn make_ready(&self) -> Result<(), FactsError> {
        fs::create_dir_all(&self.dir)
            .and_then(|()| NamedTempFile::new_in(&self.dir))
            .map(drop)
            .context(MakeFolderSnafu { path: &self.dir })
    }

    /// Records what `slot` holds now.
    ///
    /// # Errors
    /// [`FactsError::MakeFolder`] and [`FactsError::Write`].
    pub fn save(&self, slot: Slot, facts: &SetFacts) -> Result<(), FactsError> {
        fs::create_dir_all(&self.dir).context(MakeFolderSnafu { path: &self.dir })?;
        durable::remove_strays(&self.dir);
        let mut json = serde_json::to_vec_pretty(facts).expect("plain data with string keys");
        json.push(b'\n');
        durable::replace(&self.path(slot), &json).context(WriteSnafu)
    }

    /// Records that what `slot` holds was verified. A newer engine's record of it stays as it is, so
    /// that this is not remembered.
    ///
    /// # Errors
    /// Every [`FactsError`] but [`FactsError::Remove`].
    pub fn confirm(&self, slot: Slot, facts: &SetFacts) -> Result<(), FactsError> {
        if read(&self.path(slot))?.is_some_and(|bytes| is_newer(&bytes)) {
            return Ok(());
        }
        self.save(slot, facts)
    }

    /// Forgets what `slot` held; it is about to hold something else.
    ///
    /// # Errors
    /// [`FactsError::Remove`].
    pub fn forget(&self, slot: Slot) -> Result<(), FactsError> {
        let path = self.path(slot);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(source).context(RemoveSnafu { path })
            }
            _ => Ok(()),
        }
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.dir.join(format!("{slot}.json"))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FactsError> {
    durable::read(path, MAX_FILE_BYTES).context(ReadSnafu { path })
}

fn is_newer(bytes: &[u8]) -> bool {
    matches!(
        Stored::<SetFacts>::from_slice(bytes, SCHEMA),
        Ok(Stored::Newer)
    )
}

#[cfg(test)]
mod tests {
    use update_metadata::{Digest, Salt, VerityAlgorithm};

    use super::*;

    fn facts() -> SetFacts {
        let image = RawImage {
            length: 4096,
            sha256: Digest::from([1; 32]),
        };
        SetFacts::new(
            "demo".into(),
            "x86_64".into(),
            Version::new(1, 2, 3),
            Verity {
                algorithm: VerityAlgorithm::Sha256,
                root_hash: Digest::from([2; 32]),
                salt: Salt::new(vec![3; 32]).unwrap(),
                data_block_size: 4096,
                hash_block_size: 4096,
                data_blocks: 1,
            },
            ImageFacts {
                boot: image,
                root: image,
                hash: image,
            },
            Some(BlockDigests {
                block_size: 4096,
                sha256: vec![Digest::from([1; 32])],
            }),
            Verified {
                at: "2031-03-01T01:00:00Z".parse().unwrap(),
                boot_id: "boot".into(),
            },
        )
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_forgotten_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = FactsStore::new(dir.path());
        assert_eq!(store.load(Slot::A).unwrap(), None);
        store.save(Slot::A, &facts()).unwrap();
        assert_eq!(store.load(Slot::A).unwrap(), Some(facts()));
        assert_eq!(store.load(Slot::B).unwrap(), None);
        store.forget(Slot::A).unwrap();
        store.forget(Slot::A).unwrap();
        assert_eq!(store.load(Slot::A).unwrap(), None);
    }

    #[test]
    fn a_record_without_the_boot_images_blocks_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut json = serde_json::to_value(facts()).unwrap();
        json.as_object_mut().unwrap().remove("boot_blocks").unwrap();
        fs::create_dir(dir.path().join("sets")).unwrap();
        fs::write(dir.path().join("sets/A.json"), json.to_string()).unwrap();
        let loaded = FactsStore::new(dir.path()).load(Slot::A).unwrap();
        assert_eq!(
            loaded,
            Some(SetFacts {
                boot_blocks: None,
                ..facts()
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_no_record_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = FactsStore::new(dir.path());
        fs::create_dir(dir.path().join("sets")).unwrap();
        let newer = serde_json::to_string(&SetFacts {
            schema: 2,
            ..facts()
        })
        .unwrap();
        for text in ["", "{", "[]", "{\"schema\": 1}", &newer] {
            fs::write(dir.path().join("sets/A.json"), text).unwrap();
            assert_eq!(store.load(Slot::A).unwrap(), None, "{text}");
        }
        // The last one is a newer engine's: only a set that is written again takes its place.
        store.confirm(Slot::A, &facts()).unwrap();
        assert_eq!(store.load(Slot::A).unwrap(), None);
        store.save(Slot::A, &facts()).unwrap();
        assert_eq!(store.load(Slot::A).unwrap(), Some(facts()));
    }
}
