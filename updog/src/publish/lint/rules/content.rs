//! Pure: what the files hold is what was signed, and fits together.

use update_metadata::block_map::Codec;
use update_metadata::{Digest, ImageKind, RawImage, Update, Verity};

use super::super::facts::{Content, FolderFacts, Found, TargetFacts, UpdateFacts};
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::{about_folder, about_image, about_update, updates, uses, with_file};
use crate::image::codec::codec_of;
use crate::image::verity::Geometry;

pub(super) fn judge(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    let uses = uses(folder);
    for (name, target) in &folder.targets {
        if let (Some(content), Found::File(path, length)) = (&target.content, &target.found)
            && target.length == Some(*length)
        {
            let about = || uses.get(name.as_str()).cloned();
            let about = about().unwrap_or_else(|| About {
                target: Some(name.clone()),
                ..about_folder(folder)
            });
            let about = with_file(about, path);
            target_content(codec_of(name), target, content, &about, findings);
        }
    }
    for (update, facts) in updates(folder) {
        raw_images(folder, update, findings);
        boot_image(folder, update, facts, findings);
        verity(folder, update, facts, findings);
        block_maps(folder, update, facts, findings);
    }
}

fn target_content(
    codec: Codec,
    target: &TargetFacts,
    content: &Content,
    about: &About,
    findings: &mut Vec<Finding>,
) {
    if let Some(signed) = target.sha256.filter(|signed| *signed != content.sha256) {
        let problem = format!(
            "the file has SHA-256 {}, signed is {signed}",
            content.sha256
        );
        findings.push(Finding::new(Rule::TargetDigest, about.clone(), problem));
    } else if let Some(Err(why)) = &content.decoded {
        // Of a damaged file nothing further is to be expected.
        let problem = match codec {
            Codec::Lz4 => format!("it is not exactly one LZ4 frame: {why}"),
            Codec::Zstd => format!("it is no row of whole zstd frames: {why}"),
        };
        findings.push(Finding::new(Rule::ImageFrame, about.clone(), problem));
    }
}

fn raw_images(folder: &FolderFacts, update: &Update, findings: &mut Vec<Finding>) {
    let Some(raw_images) = &update.raw_images else {
        return;
    };
    for kind in ImageKind::ALL {
        let stated = raw_images.get(kind);
        let Some(found) = decoded(folder, update.images.get(kind)) else {
            continue;
        };
        if found != stated {
            let RawImage { length, sha256 } = found;
            let problem = format!(
                "the {kind} image decodes to {length} bytes with SHA-256 {sha256}, the manifest \
                 states {} with {}",
                stated.length, stated.sha256
            );
            let about = about_image(folder, update, kind);
            findings.push(Finding::new(Rule::RawImage, about, problem));
        }
    }
}

fn decoded<'a>(folder: &'a FolderFacts, name: &str) -> Option<&'a RawImage> {
    let content = folder.targets.get(name)?.content.as_ref()?;
    content.decoded.as_ref()?.as_ref().ok()
}

fn block_maps(
    folder: &FolderFacts,
    update: &Update,
    facts: &UpdateFacts,
    findings: &mut Vec<Finding>,
) {
    for (&kind, problem) in &facts.map_problems {
        let map = update.block_maps.as_ref().and_then(|maps| maps.get(kind));
        let name = map.unwrap_or_default();
        let problem = format!("{name}: {problem}");
        let about = About {
            target: map.map(str::to_owned),
            ..about_update(folder, update)
        };
        findings.push(Finding::new(Rule::BlockMap, about, problem));
    }
}

fn boot_image(
    folder: &FolderFacts,
    update: &Update,
    facts: &UpdateFacts,
    findings: &mut Vec<Finding>,
) {
    if let (Some(verity), Some(false)) = (&update.verity, facts.boot_names_root_hash) {
        let problem = format!(
            "the boot image does not contain the root hash {}",
            verity.root_hash
        );
        let about = about_image(folder, update, ImageKind::Boot);
        findings.push(Finding::new(Rule::BootRootHash, about, problem));
    }
}

fn verity(folder: &FolderFacts, update: &Update, facts: &UpdateFacts, findings: &mut Vec<Finding>) {
    let mut facts_differ = |problem: String| {
        let about = about_update(folder, update);
        findings.push(Finding::new(Rule::VerityFacts, about, problem));
    };
    if let Some(stated) = &update.verity {
        match (Geometry::of(stated), &update.raw_images) {
            (Err(error), _) => facts_differ(error.to_string()),
            (Ok(geometry), Some(raw)) => {
                for (kind, covered) in [
                    (ImageKind::Root, geometry.data_length()),
                    (ImageKind::Hash, geometry.hash_length()),
                ] {
                    let length = raw.get(kind).length;
                    if length != covered {
                        facts_differ(format!(
                            "the verity facts speak of a {kind} image of {covered} bytes, it has \
                             {length}"
                        ));
                    }
                }
            }
            (Ok(_), None) => {}
        }
    }
    match (&facts.tree, &update.verity) {
        (Some(Ok(found)), Some(stated)) if found != stated => {
            facts_differ(difference(found, stated));
        }
        (Some(Err(problem)), _) => {
            let about = about_image(folder, update, ImageKind::Hash);
            findings.push(Finding::new(Rule::VerityTree, about, problem.clone()));
        }
        _ => {}
    }
}

fn difference(found: &Verity, stated: &Verity) -> String {
    let roots = |a: &Digest, b: &Digest| format!("the root hash is {a}, the manifest states {b}");
    if found.root_hash == stated.root_hash {
        format!(
            "the hash image has {} blocks of {} bytes hashed with salt {}, the manifest states {} \
             of {} with {}",
            found.data_blocks,
            found.data_block_size,
            found.salt,
            stated.data_blocks,
            stated.data_block_size,
            stated.salt
        )
    } else {
        roots(&found.root_hash, &stated.root_hash)
    }
}
