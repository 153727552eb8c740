//! What is promised of any bytes that should be zstd frames and nothing else.
//!
//! * The reader never panics, and what it says does not depend on the pieces in which the bytes come.
//! * What it accepts the library of zstd's authors decodes to the same content.
//! * What that library made is read back.
//!
//! The input is a byte of flags, then the frames; with [`PACK`] the rest is content, of which the library
//! makes two frames.

use std::io::Read;

use update_metadata::block_map::Codec;
use updog::image::codec::WholeReader;

use crate::lz4::Pieces;

/// The rest is content.
pub const PACK: u8 = 0x01;
/// More is not decoded: a small frame may stand for a great deal of the same.
const MOST: u64 = 4 << 20;

/// Checks every promise.
pub fn run(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else {
        return;
    };
    let piece = usize::from(flags >> 1).max(1);
    if flags & PACK == 0 {
        return check(rest, piece);
    }
    let (one, other) = rest.split_at(rest.len() / 2);
    let packed = [pack(one), pack(other)].concat();
    assert_eq!(read(&packed, piece).as_deref(), Ok(rest));
    check(&packed, piece);
}

fn check(bytes: &[u8], piece: usize) {
    let ours = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, piece), ours, "in pieces of {piece}");
    if let Ok(content) = ours
        && u64::try_from(content.len()).is_ok_and(|length| length < MOST)
    {
        let theirs = zstd::stream::decode_all(bytes).expect("what we accept");
        assert!(theirs == content);
    }
}

fn read(bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    WholeReader::new(Codec::Zstd, Pieces { bytes, piece })
        .take(MOST)
        .read_to_end(&mut content)
        .map(|_| content)
        .map_err(|error| error.to_string())
}

fn pack(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 3).expect("into memory")
}

/// Frames and content to be packed.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let content = b"every block the same, every block the same, every block the same, and an end";
    let frame = pack(content);
    let with = |flags: u8, bytes: &[u8]| [&[flags], bytes].concat();
    [
        ("nothing", with(0, b"")),
        ("frame", with(0x14, &frame)),
        (
            "twice",
            with(0x14, &[frame.clone(), frame.clone()].concat()),
        ),
        ("empty", with(0x14, &pack(b""))),
        ("cut", with(0x14, &frame[..frame.len() - 3])),
        ("trailing", with(0x14, &[&frame[..], b"x"].concat())),
        (
            "skippable",
            with(
                0x14,
                &[&0x184d_2a50_u32.to_le_bytes()[..], &[0; 4], &frame].concat(),
            ),
        ),
        ("zeros", with(0x14, &pack(&[0; 100_000]))),
        ("pack", with(PACK | 0x14, content)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}
