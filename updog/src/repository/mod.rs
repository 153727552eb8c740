//! A signed repository, as a host sees it: refreshed, verified, and read from.
//!
//! tough verifies, our transport fetches, [`trust`] remembers. tough works on a scratch folder that
//! is seeded with what was trusted last time, with its own expiry checks off: expiry is judged
//! here, role by role in the order of the TUF specification (5.3 to 5.6), at the one time that a
//! run has. What passes is kept file by file in that order, root first and before its expiry is
//! judged, so that a host can always follow a key rotation.
//!
//! The outside of this module is blocking; the runtime that drives the network stays inside.

pub mod cache;
mod error;
pub mod pace;
mod target;
pub mod transport;
pub mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt as _;
use jiff::Timestamp as JiffTimestamp;
use snafu::{OptionExt, ResultExt, ensure};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tough::schema::{RoleType, Root, Signed};
use tough::{
    ExpirationEnforcement, IntoVec as _, Limits, Repository, RepositoryLoader, TargetName,
    Transport as _,
};
use update_metadata::{Digest, MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest};
use url::Url;

use self::error::{
    ClientSnafu, ExpiredSnafu, ManifestSnafu, NoTargetSnafu, NotRecordedSnafu, ReadTargetSnafu,
    RefreshSnafu, RuntimeSnafu, ScratchSnafu, TargetDigestSnafu, TargetNameSnafu,
    TargetTooLargeSnafu, TrustSnafu, shown,
};
pub use self::error::{RepositoryError, ToughError};
pub use self::target::{SignedTarget, TargetReader};
use self::transport::RepositoryTransport;
pub use self::trust::{TrustError, TrustStore, TrustedRoot};

/// Roots that are followed in one run. Each is a file fetched and two thresholds of signatures.
const MAX_ROOT_UPDATES: u64 = 1024;
const TARGET_CHUNKS_AHEAD: usize = 16;

/// Which repository, how it is reached and what is trusted of it.
#[derive(Debug, Clone)]
pub struct RepositorySettings {
    /// Ends with a slash.
    pub metadata_base_url: Url,
    /// Ends with a slash.
    pub targets_base_url: Url,
    /// The shipped root of trust.
    pub trusted_root: PathBuf,
    /// Where the trusted metadata are kept between runs.
    pub trust_dir: PathBuf,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still before its connection is given up.
    pub stall_timeout: Duration,
    /// How long a transfer may bring nothing before it is given up.
    pub outage_timeout: Duration,
    /// The proxy for https.
    pub https_proxy: Option<Url>,
    /// Hosts reached without it.
    pub no_proxy: Vec<String>,
    /// Sent with every request, see [`UpdateRepository::add_query`].
    pub query: Vec<(&'static str, String)>,
}

impl RepositorySettings {
    fn uses_https(&self) -> bool {
        [&self.metadata_base_url, &self.targets_base_url]
            .iter()
            .any(|url| url.scheme() == "https")
    }
}

/// A repository whose metadata were verified, and are unexpired, at the time of the run.
#[derive(Debug)]
pub struct UpdateRepository {
    runtime: Runtime,
    transport: RepositoryTransport,
    repository: Arc<Repository>,
    metadata: VerifiedMetadata,
    settings: RepositorySettings,
}

/// The metadata files of one verified state of a repository, byte for byte as received.
#[derive(Debug)]
pub struct VerifiedMetadata {
    /// The newest root.
    pub root: TrustedRoot,
    /// `timestamp.json`.
    pub timestamp: Vec<u8>,
    /// Its file name, with the version under consistent snapshots, and its bytes.
    pub snapshot: (String, Vec<u8>),
    /// Its file name, with the version under consistent snapshots, and its bytes.
    pub targets: (String, Vec<u8>),
}

impl UpdateRepository {
    /// Fetches and verifies the metadata, and keeps what passed.
    ///
    /// After an error, what was kept is what the specification would keep: each role that passed
    /// before the one that failed.
    ///
    /// # Errors
    /// Every [`RepositoryError`] but those about targets.
    pub fn refresh(
        settings: RepositorySettings,
        now: DateTime<Utc>,
    ) -> Result<Self, RepositoryError> {
        let url = settings.metadata_base_url.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context(RuntimeSnafu)?;
        let transport =
            RepositoryTransport::new(&settings).context(ClientSnafu { url: url.clone() })?;
        for (key, value) in &settings.query {
            transport.add_query(key, value);
        }
        let trust = TrustStore::open(&settings.trust_dir).context(TrustSnafu)?;
        let start = trust
            .newest_root(&settings.trusted_root)
            .context(TrustSnafu)?;
        let scratch = tempfile::tempdir().context(ScratchSnafu)?;
        trust.seed(scratch.path()).context(TrustSnafu)?;

        let loaded = runtime.block_on(
            RepositoryLoader::new(
                &start.bytes,
                settings.metadata_base_url.clone(),
                settings.targets_base_url.clone(),
            )
            .transport(transport.clone())
            .limits(Limits { max_root_updates: MAX_ROOT_UPDATES, ..Limits::default() })
            .datastore(scratch.path())
            // Judged below, at the run's own time. tough would look at the clock again for every
            // target, and fail a run whose clock is set back while it downloads.
            .expiration_enforcement(ExpirationEnforcement::Unsafe)
            .load(),
        );
        // The new roots count even when a later role failed.
        let root = accepted_root(&start, scratch.path(), &transport)?;
        {
            let writer = trust.writer().context(TrustSnafu)?;
            // Keys that are no longer trusted may have signed versions too high to be reached
            // again (specification 5.3.11). First, so that a cut between the two forgets no less.
            if rotates(&start.root, &root.newest.root) {
                writer.forget_versions().context(TrustSnafu)?;
            }
            for (version, bytes) in &root.chain {
                writer.keep_root(*version, bytes).context(TrustSnafu)?;
            }
        }
        let repository = loaded.context(RefreshSnafu { url })?;
        let metadata = keep_in_order(&repository, root.newest, &transport, &trust, &settings, now)?;
        Ok(Self {
            runtime,
            transport,
            repository: Arc::new(repository),
            metadata,
            settings,
        })
    }

