//! Why a release is not published.

use std::io;
use std::path::PathBuf;

use semver::Version;
use snafu::Snafu;
use tough::schema::RoleType;
use update_metadata::{Digest, EditError};

use super::edges::EdgeError;
use super::existing::ExistingError;
use super::lock::LockError;
use super::metadata::MetadataError;
use super::names::NameError;
use super::place::PlaceError;
use crate::publish::durable::DurableError;
use crate::publish::hash_image::HashImageError;
use crate::publish::image_file::ImageFileError;
use crate::publish::keyring::KeyringError;
use crate::publish::lint::finding::Finding;
use crate::publish::stage::StageError;
use crate::publish::standing::StandingError;
use crate::publish::tuf::TufError;
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
         put the root hash into the boot image, and give --hash-image",
        boot.display()
    ))]
    RootHashNotInBoot { boot: PathBuf, root_hash: Digest },
    /// Clients would ask for unversioned files.
    #[snafu(display(
        "the root role {} does not ask for consistent snapshots, which is all that updata writes",
        path.display()
    ))]
    NotConsistent { path: PathBuf },
    /// Every client would refuse the repository.
    #[snafu(display(
        "the root role {} expired at {expires}; hosts need a new one first", path.display()
    ))]
    RootExpired { path: PathBuf, expires: String },
    /// A role could not be signed.
    #[snafu(display(
        "{place} has too few of the {role} keys that {} names; give --keys a folder with {role}*.key, \
         or --key {role}=FILE, or --prepare a folder for others to sign with `updata sign`",
        root.display()
    ))]
    MissingKey {
        role: RoleType,
        root: PathBuf,
        place: String,
    },
    /// Others must sign too.
    #[snafu(display(
        "{needed} of the {role} keys must sign and {usable} are here; give more keys with \
         --key {role}=FILE, or --prepare a folder for the others to sign with `updata sign`"
    ))]
    MoreSigners {
        role: RoleType,
        needed: u64,
        usable: u64,
    },
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
    /// What an unfinished release left cannot be removed.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// A target cannot be put into its place.
    #[snafu(transparent)]
    Place { source: PlaceError },
    /// The metadata cannot be made or written.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// An image cannot be read.
    #[snafu(transparent)]
    File { source: ImageFileError },
    /// The root image has no tree, or the hash image is not its tree.
    #[snafu(transparent)]
    Hash { source: HashImageError },
    /// The folder for signers cannot be made.
    #[snafu(transparent)]
    Stage { source: StageError },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// The root role cannot be used.
    #[snafu(transparent)]
    Tuf { source: TufError },
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
            | Self::RootExpired { .. }
            | Self::MissingKey { .. }
            | Self::MoreSigners { .. }
            | Self::Edges { .. }
            | Self::Lint { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            }
            | Self::Durable {
                source: DurableError::NotEmpty { .. },
            } => true,
            Self::Existing { source } => source.is_refusal(),
            Self::Keyring { source } => source.is_refusal(),
            Self::Metadata { source } => source.is_refusal(),
            Self::Stage { source } => source.is_refusal(),
            _ => false,
        }
    }
}
