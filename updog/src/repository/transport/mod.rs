//! How bytes come from a repository: HTTP and `file://`, for metadata and targets alike.
//!
//! What arrives is not trusted here; tough judges it. This layer promises that it ends (every
//! transfer has a connect and a stall timeout, a bounded number of tries without progress, and
//! metadata a size cap), that a body is one body (a continued transfer is checked to be the same
//! file at the right place), that nothing is asked for outside the repository's two folders, and
//! that what was received as metadata can be had again byte for byte.

mod address;
mod body;
mod client;
mod content_range;
mod delivery;
mod error;
mod file;
mod parts;
mod rate;
mod redirect;
mod request;
mod settings;
mod stopwatch;
mod transfer;
mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use reqwest::Client;
use tokio::sync::mpsc;
use tough::{Transport, TransportError, TransportStream};
use url::Url;

use self::address::Places;
pub use self::client::ClientError;
use self::rate::RateLimit;
pub use self::settings::{
    ClientIdentity, MAX_METADATA_BYTES, MetadataLimits, RATES, TransportSettings,
};
pub(super) use self::tries::Counts;
use super::RepositorySettings;
use super::ranges::{Chunk, RangesError};
use crate::watch::Watch;

/// Chunks that wait for a slow reader. A chunk is what one read of the socket or file gave.
const CHUNKS_AHEAD: usize = 16;

/// The transport under tough. Clones share the client, the query parameters and the record.
#[derive(Debug, Clone)]
pub struct RepositoryTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    places: Places,
    stall_timeout: Duration,
    outage_timeout: Duration,
    /// Of all targets together.
    rate: Option<RateLimit>,
    watch: Watch,
    limits: MetadataLimits,
    /// Whether caches on the way are asked to look at the origin.
    fresh: AtomicBool,
    /// Sent with every HTTP request, sorted by key; a key may occur twice.
    query: Mutex<BTreeSet<(String, String)>>,
    /// Metadata files by name, exactly as received.
    record: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl RepositoryTransport {
    /// A client for `settings`; nothing is fetched yet.
    ///
    /// # Errors
    /// When the authorities or the client certificate of `settings` are not what they must be, or
    /// the system's TLS configuration cannot be read.
    pub fn new(settings: &RepositorySettings) -> Result<Self, ClientError> {
        let transport = &settings.transport;
        let places = Places {
            metadata: settings.metadata_base_url.clone(),
            targets: settings.targets_base_url.clone(),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                client: client::build(transport, places.uses_https())?,
                places,
                stall_timeout: transport.stall_timeout,
                outage_timeout: transport.outage_timeout,
                rate: transport.max_rate.map(RateLimit::new),
                watch: settings.watch.clone(),
                limits: transport.limits,
                fresh: AtomicBool::new(false),
                query: Mutex::default(),
                record: Mutex::default(),
            }),
        })
    }

    /// Sends `key=value` with every request from now on.
    pub fn add_query(&self, key: &str, value: &str) {
        lock(&self.shared.query).insert((key.to_owned(), value.to_owned()));
    }

    /// From now on every request for metadata asks the caches on its way to answer with what the
    /// origin has (`Cache-Control: no-cache`).
    pub fn bypass_caches(&self) {
        self.shared.fresh.store(true, Ordering::Relaxed);
    }

    /// Fetches `ranges` of what tough calls `url`, a file of `length` bytes, into `sink`. A failure is
    /// the last item.
    pub(super) async fn fetch_ranges(
        &self,
        url: Url,
        length: u64,
        ranges: Vec<Range<u64>>,
        counts: Arc<Counts>,
        sink: mpsc::Sender<Result<Chunk, RangesError>>,
    ) {
        let shared = self.shared.clone();
        shared
            .transfer_parts(url, length, ranges, counts, sink)
            .await;
    }

    /// The metadata file `name` as it was received last. It may not have been accepted since.
    pub fn received(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.shared.record).get(name).cloned()
    }
}

#[async_trait]
impl Transport for RepositoryTransport {
    /// Never fails at once: a failure is the stream's item, because tough takes an error here in
    /// the root chain for the end of the chain.
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(self.shared.clone().transfer(url, sender));
        Ok(Box::pin(stream::poll_fn(move |context| {
            receiver.poll_recv(context)
        })))
    }
}

/// A panic elsewhere leaves whatever is locked here whole: no change can fail in its middle.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
