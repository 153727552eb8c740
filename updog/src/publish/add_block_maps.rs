//! `updata add-block-maps`: block maps for versions that are published already.
//!
//! The images stay as they are: an ordinary `.lz4` file of independent blocks has parts that decode
//! alone, and the map says where they lie. The order of effects is that of a release: what can be judged
//! first; the lock, and the published metadata verified; maps made from the image files, which must be
//! those that were signed, and placed; the manifest; metadata, with `timestamp.json` last. A stop
//! anywhere leaves the old repository as it was, and the same command finishes the job.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use semver::Version;
use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::TargetName;
use tough::schema::Targets;
use update_metadata::{Digest, EditError, ImageKind, MANIFEST_TARGET, Manifest, Update};

use super::event::Observer;
use super::image_file;
use super::keyring::KeyArgs;
use super::refresh::ExpiryArgs;
use super::release::existing::{Existing, ExistingError, Folders};
use super::release::lock::{LockError, PublisherLock};
use super::release::maps::{Image, MapsError};
use super::release::metadata::{self, Expiries, MetadataError};
use super::release::names;
use super::release::place::{self, DamagedSnafu, PlaceError, PlacedTarget, TargetsFolder};
use super::release::signing::{Destination, Signing, SigningError, Staged};
use super::word::{self, TARGETS_FOLDER, Word};
use crate::exit::{Exit, chain};
use crate::image::codec::{WholeReader, codec_of};

/// Which versions, in which repository, signed with what.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("signers").args(["keys", "key", "prepare"]).required(true).multiple(true))]
pub struct AddBlockMapsArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The newest root role
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The targets, snapshot and timestamp keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Do not publish: put the maps into their place and the metadata into DIR, a new folder, for
    /// `updata sign` and `updata publish`. The targets keys that are given sign
    #[arg(long, value_name = "DIR")]
    pub prepare: Option<PathBuf>,
    /// The variant
    #[arg(long)]
    pub variant: Word,
    /// The architecture: `x86_64` or `aarch64`
    #[arg(long, value_parser = word::arch)]
    pub arch: Word,
    /// Only this version, also if it has block maps, which are made again. May be given several times
    #[arg(long)]
    pub version: Vec<Version>,
    /// How long each role stays valid
    #[command(flatten)]
    pub expires: ExpiryArgs,
}

/// Why nothing was added.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// There are no metadata.
    #[snafu(display("nothing is published in {}", folder.display()))]
    Nothing { folder: PathBuf },
    /// The version is none of the repository's.
    #[snafu(display("{variant} {arch} {version} is not published"))]
    NoVersion {
        variant: Word,
        arch: Word,
        version: Version,
    },
    /// The manifest names a target that nobody signed.
    #[snafu(display("the image {name} is not listed in targets.json"))]
    Unlisted { name: String },
    /// An image's file cannot be read.
    #[snafu(display("reading the published target {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The manifest cannot take the names.
    #[snafu(display("naming the block maps of {version} in the manifest"))]
    Manifest {
        version: Version,
        #[snafu(source(from(EditError, Box::new)))]
        source: Box<EditError>,
    },
    /// What an interrupted publisher left cannot be removed.
    #[snafu(display("removing unfinished files from {}", folder.display()))]
    Leftovers { folder: PathBuf, source: io::Error },
    /// Another publisher is at work.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The published metadata cannot be extended.
    #[snafu(transparent)]
    Existing { source: ExistingError },
    /// An image has no map.
    #[snafu(transparent)]
    Maps { source: MapsError },
    /// A target cannot be put into its place.
    #[snafu(transparent)]
    Place { source: PlaceError },
    /// The metadata cannot be made.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// The metadata cannot be signed or written.
    #[snafu(transparent)]
    Signing { source: SigningError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoVersion { .. }
            | Self::Unlisted { .. }
            | Self::Manifest { .. }
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

/// What was added.
#[derive(Debug, Clone, Serialize)]
pub struct AddBlockMapsOutcome {
    /// The folder of the metadata.
    pub metadata: PathBuf,
    /// The versions that have new maps.
    pub versions: Vec<Version>,
    /// The versions that have none, because their images cannot be fetched in parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The maps, and the manifest last; none where nothing was to be done.
    pub targets: Vec<PlacedTarget>,
    /// The version of targets, snapshot and timestamp, if there are new ones.
    pub metadata_version: Option<u64>,
    /// Where the metadata wait for signatures; nothing is published then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// When they stop being valid.
    pub expires: Option<Expiries>,
}

/// A version without maps.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// The version.
    pub version: Version,
    /// Why, with all its causes.
    pub error: String,
}

