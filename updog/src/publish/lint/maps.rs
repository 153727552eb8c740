//! Whether a published block map is that of its image: it is made once more, and compared.

use std::fs::File;
use std::io::{self, Read};

use snafu::ResultExt;
use update_metadata::block_map::{BlockHashes, BlockMap, Codec, HashImage, ReadMapError};
use update_metadata::{ImageKind, RawImage};

use super::contents::{ContentError, ReadSnafu, TargetFile};
use crate::exit::chain;
use crate::image::codec::WholeReader;
use crate::publish::block_map::{MapError, PackedImage};
use crate::publish::event::Observer;

/// The files that a map speaks of, and its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped<'a> {
    pub(super) kind: ImageKind,
    pub(super) map: TargetFile<'a>,
    pub(super) image: TargetFile<'a>,
    /// The hash image of the update.
    pub(super) hash: TargetFile<'a>,
}

impl Mapped<'_> {
    /// What is wrong with the map, if anything.
    ///
    /// # Errors
    /// Those of reading the files, which can be decoded.
    pub(super) fn problem(self, observer: Observer<'_>) -> Result<Option<String>, ContentError> {
        let published = match self.published()? {
            Ok(map) => map,
            Err(why) => return Ok(Some(why)),
        };
        match self.made(&published, observer) {
            Ok(made) => Ok(difference(&published, &made)),
            Err(error) if error.is_refusal() => {
                Ok(Some(format!("its image can have none: {}", chain(&error))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn published(self) -> Result<Result<BlockMap, String>, ContentError> {
        let path = self.map.path;
        match BlockMap::read(self.map.decoded().context(ReadSnafu { path })?) {
            Ok(map) => Ok(Ok(map)),
            Err(ReadMapError::Read { source }) => Err(source).context(ReadSnafu { path }),
            Err(error @ ReadMapError::TooLong) => Ok(Err(error.to_string())),
            Err(ReadMapError::Map { source }) => {
                Ok(Err(format!("it is no block map: {}", chain(&source))))
            }
        }
    }

    /// The map that the image should have.
    fn made(self, published: &BlockMap, observer: Observer<'_>) -> Result<BlockMap, MapError> {
        let TargetFile {
            path,
            length,
            codec,
        } = self.image;
        let image = PackedImage {
            path,
            codec,
            length,
        };
        match self.kind {
            ImageKind::Root => image.map_root(&|| self.hash.decoded(), observer),
            ImageKind::Boot | ImageKind::Hash => {
                image.map(published.parts().block_length, observer)
            }
        }
    }
}

impl<'a> TargetFile<'a> {
    /// What it decodes to; nobody watches.
    fn decoded(self) -> io::Result<Box<dyn Read + 'a>> {
        let file = File::open(self.path)?;
        Ok(Box::new(WholeReader::new(
            self.codec,
            file.take(self.length),
        )))
    }
}

/// Pure: the first thing that a published map says otherwise than the one made from the image.
fn difference(published: &BlockMap, made: &BlockMap) -> Option<String> {
    let (published, made) = (published.parts(), made.parts());
    if published.codec != made.codec {
        return Some(format!(
            "it speaks of {} frames, the image has {}",
            named(published.codec),
            named(made.codec)
        ));
    }
    for (what, stated, found) in [
        ("the compressed file", published.compressed, made.compressed),
        ("the image", published.raw, made.raw),
    ] {
        if stated != found {
            return Some(facts(what, &stated, &found));
        }
    }
    if published.block_length != made.block_length {
        return Some(format!(
            "its blocks are of {} bytes, the tree's of {}",
            published.block_length, made.block_length
        ));
    }
    let lengths = (published.header_length, published.frames.len());
    if lengths != (made.header_length, made.frames.len()) {
        return Some(format!(
            "it has {} frames from byte {} on, the image {} from byte {} on",
            lengths.1,
            lengths.0,
            made.frames.len(),
            made.header_length
        ));
    }
    // Of a single frame any length is one that it does not go beyond.
    if made.frames.len() > 1 && published.frame_length != made.frame_length {
        return Some(format!(
            "its frames decode to {} bytes each, the image's to {}",
            published.frame_length, made.frame_length
        ));
    }
    let frames = published.frames.iter().zip(&made.frames);
    if let Some(at) = first_difference(frames) {
        return Some(format!("its frame {at} is not the image's"));
    }
    match (&published.hashes, &made.hashes) {
        (BlockHashes::Whole(stated), BlockHashes::Whole(found)) => {
            let at = first_difference(stated.iter().zip(found))?;
            Some(format!("its hash of block {at} is not the image's"))
        }
        (
            BlockHashes::Leaves {
                prefixes: stated,
                hash_image: stated_image,
            },
            BlockHashes::Leaves {
                prefixes: found,
                hash_image: found_image,
            },
        ) => first_difference(stated.iter().zip(found))
            .map(|at| format!("its leaf of block {at} is not the image's"))
            .or_else(|| hash_images(stated_image, found_image)),
        _ => Some("its block hashes are of another kind".to_owned()),
    }
}

fn named(codec: Codec) -> &'static str {
    match codec {
        Codec::Lz4 => "LZ4",
        Codec::Zstd => "zstd",
    }
}

fn hash_images(stated: &HashImage, found: &HashImage) -> Option<String> {
    if stated.superblock != found.superblock {
        Some("its superblock is not the hash image's".to_owned())
    } else if stated.raw == found.raw {
        None
    } else {
        Some(facts("the hash image", &stated.raw, &found.raw))
    }
}

fn facts(what: &str, stated: &RawImage, found: &RawImage) -> String {
    format!(
        "it states {} bytes with SHA-256 {} of {what}, which has {} with {}",
        stated.length, stated.sha256, found.length, found.sha256
    )
}

fn first_difference<T: PartialEq>(mut pairs: impl Iterator<Item = (T, T)>) -> Option<usize> {
    pairs.position(|(a, b)| a != b)
}

#[cfg(test)]
mod tests {
    use update_metadata::Digest;
    use update_metadata::block_map::{Frame, Parts};

    use super::*;

    /// Two frames of two blocks each.
    fn parts(hashes: BlockHashes) -> Parts {
        let image = |byte, length| RawImage {
            length,
            sha256: Digest::from([byte; 32]),
        };
        let frame = |byte| Frame {
            length: 100,
            sha256: Digest::from([byte; 32]),
        };
        Parts {
            codec: Codec::Lz4,
            compressed: image(1, 7 + 200 + 4),
            raw: image(2, 4 * 4096),
            block_length: 4096,
            frame_length: 8192,
            header_length: 7,
            frames: vec![frame(3), frame(4)],
            hashes,
        }
    }

    fn whole() -> BlockHashes {
        BlockHashes::Whole((0..4).map(|byte| Digest::from([byte; 32])).collect())
    }

    fn leaves() -> BlockHashes {
        BlockHashes::Leaves {
            prefixes: (0..4).map(|byte| [byte; 6]).collect(),
            hash_image: HashImage {
                superblock: Box::new([5; 512]),
                raw: RawImage {
                    length: 8192,
                    sha256: Digest::from([6; 32]),
                },
            },
        }
    }

    fn differs(hashes: BlockHashes, edit: impl FnOnce(&mut Parts)) -> Option<String> {
        let made = BlockMap::new(parts(hashes.clone())).unwrap();
        let mut published = parts(hashes);
        edit(&mut published);
        difference(&BlockMap::new(published).unwrap(), &made)
    }

    fn with_leaves(edit: impl FnOnce(&mut Vec<[u8; 6]>, &mut HashImage)) -> Option<String> {
        differs(leaves(), |parts| {
            if let BlockHashes::Leaves {
                prefixes,
                hash_image,
            } = &mut parts.hashes
            {
                edit(prefixes, hash_image);
            }
        })
    }

    #[test]
    fn the_first_difference_is_named() {
        let wrong = Digest::from([9; 32]);
        for (found, message) in [
            (differs(whole(), |_| {}), None),
            (with_leaves(|_, _| {}), None),
            (
                differs(whole(), |map| map.codec = Codec::Zstd),
                Some("it speaks of zstd frames, the image has LZ4"),
            ),
            (
                differs(whole(), |map| map.raw.sha256 = wrong),
                Some(" of the image, which has 16384 with 0202"),
            ),
            (
                differs(whole(), |map| map.compressed.sha256 = wrong),
                Some(" of the compressed file, which has 211 with 0101"),
            ),
            (
                differs(whole(), |map| map.header_length = 8),
                Some("it has 2 frames from byte 8 on, the image 2 from byte 7 on"),
            ),
            (
                differs(whole(), |map| map.frame_length = 12288),
                Some("its frames decode to 12288 bytes each, the image's to 8192"),
            ),
            (
                differs(whole(), |map| map.frames[1].sha256 = wrong),
                Some("its frame 1 is not the image's"),
            ),
            (
                differs(whole(), |map| {
                    (map.frames[0].length, map.frames[1].length) = (99, 101);
                }),
                Some("its frame 0 is not the image's"),
            ),
            (
                differs(whole(), |map| {
                    let hashes = (0..4).map(|byte| Digest::from([byte / 3 * 9; 32]));
                    map.hashes = BlockHashes::Whole(hashes.collect());
                }),
                Some("its hash of block 1 is not the image's"),
            ),
            (
                differs(whole(), |map| map.hashes = leaves()),
                Some("its block hashes are of another kind"),
            ),
            (
                with_leaves(|prefixes, _| prefixes[3] = [0; 6]),
                Some("its leaf of block 3 is not the image's"),
            ),
            (
                with_leaves(|_, image| image.superblock[20] = 0),
                Some("its superblock is not the hash image's"),
            ),
            (
                with_leaves(|_, image| image.raw.length = 12288),
                Some("it states 12288 bytes with SHA-256 0606"),
            ),
        ] {
            match message {
                None => assert_eq!(found, None),
                Some(message) => assert!(found.as_ref().unwrap().contains(message), "{found:?}"),
            }
        }
    }

    #[test]
    fn a_single_frame_may_be_said_to_hold_more() {
        let of = |frame_length| {
            let mut parts = parts(whole());
            parts.frames.pop();
            parts.compressed.length = 7 + 100 + 4;
            parts.frame_length = frame_length;
            BlockMap::new(parts).unwrap()
        };
        assert_eq!(difference(&of(4 << 20), &of(4 * 4096)), None);
    }
}
