//! Reads one folder of metadata as far as that goes, and says what it found.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use semver::Version;
use serde::de::DeserializeOwned;
use tough::schema::{Metafile, Role, RoleType, Root, Snapshot, Targets, Timestamp};
use update_metadata::{MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest};

use super::{FolderReport, KeyReport, ReleaseReport, RoleReport, warnings};
use crate::exit;
use crate::publish::bounded;
use crate::publish::key_file::material;
use crate::publish::published::{self, MAX_SMALL_BYTES, MAX_TARGETS_BYTES};
use crate::publish::release::metadata::{SNAPSHOT, TARGETS, TIMESTAMP};
use crate::publish::signatures::{self, SignedBytes, Tally, digest_of};
use crate::publish::tuf::{self, RootFile};

/// More root roles than this are not compared with each other.
const MAX_CHAIN: usize = 1024;

/// What is in the folder `metadata`, whose targets are in `targets`, as `given` judges it or else
/// the newest root role there.
pub(super) fn report(
    metadata: &Path,
    targets: &Path,
    given: Option<&RootFile>,
    now: DateTime<Utc>,
) -> FolderReport {
    let mut report = FolderReport {
        metadata: metadata.to_path_buf(),
        roles: Vec::new(),
        reachable: false,
        targets: None,
        target_bytes: None,
        releases: Vec::new(),
        warnings: Vec::new(),
    };
    let newest = chain(metadata, &mut report.warnings);
    let Some(root) = given.or(newest.as_ref()) else {
        let nothing = "there is no root role to judge by; give --root-role".to_owned();
        report.warnings.push(nothing);
        return report;
    };
    if let (Some(given), Some(newest)) = (given, &newest)
        && given.bytes != newest.bytes
    {
        report.warnings.push(format!(
            "{} is not {}, which clients will find",
            given.path.display(),
            newest.path.display()
        ));
    }
    let root_role = SignedBytes::as_read(root.signed.clone(), root.bytes.clone());
    let mut reader = Reader {
        metadata,
        root: root.root(),
        now,
        report: &mut report,
    };
    reader.judge(&root_role, root.path.clone());
    let mut found = reader.follow();
    if found.is_none() {
        found = reader.rest();
    } else {
        report.reachable = true;
    }
    if let Some(targets_role) = found {
        list_targets(targets_role.role(), targets, &mut report);
    }
    report.warnings.extend(warnings::of_keys(root.root()));
    report.warnings.extend(warnings::of_expiry(&report.roles));
    report
}

/// The newest root role of the folder; warns where hosts could not follow the chain to it.
fn chain(metadata: &Path, warnings: &mut Vec<String>) -> Option<RootFile> {
    let mut versions = told(published::root_versions(metadata), warnings)?;
    versions.sort_unstable();
    let checked = versions.len().saturating_sub(MAX_CHAIN);
    let mut before: Option<RootFile> = None;
    let mut newest = None;
    for version in &versions[checked..] {
        let path = metadata.join(format!("{version}.root.json"));
        let root = told(RootFile::read_unsigned(&path), warnings);
        if let (Some(before), Some(root)) = (&before, &root) {
            let follows = before.root().version.checked_add(1) == Some(root.root().version);
            if !follows {
                warnings.push(format!(
                    "between {} and {} a root role is missing: hosts cannot follow",
                    before.path.display(),
                    path.display()
                ));
            } else if before.root().verify_role(&root.signed).is_err() {
                warnings.push(format!(
                    "{} is not signed by enough root keys of {}: hosts will not accept it",
                    path.display(),
                    before.path.display()
                ));
            }
        }
        before.clone_from(&root);
        newest = root;
    }
    newest
}

/// Goes from the timestamp to the targets.
struct Reader<'a> {
    metadata: &'a Path,
    root: &'a Root,
    now: DateTime<Utc>,
    report: &'a mut FolderReport,
}

