//! Pure: where the partitions of a factory disk go.
//!
//! Thirteen partitions, always in the same order, with the same numbers, labels and types; all on
//! MiB boundaries. The boot loader finds a set's root and hash partition by counting on from its
//! boot partition, so the order within a set is boot, root, hash.
//!
//! Two ways to size them: the plan of a disk of so many GiB, which leaves room for updates over the
//! disk's whole life and whose numbers cannot change once disks are deployed, or just as large as
//! the given images need.

use signpost::attributes::{BootAttributes, Priority};
use signpost::guid::{self, Guid};
use snafu::{OptionExt, Snafu, ensure};
use update_metadata::ImageKind;

use crate::image::verity::{Geometry, MAX_SALT_BYTES};

/// Every partition starts and ends on a multiple of this.
pub const MIB: u64 = 1 << 20;

/// Why no disk can be planned.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum PlanError {
    /// The image is larger than its partition.
    #[snafu(display(
        "the {kind} image has {length} bytes, its partition {room}; choose a larger \
         --os-image-size-gib, or leave the option out to size the disk by the images"
    ))]
    DoesNotFit {
        kind: ImageKind,
        length: u64,
        room: u64,
    },
    /// Sizes beyond what can be counted.
    #[snafu(display("images of this size do not fit on any disk"))]
    TooLarge,
}

/// Bytes of each image.
#[derive(Debug, Clone, Copy)]
pub struct ImageLengths {
    /// The boot image's.
    pub boot: u64,
    /// The root image's.
    pub root: u64,
    /// The hash image's.
    pub hash: u64,
}

/// A partition to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1.
    pub number: u32,
    /// Empty for the data partition, which gets its label on its first boot.
    pub label: &'static str,
    /// What it is for.
    pub type_guid: Guid,
    /// Its first byte.
    pub start: u64,
    /// How many bytes it has.
    pub length: u64,
    /// Its attribute bits.
    pub attributes: u64,
}

/// A disk to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// Bytes of the whole disk.
    pub length: u64,
    /// Its partitions, in the order of their numbers and of their places.
    pub partitions: Vec<Partition>,
}

/// MiB of each kind of partition.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    boot: u64,
    root: u64,
    hash: u64,
    reserved: u64,
    private: u64,
}

/// The first and the last MiB belong to the two copies of the partition table.
const TABLE_MIB: u64 = 1;
const BIOS_MIB: u64 = 4;
const EFI_MIB: u64 = 5;
const DATA_MIB: u64 = 1;

impl DiskPlan {
    /// The plan of a disk of `gib` GiB: exactly that long.
    pub fn for_os_image(gib: u16) -> Self {
        let gib = u64::from(gib.max(1));
        Self::lay_out(Sizes {
            boot: 20 * gib,
            root: 460 * gib,
            hash: 5 * gib,
            reserved: 15 * gib - EFI_MIB,
            private: 24 * gib - (BIOS_MIB + DATA_MIB + 2 * TABLE_MIB),
        })
        .expect("at most 65,535 GiB, which is far below 2^64 bytes")
    }

    /// The smallest plan with room to grow: a quarter more than each image, and a hash partition
    /// for a root image as large as the root partition.
    pub fn to_fit(images: ImageLengths) -> Result<Self, PlanError> {
        let boot = with_headroom(images.boot)?;
        let root = with_headroom(images.root)?;
        let largest_root = root.checked_mul(MIB).context(TooLargeSnafu)?;
        let tree = Geometry::for_image(largest_root, vec![0; MAX_SALT_BYTES])
            .ok()
            .context(TooLargeSnafu)?
            .hash_length();
        Self::lay_out(Sizes {
            boot,
            root,
            hash: tree.div_ceil(MIB).max(with_headroom(images.hash)?),
            reserved: 1,
            private: 16,
        })
    }

    /// The partition that an image of set A goes into.
    pub fn installed(&self, kind: ImageKind) -> &Partition {
        let type_guid = type_of(kind);
        self.partitions
            .iter()
            .find(|partition| partition.type_guid == type_guid)
            .expect("every plan has all three kinds")
    }

    /// Whether every image has room in its partition.
    pub fn check_room(&self, images: ImageLengths) -> Result<(), PlanError> {
        for (kind, length) in [
            (ImageKind::Boot, images.boot),
            (ImageKind::Root, images.root),
            (ImageKind::Hash, images.hash),
        ] {
            let room = self.installed(kind).length;
            ensure!(length <= room, DoesNotFitSnafu { kind, length, room });
        }
        Ok(())
    }

