//! How far a repository has come, as this host knows it: `state_dir/tuf/versions.json`.
//!
//! The kept metadata files say the same, but one of them may be lost to a torn disk while the
//! repository is answered for by somebody who would like to go back. So the versions have a file
//! of their own, which is written before the file that it guards.
//!
//! Versions of timestamp, snapshot and targets count under the timestamp and snapshot keys that
//! they were seen under: once a root names other keys they are forgotten, since whoever had the old
//! ones may have signed versions too high to be reached again (TUF specification 5.3.11). The root's
//! version is never forgotten for the same repository. Which mirror it came from makes no
//! difference.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tough::schema::{RoleType, Root};
use update_metadata::Stored;

/// The version of the file's form. A newer engine's file is neither read nor replaced.
const SCHEMA: u32 = 1;
/// Root keys that are remembered; beyond that only those of the newest roots are.
const MAX_ROOT_KEYS: usize = 1024;

/// The highest version of each role that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Versions {
    /// The version of this form, 1.
    schema: u32,
    /// Of the newest root.
    pub(super) root: u64,
    /// The ids of the root keys of every root that led to it, which tell this repository from
    /// another.
    root_keys: BTreeSet<String>,
    /// The variant and architecture that the signed targets are for, where they say so.
    pub(super) place: Option<String>,
    /// The ids of its timestamp and snapshot keys.
    keys: BTreeSet<String>,
    /// Under these keys; 0 is none yet.
    timestamp: u64,
    /// The same.
    snapshot: u64,
    /// The same.
    targets: u64,
    /// The time of the last run that ended with every role verified and unexpired. It tells when a
    /// clock went back; it decides nothing, since that clock may have been ahead before.
    pub(super) refreshed: Option<DateTime<Utc>>,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SeenVersions {
    /// Nothing: there is none, or none that makes sense.
    None,
    /// This.
    Known(Versions),
    /// What only a newer engine understands.
    Newer,
}

impl SeenVersions {
    pub(super) fn from_slice(bytes: &[u8]) -> Self {
        match Stored::from_slice(bytes, SCHEMA) {
            Ok(Stored::Known(versions)) => Self::Known(versions),
            Ok(Stored::Newer) => Self::Newer,
            Err(_) => Self::None,
        }
    }

    /// Whether the file may be written.
    pub(super) fn is_ours(&self) -> bool {
        *self != Self::Newer
    }

    /// What is known under `root`, as far as it binds.
    pub(super) fn under(&self, root: &Root) -> Versions {
        match self {
            Self::Known(seen) if seen.binds(root) => seen.clone(),
            Self::Known(seen) => Versions {
                root: seen.root.max(root.version.get()),
                root_keys: seen.root_keys.clone(),
                ..Versions::of_root(root)
            },
            Self::None | Self::Newer => Versions::of_root(root),
        }
    }

    /// What is to be written before the newest root of `chain`, oldest first, is kept; `None` where
    /// the file is to stay as it is. `is_same` says whether it is about the same repository.
    pub(super) fn with_roots(&self, chain: &[&Root], is_same: bool) -> Option<Versions> {
        let mut new = Versions::of_root(chain.last()?);
        for root in chain {
            new.root_keys.extend(key_ids(root, &[RoleType::Root]));
        }
        match self {
            Self::Newer => None,
            Self::Known(seen) if is_same && seen.root >= new.root => None,
            // What binds by the timestamp and snapshot keys goes on to do so.
            Self::Known(seen) if is_same => {
                if seen.root_keys.len() < MAX_ROOT_KEYS {
                    new.root_keys.extend(seen.root_keys.iter().cloned());
                }
                Some(Versions {
                    root: new.root,
                    root_keys: new.root_keys,
                    ..seen.clone()
                })
            }
            Self::Known(_) | Self::None => Some(new),
        }
    }
}

impl Versions {
    /// What is known when `root` is all that is known.
    pub(super) fn of_root(root: &Root) -> Self {
        Self {
            schema: SCHEMA,
            root: root.version.get(),
            root_keys: key_ids(root, &[RoleType::Root]),
            place: None,
            keys: online_keys(root),
            timestamp: 0,
            snapshot: 0,
            targets: 0,
            refreshed: None,
        }
    }

    /// The highest version of `role`; 0 is none.
    pub(super) fn get(&self, role: RoleType) -> u64 {
        match role {
            RoleType::Root => self.root,
            RoleType::Timestamp => self.timestamp,
            RoleType::Snapshot => self.snapshot,
            RoleType::Targets => self.targets,
            RoleType::DelegatedTargets => 0,
        }
    }

    /// Takes note of `version` of `role`. Whether it is a new highest one.
    pub(super) fn raise(&mut self, role: RoleType, version: u64) -> bool {
        let highest = match role {
            RoleType::Root => &mut self.root,
            RoleType::Timestamp => &mut self.timestamp,
            RoleType::Snapshot => &mut self.snapshot,
            RoleType::Targets => &mut self.targets,
            RoleType::DelegatedTargets => return false,
        };
        let is_new = version > *highest;
        *highest = version.max(*highest);
        is_new
    }

    /// Whether the versions of timestamp, snapshot and targets count under `root`.
    pub(super) fn binds(&self, root: &Root) -> bool {
        self.keys == online_keys(root)
    }

