//! Pure: keys are what they seem, and targets are signed by them alone.

use std::collections::BTreeMap;

use super::super::facts::FolderFacts;
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::about_folder;

const ROOT: &str = "root";

pub(super) fn judge(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    let mut find = |rule, role, problem: String| {
        let about = About {
            role: Some(role),
            ..about_folder(folder)
        };
        findings.push(Finding::new(rule, about, problem));
    };
    let mut first_ids: BTreeMap<&[u8], &str> = BTreeMap::new();
    for (id, material) in &folder.root.keys {
        if let Some(first) = first_ids.insert(material, id) {
            find(
                Rule::KeyTwice,
                ROOT,
                format!("the keys {first} and {id} are one and the same"),
            );
        }
    }
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    for (role, ids, threshold) in &folder.root.roles {
        for id in ids {
            if let Some(other) = users.insert(id, role).filter(|other| other != role) {
                find(
                    Rule::KeyShared,
                    role,
                    format!("{other} and {role} share the key {id}"),
                );
            }
        }
        if *role == ROOT && *threshold == 1 {
            find(
                Rule::RootThreshold,
                role,
                "one root key is enough to sign a root role".to_owned(),
            );
        }
    }
    if folder.delegates {
        let problem = "targets are delegated to other roles".to_owned();
        find(Rule::Delegations, "targets", problem);
    }
    if !folder.root.consistent_snapshot {
        let problem = "the root role does not ask for consistent snapshots".to_owned();
        find(Rule::ConsistentSnapshot, ROOT, problem);
    }
}
