//! An LZ4 frame, decoded so that nothing less and nothing more than one whole frame is accepted.
//!
//! The decoder of the library treats an input that stops at a block boundary as the end of its
//! frame, and starts on a next frame when asked to read on. For an image both are damage: here the
//! end mark must have been read, and the input must end with it. Bytes of a whole stream are judged
//! only at its end, so until then they meet this memory-safe decoder and no other.

use std::io::{self, ErrorKind, Read};

use lz4_flex::frame::FrameDecoder;

/// Reads the content of the one LZ4 frame that `R` must be.
///
/// A read returns 0 only after the frame's end mark, its content checksum where it has one, and
/// the end of the input; the input has then been drained.
#[derive(Debug)]
pub struct Lz4Reader<R: Read> {
    decoder: FrameDecoder<EndSeen<R>>,
    finished: bool,
}

impl<R: Read> Lz4Reader<R> {
    /// Decodes `input` from its start. Memory is bounded by the format: at most 8 MiB of output
    /// and 4 MiB of input.
    pub fn new(input: R) -> Self {
        Self {
            decoder: FrameDecoder::new(EndSeen {
                input,
                ended: false,
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
        let length = self.decoder.read(buf)?;
        if length > 0 {
            return Ok(length);
        }
        let input = self.decoder.get_mut();
        if input.ended {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the compressed image ends before its LZ4 frame does",
            ));
        }
        let mut byte = [0];
        loop {
            match input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        "the compressed image goes on after its LZ4 frame",
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

/// Passes reads through and remembers whether one met the end of the input.
#[derive(Debug)]
struct EndSeen<R> {
    input: R,
    ended: bool,
}

impl<R: Read> Read for EndSeen<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buf)?;
        self.ended |= length == 0 && !buf.is_empty();
        Ok(length)
    }
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
