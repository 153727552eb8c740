//! What this host trusts of a repository, kept between runs: the chain of roots, and the last
//! accepted timestamp, snapshot and targets, each byte for byte as it was verified.
//!
//! The shipped root is the floor: the kept chain counts only as far as it verifies from there, so
//! that neither an old image nor a damaged folder can lead to other keys. A run starts at the
//! newest root of the chain; starting at the shipped one every time would make each run look like
//! a key rotation, after which older metadata are accepted again.
//!
//! Any number of runs may read at once. Writers take turns ([`TrustStore::writer`]), and none
//! replaces what a faster one kept of a newer repository.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use tough::schema::{Root, Signed, Timestamp};

use super::transport::MAX_METADATA_BYTES;
use crate::durable::{self, ReplaceError};

/// Why the trusted state cannot be read or written.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum TrustError {
    /// The shipped root of trust cannot be read.
    #[snafu(display("reading the trusted root {}", path.display()))]
    ReadRoot { path: PathBuf, source: io::Error },
    /// The shipped root of trust is not a signed root.
    #[snafu(display("the trusted root {} is not a TUF root", path.display()))]
    ParseRoot {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The shipped root of trust is not signed by its own keys.
    #[snafu(display("the trusted root {} is not signed by its own keys", path.display()))]
    VerifyRoot {
        path: PathBuf,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// The folder cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// A kept file cannot be copied to where tough looks for it.
    #[snafu(display("writing {}", path.display()))]
    Seed { path: PathBuf, source: io::Error },
    /// Another run keeps the folder locked, or it cannot be locked.
    #[snafu(display("locking {}", path.display()))]
    Lock { path: PathBuf, source: io::Error },
    /// A file cannot be removed.
    #[snafu(display("removing {}", path.display()))]
    Forget { path: PathBuf, source: io::Error },
    /// A file cannot be replaced.
    #[snafu(display("keeping verified metadata"))]
    Keep { source: ReplaceError },
}

/// A verified root: what it says, and the bytes that say it.
#[derive(Debug, Clone)]
pub struct TrustedRoot {
    /// As parsed by tough.
    pub root: Signed<Root>,
    /// As received.
    pub bytes: Vec<u8>,
}

/// The folder `state_dir/tuf`.
#[derive(Debug)]
pub struct TrustStore {
    dir: PathBuf,
}

impl TrustStore {
    /// The store in `dir`, made where it does not exist.
    ///
    /// # Errors
    /// [`TrustError::MakeFolder`].
    pub fn open(dir: &Path) -> Result<Self, TrustError> {
        let roots = dir.join("roots");
        fs::create_dir_all(&roots).context(MakeFolderSnafu {
            path: roots.clone(),
        })?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The newest kept root that a chain of signatures leads to from the root at `shipped`.
    ///
    /// A kept file that does not verify ends the chain there: what is newer is fetched again.
    ///
    /// # Errors
    /// When the shipped root is unreadable or not signed by its own keys; nothing can be trusted
    /// then.
    pub fn newest_root(&self, shipped: &Path) -> Result<TrustedRoot, TrustError> {
        let bytes = read_bounded(shipped).context(ReadRootSnafu { path: shipped })?;
        let root: Signed<Root> =
            serde_json::from_slice(&bytes).context(ParseRootSnafu { path: shipped })?;
        root.signed
            .verify_role(&root)
            .context(VerifyRootSnafu { path: shipped })?;
        let mut newest = TrustedRoot { root, bytes };
        while let Some(version) = newest.root.signed.version.get().checked_add(1)
            && let Some(next) = self.next_root(&newest.root, version)
        {
            newest = next;
        }
        Ok(newest)
    }

    fn next_root(&self, current: &Signed<Root>, version: u64) -> Option<TrustedRoot> {
        let path = self.root_path(version);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{} is not used: {error}", path.display());
                return None;
            }
        };
        let root = serde_json::from_slice::<Signed<Root>>(&bytes)
            .ok()
            .filter(|root| {
                root.signed.version.get() == version
                    && current.signed.verify_role(root).is_ok()
                    && root.signed.verify_role(root).is_ok()
            });
        if root.is_none() {
            tracing::warn!("{} does not verify and is not used", path.display());
        }
        root.map(|root| TrustedRoot { root, bytes })
    }

    /// Puts the kept timestamp and snapshot where tough looks for what it trusted last time.
    ///
    /// A file that is not what was kept (the disk has decayed) cannot protect any more; the log
    /// says so, and the run goes on: nobody has to come and clean up.
    ///
    /// # Errors
    /// [`TrustError::Seed`] for one that cannot be read. A missing one is a first run.
    pub fn seed(&self, scratch: &Path) -> Result<(), TrustError> {
        for name in ["timestamp.json", "snapshot.json"] {
            let path = self.dir.join(name);
            match read_bounded(&path) {
                Ok(bytes) => {
                    if serde_json::from_slice::<serde_json::Value>(&bytes).is_err() {
                        tracing::warn!(
                            "{} is damaged: this run cannot tell whether the repository went back \
                             to an older state",
                            path.display()
                        );
                    }
                    fs::write(scratch.join(name), bytes).context(SeedSnafu { path })?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(source).context(SeedSnafu { path }),
            }
        }
        Ok(())
    }

    /// The kept root of `version`, unverified.
    pub fn kept_root(&self, version: u64) -> Option<Vec<u8>> {
        read_bounded(&self.root_path(version)).ok()
    }

    /// Waits for the turn to write. Turns are a few file writes long: nobody fetches in one.
    ///
    /// # Errors
    /// [`TrustError::Lock`].
    pub fn writer(&self) -> Result<TrustWriter<'_>, TrustError> {
        let path = self.dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .context(LockSnafu { path })?;
        durable::remove_strays(&self.dir);
        durable::remove_strays(&self.dir.join("roots"));
        Ok(TrustWriter {
            store: self,
            _lock: lock,
        })
    }

    fn root_path(&self, version: u64) -> PathBuf {
        self.dir.join("roots").join(format!("{version}.root.json"))
    }
}

