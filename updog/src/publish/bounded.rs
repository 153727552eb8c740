//! Small files, read whole and never more than that.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The whole file.
///
/// # Errors
/// `InvalidData` when it has more than `max` bytes; those of opening and reading.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?, max)
}

/// As [`read`], of what is open already.
///
/// # Errors
/// As [`read`].
pub(super) fn read_from(reader: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max} bytes"),
        ))
    }
}

/// As [`read`], for a text.
///
/// # Errors
/// `InvalidData` also when it is not UTF-8.
pub(super) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    String::from_utf8(read(path, max)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_bound_itself_is_allowed_and_one_more_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "abcd").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "abcd");
        assert_eq!(
            read(&path, 3).unwrap_err().to_string(),
            "it has more than 3 bytes"
        );
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(
            read_text(&path, 4).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
