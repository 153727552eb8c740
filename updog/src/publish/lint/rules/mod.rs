//! Pure: the rules, each a function from facts to findings.

mod ceiling;
mod content;
mod expiry;
mod images;
mod keys;
mod migrations;
mod targets;
mod waves;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use update_metadata::{ImageKind, MANIFEST_TARGET, Update};

use super::facts::{FolderFacts, Unlisted, UpdateFacts, Yardstick};
use super::finding::{About, Finding};
use super::rule::Rule;

/// Names that a finding about many gives; of the others only their number.
pub(super) const NAMES_SHOWN: usize = 5;

/// Every rule that a metadata folder breaks, in no order.
pub fn judge(folder: &FolderFacts, by: &Yardstick) -> Vec<Finding> {
    let mut findings = Vec::new();
    migrations::judge(folder, &mut findings);
    images::judge(folder, by, &mut findings);
    images::judge_salts(folder, &mut findings);
    content::judge(folder, &mut findings);
    targets::judge(folder, &mut findings);
    waves::judge(folder, by, &mut findings);
    expiry::judge(folder, by, &mut findings);
    ceiling::judge(folder, &mut findings);
    keys::judge(folder, &mut findings);
    of_block_maps(folder, findings)
}

/// Whatever is wrong with the target of a block map, hosts fetch images whole and do not suffer else.
fn of_block_maps(folder: &FolderFacts, findings: Vec<Finding>) -> Vec<Finding> {
    let maps: BTreeSet<&str> = updates(folder)
        .filter_map(|(update, _)| update.block_maps.as_ref())
        .flat_map(|maps| [maps.boot.as_str(), maps.root.as_str()])
        .collect();
    let is_of_map = |finding: &Finding| {
        let target = finding.about.target.as_deref();
        target.is_some_and(|target| maps.contains(target))
    };
    let as_map = |finding: Finding| {
        if is_of_map(&finding) {
            Finding::new(Rule::BlockMap, finding.about, finding.problem)
        } else {
            finding
        }
    };
    findings.into_iter().map(as_map).collect()
}

/// The rule about files that no metadata folder lists.
pub fn judge_unlisted(unlisted: &Unlisted) -> Option<Finding> {
    targets::judge_unlisted(unlisted)
}

/// The rule about a folder that has metadata but no timestamp.
pub fn judge_lost(folder: &Path, files: &[String]) -> Finding {
    let about = About {
        folder: Some(folder.to_owned()),
        ..About::default()
    };
    let count = u64::try_from(files.len()).unwrap_or(u64::MAX);
    let problem = format!("there is no timestamp.json, but {}", some_of(files, count));
    Finding::new(Rule::TimestampMissing, about, problem)
}

/// Errors first, then in the order of folders, versions, targets and rules.
pub fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        (a.severity, &a.about, a.rule, &a.problem).cmp(&(b.severity, &b.about, b.rule, &b.problem))
    });
    findings
}

fn about_folder(folder: &FolderFacts) -> About {
    About {
        folder: Some(folder.folder.clone()),
        ..About::default()
    }
}

fn about_update(folder: &FolderFacts, update: &Update) -> About {
    About {
        variant: Some(update.variant.clone()),
        arch: Some(update.arch.clone()),
        version: Some(update.version.clone()),
        ..about_folder(folder)
    }
}

fn about_image(folder: &FolderFacts, update: &Update, kind: ImageKind) -> About {
    About {
        target: Some(update.images.get(kind).to_owned()),
        ..about_update(folder, update)
    }
}

fn with_file(about: About, file: &Path) -> About {
    About {
        file: Some(file.to_owned()),
        ..about
    }
}

/// The updates with what is known of each.
fn updates(folder: &FolderFacts) -> impl Iterator<Item = (&Update, &UpdateFacts)> {
    folder.manifest.updates.iter().zip(&folder.updates)
}

/// The updates of each variant and architecture, from the lowest version up.
fn by_product(folder: &FolderFacts) -> BTreeMap<(&str, &str), Vec<(&Update, &UpdateFacts)>> {
    let mut products: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (update, facts) in updates(folder) {
        products
            .entry((update.variant.as_str(), update.arch.as_str()))
            .or_default()
            .push((update, facts));
    }
    for updates in products.values_mut() {
        updates.sort_by(|(a, _), (b, _)| a.version.cmp(&b.version));
    }
    products
}

/// Each target that a host may ask for, and what the first use of it is about.
fn uses(folder: &FolderFacts) -> BTreeMap<&str, About> {
    let mut uses = BTreeMap::new();
    let about = |about: About, name: &str| About {
        target: Some(name.to_owned()),
        ..about
    };
    uses.insert(
        MANIFEST_TARGET,
        about(about_folder(folder), MANIFEST_TARGET),
    );
    for update in &folder.manifest.updates {
        for kind in ImageKind::ALL {
            uses.entry(update.images.get(kind))
                .or_insert_with(|| about_image(folder, update, kind));
            if let Some(map) = update.block_maps.as_ref().and_then(|maps| maps.get(kind)) {
                uses.entry(map)
                    .or_insert_with(|| about(about_update(folder, update), map));
            }
        }
    }
    for (_, to, targets) in &folder.manifest.migrations {
        for name in targets {
            uses.entry(name).or_insert_with(|| About {
                version: Some(to.clone()),
                ..about(about_folder(folder), name)
            });
        }
    }
    uses
}

/// `a, b and 3 more`.
pub(super) fn some_of(names: &[impl AsRef<str>], count: u64) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(AsRef::as_ref).collect();
    let more = count.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}
