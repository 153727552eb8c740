//! Why a release is not published.

use std::io;
use std::path::PathBuf;

use semver::Version;
use snafu::Snafu;
use update_metadata::{Digest, EditError};

use super::edges::EdgeError;
use super::existing::ExistingError;
use super::lock::LockError;
use super::maps::MapsError;
use super::metadata::MetadataError;
use super::names::NameError;
use super::place::PlaceError;
use super::signing::SigningError;
use crate::publish::durable::DurableError;
use crate::publish::hash_image::HashImageError;
use crate::publish::image_file::ImageFileError;
use crate::publish::lint::finding::Finding;
use crate::publish::wave_file::WaveFileError;
use crate::publish::word::Word;

/// Why nothing was published.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The version is published.
    #[snafu(display(
        "{variant} {arch} {version} is published already; a version never changes, release a new one"
    ))]
    Published {
        variant: Word,
        arch: Word,
        version: Version,
    },
    /// The boot image is another root image's.
    #[snafu(display(
        "the boot image {} does not contain the root hash {root_hash}; run `updata verity --hash-out`, \
         with --salt as for the releases before, put the root hash into the boot image, and give --hash-image",
        boot.display()
    ))]
    RootHashNotInBoot { boot: PathBuf, root_hash: Digest },
    /// Two migration files would become one target.
    #[snafu(display(
        "{} and {} would both be published as {name}; rename one",
        first.display(), second.display()
    ))]
    SameName {
        name: String,
        first: PathBuf,
        second: PathBuf,
    },
    /// The manifest cannot take the release.
    #[snafu(display("adding {version} to the manifest"))]
    Manifest {
        version: Version,
        #[snafu(source(from(EditError, Box::new)))]
        source: Box<EditError>,
    },
    /// A rule is broken; each is told on a line of its own.
    #[snafu(display(
        "{} rule(s) broken; nothing was published; mend it, or give --allow RULE for each",
        findings.iter().filter(|finding| finding.refuses()).count()
    ))]
    Lint { findings: Vec<Finding> },
    /// What an interrupted publisher left cannot be removed.
    #[snafu(display("removing unfinished files from {}", folder.display()))]
    Leftovers { folder: PathBuf, source: io::Error },
    /// Hosts would be stranded.
    #[snafu(transparent)]
    Edges { source: EdgeError },
    /// A migration has no name.
    #[snafu(transparent)]
    Name { source: NameError },
    /// Another publisher is at work.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The published metadata cannot be extended.
    #[snafu(transparent)]
    Existing { source: ExistingError },
    /// A target cannot be put into its place.
    #[snafu(transparent)]
    Place { source: PlaceError },
    /// An image has no block map.
    #[snafu(transparent)]
    Maps { source: MapsError },
    /// The metadata cannot be made.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// The metadata cannot be signed or written.
    #[snafu(transparent)]
    Signing { source: SigningError },
    /// An image cannot be read.
    #[snafu(transparent)]
    File { source: ImageFileError },
    /// The root image has no tree, or the hash image is not its tree.
    #[snafu(transparent)]
    Hash { source: HashImageError },
    /// The policy makes no waves.
    #[snafu(transparent)]
    Waves { source: WaveFileError },
    /// A folder or file cannot be made.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// What is wrong with what would have been published.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Lint { findings } => findings,
            _ => &[],
        }
    }

    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Published { .. }
            | Self::RootHashNotInBoot { .. }
            | Self::Edges { .. }
            | Self::Lint { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            } => true,
            Self::Existing { source } => source.is_refusal(),
            Self::Maps { source } => source.is_refusal(),
            Self::Metadata { source } => source.is_refusal(),
            Self::Signing { source } => source.is_refusal(),
            _ => false,
        }
    }
}
