//! Pure: where each part of a compressed image lies, and which blocks it decodes to.
//!
//! A compressed image consists of *frames*, each of which decodes alone; a frame holds so many
//! *blocks*, each of which has a hash. The map is a signed target beside the image. With it a client
//! finds the blocks that it has already, fetches the frames of the others with plain range requests,
//! knows each frame before it decodes it, and knows each block before it writes it. The image itself
//! stays a file that any decoder reads from its start to its end.
//!
//! A root image has a dm-verity tree, whose leaves are the blocks' hashes. The map holds the first
//! bytes of each ([`BlockHashes::Leaves`]): enough to find blocks. The tree over the found blocks must
//! give the signed root hash before anything counts, so that a hash that only begins alike costs a
//! download, and never lets a wrong block in. Other images have whole hashes ([`BlockHashes::Whole`]).
//!
//! A map is as large as a few thousandths of its image. Everything that a constructed or parsed
//! [`BlockMap`] says fits together; [`BlockMapError`] lists what that means.

mod wire;

use std::io;
use std::ops::Range;

use snafu::{OptionExt as _, Snafu, ensure};

use crate::{Digest, RawImage};

/// What is put behind the name of an image's target to get the name of its map's.
pub const BLOCK_MAP_SUFFIX: &str = ".map.lz4";
/// The largest map that is read, in bytes: that of an image of some 30 GiB.
pub const MAX_BLOCK_MAP_BYTES: u64 = 64 << 20;
/// The most bytes that a frame decodes to: the largest block of the LZ4 format.
pub const MAX_FRAME_BYTES: u32 = 4 << 20;
/// Bytes that a map keeps of each leaf of a verity tree. Among ten million blocks two that begin alike
/// are to be expected once in five.
pub const LEAF_PREFIX_BYTES: usize = 6;
/// Bytes of a verity superblock.
pub const SUPERBLOCK_BYTES: usize = 512;

const MIN_BLOCK_BYTES: u32 = 512;
const MAX_BLOCK_BYTES: u32 = 65_536;
/// What a format may put before the first frame and behind the last one, in bytes.
const MAX_HEADER_BYTES: u32 = 64;
const MAX_TRAILER_BYTES: u64 = 64;

/// How frames are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The file is one LZ4 frame of independent blocks; one of those, with the word before it that
    /// gives its size and the checksum behind it if it has one, is a frame here.
    Lz4,
    /// The file is a row of zstd frames.
    Zstd,
}

/// One independently decodable part of a compressed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of it in the compressed file.
    pub length: u32,
    /// SHA-256 of those bytes.
    pub sha256: Digest,
}

/// What the decoded blocks hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockHashes {
    /// SHA-256 of each block.
    Whole(Vec<Digest>),
    /// The start of each leaf of the image's verity tree.
    Leaves {
        /// Of each block, in order.
        prefixes: Vec<[u8; LEAF_PREFIX_BYTES]>,
        /// What else the hash image consists of.
        hash_image: HashImage,
    },
}

/// A verity hash image, but for its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashImage {
    /// The superblock with which it begins.
    pub superblock: Box<[u8; SUPERBLOCK_BYTES]>,
    /// The whole image's length and digest: superblock, zeros up to the next block, the tree from its
    /// top, and zeros to the end.
    pub raw: RawImage,
}

/// What a [`BlockMap`] says, before it is looked at as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How frames are compressed.
    pub codec: Codec,
    /// Length and SHA-256 of the compressed file.
    pub compressed: RawImage,
    /// Length and SHA-256 of what it decodes to.
    pub raw: RawImage,
    /// Bytes of a block: of each but the last, which may be shorter.
    pub block_length: u32,
    /// Bytes that a frame decodes to: each but the last, which may decode to fewer.
    pub frame_length: u32,
    /// Bytes of the compressed file before its first frame.
    pub header_length: u32,
    /// In the order in which they lie in the file, one behind the other.
    pub frames: Vec<Frame>,
    /// What the blocks hash to.
    pub hashes: BlockHashes,
}

