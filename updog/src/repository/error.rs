//! Why there is nothing to trust, or a target cannot be had; said once, and without secrets.

use std::error::Error;
use std::path::{Path, PathBuf};

use snafu::Snafu;
use tough::schema::RoleType;
use update_metadata::{MANIFEST_TARGET, ManifestError};
use url::Url;

use super::transport::ClientError;
use super::trust::TrustError;
use crate::cancel::Cancelled;
use crate::exit::chain;
use crate::scratch::ScratchError;

/// Why there is nothing to trust, or a target cannot be had.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum RepositoryError {
    /// The runtime for the network cannot be started.
    #[snafu(display("starting the network runtime"))]
    Runtime { source: std::io::Error },
    /// The HTTP client cannot be made.
    #[snafu(display("preparing to reach {}", shown(url)))]
    Client { url: Url, source: ClientError },
    /// The folder that tough works in cannot be made.
    #[snafu(display("preparing to verify metadata"))]
    Scratch { source: ScratchError },
    /// It cannot be written.
    #[snafu(display("preparing to verify metadata in {}", path.display()))]
    Seed {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The run was told to stop.
    #[snafu(display("asking the repository {}", shown(url)))]
    Cancelled { url: Url, source: Cancelled },
    /// What this host trusts cannot be read or kept.
    #[snafu(display("handling this host's trusted metadata"))]
    Trust { source: TrustError },
    /// The repository cannot be reached, or does not verify.
    #[snafu(display("refreshing the repository {}", shown(url)))]
    Refresh {
        url: Url,
        #[snafu(source(from(tough::error::Error, ToughError::from)))]
        source: ToughError,
    },
    /// Signed metadata are too old. A mirror that is frozen, or a clock that is wrong.
    #[snafu(display(
        "the {role} metadata of {} expired at {expired}; it is {now} here. {}",
        shown(url), after_expiry(*is_stale, folder)
    ))]
    Expired {
        role: RoleType,
        url: Url,
        expired: String,
        now: String,
        is_stale: bool,
        folder: PathBuf,
    },
    /// The server has an older state than this host trusts, and what this host kept is not enough.
    #[snafu(display(
        "{} serves an older state than this host has verified, and of that state not all is kept \
         here",
        shown(url)
    ))]
    Stale {
        url: Url,
        #[snafu(source(from(tough::error::Error, ToughError::from)))]
        source: ToughError,
    },
    /// The metadata are good, and of another folder of the repository.
    #[snafu(display(
        "{} serves the metadata of {place}, this host trusts those of {ours}; the mirror mixes up its \
         folders. If this host is to follow {place} from now on, remove {}",
        shown(url), folder.display()
    ))]
    OtherPlace {
        url: Url,
        place: String,
        ours: String,
        folder: PathBuf,
    },
    /// Signed metadata are older than what was verified before.
    #[snafu(display(
        "{} offers version {found} of {role}, but this host has verified version {seen} already. \
         The mirror is stale, or somebody plays back an old state. If the publisher started anew \
         with the same keys, remove {}", shown(url), folder.display()
    ))]
    RolledBack {
        role: RoleType,
        url: Url,
        found: u64,
        seen: u64,
        folder: PathBuf,
    },
    /// One key could stand for two in a threshold.
    #[snafu(display(
        "root {version} of {} has one key under two ids, {first} and {second}; the publisher has to \
         sign a root without one of them",
        shown(url)
    ))]
    EqualKeys {
        url: Url,
        version: u64,
        first: String,
        second: String,
    },
    /// A root has a key that cannot be read, which makes all of it unreadable.
    #[snafu(display(
        "root {version} of {} has a key of the kind {kind} ({id}), which this version cannot read; \
         known are ed25519, rsa/rsassa-pss-sha256 and ecdsa/ecdsa-sha2-nistp256",
        shown(url)
    ))]
    UnknownKey {
        url: Url,
        version: u64,
        kind: String,
        id: String,
    },
    /// The repository delegates targets to other roles, and one of these does not verify.
    #[snafu(display(
        "the repository {} delegates targets to other roles, all of which must verify before any \
         target can be read",
        shown(url)
    ))]
    Delegations {
        url: Url,
        #[snafu(source(from(tough::error::Error, ToughError::from)))]
        source: ToughError,
    },
    /// tough accepted a file whose bytes did not pass through our transport.
    #[snafu(display("the verified {name} was not recorded"))]
    NotRecorded { name: String },
    /// The name is none that a target can have.
    #[snafu(display("'{name}' cannot be the name of a target"))]
    TargetName {
        name: String,
        #[snafu(source(from(tough::error::Error, ToughError::from)))]
        source: ToughError,
    },
    /// The signed metadata list no such target.
    #[snafu(display("the repository has no target {name}"))]
    NoTarget { name: String },
    /// The signed digest is none of SHA-256.
    #[snafu(display("the signed SHA-256 of target {name} has another length"))]
    TargetDigest { name: String },
    /// The target is larger than what it is for can be.
    #[snafu(display("target {name} of {length} bytes is larger than {limit} bytes"))]
    TargetTooLarge {
        name: String,
        length: u64,
        limit: u64,
    },
    /// Reading the target failed, or it is not what was signed.
    #[snafu(display("reading target {name}"))]
    ReadTarget {
        name: String,
        source: std::io::Error,
    },
    /// A folder or file of this host cannot be used.
    #[snafu(display("reading {}", path.display()))]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The manifest does not say what a manifest must.
    #[snafu(display("reading target {MANIFEST_TARGET}"))]
    Manifest { source: ManifestError },
    /// A delegated role cannot be copied.
    #[snafu(display(
        "the file of the delegated role '{name}' has no name that all clients agree on, so that no \
         copy of the repository would be complete"
    ))]
    DelegatedName { name: String },
}

