//! Pure: the highest version offered makes sense.

use super::super::facts::FolderFacts;
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::{about_update, by_product};

pub(super) fn judge(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    for updates in by_product(folder).values() {
        let (Some((lowest, _)), Some((highest, _))) = (updates.first(), updates.last()) else {
            continue;
        };
        let ceiling = &highest.max_version;
        if let Some((other, _)) = updates
            .iter()
            .find(|(update, _)| update.max_version != *ceiling)
        {
            let problem = format!(
                "its max_version is {}, that of {} is {ceiling}",
                other.max_version, highest.version
            );
            let about = about_update(folder, other);
            findings.push(Finding::new(Rule::MaxVersionMixed, about, problem));
            continue;
        }
        let about = || About {
            version: None,
            ..about_update(folder, lowest)
        };
        if *ceiling < lowest.version {
            let lowest = &lowest.version;
            let problem = format!("max_version {ceiling} is below the lowest version, {lowest}");
            findings.push(Finding::new(Rule::MaxVersionLow, about(), problem));
        } else if updates.iter().all(|(update, _)| update.version != *ceiling) {
            let problem = format!("max_version {ceiling} is not a published version");
            findings.push(Finding::new(Rule::MaxVersionUnknown, about(), problem));
        }
    }
}