impl AddBlockMapsOutcome {
    /// How a program ends that tells this.
    pub fn exit(&self) -> Exit {
        if self.left_out.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        }
    }

    /// What was not done, a line each, for a log.
    pub fn lines(&self) -> Vec<String> {
        let line = |LeftOut { version, error }: &LeftOut| {
            format!("{version} has no block maps, and hosts fetch it whole: {error}")
        };
        self.left_out.iter().map(line).collect()
    }
}

/// Adds the maps; see the head of this module for the order of effects.
///
/// # Errors
/// Every [`Error`]. An image of which no map can be made is none, but told in the outcome.
pub fn run(
    args: &AddBlockMapsArgs,
    now: DateTime<Utc>,
    observer: Observer<'_>,
) -> Result<AddBlockMapsOutcome, Error> {
    let (root_role, prepare) = (&args.root_role, args.prepare.as_deref());
    let periods = args.expires.periods();
    let signing = Signing::check(root_role, &args.keys, prepare, periods, now)?;

    let _lock = PublisherLock::take(&args.repo)?;
    let folder = args.repo.join(args.variant.as_str());
    let folders = Folders {
        metadata: folder.join(args.arch.as_str()),
        targets: args.repo.join(TARGETS_FOLDER),
    };
    let folder = &folders.metadata;
    let Existing {
        mut manifest,
        targets,
        targets_sha256,
        highest_version,
        leftovers,
    } = Existing::load(&folders, &signing.root, &[])?;
    let mut targets = targets.context(NothingSnafu { folder })?;
    let version = metadata::next_version(now, highest_version)?;
    let chosen = choose(args, &manifest)?;
    let mut outcome = AddBlockMapsOutcome {
        metadata: folder.clone(),
        versions: Vec::new(),
        left_out: Vec::new(),
        targets: Vec::new(),
        metadata_version: None,
        staged: None,
        expires: None,
    };

    for folder in [folder, &folders.targets] {
        place::remove_leftovers(folder).context(LeftoversSnafu { folder })?;
    }
    let files = TargetsFolder::open(&folders.targets)?;
    for update in chosen {
        let version = update.version.clone();
        match place_maps(&files, &targets, &update, observer) {
            Ok(placed) => outcome.targets.extend(placed),
            Err(error) if error.is_refusal() => {
                let error = chain(&error);
                outcome.left_out.push(LeftOut { version, error });
                continue;
            }
            Err(error) => return Err(error),
        }
        let maps = names::block_maps(&update.images);
        manifest
            .set_block_maps(&update.variant, &update.arch, &version, &maps)
            .with_context(|_| ManifestSnafu {
                version: version.clone(),
            })?;
        outcome.versions.push(version);
    }
    if outcome.versions.is_empty() {
        return Ok(outcome);
    }

    let maps: BTreeSet<String> = outcome.targets.iter().map(|map| map.name.clone()).collect();
    outcome
        .targets
        .push(files.place(MANIFEST_TARGET, &manifest.to_json_pretty())?);
    // A map that was wrong gives way to the right one: hosts know both by their digests.
    let may_change = |name: &str| name == MANIFEST_TARGET || maps.contains(name);
    targets.targets = metadata::merge_targets(targets.targets, &outcome.targets, may_change)?;
    let to = Destination {
        prepare,
        folder,
        variant: &args.variant,
        arch: &args.arch,
        base: targets_sha256,
        highest_version,
        leftovers: &leftovers,
    };
    outcome.staged = signing.publish(targets, version, &to, now)?;
    outcome.metadata_version = Some(version.get());
    outcome.expires = Some(signing.expires);
    Ok(outcome)
}

