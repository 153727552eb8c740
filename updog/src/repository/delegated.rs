//! Pure: the files of delegated roles, without which a copy of the repository is none: the library
//! reads no target before it has read every delegated role that the snapshot lists.

use std::collections::BTreeSet;

use snafu::ensure;
use tough::schema::{Snapshot, Targets};

use super::error::{DelegatedNameSnafu, RepositoryError};

/// The names of the files, of each role that was loaded once.
///
/// # Errors
/// [`RepositoryError::DelegatedName`] for a role whose name would be escaped in a URL: clients
/// disagree on what its file is called.
pub(super) fn file_names(
    targets: &Targets,
    snapshot: &Snapshot,
    is_consistent: bool,
) -> Result<Vec<String>, RepositoryError> {
    let mut names = BTreeSet::new();
    let mut open = vec![targets];
    while let Some(role) = open.pop() {
        for delegated in role.delegations.iter().flat_map(|all| &all.roles) {
            let name = &delegated.name;
            // One that the snapshot does not list was not asked for, by this host as by any other.
            let (Some(loaded), Some(meta)) = (
                &delegated.targets,
                snapshot.meta.get(&format!("{name}.json")),
            ) else {
                continue;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '~');
            ensure!(name.chars().all(plain), DelegatedNameSnafu { name });
            let file = if is_consistent {
                format!("{}.{name}.json", meta.version)
            } else {
                format!("{name}.json")
            };
            // A role that delegates back to one before it is not followed again.
            if names.insert(file) {
                open.push(&loaded.signed);
            }
        }
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(delegates_to: &[&str]) -> Value {
        let roles: Vec<_> = delegates_to
            .iter()
            .map(|name| {
                json!({
                    "name": name, "keyids": [], "threshold": 1, "paths": [],
                    "terminating": false
                })
            })
            .collect();
        json!({
            "_type": "targets", "spec_version": "1.0.0", "version": 3,
            "expires": "2031-03-01T01:00:00Z", "targets": {},
            "delegations": {"keys": {}, "roles": roles}
        })
    }

    /// A targets role as the library holds it once it has loaded what it delegates to.
    fn loaded(delegates_to: &[(&str, Option<Targets>)]) -> Targets {
        let names: Vec<_> = delegates_to.iter().map(|(name, _)| *name).collect();
        let mut targets: Targets = serde_json::from_value(role(&names)).unwrap();
        let roles = &mut targets.delegations.as_mut().unwrap().roles;
        for (role, (_, inner)) in roles.iter_mut().zip(delegates_to) {
            role.targets = inner.clone().map(|signed| tough::schema::Signed {
                signed,
                signatures: Vec::new(),
            });
        }
        targets
    }

    fn snapshot(versions: &[(&str, u64)]) -> Snapshot {
        let meta: serde_json::Map<_, _> = versions
            .iter()
            .map(|(name, version)| (format!("{name}.json"), json!({"version": version})))
            .collect();
        serde_json::from_value(json!({
            "_type": "snapshot", "spec_version": "1.0.0", "version": 3,
            "expires": "2031-03-01T01:00:00Z", "meta": meta
        }))
        .unwrap()
    }

    #[test]
    fn every_role_that_was_loaded_is_named_once_at_any_depth() {
        let leaf = || Some(loaded(&[]));
        // `a` delegates to `b` and back to itself; `c` is not in the snapshot, `d` was not loaded.
        let a = loaded(&[("b", leaf()), ("a", leaf())]);
        let top = loaded(&[("a", Some(a)), ("b", leaf()), ("c", leaf()), ("d", None)]);
        let snapshot = snapshot(&[("targets", 3), ("a", 7), ("b", 8), ("d", 9)]);
        assert_eq!(
            file_names(&top, &snapshot, true).unwrap(),
            ["7.a.json", "8.b.json"]
        );
        assert_eq!(
            file_names(&top, &snapshot, false).unwrap(),
            ["a.json", "b.json"]
        );
    }

    #[test]
    fn a_role_whose_file_has_no_common_name_is_refused() {
        for name in ["../x", "a b", "ä", "a%2fb"] {
            let top = loaded(&[(name, Some(loaded(&[])))]);
            let refused = file_names(&top, &snapshot(&[(name, 1)]), true).unwrap_err();
            assert!(
                matches!(&refused, RepositoryError::DelegatedName { name: told } if told == name),
                "{refused}"
            );
        }
    }
}
