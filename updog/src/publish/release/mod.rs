//! `updata release`: one version of one variant and architecture, from its images to a repository
//! that any TUF client reads.
//!
//! The order of effects, cheapest failure first:
//!
//! 1. arguments, root role, keys, waves, names: nothing is touched;
//! 2. the lock, and the published metadata verified; the release is judged against them;
//! 3. the root image hashed, the hash image checked, the boot image searched for the root hash;
//! 4. the rules of [`super::lint`], on exactly what would be published;
//! 5. targets: images, their block maps, migrations, manifest, each under its digest, each durable;
//! 6. metadata: signed, loaded as a client would, then written with `timestamp.json` last.
//!
//! A stop anywhere leaves the old repository as it was, and the same command finishes the job:
//! targets that are there are kept, the rest is written anew.
//!
//! With `--prepare` the last step is left to several signers ([`stage`](super::stage)).

pub mod edges;
pub mod existing;
pub mod lock;
pub mod maps;
pub mod metadata;
pub mod names;
pub mod pack;
pub mod place;
pub mod rehearsal;
pub mod signing;

mod error;
mod inputs;
mod outcome;

use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use semver::Version;
use snafu::{ResultExt, ensure};
use tough::schema::Targets;
use update_metadata::{
    ImageKind, Images, MANIFEST_TARGET, Manifest, NewUpdate, RawImage, RawImages, Salt,
};

use self::edges::Edge;
pub use self::error::Error;
use self::error::{
    LeftoversSnafu, LintSnafu, ManifestSnafu, PublishedSnafu, RootHashNotInBootSnafu,
};
use self::existing::{Existing, Folders};
use self::inputs::Inputs;
use self::lock::PublisherLock;
use self::maps::Image;
use self::metadata::MetadataError;
use self::names::MigrationArg;
pub use self::outcome::{MigrationSummary, ReleaseOutcome};
use self::pack::Packing;
use self::place::{PlacedTarget, TargetsFolder};
use self::signing::Destination;
use super::boot_check::BootScan;
use super::compression::Compression;
use super::event::Observer;
use super::hash_image::{HashSource, HashedRoot};
use super::image_file::{self, ImageFile};
use super::keyring::KeyArgs;
use super::lint::facts::Yardstick;
use super::lint::finding::{self, Finding};
use super::lint::rule::Rule;
use super::lint::{self, gate};
use super::period::Period;
use super::word::{self, TARGETS_FOLDER, Word};
use super::{boot_check, durable, hash_image, instant, tuf};

