//! Pure: an LZ4 frame, decoded so that nothing less and nothing more than one whole frame is
//! accepted. Targets of a repository are packed this way, images and migrations alike.
//!
//! The decoder of the library treats an input that stops at a block boundary as the end of its
//! frame, so too a block without content, and starts on a next frame when asked to read on. For a
//! target all of these are damage: here the end mark must have been read, and the input must end with
//! it. Bytes of a whole stream are judged only at its end, so until then they meet this memory-safe
//! decoder and no other.

use std::io::{self, ErrorKind, Read};

use lz4_flex::frame::{Error as FrameError, FrameDecoder};

/// Reads the content of the one LZ4 frame that `R` must be.
///
/// A read returns 0 only after the frame's end mark, its content checksum where it has one, and
/// the end of the input; the input has then been drained.
#[derive(Debug)]
pub struct Lz4Reader<R: Read> {
    decoder: FrameDecoder<Watched<R>>,
    finished: bool,
}

impl<R: Read> Lz4Reader<R> {
    /// Decodes `input` from its start. Memory is bounded by the format: less than 9 MiB of output
    /// and 8 MiB of input.
    pub fn new(input: R) -> Self {
        Self {
            decoder: FrameDecoder::new(Watched {
                input,
                ended: false,
                place: Place::Header(Vec::new()),
            }),
            finished: false,
        }
    }

    /// What is read from.
    pub fn input(&self) -> &R {
        &self.decoder.get_ref().input
    }
}

impl<R: Read> Read for Lz4Reader<R> {
    /// # Errors
    /// `InvalidData` for anything that is not exactly one frame, `UnexpectedEof` when the input
    /// ends inside it, and every error of the input.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.finished {
            return Ok(0);
        }
        loop {
            let length = self.decoder.read(buf).map_err(in_words)?;
            if length > 0 {
                return Ok(length);
            }
            let input = self.decoder.get_ref();
            match input.place {
                Place::End => break,
                // The decoder would start on another frame.
                Place::Endless => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        "the compressed file is an LZ4 frame of the old form, without an end mark",
                    ));
                }
                _ if input.ended => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the compressed file ends before its LZ4 frame does",
                    ));
                }
                // A block without content. The next one takes more from the input.
                _ => {}
            }
        }
        let input = &mut self.decoder.get_mut().input;
        let mut byte = [0];
        loop {
            match input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        "the compressed file goes on after its LZ4 frame",
                    ));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.finished = true;
        Ok(0)
    }
}

/// What the decoder found wrong, as a sentence; errors of the input stay as they are.
fn in_words(error: io::Error) -> io::Error {
    let found = error.get_ref().and_then(|error| error.downcast_ref());
    let what = match found {
        None | Some(FrameError::IoError(_)) => return error,
        Some(FrameError::ContentLengthError { expected, actual }) => {
            format!("its LZ4 frame announces {expected} bytes and holds {actual}")
        }
        Some(other) => format!("it is no sound LZ4 frame ({other:?})"),
    };
    io::Error::new(
        error.kind(),
        format!("the compressed file is damaged: {what}"),
    )
}

/// Passes reads through, and remembers whether one met the end of the input and where in the frame
/// it is.
#[derive(Debug)]
struct Watched<R> {
    input: R,
    ended: bool,
    place: Place,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buf)?;
        self.ended |= length == 0 && !buf.is_empty();
        self.place.advance(buf.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// A place in a frame. What the decoder checks (magic number, header, sizes, checksums) is not
/// looked at here.
#[derive(Debug)]
enum Place {
    /// In the header, of which this was read.
    Header(Vec<u8>),
    /// In the size of a block.
    Size { read: Vec<u8>, flags: u8 },
    /// So many bytes before the end of a block, with its checksum.
    Block { left: usize, flags: u8 },
    /// So many bytes before the end of the frame.
    Tail(usize),
    /// After the frame.
    End,
    /// In a frame of the old form, which has no end mark.
    Endless,
}

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY_ID: u8 = 0x01;
const CHECKSUM_BYTES: usize = 4;
const UNCOMPRESSED: u32 = 1 << 31;

impl Place {
    /// Moves on over `bytes`.
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self {
                Self::Header(read) => {
                    take(&mut bytes, read, header_length(read));
                    if read.len() == header_length(read) {
                        *self = read
                            .get(4)
                            .map_or(Self::Endless, |flags| Self::size(*flags));
                    }
                }
                Self::Size { read, flags } => {
                    take(&mut bytes, read, 4);
                    let flags = *flags;
                    if let Ok(size) = <[u8; 4]>::try_from(read.as_slice()) {
                        *self = Self::after_size(u32::from_le_bytes(size), flags);
                    }
                }
                Self::Block { left, .. } | Self::Tail(left) => {
                    let passed = bytes.len().min(*left);
                    *left -= passed;
                    bytes = bytes.get(passed..).unwrap_or_default();
                }
                Self::End | Self::Endless => return,
            }
            match self {
                Self::Block { left: 0, flags } => *self = Self::size(*flags),
                Self::Tail(0) => *self = Self::End,
                _ => {}
            }
        }
    }

    fn size(flags: u8) -> Self {
        Self::Size {
            read: Vec::new(),
            flags,
        }
    }

    fn after_size(size: u32, flags: u8) -> Self {
        let checksum = |flag| if flags & flag == 0 { 0 } else { CHECKSUM_BYTES };
        if size == 0 {
            return Self::Tail(checksum(CONTENT_CHECKSUM));
        }
        let length = usize::try_from(size & !UNCOMPRESSED).unwrap_or(usize::MAX);
        Self::Block {
            left: length.saturating_add(checksum(BLOCK_CHECKSUMS)),
            flags,
        }
    }
}

