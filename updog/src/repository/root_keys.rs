//! PURE: what the TUF library does not look at in a root: keys that are one key under two names,
//! and keys of kinds that it cannot read.

use serde::Deserialize;
use serde_json::Value;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::Key;
use tough::schema::{RoleType, Root};

/// A key's name: the digest of what is said of it.
type KeyId = Decoded<Hex>;
/// Characters of a kind or an id that are worth telling; nobody has signed them.
const MAX_TOLD: usize = 80;

/// The kinds of keys that tough reads, as `keytype/scheme`.
const KNOWN_KINDS: [&str; 4] = [
    "ed25519/ed25519",
    "rsa/rsassa-pss-sha256",
    "ecdsa/ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256/ecdsa-sha2-nistp256",
];

/// The ids of two keys of `root` that are the same key. A threshold of two would be met by whoever
/// has one.
pub(super) fn equal_keys(root: &Root) -> Option<(String, String)> {
    equal(root.keys.iter())
}

/// The same among the keys that sign roots.
pub(super) fn equal_root_keys(root: &Root) -> Option<(String, String)> {
    let signers = root.roles.get(&RoleType::Root);
    let signs = |id: &KeyId| signers.is_some_and(|role| role.keyids.contains(id));
    equal(root.keys.iter().filter(|(id, _)| signs(id)))
}

fn equal<'a>(keys: impl Iterator<Item = (&'a KeyId, &'a Key)>) -> Option<(String, String)> {
    let mut keys: Vec<(Vec<u8>, String)> = keys
        .map(|(id, key)| (material(key), hex::encode(id)))
        .collect();
    keys.sort_unstable();
    keys.windows(2)
        .find(|pair| pair[0].0 == pair[1].0)
        .map(|pair| (pair[0].1.clone(), pair[1].1.clone()))
}

/// What makes the key the key, whatever it is called and however it is written.
fn material(key: &Key) -> Vec<u8> {
    let (kind, public): (u8, &[u8]) = match key {
        Key::Rsa { keyval, .. } => (0, &keyval.public),
        Key::Ed25519 { keyval, .. } => (1, &keyval.public),
        // A point can be written whole or as one coordinate and a sign; the one with the other sign
        // belongs to the same private key.
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => (
            2,
            keyval.public.get(1..33).unwrap_or(keyval.public.as_ref()),
        ),
    };
    [&[kind], public].concat()
}

/// The kind and id of the first key of a root, as received, that tough cannot read.
pub(super) fn unknown_key(root: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Document {
        signed: Keys,
    }
    #[derive(Deserialize)]
    struct Keys {
        keys: serde_json::Map<String, Value>,
    }
    let document: Document = serde_json::from_slice(root).ok()?;
    document.signed.keys.into_iter().find_map(|(id, key)| {
        let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or("none");
        let kind = format!("{}/{}", text("keytype"), text("scheme"));
        let told = |text: &str| text.chars().take(MAX_TOLD).collect();
        (!KNOWN_KINDS.contains(&kind.as_str())).then(|| (told(&kind), told(&id)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(keys: &[Value]) -> Root {
        let mut map = serde_json::Map::new();
        for key in keys {
            let id = serde_json::from_value::<Key>(key.clone())
                .unwrap()
                .key_id()
                .unwrap();
            map.insert(hex::encode(&id), key.clone());
        }
        assert_eq!(map.len(), keys.len());
        serde_json::from_value(serde_json::json!({
            "_type": "root", "spec_version": "1.0.0", "consistent_snapshot": true, "version": 1,
            "expires": "2031-03-01T01:00:00Z", "keys": map, "roles": {},
        }))
        .unwrap()
    }

    fn key(keytype: &str, scheme: &str, public: &str) -> Value {
        serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}})
    }

    fn named(mut key: Value, name: &str) -> Value {
        key["name"] = name.into();
        key
    }

    #[test]
    fn one_key_is_one_key_however_it_is_written() {
        let ed25519 = |public: &str| key("ed25519", "ed25519", public);
        let (x, y, other) = ("11".repeat(32), "22".repeat(32), "33".repeat(32));
        let ecdsa = |keytype: &str, public: &str| key(keytype, "ecdsa-sha2-nistp256", public);
        let whole = format!("04{x}{y}");
        for (keys, equal) in [
            (vec![ed25519(&x), ed25519(&other)], false),
            (vec![ed25519(&x), named(ed25519(&x), "second")], true),
            (
                vec![ed25519(&x), ecdsa("ecdsa", &format!("04{other}{y}"))],
                false,
            ),
            (
                vec![ecdsa("ecdsa", &whole), ecdsa("ecdsa-sha2-nistp256", &whole)],
                true,
            ),
            (
                vec![ecdsa("ecdsa", &whole), ecdsa("ecdsa", &format!("02{x}"))],
                true,
            ),
            (
                vec![ecdsa("ecdsa", &whole), ecdsa("ecdsa", &format!("04{y}{x}"))],
                false,
            ),
        ] {
            assert_eq!(equal_keys(&root(&keys)).is_some(), equal, "{keys:?}");
        }
    }

    #[test]
    fn a_key_of_an_unknown_kind_is_named() {
        let root = |keytype: &str, scheme: &str| {
            let keys =
                serde_json::json!({"signed": {"keys": {"ab12": key(keytype, scheme, "00")}}});
            unknown_key(keys.to_string().as_bytes())
        };
        assert_eq!(root("ed25519", "ed25519"), None);
        for (keytype, scheme) in [("sphincs", "sphincs"), ("rsa", "rsa-pkcs1v15-sha256")] {
            assert_eq!(
                root(keytype, scheme),
                Some((format!("{keytype}/{scheme}"), "ab12".to_owned()))
            );
        }
        for text in ["", "{}", "{\"signed\": {\"keys\": []}}"] {
            assert_eq!(unknown_key(text.as_bytes()), None, "{text}");
        }
    }
}
