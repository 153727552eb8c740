//! Images against disks in memory that are too small, full, or keep other bytes than were written.

use std::io;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lz4_flex::frame::FrameEncoder;
use signpost::testing::{DiskBuilder, MemoryDevice};
use signpost::{
    ActiveChoice, BlockDevice, Command, Force, InactivePartition, PartitionKind, Slot, SlotStore,
};
use update_metadata::{Digest, ImageKind, RawImage};

use super::read_back::{self, ReadBackError};
use super::verity::{Geometry, TreeBuilder};
use super::write::{self, WriteError, Written};
use crate::repository::TargetReader;
use crate::watch::Watch;

const MIB: usize = 1 << 20;

/// A disk in memory with faults.
#[derive(Debug)]
struct FaultyDevice {
    memory: MemoryDevice,
    /// Writes from now on until one fails.
    writes_left: AtomicU64,
    /// A byte of the disk that reads other than it was written; none at the maximum.
    lie_at: AtomicU64,
}

impl FaultyDevice {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: DiskBuilder::new().build(),
            writes_left: AtomicU64::new(u64::MAX),
            lie_at: AtomicU64::new(u64::MAX),
        })
    }
}

impl BlockDevice for FaultyDevice {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn block_size(&self) -> u32 {
        self.memory.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if self.writes_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.memory.write_at(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        self.memory.sync()
    }

    /// Only the medium lies; the cache remembers what was written.
    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, buf)?;
        let lie = self.lie_at.load(Ordering::SeqCst).checked_sub(offset);
        if let Some(byte) = lie.and_then(|at| buf.get_mut(usize::try_from(at).ok()?)) {
            *byte ^= 1;
        }
        Ok(())
    }

    fn name(&self) -> String {
        "disk".to_owned()
    }
}

fn partition(device: &Arc<FaultyDevice>, kind: PartitionKind) -> InactivePartition {
    let device: Arc<dyn BlockDevice> = device.clone();
    let mut store = SlotStore::from_device(device, ActiveChoice::Set(Slot::A)).unwrap();
    store.run(Command::ClearInactive, &Force::No).unwrap();
    store.open_inactive(kind).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(i / 97 % 251).unwrap())
        .collect()
}

fn put(
    kind: ImageKind,
    image: &[u8],
    partition: &InactivePartition,
    signed: Option<&RawImage>,
) -> Result<Written, WriteError> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(image).unwrap();
    let reader = TargetReader::of_bytes("image.lz4", encoder.finish().unwrap());
    write::write(kind, reader, partition, signed, None, &Watch::nobody())
}

#[test]
fn an_image_of_exactly_the_partition_fits_and_one_byte_more_does_not() {
    let device = FaultyDevice::new();
    let boot = partition(&device, PartitionKind::Boot);
    let length = usize::try_from(boot.len()).unwrap();
    let written = put(ImageKind::Boot, &content(length), &boot, None).unwrap();
    assert_eq!(written.length, boot.len());
    read_back::verify(&written, &boot, |_| {}, &Watch::nobody()).unwrap();

    let before = device.memory.to_bytes();
    let error = put(ImageKind::Boot, &content(length + 1), &boot, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the boot image is larger than its partition {} of {length} bytes",
            boot.name()
        )
    );
    // The partition holds the same bytes as before, and what surrounds it is untouched.
    assert!(device.memory.to_bytes() == before);
}

#[test]
fn a_write_that_fails_names_partition_and_offset() {
    let device = FaultyDevice::new();
    let root = partition(&device, PartitionKind::Root);
    device.writes_left.store(2, Ordering::SeqCst);
    let error = put(ImageKind::Root, &content(3 * MIB), &root, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "writing the root image to {} at offset {}",
            root.name(),
            2 * MIB
        )
    );
}

#[test]
fn an_image_other_than_the_manifest_describes_is_refused() {
    let device = FaultyDevice::new();
    let boot = partition(&device, PartitionKind::Boot);
    let image = content(5000);
    let (length, sha256) = crate::digest::of_reader(image.as_slice()).unwrap();
    put(
        ImageKind::Boot,
        &image,
        &boot,
        Some(&RawImage { length, sha256 }),
    )
    .unwrap();
    for wrong in [
        RawImage {
            length: length + 1,
            sha256,
        },
        RawImage {
            length,
            sha256: Digest::from([7; 32]),
        },
    ] {
        let error = put(ImageKind::Boot, &image, &boot, Some(&wrong)).unwrap_err();
        assert!(matches!(error, WriteError::OtherImage { .. }), "{error}");
    }
}

#[test]
fn a_device_that_keeps_other_bytes_than_were_written_is_found_out() {
    let device = FaultyDevice::new();
    let root = partition(&device, PartitionKind::Root);
    let written = put(ImageKind::Root, &content(2 * MIB + 10), &root, None).unwrap();
    read_back::verify(&written, &root, |_| {}, &Watch::nobody()).unwrap();
    // The root partition of set B, found by what was written to it.
    let start = {
        let bytes = device.memory.to_bytes();
        let image = content(2 * MIB + 10);
        (0..bytes.len())
            .step_by(MIB)
            .find(|&at| bytes[at..].starts_with(&image))
            .unwrap()
    };
    for at in [0, MIB - 1, MIB, 2 * MIB + 9] {
        device
            .lie_at
            .store(u64::try_from(start + at).unwrap(), Ordering::SeqCst);
        let error = read_back::verify(&written, &root, |_| {}, &Watch::nobody()).unwrap_err();
        assert!(
            matches!(error, ReadBackError::OtherBytes { .. }),
            "{at}: {error}"
        );
    }
    // The byte behind the image is nobody's.
    device.lie_at.store(
        u64::try_from(start + 2 * MIB + 10).unwrap(),
        Ordering::SeqCst,
    );
    read_back::verify(&written, &root, |_| {}, &Watch::nobody()).unwrap();
}

#[test]
fn a_hash_image_of_another_root_image_is_refused_by_its_first_other_block() {
    let device = FaultyDevice::new();
    let hash = partition(&device, PartitionKind::Hash);
    let tree = |image: &[u8]| {
        let length = u64::try_from(image.len()).unwrap();
        let mut builder = TreeBuilder::new(Geometry::for_image(length, b"salt".to_vec()).unwrap());
        builder.update(image);
        builder.finish().unwrap()
    };
    let image = content(300 * 4096);
    let ours = tree(&image);
    let written = put(ImageKind::Hash, &ours.to_hash_image([1; 16]), &hash, None).unwrap();
    assert_eq!(read_back::geometry(&hash).unwrap(), *ours.geometry());
    read_back::verify_tree(&ours, &written, &hash, Some(&ours.facts())).unwrap();

    let mut other = image;
    other[200 * 4096] ^= 1;
    // The top level differs too, and stands first.
    let error = read_back::verify_tree(&tree(&other), &written, &hash, None).unwrap_err();
    assert!(
        matches!(error, ReadBackError::OtherTree { offset: 4096, .. }),
        "{error}"
    );

    let mut facts = ours.facts();
    facts.root_hash = Digest::from([7; 32]);
    let error = read_back::verify_tree(&ours, &written, &hash, Some(&facts)).unwrap_err();
    assert!(
        matches!(
            error,
            ReadBackError::OtherFacts {
                what: "root hash",
                ..
            }
        ),
        "{error}"
    );
    let short = Written {
        length: written.length - 1,
        ..written
    };
    let error = read_back::verify_tree(&ours, &short, &hash, None).unwrap_err();
    assert!(matches!(error, ReadBackError::ShortTree { .. }), "{error}");
}
