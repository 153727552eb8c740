//! A row of zstd frames. Where each ends is read from the headers of its blocks, so that no more of the
//! file is held than one frame.

use std::io::Read;

use snafu::{ResultExt, ensure};
use update_metadata::block_map::MAX_FRAME_BYTES;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use super::{
    DecodeSnafu, DictionarySnafu, FrameList, NoFrameSnafu, SplitError, TooLargeSnafu, UnknownSnafu,
    append, append_any,
};

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
const SINGLE_SEGMENT: u8 = 0x20;
const RESERVED: u8 = 0x08;
const CHECKSUM: u8 = 0x04;
const DICTIONARY_ID: u8 = 0x03;
/// The kind of a block that is one byte, repeated.
const REPEATED: u32 = 1;

/// Hands each frame to `frames`; nothing stands before them.
pub(super) fn each_frame(
    input: &mut impl Read,
    frames: &mut FrameList<'_>,
) -> Result<u32, SplitError> {
    let most = usize::try_from(MAX_FRAME_BYTES).unwrap_or(usize::MAX);
    let mut decoder = Decompressor::new().context(DecodeSnafu { index: 0_usize })?;
    let (mut packed, mut raw) = (Vec::new(), Vec::with_capacity(most));
    let mut at = 0_u64;
    while append_any(input, &mut packed)? {
        let index = frames.index();
        complete(input, &mut packed, index, at)?;
        raw.clear();
        decoder
            .decompress_to_buffer(&packed, &mut raw)
            .context(DecodeSnafu { index })?;
        frames.push(&packed, &raw)?;
        at = at.saturating_add(u64::try_from(packed.len()).unwrap_or(u64::MAX));
        packed.clear();
    }
    Ok(0)
}

/// Reads the rest of the frame that begins `at` the byte in `packed`.
fn complete(
    input: &mut impl Read,
    packed: &mut Vec<u8>,
    index: usize,
    at: u64,
) -> Result<(), SplitError> {
    append(input, packed, MAGIC.len(), "zstd header")?;
    let expected = "zstd frame";
    ensure!(packed.starts_with(&MAGIC), NoFrameSnafu { expected, at });
    let flags = packed[MAGIC.len()];
    let what = "zstd header's byte of flags";
    ensure!(flags & RESERVED == 0, UnknownSnafu { what, value: flags });
    ensure!(flags & DICTIONARY_ID == 0, DictionarySnafu);
    let is_single = flags & SINGLE_SEGMENT != 0;
    let window = usize::from(!is_single);
    let content_size = match flags >> 6 {
        0 => usize::from(is_single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    append(input, packed, window + content_size, "zstd header")?;
    let announced = get_frame_content_size(packed).ok().flatten();
    let most = u64::from(MAX_FRAME_BYTES);
    let is_small = announced.is_none_or(|length| length <= most);
    ensure!(is_small, TooLargeSnafu { index, most });

    // What does not shrink is stored as it is, with some bytes around it.
    let longest = MAX_FRAME_BYTES + MAX_FRAME_BYTES / 128;
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    loop {
        let start = packed.len();
        append(input, packed, 3, "zstd blocks")?;
        let header = u32::from_le_bytes([packed[start], packed[start + 1], packed[start + 2], 0]);
        let (is_last, kind, size) = (header & 1 != 0, (header >> 1) & 3, header >> 3);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let stored = if kind == REPEATED { 1 } else { size };
        let fits = packed.len() + stored <= longest;
        ensure!(fits, TooLargeSnafu { index, most });
        append(input, packed, stored, "zstd blocks")?;
        if is_last {
            break;
        }
    }
    let checksum = if flags & CHECKSUM == 0 { 0 } else { 4 };
    append(input, packed, checksum, "zstd checksum")
}
