//! One refresh: what the server has is verified by tough, judged against what this host knows, and
//! kept file by file.
//!
//! tough works on a scratch folder that is seeded with what was kept, with its own expiry checks
//! off. Afterwards, in this order: the roots that it accepted are looked at and kept, before the
//! newest one's expiry is judged, so that a host can always follow a key rotation; then timestamp,
//! snapshot and targets, each kept only if it is not older than what was ever verified here and not
//! expired at the one time that the run has. The first that fails ends it, and those before it
//! stay kept (TUF specification 5.3 to 5.6). Versions are written before the files that they guard.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use jiff::Timestamp as JiffTimestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::{OptionExt, ResultExt, ensure};
use tough::schema::{Metafile, Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp};
use tough::{ExpirationEnforcement, Limits, Repository, RepositoryLoader};

use super::error::{
    EqualKeysSnafu, ExpiredSnafu, NotRecordedSnafu, RepositoryError, RolledBackSnafu, ScratchSnafu,
    TrustSnafu, UnknownKeySnafu, shown,
};
use super::known_state::{KeptFiles, KnownState, News};
use super::known_transport::KnownTransport;
use super::root_keys;
use super::transport::RepositoryTransport;
use super::trust::{TrustStore, TrustedRoot};
use super::versions::{JudgedAt, Versions};
use super::{RepositorySettings, VerifiedMetadata};
use crate::clock;

/// Roots that are followed in one run. Each is a file fetched and two thresholds of signatures.
const MAX_ROOT_UPDATES: u64 = 1024;

/// A repository whose metadata were verified and are unexpired.
pub(super) struct Refreshed {
    pub(super) repository: Repository,
    pub(super) metadata: VerifiedMetadata,
    pub(super) is_stale: bool,
}

/// Refreshes through `transport` what is trusted in the folder that `settings` names.
///
/// # Errors
/// Every [`RepositoryError`] but those about targets.
pub(super) async fn refresh(
    settings: &RepositorySettings,
    transport: &RepositoryTransport,
    clock: DateTime<Utc>,
) -> Result<Refreshed, RepositoryError> {
    let trust = TrustStore::open(&settings.trust_dir).context(TrustSnafu)?;
    let start = trust
        .newest_root(&settings.trusted_root)
        .context(TrustSnafu)?;
    let files = trust.files().context(TrustSnafu)?;
    let scratch = tempfile::tempdir().context(ScratchSnafu)?;
    seed(scratch.path(), &files, &start.root.signed).context(ScratchSnafu)?;
    let known = KnownTransport::new(
        transport.clone(),
        settings.metadata_base_url.clone(),
        start.clone(),
        files.clone(),
    );
    let run = Run {
        settings,
        known: &known,
        scratch: scratch.path(),
        trust: &trust,
        start,
        files,
        clock,
    };
    run.refuse_equal_keys(&run.start.root.signed)?;

    let loaded = RepositoryLoader::new(
        &run.start.bytes,
        settings.metadata_base_url.clone(),
        settings.targets_base_url.clone(),
    )
    .transport(known.clone())
    .limits(Limits { max_root_updates: MAX_ROOT_UPDATES, ..settings.transport.limits.for_tough() })
    .datastore(scratch.path())
    // Judged below, at the run's own time. tough would look at the clock again for every target,
    // and fail a run whose clock is set back while it downloads.
    .expiration_enforcement(ExpirationEnforcement::Unsafe)
    .load()
    .await;

    // What was accepted counts even when something after it failed.
    let newest = run.keep_roots()?;
    let roles = run.accepted_roles(&newest.root.signed)?;
    run.keep_roles(&newest.root.signed, &roles)?;
    let repository = loaded.map_err(|error| run.explain(&newest.root.signed, error))?;
    let [timestamp, snapshot, targets] =
        <[AcceptedRole; 3]>::try_from(roles)
            .ok()
            .context(NotRecordedSnafu {
                name: "targets.json",
            })?;

    let is_stale = known.news() == News::Older;
    if is_stale {
        tracing::warn!(
            "stale mirror: {} serves an older state than this host trusts; the trusted one is \
             still valid and stays in use",
            shown(&settings.metadata_base_url)
        );
    }
    Ok(Refreshed {
        repository,
        metadata: VerifiedMetadata {
            root: newest,
            timestamp: timestamp.bytes,
            snapshot: (snapshot.name, snapshot.bytes),
            targets: (targets.name, targets.bytes),
        },
        is_stale,
    })
}

/// Puts the kept files where tough looks for what it trusted last time, unless they are void.
fn seed(scratch: &Path, files: &KeptFiles, root: &Root) -> io::Result<()> {
    if files
        .versions
        .as_ref()
        .is_some_and(|seen| !seen.binds(root))
    {
        return Ok(());
    }
    for (name, bytes) in [
        ("timestamp.json", &files.timestamp),
        ("snapshot.json", &files.snapshot),
    ] {
        if let Some(bytes) = bytes {
            fs::write(scratch.join(name), bytes)?;
        }
    }
    Ok(())
}

