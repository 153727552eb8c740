//! A release before it is written: where a test puts in what is wrong.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Forge, Key, Role, bytes_of, head, key};
use crate::publisher::{ARCH, VARIANT};

type Change = Box<dyn FnOnce(&mut Value)>;

/// Timestamp, snapshot and targets that name each other as they should, but for what is changed.
pub struct Draft<'a> {
    forge: &'a Forge,
    versions: BTreeMap<Role, u64>,
    files: BTreeMap<String, Vec<u8>>,
    before: Vec<(Role, Change)>,
    after: Vec<(Role, Change)>,
    signers: BTreeMap<Role, Vec<Key>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(forge: &'a Forge, version: u64) -> Self {
        let update = json!({
            "variant": VARIANT, "arch": ARCH, "waves": {},
            "version": format!("1.{version}.0"), "max_version": format!("1.{version}.0"),
            "images": {"boot": "boot.lz4", "root": "root.lz4", "hash": "hash.lz4"},
        });
        let manifest = json!({"updates": [update], "migrations": {}}).to_string();
        Self {
            forge,
            versions: Role::ONLINE.map(|role| (role, version)).into(),
            files: BTreeMap::from([("manifest.json".to_owned(), manifest.into_bytes())]),
            before: Vec::new(),
            after: Vec::new(),
            signers: Role::ONLINE
                .map(|role| (role, forge.keys(role).to_vec()))
                .into(),
        }
    }

    /// Another version of `role`.
    #[must_use]
    pub fn version(mut self, role: Role, version: u64) -> Self {
        self.versions.insert(role, version);
        self
    }

    /// Another end of `role`.
    #[must_use]
    pub fn expires(self, role: Role, time: &str) -> Self {
        let time = time.to_owned();
        self.edit(role, move |signed| signed["expires"] = json!(time))
    }

    /// Changes what is signed of `role`.
    #[must_use]
    pub fn edit(mut self, role: Role, change: impl FnOnce(&mut Value) + 'static) -> Self {
        self.before.push((role, Box::new(change)));
        self
    }

    /// Changes the document of `role` after it was signed; what names it names the changed one.
    #[must_use]
    pub fn tamper(mut self, role: Role, change: impl FnOnce(&mut Value) + 'static) -> Self {
        self.after.push((role, Box::new(change)));
        self
    }

    /// Other keys sign `role`.
    #[must_use]
    pub fn signed_by(mut self, role: Role, keys: &[Key]) -> Self {
        self.signers.insert(role, keys.to_vec());
        self
    }

    /// One more target, or another content.
    #[must_use]
    pub fn target(mut self, name: &str, content: &[u8]) -> Self {
        self.files.insert(name.to_owned(), content.to_vec());
        self
    }

    /// Writes it: targets, then targets.json, snapshot.json and timestamp.json.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn write(mut self) {
        let mut listed = Map::new();
        for (name, content) in &self.files {
            listed.insert(name.clone(), facts(content));
            let path = self.forge.targets().join(self.target_file(name, content));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a target");
        }
        let mut signed = head(Role::Targets, self.versions[&Role::Targets]);
        signed["targets"] = Value::Object(listed);
        let targets = self.finish(Role::Targets, signed);
        let mut signed = head(Role::Snapshot, self.versions[&Role::Snapshot]);
        signed["meta"] = json!({"targets.json": self.named(Role::Targets, &targets)});
        let snapshot = self.finish(Role::Snapshot, signed);
        let mut signed = head(Role::Timestamp, self.versions[&Role::Timestamp]);
        signed["meta"] = json!({"snapshot.json": self.named(Role::Snapshot, &snapshot)});
        self.finish(Role::Timestamp, signed);
    }

    /// `dir/HASH.name` where names have digests.
    fn target_file(&self, name: &str, content: &[u8]) -> String {
        if !self.forge.consistent {
            return name.to_owned();
        }
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let digest = hex::encode(Sha256::digest(content));
        let name = format!("{folder}/{digest}.{file}");
        name.trim_start_matches('/').to_owned()
    }

    /// Changes, signs, changes again and writes one role.
    fn finish(&mut self, role: Role, mut signed: Value) -> Vec<u8> {
        apply(&mut self.before, role, &mut signed);
        let mut document = key::sign(&signed, &self.signers[&role]);
        apply(&mut self.after, role, &mut document);
        let bytes = bytes_of(&document);
        let name = self.forge.file_name(role, self.versions[&role]);
        self.forge.put(&name, &bytes);
        bytes
    }

    fn named(&self, role: Role, bytes: &[u8]) -> Value {
        let mut facts = facts(bytes);
        facts["version"] = json!(self.versions[&role]);
        facts
    }
}

fn facts(bytes: &[u8]) -> Value {
    let digest = hex::encode(Sha256::digest(bytes));
    json!({"length": bytes.len(), "hashes": {"sha256": digest}})
}

fn apply(changes: &mut Vec<(Role, Change)>, role: Role, value: &mut Value) {
    for (of, change) in std::mem::take(changes) {
        if of == role {
            change(value);
        } else {
            changes.push((of, change));
        }
    }
}
