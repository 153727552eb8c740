//! What the disk really holds, read again past the page cache where the system allows it.
//!
//! A device may accept a write and keep something else; bytes that merely came back from memory
//! would not show that. [`verify`] compares every byte of an image with the digest that was
//! computed before it was written, and for a root image the hash tree on the disk with the tree of
//! the data, up to the root hash that the boot image hands to the kernel.

use std::io;

use sha2::{Digest as _, Sha256};
use signpost::{BlockDevice, InactivePartition};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{Digest, ImageKind, Verity};

use super::buffer::AlignedBuffer;
use super::judge::Judge;
use super::stretches::in_stretches;
use super::verity::{Geometry, SUPERBLOCK_BYTES, Tree, VerityError};
use super::write::Written;
use crate::cancel::Cancelled;
use crate::event::Step;
use crate::watch::Watch;

const CHUNK_BYTES: usize = 256 << 10;

/// Why an image must not be booted.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ReadBackError {
    /// The device failed to read.
    #[snafu(display("reading back the {kind} image from {partition} at offset {offset}"))]
    Read {
        kind: ImageKind,
        partition: String,
        offset: u64,
        source: io::Error,
    },
    /// The run was told to stop.
    #[snafu(display("reading back the {kind} image, at offset {offset}"))]
    Cancelled {
        kind: ImageKind,
        offset: u64,
        source: Cancelled,
    },
    /// The device holds other bytes than were written.
    #[snafu(display(
        "{partition} does not hold the {kind} image that was written to it: SHA-256 {found}, \
         written was {written}; the device may be failing"
    ))]
    OtherBytes {
        kind: ImageKind,
        partition: String,
        found: Digest,
        written: Digest,
    },
    /// The device holds another block than was written.
    #[snafu(display(
        "{partition} does not hold the {kind} image that was written to it: another block is at \
         offset {offset}; the device may be failing"
    ))]
    OtherBlock {
        kind: ImageKind,
        partition: String,
        offset: u64,
    },
    /// The hash image has no superblock that can be used.
    #[snafu(display("the hash image on {partition}"))]
    Superblock {
        partition: String,
        source: VerityError,
    },
    /// The root image is not as long as its hash tree covers.
    #[snafu(display("hashing the root image"))]
    Tree { source: VerityError },
    /// The hash image is not the tree of the root image.
    #[snafu(display(
        "the hash image on {partition} is not the tree of the root image: they differ in the block \
         at offset {offset}"
    ))]
    OtherTree { partition: String, offset: u64 },
    /// The hash image is shorter than its tree.
    #[snafu(display("the hash image of {length} bytes is shorter than its tree of {tree} bytes"))]
    ShortTree { length: u64, tree: u64 },
    /// Root hash, salt or sizes are not the ones that the manifest signs.
    #[snafu(display("the {what} of the root image is {found}, the manifest says {signed}"))]
    OtherFacts {
        what: &'static str,
        found: String,
        signed: String,
    },
}

/// Compares the image in `partition` with what was written. `take` sees every byte that is on the
/// disk, before it is known whether it is right.
///
/// # Errors
/// [`ReadBackError::Read`] and [`ReadBackError::OtherBytes`].
pub fn verify(
    written: &Written,
    partition: &InactivePartition,
    mut take: impl FnMut(&[u8]),
    watch: &Watch,
) -> Result<(), ReadBackError> {
    let kind = written.kind;
    watch.step(Step::ReadBack {
        image: kind,
        bytes: written.length,
    });
    let mut chunk = AlignedBuffer::new(CHUNK_BYTES);
    let mut hasher = Sha256::new();
    let mut offset = 0;
    while offset < written.length {
        watch.check().context(CancelledSnafu { kind, offset })?;
        let left = written.length - offset;
        let length = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let bytes = &mut chunk[..length];
        partition.read_back_at(offset, bytes).context(ReadSnafu {
            kind,
            partition: partition.name(),
            offset,
        })?;
        hasher.update(&*bytes);
        take(bytes);
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(left));
        watch.progress(offset, written.length);
    }
    let found = Digest::from(<[u8; 32]>::from(hasher.finalize()));
    ensure!(
        found == written.sha256,
        OtherBytesSnafu {
            kind,
            partition: partition.name(),
            found,
            written: written.sha256
        }
    );
    watch.step_end();
    Ok(())
}

