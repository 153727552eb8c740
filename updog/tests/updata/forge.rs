//! What no release would sign: a published repository is changed in one place and signed again, by
//! the same keys, without any check.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tough::ExpirationEnforcement::Unsafe;
use tough::schema::{
    DelegatedRole, Delegations, Hashes, Metafile, PathPattern, PathSet, Role, RoleType, Root,
    Signed, Snapshot, Target, Targets, Timestamp,
};
use updog::publish::signatures::SignedBytes;
use updog::publish::{keyring, tuf};

use super::lab::{Lab, Published, block_on};

const METADATA: &str = "repo/demo/x86_64";
const TARGETS: &str = "repo/targets";

/// A repository to be signed again.
pub(crate) struct Forge<'a> {
    lab: &'a Lab,
    version: NonZeroU64,
    /// The manifest, as JSON so that it can be anything.
    pub(crate) manifest: Value,
    pub(crate) targets: Targets,
    pub(crate) root: Root,
    published: Published,
}

impl<'a> Forge<'a> {
    /// What is published for demo on `x86_64`.
    pub(crate) fn of(lab: &'a Lab) -> Self {
        let published = lab.load(Unsafe);
        let root: Signed<Root> = serde_json::from_slice(&lab.read("root.json")).unwrap();
        Self {
            lab,
            version: NonZeroU64::new(published.version() + 1).unwrap(),
            manifest: serde_json::from_slice(&published.fetch("manifest.json")).unwrap(),
            targets: published.repository.targets().signed.clone(),
            root: root.signed,
            published,
        }
    }

    /// The last update of the manifest.
    pub(crate) fn update(&mut self) -> &mut Value {
        self.manifest["updates"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap()
    }

    /// Lists a target, and puts its file where it belongs.
    pub(crate) fn place(&mut self, name: &str, content: &[u8]) {
        self.list(name, content);
        let path = format!("{TARGETS}/{}.{name}", hex::encode(Sha256::digest(content)));
        if let Some((folder, _)) = path.rsplit_once('/') {
            fs::create_dir_all(self.lab.path(folder)).unwrap();
        }
        self.lab.write(&path, content);
    }

    /// Lists a target without a file.
    pub(crate) fn list(&mut self, name: &str, content: &[u8]) {
        let target = Target {
            length: u64::try_from(content.len()).unwrap(),
            hashes: hashes(content),
            custom: HashMap::new(),
            _extra: HashMap::new(),
        };
        self.targets.targets.insert(name.parse().unwrap(), target);
    }

    /// The file of a target.
    pub(crate) fn file(&self, name: &str) -> String {
        let target = self.published.target(name);
        format!("{TARGETS}/{}.{name}", hex::encode(&target.hashes.sha256))
    }

    /// Signs the root role again and puts it everywhere.
    pub(crate) fn sign_root(&self) {
        let keys = keyring::read(&self.lab.path("keys"), &[RoleType::Root]).unwrap();
        let signed = block_on(tuf::sign(self.root.clone(), &self.root, &keys)).unwrap();
        self.lab.write("root.json", signed.buffer());
        self.lab
            .write(&format!("{METADATA}/1.root.json"), signed.buffer());
    }

    /// Delegates what starts with `name` to a role of that name.
    pub(crate) fn delegate(&mut self, name: &str) {
        let keyids = self.root.roles[&RoleType::Targets].keyids.clone();
        let keys = keyids
            .iter()
            .map(|id| (id.clone(), self.root.keys[id].clone()));
        let role = DelegatedRole {
            name: name.to_owned(),
            keyids: keyids.clone(),
            threshold: NonZeroU64::MIN,
            paths: PathSet::Paths(vec![PathPattern::new(format!("{name}*")).unwrap()]),
            terminating: false,
            targets: None,
        };
        self.targets.delegations = Some(Delegations {
            keys: keys.collect(),
            roles: vec![role],
        });
    }

    /// Signs everything again, the manifest included, and writes it.
    pub(crate) fn sign(mut self) {
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        self.place("manifest.json", &manifest);
        let roles = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];
        let keys = keyring::read(&self.lab.path("keys"), &roles).unwrap();
        let expires = self.targets.expires;
        let spec = || "1.0.0".to_owned();
        let mut snapshot = Snapshot::new(spec(), self.version, expires);
        let mut timestamp = Timestamp::new(
            spec(),
            self.version,
            self.published.repository.timestamp().signed.expires,
        );
        let write =
            |name: String, bytes: &[u8]| self.lab.write(&format!("{METADATA}/{name}"), bytes);
        for role in self.targets.delegations.iter().flat_map(|all| &all.roles) {
            let other = Targets::new(spec(), self.version, expires);
            let other = block_on(tuf::sign(other, &self.root, &keys)).unwrap();
            let name = format!("{}.json", role.name);
            write(format!("{}.{name}", self.version), other.buffer());
            snapshot.meta.insert(name, metafile(&other));
        }
        self.targets.version = self.version;
        let targets = block_on(tuf::sign(self.targets.clone(), &self.root, &keys)).unwrap();
        snapshot
            .meta
            .insert("targets.json".to_owned(), metafile(&targets));
        let snapshot = block_on(tuf::sign(snapshot, &self.root, &keys)).unwrap();
        timestamp
            .meta
            .insert("snapshot.json".to_owned(), metafile(&snapshot));
        let timestamp = block_on(tuf::sign(timestamp, &self.root, &keys)).unwrap();
        for consistent in [true, false] {
            write(
                targets.signed().signed.filename(consistent),
                targets.buffer(),
            );
            write(
                snapshot.signed().signed.filename(consistent),
                snapshot.buffer(),
            );
        }
        write("timestamp.json".to_owned(), timestamp.buffer());
    }
}

fn metafile<T: Role>(role: &SignedBytes<T>) -> Metafile {
    Metafile {
        length: Some(role.buffer().len().try_into().unwrap()),
        hashes: Some(hashes(role.buffer())),
        version: role.signed().signed.version(),
        _extra: HashMap::new(),
    }
}

fn hashes(content: &[u8]) -> Hashes {
    Hashes {
        sha256: Sha256::digest(content).to_vec().into(),
        _extra: HashMap::new(),
    }
}
