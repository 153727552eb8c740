//! What a release is held to before anything is signed: the rules, on what would be published.

use tough::schema::{Root, Targets};
use update_metadata::{Manifest, Update};

use super::facts::{FolderFacts, Found, RoleFacts, TargetFacts, UpdateFacts, Yardstick};
use super::finding::Finding;
use super::{load, rules};
use crate::publish::release::existing::Folders;
use crate::publish::release::metadata::Expiries;

/// A release that is about to be signed.
#[derive(Debug)]
pub struct Planned<'a> {
    /// Where it goes.
    pub folders: &'a Folders,
    /// The root role that it is published with.
    pub root: &'a Root,
    /// When the three signed roles will expire.
    pub expires: &'a Expiries,
    /// The targets role that is extended.
    pub targets: Option<&'a Targets>,
    /// The names of the targets that will be placed, the manifest among them.
    pub placed: &'a [String],
    /// The new manifest.
    pub manifest: &'a Manifest,
    /// The update in it that is new.
    pub update: &'a Update,
    /// Whether the boot image contains the root hash.
    pub boot_names_root_hash: bool,
}

/// Every rule that the repository would break.
///
/// What was published before is looked at as far as that is cheap: the metadata, and whether the
/// files are there. `updata lint --deep` reads them.
pub fn judge(planned: &Planned<'_>, by: &Yardstick) -> Vec<Finding> {
    rules::in_order(rules::judge(&facts(planned), by))
}

fn facts(planned: &Planned<'_>) -> FolderFacts {
    let Planned {
        folders,
        root,
        expires,
        manifest,
        update,
        ..
    } = planned;
    let mut targets = planned
        .targets
        .map(|targets| load::target_facts(targets, root.consistent_snapshot, &folders.targets))
        .unwrap_or_default();
    for name in planned.placed {
        let placed = TargetFacts {
            length: None,
            sha256: None,
            found: Found::ToBePlaced,
            content: None,
        };
        targets.insert(name.clone(), placed);
    }
    let is_new = |other: &Update| {
        let Update {
            variant,
            arch,
            version,
            ..
        } = other;
        (variant, arch, version) == (&update.variant, &update.arch, &update.version)
    };
    let updates = manifest.updates.iter().map(|update| UpdateFacts {
        boot_names_root_hash: is_new(update).then_some(planned.boot_names_root_hash),
        ..UpdateFacts::default()
    });
    let role = |role, expires| RoleFacts {
        role,
        expires,
        bytes: None,
    };
    let mut roles = vec![
        role("timestamp", expires.timestamp),
        role("snapshot", expires.snapshot),
        role("targets", expires.targets),
    ];
    roles.extend(load::from_jiff(root.expires).map(|expires| role("root", expires)));
    FolderFacts {
        folder: folders.metadata.clone(),
        root: load::root_facts(root),
        roles,
        // They are left out.
        delegates: false,
        targets,
        updates: updates.collect(),
        manifest: (*manifest).clone(),
        releasing: Some(update.version.clone()),
    }
}
