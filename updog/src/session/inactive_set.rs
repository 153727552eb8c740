//! The inactive set on its way from rollback set to update: cleared, written, verified, valid.
//!
//! Each stage is a type that only the stage before it yields, so that a wrong order does not
//! compile: nothing is written before the bits are cleared and synced, and only a set whose three
//! images were read back from the disk can be marked valid.

use semver::Version;
use signpost::{Command, InactivePartition, PartitionKind, Slot, SlotStore};
use snafu::ResultExt;
use update_metadata::{Digest, ImageKind, RawImage, Update, Verity};

use super::{FactsSnafu, ReadBackSnafu, SessionError, StoreSnafu, WriteSnafu, change_bits};
use crate::env::Env;
use crate::image::read_back::{self, ReadBackError};
use crate::image::verity::{Tree, TreeBuilder};
use crate::image::write::{self, Written};
use crate::repository::{SignedTarget, UpdateRepository};
use crate::sets::{BlockDigests, BlockHasher, ImageFacts, SetFacts};
use crate::watch::Watch;

/// The three partitions of the inactive set, open for writing.
#[derive(Debug)]
struct Partitions {
    boot: InactivePartition,
    root: InactivePartition,
    hash: InactivePartition,
}

/// The signed targets of an update's three images.
#[derive(Debug)]
pub(super) struct ImageTargets {
    /// Of the boot image.
    pub(super) boot: SignedTarget,
    /// Of the root image.
    pub(super) root: SignedTarget,
    /// Of the hash image.
    pub(super) hash: SignedTarget,
}

/// The inactive set with no boot bit set, on the disk too.
#[derive(Debug)]
pub(super) struct ClearedSet<'a> {
    store: &'a mut SlotStore,
    partitions: Partitions,
    slot: Slot,
}

/// All three images are on the disk, synced, from streams that were the signed ones.
#[derive(Debug)]
pub(super) struct WrittenSet<'a> {
    cleared: ClearedSet<'a>,
    version: Version,
    boot: Written,
    root: Written,
    hash: Written,
    tree: Tree,
}

/// All three images were read back and are what was signed.
#[derive(Debug)]
pub(super) struct VerifiedSet<'a> {
    store: &'a mut SlotStore,
    slot: Slot,
    verity: Verity,
    images: ImageFacts,
    boot_blocks: Option<BlockDigests>,
    fetched: u64,
}

/// The partition that an image goes to.
pub(super) fn partition_kind(kind: ImageKind) -> PartitionKind {
    match kind {
        ImageKind::Boot => PartitionKind::Boot,
        ImageKind::Root => PartitionKind::Root,
        ImageKind::Hash => PartitionKind::Hash,
    }
}

impl<'a> ClearedSet<'a> {
    /// Clears the bits, then opens the partitions for writing; [`SlotStore`] opens none of a set
    /// that could boot.
    ///
    /// # Errors
    /// Every failure and refusal of `clear-inactive`, and when a partition is in use. What can be
    /// known before the set is given up was looked at before.
    pub(super) fn clear(store: &'a mut SlotStore) -> Result<Self, SessionError> {
        change_bits(store, Command::ClearInactive)?;
        let open = |kind| store.open_inactive(kind).context(StoreSnafu);
        let partitions = Partitions {
            boot: open(PartitionKind::Boot)?,
            root: open(PartitionKind::Root)?,
            hash: open(PartitionKind::Hash)?,
        };
        let slot = store.inactive();
        Ok(Self {
            store,
            partitions,
            slot,
        })
    }

