//! One frame of a compressed image, decoded alone.
//!
//! A frame gets here when its SHA-256 is the signed one, so that only a publisher can make these
//! decoders meet anything strange; they are bounded by the memory that they are given all the same.

use snafu::{Snafu, ensure};
use update_metadata::block_map::Codec;

/// The bit of a block's size word that says that the block is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;
const WORD_BYTES: usize = 4;

/// Why a frame does not decode.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum FrameError {
    /// Its own words do not fit its length.
    #[snafu(display("a frame of {length} bytes says that it has {said}"))]
    Length { length: usize, said: usize },
    /// It decodes to another number of bytes.
    #[snafu(display("it decodes to {found} bytes instead of {expected}"))]
    Decoded { found: usize, expected: usize },
    /// Its content is damaged.
    #[snafu(display("it does not decode: {reason}"))]
    Damaged { reason: String },
}

/// Decodes `frame` into `out`, which it must fill.
///
/// # Errors
/// Every [`FrameError`]. `out` then holds anything.
pub fn decode(codec: Codec, frame: &[u8], out: &mut [u8]) -> Result<(), FrameError> {
    let found = match codec {
        Codec::Lz4 => lz4_block(frame, out)?,
        Codec::Zstd => zstd_frame(frame, out)?,
    };
    let expected = out.len();
    ensure!(found == expected, DecodedSnafu { found, expected });
    Ok(())
}

/// A block of an LZ4 frame: the word with its size, its data, its checksum if it has one. What the
/// checksum would say the frame's SHA-256 has said already.
fn lz4_block(frame: &[u8], out: &mut [u8]) -> Result<usize, FrameError> {
    let length = frame.len();
    let Some((word, rest)) = frame.split_first_chunk() else {
        return LengthSnafu {
            length,
            said: WORD_BYTES,
        }
        .fail();
    };
    let word = u32::from_le_bytes(*word);
    let size = usize::try_from(word & !UNCOMPRESSED).unwrap_or(usize::MAX);
    let checksum = rest.len().checked_sub(size);
    let (Some(0 | WORD_BYTES), Some(data)) = (checksum, rest.get(..size)) else {
        let said = size.saturating_add(WORD_BYTES);
        return LengthSnafu { length, said }.fail();
    };
    if word & UNCOMPRESSED == 0 {
        return lz4::block::decompress_to_buffer(data, i32::try_from(out.len()).ok(), out)
            .map_err(damaged);
    }
    if let Some(out) = out.get_mut(..size) {
        out.copy_from_slice(data);
    }
    Ok(size)
}

fn zstd_frame(frame: &[u8], out: &mut [u8]) -> Result<usize, FrameError> {
    zstd::bulk::decompress_to_buffer(frame, out).map_err(damaged)
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` hands over
fn damaged(error: std::io::Error) -> FrameError {
    FrameError::Damaged {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content() -> Vec<u8> {
        (0..65_536_u32)
            .map(|i| u8::try_from(i / 7 % 251).unwrap())
            .collect()
    }

    fn lz4_frame(content: &[u8], checksum: &[u8]) -> Vec<u8> {
        let data = lz4::block::compress(content, None, false).unwrap();
        let word = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&word[..], &data, checksum].concat()
    }

    #[test]
    fn a_frame_fills_what_it_is_decoded_into() {
        let content = content();
        let stored = [&0x8001_0000_u32.to_le_bytes()[..], &content].concat();
        let zstd = zstd::bulk::compress(&content, 3).unwrap();
        for (codec, frame) in [
            (Codec::Lz4, lz4_frame(&content, &[])),
            (Codec::Lz4, lz4_frame(&content, &[1, 2, 3, 4])),
            (Codec::Lz4, stored),
            (Codec::Zstd, zstd),
        ] {
            let mut out = vec![0; content.len()];
            decode(codec, &frame, &mut out).unwrap();
            assert!(out == content);
            for length in [content.len() - 1, content.len() + 1] {
                decode(codec, &frame, &mut vec![0; length]).unwrap_err();
            }
            for length in [0, 3, 4, frame.len() - 5, frame.len() - 1] {
                decode(codec, &frame[..length], &mut out).unwrap_err();
            }
            let longer = [&frame[..], &[0]].concat();
            decode(codec, &longer, &mut out).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn no_frame_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 0_u32..300) {
            let mut out = vec![0; 4096];
            let _ = decode(Codec::Lz4, &bytes, &mut out);
            let _ = decode(Codec::Zstd, &bytes, &mut out);
            let sized = [&size.to_le_bytes()[..], &bytes].concat();
            let _ = decode(Codec::Lz4, &sized, &mut out);
        }
    }
}
