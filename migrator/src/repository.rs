//! The repository that the update before this boot left on the disk: its signed metadata, the
//! manifest and the migrations.
//!
//! Expiry is not looked at, and must not be: a host that was off for a year boots with settings or
//! not at all, there is no network yet to fetch newer metadata with, and the clock may be wrong.
//! What expiry guards against, a mirror that withholds a newer version, does not apply to what was
//! verified, unexpired, when it was cached. Signatures, versions, lengths and digests count.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tough::{ExpirationEnforcement, FilesystemTransport, Limits, RepositoryLoader, TargetName};
use update_metadata::lz4::Lz4Reader;
use update_metadata::{
    MANIFEST_TARGET, MAX_MANIFEST_BYTES, Manifest, ManifestError, MigrationGraph,
};
use url::Url;

use crate::links::STRAY_PREFIX;
use crate::room::Free;

/// A root role is a few kilobytes.
const MAX_ROOT_BYTES: u64 = 1 << 20;
/// What the client caches at most for one migration.
const MAX_COMPRESSED_BYTES: u64 = 256 << 20;
/// What one migration may be, unpacked: it is held in memory twice while it is sealed.
const MAX_MIGRATION_BYTES: u64 = 256 << 20;
/// Roots from the image's own to the newest. The client keeps as many.
const MAX_ROOT_UPDATES: u64 = 1024;

/// What the verified metadata take at most in practice: those of a large repository.
const SCRATCH_BYTES: u64 = 4 << 20;

/// Metadata and a chain of roots, or migrations: a few thousand at most.
const MAX_FILES: usize = 100_000;

/// Why something cannot be had from the cached repository.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RepositoryError {
    /// The image's root of trust cannot be read.
    #[snafu(display("reading the root of trust {}", path.display()))]
    Root { path: PathBuf, source: io::Error },
    /// A folder is missing or not nameable.
    #[snafu(display("looking for the cached repository in {}", path.display()))]
    Folder { path: PathBuf, source: io::Error },
    /// Something in a folder is neither a file nor a folder.
    #[snafu(display(
        "{} is neither a file nor a folder; nothing of this cache is read",
        path.display()
    ))]
    Special { path: PathBuf },
    /// A folder has more than any cache of ours.
    #[snafu(display("{} has more than {MAX_FILES} entries", path.display()))]
    TooManyFiles { path: PathBuf },
    /// A folder's path is no URL.
    #[snafu(display("the path {} cannot be a file:// URL", path.display()))]
    Address { path: PathBuf },
    /// There is no runtime to read with.
    #[snafu(display("preparing to read the cached repository"))]
    Runtime { source: io::Error },
    /// There is no folder for what is verified.
    #[snafu(display(
        "making a folder for the metadata that are verified; tried: {}",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    ))]
    Scratch {
        tried: Vec<PathBuf>,
        source: io::Error,
    },
    /// It does not verify.
    #[snafu(display(
        "loading the cached repository (metadata in {}) with the root of trust {}",
        metadata.display(),
        root.display()
    ))]
    Load {
        metadata: PathBuf,
        root: PathBuf,
        source: Box<tough::error::Error>,
    },
    /// A name cannot be a target's.
    #[snafu(display("the target name {name:?}"))]
    Name {
        name: String,
        source: Box<tough::error::Error>,
    },
    /// It is not signed.
    #[snafu(display("target {name} is not in the cached repository's metadata"))]
    NotSigned { name: String },
    /// It is too large.
    #[snafu(display("target {name} has {length} bytes; at most {limit} are read"))]
    TooLarge {
        name: String,
        length: u64,
        limit: u64,
    },
    /// It is missing or not what was signed.
    #[snafu(display("reading target {name} in {}", folder.display()))]
    Target {
        name: String,
        folder: PathBuf,
        source: Box<tough::error::Error>,
    },
    /// It has another length than was signed.
    #[snafu(display("target {name} has {came} bytes, {length} are signed"))]
    Length {
        name: String,
        came: usize,
        length: u64,
    },
    /// It is not one LZ4 frame.
    #[snafu(display("unpacking target {name}"))]
    Unpack { name: String, source: io::Error },
    /// It is too large once unpacked.
    #[snafu(display("target {name} unpacks to more than {MAX_MIGRATION_BYTES} bytes"))]
    UnpacksTooLarge { name: String },
    /// The manifest is not one.
    #[snafu(display("reading the cached manifest"))]
    Manifest { source: ManifestError },
}

/// Where the cached repository is.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of its metadata.
    pub metadata: PathBuf,
    /// The folder of its targets.
    pub targets: PathBuf,
    /// The root of trust of the booting image.
    pub root: PathBuf,
}

/// PORT: a repository that verified.
pub trait Repository {
    /// The unpacked bytes of migration `name`, every one of them verified.
    ///
    /// # Errors
    /// Every [`RepositoryError`] about targets.
    fn migration(&self, name: &str) -> Result<Vec<u8>, RepositoryError>;

    /// Which migrations lead from which version to which.
    ///
    /// # Errors
    /// Those about targets, and [`RepositoryError::Manifest`].
    fn graph(&self) -> Result<MigrationGraph, RepositoryError>;
}

/// A repository whose metadata verified.
#[derive(Debug)]
pub struct CachedRepository {
    runtime: Runtime,
    repository: tough::Repository,
    targets: PathBuf,
    /// What `repository` wrote while it verified; nothing reads it again.
    _scratch: TempDir,
}

