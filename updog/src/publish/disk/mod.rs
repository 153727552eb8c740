//! `updata disk`: a disk as it leaves the factory, in a file.
//!
//! Both partition sets are there; set A holds the given images and is marked good (priority 1, no
//! tries left, successful), set B is empty and its bits are all zero. The file is sparse, has the
//! size of the disk, and appears under its name only when it was read back whole.

pub mod plan;
pub mod write;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use semver::Version;
use serde::Serialize;
use snafu::Snafu;
use update_metadata::{Digest, ImageKind, RawImages, Salt};

use self::plan::{DiskPlan, ImageLengths, PlanError};
use self::write::{Content, DiskWriter, WriteError};
use super::boot_check;
use super::durable::{self, DurableError, NewFile};
use super::event::Observer;
use super::hash_image::{self, HashImageError, HashSource};
use super::image_file::{self, ImageFile, ImageFileError};
use super::word::{self, Word};

/// What is installed, and how the disk is cut.
#[derive(Debug, Clone, Args)]
pub struct DiskArgs {
    /// The disk image to make; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The version that is installed
    #[arg(long)]
    pub version: Version,
    /// Its variant
    #[arg(long)]
    pub variant: Word,
    /// Its architecture: `x86_64` or `aarch64`
    #[arg(long, value_parser = word::arch)]
    pub arch: Word,
    /// The root image, not compressed
    #[arg(long, value_name = "FILE")]
    pub root_image: PathBuf,
    /// The boot image, not compressed
    #[arg(long, value_name = "FILE")]
    pub boot_image: PathBuf,
    /// The root image's dm-verity hash image; made when it is not given
    #[arg(long, value_name = "FILE")]
    pub hash_image: Option<PathBuf>,
    /// The salt of the hash image that is made; without it 32 random bytes
    #[arg(long, value_name = "HEX", conflicts_with = "hash_image")]
    pub salt: Option<Salt>,
    /// The disk's size; without it as small as the images allow, with a quarter of headroom
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub os_image_size_gib: Option<u16>,
    /// The disk's logical sector size
    #[arg(long, value_name = "BYTES", default_value = "512")]
    pub sector_size: SectorSize,
}

/// The logical sector sizes that disks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SectorSize {
    /// The usual one.
    #[value(name = "512")]
    B512,
    /// 4Kn disks.
    #[value(name = "4096")]
    B4096,
}

impl SectorSize {
    /// The number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

/// The disk that was made.
#[derive(Debug, Clone, Serialize)]
pub struct DiskOutcome {
    /// Its file.
    pub file: PathBuf,
    /// Its bytes.
    pub length: u64,
    /// Its logical sector size.
    pub sector_size: u64,
    /// The variant in set A.
    pub variant: Word,
    /// The architecture in set A.
    pub arch: Word,
    /// The version in set A.
    pub version: Version,
    /// The root hash of set A.
    pub root_hash: Digest,
    /// The salt of set A's hash tree.
    pub salt: Salt,
    /// Length and digest of each image of set A.
    pub images: RawImages,
    /// Whether the boot image tells the kernel this root hash; if not, no kernel mounts the root.
    pub boot_names_root_hash: bool,
    /// The partitions, in order.
    pub partitions: Vec<PartitionSummary>,
}

/// Where a partition is.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionSummary {
    /// Its number, from 1.
    pub number: u32,
    /// Its label.
    pub label: &'static str,
    /// Its first byte.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

/// Why there is no disk.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// An image cannot be read.
    #[snafu(transparent)]
    File { source: ImageFileError },
    /// The root image has no tree, or the hash image is not its tree.
    #[snafu(transparent)]
    Hash { source: HashImageError },
    /// The images do not fit.
    #[snafu(transparent)]
    Plan { source: PlanError },
    /// The disk could not be written or read back.
    #[snafu(transparent)]
    Write { source: WriteError },
    /// The file could not be made or named.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Durable { source } if source.is_refusal())
    }
}

/// Hashes, plans, writes, reads back, and only then gives the file its name.
pub fn run(args: &DiskArgs, observer: Observer<'_>) -> Result<DiskOutcome, Error> {
    durable::refuse_existing(&args.out)?;
    let mut root = ImageFile::open(&args.root_image)?;
    let mut boot = ImageFile::open(&args.boot_image)?;
    let source = HashSource::from_options(args.hash_image.as_deref(), args.salt.as_ref());
    let hashed = hash_image::hash_root(&mut root, source, observer)?;
    let facts = hashed.tree.facts();
    let scan = boot_check::scan(&mut boot, &facts.root_hash, observer)?;
    let hash = image_file::raw_image_of(&hashed.hash_image);
    let images = RawImages {
        boot: scan.image,
        root: hashed.root,
        hash,
    };

    let lengths = ImageLengths {
        boot: images.get(ImageKind::Boot).length,
        root: images.get(ImageKind::Root).length,
        hash: images.get(ImageKind::Hash).length,
    };
    let plan = match args.os_image_size_gib {
        Some(gib) => DiskPlan::for_os_image(gib),
        None => DiskPlan::to_fit(lengths)?,
    };
    plan.check_room(lengths)?;

    let sector_size = args.sector_size.bytes();
    let mut new = NewFile::beside(&args.out)?;
    DiskWriter {
        file: new.file(),
        name: args.out.clone(),
        plan: &plan,
        sector_size,
    }
    .write(
        Content {
            boot: (&mut boot, images.boot),
            root: (&mut root, images.root),
            hash: &hashed.hash_image,
        },
        observer,
    )?;
    new.commit_new()?;

    Ok(DiskOutcome {
        file: args.out.clone(),
        length: plan.length,
        sector_size,
        variant: args.variant.clone(),
        arch: args.arch.clone(),
        version: args.version.clone(),
        root_hash: facts.root_hash,
        salt: facts.salt,
        images,
        boot_names_root_hash: scan.names_root_hash,
        partitions: plan.partitions.iter().map(PartitionSummary::of).collect(),
    })
}

impl PartitionSummary {
    fn of(partition: &plan::Partition) -> Self {
        let &plan::Partition {
            number,
            label,
            start,
            length,
            ..
        } = partition;
        Self {
            number,
            label,
            start,
            length,
        }
    }
}

impl fmt::Display for DiskOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} bytes, set A is {} {} {}",
            self.file.display(),
            self.length,
            self.variant,
            self.arch,
            self.version
        )?;
        for p in &self.partitions {
            writeln!(
                f,
                "{:>2}  {:>13} {:>13}  {}",
                p.number, p.start, p.length, p.label
            )?;
        }
        writeln!(f, "root hash  {}", self.root_hash)?;
        write!(f, "salt       {}", self.salt)?;
        if !self.boot_names_root_hash {
            write!(
                f,
                "\nnote: the boot image does not contain this root hash, so a kernel that checks \
                 dm-verity will not boot it"
            )?;
        }
        Ok(())
    }
}
