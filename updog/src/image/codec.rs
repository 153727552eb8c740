//! A compressed image, decoded from its start to its end.
//!
//! A stream is judged as a whole when its last byte has come. Until then its bytes may be anybody's, so
//! they meet decoders that are written in Rust and fuzzed, though slower than those of
//! [`frame`](super::frame), and bounded in memory.

use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use update_metadata::block_map::Codec;
pub use update_metadata::lz4::Lz4Reader;

/// The largest window of a zstd frame that is decoded, which is what the format asks of every decoder
/// (RFC 8878, 3.1.1.1.2).
const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// The end of the name of a file of zstd frames.
pub const ZSTD_EXTENSION: &str = "zst";

/// How the target `name` is compressed: with LZ4, unless its name ends in `.zst`.
pub fn codec_of(name: &str) -> Codec {
    match Path::new(name).extension() {
        Some(extension) if extension == ZSTD_EXTENSION => Codec::Zstd,
        _ => Codec::Lz4,
    }
}

/// Reads the content of a compressed file: of the one LZ4 frame, or of all the zstd frames, that `R`
/// must be.
#[allow(clippy::large_enum_variant)] // there is one of them, for as long as an image takes
pub enum WholeReader<R: Read> {
    /// LZ4.
    Lz4(Lz4Reader<R>),
    /// zstd.
    Zstd(ZstdReader<R>),
}

impl<R: Read> WholeReader<R> {
    /// Decodes `input` from its start. Memory is bounded by the formats: below 20 MiB.
    pub fn new(codec: Codec, input: R) -> Self {
        match codec {
            Codec::Lz4 => Self::Lz4(Lz4Reader::new(input)),
            Codec::Zstd => Self::Zstd(ZstdReader::new(input)),
        }
    }

    /// What is read from.
    pub fn input(&self) -> &R {
        match self {
            Self::Lz4(reader) => reader.input(),
            Self::Zstd(reader) => reader.input(),
        }
    }
}

impl<R: Read> Read for WholeReader<R> {
    /// # Errors
    /// `InvalidData` for anything that is not the format and nothing else, `UnexpectedEof` when the
    /// input ends inside it, and every error of the input.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Lz4(reader) => reader.read(buf),
            Self::Zstd(reader) => reader.read(buf),
        }
    }
}

/// Reads the content of the zstd frames, one or more, that `R` must consist of.
///
/// A read returns 0 only at the end of the input, after a whole frame.
pub struct ZstdReader<R: Read> {
    decoder: FrameDecoder,
    input: Watched<BufReader<R>>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first frame.
    Start,
    /// In a frame.
    Inside,
    /// After a frame.
    Between,
    /// After the last one.
    End,
}

impl<R: Read> ZstdReader<R> {
    /// Decodes `input` from its start.
    pub fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self {
            decoder,
            input: Watched {
                input: BufReader::new(input),
                failure: None,
                ended: false,
            },
            place: Place::Start,
        }
    }

    /// What is read from.
    pub fn input(&self) -> &R {
        self.input.input.get_ref()
    }

    /// Begins the next frame; false when there is none.
    fn begin(&mut self) -> io::Result<bool> {
        let mut first = [0];
        match self.input.read_exact(&mut first) {
            Ok(()) => {}
            Err(_) if self.input.ended && self.place == Place::Between => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        }
        let header = (&first[..]).chain(&mut self.input);
        self.decoder
            .init(header)
            .map_err(|error| self.failed(&error))?;
        Ok(true)
    }

    /// Goes on until there is something to read, or the frame ends.
    fn decode(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            self.decoder
                .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Whether the frame that ends here is what it says of itself.
    fn end(&self, announced: bool) -> io::Result<()> {
        let stated = self.decoder.get_checksum_from_data();
        if announced && stated != self.decoder.get_calculated_checksum() {
            return Err(damaged("the checksum of a zstd frame is another"));
        }
        Ok(())
    }

    /// Why reading failed: because of the input, or of what was in it.
    fn failed(&mut self, error: &dyn std::error::Error) -> io::Error {
        match self.input.failure.take() {
            Some(failure) => failure,
            None if self.input.ended => io::Error::new(
                ErrorKind::UnexpectedEof,
                "the compressed file ends before its zstd frame does",
            ),
            None => damaged(&format!("it is no sound zstd frame ({error})")),
        }
    }
}

fn damaged(what: &str) -> io::Error {
    let text = format!("the compressed file is damaged: {what}");
    io::Error::new(ErrorKind::InvalidData, text)
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match self.place {
                Place::End => return Ok(0),
                Place::Start | Place::Between => {
                    self.place = if self.begin()? {
                        Place::Inside
                    } else {
                        Place::End
                    };
                }
                Place::Inside => {
                    self.decode()?;
                    let length = self.decoder.read(buf)?;
                    if length > 0 {
                        return Ok(length);
                    }
                    self.end(self.decoder.get_checksum_from_data().is_some())?;
                    self.place = Place::Between;
                }
            }
        }
    }
}

