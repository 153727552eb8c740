//! Which root image a set holds, asked of the disk itself.

use std::io;

use signpost::{BlockDevice, PartitionKind, Slot, SlotStore};
use snafu::{ResultExt, Snafu};
use update_metadata::Digest;

use crate::image::verity::{Geometry, SUPERBLOCK_BYTES};

/// Why a set could not be looked at.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum IdentityError {
    /// The partition cannot be opened.
    #[snafu(display("opening the hash partition of set {slot}"))]
    Open {
        slot: Slot,
        source: signpost::store::Error,
    },
    /// The partition cannot be read.
    #[snafu(display("reading {partition} at offset {offset}"))]
    Read {
        partition: String,
        offset: u64,
        source: io::Error,
    },
}

/// The dm-verity root hash of `slot`, from the salt and the top hash block on its disk. `None`
/// when the hash partition holds no tree that this version reads.
///
/// It says which root image the set was made for; whether the image is still whole is what
/// [`super::verify`] finds out.
///
/// # Errors
/// When the set does not exist or the disk cannot be read.
pub fn root_hash(store: &SlotStore, slot: Slot) -> Result<Option<Digest>, IdentityError> {
    let hash = store
        .open_partition(slot, PartitionKind::Hash)
        .context(OpenSnafu { slot })?;
    let mut superblock = [0; SUPERBLOCK_BYTES];
    read(&hash, 0, &mut superblock)?;
    let Ok(geometry) = Geometry::from_superblock(&superblock) else {
        return Ok(None);
    };
    // A single data block is its own top.
    let (device, offset, length) = if geometry.data_blocks == 1 {
        let root = store
            .open_partition(slot, PartitionKind::Root)
            .context(OpenSnafu { slot })?;
        (root, 0, geometry.data_block_size)
    } else {
        (
            hash,
            u64::from(geometry.hash_block_size),
            geometry.hash_block_size,
        )
    };
    let mut top = vec![0; usize::try_from(length).expect("at most 65,536: checked")];
    read(&device, offset, &mut top)?;
    Ok(Some(geometry.hash_of_block(&top)))
}

fn read(device: &dyn BlockDevice, offset: u64, buf: &mut [u8]) -> Result<(), IdentityError> {
    device.read_back_at(offset, buf).context(ReadSnafu {
        partition: device.name(),
        offset,
    })
}