impl CachedRepository {
    /// Loads the metadata. Verifying them takes a folder to write to: one in the first of `scratch`
    /// that can be had and that is large enough. It goes with the repository; when that is cut off,
    /// with the strays of the next run.
    ///
    /// # Errors
    /// Those up to [`RepositoryError::Load`].
    pub fn open(places: &Places, scratch: &[&Path]) -> Result<Self, RepositoryError> {
        let mut root = Vec::new();
        let path = &places.root;
        File::open(path)
            .and_then(|file| file.take(MAX_ROOT_BYTES).read_to_end(&mut root))
            .context(RootSnafu { path })?;
        for folder in [&places.metadata, &places.targets] {
            refuse_special(folder)?;
        }
        let metadata_url = url(&places.metadata)?;
        let targets_url = url(&places.targets)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .context(RuntimeSnafu)?;
        let (scratch, writable) = scratch_folder(scratch)?;
        let loader = RepositoryLoader::new(&root, metadata_url, targets_url)
            .transport(FilesystemTransport)
            .datastore(writable)
            .limits(Limits {
                max_root_size: MAX_ROOT_BYTES,
                max_root_updates: MAX_ROOT_UPDATES,
                ..Limits::default()
            })
            // See the module: a boot must not depend on the clock, nor on when the last one was.
            .expiration_enforcement(ExpirationEnforcement::Unsafe);
        let repository = runtime
            .block_on(loader.load())
            .map_err(Box::new)
            .context(LoadSnafu {
                metadata: &places.metadata,
                root: &places.root,
            })?;
        Ok(Self {
            runtime,
            repository,
            targets: places.targets.clone(),
            _scratch: scratch,
        })
    }

    /// All bytes of a target, if their number and digest are the signed ones.
    fn target(&self, name: &str, limit: u64) -> Result<Vec<u8>, RepositoryError> {
        let tough_name = TargetName::new(name)
            .map_err(Box::new)
            .context(NameSnafu { name })?;
        let targets = &self.repository.targets().signed;
        let signed = targets.find_target(&tough_name, false).ok();
        let length = signed.context(NotSignedSnafu { name })?.length;
        ensure!(
            length <= limit,
            TooLargeSnafu {
                name,
                length,
                limit
            }
        );
        let read = async {
            let stream = self.repository.read_target(&tough_name).await?;
            let Some(mut stream) = stream else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            // tough ends the stream with an error after more than the signed bytes, and compares the
            // digest where the stream is polled past its end: so it is read until there is no more.
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(Some(bytes))
        };
        let bytes = self
            .runtime
            .block_on(read)
            .map_err(Box::new)
            .context(TargetSnafu {
                name,
                folder: &self.targets,
            })?
            .context(NotSignedSnafu { name })?;
        let came = bytes.len();
        ensure!(
            u64::try_from(came).is_ok_and(|came| came == length),
            LengthSnafu { name, came, length }
        );
        Ok(bytes)
    }
}

impl Repository for CachedRepository {
    fn graph(&self) -> Result<MigrationGraph, RepositoryError> {
        let json = self.target(MANIFEST_TARGET, MAX_MANIFEST_BYTES)?;
        let manifest = Manifest::from_slice(&json).context(ManifestSnafu)?;
        Ok(manifest.migrations)
    }

    fn migration(&self, name: &str) -> Result<Vec<u8>, RepositoryError> {
        let packed = self.target(name, MAX_COMPRESSED_BYTES)?;
        let mut bytes = Vec::new();
        let mut reader = Lz4Reader::new(packed.as_slice()).take(MAX_MIGRATION_BYTES + 1);
        reader
            .read_to_end(&mut bytes)
            .context(UnpackSnafu { name })?;
        ensure!(reader.limit() > 0, UnpacksTooLargeSnafu { name });
        Ok(bytes)
    }
}

/// A new folder in the first of `places` that has the room for metadata, or else in the first that
/// takes one, and its path. A boot has the datastore's own folder for it; `/tmp` may not be there yet.
fn scratch_folder(places: &[&Path]) -> Result<(TempDir, PathBuf), RepositoryError> {
    let has_room = |place: &&&Path| {
        let free = Free::at(place).is_ok_and(|free| free.bytes >= SCRATCH_BYTES);
        free && rustix::fs::access(**place, rustix::fs::Access::WRITE_OK).is_ok()
    };
    let roomy = places.iter().find(has_room);
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for place in roomy.into_iter().chain(places) {
        let made = tempfile::Builder::new()
            .prefix(&format!("{STRAY_PREFIX}metadata-"))
            .tempdir_in(place);
        match made {
            Ok(made) => {
                let path = made.path().to_owned();
                return Ok((made, path));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure).context(ScratchSnafu {
        tried: places
            .iter()
            .map(|place| (*place).to_owned())
            .collect::<Vec<_>>(),
    })
}

/// The folder as a URL; it has to exist, and links in its path are followed once, here.
fn url(path: &Path) -> Result<Url, RepositoryError> {
    let path = std::fs::canonicalize(path).context(FolderSnafu { path })?;
    Url::from_directory_path(&path)
        .ok()
        .context(AddressSnafu { path })
}

/// A pipe would be waited for without end, and a device has none.
fn refuse_special(folder: &Path) -> Result<(), RepositoryError> {
    let entries = std::fs::read_dir(folder).context(FolderSnafu { path: folder })?;
    for (count, entry) in entries.enumerate() {
        ensure!(count < MAX_FILES, TooManyFilesSnafu { path: folder });
        let path = entry.context(FolderSnafu { path: folder })?.path();
        // A link to nothing is a file that is missing, if it is one that is needed.
        if let Ok(found) = std::fs::metadata(&path) {
            ensure!(found.is_file() || found.is_dir(), SpecialSnafu { path });
        }
    }
    Ok(())
}
