//! Pure: the decoded images fit into the partitions that hosts have, and go with those before.

use update_metadata::{ImageKind, Update};

use super::super::facts::{FolderFacts, Yardstick};
use super::super::finding::Finding;
use super::super::rule::Rule;
use super::{about_image, about_update, by_product};
use crate::publish::disk::plan::{DiskPlan, ImageLengths};

pub(super) fn judge(folder: &FolderFacts, by: &Yardstick, findings: &mut Vec<Finding>) {
    for updates in by_product(folder).values() {
        let lengths: Vec<_> = updates
            .iter()
            .map(|(update, _)| (*update, lengths(folder, update)))
            .collect();
        let (plan, rule) = match by.os_image_size_gib {
            Some(gib) => (DiskPlan::for_os_image(gib), Rule::ImageSize),
            // What `updata disk` makes by default, when it makes the first disks of a fleet.
            None => match lengths.first().and_then(|(_, known)| to_fit(*known)) {
                Some(plan) => (plan, Rule::ImageGrowth),
                None => continue,
            },
        };
        for (update, known) in &lengths {
            for (kind, length) in ImageKind::ALL.into_iter().zip(known) {
                let room = plan.installed(kind).length;
                if let Some(length) = length.filter(|length| *length > room) {
                    let about = about_image(folder, update, kind);
                    let problem =
                        format!("the {kind} image has {length} bytes, its partition {room}");
                    findings.push(Finding::new(rule, about, problem));
                }
            }
        }
    }
}

/// The newest version, of which hosts copy blocks, beside the one below it. What was published before
/// can not be made again.
pub(super) fn judge_salts(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    for updates in by_product(folder).values() {
        let [.., (before, _), (newest, _)] = &updates[..] else {
            continue;
        };
        let (Some(old), Some(new)) = (&before.verity, &newest.verity) else {
            continue;
        };
        if newest.block_maps.is_some() && old.salt != new.salt {
            let problem = format!(
                "its verity salt is {}, that of {} is {}",
                new.salt, before.version, old.salt
            );
            let about = about_update(folder, newest);
            findings.push(Finding::new(Rule::VeritySalt, about, problem));
        }
    }
}

/// Decoded bytes of each image, as the manifest states them or as they were decoded.
fn lengths(folder: &FolderFacts, update: &Update) -> [Option<u64>; 3] {
    ImageKind::ALL.map(|kind| {
        let stated = update.raw_images.map(|raw| raw.get(kind).length);
        stated.or_else(|| {
            let target = folder.targets.get(update.images.get(kind))?;
            let decoded = target.content.as_ref()?.decoded.as_ref()?;
            decoded.as_ref().ok().map(|raw| raw.length)
        })
    })
}

fn to_fit(known: [Option<u64>; 3]) -> Option<DiskPlan> {
    let [Some(boot), Some(root), Some(hash)] = known else {
        return None;
    };
    DiskPlan::to_fit(ImageLengths { boot, root, hash }).ok()
}