    /// Whether `root` belongs to the repository of which this tells. Another one shares no root
    /// key; it may be what a new image is shipped for, and is not held to the old one's versions.
    pub(super) fn is_of_repository(&self, root: &Root) -> bool {
        !self
            .root_keys
            .is_disjoint(&key_ids(root, &[RoleType::Root]))
    }

    /// One line of JSON.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("plain data with string keys");
        json.push(b'\n');
        json
    }
}

/// Whether `new` names other timestamp or snapshot keys than `old`.
pub(super) fn rotates(old: &Root, new: &Root) -> bool {
    online_keys(old) != online_keys(new)
}

fn online_keys(root: &Root) -> BTreeSet<String> {
    key_ids(root, &[RoleType::Timestamp, RoleType::Snapshot])
}

/// `ROLE:KEY ID` of each key of `roles`, so that a key that changes its role counts as changed.
fn key_ids(root: &Root, roles: &[RoleType]) -> BTreeSet<String> {
    roles
        .iter()
        .filter_map(|role| Some((role, root.roles.get(role)?)))
        .flat_map(|(role, keys)| {
            keys.keyids
                .iter()
                .map(move |id| format!("{role}:{}", hex::encode(id)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A root whose roles name these keys, one letter each.
    fn root(version: u64, root: &str, timestamp: &str, snapshot: &str) -> Root {
        let role = |ids: &str| {
            let ids: Vec<_> = ids
                .chars()
                .map(|c| format!("{:02x}", u32::from(c)))
                .collect();
            json!({"keyids": ids, "threshold": 1})
        };
        serde_json::from_value(json!({
            "_type": "root", "spec_version": "1.0.0", "consistent_snapshot": true,
            "version": version, "expires": "2031-03-01T01:00:00Z", "keys": {},
            "roles": {
                "root": role(root), "timestamp": role(timestamp), "snapshot": role(snapshot),
                "targets": role("x"),
            },
        }))
        .unwrap()
    }

    fn seen(root: &Root) -> Versions {
        Versions {
            timestamp: 7,
            snapshot: 6,
            targets: 5,
            ..Versions::of_root(root)
        }
    }

    #[test]
    fn versions_bind_under_the_keys_that_they_were_seen_under() {
        let old = root(3, "a", "t", "s");
        let seen = seen(&old);
        for (new, binds) in [
            (root(4, "a", "t", "s"), true),
            (root(4, "b", "t", "s"), true),
            (root(4, "a", "u", "s"), false),
            (root(4, "a", "t", "u"), false),
            (root(4, "a", "tu", "s"), false),
            // The two keys changed their places.
            (root(4, "a", "s", "t"), false),
        ] {
            assert_eq!(seen.binds(&new), binds, "{new:?}");
            assert_eq!(rotates(&old, &new), !binds, "{new:?}");
            let under = SeenVersions::Known(seen.clone()).under(&new);
            assert_eq!(under.get(RoleType::Timestamp), if binds { 7 } else { 0 });
            assert_eq!(under.get(RoleType::Root), if binds { 3 } else { 4 });
        }
    }

    #[test]
    fn every_root_that_led_to_the_newest_one_is_of_the_same_repository() {
        let (first, second, third) = (
            root(1, "a", "t", "s"),
            root(2, "b", "t", "s"),
            root(3, "c", "t", "s"),
        );
        let known = SeenVersions::None;
        let known = known.with_roots(&[&first, &second], false).unwrap();
        let known = SeenVersions::Known(known);
        let known = known.with_roots(&[&second, &third], true).unwrap();
        for root in [&first, &second, &third] {
            assert!(known.is_of_repository(root));
        }
        assert!(!known.is_of_repository(&root(1, "z", "t", "s")));
    }

    #[test]
    fn a_new_root_is_noted_and_forgets_nothing_until_its_keys_signed_something() {
        let old = root(3, "a", "t", "s");
        let known = SeenVersions::Known(seen(&old));
        let noted = known
            .with_roots(&[&old, &root(4, "b", "u", "s")], true)
            .unwrap();
        assert_eq!((noted.get(RoleType::Root), noted.timestamp), (4, 7));
        assert!(noted.binds(&old));
        // A faster run noted a newer one.
        assert_eq!(known.with_roots(&[&root(2, "a", "t", "s")], true), None);
        // Another repository begins at its own version.
        let other = root(1, "z", "y", "x");
        assert!(!seen(&old).is_of_repository(&other));
        assert_eq!(
            known.with_roots(&[&other], false),
            Some(Versions::of_root(&other))
        );
        assert_eq!(SeenVersions::Newer.with_roots(&[&other], false), None);
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_a_newer_or_damaged_one_is_told_apart() {
        let versions = Versions {
            refreshed: Some("2031-03-01T01:00:00Z".parse().unwrap()),
            ..seen(&root(3, "a", "t", "s"))
        };
        let json = versions.to_vec();
        assert_eq!(
            SeenVersions::from_slice(&json),
            SeenVersions::Known(versions)
        );
        assert_eq!(
            SeenVersions::from_slice(b"{\"schema\": 2, \"new\": []}"),
            SeenVersions::Newer
        );
        for damaged in [&b""[..], b"{", b"{\"schema\": 1}", &json[..json.len() / 2]] {
            assert_eq!(SeenVersions::from_slice(damaged), SeenVersions::None);
        }
    }
}
