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
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use jiff::Timestamp as JiffTimestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::{OptionExt, ResultExt, ensure};
use tough::schema::{Metafile, Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp};
use tough::{ExpirationEnforcement, Limits, Repository, RepositoryLoader, TargetName};
use update_metadata::MANIFEST_TARGET;
use url::Url;

use super::error::{
    EqualKeysSnafu, ExpiredSnafu, NotRecordedSnafu, OtherPlaceSnafu, RepositoryError,
    RolledBackSnafu, ScratchSnafu, SeedSnafu, TrustSnafu, UnknownKeySnafu, shown,
};
use super::known_state::{KeptFiles, News};
use super::known_transport::KnownTransport;
use super::root_keys;
use super::transport::RepositoryTransport;
use super::trust::{TrustStore, TrustedRoot};
use super::versions::Versions;
use super::{RepositorySettings, VerifiedMetadata};
use crate::clock;
use crate::event::Note;
use crate::scratch::Scratch;

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
    let files = trust.files();
    let scratch = Scratch::new(&settings.trust_dir).context(ScratchSnafu)?;
    // Where tough looks for what it trusted last time.
    for (name, bytes) in files.trusted(&start.root.signed) {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).context(SeedSnafu { path })?;
    }
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
        settings.watch.note(Note::StaleMirror {
            repository: shown(&settings.metadata_base_url),
        });
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
    fn url(&self) -> &Url {
        &self.settings.metadata_base_url
    }

    /// Keeps the roots that tough accepted, oldest first, and returns the newest.
    fn keep_roots(&self) -> Result<TrustedRoot, RepositoryError> {
        let (chain, refused) = self.accepted_roots()?;
        let (start, new) = chain
            .split_first()
            .context(NotRecordedSnafu { name: "root.json" })?;
        let newest = new.last().unwrap_or(start);
        let roots: Vec<&Root> = chain.iter().map(|root| &root.root.signed).collect();
        let is_known = roots.iter().any(|root| self.is_known_repository(root));
        let version = newest.root.signed.version.get();
        if is_known && let Some(seen) = &self.files.versions {
            self.refuse_older(RoleType::Root, version, seen.get(RoleType::Root))?;
        }
        let writer = self.trust.writer().context(TrustSnafu)?;
        let seen = writer.versions();
        if let Some(versions) = seen.with_roots(&roots, is_known) {
            writer.keep_versions(&versions).context(TrustSnafu)?;
        }
        for root in new {
            let version = root.root.signed.version.get();
            writer.keep_root(version, &root.bytes).context(TrustSnafu)?;
        }
        refused.map(|()| newest.clone())
    }

    /// The root that the run began with and those that tough accepted after it, up to the last that
    /// may be used; and why a later one may not.
    ///
    /// One key under two ids voids a root. One that was succeeded by a root without that fault is
    /// only looked at for its root keys, which had to sign its successor.
    fn accepted_roots(
        &self,
    ) -> Result<(Vec<TrustedRoot>, Result<(), RepositoryError>), RepositoryError> {
        let mut chain = vec![self.start.clone()];
        // How many of the chain may be used, and what is wrong with the last one.
        let mut usable = 1;
        let mut refused = self.refuse_equal_keys(&self.start.root.signed);
        // tough wrote the last accepted root here, in its own form; only its version is of use.
        let last = self
            .scratch_role::<Root>()
            .map_or(0, |root| root.signed.version.get());
        let first = self.start.root.signed.version.get();
        for version in first.saturating_add(1)..=last {
            if root_keys::equal_root_keys(&chain[chain.len() - 1].root.signed).is_some() {
                break;
            }
            let name = format!("{version}.root.json");
            let bytes = self
                .known
                .handed(&name)
                .context(NotRecordedSnafu { name: &name })?;
            let root: Signed<Root> = serde_json::from_slice(&bytes)
                .ok()
                .context(NotRecordedSnafu { name })?;
            refused = self.refuse_equal_keys(&root.signed);
            chain.push(TrustedRoot { root, bytes });
            if refused.is_ok() {
                usable = chain.len();
            }
        }
        chain.truncate(usable);
        Ok((chain, refused))
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
        let at = self.judged_at();
        self.refuse_expired(RoleType::Root, root.expires, at)?;
        let writer = self.trust.writer().context(TrustSnafu)?;
        let seen = writer.versions();
        let mut versions = seen.under(root);
        let is_whole = roles.len() == 3;
        let place = self
            .scratch_role::<Targets>()
            .and_then(|targets| place(&targets.signed));
        if let Some(ours) = &versions.place {
            if !is_whole {
                // Without the targets nobody knows whether these are ours.
                return Ok(());
            }
            ensure!(
                place.as_ref().is_none_or(|place| place == ours),
                OtherPlaceSnafu {
                    url: self.url().clone(),
                    place: place.unwrap_or_default(),
                    ours,
                    folder: self.settings.trust_dir.clone(),
                }
            );
        }
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
        if is_whole && seen.is_ours() && !overtaken {
            versions.refreshed = Some(at);
            versions.place = place.or(versions.place);
            writer.keep_versions(&versions).context(TrustSnafu)?;
        }
        Ok(())
    }

    fn is_overtaken(&self, now: &Versions, root: &Root, timestamp: &AcceptedRole) -> bool {
        let before = self.files.versions.as_ref();
        let highest = now.get(RoleType::Timestamp);
        now.get(RoleType::Root) > root.version.get()
            || highest > timestamp.version
                && before.is_none_or(|before| highest > before.get(RoleType::Timestamp))
    }

    /// The time at which expiry is judged: the clock's, but never before this version was built.
    ///
    /// A clock behind the last refresh is reported and otherwise believed: one that was ahead once
    /// must not hold this host to a time that never was.
    fn judged_at(&self) -> DateTime<Utc> {
        let (clock, build) = (self.clock, clock::build_time());
        if clock < build {
            tracing::warn!(
                "this host's clock is behind: it says {}, and this version was built later; expiry \
                 is judged at {}",
                shown_time(clock),
                shown_time(build)
            );
            return build;
        }
        let refreshed = self.files.versions.as_ref().and_then(|seen| seen.refreshed);
        if let Some(refreshed) = refreshed.filter(|refreshed| *refreshed > clock) {
            tracing::warn!(
                "this host's clock went back: it says {}, and metadata were verified at {}; if it is \
                 wrong now, expired metadata may seem valid",
                shown_time(clock),
                shown_time(refreshed)
            );
        }
        clock
    }

    fn refuse_equal_keys(&self, root: &Root) -> Result<(), RepositoryError> {
        match root_keys::equal_keys(root) {
            None => Ok(()),
            Some((first, second)) => EqualKeysSnafu {
                url: self.url().clone(),
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
                url: self.url().clone(),
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
                url: self.url().clone(),
                expired: expires.to_string(),
                now: shown_time(at),
                is_stale: self.known.news() == News::Older,
                folder: self.settings.trust_dir.clone(),
            }
        );
        Ok(())
    }

    /// Why tough accepted no more, where that can be said better than it does.
    fn explain(&self, newest: &Root, error: tough::error::Error) -> RepositoryError {
        let url = self.url().clone();
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
        if self.known.news() == News::Older {
            RepositoryError::Stale { url, source }
        } else if delegates {
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

/// What the targets say they are for: a repository may have many folders under the same keys.
fn place(targets: &Targets) -> Option<String> {
    let name = TargetName::new(MANIFEST_TARGET).ok()?;
    let custom = &targets.targets.get(&name)?.custom;
    let text = |key: &str| custom.get(key)?.as_str();
    Some(format!("{}/{}", text("variant")?, text("arch")?))
}

fn shown_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