    fn lay_out(sizes: Sizes) -> Result<Self, PlanError> {
        let Sizes {
            boot,
            root,
            hash,
            reserved,
            private,
        } = sizes;
        // Installed and known to be good; nothing else on the disk boots.
        let good = BootAttributes::default()
            .with_priority(Priority::ONE)
            .with_successful(true);
        let rows = [
            ("BIOS-BOOT", guid::BIOS_BOOT, BIOS_MIB, 0),
            ("EFI-SYSTEM", guid::EFI_SYSTEM, EFI_MIB, 0),
            ("BOTTLEROCKET-BOOT-A", guid::BOOT, boot, good.bits()),
            ("BOTTLEROCKET-ROOT-A", guid::ROOT, root, 0),
            ("BOTTLEROCKET-HASH-A", guid::HASH, hash, 0),
            ("BOTTLEROCKET-RESERVED-A", guid::RESERVED, reserved, 0),
            ("EFI-BACKUP", guid::EFI_BACKUP, EFI_MIB, 0),
            ("BOTTLEROCKET-BOOT-B", guid::BOOT, boot, 0),
            ("BOTTLEROCKET-ROOT-B", guid::ROOT, root, 0),
            ("BOTTLEROCKET-HASH-B", guid::HASH, hash, 0),
            ("BOTTLEROCKET-RESERVED-B", guid::RESERVED, reserved, 0),
            ("BOTTLEROCKET-PRIVATE", guid::PRIVATE, private, 0),
            ("", guid::DATA, DATA_MIB, 0),
        ];
        let mut start = TABLE_MIB * MIB;
        let mut partitions = Vec::with_capacity(rows.len());
        for (number, (label, type_guid, mib, attributes)) in (1_u32..).zip(rows) {
            let length = mib.checked_mul(MIB).context(TooLargeSnafu)?;
            partitions.push(Partition {
                number,
                label,
                type_guid,
                start,
                length,
                attributes,
            });
            start = start.checked_add(length).context(TooLargeSnafu)?;
        }
        let length = start
            .checked_add(TABLE_MIB * MIB)
            // What a file's offset can be.
            .filter(|length| i64::try_from(*length).is_ok())
            .context(TooLargeSnafu)?;
        Ok(Self { length, partitions })
    }
}

fn type_of(kind: ImageKind) -> Guid {
    match kind {
        ImageKind::Boot => guid::BOOT,
        ImageKind::Root => guid::ROOT,
        ImageKind::Hash => guid::HASH,
    }
}

/// MiB for an image and a quarter more, at least one.
fn with_headroom(length: u64) -> Result<u64, PlanError> {
    let roomy = length.checked_add(length / 4).context(TooLargeSnafu)?;
    Ok(roomy.div_ceil(MIB).max(1))
}

#[cfg(test)]
mod tests {
    use signpost::layout::{ByteRange, Entry, Layout};

    use super::*;

    /// Number, label, and MiB of start and length of every partition.
    fn table(plan: &DiskPlan) -> Vec<(u32, &str, u64, u64)> {
        plan.partitions
            .iter()
            .map(|p| {
                assert_eq!((p.start % MIB, p.length % MIB), (0, 0), "{}", p.label);
                (p.number, p.label, p.start / MIB, p.length / MIB)
            })
            .collect()
    }

    #[test]
    fn a_disk_of_2_gib_is_the_documented_one() {
        let plan = DiskPlan::for_os_image(2);
        assert_eq!(plan.length, 2 << 30);
        assert_eq!(
            table(&plan),
            [
                (1, "BIOS-BOOT", 1, 4),
                (2, "EFI-SYSTEM", 5, 5),
                (3, "BOTTLEROCKET-BOOT-A", 10, 40),
                (4, "BOTTLEROCKET-ROOT-A", 50, 920),
                (5, "BOTTLEROCKET-HASH-A", 970, 10),
                (6, "BOTTLEROCKET-RESERVED-A", 980, 25),
                (7, "EFI-BACKUP", 1005, 5),
                (8, "BOTTLEROCKET-BOOT-B", 1010, 40),
                (9, "BOTTLEROCKET-ROOT-B", 1050, 920),
                (10, "BOTTLEROCKET-HASH-B", 1970, 10),
                (11, "BOTTLEROCKET-RESERVED-B", 1980, 25),
                (12, "BOTTLEROCKET-PRIVATE", 2005, 41),
                (13, "", 2046, 1),
            ]
        );
    }

