//! SHA-256 of what can be read, with its length.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest as _, Sha256};
use update_metadata::Digest;

const CHUNK_BYTES: usize = 1 << 20;

/// Reads `reader` to its end; returns how many bytes there were and their SHA-256. What is not
/// trusted to end is given as [`Read::take`].
///
/// # Errors
/// Those of `reader`.
pub fn of_reader(mut reader: impl Read) -> io::Result<(u64, Digest)> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hasher = Sha256::new();
    let mut length = 0_u64;
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&chunk[..read]);
                length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((length, Digest::from(<[u8; 32]>::from(hasher.finalize()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_digest_are_those_of_all_bytes() {
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let (length, digest) = of_reader(b"abc".as_slice()).unwrap();
        assert_eq!((length, digest.to_string().as_str()), (3, expected));
    }
}