    /// The set that is cleared.
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Writes the images of `update`. The hash image comes first: it says how the root image is
    /// to be hashed while it streams.
    ///
    /// # Errors
    /// Every [`SessionError::Write`], and [`SessionError::ReadBack`] for a hash image that is not
    /// one. The set stays cleared.
    pub(super) fn write(
        self,
        update: &Update,
        targets: &ImageTargets,
        repository: &UpdateRepository,
        watch: &Watch,
    ) -> Result<WrittenSet<'a>, SessionError> {
        let version = &update.version;
        let slot = self.slot;
        let Partitions { boot, root, hash } = &self.partitions;
        let put = |kind, target, partition, tree: Option<&mut TreeBuilder>| {
            let signed = update.raw_images.as_ref().map(|images| images.get(kind));
            write::write(
                kind,
                repository.open(target),
                partition,
                signed,
                tree,
                watch,
            )
            .with_context(|_| WriteSnafu {
                version: version.clone(),
                slot,
            })
        };
        let in_set = |_: &mut ReadBackError| ReadBackSnafu {
            version: version.clone(),
            slot,
        };

        let written_hash = put(ImageKind::Hash, &targets.hash, hash, None)?;
        let mut tree = TreeBuilder::new(read_back::geometry(hash).with_context(in_set)?);
        let written_root = put(ImageKind::Root, &targets.root, root, Some(&mut tree))?;
        let tree = tree
            .finish()
            .map_err(|source| ReadBackError::Tree { source });
        let tree = tree.with_context(in_set)?;
        Ok(WrittenSet {
            version: version.clone(),
            boot: put(ImageKind::Boot, &targets.boot, boot, None)?,
            root: written_root,
            hash: written_hash,
            tree,
            cleared: self,
        })
    }
}

impl<'a> WrittenSet<'a> {
    /// Reads everything back from the disk and compares: each image with what was written, the
    /// hash image with the tree of the root image, the tree with the facts of the manifest.
    ///
    /// # Errors
    /// [`SessionError::ReadBack`]. The set stays cleared.
    pub(super) fn read_back(
        self,
        update: &Update,
        watch: &Watch,
    ) -> Result<VerifiedSet<'a>, SessionError> {
        let Partitions { boot, root, hash } = &self.cleared.partitions;
        let mut boot_blocks = BlockHasher::new(self.boot.length);
        let take = |bytes: &[u8]| {
            if let Some(blocks) = &mut boot_blocks {
                blocks.update(bytes);
            }
        };
        let verify = || {
            read_back::verify(&self.hash, hash, |_| {}, watch)?;
            read_back::verify_tree(&self.tree, &self.hash, hash, update.verity.as_ref())?;
            read_back::verify(&self.root, root, |_| {}, watch)?;
            read_back::verify(&self.boot, boot, take, watch)
        };
        verify().context(ReadBackSnafu {
            version: self.version,
            slot: self.cleared.slot,
        })?;
        let facts = |written: &Written| RawImage {
            length: written.length,
            sha256: written.sha256,
        };
        Ok(VerifiedSet {
            slot: self.cleared.slot,
            verity: self.tree.facts(),
            images: ImageFacts {
                boot: facts(&self.boot),
                root: facts(&self.root),
                hash: facts(&self.hash),
            },
            boot_blocks: boot_blocks.map(BlockHasher::finish),
            fetched: [&self.boot, &self.root, &self.hash]
                .iter()
                .fold(0, |sum, image| image.fetched.saturating_add(sum)),
            store: self.cleared.store,
        })
    }
}

impl VerifiedSet<'_> {
    /// The root hash, and how many bytes were fetched for it.
    pub(super) fn summary(&self) -> (Digest, u64) {
        (self.verity.root_hash, self.fetched)
    }

    /// Records what the set holds, then lets it be tried once.
    ///
    /// # Errors
    /// [`SessionError::Facts`]; [`SessionError::Store`], after which the set is still cleared, or
    /// valid, as the table says.
    pub(super) fn mark_valid(self, update: &Update, env: &Env) -> Result<(), SessionError> {
        let facts = SetFacts::new(
            update.variant.clone(),
            update.arch.clone(),
            update.version.clone(),
            self.verity,
            self.images,
            self.boot_blocks,
            env.verified_now(),
        );
        env.facts().save(self.slot, &facts).context(FactsSnafu)?;
        change_bits(self.store, Command::MarkInactiveValid)?;
        Ok(())
    }
}
