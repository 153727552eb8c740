//! A root before it is written.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

use super::{Forge, Key, Role, Signers, bytes_of, head, key};

type Change = Box<dyn FnOnce(&mut Value)>;

/// The root after the newest one: signed by its own root keys and those before it, unless changed.
pub struct NextRoot<'a> {
    forge: &'a mut Forge,
    signers: BTreeMap<Role, Signers>,
    consistent: bool,
    changes: Vec<Change>,
    keys: Option<Vec<Key>>,
}

impl<'a> NextRoot<'a> {
    pub(super) fn new(forge: &'a mut Forge) -> Self {
        Self {
            signers: forge.signers.clone(),
            consistent: forge.consistent,
            forge,
            changes: Vec::new(),
            keys: None,
        }
    }

    /// Other keys for `role`.
    #[must_use]
    pub fn signers(mut self, role: Role, signers: Signers) -> Self {
        self.signers.insert(role, signers);
        self
    }

    /// One new key for `role`.
    #[must_use]
    pub fn rotate(self, role: Role) -> Self {
        self.signers(role, Signers::one())
    }

    /// With or without versions and digests in the names of files.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
        self
    }

    /// Another end.
    #[must_use]
    pub fn expires(self, time: &str) -> Self {
        let time = time.to_owned();
        self.edit(move |signed| signed["expires"] = json!(time))
    }

    /// Changes what is signed.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// These keys sign it, and no other.
    #[must_use]
    pub fn signed_by(mut self, keys: &[Key]) -> Self {
        self.keys = Some(keys.to_vec());
        self
    }

    /// Writes it. From now on it is the newest root, and its keys sign.
    pub fn write(self) {
        let (version, signers, consistent) =
            (self.forge.root + 1, self.signers.clone(), self.consistent);
        let forge = self.write_only();
        forge.root = version;
        forge.signers = signers;
        forge.consistent = consistent;
    }

    /// Writes it, for hosts to refuse: the newest root that counts stays what it is.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_only(self) -> &'a mut Forge {
        let version = self.forge.root + 1;
        let (mut keys, mut roles) = (Map::new(), Map::new());
        for (
            role,
            Signers {
                keys: of_role,
                threshold,
            },
        ) in &self.signers
        {
            let ids: Vec<_> = of_role.iter().map(Key::id).collect();
            roles.insert(
                role.to_string(),
                json!({"keyids": ids, "threshold": threshold}),
            );
            for key in of_role {
                keys.insert(key.id().to_owned(), key.public().clone());
            }
        }
        let mut signed = head(Role::Root, version);
        signed["consistent_snapshot"] = json!(self.consistent);
        signed["keys"] = Value::Object(keys);
        signed["roles"] = Value::Object(roles);
        for change in self.changes {
            change(&mut signed);
        }
        let keys = self.keys.unwrap_or_else(|| {
            let mut keys: Vec<_> = self.signers[&Role::Root].keys.clone();
            let new: Vec<_> = keys.iter().map(|key| key.id().to_owned()).collect();
            let old = self.forge.keys(Role::Root).iter();
            keys.extend(
                old.filter(|key| !new.iter().any(|id| id == key.id()))
                    .cloned(),
            );
            keys
        });
        fs::write(
            self.forge.root_file(version),
            bytes_of(&key::sign(&signed, &keys)),
        )
        .expect("a root");
        self.forge
    }
}