/// Compares the root image in `partition` with its tree, block by block, on `threads` threads.
///
/// # Errors
/// [`ReadBackError::Read`], [`ReadBackError::OtherBlock`] and [`ReadBackError::Cancelled`].
pub fn verify_blocks(
    tree: &Tree,
    partition: &InactivePartition,
    threads: usize,
    watch: &Watch,
) -> Result<(), ReadBackError> {
    let kind = ImageKind::Root;
    let geometry = tree.geometry();
    let total = geometry.data_length();
    watch.step(Step::ReadBack {
        image: kind,
        bytes: total,
    });
    let judge = Judge::leaves(geometry);
    let block = judge.block_length();
    let mut blocks = vec![(); usize::try_from(geometry.data_blocks).unwrap_or(usize::MAX)];
    let tally = watch.tally(total);
    in_stretches(&mut blocks, block, threads, |first, _, bytes| {
        let at = |number: usize| {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            u64::from(geometry.data_block_size).saturating_mul(number)
        };
        let offset = at(first);
        watch.check().context(CancelledSnafu { kind, offset })?;
        partition.read_back_at(offset, bytes).context(ReadSnafu {
            kind,
            partition: partition.name(),
            offset,
        })?;
        let found = judge.hashes(bytes.chunks_exact(block));
        for (number, found) in (first..).zip(found) {
            ensure!(
                tree.leaf(number) == Some(&found),
                OtherBlockSnafu {
                    kind,
                    partition: partition.name(),
                    offset: at(number)
                }
            );
        }
        tally.add(bytes.len());
        Ok(())
    })?;
    watch.step_end();
    Ok(())
}

/// The geometry that the hash image in `partition` announces. It is trusted once the image was
/// written from a signed stream.
///
/// # Errors
/// [`ReadBackError::Read`] and [`ReadBackError::Superblock`].
pub fn geometry(partition: &InactivePartition) -> Result<Geometry, ReadBackError> {
    let mut superblock = [0; SUPERBLOCK_BYTES];
    partition
        .read_back_at(0, &mut superblock)
        .context(ReadSnafu {
            kind: ImageKind::Hash,
            partition: partition.name(),
            offset: 0_u64,
        })?;
    Geometry::from_superblock(&superblock).context(SuperblockSnafu {
        partition: partition.name(),
    })
}

/// Compares the hash image in `partition` with the tree of the root image, block by block, and
/// the tree's facts with the signed ones where the manifest has them.
///
/// # Errors
/// [`ReadBackError::ShortTree`], [`ReadBackError::Read`], [`ReadBackError::OtherTree`] and
/// [`ReadBackError::OtherFacts`].
pub fn verify_tree(
    tree: &Tree,
    hash_image: &Written,
    partition: &InactivePartition,
    signed: Option<&Verity>,
) -> Result<(), ReadBackError> {
    let geometry = tree.geometry();
    ensure!(
        hash_image.length >= geometry.hash_length(),
        ShortTreeSnafu {
            length: hash_image.length,
            tree: geometry.hash_length()
        }
    );
    let block_length = usize::try_from(geometry.hash_block_size).unwrap_or(CHUNK_BYTES);
    let mut buffer = AlignedBuffer::new(CHUNK_BYTES);
    let mut offset = u64::from(geometry.hash_block_size);
    // Levels consist of whole blocks, and so does a chunk.
    for expected in tree
        .levels_from_top()
        .flat_map(|level| level.chunks(CHUNK_BYTES))
    {
        let found = &mut buffer[..expected.len()];
        partition.read_back_at(offset, found).context(ReadSnafu {
            kind: ImageKind::Hash,
            partition: partition.name(),
            offset,
        })?;
        let mut blocks = found
            .chunks(block_length)
            .zip(expected.chunks(block_length))
            .zip((offset..).step_by(block_length));
        if let Some((_, offset)) = blocks.find(|((found, expected), _)| found != expected) {
            let partition = partition.name();
            return OtherTreeSnafu { partition, offset }.fail();
        }
        offset = offset.saturating_add(u64::try_from(expected.len()).unwrap_or(u64::MAX));
    }
    signed.map_or(Ok(()), |signed| compare_facts(&tree.facts(), signed))
}

/// Whether what was found is what the manifest signs.
fn compare_facts(found: &Verity, signed: &Verity) -> Result<(), ReadBackError> {
    for (what, found, signed) in [
        (
            "root hash",
            found.root_hash.to_string(),
            signed.root_hash.to_string(),
        ),
        ("salt", found.salt.to_string(), signed.salt.to_string()),
        (
            "data block size",
            found.data_block_size.to_string(),
            signed.data_block_size.to_string(),
        ),
        (
            "hash block size",
            found.hash_block_size.to_string(),
            signed.hash_block_size.to_string(),
        ),
        (
            "number of data blocks",
            found.data_blocks.to_string(),
            signed.data_blocks.to_string(),
        ),
    ] {
        ensure!(
            found == signed,
            OtherFactsSnafu {
                what,
                found,
                signed
            }
        );
    }
    Ok(())
}