/// Why bytes or parts are no block map.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(visibility(pub(self)))]
#[non_exhaustive]
pub enum BlockMapError {
    /// The first bytes are not those of a block map.
    #[snafu(display("it does not begin as a block map"))]
    NoMagic,
    /// It has a form that is not known here.
    #[snafu(display("its {what} is {value}, which is not known here"))]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: u32,
    },
    /// It ends before everything that it announces.
    #[snafu(display("it ends in its {what}"))]
    Short {
        /// Where.
        what: &'static str,
    },
    /// It goes on behind everything that it announces.
    #[snafu(display("{bytes} bytes follow its end"))]
    Long {
        /// How many.
        bytes: usize,
    },
    /// A size lies outside of what is allowed, or of what other parts demand.
    #[snafu(display("its {what} of {found} bytes is not {allowed}"))]
    Size {
        /// Which.
        what: &'static str,
        /// The size.
        found: u64,
        /// The rule.
        allowed: &'static str,
    },
    /// There are more or less of something than the image has.
    #[snafu(display("it has {found} {what}, and an image of {length} bytes has {expected}"))]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there have to be.
        expected: u64,
        /// The image's length.
        length: u64,
    },
    /// A frame is longer than any way to write what it decodes to.
    #[snafu(display("its frame {index} of {length} bytes decodes to {raw} bytes"))]
    FrameLength {
        /// Which, from 0 on.
        index: usize,
        /// Compressed bytes.
        length: u32,
        /// Decoded bytes.
        raw: u32,
    },
}

/// Why a map cannot be read.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(self)))]
pub enum ReadMapError {
    /// The input failed.
    #[snafu(display("reading it"))]
    Read {
        /// How.
        source: io::Error,
    },
    /// It goes on behind the most bytes that a map may have.
    #[snafu(display("it goes on behind byte {MAX_BLOCK_MAP_BYTES}, where the longest map ends"))]
    TooLong,
    /// What came is no block map.
    #[snafu(transparent)]
    Map {
        /// Why not.
        source: BlockMapError,
    },
}

/// A map that fits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMap {
    parts: Parts,
    /// Where each frame begins in the compressed file, and where the last one ends.
    offsets: Vec<u64>,
}

impl BlockMap {
    /// The map of `parts`.
    ///
    /// # Errors
    /// [`BlockMapError::Size`], [`BlockMapError::Count`] and [`BlockMapError::FrameLength`].
    pub fn new(parts: Parts) -> Result<Self, BlockMapError> {
        check_sizes(&parts)?;
        let Parts { raw, frames, .. } = &parts;
        let length = raw.length;
        let count = |what, found, unit: u32| {
            let expected = length.div_ceil(u64::from(unit));
            ensure!(
                u64::try_from(found).is_ok_and(|found| found == expected),
                CountSnafu {
                    what,
                    found,
                    expected,
                    length
                }
            );
            Ok(())
        };
        count("frames", frames.len(), parts.frame_length)?;
        count("block hashes", parts.hashes.len(), parts.block_length)?;

        let mut offset = u64::from(parts.header_length);
        let mut offsets = Vec::with_capacity(frames.len().saturating_add(1));
        for (index, frame) in frames.iter().enumerate() {
            let raw = decoded_length(&parts, index);
            ensure!(
                (1..=bound(raw)).contains(&frame.length),
                FrameLengthSnafu {
                    index,
                    length: frame.length,
                    raw
                }
            );
            offsets.push(offset);
            offset = offset.saturating_add(u64::from(frame.length));
        }
        offsets.push(offset);
        let compressed = parts.compressed.length;
        let trailer = compressed.checked_sub(offset);
        trailer
            .filter(|&trailer| trailer <= MAX_TRAILER_BYTES)
            .context(SizeSnafu {
                what: "compressed file",
                found: compressed,
                allowed: "what its frames add up to",
            })?;
        Ok(Self { parts, offsets })
    }

    /// Everything that it says.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// How many frames there are; at least one.
    pub fn frame_count(&self) -> usize {
        self.parts.frames.len()
    }

    /// How many blocks there are; at least one.
    pub fn block_count(&self) -> usize {
        self.parts.hashes.len()
    }