/// The turn to write, given up when dropped.
#[derive(Debug)]
pub struct TrustWriter<'a> {
    store: &'a TrustStore,
    _lock: File,
}

impl TrustWriter<'_> {
    /// Keeps the root of `version` in the chain.
    ///
    /// # Errors
    /// [`TrustError::Keep`].
    pub fn keep_root(&self, version: u64, bytes: &[u8]) -> Result<(), TrustError> {
        durable::replace(&self.store.root_path(version), bytes).context(KeepSnafu)
    }

    /// Keeps the role file `name`, such as `timestamp.json`.
    ///
    /// # Errors
    /// [`TrustError::Keep`].
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), TrustError> {
        durable::replace(&self.store.dir.join(name), bytes).context(KeepSnafu)
    }

    /// Forgets the kept timestamp and snapshot: their versions bind no more.
    ///
    /// # Errors
    /// [`TrustError::Forget`].
    pub fn forget_versions(&self) -> Result<(), TrustError> {
        for name in ["timestamp.json", "snapshot.json"] {
            let path = self.store.dir.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(source).context(ForgetSnafu { path });
                }
                _ => {}
            }
        }
        durable::sync_dir(&self.store.dir).context(ForgetSnafu {
            path: &self.store.dir,
        })
    }

    /// Whether a faster run kept a newer timestamp, signed under `root`, than `version`.
    pub fn is_overtaken(&self, root: &Signed<Root>, version: u64) -> bool {
        read_bounded(&self.store.dir.join("timestamp.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Signed<Timestamp>>(&bytes).ok())
            .filter(|kept| root.signed.verify_role(kept).is_ok())
            .is_some_and(|kept| kept.signed.version.get() > version)
    }
}

/// The file, if it is not larger than any metadata file.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_METADATA_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_METADATA_BYTES {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "larger than any metadata file",
        ));
    }
    Ok(bytes)
}