    /// Sends `key=value` with every request from now on.
    pub fn add_query(&self, key: &str, value: &str) {
        self.transport.add_query(key, value);
    }

    /// The verified metadata of this run.
    pub fn metadata(&self) -> &VerifiedMetadata {
        &self.metadata
    }

    /// Whether targets are named with their digest, `HASH.NAME`.
    pub fn is_consistent(&self) -> bool {
        self.repository.root().signed.consistent_snapshot
    }

    /// The signed facts of target `name`.
    ///
    /// # Errors
    /// [`RepositoryError::NoTarget`] when the metadata list none of that name.
    pub fn target(&self, name: &str) -> Result<SignedTarget, RepositoryError> {
        let tough_name = TargetName::new(name).context(TargetNameSnafu { name })?;
        let target = self
            .repository
            .targets()
            .signed
            .find_target(&tough_name, false)
            .ok()
            .context(NoTargetSnafu { name })?;
        let sha256 = <[u8; 32]>::try_from(target.hashes.sha256.as_ref())
            .ok()
            .context(TargetDigestSnafu { name })?;
        Ok(SignedTarget {
            tough_name,
            length: target.length,
            sha256: Digest::from(sha256),
        })
    }

    /// Starts to fetch `target`. Dropping the reader ends the transfer.
    pub fn open(&self, target: &SignedTarget) -> TargetReader {
        let (sender, receiver) = mpsc::channel(TARGET_CHUNKS_AHEAD);
        let repository = self.repository.clone();
        let name = target.tough_name.clone();
        self.runtime.spawn(async move {
            // A send fails only when the reader is gone; then nobody is left to tell.
            let failed = |error| Err(std::io::Error::other(ToughError::from(error)));
            let mut stream = match repository.read_target(&name).await {
                Ok(Some(stream)) => Box::pin(stream),
                // The caller's `SignedTarget` came from the same metadata, so it is listed.
                Ok(None) => return,
                Err(error) => {
                    let _ = sender.send(failed(error)).await;
                    return;
                }
            };
            while let Some(chunk) = stream.next().await {
                if sender.send(chunk.or_else(failed)).await.is_err() {
                    return;
                }
            }
        });
        TargetReader::new(target.clone(), receiver)
    }

    /// The whole of `target`, verified, if it is not larger than `limit`.
    ///
    /// # Errors
    /// [`RepositoryError::TargetTooLarge`] before anything is fetched.
    pub fn read(&self, target: &SignedTarget, limit: u64) -> Result<Vec<u8>, RepositoryError> {
        ensure!(
            target.length <= limit,
            TargetTooLargeSnafu {
                name: target.name(),
                length: target.length,
                limit
            }
        );
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut self.open(target), &mut bytes).context(
            ReadTargetSnafu {
                name: target.name(),
            },
        )?;
        Ok(bytes)
    }

    /// The manifest.
    ///
    /// # Errors
    /// When it is not listed, cannot be fetched, does not verify or does not parse.
    pub fn manifest(&self) -> Result<Manifest, RepositoryError> {
        let target = self.target(MANIFEST_TARGET)?;
        let bytes = self.read(&target, MAX_MANIFEST_BYTES)?;
        Manifest::from_slice(&bytes).context(ManifestSnafu)
    }