/// What is released, to where, signed with what.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("signers").args(["keys", "key", "prepare"]).required(true).multiple(true))]
pub struct ReleaseArgs {
    /// The repository: metadata go to DIR/VARIANT/ARCH, targets to DIR/targets
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The newest root role; hosts trust what it names
    #[arg(long, value_name = "FILE")]
    pub root_role: PathBuf,
    /// The targets, snapshot and timestamp keys; root keys are not needed
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Do not publish: put the targets into their place and the metadata into DIR, a new folder, for
    /// `updata sign` and `updata publish`. The targets keys that are given sign
    #[arg(long, value_name = "DIR")]
    pub prepare: Option<PathBuf>,
    /// The variant
    #[arg(long)]
    pub variant: Word,
    /// The architecture: `x86_64` or `aarch64`
    #[arg(long, value_parser = word::arch)]
    pub arch: Word,
    /// The version; releasing one that is published is refused
    #[arg(long)]
    pub version: Version,
    /// The root image, not compressed
    #[arg(long, value_name = "FILE")]
    pub root_image: PathBuf,
    /// The boot image, not compressed; it must contain the root hash
    #[arg(long, value_name = "FILE")]
    pub boot_image: PathBuf,
    /// The root image's dm-verity hash image, as `updata verity --hash-out` writes it
    #[arg(long, value_name = "FILE")]
    pub hash_image: Option<PathBuf>,
    /// Make the hash image with this salt; without it and --hash-image, with 32 random bytes. Give one
    /// salt to all releases of a variant: hosts then know the blocks that they have from the tree of
    /// the running set, and need not hash it
    #[arg(long, value_name = "HEX", conflicts_with = "hash_image")]
    pub salt: Option<Salt>,
    /// How the boot and the root image are compressed, in frames that hosts fetch one by one: zstd is
    /// smaller, for hosts whose updog reads it
    #[arg(long, value_enum, default_value_t)]
    pub compression: Compression,
    /// A program that migrates settings from one version to a higher one, in the order in which
    /// they run; FROM:TO alone states that nothing changes. May be given several times
    #[arg(long, value_name = "FROM:TO:FILE")]
    pub migration: Vec<MigrationArg>,
    /// The wave policy, TOML; without it the release goes to all hosts at once
    #[arg(long, value_name = "FILE")]
    pub waves: Option<PathBuf>,
    /// When the waves start, RFC 3339; without it now
    #[arg(long, value_name = "TIME", value_parser = instant::parse, requires = "waves")]
    pub wave_start: Option<DateTime<Utc>>,
    /// The highest version offered to this variant and architecture from now on; without it the
    /// higher of the present one and the new version
    #[arg(long, value_name = "VERSION")]
    pub max_version: Option<Version>,
    /// Publish although the boot image does not contain the root hash: hosts that check dm-verity
    /// will not boot it
    #[arg(long)]
    pub no_verity_check: bool,
    /// The size that `updata disk` was given for the disks of the hosts; images must fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub os_image_size_gib: Option<u16>,
    /// Publish although this rule of `updata lint` is broken. May be given several times
    #[arg(long, value_name = "RULE")]
    pub allow: Vec<Rule>,
    /// How long targets.json stays valid: weeks, days or hours
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(2))]
    pub expires_targets: Period,
    /// How long snapshot.json stays valid
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(2))]
    pub expires_snapshot: Period,
    /// How long timestamp.json stays valid
    #[arg(long, value_name = "PERIOD", default_value_t = Period::weeks(1))]
    pub expires_timestamp: Period,
}

/// Publishes; see the head of this module for the order of effects.
pub fn run(
    args: &ReleaseArgs,
    now: DateTime<Utc>,
    observer: Observer<'_>,
) -> Result<ReleaseOutcome, Error> {
    let mut inputs = Inputs::check(args, now)?;

    durable::create_dir_all(&args.repo)?;
    let _lock = PublisherLock::take(&args.repo)?;
    let folders = folders(args);
    let planned = target_names(args, &inputs);
    let Existing {
        mut manifest,
        targets,
        targets_sha256,
        highest_version,
        leftovers,
    } = Existing::load(&folders, &inputs.signing.root, &planned)?;
    let version = metadata::next_version(now, highest_version)?;
    let edges = admit(args, &mut manifest, std::mem::take(&mut inputs.edges))?;

    let source = HashSource::from_options(args.hash_image.as_deref(), args.salt.as_ref());
    let hashed = hash_image::hash_root(&mut inputs.root_image, source, observer)?;
    let boot = boot_image(args, &mut inputs, &hashed, observer)?;
    let images = RawImages {
        boot: boot.image,
        root: hashed.root,
        hash: image_file::raw_image_of(&hashed.hash_image),
    };
    let max_version = add_update(args, &mut manifest, &inputs, &hashed, images)?;
    let findings = lint(
        args,
        &inputs,
        &folders,
        targets.as_ref(),
        &planned,
        &manifest,
        &boot,
        now,
    )?;

    for folder in [&folders.metadata, &folders.targets] {
        place::remove_leftovers(folder).context(LeftoversSnafu { folder })?;
    }
    let folder = TargetsFolder::open(&folders.targets)?;
    let mut placed = place_files(args, &mut inputs, &hashed, &images, &folder, observer)?;
    placed.push(folder.place(MANIFEST_TARGET, &manifest.to_json_pretty())?);

    let targets = new_targets(targets, &placed, now, args)?;
    let to = Destination {
        prepare: args.prepare.as_deref(),
        folder: &folders.metadata,
        variant: &args.variant,
        arch: &args.arch,
        base: targets_sha256,
        highest_version,
        leftovers: &leftovers,
    };
    let staged = inputs.signing.publish(targets, version, &to, now)?;

    let facts = hashed.tree.facts();
    Ok(ReleaseOutcome {
        variant: args.variant.clone(),
        arch: args.arch.clone(),
        version: args.version.clone(),
        max_version,
        metadata: folders.metadata,
        targets_folder: folders.targets,
        metadata_version: version.get(),
        staged,
        expires: inputs.signing.expires,
        root_hash: facts.root_hash,
        salt: facts.salt,
        images,
        targets: placed,
        migrations: edges.into_iter().map(MigrationSummary::from).collect(),
        waves: inputs.waves.unwrap_or_default(),
        findings,
    })
}