impl RepositoryError {
    /// What to do about [`RepositoryError::Trust`].
    pub(crate) const TRUST_ADVICE: &'static str = "see that the trusted root can be read and the \
         folder tuf in state_dir written; the folder may be removed, which forgets what was trusted";

    /// Whether the cause lies with the repository or the way to it, not with this host.
    pub fn is_remote(&self) -> bool {
        !matches!(
            self,
            Self::Runtime { .. }
                | Self::Client { .. }
                | Self::Scratch { .. }
                | Self::Trust { .. }
                | Self::Folder { .. }
        )
    }
}

/// What to look at when metadata are expired.
fn after_expiry(is_stale: bool, folder: &Path) -> String {
    if is_stale {
        format!(
            "The mirror is stale: what it serves is older still. If the publisher started anew with \
             the same keys, remove {}",
            folder.display()
        )
    } else {
        "Check this host's clock; if it is right, the mirror is stale or the publisher late"
            .to_owned()
    }
}

/// A URL as it may be shown: without the credentials that it may carry.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A token is often given as the name. Both fail only for URLs that cannot carry credentials.
    let has_secret = url.password().is_some() || !url.username().is_empty();
    let _ = url.set_password(None);
    if has_secret {
        let _ = url.set_username("...");
    }
    url.to_string()
}

/// What tough says, said once: its errors about a transfer repeat the URL at every level.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("{message}"))]
pub struct ToughError {
    message: String,
}

impl From<tough::error::Error> for ToughError {
    fn from(error: tough::error::Error) -> Self {
        let mut source: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(transport) = cause.downcast_ref::<tough::TransportError>() {
                let why = transport
                    .source()
                    .map_or_else(|| transport.to_string(), chain);
                let url = transport.url();
                let url = url
                    .parse()
                    .map_or_else(|_| url.to_owned(), |url| shown(&url));
                return Self {
                    message: format!("fetching {url}: {why}"),
                };
            }
            source = cause.source();
        }
        Self {
            message: chain(&error),
        }
    }
}
