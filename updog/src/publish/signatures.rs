//! Pure but for the random source: adding signatures to a role, and counting those that are good.
//!
//! tough signs all at once or not at all; several people on several machines sign one after the
//! other. So a role is kept with the signatures it has, and [`tally`] says how many it lacks.

use std::num::NonZeroU64;

use aws_lc_rs::rand::SystemRandom;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use snafu::{OptionExt, ResultExt};
use tough::schema::{Role, RoleType, Root, Signature, Signed};
use update_metadata::Digest;

use super::key_file::material;
use super::keyring::{KeyId, RoleKey};
use super::tuf::{CanonicalSnafu, NoSignerSnafu, SerializeSnafu, SignSnafu, TufError};

/// A role with its signatures, and the very bytes that are written, which other roles state the
/// digest of.
#[derive(Debug, Clone)]
pub struct SignedBytes<T> {
    signed: Signed<T>,
    buffer: Vec<u8>,
}

impl<T: Role> SignedBytes<T> {
    /// Gives a role its bytes.
    pub fn of(signed: Signed<T>) -> Result<Self, TufError> {
        let role = T::TYPE;
        let mut buffer = serde_json::to_vec_pretty(&signed).context(SerializeSnafu { role })?;
        buffer.push(b'\n');
        Ok(Self { signed, buffer })
    }

    /// A role as it was read from `buffer`.
    pub(super) fn as_read(signed: Signed<T>, buffer: Vec<u8>) -> Self {
        Self { signed, buffer }
    }

    /// The role and its signatures.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// The role.
    pub fn role(&self) -> &T {
        &self.signed.signed
    }

    /// What is written.
    pub fn buffer(&self) -> &Vec<u8> {
        &self.buffer
    }

    /// The digest of what is written.
    pub fn sha256(&self) -> Digest {
        digest_of(&self.buffer)
    }
}

/// SHA-256 of bytes in memory.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from(<[u8; 32]>::from(Sha256::digest(bytes)))
}

/// SHA-256 of what the signatures of a role are over. It is the same for every signer, whatever
/// signatures are there already.
pub fn content_digest<T: Role>(role: &T) -> Result<Digest, TufError> {
    let content = role
        .canonical_form()
        .context(CanonicalSnafu { role: T::TYPE })?;
    Ok(digest_of(&content))
}

/// Adds a signature of each of `keys` that is of this role, has its private half and is named by one
/// of `roots`; a key that signed already is not asked again. Returns the ids that were added.
pub async fn add<T: Role>(
    signed: &mut Signed<T>,
    roots: &[&Root],
    keys: &[RoleKey],
) -> Result<Vec<KeyId>, TufError> {
    let role = T::TYPE;
    let content = signed
        .signed
        .canonical_form()
        .context(CanonicalSnafu { role })?;
    let random = SystemRandom::new();
    let mut added = Vec::new();
    for key in keys.iter().filter(|key| key.role == role) {
        let Some(secret) = &key.secret else { continue };
        for root in roots {
            let Some(id) = key.id_in(root) else { continue };
            if is_good(root, signed, &id) {
                continue;
            }
            let pair = secret.signer().context(NoSignerSnafu { path: &key.path })?;
            let sig = pair
                .sign(&content, &random)
                .await
                .context(SignSnafu { role })?;
            // A bad signature under this id would make every reader refuse the good one.
            signed.signatures.retain(|old| old.keyid != id);
            signed.signatures.push(Signature {
                keyid: id.clone(),
                sig: sig.into(),
            });
            added.push(id);
        }
    }
    Ok(added)
}

/// The signatures of a role as one root role judges them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The role.
    pub role: RoleType,
    /// How many different keys must have signed; more than there can be where the root role does not
    /// name the role at all.
    pub threshold: u64,
    /// The ids of the keys that did; a key that has two ids counts once.
    pub valid: Vec<String>,
    /// The ids under which there are signatures that do not verify.
    pub invalid: Vec<String>,
    /// The ids under which there are signatures of keys that the root role does not name.
    pub unknown: Vec<String>,
}

impl Tally {
    /// Whether the root role names the role.
    pub fn is_named(&self) -> bool {
        self.threshold != u64::MAX
    }

    /// How many signatures are missing.
    pub fn missing(&self) -> u64 {
        let valid = u64::try_from(self.valid.len()).unwrap_or(u64::MAX);
        self.threshold.saturating_sub(valid)
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }
}

/// Counts the signatures of `signed` that `root` accepts.
pub fn tally<T: Role>(root: &Root, signed: &Signed<T>) -> Tally {
    let role = T::TYPE;
    let named = root.roles.get(&role);
    let mut tally = Tally {
        role,
        threshold: named.map_or(u64::MAX, |named| named.threshold.get()),
        valid: Vec::new(),
        invalid: Vec::new(),
        unknown: Vec::new(),
    };
    let mut seen = Vec::new();
    for Signature { keyid, .. } in &signed.signatures {
        let key = named
            .filter(|named| named.keyids.contains(keyid))
            .and_then(|_| root.keys.get(keyid));
        let id = hex::encode(keyid);
        match key {
            None => tally.unknown.push(id),
            Some(key) if is_good(root, signed, keyid) => {
                if !seen.contains(&material(key)) {
                    seen.push(material(key));
                    tally.valid.push(id);
                }
            }
            Some(_) => tally.invalid.push(id),
        }
    }
    tally
}

/// Whether there is exactly one signature under `id`, and `root` accepts it for the role. The
/// library judges: a root role that asks for one signature, and a role that has this one.
fn is_good<T: Role>(root: &Root, signed: &Signed<T>, id: &KeyId) -> bool {
    let mut judge = root.clone();
    let Some(named) = judge.roles.get_mut(&T::TYPE) else {
        return false;
    };
    named.threshold = NonZeroU64::MIN;
    named.keyids.retain(|named| named == id);
    let content = &signed.signed;
    let of_id = signed.signatures.iter().filter(|found| found.keyid == *id);
    let alone = Signed {
        signed: Borrowed(content),
        signatures: of_id.cloned().collect(),
    };
    judge.verify_role(&alone).is_ok()
}

/// A role that is not copied only to be looked at.
struct Borrowed<'a, T>(&'a T);

impl<T: Serialize> Serialize for Borrowed<'_, T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<T: Role> Role for Borrowed<'_, T> {
    const TYPE: RoleType = T::TYPE;

    fn expires(&self) -> jiff::Timestamp {
        self.0.expires()
    }

    fn version(&self) -> NonZeroU64 {
        self.0.version()
    }

    fn filename(&self, consistent_snapshot: bool) -> String {
        self.0.filename(consistent_snapshot)
    }
}
