//! A whole set against its facts, without a network: every byte is read from the disk.
//!
//! The root image is hashed block by block into a tree. If the tree's root hash is the signed one,
//! every block is good; if not, [`tree_damage`] finds the first block that is not, in the root image
//! and in the hash image. The boot image has no tree: the digests that were recorded when it was
//! last good tell its first bad block.

use std::io;

use sha2::{Digest as _, Sha256};
use signpost::{BlockDevice, PartitionKind, Slot, SlotStore};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{Digest, ImageKind, RawImage};

use super::blocks::{BlockDigests, BlockHasher};
use super::facts::SetFacts;
use super::tree_damage::{self, DataDamage};
use crate::cancel::Cancelled;
use crate::event::Step;
use crate::image::verity::{Geometry, Tree, TreeBuilder, VerityError};
use crate::watch::Watch;

const CHUNK_BYTES: usize = 1 << 20;
/// A page: what the kernel reads at least.
const SMALL_READ_BYTES: usize = 4096;

/// Why a set could not be verified at all. It says nothing about the set.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum VerifyError {
    /// A partition cannot be opened.
    #[snafu(display("opening the {kind} partition of set {slot}"))]
    Open {
        kind: ImageKind,
        slot: Slot,
        source: signpost::store::Error,
    },
    /// The facts describe a tree that cannot be.
    #[snafu(display("the recorded facts of set {slot}"))]
    Facts { slot: Slot, source: VerityError },
    /// The run was told to stop.
    #[snafu(display("reading the {kind} image of set {slot}"))]
    Cancelled {
        kind: ImageKind,
        slot: Slot,
        source: Cancelled,
    },
}

/// Something in a set that is not what was signed.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Finding {
    /// The partition ends before the image does.
    #[snafu(display("{partition} of {limit} bytes is shorter than the {kind} image of {length}"))]
    TooShort {
        kind: ImageKind,
        partition: String,
        length: u64,
        limit: u64,
    },
    /// The disk fails to read.
    #[snafu(display("the {kind} image cannot be read from {partition} at offset {offset}: {why}"))]
    Unreadable {
        kind: ImageKind,
        partition: String,
        offset: u64,
        why: String,
    },
    /// The first block that is not the signed one.
    #[snafu(display(
        "the {kind} image on {partition} is not what was signed from block {block} on, at offset \
         {offset} (blocks of {block_size} bytes)"
    ))]
    Block {
        kind: ImageKind,
        partition: String,
        block: u64,
        offset: u64,
        block_size: u32,
    },
    /// The first block of the root image that is not the signed one is one of these; the hashes
    /// that would tell which are damaged too.
    #[snafu(display(
        "the root image on {partition} is not what was signed in one of the blocks {first} to \
         {last}, from offset {offset} on (blocks of {block_size} bytes); the hash image is damaged \
         where it would tell which"
    ))]
    Blocks {
        partition: String,
        first: u64,
        last: u64,
        offset: u64,
        block_size: u32,
    },
    /// The image is not the signed one, and nothing tells where.
    #[snafu(display(
        "the {kind} image on {partition} is not what was signed: its SHA-256 is \
                     {found}, signed is {signed}"
    ))]
    Image {
        kind: ImageKind,
        partition: String,
        found: Digest,
        signed: Digest,
    },
}

/// What verifying a set found.
#[derive(Debug)]
pub struct Verdict {
    /// The first thing that is wrong with each image; none when every byte is right.
    pub findings: Vec<Finding>,
    /// The boot image's blocks as they are, where it could be read.
    pub boot_blocks: Option<BlockDigests>,
}

/// Reads the whole of `slot` and compares it with `facts`.
///
/// # Errors
/// When a partition cannot be opened.
pub fn verify(
    store: &SlotStore,
    slot: Slot,
    facts: &SetFacts,
    watch: &Watch,
) -> Result<Verdict, VerifyError> {
    let open = |kind, partition| {
        store
            .open_partition(slot, partition)
            .context(OpenSnafu { kind, slot })
    };
    let boot = open(ImageKind::Boot, PartitionKind::Boot)?;
    let root = open(ImageKind::Root, PartitionKind::Root)?;
    let hash = open(ImageKind::Hash, PartitionKind::Hash)?;
    let geometry = Geometry::of(&facts.verity).context(FactsSnafu { slot })?;

    let mut findings = Vec::new();
    let signed = &facts.images.hash;
    let stopped = |kind| move |_: &mut Cancelled| CancelledSnafu { kind, slot };
    let hash_image = check_digest(ImageKind::Hash, &hash, signed, |_| {}, watch)
        .with_context(stopped(ImageKind::Hash))?;
    let tree = hash_root(&root, geometry, watch).with_context(stopped(ImageKind::Root))?;
    match (hash_image, tree) {
        (Ok(()), Ok(tree)) if tree.root_hash() == facts.verity.root_hash => {}
        (hash_image, Ok(tree)) => {
            let damage = tree_damage::find(&tree, facts.verity.root_hash, |block, buf| {
                let offset = block.saturating_mul(u64::from(tree.geometry().hash_block_size));
                hash.read_back_at(offset, buf)
            });
            if let Err(finding) = hash_image {
                let block = damage
                    .hash
                    .or_else(|| is_superblock(&hash, signed, tree.geometry()).then_some(0));
                let size = tree.geometry().hash_block_size;
                findings.push(match block {
                    Some(block) => bad_block(ImageKind::Hash, hash.name(), block, size),
                    None => finding,
                });
            }
            let size = tree.geometry().data_block_size;
            findings.extend(damage.data.map(|data| bad_data(root.name(), data, size)));
        }
        (hash_image, Err(finding)) => {
            findings.extend(hash_image.err());
            findings.push(finding);
        }
    }

    let signed = &facts.images.boot;
    let mut blocks = BlockHasher::new(signed.length);
    let take = |bytes: &[u8]| {
        if let Some(blocks) = &mut blocks {
            blocks.update(bytes);
        }
    };
    let boot_image = check_digest(ImageKind::Boot, &boot, signed, take, watch)
        .with_context(stopped(ImageKind::Boot))?;
    let boot_blocks = blocks.map(BlockHasher::finish);
    if let Err(finding) = boot_image {
        let known = facts.boot_blocks.as_ref().zip(boot_blocks.as_ref());
        let block = known.and_then(|(signed, found)| {
            let block = signed.first_other(found)?;
            Some(bad_block(
                ImageKind::Boot,
                boot.name(),
                block,
                signed.block_size,
            ))
        });
        findings.push(match (&finding, block) {
            (Finding::Image { .. }, Some(block)) => block,
            _ => finding,
        });
    }
    Ok(Verdict {
        findings,
        boot_blocks,
    })
}