/// Passes reads through, and remembers how the input failed or that it ended: the decoder wraps both
/// out of sight.
struct Watched<R> {
    input: R,
    failure: Option<io::Error>,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buf) {
            Ok(length) => {
                self.ended |= length == 0 && !buf.is_empty();
                Ok(length)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Two bits of each byte: some of it can be compressed.
            state.to_be_bytes()[0] & 0x33
        };
        (0..length).map(|_| next()).collect()
    }

    fn frame(content: &[u8]) -> Vec<u8> {
        use zstd::zstd_safe::CParameter;
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        compressor
            .set_parameter(CParameter::ChecksumFlag(true))
            .unwrap();
        compressor.compress(content).unwrap()
    }

    fn decoded(file: &[u8]) -> Result<Vec<u8>, (ErrorKind, String)> {
        let mut out = Vec::new();
        let mut reader = WholeReader::new(Codec::Zstd, file);
        match reader.read_to_end(&mut out) {
            Ok(_) => {
                assert!(reader.input().is_empty(), "the input is not drained");
                Ok(out)
            }
            Err(error) => Err((error.kind(), error.to_string())),
        }
    }

    #[test]
    fn a_name_says_how_its_target_is_compressed() {
        for (name, codec) in [
            ("demo-x86_64-1.0.0-root.ext4.lz4", Codec::Lz4),
            ("demo-x86_64-1.0.0-root.ext4.zst", Codec::Zstd),
            ("demo-x86_64-1.0.0-root.ext4.zst.map.lz4", Codec::Lz4),
            ("root", Codec::Lz4),
            (".zst", Codec::Lz4),
        ] {
            assert_eq!(codec_of(name), codec, "{name}");
        }
    }

    #[test]
    fn zstd_frames_are_read_to_their_end() {
        let content = noise(300_000);
        let mut streamed = zstd::stream::Encoder::new(Vec::new(), 19).unwrap();
        io::copy(&mut &content[..], &mut streamed).unwrap();
        let streamed = streamed.finish().unwrap();
        for (file, expected) in [
            (frame(&content), content.clone()),
            (streamed, content.clone()),
            (
                [frame(&content), frame(b""), frame(b"more")].concat(),
                [&content[..], b"more"].concat(),
            ),
            (frame(b""), Vec::new()),
        ] {
            assert_eq!(decoded(&file), Ok(expected));
        }
    }

    #[test]
    fn what_is_not_whole_zstd_frames_and_nothing_else_is_refused() {
        let good = frame(&noise(1000));
        let mut other = good.clone();
        *other.last_mut().unwrap() ^= 1;
        for (file, kind, what) in [
            (vec![], ErrorKind::UnexpectedEof, "ends before"),
            (
                good[..good.len() - 1].to_vec(),
                ErrorKind::UnexpectedEof,
                "ends before",
            ),
            (good[..3].to_vec(), ErrorKind::UnexpectedEof, "ends before"),
            (
                [&good[..], &good[..5]].concat(),
                ErrorKind::UnexpectedEof,
                "ends before",
            ),
            (
                [&good[..], b"more"].concat(),
                ErrorKind::InvalidData,
                "no sound zstd frame",
            ),
            (other, ErrorKind::InvalidData, "checksum"),
            // Frames that are skipped are nothing that an image needs.
            (
                [&0x184d_2a50_u32.to_le_bytes()[..], &[0; 4], &good].concat(),
                ErrorKind::InvalidData,
                "no sound zstd frame",
            ),
        ] {
            let (found, text) = decoded(&file).unwrap_err();
            assert!(found == kind && text.contains(what), "{found} {text}");
        }
        for cut in 0..good.len() {
            let (kind, _) = decoded(&good[..cut]).unwrap_err();
            assert_eq!(kind, ErrorKind::UnexpectedEof, "{cut}");
        }
    }

    #[test]
    fn a_window_that_would_take_much_memory_is_refused() {
        let content = noise(1000);
        let packed = |log| {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            io::copy(&mut &content[..], &mut encoder).unwrap();
            decoded(&encoder.finish().unwrap())
        };
        assert_eq!(packed(23), Ok(content.clone()));
        let (kind, text) = packed(24).unwrap_err();
        assert_eq!(kind, ErrorKind::InvalidData);
        assert!(text.contains("window"), "{text}");
    }

    #[test]
    fn an_error_of_the_input_stays_what_it_is() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(ErrorKind::ConnectionReset, "the line broke"))
            }
        }
        let packed = frame(&noise(200_000));
        for cut in [0, 2, 20, 50_000, packed.len() - 2] {
            let input = (&packed[..cut]).chain(Broken);
            let error = WholeReader::new(Codec::Zstd, input)
                .read_to_end(&mut Vec::new())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{cut}");
            assert_eq!(error.to_string(), "the line broke");
        }
    }
}
