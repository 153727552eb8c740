//! The written form of a block map: fixed fields, then the frames, then the hashes. Numbers are
//! little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `blockmap` |
//! | 4 | version of this form: 1 |
//! | 4 | codec: 1 LZ4, 2 zstd |
//! | 4 | hashes: 1 whole, 2 leaves of a verity tree |
//! | 4 | bytes of a block |
//! | 4 | bytes that a frame decodes to |
//! | 4 | bytes of the compressed file before its first frame |
//! | 4 | number of frames |
//! | 8 + 32 | compressed file: length, SHA-256 |
//! | 8 + 32 | image: length, SHA-256 |
//! | 512 + 8 + 32 | with leaves only: superblock of the hash image; its length, its SHA-256 |
//! | 4 + 32 each | frames: length in the compressed file, SHA-256 |
//! | 32 or 6 each | block hashes, or the first bytes of leaves |

use super::{
    BlockHashes, BlockMap, BlockMapError, Codec, Frame, HashImage, LEAF_PREFIX_BYTES, LongSnafu,
    NoMagicSnafu, Parts, ShortSnafu, SizeSnafu, UnknownSnafu,
};
use crate::{Digest, RawImage};
use snafu::{OptionExt as _, ensure};

const MAGIC: [u8; 8] = *b"blockmap";
const VERSION: u32 = 1;
const LZ4: u32 = 1;
const ZSTD: u32 = 2;
const WHOLE: u32 = 1;
const LEAVES: u32 = 2;

impl BlockMap {
    /// Reads a map. Memory is in proportion to `bytes`, whatever they announce.
    ///
    /// # Errors
    /// Every [`BlockMapError`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BlockMapError> {
        let mut rest = Rest(bytes);
        ensure!(rest.array("first bytes")? == MAGIC, NoMagicSnafu);
        let version = rest.number("version")?;
        ensure!(version == VERSION, unknown("version", version));
        let codec = match rest.number("codec")? {
            LZ4 => Codec::Lz4,
            ZSTD => Codec::Zstd,
            other => return unknown("codec", other).fail(),
        };
        let kind = rest.number("kind of hashes")?;
        let block_length = rest.number("block length")?;
        let frame_length = rest.number("frame length")?;
        let header_length = rest.number("header length")?;
        let frame_count = rest.number("number of frames")?;
        let compressed = rest.image("facts of the compressed file")?;
        let raw = rest.image("facts of the image")?;
        let hash_image = match kind {
            WHOLE => None,
            LEAVES => Some(HashImage {
                superblock: Box::new(rest.array("superblock")?),
                raw: rest.image("facts of the hash image")?,
            }),
            other => return unknown("kind of hashes", other).fail(),
        };
        let frames = (0..frame_count)
            .map(|_| rest.frame())
            .collect::<Result<_, _>>()?;
        ensure!(
            block_length > 0,
            SizeSnafu {
                what: "block",
                found: 0_u64,
                allowed: "a power of two from 512 to 65536"
            }
        );
        let blocks = 0..raw.length.div_ceil(u64::from(block_length));
        let hashes = match hash_image {
            None => BlockHashes::Whole(
                blocks
                    .map(|_| rest.digest("block hashes"))
                    .collect::<Result<_, _>>()?,
            ),
            Some(hash_image) => {
                // No more than are there, and not the double of them.
                let mut prefixes = Vec::with_capacity(rest.0.len() / LEAF_PREFIX_BYTES);
                for _ in blocks {
                    prefixes.push(rest.array("leaves")?);
                }
                BlockHashes::Leaves {
                    prefixes,
                    hash_image,
                }
            }
        };
        ensure!(
            rest.0.is_empty(),
            LongSnafu {
                bytes: rest.0.len()
            }
        );
        Self::new(Parts {
            codec,
            compressed,
            raw,
            block_length,
            frame_length,
            header_length,
            frames,
            hashes,
        })
    }

    /// The written form; [`from_slice`](Self::from_slice) reads it back to an equal map, if it has less
    /// than 2³² frames.
    pub fn to_vec(&self) -> Vec<u8> {
        let parts = self.parts();
        let mut out = MAGIC.to_vec();
        let mut number = |number: u32| out.extend_from_slice(&number.to_le_bytes());
        number(VERSION);
        number(match parts.codec {
            Codec::Lz4 => LZ4,
            Codec::Zstd => ZSTD,
        });
        number(match parts.hashes {
            BlockHashes::Whole(_) => WHOLE,
            BlockHashes::Leaves { .. } => LEAVES,
        });
        number(parts.block_length);
        number(parts.frame_length);
        number(parts.header_length);
        number(u32::try_from(parts.frames.len()).unwrap_or(u32::MAX));
        put_image(&mut out, &parts.compressed);
        put_image(&mut out, &parts.raw);
        if let BlockHashes::Leaves { hash_image, .. } = &parts.hashes {
            out.extend_from_slice(&hash_image.superblock[..]);
            put_image(&mut out, &hash_image.raw);
        }
        for frame in &parts.frames {
            out.extend_from_slice(&frame.length.to_le_bytes());
            out.extend_from_slice(frame.sha256.as_bytes());
        }
        match &parts.hashes {
            BlockHashes::Whole(hashes) => {
                out.extend(hashes.iter().flat_map(Digest::as_bytes));
            }
            BlockHashes::Leaves { prefixes, .. } => out.extend(prefixes.iter().flatten()),
        }
        out
    }
}

fn unknown(what: &'static str, value: u32) -> UnknownSnafu<&'static str, u32> {
    UnknownSnafu { what, value }
}

fn put_image(out: &mut Vec<u8>, image: &RawImage) {
    out.extend_from_slice(&image.length.to_le_bytes());
    out.extend_from_slice(image.sha256.as_bytes());
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], BlockMapError> {
        let (head, tail) = self.0.split_first_chunk().context(ShortSnafu { what })?;
        self.0 = tail;
        Ok(*head)
    }

    fn number(&mut self, what: &'static str) -> Result<u32, BlockMapError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn digest(&mut self, what: &'static str) -> Result<Digest, BlockMapError> {
        self.array::<32>(what).map(Digest::from)
    }

    fn image(&mut self, what: &'static str) -> Result<RawImage, BlockMapError> {
        Ok(RawImage {
            length: self.array(what).map(u64::from_le_bytes)?,
            sha256: self.digest(what)?,
        })
    }

    fn frame(&mut self) -> Result<Frame, BlockMapError> {
        Ok(Frame {
            length: self.number("frames")?,
            sha256: self.digest("frames")?,
        })
    }
}
