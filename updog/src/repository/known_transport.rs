//! Between tough and the transport: what is no news is not fetched.
//!
//! A timestamp of the version that is trusted already is no news, whatever else it says, and the
//! trusted one is handed on in its place (TUF specification 5.4.3.1). An older one comes from an
//! edge of a delivery network that has not caught up, or from somebody who plays back old files;
//! either way the server is asked once more past the caches, and then the trusted one stays in use
//! for as long as it is valid. In both cases snapshot and targets are the kept ones as well.
//!
//! Nothing is trusted for having come through here: tough judges what is handed on as if it came
//! from the server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use tough::schema::{Root, Signed};
use tough::{IntoVec as _, Transport, TransportError, TransportStream};
use url::Url;

use super::known_state::{KeptFiles, KnownState, News};
use super::transport::{RepositoryTransport, lock};
use super::trust::TrustedRoot;

/// A metadata file of which only the newest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoleFile {
    Timestamp,
    Snapshot,
    Targets,
}

/// The transport that tough is given.
#[derive(Debug, Clone)]
pub(super) struct KnownTransport {
    inner: RepositoryTransport,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metadata_base_url: Url,
    start: TrustedRoot,
    files: KeptFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    news: News,
    /// What is handed on instead of the server's files; nothing while the server has news.
    in_use: KnownState,
    /// What was handed on, by name.
    handed: BTreeMap<String, Vec<u8>>,
}

impl KnownTransport {
    /// Over `inner`, for a host whose newest root is `start` and that kept `files`.
    pub(super) fn new(
        inner: RepositoryTransport,
        metadata_base_url: Url,
        start: TrustedRoot,
        files: KeptFiles,
    ) -> Self {
        let state = Mutex::new(State {
            news: News::Newer,
            in_use: KnownState::default(),
            handed: BTreeMap::new(),
        });
        Self {
            inner,
            shared: Arc::new(Shared {
                metadata_base_url,
                start,
                files,
                state,
            }),
        }
    }

    /// What the server's timestamp was.
    pub(super) fn news(&self) -> News {
        lock(&self.shared.state).news
    }

    /// The metadata file `name` as it was handed on last. It may not have been accepted.
    pub(super) fn handed(&self, name: &str) -> Option<Vec<u8>> {
        let handed = lock(&self.shared.state).handed.get(name).cloned();
        handed.or_else(|| self.inner.received(name))
    }

    /// The name of `url` right in the metadata folder, and whose file it is.
    fn role_file(&self, url: &Url) -> Option<(String, RoleFile)> {
        let base = self.shared.metadata_base_url.as_str();
        let name = url.as_str().strip_prefix(base)?;
        let role = match name.trim_start_matches(|c: char| c.is_ascii_digit()) {
            "timestamp.json" => RoleFile::Timestamp,
            "snapshot.json" | ".snapshot.json" => RoleFile::Snapshot,
            "targets.json" | ".targets.json" => RoleFile::Targets,
            _ => return None,
        };
        Some((name.to_owned(), role))
    }

    /// The newest root that tough accepted: it asks for a timestamp only when it accepted every
    /// root that it was given.
    fn newest_root(&self) -> Signed<Root> {
        let mut newest = self.shared.start.root.clone();
        while let Some(next) = newest
            .signed
            .version
            .get()
            .checked_add(1)
            .and_then(|version| self.inner.received(&format!("{version}.root.json")))
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            newest = next;
        }
        newest
    }

    async fn fetch_whole(&self, url: &Url) -> Result<Vec<u8>, TransportError> {
        self.inner.fetch(url.clone()).await?.into_vec().await
    }

    async fn timestamp(&self, url: &Url) -> Result<Vec<u8>, TransportError> {
        let root = self.newest_root().signed;
        let known = KnownState::under(&root, &self.shared.start.root.signed, &self.shared.files);
        let mut bytes = self.fetch_whole(url).await?;
        let mut news = known.judge(&root, &bytes);
        // One that the root's keys did not sign may be from before a rotation.
        if matches!(news, None | Some(News::Older)) {
            tracing::info!("the server's timestamp is not current; asking again past the caches");
            self.inner.bypass_caches();
            bytes = self.fetch_whole(url).await?;
            news = known.judge(&root, &bytes);
        }
        let news = news.unwrap_or(News::Newer);
        let mut state = lock(&self.shared.state);
        state.news = news;
        if news != News::Newer
            && let Some(trusted) = &known.timestamp
        {
            bytes.clone_from(&trusted.bytes);
            state.in_use = known;
        }
        Ok(bytes)
    }

    /// The kept file, where the kept timestamp is in use and leads to it.
    fn kept(&self, file: RoleFile) -> Option<Vec<u8>> {
        let known = &lock(&self.shared.state).in_use;
        match file {
            RoleFile::Timestamp => None,
            RoleFile::Snapshot => known.snapshot.as_ref().map(|kept| kept.bytes.clone()),
            RoleFile::Targets => known.targets.as_ref().map(|kept| kept.bytes.clone()),
        }
    }
}

#[async_trait]
impl Transport for KnownTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let Some((name, file)) = self.role_file(&url) else {
            return self.inner.fetch(url).await;
        };
        let result = if file == RoleFile::Timestamp {
            self.timestamp(&url).await
        } else if let Some(kept) = self.kept(file) {
            Ok(kept)
        } else {
            self.fetch_whole(&url).await
        };
        if let Ok(bytes) = &result {
            let handed = &mut lock(&self.shared.state).handed;
            handed.insert(name, bytes.clone());
        }
        Ok(Box::pin(stream::iter([result.map(Bytes::from)])))
    }
}