/// A role that tough accepted.
struct AcceptedRole {
    role: RoleType,
    /// Of its file, with the version under consistent snapshots.
    name: String,
    version: u64,
    expires: JiffTimestamp,
    bytes: Vec<u8>,
}

/// What the steps before and after tough's work with.
struct Run<'a> {
    settings: &'a RepositorySettings,
    known: &'a KnownTransport,
    scratch: &'a Path,
    trust: &'a TrustStore,
    start: TrustedRoot,
    /// As they were when the run began.
    files: KeptFiles,
    clock: DateTime<Utc>,
}

impl Run<'_> {
    /// Keeps the roots that tough accepted, oldest first, and returns the newest.
    fn keep_roots(&self) -> Result<TrustedRoot, RepositoryError> {
        let mut newest = self.start.clone();
        let mut new = Vec::new();
        let mut refused = Ok(());
        let mut is_known_repository = self.is_known_repository(&newest.root.signed);
        // tough wrote the last accepted root here, in its own form; only its version is of use.
        let last = self
            .scratch_role::<Root>()
            .map_or(0, |root| root.signed.version.get());
        while newest.root.signed.version.get() < last {
            let version = newest.root.signed.version.get().saturating_add(1);
            let name = format!("{version}.root.json");
            let bytes = self
                .known
                .handed(&name)
                .context(NotRecordedSnafu { name: &name })?;
            let root: Signed<Root> = serde_json::from_slice(&bytes)
                .ok()
                .context(NotRecordedSnafu { name })?;
            refused = self.refuse_equal_keys(&root.signed);
            if refused.is_err() {
                break;
            }
            is_known_repository |= self.is_known_repository(&root.signed);
            newest = TrustedRoot { root, bytes };
            new.push(newest.clone());
        }

        let version = newest.root.signed.version.get();
        if is_known_repository && let Some(seen) = &self.files.versions {
            self.refuse_older(RoleType::Root, version, seen.root)?;
        }
        let writer = self.trust.writer().context(TrustSnafu)?;
        let seen = writer.versions().context(TrustSnafu)?;
        if let Some(versions) = seen.with_root(&newest.root.signed, is_known_repository) {
            writer.keep_versions(&versions).context(TrustSnafu)?;
        }
        for root in &new {
            writer
                .keep_root(root.root.signed.version.get(), &root.bytes)
                .context(TrustSnafu)?;
        }
        refused.map(|()| newest)
    }

    fn is_known_repository(&self, root: &Root) -> bool {
        let seen = self.files.versions.as_ref();
        seen.is_some_and(|seen| seen.is_of_repository(root))
    }

    /// Timestamp, snapshot and targets, in this order, as far as tough accepted them.
    fn accepted_roles(&self, root: &Root) -> Result<Vec<AcceptedRole>, RepositoryError> {
        let mut roles = Vec::new();
        let Some(timestamp) = self.accepted::<Timestamp>("timestamp.json".to_owned(), &mut roles)
        else {
            return Ok(roles);
        };
        let file = |listed: Option<&Metafile>, role: RoleType| {
            let name = format!("{role}.json");
            let version = listed.context(NotRecordedSnafu { name: &name })?.version;
            Ok(if root.consistent_snapshot {
                format!("{version}.{name}")
            } else {
                name
            })
        };
        let name = file(timestamp.meta.get("snapshot.json"), RoleType::Snapshot)?;
        if let Some(snapshot) = self.accepted::<Snapshot>(name, &mut roles) {
            let name = file(snapshot.meta.get("targets.json"), RoleType::Targets)?;
            self.accepted::<Targets>(name, &mut roles);
        }
        Ok(roles)
    }

    /// Adds the file `name` to `roles` if tough accepted it.
    fn accepted<T>(&self, name: String, roles: &mut Vec<AcceptedRole>) -> Option<T>
    where
        T: Role + Serialize + DeserializeOwned + PartialEq,
    {
        let bytes = self.known.handed(&name)?;
        let handed: Signed<T> = serde_json::from_slice(&bytes).ok()?;
        // What was accepted was written to the scratch folder; what was seeded there differs from
        // what the server sent, or was handed on again.
        if self.scratch_role::<T>()? != handed {
            return None;
        }
        roles.push(AcceptedRole {
            role: T::TYPE,
            name,
            version: handed.signed.version().get(),
            expires: handed.signed.expires(),
            bytes,
        });
        Some(handed.signed)
    }

    /// Judges each role in order, and keeps each that passes.
    fn keep_roles(&self, root: &Root, roles: &[AcceptedRole]) -> Result<(), RepositoryError> {
        let at = self.judged_at(root);
        self.refuse_expired(RoleType::Root, root.expires, at)?;
        let writer = self.trust.writer().context(TrustSnafu)?;
        let seen = writer.versions().context(TrustSnafu)?;
        let mut versions = seen.under(root);
        // A faster run may have kept newer metadata; ours still count for this run.
        let overtaken = roles
            .first()
            .is_some_and(|timestamp| self.is_overtaken(&versions, root, timestamp));
        for role in roles {
            if !overtaken {
                self.refuse_older(role.role, role.version, versions.get(role.role))?;
            }
            self.refuse_expired(role.role, role.expires, at)?;
            if overtaken {
                continue;
            }
            if seen.is_ours() && versions.raise(role.role, role.version) {
                writer.keep_versions(&versions).context(TrustSnafu)?;
            }
            writer
                .keep(&format!("{}.json", role.role), &role.bytes)
                .context(TrustSnafu)?;
        }
        if roles.len() == 3 && seen.is_ours() && !overtaken {
            versions.refreshed = Some(at);
            writer.keep_versions(&versions).context(TrustSnafu)?;
        }
        Ok(())
    }

    fn is_overtaken(&self, now: &Versions, root: &Root, timestamp: &AcceptedRole) -> bool {
        let before = self.files.versions.as_ref();
        let highest = now.get(RoleType::Timestamp);
        now.root > root.version.get()
            || highest > timestamp.version
                && before.is_none_or(|before| highest > before.get(RoleType::Timestamp))
    }

    /// The time at which expiry is judged.
    fn judged_at(&self, root: &Root) -> DateTime<Utc> {
        let kept = KnownState::under(root, &self.start.root.signed, &self.files).timestamp;
        let judged = JudgedAt::new(
            self.clock,
            clock::build_time(),
            self.files.versions.as_ref().and_then(|seen| seen.refreshed),
            kept.as_ref().map(|kept| &kept.signed),
        );
        let why = match judged {
            JudgedAt::Clock(time) => return time,
            JudgedAt::BuildTime(_) => "this version is newer than that",
            JudgedAt::LastRefresh(_) => "metadata were verified later than that",
        };
        let time = judged.time();
        tracing::warn!(
            "this host's clock is behind: it says {}, but {why}; expiry is judged at {}",
            shown_time(self.clock),
            shown_time(time)
        );
        time
    }

    fn refuse_equal_keys(&self, root: &Root) -> Result<(), RepositoryError> {
        match root_keys::equal_keys(root) {
            None => Ok(()),
            Some((first, second)) => EqualKeysSnafu {
                url: self.settings.metadata_base_url.clone(),
                version: root.version.get(),
                first,
                second,
            }
            .fail(),
        }
    }

    fn refuse_older(&self, role: RoleType, found: u64, seen: u64) -> Result<(), RepositoryError> {
        ensure!(
            found >= seen,
            RolledBackSnafu {
                role,
                url: self.settings.metadata_base_url.clone(),
                found,
                seen,
                folder: self.settings.trust_dir.clone(),
            }
        );
        Ok(())
    }

    fn refuse_expired(
        &self,
        role: RoleType,
        expires: JiffTimestamp,
        at: DateTime<Utc>,
    ) -> Result<(), RepositoryError> {
        let now = JiffTimestamp::from_second(at.timestamp()).unwrap_or(JiffTimestamp::MAX);
        ensure!(
            now < expires,
            ExpiredSnafu {
                role,
                url: self.settings.metadata_base_url.clone(),
                expired: expires.to_string(),
                now: shown_time(at),
                is_stale: self.known.news() == News::Older,
            }
        );
        Ok(())
    }

    /// Why tough accepted no more, where that can be said better than it does.
    fn explain(&self, newest: &Root, error: tough::error::Error) -> RepositoryError {
        let url = self.settings.metadata_base_url.clone();
        let version = newest.version.get().saturating_add(1);
        let next = self.known.handed(&format!("{version}.root.json"));
        if let Some((kind, id)) = next.as_deref().and_then(root_keys::unknown_key) {
            return UnknownKeySnafu {
                url,
                version,
                kind,
                id,
            }
            .build();
        }
        let delegates = self.scratch_role::<Targets>().is_some_and(|targets| {
            let delegations = targets.signed.delegations;
            delegations.is_some_and(|delegations| !delegations.roles.is_empty())
        });
        let source = error.into();
        if delegates {
            RepositoryError::Delegations { url, source }
        } else {
            RepositoryError::Refresh { url, source }
        }
    }

    fn scratch_role<T: Role + DeserializeOwned>(&self) -> Option<Signed<T>> {
        let bytes = fs::read(self.scratch.join(format!("{}.json", T::TYPE))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

fn shown_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
