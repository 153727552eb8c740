//! Pure: which keys the next root role names, and what that changes.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::str::FromStr;

use snafu::{OptionExt, Snafu, ensure};
use tough::schema::{RoleKeys, RoleType, Root};

use super::{
    AmbiguousSnafu, Change, Error, NamedSnafu, NoSuchKeySnafu, NoVersionSnafu, RotatedKey,
    SharedSnafu, TooFewKeysSnafu,
};
use crate::publish::key_file::material;
use crate::publish::keyring::{self, KeyId, RoleFileError, RoleKey};
use crate::publish::tuf;

/// Fewer digits of a key id are too easily mistyped.
const MIN_ID_DIGITS: usize = 8;

/// Pure: a key that a role names, by its id or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeyId {
    /// The role.
    pub role: RoleType,
    /// Lower-case hexadecimal digits.
    pub id: String,
}

impl FromStr for RoleKeyId {
    type Err = RoleKeyIdError;

    fn from_str(text: &str) -> Result<Self, RoleKeyIdError> {
        let (role, id) = text.split_once('=').context(IdFormSnafu { text })?;
        let role = keyring::role_named(role)?;
        let id = id.to_ascii_lowercase();
        ensure!(
            id.len() >= MIN_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            IdFormSnafu { text }
        );
        Ok(Self { role, id })
    }
}

/// Why a text names no key of a role.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RoleKeyIdError {
    /// Not `ROLE=ID`.
    #[snafu(display("'{text}' is not ROLE=ID with {MIN_ID_DIGITS} or more hexadecimal digits"))]
    IdForm { text: String },
    /// No such role.
    #[snafu(transparent)]
    IdRole { source: RoleFileError },
}

/// What changes from one root role to the next.
pub(super) struct Changes<'a, F> {
    pub(super) add: &'a [RoleKey],
    pub(super) replace: &'a [RoleKey],
    pub(super) remove: &'a [RoleKeyId],
    pub(super) threshold: F,
    pub(super) expires: jiff::Timestamp,
}

/// Pure: the next root role.
pub(super) fn successor<F>(old: &Root, changes: &Changes<'_, F>) -> Result<Root, Error>
where
    F: Fn(RoleType) -> Option<NonZeroU64>,
{
    let mut next = old.clone();
    next.version = old.version.checked_add(1).context(NoVersionSnafu)?;
    next.expires = changes.expires;
    tuf::SPEC_VERSION.clone_into(&mut next.spec_version);
    for RoleKeyId { role, id } in changes.remove {
        let named = named_ids(&mut next, *role);
        let begins = |found: &&KeyId| hex::encode(found).starts_with(id.as_str());
        let found: Vec<KeyId> = named.iter().filter(begins).cloned().collect();
        ensure!(!found.is_empty(), NoSuchKeySnafu { role: *role, id });
        ensure!(found.len() == 1, AmbiguousSnafu { role: *role, id });
        named.retain(|kept| !found.contains(kept));
    }
    for key in changes.replace {
        named_ids(&mut next, key.role).clear();
    }
    for key in changes.replace.iter().chain(changes.add) {
        name(&mut next, key)?;
    }
    for role in keyring::ROLES {
        let Some(named) = next.roles.get_mut(&role) else {
            continue;
        };
        if let Some(threshold) = (changes.threshold)(role) {
            named.threshold = threshold;
        }
        let found = u64::try_from(named.keyids.len()).unwrap_or(u64::MAX);
        let threshold = named.threshold.get();
        ensure!(
            found >= threshold,
            TooFewKeysSnafu {
                role,
                threshold,
                found
            }
        );
    }
    let used: Vec<KeyId> = next
        .roles
        .values()
        .flat_map(|named| named.keyids.iter().cloned())
        .collect();
    next.keys.retain(|id, _| used.contains(id));
    Ok(next)
}

/// The ids that a role names; a root role that leaves a role out gets it.
fn named_ids(root: &mut Root, role: RoleType) -> &mut Vec<KeyId> {
    let empty = || RoleKeys {
        keyids: Vec::new(),
        threshold: NonZeroU64::MIN,
        _extra: HashMap::new(),
    };
    &mut root.roles.entry(role).or_insert_with(empty).keyids
}

/// Names a key for its role, and for no other.
fn name(next: &mut Root, key: &RoleKey) -> Result<(), Error> {
    let RoleKey { role, path, .. } = key;
    for other in keyring::ROLES {
        if next.keys(other).any(|named| key.is(named)) {
            let role = *role;
            ensure!(other != role, NamedSnafu { role, path });
            return SharedSnafu { role, other, path }.fail();
        }
    }
    // A key that was known under an id keeps it: one key must not have two.
    let known = next.keys.iter().find(|(_, known)| key.is(known));
    let id = known.map_or_else(|| key.id.clone(), |(id, _)| id.clone());
    next.keys
        .entry(id.clone())
        .or_insert_with(|| key.public.clone());
    named_ids(next, *role).push(id);
    Ok(())
}

/// Pure: every key of both, and what becomes of it.
pub(super) fn compared(old: &Root, next: &Root) -> Vec<RotatedKey> {
    let ids = |root: &Root, role| -> Vec<KeyId> {
        root.roles
            .get(&role)
            .map_or_else(Vec::new, |named| named.keyids.clone())
    };
    let mut keys = Vec::new();
    for role in keyring::ROLES {
        let (before, after) = (ids(old, role), ids(next, role));
        let mut add = |root: &Root, id: &KeyId, change| {
            if let Some(key) = root.keys.get(id) {
                keys.push(RotatedKey {
                    role,
                    key_id: hex::encode(id),
                    key_type: material(key).0,
                    change,
                });
            }
        };
        for id in &after {
            let change = if before.contains(id) {
                Change::Kept
            } else {
                Change::Added
            };
            add(next, id, change);
        }
        for id in before.iter().filter(|id| !after.contains(id)) {
            add(old, id, Change::Removed);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_typed_with_its_role() {
        let id: RoleKeyId = "timestamp=ABCDEF01".parse().unwrap();
        assert_eq!((id.role, id.id.as_str()), (RoleType::Timestamp, "abcdef01"));
        for text in ["abcdef01", "root=abcdef0", "root=abcdefgh", "root="] {
            assert!(
                matches!(
                    text.parse::<RoleKeyId>(),
                    Err(RoleKeyIdError::IdForm { .. })
                ),
                "{text}"
            );
        }
        assert!(matches!(
            "mirror=abcdef01".parse::<RoleKeyId>(),
            Err(RoleKeyIdError::IdRole { .. })
        ));
    }
}
