//! Reads targets to their end, in pieces, and keeps of each only what the rules need: a digest, the
//! length and digest of what it decodes to, whether a text stands in it, whether a tree is its.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu};
use update_metadata::block_map::Codec;
use update_metadata::{Digest, ImageKind, MANIFEST_TARGET, RawImage, Update, Verity};

use super::comparison::Comparison;
use super::facts::{Content, FolderFacts, Found, TargetFacts};
use super::maps::Mapped;
use crate::digest;
use crate::image::codec::{WholeReader, codec_of};
use crate::image::verity::{Geometry, SUPERBLOCK_BYTES, TreeBuilder};
use crate::publish::block_map::MapError;
use crate::publish::boot_check::Finder;
use crate::publish::event::{Observer, Watched};
use crate::publish::hash_image::MAX_HASH_IMAGE_BYTES;
use crate::publish::hashed::Hashed;

const CHUNK_BYTES: usize = 1 << 20;

/// A target's file cannot be read.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum ContentError {
    /// The file.
    #[snafu(display("reading the target {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The image of a block map.
    #[snafu(transparent)]
    Map { source: MapError },
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The boot images whose root hash is known.
    BootImages,
    /// Everything.
    All,
}

/// What was read so far; a file that several metadata folders list is read once.
#[derive(Debug, Default)]
pub(super) struct Contents {
    read: BTreeMap<PathBuf, Content>,
    /// Whether a root hash stands in a boot image.
    boot: BTreeMap<(PathBuf, Digest), bool>,
    /// The tree of a root and a hash image, where both could be read.
    trees: BTreeMap<(PathBuf, PathBuf), Option<Result<Verity, String>>>,
    /// What is wrong with a block map of an image and a hash image.
    maps: BTreeMap<[PathBuf; 3], Option<String>>,
    /// Bytes read of files.
    pub(super) bytes: u64,
}

impl Contents {
    /// Reads what `depth` asks for, and puts what was found into `folder`.
    pub(super) fn read(
        &mut self,
        folder: &mut FolderFacts,
        depth: Depth,
        observer: Observer<'_>,
    ) -> Result<(), ContentError> {
        for (update, facts) in folder.manifest.updates.iter().zip(&mut folder.updates) {
            facts.boot_names_root_hash = self.boot_image(update, &folder.targets, observer)?;
            if depth == Depth::All {
                facts.tree = self.tree(update, &folder.targets, observer)?;
            }
        }
        if depth == Depth::All {
            self.rest(folder, observer)?;
            for (update, facts) in folder.manifest.updates.iter().zip(&mut folder.updates) {
                // A root image without its tree has no leaves to compare.
                if !matches!(facts.tree, Some(Err(_))) {
                    facts.map_problems = self.maps(update, &folder.targets, observer)?;
                }
            }
        }
        for target in folder.targets.values_mut() {
            if let Found::File(path, _) = &target.found {
                target.content = self.read.get(path).cloned();
            }
        }
        Ok(())
    }

    /// Whether the root hash stands in the boot image; nothing where there is no root hash or no
    /// boot image, which other rules tell.
    fn boot_image(
        &mut self,
        update: &Update,
        targets: &BTreeMap<String, TargetFacts>,
        observer: Observer<'_>,
    ) -> Result<Option<bool>, ContentError> {
        let (Some(verity), Some(file)) = (&update.verity, sound(targets, &update.images.boot))
        else {
            return Ok(None);
        };
        let key = (file.path.to_owned(), verity.root_hash);
        if let Some(found) = self.boot.get(&key) {
            return Ok(Some(*found));
        }
        let mut finder = Finder::new(&verity.root_hash);
        self.decode(file, observer, |chunk| finder.update(chunk))?;
        self.boot.insert(key, finder.found());
        Ok(Some(finder.found()))
    }

