//! What is promised of any bytes that should be one LZ4 frame.
//!
//! * The reader never panics, and never hands out more than the blocks of the frame may hold, nor
//!   more than the frame announces.
//! * What it says does not depend on the pieces in which the bytes come or are taken.
//! * What it accepts is exactly what is one whole frame, by a walk over the frame's structure that
//!   decodes nothing, and what the library's own reader decodes, to the same content.
//! * What an encoder made is read back.
//!
//! The input is two bytes of flags, then the frame. With [`FIX`] the checksums of header and blocks
//! are made right; with [`PACK`] the rest is the content, and an encoder makes the frame.

use std::io::{Read, Write as _};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;
use updog::image::codec::Lz4Reader;

/// In the first byte: checksums of header and blocks are made right.
pub const FIX: u8 = 0x01;
/// In the first byte: the rest is content for an encoder, whose settings are the second byte.
pub const PACK: u8 = 0x02;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// Checks every promise.
pub fn run(data: &[u8]) {
    let Some((&[flags, settings], rest)) = data.split_first_chunk() else {
        return;
    };
    let piece = usize::from(flags >> 2).max(1);
    if flags & PACK != 0 {
        let packed = pack(rest, settings);
        assert_eq!(read(&packed, piece).as_deref(), Ok(rest), "packed");
        check(&packed, piece);
        return;
    }
    let mut bytes = rest.to_vec();
    if flags & FIX != 0 {
        fix(&mut bytes);
    }
    check(&bytes, piece);
}

fn check(bytes: &[u8], piece: usize) {
    let ours = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, piece), ours, "in pieces of {piece}");
    let shape = Shape::of(bytes).filter(|shape| shape.length == bytes.len());
    let expected = shape.as_ref().and_then(|_| theirs(bytes));
    assert_eq!(ours.as_ref().ok(), expected.as_ref());
    if let (Some(shape), Some(content)) = (shape, expected) {
        let length = u64::try_from(content.len()).expect("fits");
        assert!(length <= shape.most, "more than the blocks hold");
        assert!(shape.announced.is_none_or(|announced| announced == length));
    }
}

/// The content, or what is wrong with the frame.
fn read(bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut reader = Lz4Reader::new(Pieces { bytes, piece });
    let mut content = Vec::new();
    let mut buffer = vec![0; (piece * 37).min(64 << 10)];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => content.extend_from_slice(&buffer[..length]),
            Err(error) => return Err(error.to_string()),
        }
    }
    assert_eq!(
        reader.read(&mut buffer).ok(),
        Some(0),
        "goes on after its end"
    );
    assert!(reader.input().bytes.is_empty(), "the input is not drained");
    Ok(content)
}

/// What the library's reader finds in all of the bytes; nothing when it fails. It stops at a block
/// without content.
fn theirs(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = FrameDecoder::new(bytes);
    let mut content = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = decoder.read(&mut buffer).ok()?;
        content.extend_from_slice(&buffer[..length]);
        if length == 0 && decoder.get_ref().is_empty() {
            return Some(content);
        }
    }
}

/// Gives out so many bytes at a time.
pub(crate) struct Pieces<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let length = self.piece.min(buf.len());
        (&mut self.bytes).take(length as u64).read(buf)
    }
}

/// A frame's structure, as its format says it.
struct Shape {
    /// Bytes from the magic number to the end mark, or the checksum after it.
    length: usize,
    /// The content is not longer.
    most: u64,
    /// The content is exactly so long.
    announced: Option<u64>,
}

/// What stands before the blocks.
struct Header {
    length: usize,
    block_checksums: bool,
    content_checksum: bool,
    largest_block: u64,
    announced: Option<u64>,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let &[flags, block, ..] = rest else {
            return None;
        };
        let has_size = flags & 0x08 != 0;
        // A dictionary is not supported; version 1; reserved bits are zero.
        if flags & 0xc3 != 0x40 || block & 0x8f != 0 || block < 0x40 {
            return None;
        }
        let length = if has_size { 15 } else { 7 };
        let sum = *bytes.get(length - 1)?;
        let expected = XxHash32::oneshot(0, &bytes[4..length - 1]).to_le_bytes()[1];
        let announced = has_size.then(|| u64::from_le_bytes(bytes[6..14].try_into().expect("8")));
        (sum == expected).then_some(Self {
            length,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 0x04 != 0,
            largest_block: 1 << (8 + 2 * u64::from(block >> 4)),
            announced,
        })
    }
}

impl Shape {
    fn of(bytes: &[u8]) -> Option<Self> {
        let header = Header::of(bytes)?;
        let mut at = header.length;
        let mut most = 0;
        loop {
            let word = word_at(bytes, at)?;
            at += 4;
            if word == 0 {
                break;
            }
            let size = usize::try_from(word & 0x7fff_ffff).expect("31 bits");
            at = at.checked_add(size)?;
            at += if header.block_checksums { 4 } else { 0 };
            most += header.largest_block;
        }
        at += if header.content_checksum { 4 } else { 0 };
        (at <= bytes.len()).then_some(Self {
            length: at,
            most,
            announced: header.announced,
        })
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().expect("4 bytes")))
}

/// Makes the checksums of the header and of each block right, as far as they are there.
fn fix(bytes: &mut [u8]) {
    let has_size = bytes.get(4).is_some_and(|flags| flags & 0x08 != 0);
    let length = if has_size { 15 } else { 7 };
    if bytes.len() < length {
        return;
    }
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[length - 1] = XxHash32::oneshot(0, &bytes[4..length - 1]).to_le_bytes()[1];
    let Some(header) = Header::of(bytes).filter(|header| header.block_checksums) else {
        return;
    };
    let mut at = header.length;
    while let Some(word) = word_at(bytes, at).filter(|word| *word != 0) {
        let start = at + 4;
        let end = start + usize::try_from(word & 0x7fff_ffff).expect("31 bits");
        let Some(block) = bytes.get(start..end) else {
            return;
        };
        let sum = XxHash32::oneshot(0, block).to_le_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else {
            return;
        };
        place.copy_from_slice(&sum);
        at = end + 4;
    }
}

/// The frame of `content` with the encoder's settings from a byte.
pub fn pack(content: &[u8], settings: u8) -> Vec<u8> {
    let sizes = [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ];
    let mode = if settings & 0x04 == 0 {
        BlockMode::Independent
    } else {
        BlockMode::Linked
    };
    let length = u64::try_from(content.len()).expect("fits");
    let info = FrameInfo::new()
        .block_size(sizes[usize::from(settings & 0x03)])
        .block_mode(mode)
        .block_checksums(settings & 0x08 != 0)
        .content_checksum(settings & 0x10 != 0)
        .content_size((settings & 0x20 != 0).then_some(length));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    // Each flush ends a block.
    for part in content.chunks(if settings & 0x40 == 0 {
        usize::MAX
    } else {
        100
    }) {
        encoder.write_all(part).expect("into memory");
        encoder.flush().expect("into memory");
    }
    encoder.finish().expect("into memory")
}
