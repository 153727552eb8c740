//! Pure: what deserves attention in root roles, signatures and expiries.

use tough::schema::{RoleType, Root};

use super::{RoleReport, span};
use crate::publish::key_file::material;
use crate::publish::keyring::ROLES;
use crate::publish::signatures::Tally;

const DAY: i64 = 24 * 3600;
/// A root role takes people with keys in safes.
const NEAR_ROOT: i64 = 30 * DAY;
/// The others take a command.
const NEAR: i64 = 3 * DAY;

/// About the keys that a root role names.
pub(super) fn of_keys(root: &Root) -> Vec<String> {
    let mut warnings = Vec::new();
    for role in ROLES {
        let Some(named) = root.roles.get(&role) else {
            warnings.push(format!("the root role names no {role} keys"));
            continue;
        };
        if role == RoleType::Root && named.threshold.get() == 1 {
            warnings.push("one stolen root key is enough: the root threshold is 1".to_owned());
        }
        let mut seen = Vec::new();
        for id in &named.keyids {
            let hex = hex::encode(id);
            let Some(key) = root.keys.get(id) else {
                warnings.push(format!("the {role} key {hex} is unknown: it is not listed"));
                continue;
            };
            if seen.contains(&material(key)) {
                warnings.push(format!(
                    "the {role} key {hex} is there under two ids and counts twice for some clients"
                ));
            }
            seen.push(material(key));
        }
        let found = u64::try_from(seen.len()).unwrap_or(u64::MAX);
        let threshold = named.threshold.get();
        if found < threshold {
            warnings.push(format!(
                "{threshold} of the {role} keys must sign and only {found} are named"
            ));
        }
    }
    warnings.extend(shared(root));
    warnings
}

/// One stolen key must not be good for two roles.
fn shared(root: &Root) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, first) in ROLES.iter().enumerate() {
        for second in &ROLES[at + 1..] {
            let both = |key: &&tough::schema::key::Key| {
                root.keys(*second)
                    .any(|other| material(other) == material(key))
            };
            if root.keys(*first).any(|key| both(&key)) {
                warnings.push(format!("the roles {first} and {second} share a key"));
            }
        }
    }
    warnings
}

/// About the signatures of one role.
pub(super) fn of_signatures(report: &RoleReport, tally: &Tally) -> Vec<String> {
    let role = report.role;
    let mut warnings = Vec::new();
    let missing = tally.missing();
    // A role that is not named has its own warning.
    if missing > 0 && tally.is_named() {
        warnings.push(format!("the {role} role lacks {missing} signature(s)"));
    }
    for id in &tally.invalid {
        warnings.push(format!(
            "the signature of {id} on the {role} role does not verify"
        ));
    }
    // The keys of the root role before sign a root role too; that is how it must be.
    if role != RoleType::Root {
        for id in &tally.unknown {
            warnings.push(format!(
                "the {role} role is signed by the key {id}, which the root role does not name for it"
            ));
        }
    }
    warnings
}

/// About roles that ran out or are about to.
pub(super) fn of_expiry(roles: &[RoleReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    for report in roles {
        let near = if report.role == RoleType::Root {
            NEAR_ROOT
        } else {
            NEAR
        };
        let (role, left) = (report.role, report.seconds_left);
        if left <= 0 {
            warnings.push(format!("the {role} role expired {} ago", span(left)));
        } else if left < near {
            warnings.push(format!("the {role} role expires in {}", span(left)));
        }
    }
    warnings
}
