//! One LZ4 frame of independent blocks, each of which is a frame of a map: the word that gives its
//! size, its bytes, and the checksum behind it if the header announces one.

use std::io::{self, Read};

use lz4_flex::block::decompress_into;
use snafu::{ResultExt, ensure};

use super::{
    DecodeSnafu, DictionarySnafu, FrameList, LinkedSnafu, NoFrameSnafu, SplitError, TooLargeSnafu,
    TrailingSnafu, UnknownSnafu, append, append_any,
};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED: u8 = 0x02;
const DICTIONARY_ID: u8 = 0x01;
const CHECKSUM_BYTES: usize = 4;
/// Set in the size of a block that is stored as it is.
const UNCOMPRESSED: u32 = 1 << 31;

/// Hands each block to `frames`; the length of the header before them.
pub(super) fn each_frame(
    input: &mut impl Read,
    frames: &mut FrameList<'_>,
) -> Result<u32, SplitError> {
    let mut header = Vec::new();
    append(input, &mut header, 7, "LZ4 header")?;
    let expected = "LZ4 frame";
    ensure!(
        header.starts_with(&MAGIC),
        NoFrameSnafu {
            expected,
            at: 0_u64
        }
    );
    let (flags, sizes) = (header[4], header[5]);
    let is_known = flags & VERSION_MASK == VERSION && flags & RESERVED == 0;
    let what = "LZ4 header's first byte of flags";
    ensure!(is_known, UnknownSnafu { what, value: flags });
    ensure!(flags & INDEPENDENT != 0, LinkedSnafu);
    ensure!(flags & DICTIONARY_ID == 0, DictionarySnafu);
    let most = match sizes {
        0x40 => 64 << 10_u32,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        value => {
            let what = "LZ4 header's byte of sizes";
            return UnknownSnafu { what, value }.fail();
        }
    };
    if flags & CONTENT_SIZE != 0 {
        append(input, &mut header, 8, "LZ4 header")?;
    }
    let checksum = |flag| {
        if flags & flag == 0 { 0 } else { CHECKSUM_BYTES }
    };

    let mut packed = Vec::new();
    let mut raw = vec![0; usize::try_from(most).unwrap_or(usize::MAX)];
    loop {
        packed.clear();
        append(input, &mut packed, 4, "LZ4 blocks")?;
        let size = u32::from_le_bytes([packed[0], packed[1], packed[2], packed[3]]);
        if size == 0 {
            break;
        }
        let (index, length) = (frames.index(), size & !UNCOMPRESSED);
        ensure!(length <= most, TooLargeSnafu { index, most });
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let checksum = checksum(BLOCK_CHECKSUMS);
        append(input, &mut packed, length + checksum, "LZ4 blocks")?;
        let block = &packed[4..4 + length];
        if size & UNCOMPRESSED == 0 {
            let decoded = decompress_into(block, &mut raw)
                .map_err(io::Error::other)
                .context(DecodeSnafu { index })?;
            frames.push(&packed, &raw[..decoded])?;
        } else {
            frames.push(&packed, block)?;
        }
    }
    let checksum = checksum(CONTENT_CHECKSUM);
    append(input, &mut packed, checksum, "content checksum")?;
    ensure!(!append_any(input, &mut packed)?, TrailingSnafu);
    Ok(u32::try_from(header.len()).unwrap_or(u32::MAX))
}