    #[test]
    fn a_disk_of_4_gib_is_the_documented_one() {
        let plan = DiskPlan::for_os_image(4);
        assert_eq!(plan.length, 4 << 30);
        assert_eq!(
            table(&plan),
            [
                (1, "BIOS-BOOT", 1, 4),
                (2, "EFI-SYSTEM", 5, 5),
                (3, "BOTTLEROCKET-BOOT-A", 10, 80),
                (4, "BOTTLEROCKET-ROOT-A", 90, 1840),
                (5, "BOTTLEROCKET-HASH-A", 1930, 20),
                (6, "BOTTLEROCKET-RESERVED-A", 1950, 55),
                (7, "EFI-BACKUP", 2005, 5),
                (8, "BOTTLEROCKET-BOOT-B", 2010, 80),
                (9, "BOTTLEROCKET-ROOT-B", 2090, 1840),
                (10, "BOTTLEROCKET-HASH-B", 3930, 20),
                (11, "BOTTLEROCKET-RESERVED-B", 3950, 55),
                (12, "BOTTLEROCKET-PRIVATE", 4005, 89),
                (13, "", 4094, 1),
            ]
        );
    }

    #[test]
    fn every_size_makes_a_disk_of_that_size() {
        for gib in [1, 2, 3, 8, 100, u16::MAX] {
            assert_eq!(DiskPlan::for_os_image(gib).length, u64::from(gib) << 30);
        }
    }

    #[test]
    fn a_disk_made_to_fit_leaves_a_quarter_and_a_tree_for_the_whole_root_partition() {
        // (boot, root, hash image) -> MiB of boot, root, hash partition
        for (images, expected) in [
            ((1, 4096, 4096), (1, 1, 1)),
            ((MIB, MIB, 16 * 4096), (2, 2, 1)),
            ((4 * MIB, 100 * MIB, 800 * 1024), (5, 125, 1)),
            // 250 MiB are 64,000 blocks: 500 + 4 + 1 hash blocks and the superblock's.
            ((20 * MIB, 200 * MIB, 2 * MIB - 4096), (25, 250, 3)),
        ] {
            let (boot, root, hash) = images;
            let images = ImageLengths { boot, root, hash };
            let plan = DiskPlan::to_fit(images).unwrap();
            plan.check_room(images).unwrap();
            let mib = |kind| plan.installed(kind).length / MIB;
            let found = (
                mib(ImageKind::Boot),
                mib(ImageKind::Root),
                mib(ImageKind::Hash),
            );
            assert_eq!(found, expected, "{images:?}");
            assert_eq!(plan.partitions.len(), 13);
        }
    }

    #[test]
    fn an_image_that_does_not_fit_is_named() {
        let plan = DiskPlan::for_os_image(2);
        let room = 40 * MIB;
        let images = |boot| ImageLengths {
            boot,
            root: 920 * MIB,
            hash: 10 * MIB,
        };
        plan.check_room(images(room)).unwrap();
        assert_eq!(
            plan.check_room(images(room + 1)).unwrap_err(),
            PlanError::DoesNotFit {
                kind: ImageKind::Boot,
                length: room + 1,
                room
            }
        );
    }

    #[test]
    fn sizes_beyond_counting_are_an_error_and_no_panic() {
        for length in [u64::MAX, u64::MAX / 4, 1 << 62] {
            for images in [
                ImageLengths {
                    boot: length,
                    root: 4096,
                    hash: 4096,
                },
                ImageLengths {
                    boot: 1,
                    root: length,
                    hash: 4096,
                },
                ImageLengths {
                    boot: 1,
                    root: 4096,
                    hash: length,
                },
            ] {
                assert_eq!(DiskPlan::to_fit(images), Err(PlanError::TooLarge));
            }
        }
    }

    #[test]
    fn the_boot_loaders_model_finds_both_sets_in_sequence() {
        let plan = DiskPlan::for_os_image(2);
        let entries: Vec<Entry> = plan
            .partitions
            .iter()
            .map(|p| Entry {
                number: p.number,
                type_guid: p.type_guid,
                guid: Guid([1; 16]),
                range: ByteRange::new(p.start, p.length),
                attributes: p.attributes,
            })
            .collect();
        let layout = Layout::from_entries(&entries).unwrap();
        assert_eq!(layout.private.number, 12);
        assert_eq!(layout.sets.iter().count(), 2);
        let boots: Vec<_> = plan
            .partitions
            .iter()
            .filter(|p| p.type_guid == guid::BOOT)
            .map(|p| BootAttributes::from_bits(p.attributes))
            .map(|bits| (bits.priority(), bits.tries_left(), bits.successful()))
            .collect();
        assert_eq!(boots, [(1, 0, true), (0, 0, false)]);
        assert_eq!(plan.partitions[2].attributes, 1 << 48 | 1 << 56);
    }
}