/// Bytes of the header that starts with these; of what is known so far, if that is not enough.
fn header_length(read: &[u8]) -> usize {
    match read.split_first_chunk() {
        Some((&MAGIC, [])) => MAGIC.len() + 1,
        Some((&MAGIC, [flags, ..])) => {
            let field = |flag, bytes| if flags & flag == 0 { 0 } else { bytes };
            7 + field(CONTENT_SIZE, 8) + field(DICTIONARY_ID, 4)
        }
        _ => MAGIC.len(),
    }
}

/// Moves bytes over until `read` has `length`.
fn take(bytes: &mut &[u8], read: &mut Vec<u8>, length: usize) {
    let missing = length.saturating_sub(read.len()).min(bytes.len());
    let (head, tail) = bytes.split_at(missing);
    read.extend_from_slice(head);
    *bytes = tail;
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;

    fn frame(content: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn content() -> Vec<u8> {
        (0..200_000_u32)
            .map(|i| u8::try_from((i % 9973) * (i % 9973) % 253).unwrap())
            .collect()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Lz4Reader::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn frames_of_every_kind_are_read_whole() {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(BlockSize::Max64KB)
                    .block_checksums(checksums)
                    .content_checksum(checksums);
                assert_eq!(decode(&frame(&content(), info)).unwrap(), content());
            }
        }
        assert_eq!(decode(&frame(b"", FrameInfo::new())).unwrap(), b"");
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = frame(
            &content()[..70_000],
            FrameInfo::new().block_size(BlockSize::Max64KB),
        );
        for length in (0..64).chain(whole.len() - 64..whole.len()) {
            assert!(decode(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_cut_at_a_block_boundary_is_refused() {
        // Header, one block, and the end mark's place left empty: what the library takes for an end.
        let whole = frame(b"abc", FrameInfo::new());
        let error = decode(&whole[..whole.len() - 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_block_without_content_is_no_end() {
        let whole = frame(b"abc", FrameInfo::new());
        let (start, end) = whole.split_at(whole.len() - 4);
        for block in [
            // Compressed to one token, for nothing.
            &[1, 0, 0, 0, 0][..],
            // Not compressed, and empty.
            &[0, 0, 0, 0x80],
        ] {
            let cut = [start, block].concat();
            let error = decode(&cut).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{block:?}");
            assert_eq!(decode(&[&cut, end].concat()).unwrap(), b"abc");
            let more = [&cut, block, &start[7..], end].concat();
            assert_eq!(decode(&more).unwrap(), b"abcabc");
        }
    }

    #[test]
    fn a_frame_of_the_old_form_is_refused_also_with_an_end_mark() {
        let old = [0x02, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x10, b'a', 0, 0, 0, 0];
        for length in 0..=old.len() {
            assert!(decode(&old[..length]).is_err(), "{length}");
        }
        let after = frame(b"abc", FrameInfo::new().block_size(BlockSize::Max64KB));
        let error = decode(&[&old[..], &after].concat()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn bytes_after_the_frame_are_refused() {
        let mut twice = frame(b"abc", FrameInfo::new());
        let once = twice.clone();
        twice.extend_from_slice(&once);
        assert_eq!(decode(&twice).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut trailing = once;
        trailing.push(0);
        assert_eq!(
            decode(&trailing).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            at in 0_usize..200,
            value: u8,
        ) {
            let _ = decode(&bytes);
            let mut bent = frame(&content()[..150], FrameInfo::new().content_checksum(true));
            let at = at % bent.len();
            bent[at] = value;
            let _ = decode(&bent);
        }
    }
}
