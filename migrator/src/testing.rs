//! Generated stores for the laws.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use crate::datastore::{Store, Tree, Value};
use crate::key::Key;

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        2 => "[a-zA-Z0-9_/-]{1,8}",
        1 => "[a-c./]{1,6}",
    ]
}

/// A name of a setting, short segments, often the same one twice.
pub(crate) fn key() -> impl Strategy<Value = Key> {
    vec(segment(), 1..5).prop_map(|segments| Key::from_segments(&segments).unwrap())
}

/// A name of metadata.
pub(crate) fn metadata_key() -> impl Strategy<Value = Key> {
    segment().prop_map(|segment| Key::from_segments(&[segment]).unwrap())
}

/// A scalar or a list of scalars.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
        any::<f64>()
            .prop_filter("JSON has no other", |f| f.is_finite())
            .prop_map(|f| json!(f)),
        "[a-c]{0,2}".prop_map(|s| json!(s)),
        any::<String>().prop_map(|s| json!(s)),
    ];
    prop_oneof![
        3 => scalar.clone(),
        1 => vec(scalar, 0..4).prop_map(serde_json::Value::from),
    ]
    .prop_map(|json| Value::try_from(json).unwrap())
}

/// Settings and metadata that can be stored: no setting lies below another.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let data = btree_map(key(), value(), 0..12);
    let metadata = btree_map(key(), btree_map(metadata_key(), value(), 1..3), 0..4);
    (data, metadata).prop_map(|(data, metadata)| {
        let mut tree = Tree { data, metadata };
        while let Some((_, below)) = tree.conflict() {
            let below = below.clone();
            tree.data.remove(&below);
            tree.metadata.remove(&below);
        }
        tree
    })
}

/// A whole store, with up to two pending transactions of any name.
pub(crate) fn store() -> impl Strategy<Value = Store> {
    let name = prop_oneof![Just("test transaction".to_owned()), "\\PC{1,12}"];
    (tree(), btree_map(name, tree(), 0..3)).prop_map(|(live, pending)| Store {
        live,
        pending,
        strays: Vec::new(),
    })
}
