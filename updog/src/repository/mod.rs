//! A signed repository, as a host sees it: refreshed, verified, and read from.
//!
//! tough verifies, our transport fetches, [`trust`] remembers, and `refresh` brings them together.
//!
//! The outside of this module is blocking; the runtime that drives the network stays inside.

pub mod cache;
pub mod cached;
mod check;
mod delegated;
mod error;
mod kept;
mod known_state;
mod known_transport;
pub mod mirror;
mod network;
pub mod pace;
pub mod ranges;
mod refresh;
mod roles;
mod root_keys;
pub mod save;
mod target;
pub mod transport;
pub mod trust;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use snafu::{OptionExt, ResultExt, ensure};
use tokio::sync::mpsc;
use tough::schema::{Root, Signed};
use tough::{IntoVec as _, Repository, Transport as _};
use update_metadata::{MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest};
use url::Url;

use self::error::{
    CancelledSnafu, ClientSnafu, ManifestSnafu, NotRecordedSnafu, ReadTargetSnafu, RuntimeSnafu,
    TargetTooLargeSnafu,
};
pub use self::error::{RepositoryError, ToughError, shown};
pub use self::kept::{KeptTrust, kept_trust};
use self::network::Network;
pub use self::ranges::{Chunk, RangeReader, RangesError};
pub use self::roles::TrustedRole;
pub use self::target::{SignedTarget, TargetReader};
use self::transport::{RepositoryTransport, TransportSettings};
pub use self::trust::{TrustError, TrustStore, TrustedRoot};
use crate::watch::Watch;

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
    /// How it is reached.
    pub transport: TransportSettings,
    /// Sent with every request, see [`UpdateRepository::add_query`].
    pub query: Vec<(&'static str, String)>,
    /// Who looks on, and whether to stop.
    pub watch: Watch,
}

/// A repository whose metadata were verified, and are unexpired, at the time of the run.
#[derive(Debug)]
pub struct UpdateRepository {
    network: Network,
    transport: RepositoryTransport,
    repository: Arc<Repository>,
    metadata: VerifiedMetadata,
    is_stale: bool,
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
        let network = Network::start().context(RuntimeSnafu)?;
        let transport = RepositoryTransport::new(&settings).with_context(|_| ClientSnafu {
            url: settings.metadata_base_url.clone(),
        })?;
        for (key, value) in &settings.query {
            transport.add_query(key, value);
        }
        let refresh = refresh::refresh(&settings, &transport, now);
        let refreshed = network
            .block_on(settings.watch.cancel(), refresh)
            .with_context(|_| CancelledSnafu {
                url: settings.metadata_base_url.clone(),
            })??;
        Ok(Self {
            network,
            transport,
            repository: Arc::new(refreshed.repository),
            metadata: refreshed.metadata,
            is_stale: refreshed.is_stale,
            settings,
        })
    }

    /// Whether the server had only an older state than the trusted one, which is therefore in use.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Who looks on, and whether to stop.
    pub(crate) fn watch(&self) -> &Watch {
        &self.settings.watch
    }

    /// Sends `key=value` with every request from now on.
    pub fn add_query(&self, key: &str, value: &str) {
        self.transport.add_query(key, value);
    }

    /// The verified metadata of this run.
    pub fn metadata(&self) -> &VerifiedMetadata {
        &self.metadata
    }

    /// The metadata of the roles that the targets role delegates to, with the names of their files,
    /// byte for byte as received. Nothing is read of them; but no other client gets by without them.
    ///
    /// # Errors
    /// [`RepositoryError::DelegatedName`] where a copy could not be complete.
    pub fn delegated_metadata(&self) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
        let (targets, snapshot) = (self.repository.targets(), self.repository.snapshot());
        delegated::file_names(&targets.signed, &snapshot.signed, self.is_consistent())?
            .into_iter()
            .map(|name| {
                let bytes = self.transport.received(&name);
                let bytes = bytes.context(NotRecordedSnafu { name: &name })?;
                Ok((name, bytes))
            })
            .collect()
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
        SignedTarget::find(&self.repository.targets().signed, name)
    }

    /// Starts to fetch `target`. Dropping the reader ends the transfer. When the run is to stop, a
    /// read fails with [`Cancelled`](crate::cancel::Cancelled), however long the server says nothing.
    pub fn open(&self, target: &SignedTarget) -> TargetReader {
        let (sender, receiver) = mpsc::channel(TARGET_CHUNKS_AHEAD);
        let repository = self.repository.clone();
        let name = target.tough_name.clone();
        let cancel = self.settings.watch.cancel().clone();
        let told = sender.clone();
        let transfer = async move {
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
        };
        self.network.spawn(async move {
            if let Err(cancelled) = cancel.unless(transfer).await {
                // As above.
                let _ = told.send(Err(cancelled.into())).await;
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
            let cancel = self.settings.watch.cancel();
            let bytes = self.network.block_on(cancel, fetch).ok()?.ok()?;
            (u64::try_from(bytes.len())
                .is_ok_and(|length| length <= self.settings.transport.limits.root))
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
