//! What of the datastore's folder is kept and what goes.
//!
//! The store in use stays, and so do those that the running version and the one before it last ran
//! with: the other partition set may boot at any time. Attempts that were not finished go, and older
//! stores. Whatever is not named like ours stays.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use semver::Version;

use crate::folder::Folder;
use crate::links::{Layout, LinkNames};

/// What is to be removed, links before the stores behind them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Links.
    pub links: Vec<String>,
    /// Stores.
    pub stores: Vec<String>,
    /// Files and folders that runs make for themselves.
    pub strays: Vec<String>,
}

/// Which stores of finished runs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished<'a> {
    /// None: it is not yet known which of them are of use.
    Keep,
    /// Those of all versions but these, and the store in use.
    KeepOnly(&'a [&'a Version]),
}

impl Prune {
    /// Pure: what goes.
    pub fn of(layout: &Layout, finished: Finished<'_>) -> Self {
        let kept: BTreeSet<&str> = match finished {
            Finished::Keep => layout.stores.iter().map(String::as_str).collect(),
            Finished::KeepOnly(versions) => versions
                .iter()
                .filter_map(|version| layout.store_of(version))
                .chain([layout.store.as_str()])
                .collect(),
        };
        let stores: Vec<String> = layout
            .stores
            .iter()
            .filter(|name| !layout.is_complete(name) || !kept.contains(name.as_str()))
            .cloned()
            .collect();
        let on_chain = |name: &str| layout.chain.iter().any(|link| link == name);
        // Major, minor, full: nothing that is left leads to a link that is gone.
        let mut links = Vec::new();
        for link in &layout.versions {
            if stores.contains(&link.store) && !on_chain(&link.name) {
                let names = LinkNames::of(&link.version);
                links.extend(leading(layout, &names.major, &names.minor));
                links.extend(leading(layout, &names.minor, &link.name));
                links.push(link.name.clone());
            }
        }
        links.extend(layout.dangling.iter().cloned());
        links.retain(|name| !on_chain(name));
        let mut seen = BTreeSet::new();
        links.retain(|name| seen.insert(name.clone()));
        Self {
            links,
            stores,
            strays: layout.strays.iter().cloned().collect(),
        }
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.stores.is_empty() && self.strays.is_empty()
    }

    /// Removes it. A store loses its links, on the disk, before the first of its files goes: a link
    /// means that a store is whole. What cannot be removed is said and stays for the next run; it
    /// costs space, nothing else.
    pub fn run(&self, layout: &Layout, effects: &dyn Folder) {
        let mut links_are_gone = true;
        for name in &self.links {
            links_are_gone &= gone(&layout.path(name), effects.remove_file(&layout.path(name)));
        }
        if !self.links.is_empty() {
            let synced = effects.sync_dir(&layout.folder);
            links_are_gone &= gone(&layout.folder, synced);
        }
        for name in &self.strays {
            let path = layout.path(name);
            let removed = match effects.remove_tree(&path) {
                Err(error) if error.kind() == ErrorKind::NotADirectory => {
                    effects.remove_file(&path)
                }
                other => other,
            };
            gone(&path, removed);
        }
        for name in self.stores.iter().filter(|_| links_are_gone) {
            let path = layout.path(name);
            if gone(&path, effects.remove_tree(&path)) {
                let kept = layout.path(&crate::steps::kept_name(name));
                gone(&kept, effects.remove_file(&kept));
            }
        }
    }
}

/// `name`, if it is a link to `target`.
fn leading(layout: &Layout, name: &str, target: &str) -> Option<String> {
    let now = layout.shortcuts.get(name);
    now.is_some_and(|now| now == target)
        .then(|| name.to_owned())
}

fn gone(path: &std::path::Path, result: io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!("removing {}: {error}", path.display());
            false
        }
    }
}
