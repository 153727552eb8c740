//! The bytes of one copy of a table, as a file that gptman can read and write.
//!
//! gptman addresses a whole disk. This stands in for one of which only a header's sector and an
//! array of entries exist; nothing else of it can be written.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

/// One header sector and one array of entries, each at its offset on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) header: Region,
    pub(super) entries: Region,
    position: u64,
}

/// Bytes that belong at an offset of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl Image {
    pub(super) const fn new(header: Region, entries: Region) -> Self {
        Self {
            header,
            entries,
            position: 0,
        }
    }

    /// The region and the place in it where `length` bytes at the position belong.
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        let position = self.position;
        [&mut self.header, &mut self.entries]
            .into_iter()
            .find_map(|region| {
                let from = usize::try_from(position.checked_sub(region.offset)?).ok()?;
                region.bytes.get_mut(from..from.checked_add(length)?)
            })
    }

    fn advance(&mut self, length: usize) -> io::Result<()> {
        let end = u64::try_from(length)
            .ok()
            .and_then(|length| self.position.checked_add(length));
        self.position = end.ok_or(ErrorKind::InvalidInput)?;
        Ok(())
    }
}

impl Region {
    /// Copies what the region has of the bytes from `position` on into their places in `buf`.
    fn overlay(&self, position: u64, buf: &mut [u8]) -> Option<()> {
        // How far into the region the buffer begins, and how far into the buffer the region does;
        // one of the two is 0.
        let skip = usize::try_from(position.saturating_sub(self.offset)).ok()?;
        let lead = usize::try_from(self.offset.saturating_sub(position)).ok()?;
        let from = self.bytes.get(skip..)?;
        let into = buf.get_mut(lead..)?;
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        Some(())
    }
}

/// Everything outside the two regions reads as 0. gptman reads a little past each entry it decodes,
/// at the last one past the end of the array.
impl Read for Image {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        buf.fill(0);
        for region in [&self.header, &self.entries] {
            // Nothing when the region has none of these bytes.
            let _ = region.overlay(self.position, buf);
        }
        self.advance(buf.len())?;
        Ok(buf.len())
    }
}

/// A write that does not lie within one of the two regions fails.
impl Write for Image {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let place = self.place(buf.len()).ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidInput,
                "a write outside the header and the entries",
            )
        })?;
        place.copy_from_slice(buf);
        self.advance(buf.len())?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Only from the start, which is how one copy's header and entries are found.
impl Seek for Image {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(position) => self.position = position,
            SeekFrom::End(_) | SeekFrom::Current(_) => return Err(ErrorKind::Unsupported.into()),
        }
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let header = Region {
            offset: 512,
            bytes: vec![1; 512],
        };
        let entries = Region {
            offset: 1024,
            bytes: vec![2; 256],
        };
        Image::new(header, entries)
    }

    #[test]
    fn what_is_in_neither_region_reads_as_zero() {
        let mut image = image();
        for (at, expected) in [
            (510, [0, 0, 1, 1]),
            (1022, [1, 1, 2, 2]),
            (1278, [2, 2, 0, 0]),
        ] {
            let mut bytes = [9; 4];
            image.seek(SeekFrom::Start(at)).unwrap();
            image.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, expected, "at {at}");
        }
    }

    #[test]
    fn a_write_goes_into_one_region_whole_or_nowhere() {
        let before = image();
        for at in [0, 511, 1023, 1279, 1280, u64::MAX] {
            let mut image = before.clone();
            image.seek(SeekFrom::Start(at)).unwrap();
            assert!(image.write_all(&[7, 7]).is_err(), "at {at}");
            assert_eq!(
                (&image.header, &image.entries),
                (&before.header, &before.entries)
            );
        }
        let mut image = before.clone();
        image.seek(SeekFrom::Start(1278)).unwrap();
        image.write_all(&[7, 7]).unwrap();
        assert_eq!(image.entries.bytes[253..], [2, 7, 7]);
        assert_eq!(image.header, before.header);
    }
}