    /// Where frame `index` lies in the compressed file; empty at its end when there is no such frame.
    pub fn frame_range(&self, index: usize) -> Range<u64> {
        let at = |index: usize| self.offsets.get(index).or(self.offsets.last());
        let start = at(index).copied().unwrap_or_default();
        start..at(index.saturating_add(1)).copied().unwrap_or(start)
    }

    /// Bytes that frame `index` decodes to; 0 when there is no such frame.
    pub fn frame_raw_length(&self, index: usize) -> u32 {
        decoded_length(&self.parts, index)
    }

    /// Blocks in each frame but the last; at least one.
    pub fn blocks_in_frame(&self) -> usize {
        let blocks = self.parts.frame_length / self.parts.block_length;
        usize::try_from(blocks).expect("at most 8,192 by the bounds of both lengths: checked")
    }
}

impl BlockHashes {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(hashes) => hashes.len(),
            Self::Leaves { prefixes, .. } => prefixes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a block with this hash may be block `index`; that it is the right one a whole hash says
    /// for certain, and the start of a leaf together with the tree's root hash.
    pub fn admits(&self, index: usize, hash: &[u8; 32]) -> bool {
        match self {
            Self::Whole(hashes) => hashes
                .get(index)
                .is_some_and(|wanted| wanted.as_bytes() == hash),
            Self::Leaves { prefixes, .. } => prefixes
                .get(index)
                .is_some_and(|wanted| hash.starts_with(wanted)),
        }
    }

    /// The first bytes of the hash of block `index`, to find it by.
    pub fn key(&self, index: usize) -> Option<[u8; LEAF_PREFIX_BYTES]> {
        match self {
            Self::Whole(hashes) => hashes.get(index)?.as_bytes().first_chunk().copied(),
            Self::Leaves { prefixes, .. } => prefixes.get(index).copied(),
        }
    }
}

fn check_sizes(parts: &Parts) -> Result<(), BlockMapError> {
    let size = |what, found: u64, is_right, allowed| {
        let wrong = SizeSnafu {
            what,
            found,
            allowed,
        };
        if is_right { Ok(()) } else { wrong.fail() }
    };
    let (block, frame) = (parts.block_length, parts.frame_length);
    size(
        "block",
        block.into(),
        block.is_power_of_two() && (MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&block),
        "a power of two from 512 to 65536",
    )?;
    size(
        "frame",
        frame.into(),
        frame > 0 && frame.is_multiple_of(block) && frame <= MAX_FRAME_BYTES,
        "a number of whole blocks, at most 4 MiB",
    )?;
    size(
        "header",
        parts.header_length.into(),
        parts.header_length <= MAX_HEADER_BYTES,
        "at most 64 bytes",
    )?;
    let length = parts.raw.length;
    size("image", length, length > 0, "more than none")?;
    if let BlockHashes::Leaves { hash_image, .. } = &parts.hashes {
        let whole = length.is_multiple_of(u64::from(block));
        size(
            "image with a verity tree",
            length,
            whole,
            "a number of whole blocks",
        )?;
        let least = u64::try_from(SUPERBLOCK_BYTES).unwrap_or(u64::MAX);
        let length = hash_image.raw.length;
        // A tree is smaller than what it covers, and has a superblock's block.
        let most = parts.raw.length.saturating_add(1 << 20);
        let fits = (least..=most).contains(&length);
        size("hash image", length, fits, "a superblock and a tree")?;
    }
    Ok(())
}

fn decoded_length(parts: &Parts, index: usize) -> u32 {
    let start = u64::try_from(index)
        .ok()
        .and_then(|index| index.checked_mul(u64::from(parts.frame_length)));
    let left = start.and_then(|start| parts.raw.length.checked_sub(start));
    let length = left.map(|left| left.min(u64::from(parts.frame_length)));
    length
        .and_then(|length| u32::try_from(length).ok())
        .unwrap_or(0)
}

/// The most bytes that any codec writes for `raw` bytes, with its own words around them.
fn bound(raw: u32) -> u32 {
    raw.saturating_add(raw / 128).saturating_add(64)
}

#[cfg(test)]
mod tests;
