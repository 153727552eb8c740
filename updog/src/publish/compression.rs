//! Pure: how images are compressed, and how their targets' names say so.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use update_metadata::block_map::Codec;

use crate::image::codec::ZSTD_EXTENSION;

/// How the boot and the root image of a release are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// One LZ4 frame of independent blocks.
    #[default]
    Lz4,
    /// A row of zstd frames.
    Zstd,
}

// Not derived: the variants' documentation would spread the whole help of the verb.
impl ValueEnum for Compression {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Lz4, Self::Zstd]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }))
    }
}

impl Compression {
    /// The same for a block map.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }

    /// How the target's name ends.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => ZSTD_EXTENSION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::codec_of;

    #[test]
    fn hosts_read_from_the_name_how_the_target_is_compressed() {
        for compression in Compression::value_variants() {
            let name = format!("root.{}", compression.extension());
            assert_eq!(codec_of(&name), compression.codec());
        }
    }
}
