//! The inactive set on its way from rollback set to update: cleared, written, verified, valid.
//!
//! Each stage is a type that only the stage before it yields, so that a wrong order does not
//! compile: nothing is written before the bits are cleared and synced, and only a set whose three
//! images were read back from the disk can be marked valid.

use std::panic::resume_unwind;
use std::thread;

use semver::Version;
use signpost::{Command, InactivePartition, PartitionKind, Slot, SlotStore};
use snafu::ResultExt;
use update_metadata::{Digest, ImageKind, RawImage, Update, Verity};

use super::by_blocks::{Failure, Sources};
use super::{FactsSnafu, ReadBackSnafu, SessionError, StoreSnafu, WriteSnafu, change_bits};
use crate::env::Env;
use crate::event::Step;
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

impl ImageTargets {
    /// Of one kind.
    pub(super) fn get(&self, kind: ImageKind) -> &SignedTarget {
        match kind {
            ImageKind::Boot => &self.boot,
            ImageKind::Root => &self.root,
            ImageKind::Hash => &self.hash,
        }
    }
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

    /// Writes the images of `update`: from their blocks where `sources` are given and that works, and
    /// else whole.
    ///
    /// # Errors
    /// Every [`SessionError::Write`], and [`SessionError::ReadBack`] for a hash image that is not
    /// one. The set stays cleared.
    pub(super) fn write(
        self,
        whole: &Whole<'_>,
        sources: Option<&Sources<'_>>,
    ) -> Result<WrittenSet<'a>, SessionError> {
        let Partitions { boot, root, hash } = &self.partitions;
        let slot = self.slot;
        // The root image comes last: its tree, which stays in memory, is most of what an update takes.
        let by_blocks = sources.map(|sources| sources.put_boot(boot));
        let boot_written = match whole.unless(ImageKind::Boot, slot, by_blocks)? {
            Some(written) => written,
            None => whole.put(slot, ImageKind::Boot, boot, None)?,
        };
        let by_blocks = sources.map(|sources| sources.put_root(root, hash));
        let (written_root, written_hash, tree) =
            match whole.unless(ImageKind::Root, slot, by_blocks)? {
                Some(written) => written,
                None => whole.put_root(slot, root, hash)?,
            };
        Ok(WrittenSet {
            version: whole.update.version.clone(),
            boot: boot_written,
            root: written_root,
            hash: written_hash,
            tree,
            cleared: self,
        })
    }
}

/// Fetches images whole.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    /// Whose images.
    pub(super) update: &'a Update,
    /// Their targets.
    pub(super) targets: &'a ImageTargets,
    /// Where these come from.
    pub(super) repository: &'a UpdateRepository,
    /// Who looks on, and whether to stop.
    pub(super) watch: Watch,
}

impl Whole<'_> {
    /// What came of putting an image together from its blocks; nothing, with a word in the log, where
    /// it has to be fetched whole.
    fn unless<T>(
        &self,
        kind: ImageKind,
        slot: Slot,
        by_blocks: Option<Result<T, Failure>>,
    ) -> Result<Option<T>, SessionError> {
        match by_blocks {
            None => Ok(None),
            Some(Ok(written)) => Ok(Some(written)),
            Some(Err(Failure::Doubt(reason))) => {
                tracing::warn!("the {kind} image is fetched whole: {reason}");
                Ok(None)
            }
            Some(Err(Failure::Fatal(source))) => Err(source).context(self.writing(slot)),
        }
    }

    fn put(
        &self,
        slot: Slot,
        kind: ImageKind,
        partition: &InactivePartition,
        tree: Option<&mut TreeBuilder>,
    ) -> Result<Written, SessionError> {
        let signed = self
            .update
            .raw_images
            .as_ref()
            .map(|images| images.get(kind));
        let source = self.repository.open(self.targets.get(kind));
        write::write(kind, source, partition, signed, tree, &self.watch).context(self.writing(slot))
    }

    /// The hash image comes first: it says how the root image is to be hashed while it streams.
    fn put_root(
        &self,
        slot: Slot,
        root: &InactivePartition,
        hash: &InactivePartition,
    ) -> Result<(Written, Written, Tree), SessionError> {
        let version = &self.update.version;
        let in_set = |_: &mut ReadBackError| ReadBackSnafu {
            version: version.clone(),
            slot,
        };
        let written_hash = self.put(slot, ImageKind::Hash, hash, None)?;
        let mut tree = TreeBuilder::new(read_back::geometry(hash).with_context(in_set)?);
        let written_root = self.put(slot, ImageKind::Root, root, Some(&mut tree))?;
        let tree = tree
            .finish()
            .map_err(|source| ReadBackError::Tree { source });
        Ok((written_root, written_hash, tree.with_context(in_set)?))
    }

    fn writing(&self, slot: Slot) -> WriteSnafu<Version, Slot> {
        WriteSnafu {
            version: self.update.version.clone(),
            slot,
        }
    }
}

impl<'a> WrittenSet<'a> {
    /// Reads everything back from the disk, the root image on so many threads, and compares: hash and
    /// boot image with what was written, the hash image with the tree of the root image, the root image
    /// with that tree, the tree with the facts of the manifest.
    ///
    /// # Errors
    /// [`SessionError::ReadBack`]. The set stays cleared.
    pub(super) fn read_back(
        self,
        update: &Update,
        threads: usize,
        watch: &Watch,
    ) -> Result<VerifiedSet<'a>, SessionError> {
        let Partitions { boot, root, hash } = &self.cleared.partitions;
        let mut boot_blocks = BlockHasher::new(self.boot.length);
        let take = |bytes: &[u8]| {
            if let Some(blocks) = &mut boot_blocks {
                blocks.update(bytes);
            }
        };
        // One digest is the work of one thread, so that of the boot image is computed beside the others.
        let beside = watch.unobserved();
        let verify_boot = || read_back::verify(&self.boot, boot, take, &beside);
        let verify = || {
            read_back::verify(&self.hash, hash, |_| {}, watch)?;
            read_back::verify_tree(&self.tree, &self.hash, hash, update.verity.as_ref())?;
            let boot = thread::scope(|scope| {
                let boot = scope.spawn(verify_boot);
                read_back::verify_blocks(&self.tree, root, threads, watch)?;
                Ok(boot.join().unwrap_or_else(|panic| resume_unwind(panic)))
            })?;
            watch.step(Step::ReadBack {
                image: ImageKind::Boot,
                bytes: self.boot.length,
            });
            boot?;
            watch.progress(self.boot.length, self.boot.length);
            watch.step_end();
            Ok(())
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
