//! One image, from its signed compressed stream into a partition of the inactive set.
//!
//! Bytes are written as they are decoded, so the partition holds unverified bytes until the end of
//! the stream; the set's boot bits are clear the whole time (the session saw to that), and only the
//! [`Written`] that a verified stream yields can go on to the read-back. Nothing is ever written
//! past the end of the partition.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest as _, Sha256};
use signpost::{BlockDevice, InactivePartition};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::block_map::HashImage;
use update_metadata::{Digest, ImageKind, RawImage};

use super::apply::ApplyError;
use super::codec::{WholeReader, codec_of};
use super::verity::{Tree, TreeBuilder};
use crate::cancel::Cancelled;
use crate::event::{Step, Wait};
use crate::repository::TargetReader;
use crate::watch::Watch;

/// Bytes of one write.
const CHUNK_BYTES: usize = 1 << 20;

/// Why an image is not in its partition. The set stays unbootable; running the command again
/// starts over.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[allow(missing_docs)] // the message says what each field is
pub enum WriteError {
    /// The stream broke, is not one LZ4 frame, or is not what was signed.
    #[snafu(display("reading the {kind} image from {target} at byte {offset}"))]
    Read {
        kind: ImageKind,
        target: String,
        offset: u64,
        source: io::Error,
    },
    /// The image goes on where the partition ends. Nothing was written past the end.
    #[snafu(display("the {kind} image is larger than its partition {partition} of {limit} bytes"))]
    TooLarge {
        kind: ImageKind,
        partition: String,
        limit: u64,
    },
    /// The device refused a write.
    #[snafu(display("writing the {kind} image to {partition} at offset {offset}"))]
    Write {
        kind: ImageKind,
        partition: String,
        offset: u64,
        source: io::Error,
    },
    /// It could not be put together from its blocks.
    #[snafu(transparent)]
    Apply { source: ApplyError },
    /// The run was told to stop.
    #[snafu(display("writing the {kind} image, at offset {offset}"))]
    Cancelled {
        kind: ImageKind,
        offset: u64,
        source: Cancelled,
    },
    /// The device refused to sync.
    #[snafu(display("syncing the {kind} image on {partition}"))]
    Sync {
        kind: ImageKind,
        partition: String,
        source: io::Error,
    },
    /// The decoded image is not the one that the manifest describes.
    #[snafu(display("the decoded {kind} image has {found}, the manifest says {signed}"))]
    OtherImage {
        kind: ImageKind,
        found: String,
        signed: String,
    },
}

/// An image that is wholly in its partition and synced, from a stream that was the signed one.
#[derive(Debug)]
pub struct Written {
    /// Which.
    pub kind: ImageKind,
    /// Bytes of the decoded image.
    pub length: u64,
    /// Of the decoded image, computed before it was written.
    pub sha256: Digest,
    /// Bytes of the compressed image, as they were fetched.
    pub fetched: u64,
}

/// Decodes `source` into `partition`. `signed`, where the manifest has it, is compared with what
/// was decoded; `tree` sees every byte of the image.
///
/// After an error the partition holds anything, up to its end; what surrounds it is untouched.
///
/// # Errors
/// Every [`WriteError`].
pub fn write(
    kind: ImageKind,
    source: TargetReader,
    partition: &InactivePartition,
    signed: Option<&RawImage>,
    mut tree: Option<&mut TreeBuilder>,
    watch: &Watch,
) -> Result<Written, WriteError> {
    let target = source.target().name().to_owned();
    let total = source.target().length;
    watch.step(Step::Write {
        image: kind,
        bytes: total,
    });
    let limit = partition.len();
    let mut reader = WholeReader::new(codec_of(&target), source);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hasher = Sha256::new();
    let mut offset = 0;
    loop {
        let filled = fill(&mut reader, &mut chunk).context(ReadSnafu {
            kind,
            target: &target,
            offset,
        })?;
        let bytes = &chunk[..filled];
        if bytes.is_empty() {
            break;
        }
        let end = u64::try_from(filled)
            .ok()
            .and_then(|filled| filled.checked_add(offset));
        let Some(end) = end.filter(|&end| end <= limit) else {
            return TooLargeSnafu {
                kind,
                partition: partition.name(),
                limit,
            }
            .fail();
        };
        watch.check().context(CancelledSnafu { kind, offset })?;
        hasher.update(bytes);
        if let Some(tree) = tree.as_deref_mut() {
            tree.update(bytes);
        }
        partition.write_at(offset, bytes).context(WriteSnafu {
            kind,
            partition: partition.name(),
            offset,
        })?;
        offset = end;
        watch.progress(reader.input().received(), total);
    }
    let written = Written {
        kind,
        length: offset,
        sha256: Digest::from(<[u8; 32]>::from(hasher.finalize())),
        fetched: reader.input().received(),
    };
    if let Some(signed) = signed {
        compare(&written, signed)?;
    }
    let synced = watch.while_waiting(Wait::Sync, || partition.sync());
    synced.context(SyncSnafu {
        kind,
        partition: partition.name(),
    })?;
    watch.step_end();
    Ok(written)
}

/// An error unless an image of `length` bytes fits into `partition`.
///
/// # Errors
/// [`WriteError::TooLarge`].
pub fn check_room(
    kind: ImageKind,
    length: u64,
    partition: &InactivePartition,
) -> Result<(), WriteError> {
    let limit = partition.len();
    ensure!(
        length <= limit,
        TooLargeSnafu {
            kind,
            partition: partition.name(),
            limit
        }
    );
    Ok(())
}

/// Writes the hash image that consists of `tree` and of what `image` has besides. Not synced.
///
/// # Errors
/// [`WriteError::TooLarge`] and [`WriteError::Write`].
pub fn hash_image(
    tree: &Tree,
    image: &HashImage,
    partition: &InactivePartition,
) -> Result<Written, WriteError> {
    let kind = ImageKind::Hash;
    check_room(kind, image.raw.length, partition)?;
    let mut hasher = Sha256::new();
    let mut offset = 0_u64;
    let mut put = |bytes: &[u8]| {
        // Never past the image's length, which fits.
        let left = usize::try_from(image.raw.length - offset).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(left)];
        hasher.update(bytes);
        partition.write_at(offset, bytes).context(WriteSnafu {
            kind,
            partition: partition.name(),
            offset,
        })?;
        offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok::<_, WriteError>(offset < image.raw.length)
    };
    let block = usize::try_from(tree.geometry().hash_block_size).unwrap_or(usize::MAX);
    let mut first = image.superblock.to_vec();
    first.resize(block.max(first.len()), 0);
    put(&first)?;
    for level in tree.levels_from_top() {
        put(level)?;
    }
    let zeros = vec![0; block];
    while put(&zeros)? {}
    Ok(Written {
        kind,
        length: image.raw.length,
        sha256: Digest::from(<[u8; 32]>::from(hasher.finalize())),
        fetched: 0,
    })
}

fn compare(written: &Written, signed: &RawImage) -> Result<(), WriteError> {
    ensure!(
        written.length == signed.length,
        OtherImageSnafu {
            kind: written.kind,
            found: format!("{} bytes", written.length),
            signed: format!("{} bytes", signed.length)
        }
    );
    ensure!(
        written.sha256 == signed.sha256,
        OtherImageSnafu {
            kind: written.kind,
            found: format!("SHA-256 {}", written.sha256),
            signed: signed.sha256.to_string()
        }
    );
    Ok(())
}

/// Reads until `buf` is full or the input ends.
fn fill(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
