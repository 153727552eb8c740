//! Reads targets to their end, in pieces, and keeps of each only what the rules need: a digest, the
//! length and digest of what it decodes to, whether a text stands in it, whether a tree is its.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu};
use update_metadata::{Digest, MANIFEST_TARGET, RawImage, Update, Verity};

use super::comparison::Comparison;
use super::facts::{Content, FolderFacts, Found, TargetFacts};
use crate::digest;
use crate::image::codec::Lz4Reader;
use crate::image::verity::{Geometry, SUPERBLOCK_BYTES, TreeBuilder};
use crate::publish::boot_check::Finder;
use crate::publish::event::{Observer, Watched};
use crate::publish::hash_image::MAX_HASH_IMAGE_BYTES;

const CHUNK_BYTES: usize = 1 << 20;

/// A target's file cannot be read.
#[derive(Debug, Snafu)]
#[snafu(display("reading the target {}", path.display()))]
pub struct ContentError {
    path: PathBuf,
    source: io::Error,
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

    /// Every file that was not read yet.
    fn rest(&mut self, folder: &FolderFacts, observer: Observer<'_>) -> Result<(), ContentError> {
        let manifest = &folder.manifest;
        let images = manifest.updates.iter().flat_map(|update| {
            let images = &update.images;
            [&images.boot, &images.root, &images.hash].map(String::as_str)
        });
        let compressed: BTreeSet<&str> = images.chain(manifest.migrations.all_targets()).collect();
        for (name, target) in &folder.targets {
            let Found::File(path, length) = &target.found else {
                continue;
            };
            if self.read.contains_key(path) || target.length != Some(*length) {
                continue;
            }
            if compressed.contains(name.as_str()) && name != MANIFEST_TARGET {
                self.decode(
                    TargetFile {
                        path,
                        length: *length,
                    },
                    observer,
                    |_| {},
                )?;
            } else {
                self.hash(
                    TargetFile {
                        path,
                        length: *length,
                    },
                    observer,
                )?;
            }
        }
        Ok(())
    }

    /// Hashes a file as it is.
    fn hash(&mut self, file: TargetFile<'_>, observer: Observer<'_>) -> Result<(), ContentError> {
        let path = file.path;
        let mut reader = file.open(observer)?;
        let (length, sha256) = digest::of_reader(&mut reader).context(ContentSnafu { path })?;
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
        let mut reader = Lz4Reader::new(&mut input);
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
        if let Some(source) = input.failed.take() {
            return Err(source).context(ContentSnafu { path });
        }
        // A decoder that gave up has not seen the end, and the digest is that of all bytes.
        io::copy(&mut input, &mut io::sink()).context(ContentSnafu { path })?;
        let whole = decoded.is_ok();
        let sha256 = Digest::from(<[u8; 32]>::from(raw.finalize()));
        let content = Content {
            sha256: Digest::from(<[u8; 32]>::from(input.hasher.finalize())),
            decoded: Some(
                decoded
                    .map(|()| RawImage { length, sha256 })
                    .map_err(|error| error.to_string()),
            ),
        };
        input.inner.finish();
        self.keep(path, input.length, content);
        Ok(whole)
    }

    fn keep(&mut self, path: &Path, length: u64, content: Content) {
        self.bytes = self.bytes.saturating_add(length);
        self.read.insert(path.to_owned(), content);
    }
}

/// A file to be read, which was so long when it was looked at.
#[derive(Debug, Clone, Copy)]
struct TargetFile<'a> {
    path: &'a Path,
    length: u64,
}

impl TargetFile<'_> {
    /// Never more than was there.
    fn open(self, observer: Observer<'_>) -> Result<Watched<'_, io::Take<File>>, ContentError> {
        let path = self.path;
        let file = File::open(path).context(ContentSnafu { path })?;
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
    let target = targets.get(name)?;
    match &target.found {
        Found::File(path, length) if target.length == Some(*length) => Some(TargetFile {
            path,
            length: *length,
        }),
        _ => None,
    }
}

/// The first bytes of a hash image; nothing where it does not decode that far.
fn superblock(hash: TargetFile<'_>) -> Result<Option<[u8; SUPERBLOCK_BYTES]>, ContentError> {
    let path = hash.path;
    let file = File::open(path).context(ContentSnafu { path })?;
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let read = Lz4Reader::new(file.take(hash.length)).read_exact(&mut bytes);
    Ok(read.is_ok().then_some(bytes))
}

/// Hashes what passes, and remembers a failure that a decoder would take for bad data.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    length: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
            failed: None,
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(read) => {
                self.hasher.update(&buf[..read]);
                let more = u64::try_from(read).unwrap_or(u64::MAX);
                self.length = self.length.saturating_add(more);
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
