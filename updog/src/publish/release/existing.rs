//! What the repository holds already, verified.
//!
//! A release extends what was published under the root role that the publisher gives; metadata that
//! do not verify against it are not extended but refused, since signing them again would make
//! somebody else's targets ours.

use std::io;
use std::path::{Path, PathBuf};

use crate::publish::bounded;
use crate::publish::file_transport::{FileTransport, FolderUrlError, folder_url};
use crate::publish::published::MAX_TARGETS_BYTES;
use crate::publish::signatures::digest_of;
use crate::publish::standing::{self, Leftovers, Standing, StandingError};
use crate::publish::tuf::{self, RootFile, TufError};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::{Role as _, Targets};
use tough::{ExpirationEnforcement, IntoVec as _, Repository, TargetName};
use update_metadata::{Digest, MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest, ManifestError};

/// Why the repository cannot be extended.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ExistingError {
    /// A file of the repository cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The repository has another root role of this version.
    #[snafu(display(
        "{} is not the root role that is published as {}; give the one that is",
        given.display(), published.display()
    ))]
    OtherRoot { given: PathBuf, published: PathBuf },
    /// The repository has a newer root role.
    #[snafu(display(
        "the repository's root role is at version {published}, {} is at {given}; \
         give --root-role the newest one",
        path.display()
    ))]
    OldRoot {
        path: PathBuf,
        given: u64,
        published: u64,
    },
    /// Hosts follow the chain of root roles one version at a time.
    #[snafu(display(
        "{} is version {given}, but {} is not published; publish every version of the root role",
        path.display(), previous.display()
    ))]
    RootGap {
        path: PathBuf,
        given: u64,
        previous: PathBuf,
    },
    /// Hosts that have the version before would refuse this one.
    #[snafu(display(
        "hosts would not accept {}: it is not signed by enough root keys of {}",
        path.display(), previous.display()
    ))]
    RootNotFollowing {
        path: PathBuf,
        previous: PathBuf,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// The published metadata do not verify.
    #[snafu(display(
        "the metadata in {} do not verify against {}; give the root role that they were signed under",
        folder.display(), root.display()
    ))]
    Unverified {
        folder: PathBuf,
        root: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The root role is new, and drops keys that the published metadata need.
    #[snafu(display(
        "{} does not name the keys that the metadata in {} are signed with; \
         publish it first with `updata root publish`, which signs them anew",
        root.display(), folder.display()
    ))]
    RotatesKeys {
        root: PathBuf,
        folder: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The repository delegates targets to other roles.
    #[snafu(display(
        "the metadata in {} delegate targets to other roles, which updata does not carry on",
        folder.display()
    ))]
    Delegations { folder: PathBuf },
    /// There are targets, but no manifest among them.
    #[snafu(display("the metadata in {} list no {MANIFEST_TARGET}", folder.display()))]
    NoManifest { folder: PathBuf },
    /// The manifest is larger than any.
    #[snafu(display("the published {MANIFEST_TARGET} has {length} bytes, more than any manifest"))]
    LargeManifest { length: u64 },
    /// The manifest cannot be fetched or has another digest.
    #[snafu(display("reading the published {MANIFEST_TARGET} from {}", folder.display()))]
    FetchManifest {
        folder: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The manifest is none.
    #[snafu(display("the published {MANIFEST_TARGET} is not a manifest"))]
    Manifest { source: ManifestError },
    /// The path of a folder is no URL.
    #[snafu(transparent)]
    FolderUrl { source: FolderUrlError },
    /// It is not known what is published.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// A published root role cannot be read, or the runtime did not start.
    #[snafu(transparent)]
    Tuf { source: TufError },
}