    /// The facts of the tree over the root image if the hash image is that tree; nothing where one
    /// of them cannot be read whole, which other rules tell.
    fn tree(
        &mut self,
        update: &Update,
        targets: &BTreeMap<String, TargetFacts>,
        observer: Observer<'_>,
    ) -> Result<Option<Result<Verity, String>>, ContentError> {
        let images = &update.images;
        let (Some(root), Some(hash)) = (sound(targets, &images.root), sound(targets, &images.hash))
        else {
            return Ok(None);
        };
        let key = (root.path.to_owned(), hash.path.to_owned());
        if let Some(known) = self.trees.get(&key) {
            return Ok(known.clone());
        }
        let tree = self.compare(root, hash, observer)?;
        self.trees.insert(key, tree.clone());
        Ok(tree)
    }

    fn compare(
        &mut self,
        root: TargetFile<'_>,
        hash: TargetFile<'_>,
        observer: Observer<'_>,
    ) -> Result<Option<Result<Verity, String>>, ContentError> {
        let geometry = match superblock(hash)?.map(|bytes| Geometry::from_superblock(&bytes)) {
            None => return Ok(None),
            Some(Err(error)) => return Ok(Some(Err(error.to_string()))),
            Some(Ok(geometry)) => geometry,
        };
        let length = geometry.hash_length();
        if length > MAX_HASH_IMAGE_BYTES {
            return Ok(Some(Err(format!(
                "the tree of the superblock has {length} bytes"
            ))));
        }
        let mut builder = TreeBuilder::new(geometry);
        if !self.decode(root, observer, |chunk| builder.update(chunk))? {
            return Ok(None);
        }
        let tree = match builder.finish() {
            Ok(tree) => tree,
            Err(error) => return Ok(Some(Err(error.to_string()))),
        };
        let mut comparison = Comparison::with(&tree);
        if !self.decode(hash, observer, |chunk| comparison.update(chunk))? {
            return Ok(None);
        }
        Ok(Some(match comparison.finish() {
            None => Ok(tree.facts()),
            Some(at) => Err(format!(
                "the hash image is not the tree of the root image: they differ at byte {at}"
            )),
        }))
    }

    /// What is wrong with the block maps; nothing where one of the files is damaged, which other rules
    /// tell.
    fn maps(
        &mut self,
        update: &Update,
        targets: &BTreeMap<String, TargetFacts>,
        observer: Observer<'_>,
    ) -> Result<BTreeMap<ImageKind, String>, ContentError> {
        let mut problems = BTreeMap::new();
        let images = &update.images;
        for kind in ImageKind::ALL {
            let name = update.block_maps.as_ref().and_then(|maps| maps.get(kind));
            let files = name.and_then(|name| {
                let whole = |name| self.whole(targets, name);
                Some(Mapped {
                    kind,
                    map: whole(name)?,
                    image: whole(images.get(kind))?,
                    hash: whole(&images.hash)?,
                })
            });
            let Some(files) = files else { continue };
            let key = [files.map, files.image, files.hash].map(|file| file.path.to_owned());
            let problem = match self.maps.get(&key) {
                Some(known) => known.clone(),
                None => files.problem(observer)?,
            };
            self.maps.insert(key, problem.clone());
            problems.extend(problem.map(|problem| (kind, problem)));
        }
        Ok(problems)
    }

