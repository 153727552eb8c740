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

use std::io::{self, BufReader, ErrorKind, Read};

use snafu::{IntoError as _, ResultExt as _};

use super::{
    BlockHashes, BlockMap, Codec, Frame, HashImage, LongSnafu, MAX_BLOCK_MAP_BYTES, NoMagicSnafu,
    Parts, ReadMapError, ReadSnafu, SUPERBLOCK_BYTES, ShortSnafu, SizeSnafu, TooLongSnafu,
    UnknownSnafu,
};
use crate::{Digest, RawImage};

const MAGIC: [u8; 8] = *b"blockmap";
const VERSION: u32 = 1;
const LZ4: u32 = 1;
const ZSTD: u32 = 2;
const WHOLE: u32 = 1;
const LEAVES: u32 = 2;
/// Bytes of a map that are taken at once.
const CHUNK_BYTES: usize = 64 << 10;
/// For how many items there is room at first.
const FIRST_ITEMS: usize = 1024;

impl BlockMap {
    /// Reads a map from an `input` that is nothing else, to its end: only there a target is known to be
    /// what was signed, and that it is not says more than what it holds. Memory is in proportion to what
    /// comes, whatever it announces; of what goes on behind [`MAX_BLOCK_MAP_BYTES`] one byte is read.
    ///
    /// # Errors
    /// Every [`ReadMapError`].
    pub fn read(input: impl Read) -> Result<Self, ReadMapError> {
        let input = input.take(MAX_BLOCK_MAP_BYTES + 1);
        let mut input = BufReader::with_capacity(CHUNK_BYTES, input);
        let map = Self::parse(&mut input);
        if let Err(ReadMapError::Map { .. }) = map {
            io::copy(&mut input, &mut io::sink()).context(ReadSnafu)?;
        }
        if input.get_ref().limit() == 0 {
            return TooLongSnafu.fail();
        }
        map
    }

    fn parse(input: &mut impl Read) -> Result<Self, ReadMapError> {
        let mut rest = Rest(input);
        if rest.array("first bytes")? != MAGIC {
            return Err(NoMagicSnafu.build().into());
        }
        let version = rest.number("version")?;
        if version != VERSION {
            return Err(unknown("version", version));
        }
        let codec = match rest.number("codec")? {
            LZ4 => Codec::Lz4,
            ZSTD => Codec::Zstd,
            other => return Err(unknown("codec", other)),
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
            other => return Err(unknown("kind of hashes", other)),
        };
        let frames = many(u64::from(frame_count), || rest.frame())?;
        if block_length == 0 {
            let no_block = SizeSnafu {
                what: "block",
                found: 0_u64,
                allowed: "a power of two from 512 to 65536",
            };
            return Err(no_block.build().into());
        }
        let blocks = raw.length.div_ceil(u64::from(block_length));
        let hashes = match hash_image {
            None => BlockHashes::Whole(many(blocks, || rest.digest("block hashes"))?),
            Some(hash_image) => BlockHashes::Leaves {
                prefixes: many(blocks, || rest.array("leaves"))?,
                hash_image,
            },
        };
        rest.end()?;
        let map = Self::new(Parts {
            codec,
            compressed,
            raw,
            block_length,
            frame_length,
            header_length,
            frames,
            hashes,
        })?;
        Ok(map)
    }

    /// The written form; [`read`](Self::read) reads it back to an equal map, if it has less
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

fn unknown(what: &'static str, value: u32) -> ReadMapError {
    UnknownSnafu { what, value }.build().into()
}

/// `count` items, which take no more memory than they need: the list grows with what comes, and never
/// past `count`.
fn many<T>(
    count: u64,
    mut item: impl FnMut() -> Result<T, ReadMapError>,
) -> Result<Vec<T>, ReadMapError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    while items.len() < count {
        if items.len() == items.capacity() {
            let left = count - items.len();
            items.reserve_exact(items.len().max(FIRST_ITEMS).min(left));
        }
        items.push(item()?);
    }
    Ok(items)
}

fn put_image(out: &mut Vec<u8>, image: &RawImage) {
    out.extend_from_slice(&image.length.to_le_bytes());
    out.extend_from_slice(image.sha256.as_bytes());
}

/// What has not been read.
struct Rest<'a, R>(&'a mut R);

impl<R: Read> Rest<'_, R> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ReadMapError> {
        let mut array = [0; N];
        match self.0.read_exact(&mut array) {
            Ok(()) => Ok(array),
            // An input that knows better says why it ended.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && error.get_ref().is_none() => {
                Err(ShortSnafu { what }.build().into())
            }
            Err(error) => Err(ReadSnafu.into_error(error)),
        }
    }

    fn number(&mut self, what: &'static str) -> Result<u32, ReadMapError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn digest(&mut self, what: &'static str) -> Result<Digest, ReadMapError> {
        self.array::<32>(what).map(Digest::from)
    }

    fn image(&mut self, what: &'static str) -> Result<RawImage, ReadMapError> {
        Ok(RawImage {
            length: self.array(what).map(u64::from_le_bytes)?,
            sha256: self.digest(what)?,
        })
    }

    fn frame(&mut self) -> Result<Frame, ReadMapError> {
        Ok(Frame {
            length: self.number("frames")?,
            sha256: self.digest("frames")?,
        })
    }

    /// An error unless the input ends here.
    fn end(&mut self) -> Result<(), ReadMapError> {
        let mut bytes = 0_usize;
        let mut chunk = [0; SUPERBLOCK_BYTES];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => bytes = bytes.saturating_add(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadSnafu.into_error(error)),
            }
        }
        if bytes > 0 {
            return Err(LongSnafu { bytes }.build().into());
        }
        Ok(())
    }
}
