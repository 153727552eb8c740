//! The manifest: the updates a repository offers, and the migrations between their versions.
//!
//! The JSON is Bottlerocket's. Three optional keys of an update are ours, `verity`, `raw_images` and
//! `block_maps`; clients that do not know them ignore them, as this reader ignores every key it does not know.

use crate::migrations::MigrationGraph;
use crate::wave::WaveSchedule;
use semver::Version;
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

pub use crate::digest::{Digest, DigestError};
pub use crate::images::{BlockMaps, ImageKind, Images, RawImage, RawImages};
pub use crate::verity::{Salt, Verity, VerityAlgorithm, VerityError};

/// The name of the manifest among a repository's targets.
pub const MANIFEST_TARGET: &str = "manifest.json";

/// The largest manifest that is read, in bytes: 10 MiB.
pub const MAX_MANIFEST_BYTES: u64 = 10 * 1024 * 1024;

/// The most updates a manifest may list.
pub const MAX_UPDATES: usize = 10_000;

/// What a repository offers.
///
/// Both keys are required; either may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The updates, in the publisher's order. At most [`MAX_UPDATES`] are read.
    #[serde(deserialize_with = "crate::bounded::list::<_, _, MAX_UPDATES>")]
    pub updates: Vec<Update>,
    /// The migrations between versions.
    pub migrations: MigrationGraph,
}

/// One version of one variant for one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The variant of the system. Not empty, at most 190 bytes, no control characters.
    #[serde(deserialize_with = "crate::target_name::word")]
    pub variant: String,
    /// The architecture, `x86_64` or `aarch64`. Not empty, at most 190 bytes, no control
    /// characters.
    #[serde(deserialize_with = "crate::target_name::word")]
    pub arch: String,
    /// The version.
    pub version: Version,
    /// The highest version that is offered for this variant and architecture. An update above it is
    /// withdrawn, and a host that runs a version above it is led back.
    pub max_version: Version,
    /// When the update becomes ready for each seed.
    pub waves: WaveSchedule,
    /// The target names of the images.
    pub images: Images,
    /// The dm-verity facts of the root image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<Verity>,
    /// Length and digest of each image once decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_images: Option<RawImages>,
    /// The target names of the images' block maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_maps: Option<BlockMaps>,
}

/// Why a manifest cannot be read.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ManifestError {
    /// The text is longer than [`MAX_MANIFEST_BYTES`].
    #[snafu(display(
        "the manifest has {length} bytes, the largest that is read has {MAX_MANIFEST_BYTES}"
    ))]
    TooLarge {
        /// The text's length in bytes.
        length: usize,
    },

    /// The text is no manifest. The source says what is wrong, and at which line and column.
    #[snafu(display("the manifest is not valid"))]
    Invalid {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// Keys that are not known are ignored. Two updates of the same variant, architecture and
    /// version are accepted, as Bottlerocket does; selection then prefers the first.
    ///
    /// # Errors
    ///
    /// [`ManifestError::TooLarge`] before a byte is looked at, [`ManifestError::Invalid`] for
    /// everything else: bad JSON, a missing key, a known key given twice, a bad or repeated wave
    /// bound or migration key, a bad name, digest or verity fact, too many of anything.
    pub fn from_slice(json: &[u8]) -> Result<Self, ManifestError> {
        let within_bound = u64::try_from(json.len()).is_ok_and(|len| len <= MAX_MANIFEST_BYTES);
        ensure!(within_bound, TooLargeSnafu { length: json.len() });
        serde_json::from_slice(json).context(InvalidSnafu)
    }

    /// The written form: indented JSON, ending with a newline.
    ///
    /// [`from_slice`](Self::from_slice) reads it back to an equal manifest, provided that the names
    /// and counts put into the public fields are ones that it accepts.
    pub fn to_json_pretty(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self)
            .expect("every map key is a string, no field's Serialize fails, a Vec takes any bytes");
        json.push(b'\n');
        json
    }
}
