//! What the signed metadata say of themselves: for people and monitors.

use chrono::{DateTime, Utc};
use jiff::Timestamp as JiffTimestamp;
use serde::Serialize;
use tough::schema::{RoleType, Root};

use super::{UpdateRepository, shown};

/// One role of the trusted metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedRole {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: &'static str,
    /// Of the file.
    pub version: u64,
    /// As many keys must have signed it.
    pub threshold: u64,
    /// Of these.
    pub keyids: Vec<String>,
    /// From then on it is refused.
    pub expires: DateTime<Utc>,
}

impl TrustedRole {
    /// A file of the role `kind`, whose keys `root` names.
    pub(super) fn new(
        root: &Root,
        role: &'static str,
        kind: RoleType,
        version: u64,
        expires: JiffTimestamp,
    ) -> Self {
        let keys = root.roles.get(&kind);
        Self {
            role,
            version,
            threshold: keys.map_or(0, |keys| keys.threshold.get()),
            keyids: keys.map_or_else(Vec::new, |keys| {
                keys.keyids.iter().map(hex::encode).collect()
            }),
            expires: DateTime::from_timestamp_secs(expires.as_second())
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }
}

impl UpdateRepository {
    /// The four roles, in the order in which they are verified.
    pub fn roles(&self) -> Vec<TrustedRole> {
        let root = &self.repository.root().signed;
        let timestamp = &self.repository.timestamp().signed;
        let snapshot = &self.repository.snapshot().signed;
        let targets = &self.repository.targets().signed;
        [
            ("root", RoleType::Root, root.version, root.expires),
            (
                "timestamp",
                RoleType::Timestamp,
                timestamp.version,
                timestamp.expires,
            ),
            (
                "snapshot",
                RoleType::Snapshot,
                snapshot.version,
                snapshot.expires,
            ),
            (
                "targets",
                RoleType::Targets,
                targets.version,
                targets.expires,
            ),
        ]
        .into_iter()
        .map(|(role, kind, version, expires)| {
            TrustedRole::new(root, role, kind, version.get(), expires)
        })
        .collect()
    }

    /// When the first of the roles expires.
    pub fn valid_until(&self) -> DateTime<Utc> {
        let ends = self.roles().into_iter().map(|role| role.expires);
        ends.min().unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Where the metadata came from, without credentials.
    pub fn shown_metadata_url(&self) -> String {
        shown(&self.settings.metadata_base_url)
    }
}
