//! The dm-verity hash image of a root image: made, or checked byte for byte.

use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{RawImage, Salt};

use super::event::Observer;
use super::image_file::{ImageFile, ImageFileError};
use super::random::{self, RandomError};
use crate::image::verity::{Geometry, SUPERBLOCK_BYTES, Tree, TreeBuilder, VerityError};

/// Bytes of a salt that nobody chose.
const RANDOM_SALT_BYTES: usize = 32;
/// A hash image is kept in memory; this is the tree of a root image of about 120 GiB.
pub(super) const MAX_HASH_IMAGE_BYTES: u64 = 1 << 30;

/// Why there is no hash image, or why the one given is not the root image's.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum HashImageError {
    /// The root image has no tree.
    #[snafu(display("making a verity tree over {}", root.display()))]
    Tree { root: PathBuf, source: VerityError },
    /// The hash image's superblock is not one that hosts accept.
    #[snafu(display("reading the verity superblock of {}", hash.display()))]
    Superblock { hash: PathBuf, source: VerityError },
    /// The superblock speaks of another amount of data.
    #[snafu(display(
        "{} covers {covered} bytes, but {} has {length}; make it anew with `updata verity`",
        hash.display(), root.display()
    ))]
    Covers {
        hash: PathBuf,
        root: PathBuf,
        covered: u64,
        length: u64,
    },
    /// The tree would not fit in memory.
    #[snafu(display("the verity tree over {} would have {length} bytes", root.display()))]
    TooLarge { root: PathBuf, length: u64 },
    /// The hash image has more or less bytes than its tree.
    #[snafu(display(
        "{} has {found} bytes, but the verity tree of its superblock has {expected}",
        hash.display()
    ))]
    Length {
        hash: PathBuf,
        found: u64,
        expected: u64,
    },
    /// The hash image is another root image's.
    #[snafu(display(
        "{} is not the verity tree of {}: they first differ at byte {at}; \
         make it anew with `updata verity`",
        hash.display(), root.display()
    ))]
    Differs {
        hash: PathBuf,
        root: PathBuf,
        at: u64,
    },
    /// An image cannot be read.
    #[snafu(transparent)]
    File { source: ImageFileError },
    /// No salt or UUID could be drawn.
    #[snafu(transparent)]
    Random { source: RandomError },
}

/// A root image that was hashed, and its hash image.
#[derive(Debug)]
pub struct HashedRoot {
    /// The root image's length and digest.
    pub root: RawImage,
    /// Its tree.
    pub tree: Tree,
    /// The whole hash image: 1/128 of the root image.
    pub hash_image: Vec<u8>,
}