/// The updates of the variant and architecture that are to get maps.
fn choose(args: &AddBlockMapsArgs, manifest: &Manifest) -> Result<Vec<Update>, Error> {
    let (variant, arch) = (&args.variant, &args.arch);
    let published = || {
        let updates = manifest.updates.iter();
        updates.filter(|update| update.variant == variant.as_str() && update.arch == arch.as_str())
    };
    for version in &args.version {
        let is_published = published().any(|update| update.version == *version);
        ensure!(
            is_published,
            NoVersionSnafu {
                variant: variant.clone(),
                arch: arch.clone(),
                version: version.clone()
            }
        );
    }
    let is_meant = |update: &&Update| {
        if args.version.is_empty() {
            update.block_maps.is_none()
        } else {
            args.version.contains(&update.version)
        }
    };
    Ok(published().filter(is_meant).cloned().collect())
}

/// The maps of boot and root image.
fn place_maps(
    files: &TargetsFolder,
    targets: &Targets,
    update: &Update,
    observer: Observer<'_>,
) -> Result<[PlacedTarget; 2], Error> {
    let target = |kind| listed(targets, update.images.get(kind));
    let (boot, root) = (target(ImageKind::Boot)?, target(ImageKind::Root)?);
    let hash = target(ImageKind::Hash)?;
    let raw = |kind| update.raw_images.as_ref().map(|raw| raw.get(kind));
    let boot = Image {
        target: &boot,
        raw: raw(ImageKind::Boot),
    };
    let root = Image {
        target: &root,
        raw: raw(ImageKind::Root),
    };
    let hash_image = files.file(&hash);
    ensure_signed(&hash, &hash_image)?;
    let open = || open(&hash, &hash_image);
    Ok([
        files.place_map(boot, observer)?,
        files.place_root_map(root, &open, observer)?,
    ])
}

/// A target as targets.json lists it.
fn listed(targets: &Targets, name: &str) -> Result<PlacedTarget, Error> {
    let target = TargetName::new(name)
        .ok()
        .and_then(|key| targets.targets.get(&key));
    let sha256 = target.and_then(|target| <[u8; 32]>::try_from(&target.hashes.sha256[..]).ok());
    let (target, sha256) = target.zip(sha256).context(UnlistedSnafu { name })?;
    Ok(PlacedTarget {
        name: name.to_owned(),
        length: target.length,
        sha256: Digest::from(sha256),
        existed: true,
    })
}

/// Whether a file is what was signed.
fn ensure_signed(target: &PlacedTarget, path: &Path) -> Result<(), Error> {
    let found = File::open(path)
        .and_then(|file| image_file::raw_image(&mut file.take(target.length)))
        .context(ReadSnafu { path })?;
    if (found.length, found.sha256) == (target.length, target.sha256) {
        Ok(())
    } else {
        let path = path.to_owned();
        Err(DamagedSnafu { path }.build().into())
    }
}

fn open(target: &PlacedTarget, path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?.take(target.length);
    Ok(Box::new(WholeReader::new(codec_of(&target.name), file)))
}

impl fmt::Display for AddBlockMapsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.metadata.display();
        for target in &self.targets {
            writeln!(f, "{target}")?;
        }
        let versions: Vec<_> = self.versions.iter().map(Version::to_string).collect();
        let versions = versions.join(", ");
        match (&self.staged, self.metadata_version, &self.expires) {
            (Some(staged), ..) => write!(f, "prepared block maps of {versions}\n{staged}"),
            (None, Some(version), Some(expires)) => write!(
                f,
                "added block maps of {versions}\n\
                 metadata version {version} in {folder}, valid until {} unless published again",
                expires.timestamp.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            _ if self.left_out.is_empty() => {
                write!(f, "{folder}: every version has block maps already")
            }
            _ => write!(f, "{folder}: no block maps were added"),
        }
    }
}
