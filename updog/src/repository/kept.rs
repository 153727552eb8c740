//! What this host trusts of its repository, as it lies in `state_dir/tuf`: read, verified again from
//! the shipped root, and judged, without a network and without writing anything.

use std::path::Path;

use chrono::{DateTime, Utc};
use tough::schema::RoleType;

use super::TrustedRole;
use super::known_state::KnownState;
use super::trust::{TrustError, TrustStore};
use crate::clock;

/// The trusted metadata of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTrust {
    /// In the order in which they are verified; the root always, of the others those that are kept
    /// and that the keys of the root signed.
    pub roles: Vec<TrustedRole>,
    /// The time at which expiry is judged: the clock's, but never before this version was built.
    pub judged_at: DateTime<Utc>,
    /// The last run that ended with every role verified and unexpired.
    pub refreshed: Option<DateTime<Utc>>,
}

/// Reads what is kept in `trust_dir`, from the root of trust at `trusted_root`.
///
/// # Errors
/// When the root of trust cannot be read.
pub fn kept_trust(
    trusted_root: &Path,
    trust_dir: &Path,
    clock: DateTime<Utc>,
) -> Result<KeptTrust, TrustError> {
    let store = TrustStore::at(trust_dir);
    let root = store.newest_root(trusted_root)?.root.signed;
    let files = store.files();
    let refreshed = files.versions.as_ref().and_then(|seen| seen.refreshed);
    let known = KnownState::under(&root, &root, &files);
    let role = |name, kind, version, expires| TrustedRole::new(&root, name, kind, version, expires);
    let mut roles = vec![role(
        "root",
        RoleType::Root,
        root.version.get(),
        root.expires,
    )];
    roles.extend(known.timestamp.as_ref().map(|kept| {
        let (version, expires) = (kept.signed.version.get(), kept.signed.expires);
        role("timestamp", RoleType::Timestamp, version, expires)
    }));
    roles.extend(known.snapshot.as_ref().map(|kept| {
        let (version, expires) = (kept.signed.version.get(), kept.signed.expires);
        role("snapshot", RoleType::Snapshot, version, expires)
    }));
    roles.extend(known.targets.as_ref().map(|kept| {
        let (version, expires) = (kept.signed.version.get(), kept.signed.expires);
        role("targets", RoleType::Targets, version, expires)
    }));
    Ok(KeptTrust {
        roles,
        judged_at: clock.max(clock::build_time()),
        refreshed,
    })
}