impl Reader<'_> {
    /// The targets role, if the way there can be read.
    fn follow(&mut self) -> Option<SignedBytes<Targets>> {
        let path = self.metadata.join(TIMESTAMP);
        let timestamp: Option<SignedBytes<Timestamp>> = self.read(&path, MAX_SMALL_BYTES);
        let Some(timestamp) = timestamp else {
            self.report.warnings.push(format!(
                "{} is damaged or gone: no client reads anything here; put it back from the newest \
                 copy",
                path.display()
            ));
            return None;
        };
        let meta = timestamp.role().meta.get(SNAPSHOT).cloned();
        let path = self.path_of(SNAPSHOT, meta.as_ref());
        let snapshot: Option<SignedBytes<Snapshot>> = self.read(&path, MAX_SMALL_BYTES);
        let mut targets = None;
        if let Some(snapshot) = &snapshot {
            self.compare(meta.as_ref(), snapshot, &path);
            let meta = snapshot.role().meta.get(TARGETS).cloned();
            let path = self.path_of(TARGETS, meta.as_ref());
            targets = self.read::<Targets>(&path, MAX_TARGETS_BYTES);
            if let Some(targets) = &targets {
                self.compare(meta.as_ref(), targets, &path);
                self.judge(targets, path);
            }
            let path = self.path_of(SNAPSHOT, timestamp.role().meta.get(SNAPSHOT));
            self.judge(snapshot, path);
        }
        self.judge(&timestamp, self.metadata.join(TIMESTAMP));
        targets
    }

    /// What can be read where no way leads: the newest snapshot role and the newest targets role.
    fn rest(&mut self) -> Option<SignedBytes<Targets>> {
        let seen = |report: &FolderReport, role| report.roles.iter().any(|told| told.role == role);
        let targets = self.newest::<Targets>(TARGETS, MAX_TARGETS_BYTES);
        if let Some((role, path)) = &targets {
            self.judge(role, path.clone());
        }
        if !seen(self.report, RoleType::Snapshot)
            && let Some((role, path)) = self.newest::<Snapshot>(SNAPSHOT, MAX_SMALL_BYTES)
        {
            self.judge(&role, path);
        }
        targets.map(|(role, _)| role)
    }

    /// The role of the highest version that can be read, without a warning of what cannot.
    fn newest<T: Role + DeserializeOwned>(
        &mut self,
        name: &str,
        max: u64,
    ) -> Option<(SignedBytes<T>, PathBuf)> {
        let name = published::newest(self.metadata, name).ok()??;
        let path = self.metadata.join(name);
        Some((published::read(&path, max).ok()?, path))
    }

    fn read<T: Role + DeserializeOwned>(
        &mut self,
        path: &Path,
        max: u64,
    ) -> Option<SignedBytes<T>> {
        told(published::read(path, max), &mut self.report.warnings)
    }

    fn path_of(&self, name: &str, meta: Option<&Metafile>) -> PathBuf {
        match meta {
            Some(meta) if self.root.consistent_snapshot => {
                self.metadata.join(format!("{}.{name}", meta.version))
            }
            _ => self.metadata.join(name),
        }
    }

    /// Warns where a role is not what the role before it says.
    fn compare<T: Role>(&mut self, stated: Option<&Metafile>, role: &SignedBytes<T>, path: &Path) {
        let Some(meta) = stated else { return };
        let other_bytes = meta
            .hashes
            .as_ref()
            .is_some_and(|hashes| hashes.sha256[..] != role.sha256().as_bytes()[..]);
        if other_bytes || meta.version != role.role().version() {
            self.report.warnings.push(format!(
                "{} is not the file that the metadata lead to: clients refuse it",
                path.display()
            ));
        }
    }

    fn judge<T: Role>(&mut self, role: &SignedBytes<T>, file: PathBuf) {
        let tally = signatures::tally(self.root, role.signed());
        let expires = tuf::from_jiff(role.role().expires());
        let report = RoleReport {
            role: T::TYPE,
            version: role.role().version().get(),
            expires,
            seconds_left: expires.signed_duration_since(self.now).num_seconds(),
            threshold: if tally.is_named() { tally.threshold } else { 0 },
            valid: tally.valid.len(),
            signatures: role.signed().signatures.len(),
            keys: keys(self.root, &tally),
            file,
        };
        let warnings = warnings::of_signatures(&report, &tally);
        self.report.warnings.extend(warnings);
        self.report.roles.push(report);
    }
}

fn keys(root: &Root, tally: &Tally) -> Vec<KeyReport> {
    let named = root.roles.get(&tally.role);
    named.map_or_else(Vec::new, |named| {
        let report = |id| {
            let key_id = hex::encode(id);
            KeyReport {
                key_type: root.keys.get(id).map(|key| material(key).0),
                signed: tally.valid.contains(&key_id),
                key_id,
            }
        };
        named.keyids.iter().map(report).collect()
    })
}

fn list_targets(role: &Targets, folder: &Path, report: &mut FolderReport) {
    report.targets = Some(role.targets.len());
    let lengths = role.targets.values().map(|target| target.length);
    report.target_bytes = Some(lengths.fold(0, u64::saturating_add));
    if role
        .delegations
        .as_ref()
        .is_some_and(|d| !d.roles.is_empty())
    {
        let delegates = "targets are delegated to other roles, which updata does not carry on";
        report.warnings.push(delegates.to_owned());
    }
    let manifest = role
        .targets
        .iter()
        .find(|(name, _)| name.raw() == MANIFEST_TARGET);
    let Some((_, target)) = manifest else {
        let none = format!("no {MANIFEST_TARGET} is among the targets: hosts find no update");
        report.warnings.push(none);
        return;
    };
    let digest = hex::encode(&target.hashes.sha256);
    let path = folder.join(format!("{digest}.{MANIFEST_TARGET}"));
    let read = File::open(&path).and_then(|file| bounded::read_from(file, MAX_MANIFEST_BYTES));
    match read.map(|bytes| (digest_of(&bytes).to_string() == digest, bytes)) {
        Err(error) => report
            .warnings
            .push(format!("reading {}: {error}", path.display())),
        Ok((false, _)) => report.warnings.push(format!(
            "{} has other content than was signed: clients refuse it",
            path.display()
        )),
        Ok((true, bytes)) => match Manifest::from_slice(&bytes) {
            Ok(manifest) => report.releases = releases(&manifest),
            Err(error) => report
                .warnings
                .push(format!("{} is no manifest: {error}", path.display())),
        },
    }
}

/// Pure: the versions of each variant and architecture.
fn releases(manifest: &Manifest) -> Vec<ReleaseReport> {
    let mut found: BTreeMap<(&str, &str), (Vec<Version>, &Version)> = BTreeMap::new();
    for update in &manifest.updates {
        let (versions, max) = found
            .entry((&update.variant, &update.arch))
            .or_insert_with(|| (Vec::new(), &update.max_version));
        versions.push(update.version.clone());
        *max = (*max).max(&update.max_version);
    }
    let report =
        |((variant, arch), (mut versions, max)): ((&str, &str), (Vec<Version>, &Version))| {
            versions.sort();
            ReleaseReport {
                variant: variant.to_owned(),
                arch: arch.to_owned(),
                versions,
                max_version: max.clone(),
            }
        };
    found.into_iter().map(report).collect()
}

/// The value, or a warning with the error's whole chain.
fn told<T, E: StdError + fmt::Display + 'static>(
    result: Result<T, E>,
    warnings: &mut Vec<String>,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            warnings.push(exit::chain(&error));
            None
        }
    }
}
