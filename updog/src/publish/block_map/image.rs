//! Block maps of the images of a release, read from the very files that hosts fetch.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use snafu::{OptionExt, ResultExt, Snafu};
use update_metadata::block_map::{BlockHashes, BlockMap, BlockMapError, Codec};

use super::{Layout, SplitError, hashes, split, tree};
use crate::image::verity::{Geometry, TreeBuilder, VerityError};
use crate::publish::event::{Observer, Watched};

/// Why an image has no block map.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum MapError {
    /// The file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be taken apart.
    #[snafu(display("{} cannot be fetched in parts", path.display()))]
    Split { path: PathBuf, source: SplitError },
    /// The hash image cannot be read.
    #[snafu(display("reading the hash image of {}", path.display()))]
    HashImage { path: PathBuf, source: io::Error },
    /// The image is not one that the hash image's superblock is for.
    #[snafu(display("making a verity tree over {}", path.display()))]
    Tree { path: PathBuf, source: VerityError },
    /// A host could not make the hash image itself.
    #[snafu(display("the hash image of {} is not its verity tree and nothing else", path.display()))]
    NotOnlyTree { path: PathBuf },
    /// What was found makes no map.
    #[snafu(display("the block map of {} is out of bounds", path.display()))]
    Bounds {
        path: PathBuf,
        source: BlockMapError,
    },
}

impl MapError {
    /// Whether the file is as it was made, and no map can be had of it.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Split { .. }
            | Self::Tree { .. }
            | Self::NotOnlyTree { .. }
            | Self::Bounds { .. } => true,
            Self::Read { .. } | Self::HashImage { .. } => false,
        }
    }
}

/// The file of a compressed image.
#[derive(Debug, Clone, Copy)]
pub struct PackedImage<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// How it is compressed.
    pub codec: Codec,
    /// Its bytes; no more of them are read.
    pub length: u64,
}

/// A decoded hash image from its start.
pub type HashImageReader<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + 'a>>;

impl PackedImage<'_> {
    /// The map with the hash of each block of `block_length` bytes.
    ///
    /// # Errors
    /// All but those of hash images.
    pub fn map(&self, block_length: u32, observer: Observer<'_>) -> Result<BlockMap, MapError> {
        let mut digests = Vec::new();
        let sink = &mut |piece: &[u8]| digests.extend(hashes(piece, block_length));
        let layout = self.split(block_length, observer, sink)?;
        self.with(layout, BlockHashes::Whole(digests))
    }

    /// The map of a root image, with the leaves of its verity tree.
    ///
    /// # Errors
    /// Every [`MapError`].
    pub fn map_root(
        &self,
        hash_image: HashImageReader<'_>,
        observer: Observer<'_>,
    ) -> Result<BlockMap, MapError> {
        let path = self.path;
        let superblock = hash_image()
            .and_then(|mut image| tree::read_superblock(&mut image))
            .context(HashImageSnafu { path })?
            .context(NotOnlyTreeSnafu { path })?;
        let geometry = Geometry::from_superblock(&superblock[..]).context(TreeSnafu { path })?;
        let block_length = geometry.data_block_size;
        let mut builder = TreeBuilder::new(geometry);
        let layout = self.split(block_length, observer, &mut |piece| builder.update(piece))?;
        let tree = builder.finish().context(TreeSnafu { path })?;
        let leaves = hash_image()
            .and_then(|image| tree::leaves(&tree, image))
            .context(HashImageSnafu { path })?
            .context(NotOnlyTreeSnafu { path })?;
        self.with(layout, leaves)
    }

    fn split(
        &self,
        block_length: u32,
        observer: Observer<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Layout, MapError> {
        let Self {
            path,
            codec,
            length,
        } = *self;
        let file = File::open(path).context(ReadSnafu { path })?;
        let step = format!("mapping {}", path.display());
        let mut input = Watched::start(step, length, file.take(length), observer);
        let layout = split(&mut input, codec, block_length, sink);
        input.finish();
        let path = path.to_owned();
        layout.map_err(|error| match error {
            SplitError::Read { source } => MapError::Read { path, source },
            source => MapError::Split { path, source },
        })
    }

    fn with(&self, layout: Layout, hashes: BlockHashes) -> Result<BlockMap, MapError> {
        let path = self.path;
        layout.with(hashes).context(BoundsSnafu { path })
    }
}
