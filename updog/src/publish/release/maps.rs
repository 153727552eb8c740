//! The block maps of boot and root image, made from the very files that hosts fetch, and placed beside
//! them.

use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};
use update_metadata::RawImage;
use update_metadata::block_map::{BLOCK_MAP_SUFFIX, BlockMap, MAX_BLOCK_MAP_BYTES};

use super::place::{DamagedSnafu, PlaceError, PlacedTarget, TargetsFolder};
use crate::image::codec::codec_of;
use crate::publish::block_map::{BLOCK_BYTES, HashImageReader, MapError, PackedImage};
use crate::publish::event::Observer;

/// Why an image has no block map in its place.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum MapsError {
    /// None can be made.
    #[snafu(display("making the block map of {name}"))]
    Map { name: String, source: MapError },
    /// The image is another than the manifest speaks of.
    #[snafu(display(
        "{name} decodes to {} bytes with SHA-256 {}, the manifest states {} with {}",
        found.length, found.sha256, stated.length, stated.sha256
    ))]
    OtherImage {
        name: String,
        found: Box<RawImage>,
        stated: Box<RawImage>,
    },
    /// No host would read it.
    #[snafu(display(
        "the block map of {name} would have {length} bytes, and hosts read {MAX_BLOCK_MAP_BYTES}: the \
         image is too large"
    ))]
    TooLarge { name: String, length: usize },
    /// It cannot be written.
    #[snafu(transparent)]
    Place { source: PlaceError },
}

impl MapsError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Map { source, .. } => source.is_refusal(),
            Self::OtherImage { .. } | Self::TooLarge { .. } => true,
            Self::Place { .. } => false,
        }
    }
}

/// An image in the targets folder, and what the manifest says that it decodes to.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The target.
    pub target: &'a PlacedTarget,
    /// The image.
    pub raw: Option<&'a RawImage>,
}

/// The target name of the map of an image.
pub fn map_name(image: &str) -> String {
    format!("{image}{BLOCK_MAP_SUFFIX}")
}

impl TargetsFolder {
    /// Places the map of an image, with the hash of each block.
    pub fn place_map(
        &self,
        image: Image<'_>,
        observer: Observer<'_>,
    ) -> Result<PlacedTarget, MapsError> {
        let path = self.file(image.target);
        let map = packed(image, &path).map(BLOCK_BYTES, observer);
        self.place_made(image, &path, map)
    }

    /// Places the map of a root image, with the leaves of its verity tree.
    pub fn place_root_map(
        &self,
        image: Image<'_>,
        hash_image: HashImageReader<'_>,
        observer: Observer<'_>,
    ) -> Result<PlacedTarget, MapsError> {
        let path = self.file(image.target);
        let map = packed(image, &path).map_root(hash_image, observer);
        self.place_made(image, &path, map)
    }

    fn place_made(
        &self,
        image: Image<'_>,
        path: &Path,
        map: Result<BlockMap, MapError>,
    ) -> Result<PlacedTarget, MapsError> {
        let name = &image.target.name;
        let map = map.context(MapSnafu { name })?;
        let parts = map.parts();
        let compressed = RawImage {
            length: image.target.length,
            sha256: image.target.sha256,
        };
        if parts.compressed != compressed {
            let path = PathBuf::from(path);
            return Err(DamagedSnafu { path }.build().into());
        }
        if let Some(stated) = image.raw {
            ensure!(
                parts.raw == *stated,
                OtherImageSnafu {
                    name,
                    found: parts.raw,
                    stated: *stated
                }
            );
        }
        let bytes = map.to_vec();
        let length = bytes.len();
        let fits = u64::try_from(length).is_ok_and(|length| length <= MAX_BLOCK_MAP_BYTES);
        ensure!(fits, TooLargeSnafu { name, length });
        Ok(self.place_compressed(&map_name(name), &bytes)?)
    }
}

fn packed<'a>(image: Image<'_>, path: &'a Path) -> PackedImage<'a> {
    PackedImage {
        path,
        codec: codec_of(&image.target.name),
        length: image.target.length,
    }
}