fn bad_block(kind: ImageKind, partition: String, block: u64, block_size: u32) -> Finding {
    Finding::Block {
        kind,
        partition,
        block,
        offset: block.saturating_mul(u64::from(block_size)),
        block_size,
    }
}

fn bad_data(partition: String, DataDamage { first, last }: DataDamage, block_size: u32) -> Finding {
    if first == last {
        return bad_block(ImageKind::Root, partition, first, block_size);
    }
    Finding::Blocks {
        partition,
        first,
        last,
        offset: first.saturating_mul(u64::from(block_size)),
        block_size,
    }
}

/// Whether the damage of a hash image whose tree is whole must be in the superblock's block: it
/// has nothing else.
fn is_superblock(hash: &dyn BlockDevice, signed: &RawImage, geometry: &Geometry) -> bool {
    signed.length == geometry.hash_length() && hash.len() >= signed.length
}

/// Whether the image's SHA-256 is the signed one. `take` sees every byte.
fn check_digest(
    kind: ImageKind,
    device: &dyn BlockDevice,
    signed: &RawImage,
    mut take: impl FnMut(&[u8]),
    watch: &Watch,
) -> Result<Result<(), Finding>, Cancelled> {
    let mut hasher = Sha256::new();
    let both = |bytes: &[u8]| {
        hasher.update(bytes);
        take(bytes);
    };
    let read = read_image(kind, device, signed.length, both, watch)?;
    let compare = || {
        let found = Digest::from(<[u8; 32]>::from(hasher.finalize()));
        let (partition, signed) = (device.name(), signed.sha256);
        ensure!(
            found == signed,
            ImageSnafu {
                kind,
                partition,
                found,
                signed
            }
        );
        Ok(())
    };
    Ok(read.and_then(|()| compare()))
}

fn hash_root(
    root: &dyn BlockDevice,
    geometry: Geometry,
    watch: &Watch,
) -> Result<Result<Tree, Finding>, Cancelled> {
    let length = geometry.data_length();
    let mut tree = TreeBuilder::new(geometry);
    let take = |bytes: &[u8]| tree.update(bytes);
    let read = read_image(ImageKind::Root, root, length, take, watch)?;
    Ok(read.map(|()| tree.finish().expect("exactly the tree's data was read")))
}

/// Hands `length` bytes of the partition to `take`, in order.
fn read_image(
    kind: ImageKind,
    device: &dyn BlockDevice,
    length: u64,
    mut take: impl FnMut(&[u8]),
    watch: &Watch,
) -> Result<Result<(), Finding>, Cancelled> {
    let (partition, limit) = (device.name(), device.len());
    if length > limit {
        return Ok(TooShortSnafu {
            kind,
            partition,
            length,
            limit,
        }
        .fail());
    }
    watch.step(Step::Verify {
        image: kind,
        bytes: length,
    });
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < length {
        watch.check()?;
        let left = length - offset;
        let piece = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let bytes = &mut chunk[..piece];
        if let Err(finding) = read(kind, device, offset, bytes) {
            return Ok(Err(finding));
        }
        take(bytes);
        offset = offset.saturating_add(u64::try_from(piece).unwrap_or(left));
        watch.progress(offset, length);
    }
    watch.step_end();
    Ok(Ok(()))
}

/// Fills `buf` from `offset`. Where that fails, smaller reads tell where the disk fails first.
fn read(
    kind: ImageKind,
    device: &dyn BlockDevice,
    offset: u64,
    buf: &mut [u8],
) -> Result<(), Finding> {
    let unreadable = |offset, error: io::Error| Finding::Unreadable {
        kind,
        partition: device.name(),
        offset,
        why: error.to_string(),
    };
    let Err(error) = device.read_back_at(offset, buf) else {
        return Ok(());
    };
    let mut at = offset;
    for piece in buf.chunks_mut(SMALL_READ_BYTES) {
        device
            .read_back_at(at, piece)
            .map_err(|error| unreadable(at, error))?;
        at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
    tracing::warn!(
        "{} could be read at offset {offset} only in small pieces: {error}",
        device.name()
    );
    Ok(())
}
