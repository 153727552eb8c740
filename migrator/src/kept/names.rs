//! What is kept, by name: for whoever may know of a value, and not what it is.

use std::collections::BTreeMap;

use semver::Version;

use super::{Kept, names};
use crate::key::Name;

impl Kept {
    /// The settings and metadata whose values are kept, by the version that had them.
    pub fn names(&self) -> BTreeMap<&Version, Vec<Name>> {
        let mut all: BTreeMap<&Version, Vec<Name>> = BTreeMap::new();
        for entry in &self.entries {
            all.entry(&entry.version)
                .or_default()
                .extend(names(&entry.lost));
        }
        all
    }
}
