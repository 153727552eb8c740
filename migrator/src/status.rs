//! What the folder of the datastore holds, for people and monitors. Only looks, and takes no lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;

use crate::cli::chain;
use crate::datastore::Store;
use crate::links::{Layout, LinkError};
use crate::record::{LastRun, Record};
use crate::room::{Limit, Size, measure};
use crate::run::MAX_STORE;
use crate::steps::read_kept;

/// The version of the report's form.
const SCHEMA: u32 = 1;

/// One store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// Its folder's name.
    pub name: String,
    /// The versions that last ran with it.
    pub versions: Vec<Version>,
    /// Whether it is in use.
    pub current: bool,
    /// Whether it was finished.
    pub complete: bool,
    /// What it takes on the disk; none when that cannot be counted.
    pub size: Option<Size>,
}

/// Where the datastore stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The version of this form.
    pub schema: u32,
    /// The link that all readers begin with.
    pub datastore: PathBuf,
    /// Whether there is one.
    pub exists: bool,
    /// The version whose store is in use.
    pub version: Option<Version>,
    /// The name of the store in use.
    pub store: Option<String>,
    /// Whether the store in use can be read.
    pub readable: bool,
    /// Why not.
    pub problem: Option<String>,
    /// Every store.
    pub stores: Vec<StoreStatus>,
    /// The keys whose values are kept for the way back, by version.
    pub kept: BTreeMap<String, Vec<String>>,
    /// The last run that had something to do.
    pub last_run: Option<LastRun>,
    /// The version whose store was in use before.
    pub previous: Option<Version>,
}

impl Status {
    /// Looks at the datastore at `path`.
    ///
    /// # Errors
    /// Those of [`Layout::read`].
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let mut status = Self {
            schema: SCHEMA,
            datastore: path.to_owned(),
            exists: false,
            version: None,
            store: None,
            readable: false,
            problem: None,
            stores: Vec::new(),
            kept: BTreeMap::new(),
            last_run: None,
            previous: None,
        };
        let Some(layout) = Layout::read(path)? else {
            return Ok(status);
        };
        status.exists = true;
        let read = Store::read(&layout.path(&layout.store));
        status.readable = read.is_ok();
        status.problem = read.err().map(|error| chain(&error));
        status.stores = stores(&layout);
        status.kept = read_kept(&layout.folder, &layout.store)
            .kept
            .names()
            .into_iter()
            .map(|(version, names)| {
                let names = names.iter().map(ToString::to_string).collect();
                (version.to_string(), names)
            })
            .collect();
        match Record::load(&layout.folder) {
            Ok(record) => {
                status.previous = record.history.previous_of(&layout.version).cloned();
                status.last_run = record.history.last_run;
            }
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
        status.version = Some(layout.version);
        status.store = Some(layout.store);
        Ok(status)
    }
}

/// Every store in the folder, the one in use among them also when it is not named like one.
pub fn stores(layout: &Layout) -> Vec<StoreStatus> {
    let mut names = layout.stores.clone();
    names.insert(layout.store.clone());
    names
        .into_iter()
        .map(|name| {
            let mut versions: Vec<Version> = layout
                .versions
                .iter()
                .filter(|link| link.store == name)
                .map(|link| link.version.clone())
                .collect();
            if name == layout.store && !versions.contains(&layout.version) {
                versions.push(layout.version.clone());
            }
            StoreStatus {
                versions,
                current: name == layout.store,
                complete: layout.is_complete(&name),
                size: measure(&layout.path(&name), Limit(MAX_STORE)).ok(),
                name,
            }
        })
        .collect()
}