    /// A root older than the newest, from this host's chain, the shipped root, the cache or else the
    /// repository; `None` where none has one that leads to `next`.
    ///
    /// A root from the repository proves nothing of itself: anybody can name the keys that signed
    /// `next`. A migrator that starts at an older root checks it against that one, so a forged one
    /// makes it fail, as a missing one would; hence everything of our own is preferred.
    fn older_root(&self, version: u64, next: &Signed<Root>, cached: &Path) -> Option<TrustedRoot> {
        let kept = || {
            TrustStore::open(&self.settings.trust_dir)
                .ok()?
                .kept_root(version)
        };
        let shipped = || trust::read_bounded(&self.settings.trusted_root).ok();
        let cached = || trust::read_bounded(cached).ok();
        let fetched = || {
            let url = self
                .settings
                .metadata_base_url
                .join(&format!("{version}.root.json"))
                .ok()?;
            let fetch = async { self.transport.fetch(url).await?.into_vec().await };
            let bytes = self.runtime.block_on(fetch).ok()?;
            (u64::try_from(bytes.len())
                .is_ok_and(|length| length <= Limits::default().max_root_size))
            .then_some(bytes)
        };
        let usable = |bytes: Vec<u8>| {
            let root: Signed<Root> = serde_json::from_slice(&bytes).ok()?;
            let leads_on =
                root.signed.version.get() == version && root.signed.verify_role(next).is_ok();
            leads_on.then_some(TrustedRoot { root, bytes })
        };
        kept()
            .and_then(usable)
            .or_else(|| shipped().and_then(usable))
            .or_else(|| cached().and_then(usable))
            .or_else(|| fetched().and_then(usable))
    }
}

/// Whether the keys of timestamp or snapshot are others in `new`, as tough sees it.
fn rotates(old: &Signed<Root>, new: &Signed<Root>) -> bool {
    [RoleType::Timestamp, RoleType::Snapshot]
        .into_iter()
        .any(|role| old.signed.keys(role).ne(new.signed.keys(role)))
}

/// What tough accepted of the root chain.
struct AcceptedRoot {
    newest: TrustedRoot,
    /// The new ones, oldest first.
    chain: Vec<(u64, Vec<u8>)>,
}

fn accepted_root(
    start: &TrustedRoot,
    scratch: &Path,
    transport: &RepositoryTransport,
) -> Result<AcceptedRoot, RepositoryError> {
    let mut accepted = AcceptedRoot {
        newest: start.clone(),
        chain: Vec::new(),
    };
    let first = start.root.signed.version.get();
    // tough writes each accepted root here, in its own form; only its version is of use.
    let Some(last) = std::fs::read(scratch.join("root.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Signed<Root>>(&bytes).ok())
        .map(|root| root.signed.version.get())
    else {
        return Ok(accepted);
    };
    for version in first.saturating_add(1)..=last {
        let name = format!("{version}.root.json");
        let bytes = transport
            .received(&name)
            .context(NotRecordedSnafu { name: &name })?;
        let root = serde_json::from_slice(&bytes)
            .ok()
            .context(NotRecordedSnafu { name })?;
        accepted.chain.push((version, bytes.clone()));
        accepted.newest = TrustedRoot { root, bytes };
    }
    Ok(accepted)
}

/// Judges the expiry of each role at `now`, in order, and keeps each that passes.
fn keep_in_order(
    repository: &Repository,
    root: TrustedRoot,
    transport: &RepositoryTransport,
    trust: &TrustStore,
    settings: &RepositorySettings,
    now: DateTime<Utc>,
) -> Result<VerifiedMetadata, RepositoryError> {
    let judge = |role: &'static str, expires: JiffTimestamp| {
        let at = JiffTimestamp::from_second(now.timestamp()).unwrap_or(JiffTimestamp::MAX);
        ensure!(
            at < expires,
            ExpiredSnafu {
                role,
                url: settings.metadata_base_url.clone(),
                expired: expires.to_string(),
                now: now.to_rfc3339_opts(SecondsFormat::Secs, true)
            }
        );
        Ok(())
    };
    let received = |name: String| {
        let bytes = transport
            .received(&name)
            .context(NotRecordedSnafu { name: &name })?;
        Ok((name, bytes))
    };
    let versioned = |version: u64, role: &str| {
        if repository.root().signed.consistent_snapshot {
            format!("{version}.{role}.json")
        } else {
            format!("{role}.json")
        }
    };
    let timestamp = &repository.timestamp().signed;
    let snapshot = &repository.snapshot().signed;
    let targets = &repository.targets().signed;
    let metadata = VerifiedMetadata {
        timestamp: received("timestamp.json".to_owned())?.1,
        snapshot: received(versioned(snapshot.version.get(), "snapshot"))?,
        targets: received(versioned(targets.version.get(), "targets"))?,
        root,
    };
    judge("root", repository.root().signed.expires)?;
    let writer = trust.writer().context(TrustSnafu)?;
    // A faster run may have kept newer metadata; ours still count for this run.
    let overtaken = writer.is_overtaken(&metadata.root.root, timestamp.version.get());
    for (role, expires, bytes) in [
        ("timestamp", timestamp.expires, &metadata.timestamp),
        ("snapshot", snapshot.expires, &metadata.snapshot.1),
        ("targets", targets.expires, &metadata.targets.1),
    ] {
        judge(role, expires)?;
        if !overtaken {
            writer
                .keep(&format!("{role}.json"), bytes)
                .context(TrustSnafu)?;
        }
    }
    Ok(metadata)
}
