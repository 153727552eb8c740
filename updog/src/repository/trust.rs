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

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tough::schema::{Root, Signed};

use super::known_state::KeptFiles;
use super::transport::MAX_METADATA_BYTES;
use super::versions::{SeenVersions, Versions};
use crate::durable::{self, ReplaceError};

/// A turn is a few file writes long; together they are waited for half a minute.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// How far the repository has come.
const VERSIONS: &str = "versions.json";

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
    /// Another run keeps the folder locked, or it cannot be locked.
    #[snafu(display("locking {}", path.display()))]
    Lock { path: PathBuf, source: io::Error },
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
    /// The folder of the chain of roots.
    roots: PathBuf,
}

impl TrustStore {
    /// The store in `dir`, made where it does not exist.
    ///
    /// # Errors
    /// [`TrustError::MakeFolder`].
    pub fn open(dir: &Path) -> Result<Self, TrustError> {
        let roots = dir.join("roots");
        fs::create_dir_all(&roots).context(MakeFolderSnafu { path: roots })?;
        Ok(Self::at(dir))
    }

    /// The same for whoever only reads: nothing is made, and a missing folder is an empty one.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            roots: dir.join("roots"),
        }
    }

    /// The same for a repository of files, where the roots lie beside the rest.
    pub(super) fn with_roots_in(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            roots: dir.to_owned(),
        }
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

    /// What the last run kept, unverified.
    ///
    /// A file that cannot be read, or is not what was kept (the disk has decayed), cannot protect
    /// any more; the log says so, and the run goes on: nobody has to come and clean up.
    pub(super) fn files(&self) -> KeptFiles {
        let json = |name: &str| {
            let bytes = self.read(name)?;
            if serde_json::from_slice::<serde_json::Value>(&bytes).is_err() {
                tracing::warn!("{} is damaged and not used", self.dir.join(name).display());
                return None;
            }
            Some(bytes)
        };
        KeptFiles {
            timestamp: json("timestamp.json"),
            snapshot: json("snapshot.json"),
            targets: json("targets.json"),
            versions: match self.versions() {
                SeenVersions::Known(versions) => Some(versions),
                SeenVersions::None | SeenVersions::Newer => None,
            },
        }
    }

    /// The file `name`. `None` on a first run, and where it cannot be read.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        match read_bounded(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!("{} is not used: {error}", path.display());
                }
                None
            }
        }
    }

    /// The versions that were seen.
    fn versions(&self) -> SeenVersions {
        let Some(bytes) = self.read(VERSIONS) else {
            return SeenVersions::None;
        };
        let seen = SeenVersions::from_slice(&bytes);
        let path = self.dir.join(VERSIONS);
        match seen {
            SeenVersions::Known(_) => {}
            SeenVersions::Newer => tracing::warn!(
                "{} was written by a newer version and is not used",
                path.display()
            ),
            SeenVersions::None => tracing::warn!(
                "{} is damaged: this run cannot tell whether the repository went back to an older \
                 state than the kept metadata show",
                path.display()
            ),
        }
        seen
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
            .and_then(wait_for_lock)
            .context(LockSnafu { path })?;
        durable::remove_strays(&self.dir);
        durable::remove_strays(&self.roots);
        Ok(TrustWriter {
            store: self,
            _lock: lock,
        })
    }

    fn root_path(&self, version: u64) -> PathBuf {
        self.roots.join(format!("{version}.root.json"))
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

    /// Keeps the role file `name`, such as `timestamp.json`, if it is not what is kept already.
    ///
    /// # Errors
    /// [`TrustError::Keep`].
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let path = self.store.dir.join(name);
        if read_bounded(&path).is_ok_and(|kept| kept == bytes) {
            return Ok(());
        }
        durable::replace(&path, bytes).context(KeepSnafu)
    }

    /// The versions that were seen up to now, by any run.
    pub(super) fn versions(&self) -> SeenVersions {
        self.store.versions()
    }

    /// Keeps the versions that were seen. Comes before the file that brings a new one.
    ///
    /// # Errors
    /// [`TrustError::Keep`].
    pub(super) fn keep_versions(&self, versions: &Versions) -> Result<(), TrustError> {
        self.keep(VERSIONS, &versions.to_vec())
    }
}

/// Waits for the lock, and not for ever: a process that was stopped in its turn must not hold up
/// every other one.
fn wait_for_lock(file: File) -> io::Result<File> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "another process keeps it locked",
    ))
}

/// The file, if it is not larger than any metadata file.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_METADATA_BYTES).unwrap_or(u64::MAX);
    let read = crate::durable::read(path, limit.saturating_add(1))?;
    let bytes = read.ok_or(ErrorKind::NotFound)?;
    if bytes.len() > MAX_METADATA_BYTES {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "larger than any metadata file",
        ));
    }
    Ok(bytes)
}
