//! A whole set against its facts, without a network: every byte is read from the disk.
//!
//! The root image is hashed block by block into a tree. If the tree's root hash is the signed one,
//! every block is good; if not, the leaves of the hash image, once that is known to be the signed
//! one, tell the first block that is not.

use std::io;

use sha2::{Digest as _, Sha256};
use signpost::{BlockDevice, PartitionKind, Slot, SlotStore};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{Digest, ImageKind, RawImage};

use super::facts::SetFacts;
use crate::event::{Event, Observer, Step};
use crate::image::verity::{Geometry, Tree, TreeBuilder, VerityError};

const CHUNK_BYTES: usize = 1 << 20;

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
        "the {kind} image on {partition} is not what was signed from block {block} \
                     on, at offset {offset}"
    ))]
    Block {
        kind: ImageKind,
        partition: String,
        block: u64,
        offset: u64,
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

/// Reads the whole of `slot` and compares it with `facts`. Empty when every byte is right;
/// otherwise the first thing that is wrong with each image.
///
/// # Errors
/// When a partition cannot be opened.
pub fn verify(
    store: &SlotStore,
    slot: Slot,
    facts: &SetFacts,
    observer: &dyn Observer,
) -> Result<Vec<Finding>, VerifyError> {
    let open = |kind, partition| {
        store
            .open_partition(slot, partition)
            .context(OpenSnafu { kind, slot })
    };
    let boot = open(ImageKind::Boot, PartitionKind::Boot)?;
    let root = open(ImageKind::Root, PartitionKind::Root)?;
    let hash = open(ImageKind::Hash, PartitionKind::Hash)?;
    let geometry = Geometry::of(&facts.verity).context(FactsSnafu { slot })?;

    let hash_image = check_digest(ImageKind::Hash, &hash, &facts.images.hash, observer);
    let tree = hash_root(&root, geometry, observer)
        .map(|tree| (tree.root_hash() == facts.verity.root_hash, tree));
    let boot_image = check_digest(ImageKind::Boot, &boot, &facts.images.boot, observer);

    let mut findings = Vec::new();
    match (hash_image, tree) {
        (Ok(()), Ok((true, _))) => {}
        // The root image is good, so its tree is what the hash image should be.
        (Err(finding), Ok((true, tree))) => {
            findings
                .push(first_other_block(ImageKind::Hash, &tree, &hash, &hash).unwrap_or(finding));
        }
        // The hash image is good, so its leaves are what the blocks should hash to.
        (Ok(()), Ok((false, tree))) => {
            findings.extend(first_other_block(ImageKind::Root, &tree, &hash, &root));
        }
        (Err(finding), Ok((false, tree))) => {
            findings.push(finding);
            findings.push(Finding::Image {
                kind: ImageKind::Root,
                partition: root.name(),
                found: tree.root_hash(),
                signed: facts.verity.root_hash,
            });
        }
        (hash_image, Err(finding)) => {
            findings.extend(hash_image.err());
            findings.push(finding);
        }
    }
    findings.extend(boot_image.err());
    Ok(findings)
}

/// Whether the image's SHA-256 is the signed one.
fn check_digest(
    kind: ImageKind,
    device: &dyn BlockDevice,
    signed: &RawImage,
    observer: &dyn Observer,
) -> Result<(), Finding> {
    let mut hasher = Sha256::new();
    read_image(
        kind,
        device,
        signed.length,
        |bytes| hasher.update(bytes),
        observer,
    )?;
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
}

fn hash_root(
    root: &dyn BlockDevice,
    geometry: Geometry,
    observer: &dyn Observer,
) -> Result<Tree, Finding> {
    let length = geometry.data_length();
    let mut tree = TreeBuilder::new(geometry);
    read_image(
        ImageKind::Root,
        root,
        length,
        |bytes| tree.update(bytes),
        observer,
    )?;
    Ok(tree.finish().expect("exactly the tree's data was read"))
}

/// Hands `length` bytes of the partition to `take`, in order.
fn read_image(
    kind: ImageKind,
    device: &dyn BlockDevice,
    length: u64,
    mut take: impl FnMut(&[u8]),
    observer: &dyn Observer,
) -> Result<(), Finding> {
    let (partition, limit) = (device.name(), device.len());
    ensure!(
        length <= limit,
        TooShortSnafu {
            kind,
            partition,
            length,
            limit
        }
    );
    observer.observe(&Event::Step(Step::ReadBack(kind)));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < length {
        let left = length - offset;
        let piece = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let bytes = &mut chunk[..piece];
        read(kind, device, offset, bytes)?;
        take(bytes);
        offset = offset.saturating_add(u64::try_from(piece).unwrap_or(left));
        observer.observe(&Event::Progress {
            done: offset,
            total: length,
        });
    }
    Ok(())
}

/// The first place where the hash image on the disk and `tree` disagree: for [`ImageKind::Hash`]
/// the block of the hash image itself, for [`ImageKind::Root`] the data block whose leaf it is.
fn first_other_block(
    kind: ImageKind,
    tree: &Tree,
    hash: &dyn BlockDevice,
    blamed: &dyn BlockDevice,
) -> Option<Finding> {
    let geometry = tree.geometry();
    let block_length = usize::try_from(geometry.hash_block_size).ok()?;
    let mut on_disk = vec![0; block_length];
    let mut hash_block = 1_u64;
    let mut leaf = 0_u64;
    let levels = tree.levels_from_top().count();
    for (depth, level) in tree.levels_from_top().enumerate() {
        for block in level.chunks_exact(block_length) {
            let offset = hash_block.checked_mul(u64::from(geometry.hash_block_size))?;
            if let Err(finding) = read(ImageKind::Hash, hash, offset, &mut on_disk) {
                return Some(finding);
            }
            let at = |block: u64, size: u32| Finding::Block {
                kind,
                partition: blamed.name(),
                block,
                offset: block.saturating_mul(u64::from(size)),
            };
            if kind == ImageKind::Hash && on_disk != block {
                return Some(at(hash_block, geometry.hash_block_size));
            }
            if kind == ImageKind::Root && depth + 1 == levels {
                for (found, signed) in block.chunks_exact(32).zip(on_disk.chunks_exact(32)) {
                    if found != signed {
                        return Some(at(leaf, geometry.data_block_size));
                    }
                    leaf += 1;
                }
            }
            hash_block += 1;
        }
    }
    // A single data block has no leaf: it is all there is.
    (kind == ImageKind::Root).then(|| Finding::Block {
        kind,
        partition: blamed.name(),
        block: 0,
        offset: 0,
    })
}

fn read(
    kind: ImageKind,
    device: &dyn BlockDevice,
    offset: u64,
    buf: &mut [u8],
) -> Result<(), Finding> {
    device
        .read_back_at(offset, buf)
        .map_err(|error: io::Error| Finding::Unreadable {
            kind,
            partition: device.name(),
            offset,
            why: error.to_string(),
        })
}