fn folders(args: &ReleaseArgs) -> Folders {
    let metadata = Path::new(args.variant.as_str()).join(args.arch.as_str());
    Folders {
        metadata: args.repo.join(metadata),
        targets: args.repo.join(TARGETS_FOLDER),
    }
}

/// Pure: judges the release against what is published, and adds its migrations.
fn admit(
    args: &ReleaseArgs,
    manifest: &mut Manifest,
    given: Vec<Edge>,
) -> Result<Vec<Edge>, Error> {
    let ReleaseArgs {
        variant,
        arch,
        version,
        ..
    } = args;
    let published: Vec<Version> = manifest
        .updates
        .iter()
        .filter(|update| update.variant == variant.as_str() && update.arch == arch.as_str())
        .map(|update| update.version.clone())
        .collect();
    ensure!(
        !published.contains(version),
        PublishedSnafu {
            variant: variant.clone(),
            arch: arch.clone(),
            version: version.clone()
        }
    );
    Ok(edges::extend(
        &mut manifest.migrations,
        &published,
        version,
        given,
    )?)
}

fn boot_image(
    args: &ReleaseArgs,
    inputs: &mut Inputs,
    hashed: &HashedRoot,
    observer: Observer<'_>,
) -> Result<BootScan, Error> {
    let root_hash = hashed.tree.root_hash();
    let scan = boot_check::scan(&mut inputs.boot_image, &root_hash, observer)?;
    ensure!(
        scan.names_root_hash || allowed(args).contains(&Rule::BootRootHash),
        RootHashNotInBootSnafu {
            boot: &args.boot_image,
            root_hash
        }
    );
    Ok(scan)
}

/// The rules that may be broken.
fn allowed(args: &ReleaseArgs) -> Vec<Rule> {
    let verity = args.no_verity_check.then_some(Rule::BootRootHash);
    args.allow.iter().copied().chain(verity).collect()
}

fn image_names(args: &ReleaseArgs) -> Images {
    names::images(&args.variant, &args.arch, &args.version, args.compression)
}

/// The names of the targets that the release places.
fn target_names(args: &ReleaseArgs, inputs: &Inputs) -> Vec<String> {
    let images = image_names(args);
    let maps = names::block_maps(&images);
    ImageKind::ALL
        .into_iter()
        .flat_map(|kind| [Some(images.get(kind)), maps.get(kind)])
        .flatten()
        .chain(inputs.migrations.iter().map(|(name, _)| name.as_str()))
        .chain([MANIFEST_TARGET])
        .map(str::to_owned)
        .collect()
}

/// What is wrong with what would be published, none of it an error that is not allowed.
#[allow(clippy::too_many_arguments)] // each is a fact of its own
fn lint(
    args: &ReleaseArgs,
    inputs: &Inputs,
    folders: &Folders,
    targets: Option<&Targets>,
    placed: &[String],
    manifest: &Manifest,
    boot: &BootScan,
    now: DateTime<Utc>,
) -> Result<Vec<Finding>, Error> {
    let planned = gate::Planned {
        folders,
        root: inputs.signing.root.root(),
        expires: &inputs.signing.expires,
        targets,
        placed,
        manifest,
        update: manifest.updates.last().expect("an update was added before"),
        boot_names_root_hash: boot.names_root_hash,
    };
    let by = Yardstick {
        now,
        os_image_size_gib: args.os_image_size_gib,
        timestamp_horizon: lint::TIMESTAMP_HORIZON,
        horizon: lint::HORIZON,
    };
    let mut findings = gate::judge(&planned, &by);
    finding::allow(&mut findings, &allowed(args));
    ensure!(
        !findings.iter().any(Finding::refuses),
        LintSnafu { findings }
    );
    Ok(findings)
}

