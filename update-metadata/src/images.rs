//! The three images of an update, and what is known of them once they are decoded.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the three images that make up a partition set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The boot partition: kernel, boot loader configuration.
    Boot,
    /// The root file system, read-only.
    Root,
    /// The dm-verity hash tree over the root file system.
    Hash,
}

impl ImageKind {
    /// Every kind, in the manifest's order.
    pub const ALL: [Self; 3] = [Self::Boot, Self::Root, Self::Hash];

    /// The manifest's key for this kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Root => "root",
            Self::Hash => "hash",
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The target names of an update's images.
///
/// Names read from a manifest have passed [`check_target_name`](crate::check_target_name).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// Target name of the boot image.
    #[serde(deserialize_with = "crate::target_name::target_name")]
    pub boot: String,
    /// Target name of the root image.
    #[serde(deserialize_with = "crate::target_name::target_name")]
    pub root: String,
    /// Target name of the hash image.
    #[serde(deserialize_with = "crate::target_name::target_name")]
    pub hash: String,
}

impl Images {
    /// The target name of one image.
    pub fn get(&self, kind: ImageKind) -> &str {
        match kind {
            ImageKind::Boot => &self.boot,
            ImageKind::Root => &self.root,
            ImageKind::Hash => &self.hash,
        }
    }
}

/// The target names of the [block maps](crate::block_map) of an update's images. The hash image has
/// none: it is small, or made again from the root image's.
///
/// An addition to Bottlerocket's manifest: clients that do not know it ignore it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMaps {
    /// Of the boot image.
    #[serde(deserialize_with = "crate::target_name::target_name")]
    pub boot: String,
    /// Of the root image.
    #[serde(deserialize_with = "crate::target_name::target_name")]
    pub root: String,
}

impl BlockMaps {
    /// The target name of the map of one image, if that kind of image has one.
    pub fn get(&self, kind: ImageKind) -> Option<&str> {
        match kind {
            ImageKind::Boot => Some(&self.boot),
            ImageKind::Root => Some(&self.root),
            ImageKind::Hash => None,
        }
    }
}

/// Length and digest of each image as it lies on the partition, not as it is compressed.
///
/// An addition to Bottlerocket's manifest: clients that do not know it ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawImages {
    /// The decoded boot image.
    pub boot: RawImage,
    /// The decoded root image.
    pub root: RawImage,
    /// The decoded hash image.
    pub hash: RawImage,
}

impl RawImages {
    /// Length and digest of one decoded image.
    pub const fn get(&self, kind: ImageKind) -> &RawImage {
        match kind {
            ImageKind::Boot => &self.boot,
            ImageKind::Root => &self.root,
            ImageKind::Hash => &self.hash,
        }
    }
}

/// Length and digest of one decoded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawImage {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of those bytes.
    pub sha256: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_name_everywhere() {
        for (kind, name) in ImageKind::ALL.into_iter().zip(["boot", "root", "hash"]) {
            assert_eq!(kind.as_str(), name);
            assert_eq!(kind.to_string(), name);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
        }
        assert_eq!(format!("{:<6}|", ImageKind::Boot), "boot  |");
    }

    #[test]
    fn get_returns_the_image_of_that_kind() {
        let images = Images {
            boot: "b.lz4".into(),
            root: "r.lz4".into(),
            hash: "h.lz4".into(),
        };
        assert_eq!(
            ImageKind::ALL.map(|kind| images.get(kind)),
            ["b.lz4", "r.lz4", "h.lz4"]
        );

        let raw = |length| RawImage {
            length,
            sha256: Digest::from([0; 32]),
        };
        let images = RawImages {
            boot: raw(1),
            root: raw(2),
            hash: raw(3),
        };
        assert_eq!(
            ImageKind::ALL.map(|kind| images.get(kind).length),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_bad_target_name_is_refused_where_it_stands() {
        let error = serde_json::from_str::<Images>(
            "{\n  \"boot\": \"b.lz4\",\n  \"root\": \"../r.lz4\",\n  \"hash\": \"h.lz4\"\n}",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the target name \"../r.lz4\" has an empty, `.` or `..` part at line 3 column 20"
        );
    }

    #[test]
    fn a_missing_image_is_refused() {
        let error = serde_json::from_str::<Images>(r#"{"boot": "b", "root": "r"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing field `hash` at line 1 column 26"
        );
    }
}
