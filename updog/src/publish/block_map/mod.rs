//! Makes the [block map](BlockMap) of a compressed image: reads the file frame by frame, and decodes
//! each frame alone.
//!
//! What a host could not decode frame by frame, or not within the bounds of a map, is refused here by
//! what is wrong with it. Nothing is looked at that only decoders from start to end need: the checksum
//! of an LZ4 header, that of the whole content, an announced length. [`split`] is pure, `image` reads
//! files.

mod image;
mod lz4;
mod tree;
mod zstd;

use std::io::{self, BufReader, ErrorKind, Read};

use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::block_map::{
    BlockHashes, BlockMap, BlockMapError, Codec, Frame, MAX_FRAME_BYTES, Parts,
};
use update_metadata::{Digest, RawImage};

pub use self::image::{HashImageReader, MapError, PackedImage};
use super::hashed::Hashed;

/// Bytes of a block of an image without a verity tree: what file systems and page caches go by.
pub const BLOCK_BYTES: u32 = 4096;

/// Why a compressed file has no block map.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(self)))]
#[allow(missing_docs)] // the message says what each field is
pub enum SplitError {
    /// The file cannot be read.
    #[snafu(display("reading it"))]
    Read { source: io::Error },
    /// It has another form.
    #[snafu(display("at byte {at} there is no {expected}"))]
    NoFrame { expected: &'static str, at: u64 },
    /// Its header says what no decoder here knows.
    #[snafu(display("its {what} is {value:#04x}, which is not known here"))]
    Unknown { what: &'static str, value: u8 },
    /// No block can be decoded without the one before.
    #[snafu(display(
        "its LZ4 blocks depend on each other; compress it with independent blocks, as `lz4` does \
         without -BD"
    ))]
    Linked,
    /// It cannot be decoded from itself.
    #[snafu(display("it was compressed with a dictionary, which no host has"))]
    Dictionary,
    /// The file is cut off.
    #[snafu(display("it ends in its {what}"))]
    Ends { what: &'static str },
    /// There is more than one file in it.
    #[snafu(display("it goes on behind its LZ4 frame"))]
    Trailing,
    /// A frame is damaged.
    #[snafu(display("its frame {index} does not decode"))]
    Decode { index: usize, source: io::Error },
    /// A frame is larger than its header announces, or than a host would hold in memory.
    #[snafu(display("its frame {index} is of more than {most} bytes"))]
    TooLarge { index: usize, most: u64 },
    /// A frame, or everything, holds no data.
    #[snafu(display("its frame {index} decodes to nothing"))]
    Nothing { index: usize },
    /// Frames are not to be found by a division.
    #[snafu(display(
        "its frame {index} decodes to {length} bytes: all frames but the last must decode to the same \
         number of whole blocks of {block_length}"
    ))]
    Uneven {
        index: usize,
        length: usize,
        block_length: u32,
    },
}

/// Where the frames of a compressed file lie, and what the whole of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    codec: Codec,
    compressed: RawImage,
    raw: RawImage,
    block_length: u32,
    frame_length: u32,
    header_length: u32,
    frames: Vec<Frame>,
}

impl Layout {
    /// The map, with the hashes of its blocks.
    ///
    /// # Errors
    /// [`BlockMapError`] where these are not of the image.
    pub fn with(self, hashes: BlockHashes) -> Result<BlockMap, BlockMapError> {
        let Self {
            codec,
            compressed,
            raw,
            block_length,
            frame_length,
            header_length,
            frames,
        } = self;
        BlockMap::new(Parts {
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
}

/// Reads `input` to its end; `sink` gets what each frame decodes to, a number of whole blocks each but
/// for the last. Memory is bounded by two frames.
///
/// # Errors
/// Every [`SplitError`]; `sink` may have got something by then.
pub fn split(
    input: impl Read,
    codec: Codec,
    block_length: u32,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Layout, SplitError> {
    let mut input = Hashed::new(BufReader::new(input));
    let mut frames = FrameList {
        block_length,
        frame_length: None,
        is_last: false,
        frames: Vec::new(),
        raw: Sha256::new(),
        raw_length: 0,
        sink,
    };
    let walked = match codec {
        Codec::Lz4 => lz4::each_frame(&mut input, &mut frames),
        Codec::Zstd => zstd::each_frame(&mut input, &mut frames),
    };
    input.take_failure().context(ReadSnafu)?;
    let header_length = walked?;
    let FrameList {
        frame_length,
        frames,
        raw,
        raw_length,
        ..
    } = frames;
    let Some(frame_length) = frame_length else {
        return NothingSnafu { index: 0_usize }.fail();
    };
    let (_, compressed) = input.finish();
    Ok(Layout {
        codec,
        compressed,
        raw: RawImage {
            length: raw_length,
            sha256: Digest::from(<[u8; 32]>::from(raw.finalize())),
        },
        block_length,
        frame_length,
        header_length,
        frames,
    })
}

/// SHA-256 of each block of a piece.
pub fn hashes(piece: &[u8], block_length: u32) -> impl Iterator<Item = Digest> {
    let length = usize::try_from(block_length).unwrap_or(usize::MAX);
    piece
        .chunks(length.max(1))
        .map(|block| Digest::from(<[u8; 32]>::from(Sha256::digest(block))))
}

/// The frames that were read so far.
struct FrameList<'a> {
    block_length: u32,
    frame_length: Option<u32>,
    /// A frame shorter than the others was the last one.
    is_last: bool,
    frames: Vec<Frame>,
    raw: Sha256,
    raw_length: u64,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl FrameList<'_> {
    /// The number of the frame that is to come.
    fn index(&self) -> usize {
        self.frames.len()
    }

    /// One more frame, as it lies in the file and as it decodes.
    fn push(&mut self, compressed: &[u8], raw: &[u8]) -> Result<(), SplitError> {
        let index = self.index();
        let uneven = UnevenSnafu {
            index,
            length: raw.len(),
            block_length: self.block_length,
        };
        let length = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let most = MAX_FRAME_BYTES;
        ensure!(length <= most, TooLargeSnafu { index, most });
        ensure!(length > 0, NothingSnafu { index });
        ensure!(!self.is_last, uneven);
        let frame_length = *self
            .frame_length
            .get_or_insert_with(|| length.next_multiple_of(self.block_length.max(1)));
        ensure!(length <= frame_length, uneven);
        self.is_last = length < frame_length;

        self.raw.update(raw);
        self.raw_length = self.raw_length.saturating_add(length.into());
        (self.sink)(raw);
        self.frames.push(Frame {
            // The codecs read none that is longer than this; a map would refuse it.
            length: u32::try_from(compressed.len()).unwrap_or(u32::MAX),
            sha256: Digest::from(<[u8; 32]>::from(Sha256::digest(compressed))),
        });
        Ok(())
    }
}

/// Appends the next `length` bytes of `input` to `bytes`.
fn append(
    input: &mut impl Read,
    bytes: &mut Vec<u8>,
    length: usize,
    what: &'static str,
) -> Result<(), SplitError> {
    let start = bytes.len();
    bytes.resize(start.saturating_add(length), 0);
    match input.read_exact(&mut bytes[start..]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => EndsSnafu { what }.fail(),
        read => read.context(ReadSnafu),
    }
}

/// Appends the next byte of `input` to `bytes`; false at the end.
fn append_any(input: &mut impl Read, bytes: &mut Vec<u8>) -> Result<bool, SplitError> {
    let read = input.take(1).read_to_end(bytes).context(ReadSnafu)?;
    Ok(read > 0)
}

#[cfg(test)]
mod tests;
