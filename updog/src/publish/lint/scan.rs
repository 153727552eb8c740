//! Looks through the targets folder for files that no metadata folder lists.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::facts::{FolderFacts, Found, Unlisted};
use super::rules::NAMES_SHOWN;

/// The files that metadata folders list.
#[derive(Debug, Default)]
pub(super) struct Listed(HashSet<PathBuf>);

impl Listed {
    /// Adds those of one folder.
    pub(super) fn add(&mut self, folder: &FolderFacts) {
        for target in folder.targets.values() {
            if let Found::File(path, _) = &target.found {
                self.0.insert(path.clone());
            }
        }
    }
}

/// Counts what is not listed, in memory that does not grow with the files.
///
/// # Errors
/// Those of listing; a targets folder that does not exist holds nothing.
pub(super) fn unlisted(targets: &Path, listed: &Listed) -> io::Result<Unlisted> {
    let mut unlisted = Unlisted {
        folder: targets.to_owned(),
        ..Unlisted::default()
    };
    let mut first = BTreeSet::new();
    let mut folders = vec![targets.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            // Not followed: a link to a folder could lead round in a circle.
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if !listed.0.contains(&path) {
                unlisted.count = unlisted.count.saturating_add(1);
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                unlisted.bytes = unlisted.bytes.saturating_add(bytes);
                first.insert(name_in(targets, path));
                if first.len() > NAMES_SHOWN {
                    first.pop_last();
                }
            }
        }
    }
    unlisted.first = first.into_iter().collect();
    Ok(unlisted)
}

fn name_in(folder: &Path, path: PathBuf) -> String {
    let inside = path.strip_prefix(folder).map(Path::to_owned);
    inside.unwrap_or(path).to_string_lossy().into_owned()
}
