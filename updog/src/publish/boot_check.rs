//! Whether a boot image names a root hash.
//!
//! The boot loader's configuration inside the boot image tells the kernel the dm-verity root hash,
//! as text. A boot image made for another root image would be written, armed and never come up, so
//! the publisher looks for the text before anything is signed.

use update_metadata::{Digest, RawImage};

use super::event::Observer;
use super::image_file::{ImageFile, ImageFileError};

/// Hexadecimal digits of a root hash.
const DIGITS: usize = 64;

/// What one pass over a boot image finds.
#[derive(Debug, Clone, Copy)]
pub struct BootScan {
    /// Its length and digest.
    pub image: RawImage,
    /// Whether the root hash stands in it, in either case.
    pub names_root_hash: bool,
}

/// Reads the boot image once.
pub fn scan(
    boot: &mut ImageFile,
    root_hash: &Digest,
    observer: Observer<'_>,
) -> Result<BootScan, ImageFileError> {
    let mut finder = Finder::new(root_hash);
    let image = boot.pass("searching", observer, |chunk| {
        finder.update(chunk);
        Ok::<_, ImageFileError>(())
    })?;
    Ok(BootScan {
        image,
        names_root_hash: finder.found,
    })
}

/// Pure: looks for a digest's text in bytes that arrive in pieces.
pub(super) struct Finder {
    needle: String,
    /// The last digits' worth of bytes, which may be the start of the text.
    tail: Vec<u8>,
    found: bool,
}

impl Finder {
    pub(super) fn new(root_hash: &Digest) -> Self {
        Self {
            needle: root_hash.to_string(),
            tail: Vec::new(),
            found: false,
        }
    }

    /// Whether the text stood in what was seen so far.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        self.tail.extend_from_slice(piece);
        self.tail.make_ascii_lowercase();
        self.found = self
            .tail
            .windows(DIGITS)
            .any(|window| window == self.needle.as_bytes());
        let keep_from = self.tail.len().saturating_sub(DIGITS - 1);
        self.tail.drain(..keep_from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> Digest {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            .parse()
            .unwrap()
    }

    fn found(content: &[u8], piece: usize) -> bool {
        let mut finder = Finder::new(&digest());
        content.chunks(piece).for_each(|piece| finder.update(piece));
        finder.found
    }

    #[test]
    fn the_text_is_found_at_either_end_and_in_either_case() {
        let text = digest().to_string();
        let padding = "0".repeat(100);
        for content in [
            text.clone(),
            format!("{padding}{text}"),
            format!("{text}{padding}"),
            format!("{padding}{}{padding}", text.to_uppercase()),
        ] {
            assert!(found(content.as_bytes(), 4096), "{content}");
        }
    }

    #[test]
    fn less_than_the_whole_text_is_not_enough() {
        let text = digest().to_string();
        assert!(!found(&text.as_bytes()[1..], 7));
        assert!(!found(&text.as_bytes()[..63], 7));
        assert!(!found(text.replace('4', "5").as_bytes(), 7));
        assert!(!found(
            format!("{} {}", &text[..32], &text[32..]).as_bytes(),
            7
        ));
        // The binary digest is not what a boot loader's configuration holds.
        assert!(!found(digest().as_bytes(), 7));
    }

    proptest! {
        #[test]
        fn no_cut_hides_the_text(before in 0_usize..300, after in 0_usize..300, piece in 1_usize..200) {
            let content =
                [vec![b'f'; before], digest().to_string().into_bytes(), vec![b'e'; after]].concat();
            prop_assert!(found(&content, piece));
        }
    }
}