/// Where the tree's parameters come from.
#[derive(Debug, Clone, Copy)]
pub enum HashSource<'a> {
    /// A new tree with this salt.
    Salt(&'a Salt),
    /// A new tree with a random salt.
    RandomSalt,
    /// The superblock of a hash image, which must then be the tree of the root image.
    HashImage(&'a Path),
}

impl<'a> HashSource<'a> {
    /// What the options `--hash-image` and `--salt` mean; the first decides where both are given.
    pub fn from_options(hash_image: Option<&'a Path>, salt: Option<&'a Salt>) -> Self {
        match (hash_image, salt) {
            (Some(path), _) => Self::HashImage(path),
            (None, Some(salt)) => Self::Salt(salt),
            (None, None) => Self::RandomSalt,
        }
    }
}

/// Hashes the root image in one pass, and checks the hash image where there is one.
pub fn hash_root(
    root: &mut ImageFile,
    source: HashSource<'_>,
    observer: Observer<'_>,
) -> Result<HashedRoot, HashImageError> {
    match source {
        HashSource::Salt(salt) => new_tree(root, salt.as_bytes().to_vec(), observer),
        HashSource::RandomSalt => new_tree(
            root,
            random::bytes::<RANDOM_SALT_BYTES>()?.to_vec(),
            observer,
        ),
        HashSource::HashImage(hash) => check(root, hash, observer),
    }
}

fn new_tree(
    root: &mut ImageFile,
    salt: Vec<u8>,
    observer: Observer<'_>,
) -> Result<HashedRoot, HashImageError> {
    let geometry =
        Geometry::for_image(root.length(), salt).context(TreeSnafu { root: root.path() })?;
    let (image, tree) = build(root, geometry, observer)?;
    let hash_image = tree.to_hash_image(random::uuid()?);
    Ok(HashedRoot {
        root: image,
        tree,
        hash_image,
    })
}

fn check(
    root: &mut ImageFile,
    hash: &Path,
    observer: Observer<'_>,
) -> Result<HashedRoot, HashImageError> {
    let mut file = ImageFile::open(hash)?;
    let mut given = Vec::new();
    let too_long = file.length() > MAX_HASH_IMAGE_BYTES;
    ensure!(
        !too_long,
        TooLargeSnafu {
            root: root.path(),
            length: file.length()
        }
    );
    file.pass::<ImageFileError>("reading", observer, |chunk| {
        given.extend_from_slice(chunk);
        Ok(())
    })?;

    let geometry = Geometry::from_superblock(&given).context(SuperblockSnafu { hash })?;
    let (covered, length) = (geometry.data_length(), root.length());
    ensure!(
        covered == length,
        CoversSnafu {
            hash,
            root: root.path(),
            covered,
            length
        }
    );
    let (found, expected) = (file.length(), geometry.hash_length());
    ensure!(
        found == expected,
        LengthSnafu {
            hash,
            found,
            expected
        }
    );
    let (image, tree) = build(root, geometry, observer)?;

    let uuid = given[..SUPERBLOCK_BYTES][16..32]
        .try_into()
        .expect("32 - 16 = 16 bytes");
    let made = tree.to_hash_image(uuid);
    if let Some(at) = made
        .iter()
        .zip(&given)
        .position(|(made, given)| made != given)
    {
        let at = u64::try_from(at).expect("an index fits in 64 bits");
        return DiffersSnafu {
            hash,
            root: root.path(),
            at,
        }
        .fail();
    }
    Ok(HashedRoot {
        root: image,
        tree,
        hash_image: made,
    })
}

fn build(
    root: &mut ImageFile,
    geometry: Geometry,
    observer: Observer<'_>,
) -> Result<(RawImage, Tree), HashImageError> {
    let length = geometry.hash_length();
    ensure!(
        length <= MAX_HASH_IMAGE_BYTES,
        TooLargeSnafu {
            root: root.path(),
            length
        }
    );
    let mut builder = TreeBuilder::new(geometry);
    let image = root.pass::<ImageFileError>("hashing", observer, |chunk| {
        builder.update(chunk);
        Ok(())
    })?;
    let tree = builder.finish().context(TreeSnafu { root: root.path() })?;
    Ok((image, tree))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::event::ignore;
    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        root: PathBuf,
        hash: PathBuf,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let (root, hash) = (dir.path().join("root.img"), dir.path().join("hash.img"));
        let content: Vec<u8> = (0..200 * 4096_u32)
            .map(|i| u8::try_from(i / 5 % 251).unwrap())
            .collect();
        fs::write(&root, content).unwrap();
        let made = hashed(&root, HashSource::RandomSalt).unwrap();
        fs::write(&hash, made.hash_image).unwrap();
        Fixture {
            _dir: dir,
            root,
            hash,
        }
    }

    fn hashed(root: &Path, source: HashSource<'_>) -> Result<HashedRoot, HashImageError> {
        hash_root(&mut ImageFile::open(root).unwrap(), source, &mut ignore)
    }

    #[test]
    fn a_hash_image_checks_out_against_its_root_image() {
        let f = fixture();
        let checked = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap();
        assert_eq!(checked.hash_image, fs::read(&f.hash).unwrap());
        assert_eq!(checked.root.length, 200 * 4096);
        assert_eq!(checked.tree.geometry().salt.len(), 32);
    }

    #[test]
    fn a_salt_decides_the_root_hash_and_a_random_one_changes_it() {
        let f = fixture();
        let salt: Salt = "00112233".parse().unwrap();
        let root_hash = |source| hashed(&f.root, source).unwrap().tree.root_hash();
        assert_eq!(
            root_hash(HashSource::Salt(&salt)),
            root_hash(HashSource::Salt(&salt))
        );
        assert_ne!(
            root_hash(HashSource::RandomSalt),
            root_hash(HashSource::RandomSalt)
        );
    }

    #[test]
    fn one_wrong_bit_anywhere_in_the_hash_image_is_found() {
        let f = fixture();
        let good = fs::read(&f.hash).unwrap();
        // The padding after the superblock, the tree's top, its last used byte, its own padding.
        for at in [600, 4096, 3 * 4096 - 1, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&f.hash, bad).unwrap();
            let error = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap_err();
            let expected = u64::try_from(at).unwrap();
            assert!(
                matches!(error, HashImageError::Differs { at, .. } if at == expected),
                "{at}: {error}"
            );
        }
    }

    #[test]
    fn another_root_image_is_found() {
        let f = fixture();
        let mut root = fs::read(&f.root).unwrap();
        root[7 * 4096] ^= 1;
        fs::write(&f.root, &root).unwrap();
        let error = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap_err();
        assert!(matches!(error, HashImageError::Differs { .. }));
        root.truncate(199 * 4096);
        fs::write(&f.root, root).unwrap();
        let error = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap_err();
        assert!(matches!(
            error,
            HashImageError::Covers {
                covered: 819_200,
                length: 815_104,
                ..
            }
        ));
    }

    #[test]
    fn trailing_and_missing_bytes_are_found() {
        let f = fixture();
        let good = fs::read(&f.hash).unwrap();
        let mut longer = good.clone();
        longer.push(0);
        for bytes in [&longer[..], &good[..good.len() - 1]] {
            fs::write(&f.hash, bytes).unwrap();
            let error = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap_err();
            assert!(matches!(error, HashImageError::Length { .. }), "{error}");
        }
        fs::write(&f.hash, "no superblock").unwrap();
        let error = hashed(&f.root, HashSource::HashImage(&f.hash)).unwrap_err();
        assert!(
            matches!(error, HashImageError::Superblock { .. }),
            "{error}"
        );
    }
}