    /// The file of a target that was read, and is what was signed.
    fn whole<'a>(
        &self,
        targets: &'a BTreeMap<String, TargetFacts>,
        name: &str,
    ) -> Option<TargetFile<'a>> {
        let file = sound(targets, name)?;
        let content = self.read.get(file.path)?;
        let is_whole = targets.get(name)?.sha256 == Some(content.sha256)
            && content.decoded.as_ref().is_some_and(Result::is_ok);
        is_whole.then_some(file)
    }

    /// Every file that was not read yet.
    fn rest(&mut self, folder: &FolderFacts, observer: Observer<'_>) -> Result<(), ContentError> {
        let manifest = &folder.manifest;
        let images = manifest.updates.iter().flat_map(|update| {
            let images = &update.images;
            let maps = update.block_maps.as_ref();
            ImageKind::ALL
                .into_iter()
                .flat_map(move |kind| {
                    [Some(images.get(kind)), maps.and_then(|maps| maps.get(kind))]
                })
                .flatten()
        });
        let compressed: BTreeSet<&str> = images.chain(manifest.migrations.all_targets()).collect();
        for (name, target) in &folder.targets {
            let Some(file) = file_of(name, target) else {
                continue;
            };
            if self.read.contains_key(file.path) {
                continue;
            }
            if compressed.contains(name.as_str()) && name != MANIFEST_TARGET {
                self.decode(file, observer, |_| {})?;
            } else {
                self.hash(file, observer)?;
            }
        }
        Ok(())
    }

    /// Hashes a file as it is.
    fn hash(&mut self, file: TargetFile<'_>, observer: Observer<'_>) -> Result<(), ContentError> {
        let path = file.path;
        let mut reader = file.open(observer)?;
        let (length, sha256) = digest::of_reader(&mut reader).context(ReadSnafu { path })?;
        reader.finish();
        self.keep(
            path,
            length,
            Content {
                sha256,
                decoded: None,
            },
        );
        Ok(())
    }

    /// Decodes a file, and hashes it and what it decodes to; whether it could be decoded. Where it
    /// could not, `sink` got what comes before.
    fn decode(
        &mut self,
        file: TargetFile<'_>,
        observer: Observer<'_>,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<bool, ContentError> {
        let path = file.path;
        let mut input = Hashed::new(file.open(observer)?);
        let mut reader = WholeReader::new(file.codec, &mut input);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut raw = Sha256::new();
        let mut length = 0_u64;
        let decoded = loop {
            match reader.read(&mut chunk) {
                Ok(0) => break Ok(()),
                Ok(read) => {
                    let piece = &chunk[..read];
                    raw.update(piece);
                    sink(piece);
                    length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        drop(reader);
        input.take_failure().context(ReadSnafu { path })?;
        // A decoder that gave up has not seen the end, and the digest is that of all bytes.
        io::copy(&mut input, &mut io::sink()).context(ReadSnafu { path })?;
        let whole = decoded.is_ok();
        let sha256 = Digest::from(<[u8; 32]>::from(raw.finalize()));
        let (input, file) = input.finish();
        input.finish();
        let content = Content {
            sha256: file.sha256,
            decoded: Some(
                decoded
                    .map(|()| RawImage { length, sha256 })
                    .map_err(|error| error.to_string()),
            ),
        };
        self.keep(path, file.length, content);
        Ok(whole)
    }

    fn keep(&mut self, path: &Path, length: u64, content: Content) {
        self.bytes = self.bytes.saturating_add(length);
        self.read.insert(path.to_owned(), content);
    }
}

/// A file to be read, which was so long when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetFile<'a> {
    pub(super) path: &'a Path,
    pub(super) length: u64,
    /// How it is compressed, if it is.
    pub(super) codec: Codec,
}

impl TargetFile<'_> {
    /// Never more than was there.
    fn open(self, observer: Observer<'_>) -> Result<Watched<'_, io::Take<File>>, ContentError> {
        let path = self.path;
        let file = File::open(path).context(ReadSnafu { path })?;
        let step = format!("checking {}", path.display());
        Ok(Watched::start(
            step,
            self.length,
            file.take(self.length),
            observer,
        ))
    }
}

/// The file of a target, where it is there with the signed length.
fn sound<'a>(targets: &'a BTreeMap<String, TargetFacts>, name: &str) -> Option<TargetFile<'a>> {
    file_of(name, targets.get(name)?)
}

fn file_of<'a>(name: &str, target: &'a TargetFacts) -> Option<TargetFile<'a>> {
    match &target.found {
        Found::File(path, length) if target.length == Some(*length) => Some(TargetFile {
            path,
            length: *length,
            codec: codec_of(name),
        }),
        _ => None,
    }
}

/// The first bytes of a hash image; nothing where it does not decode that far.
fn superblock(hash: TargetFile<'_>) -> Result<Option<[u8; SUPERBLOCK_BYTES]>, ContentError> {
    let path = hash.path;
    let file = File::open(path).context(ReadSnafu { path })?;
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let read = WholeReader::new(hash.codec, file.take(hash.length)).read_exact(&mut bytes);
    Ok(read.is_ok().then_some(bytes))
}
