//! Compresses what a release places, in bounded memory.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use update_metadata::block_map::Codec;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

/// Bytes of an image that a host fetches and decodes as one. Smaller frames fetch hardly less, since
/// what changed lies together, and make the image larger; larger ones fetch more of what a host has.
/// Of 256 MiB of programs and documents `lz4 -9` makes 112.5 MB in blocks of 64 KiB, 107.1 in blocks
/// of 256 KiB and 105.4 in blocks of 4 MiB.
const FRAME_BYTES: usize = 64 << 10;
/// Takes 0.035 s of one core for a MiB of programs; 12, the highest, saves 0.3% in many times as long.
/// Hosts decode all levels equally fast.
const LZ4_LEVEL: u32 = 9;
/// In frames of 64 KiB, of one core's time for a MiB of programs: level 9 takes 0.035 s, 12 0.11 s for
/// 0.1% less, 15 0.25 s for 4.8% less, 19 0.65 s for 5.7% less.
const ZSTD_LEVEL: i32 = 15;

/// In which form bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// One LZ4 frame of large blocks, for what is read from its start to its end.
    Whole,
    /// Many frames that decode alone, for what hosts fetch in parts.
    Frames(Codec),
}

/// Compresses what is written to it.
pub(super) enum Packer<W: Write> {
    Whole(FrameEncoder<W>),
    Lz4(lz4::Encoder<W>),
    Zstd(ZstdFrames<W>),
}

impl<W: Write> Packer<W> {
    /// For `length` bytes.
    pub(super) fn new(packing: Packing, length: u64, output: W) -> io::Result<Self> {
        Ok(match packing {
            Packing::Whole => {
                // A client holds one block in memory; larger ones compress hardly better by LZ4, whose
                // window is 64 KiB. The two checks cost it nothing.
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max256KB)
                    .block_mode(BlockMode::Independent)
                    .content_size(Some(length))
                    .content_checksum(true);
                Self::Whole(FrameEncoder::with_frame_info(info, output))
            }
            Packing::Frames(Codec::Lz4) => {
                let encoder = lz4::EncoderBuilder::new()
                    .level(LZ4_LEVEL)
                    .block_size(lz4::BlockSize::Max64KB)
                    .block_mode(lz4::BlockMode::Independent)
                    // Each block's SHA-256 stands in the map.
                    .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
                    .checksum(lz4::ContentChecksum::ChecksumEnabled)
                    .content_size(length)
                    .build(output);
                Self::Lz4(encoder?)
            }
            Packing::Frames(Codec::Zstd) => Self::Zstd(ZstdFrames::new(output)?),
        })
    }

    /// Writes what is left, and the end of the form.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Whole(encoder) => encoder.finish().map_err(io::Error::from),
            Self::Lz4(encoder) => {
                let (output, ended) = encoder.finish();
                ended.map(|()| output)
            }
            Self::Zstd(frames) => frames.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole(encoder) => encoder.write(bytes),
            Self::Lz4(encoder) => encoder.write(bytes),
            Self::Zstd(frames) => frames.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A form is ended by `finish`; a frame that ended before would be a short one.
        Ok(())
    }
}

/// One zstd frame for every [`FRAME_BYTES`].
pub(super) struct ZstdFrames<W> {
    compressor: Compressor<'static>,
    /// What is not compressed yet.
    pending: Vec<u8>,
    packed: Vec<u8>,
    output: W,
}

impl<W: Write> ZstdFrames<W> {
    fn new(output: W) -> io::Result<Self> {
        let mut compressor = Compressor::new(ZSTD_LEVEL)?;
        // For `zstd -t`, as an LZ4 frame has one.
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            compressor,
            pending: Vec::with_capacity(FRAME_BYTES),
            packed: Vec::with_capacity(compress_bound(FRAME_BYTES)),
            output,
        })
    }

    fn write_frame(&mut self) -> io::Result<()> {
        self.packed.clear();
        self.compressor
            .compress_to_buffer(&self.pending, &mut self.packed)?;
        self.pending.clear();
        self.output.write_all(&self.packed)
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.pending.is_empty() {
            self.write_frame()?;
        }
        Ok(self.output)
    }
}

impl<W: Write> Write for ZstdFrames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = FRAME_BYTES.saturating_sub(self.pending.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.pending.extend_from_slice(taken);
        if self.pending.len() == FRAME_BYTES {
            self.write_frame()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::image::codec::Lz4Reader;
    use crate::publish::block_map::{BLOCK_BYTES, split};

    fn content() -> Vec<u8> {
        (0..2_500_000_u32)
            .map(|i| u8::try_from(i / 3 * (i % 7) % 253).unwrap())
            .collect()
    }

    /// Packs `content` in pieces of `piece` bytes.
    fn packed(packing: Packing, content: &[u8], piece: usize) -> Vec<u8> {
        let length = u64::try_from(content.len()).unwrap();
        let mut packer = Packer::new(packing, length, Vec::new()).unwrap();
        for piece in content.chunks(piece) {
            packer.write_all(piece).unwrap();
            packer.flush().unwrap();
        }
        packer.finish().unwrap()
    }

    #[test]
    fn lz4_is_one_frame_of_the_content_with_its_length_and_checksum() {
        for (packing, block_size) in [
            (Packing::Whole, 0b0101_0000),
            (Packing::Frames(Codec::Lz4), 0b0100_0000),
        ] {
            let frame = packed(packing, &content(), 1 << 20);
            // Flags: version 1, independent blocks, content size, content checksum.
            assert_eq!(frame[4..6], [0b0110_1100, block_size]);
            assert_eq!(frame[6..14], 2_500_000_u64.to_le_bytes());
            let mut decoded = Vec::new();
            Lz4Reader::new(&frame[..])
                .read_to_end(&mut decoded)
                .unwrap();
            assert!(decoded == content());
        }
    }

    #[test]
    fn zstd_is_a_row_of_frames_of_the_content() {
        let frames = packed(Packing::Frames(Codec::Zstd), &content(), 1 << 20);
        assert!(zstd::decode_all(&frames[..]).unwrap() == content());
    }

    #[test]
    fn frames_are_of_one_size_however_the_content_arrives() {
        for codec in [Codec::Lz4, Codec::Zstd] {
            let whole = packed(Packing::Frames(codec), &content(), 1 << 20);
            for piece in [1000, FRAME_BYTES - 1, FRAME_BYTES, content().len()] {
                let file = packed(Packing::Frames(codec), &content(), piece);
                assert!(file == whole, "{piece}");
            }
            let mut lengths = Vec::new();
            let sink = &mut |piece: &[u8]| lengths.push(piece.len());
            split(&whole[..], codec, BLOCK_BYTES, sink).unwrap();
            assert_eq!(lengths.len(), 39);
            assert_eq!(lengths[..38], [FRAME_BYTES; 38]);
            assert_eq!(lengths[38], 2_500_000 - 38 * FRAME_BYTES);
        }
    }
}