/// Images, block maps and migrations, each complete under its digest.
fn place_files(
    args: &ReleaseArgs,
    inputs: &mut Inputs,
    hashed: &HashedRoot,
    images: &RawImages,
    folder: &TargetsFolder,
    observer: Observer<'_>,
) -> Result<Vec<PlacedTarget>, Error> {
    let names = image_names(args);
    let RawImages { boot, root, .. } = images;
    let frames = Packing::Frames(args.compression.codec());
    let mut place = |name: &str, file: &mut ImageFile, raw: &RawImage| {
        folder.place_image(name, file, Some(raw), frames, observer)
    };
    let boot_target = place(&names.boot, &mut inputs.boot_image, boot)?;
    let root_target = place(&names.root, &mut inputs.root_image, root)?;
    let hash_target = folder.place_compressed(&names.hash, &hashed.hash_image)?;

    let image = |target, raw| Image {
        target,
        raw: Some(raw),
    };
    let boot_map = folder.place_map(image(&boot_target, boot), observer)?;
    let hash_image = || Ok(Box::new(&hashed.hash_image[..]) as Box<dyn io::Read>);
    let root_map = folder.place_root_map(image(&root_target, root), &hash_image, observer)?;
    let mut placed = vec![boot_target, root_target, hash_target, boot_map, root_map];
    for (name, file) in &mut inputs.migrations {
        placed.push(folder.place_image(name, file, None, Packing::Whole, observer)?);
    }
    Ok(placed)
}

/// The manifest with the release in it; the new ceiling.
fn add_update(
    args: &ReleaseArgs,
    manifest: &mut Manifest,
    inputs: &Inputs,
    hashed: &HashedRoot,
    images: RawImages,
) -> Result<Version, Error> {
    let ReleaseArgs {
        variant,
        arch,
        version,
        ..
    } = args;
    let (variant, arch) = (variant.as_str(), arch.as_str());
    let names = image_names(args);
    let context = || ManifestSnafu {
        version: version.clone(),
    };
    manifest
        .add_update(NewUpdate {
            variant: variant.to_owned(),
            arch: arch.to_owned(),
            version: version.clone(),
            max_version: args.max_version.clone(),
            block_maps: Some(names::block_maps(&names)),
            images: names,
            verity: Some(hashed.tree.facts()),
            raw_images: Some(images),
        })
        .with_context(|_| context())?;
    if let Some(waves) = &inputs.waves {
        manifest
            .set_waves(variant, arch, version, waves)
            .with_context(|_| context())?;
    }
    let added = manifest
        .updates
        .last()
        .expect("an update was added just now");
    Ok(added.max_version.clone())
}

/// The targets role to sign: everything published so far, and the new targets.
fn new_targets(
    old: Option<Targets>,
    placed: &[PlacedTarget],
    now: DateTime<Utc>,
    args: &ReleaseArgs,
) -> Result<Targets, Error> {
    let mut targets = match old {
        Some(targets) => targets,
        None => Targets::new(
            tuf::SPEC_VERSION.to_owned(),
            NonZeroU64::MIN,
            tuf::expiry(args.expires_targets, now).map_err(MetadataError::from)?,
        ),
    };
    tuf::SPEC_VERSION.clone_into(&mut targets.spec_version);
    targets.delegations = None;
    targets.targets =
        metadata::merge_targets(targets.targets, placed, |name| name == MANIFEST_TARGET)?;
    // All folders of a repository share their keys. Signed here, it keeps a host from following a
    // mirror that mixes them up.
    for (name, target) in &mut targets.targets {
        if name.raw() == MANIFEST_TARGET {
            for (key, word) in [("variant", &args.variant), ("arch", &args.arch)] {
                target.custom.insert(key.to_owned(), word.as_str().into());
            }
        }
    }
    Ok(targets)
}

impl From<Edge> for MigrationSummary {
    fn from(Edge { from, to, targets }: Edge) -> Self {
        Self { from, to, targets }
    }
}