impl ExistingError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::OtherRoot { .. }
            | Self::OldRoot { .. }
            | Self::RootGap { .. }
            | Self::RootNotFollowing { .. }
            | Self::RotatesKeys { .. } => true,
            Self::Standing { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// The newest published metadata, or nothing yet.
#[derive(Debug, Default)]
pub struct Existing {
    /// The manifest.
    pub manifest: Manifest,
    /// The targets role.
    pub targets: Option<Targets>,
    /// The digest of its file.
    pub targets_sha256: Option<Digest>,
    /// The highest version of timestamp, snapshot and targets, also of those that no timestamp leads
    /// to.
    pub highest_version: Option<u64>,
    /// What is to be removed before the new metadata are written.
    pub leftovers: Leftovers,
}

/// The two folders of a variant's and architecture's repository.
#[derive(Debug, Clone)]
pub struct Folders {
    /// `DIR/V/A`.
    pub metadata: PathBuf,
    /// `DIR/targets`.
    pub targets: PathBuf,
}

impl Existing {
    /// Loads and verifies what is published, for a release of the targets `planned`.
    ///
    /// # Errors
    /// Every [`ExistingError`]; [`StandingError::Lost`] where something was published and its
    /// `timestamp.json` is gone.
    pub fn load(
        folders: &Folders,
        root: &RootFile,
        planned: &[String],
    ) -> Result<Self, ExistingError> {
        let folder = &folders.metadata;
        refuse_other_root(folder, root)?;
        match Standing::of(folder, planned)? {
            Standing::Published => {}
            Standing::Nothing => return Ok(Self::default()),
            Standing::Unfinished(leftovers) => {
                return Ok(Self {
                    highest_version: leftovers.highest,
                    leftovers,
                    ..Self::default()
                });
            }
            Standing::Lost(files) => {
                let folder = folder.clone();
                return Err(StandingError::Lost { folder, files }.into());
            }
        }
        let is_new = ensure_follows(&folders.metadata, root)?;
        match tuf::block_on(load(folders, root))? {
            Err(ExistingError::Unverified {
                folder,
                root,
                source,
            }) if is_new => Err(ExistingError::RotatesKeys {
                root,
                folder,
                source,
            }),
            loaded => loaded,
        }
    }
}

async fn load(folders: &Folders, root: &RootFile) -> Result<Existing, ExistingError> {
    let folder = &folders.metadata;
    let repository = tough::RepositoryLoader::new(
        &root.bytes,
        folder_url(folder)?,
        folder_url(&folders.targets)?,
    )
    .transport(FileTransport::default())
    // A repository whose metadata ran out must still be extended, or it could never be revived.
    // Signatures and versions are checked all the same, and nothing here is installed anywhere.
    .expiration_enforcement(ExpirationEnforcement::Unsafe)
    .load()
    .await
    .context(UnverifiedSnafu { folder, root: &root.path })?;

    let published = repository.root().signed.version.get();
    let given = root.root().version.get();
    ensure!(
        published == given,
        OldRootSnafu {
            path: &root.path,
            given,
            published
        }
    );
    let targets = &repository.targets().signed;
    let delegates = targets
        .delegations
        .as_ref()
        .is_some_and(|d| !d.roles.is_empty());
    ensure!(!delegates, DelegationsSnafu { folder });

    let path = folder.join(targets.filename(true));
    let bytes = bounded::read(&path, MAX_TARGETS_BYTES).context(ReadSnafu { path })?;
    let targets_sha256 = digest_of(&bytes);

    let versions = [
        targets.version,
        repository.snapshot().signed.version,
        repository.timestamp().signed.version,
    ];
    Ok(Existing {
        manifest: manifest(&repository, folder).await?,
        targets: Some(targets.clone()),
        targets_sha256: Some(targets_sha256),
        highest_version: versions.iter().max().map(|version| version.get()),
        leftovers: Leftovers::default(),
    })
}

/// The manifest among the targets, verified.
pub(in crate::publish) async fn manifest(
    repository: &Repository,
    folder: &Path,
) -> Result<Manifest, ExistingError> {
    let name = TargetName::new(MANIFEST_TARGET).context(FetchManifestSnafu { folder })?;
    let target = repository
        .targets()
        .signed
        .targets
        .get(&name)
        .context(NoManifestSnafu { folder })?;
    let length = target.length;
    ensure!(length <= MAX_MANIFEST_BYTES, LargeManifestSnafu { length });
    let bytes = repository
        .read_target(&name)
        .await
        .context(FetchManifestSnafu { folder })?
        .context(NoManifestSnafu { folder })?
        .into_vec()
        .await
        .context(FetchManifestSnafu { folder })?;
    Manifest::from_slice(&bytes).context(ManifestSnafu)
}

/// The root role that a version was published with is part of the chain that hosts follow; it is
/// never replaced by another one of the same version.
fn refuse_other_root(folder: &Path, root: &RootFile) -> Result<(), ExistingError> {
    let published = folder.join(root_name(root));
    match bounded::read(&published, tuf::MAX_ROOT_BYTES) {
        Ok(bytes) => {
            ensure!(
                bytes == root.bytes,
                OtherRootSnafu {
                    given: &root.path,
                    published
                }
            );
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(source).context(ReadSnafu { path: published }),
    }
}

/// A root role that is not published yet must be one that hosts get to from the one before. Whether
/// it is such a new one.
///
/// The one before is the repository's, and whoever can write there can have forged it. That gains
/// them nothing: it decides nothing but whether this goes on. What is extended is verified against
/// the publisher's own file, and so are the new metadata, so no key but those that it names counts
/// for either. A forged one can only hide that hosts will not follow, which whoever can write to the
/// repository brings about by removing any file of it. `root publish` asks for the publisher's own
/// copy of the one before, because there the old root role says what is signed anew.
fn ensure_follows(folder: &Path, root: &RootFile) -> Result<bool, ExistingError> {
    let given = root.root().version.get();
    let is_there = |path: &Path| standing::is_there(path).context(ReadSnafu { path });
    if given == 1 || is_there(&folder.join(root_name(root)))? {
        return Ok(false);
    }
    let path = &root.path;
    let previous = folder.join(format!("{}.root.json", given - 1));
    ensure!(
        is_there(&previous)?,
        RootGapSnafu {
            path,
            given,
            previous
        }
    );
    let before = RootFile::read(&previous)?;
    before
        .root()
        .verify_role(&root.signed)
        .context(RootNotFollowingSnafu { path, previous })?;
    Ok(true)
}

/// `N.root.json`.
pub fn root_name(root: &RootFile) -> String {
    format!("{}.root.json", root.root().version)
}
