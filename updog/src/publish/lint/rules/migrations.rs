//! Pure: hosts can get from every published version to every other.

use super::super::facts::FolderFacts;
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::{about_update, by_product};

/// Each version against the next: where these have a path, all pairs have one, since paths join,
/// and an entry serves both directions. So the work grows with the versions, not with their pairs.
pub(super) fn judge(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    for updates in by_product(folder).values() {
        for pair in updates.windows(2) {
            let [(lower, _), (higher, _)] = pair else {
                continue; // windows of two
            };
            if lower.version == higher.version {
                let problem = "the manifest lists this version more than once";
                let about = about_update(folder, higher);
                findings.push(Finding::new(Rule::UpdateTwice, about, problem));
            } else if let Err(missing) = folder
                .manifest
                .migrations
                .path(&lower.version, &higher.version)
            {
                let about = About {
                    version: Some(higher.version.clone()),
                    ..about_update(folder, lower)
                };
                let problem = missing.to_string();
                findings.push(Finding::new(Rule::MigrationPath, about, problem));
            }
        }
    }
}
