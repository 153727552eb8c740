//! The facts of what a set should hold: its record, or the cached manifest's entry.

use std::fs;
use std::path::Path;

use signpost::{Slot, SlotStore};
use snafu::Snafu;
use update_metadata::{Digest, MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest};

use super::facts::{FactsError, FactsStore, ImageFacts, SetFacts, Verified};
use super::identity::{IdentityError, root_hash};
use crate::durable;

/// Why the facts cannot be had.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message is the source's
pub enum KnownError {
    /// The record cannot be read.
    #[snafu(transparent)]
    Facts { source: FactsError },
    /// The disk cannot be read.
    #[snafu(transparent)]
    Identity { source: IdentityError },
}

/// What `slot` should hold, if that is known: its record, if the disk has that root hash; else what
/// the cached manifest lists under the disk's root hash, which was never verified on this host;
/// else the record all the same, since then the tree's own top may be what is damaged.
///
/// # Errors
/// When the set does not exist, or disk or record cannot be read.
pub fn known(
    store: &SlotStore,
    slot: Slot,
    records: &FactsStore,
    manifests: &Path,
) -> Result<Option<SetFacts>, KnownError> {
    let record = records.load(slot)?;
    let Some(on_disk) = root_hash(store, slot)? else {
        return Ok(record);
    };
    match record {
        Some(record) if record.verity.root_hash == on_disk => Ok(Some(record)),
        other => Ok(from_manifests(manifests, on_disk).or(other)),
    }
}

/// The entry with that root hash in a manifest that was cached for the migrator.
fn from_manifests(dir: &Path, root_hash: Digest) -> Option<SetFacts> {
    let suffix = format!(".{MANIFEST_TARGET}");
    let is_manifest = |name: &str| {
        name == MANIFEST_TARGET || (name.len() > suffix.len() && name.ends_with(&suffix))
    };
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_manifest))
        .find_map(|entry| {
            let bytes = durable::read(&entry.path(), MAX_MANIFEST_BYTES).ok()??;
            Manifest::from_slice(&bytes)
                .ok()?
                .updates
                .into_iter()
                .find_map(|update| {
                    let verity = update
                        .verity
                        .filter(|verity| verity.root_hash == root_hash)?;
                    let images = update.raw_images?;
                    Some(SetFacts::new(
                        update.variant,
                        update.arch,
                        update.version,
                        verity,
                        ImageFacts {
                            boot: images.boot,
                            root: images.root,
                            hash: images.hash,
                        },
                        None,
                        Verified::never(),
                    ))
                })
        })
}
