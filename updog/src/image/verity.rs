//! Pure: the dm-verity hash tree of a root image, in the on-disk form of `veritysetup format`.
//!
//! Only what image-based hosts boot is accepted: superblock version 1, hash type 1 (the salt is
//! hashed before the data), SHA-256. The hash image is one hash block that holds the superblock,
//! then the tree, its top level first. A level's hashes are packed 32 bytes each into hash blocks
//! whose tail is zero.
//!
//! A [`TreeBuilder`] takes the data image in pieces of any size and keeps 32 bytes per data block
//! (1/128 of the image at 4 KiB blocks); nothing here reads or writes a device.

use sha2::{Digest as _, Sha256};
use snafu::{Snafu, ensure};
use update_metadata::{Digest, Salt, Verity, VerityAlgorithm};

/// Bytes of the superblock itself; the rest of its hash block is zero.
pub const SUPERBLOCK_BYTES: usize = 512;
/// Data and hash block size of every image this project makes.
pub const BLOCK_BYTES: u32 = 4096;
/// The longest salt that the superblock can hold.
pub const MAX_SALT_BYTES: usize = 256;

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const DIGEST_BYTES: usize = 32;
/// dm-verity's own bound on the depth of the tree.
const MAX_LEVELS: usize = 63;

/// Why bytes are not a verity superblock, or parameters cannot make a tree.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum VerityError {
    /// The image is shorter than a superblock.
    #[snafu(display("hash image of {length} bytes is too short for a verity superblock"))]
    TooShort { length: usize },
    /// The first eight bytes are not the verity signature.
    #[snafu(display("hash image does not start with a verity superblock"))]
    NoSignature,
    /// A field has a value outside what this project reads.
    #[snafu(display("verity superblock: {field} is {value}, expected {expected}"))]
    Unsupported {
        field: &'static str,
        value: String,
        expected: &'static str,
    },
    /// The data is not a whole number of blocks, or another number than announced.
    #[snafu(display("root image of {length} bytes is not {blocks} blocks of {block_size} bytes"))]
    WrongDataLength {
        length: u64,
        blocks: u64,
        block_size: u32,
    },
    /// The sizes do not fit into 64 bits.
    #[snafu(display("verity geometry of {blocks} blocks of {block_size} bytes is out of range"))]
    OutOfRange { blocks: u64, block_size: u32 },
}

/// Everything the superblock says: how to hash, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Hashed before each block.
    pub salt: Vec<u8>,
    /// Bytes of one data block: a power of two, 512 to 65,536.
    pub data_block_size: u32,
    /// Bytes of one hash block: a power of two, 512 to 65,536.
    pub hash_block_size: u32,
    /// Data blocks covered by the tree; at least one.
    pub data_blocks: u64,
}

impl Geometry {
    /// 4 KiB data and hash blocks for an image of `length` bytes.
    ///
    /// # Errors
    /// [`VerityError::WrongDataLength`] when the image is empty or not a whole number of blocks;
    /// [`VerityError::Unsupported`] when the salt is too long.
    pub fn for_image(length: u64, salt: Vec<u8>) -> Result<Self, VerityError> {
        let data_blocks = length / u64::from(BLOCK_BYTES);
        ensure!(
            data_blocks > 0 && length.is_multiple_of(u64::from(BLOCK_BYTES)),
            WrongDataLengthSnafu {
                length,
                blocks: data_blocks.max(1),
                block_size: BLOCK_BYTES
            }
        );
        let geometry = Self {
            salt,
            data_block_size: BLOCK_BYTES,
            hash_block_size: BLOCK_BYTES,
            data_blocks,
        };
        geometry.check()?;
        Ok(geometry)
    }

    /// What a manifest says of a tree.
    ///
    /// # Errors
    /// [`VerityError::Unsupported`] and [`VerityError::OutOfRange`].
    pub fn of(facts: &Verity) -> Result<Self, VerityError> {
        let VerityAlgorithm::Sha256 = facts.algorithm;
        let geometry = Self {
            salt: facts.salt.as_bytes().to_vec(),
            data_block_size: facts.data_block_size,
            hash_block_size: facts.hash_block_size,
            data_blocks: facts.data_blocks,
        };
        geometry.check()?;
        Ok(geometry)
    }

    /// Reads the superblock at the start of a hash image.
    ///
    /// # Errors
    /// Every [`VerityError`] but [`VerityError::WrongDataLength`]; arbitrary bytes never panic.
    pub fn from_superblock(bytes: &[u8]) -> Result<Self, VerityError> {
        let Some(block) = bytes.first_chunk::<SUPERBLOCK_BYTES>() else {
            return TooShortSnafu {
                length: bytes.len(),
            }
            .fail();
        };
        ensure!(block.starts_with(SIGNATURE), NoSignatureSnafu);
        expect_value("version", u32_at(block, 8), 1, "1")?;
        expect_value("hash type", u32_at(block, 12), 1, "1")?;
        let algorithm = &block[32..64];
        let name_length = algorithm
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(algorithm.len());
        ensure!(
            &algorithm[..name_length] == b"sha256",
            UnsupportedSnafu {
                field: "algorithm",
                value: String::from_utf8_lossy(&algorithm[..name_length]),
                expected: "sha256"
            }
        );
        let salt_length = usize::from(u16::from_le_bytes([block[80], block[81]]));
        ensure!(
            salt_length <= MAX_SALT_BYTES,
            UnsupportedSnafu {
                field: "salt length",
                value: salt_length.to_string(),
                expected: "at most 256"
            }
        );
        let geometry = Self {
            salt: block[88..88 + salt_length].to_vec(),
            data_block_size: u32_at(block, 64),
            hash_block_size: u32_at(block, 68),
            data_blocks: u64_at(block, 72),
        };
        geometry.check()?;
        Ok(geometry)
    }

    /// The superblock in the form that [`Geometry::from_superblock`] and the kernel's tools read.
    pub fn to_superblock(&self, uuid: [u8; 16]) -> [u8; SUPERBLOCK_BYTES] {
        let mut block = [0; SUPERBLOCK_BYTES];
        block[..8].copy_from_slice(SIGNATURE);
        block[8..12].copy_from_slice(&1_u32.to_le_bytes());
        block[12..16].copy_from_slice(&1_u32.to_le_bytes());
        block[16..32].copy_from_slice(&uuid);
        block[32..38].copy_from_slice(b"sha256");
        block[64..68].copy_from_slice(&self.data_block_size.to_le_bytes());
        block[68..72].copy_from_slice(&self.hash_block_size.to_le_bytes());
        block[72..80].copy_from_slice(&self.data_blocks.to_le_bytes());
        let salt_length =
            u16::try_from(self.salt.len()).expect("at most 256 bytes: checked when made");
        block[80..82].copy_from_slice(&salt_length.to_le_bytes());
        block[88..88 + self.salt.len()].copy_from_slice(&self.salt);
        block
    }

    /// Bytes of the data image that the tree covers.
    pub fn data_length(&self) -> u64 {
        self.data_blocks
            .checked_mul(u64::from(self.data_block_size))
            .expect("no overflow: checked when made")
    }

    /// Bytes of the whole hash image: superblock's block and tree.
    pub fn hash_length(&self) -> u64 {
        let blocks = self.level_blocks().iter().sum::<u64>() + 1;
        blocks
            .checked_mul(u64::from(self.hash_block_size))
            .expect("the tree is smaller than the data whose length was checked")
    }

    /// Where the leaves begin in the hash image; nowhere if the image is one block, whose hash is the
    /// root hash.
    pub fn leaves_offset(&self) -> Option<u64> {
        let levels = self.level_blocks();
        let (_, above) = levels.split_first()?;
        let blocks = above.iter().sum::<u64>() + 1;
        blocks.checked_mul(u64::from(self.hash_block_size))
    }

    /// Hash blocks of each level, the leaves' level first.
    fn level_blocks(&self) -> Vec<u64> {
        let per_block = u64::from(self.hash_block_size) / 32;
        let mut levels = Vec::new();
        let mut hashes = self.data_blocks;
        while hashes > 1 {
            hashes = hashes.div_ceil(per_block);
            levels.push(hashes);
        }
        debug_assert!(levels.len() <= MAX_LEVELS);
        levels
    }

    fn check(&self) -> Result<(), VerityError> {
        for (field, value) in [
            ("data block size", self.data_block_size),
            ("hash block size", self.hash_block_size),
        ] {
            ensure!(
                value.is_power_of_two() && (512..=65_536).contains(&value),
                UnsupportedSnafu {
                    field,
                    value: value.to_string(),
                    expected: "a power of two from 512 to 65536"
                }
            );
        }
        ensure!(
            self.salt.len() <= MAX_SALT_BYTES,
            UnsupportedSnafu {
                field: "salt length",
                value: self.salt.len().to_string(),
                expected: "at most 256"
            }
        );
        let out_of_range = OutOfRangeSnafu {
            blocks: self.data_blocks,
            block_size: self.data_block_size,
        };
        ensure!(self.data_blocks > 0, out_of_range);
        let length = self
            .data_blocks
            .checked_mul(u64::from(self.data_block_size));
        // Half of the range leaves room for the tree, which is never longer than the data.
        ensure!(
            length.is_some_and(|length| length <= u64::MAX / 4),
            out_of_range
        );
        Ok(())
    }

    /// The hash of a data or hash block: the root hash, if it is the tree's one top block, or the
    /// one data block of an image that has no more.
    pub fn hash_of_block(&self, block: &[u8]) -> Digest {
        Digest::from(self.hash(block))
    }

    /// `salt || block`, hashed.
    fn hash(&self, block: &[u8]) -> [u8; DIGEST_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(&self.salt);
        hasher.update(block);
        hasher.finalize().into()
    }
}

/// Computes the tree of a data image that arrives piece by piece.
#[derive(Debug)]
pub struct TreeBuilder {
    geometry: Geometry,
    /// The start of a block whose end has not arrived.
    partial: Vec<u8>,
    leaves: Vec<u8>,
    length: u64,
}

impl TreeBuilder {
    /// A tree over nothing yet.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            partial: Vec::new(),
            leaves: Vec::new(),
            length: 0,
        }
    }

    /// The next bytes of the data image. Bytes past the announced length are counted, not hashed,
    /// so that a stream without an end costs no memory; [`TreeBuilder::finish`] then refuses.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let block_size =
            usize::try_from(self.geometry.data_block_size).expect("at most 65,536: checked");
        let arrived = u64::try_from(bytes.len()).expect("a slice's length fits in 64 bits");
        let wanted = self.geometry.data_length().saturating_sub(self.length);
        self.length = self.length.saturating_add(arrived);
        if arrived > wanted {
            let keep = usize::try_from(wanted).expect("less than the slice's length");
            bytes = &bytes[..keep];
        }
        if !self.partial.is_empty() {
            let missing = block_size - self.partial.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend_from_slice(head);
            bytes = tail;
            if self.partial.len() < block_size {
                return;
            }
            self.leaves.extend(self.geometry.hash(&self.partial));
            self.partial.clear();
        }
        let mut blocks = bytes.chunks_exact(block_size);
        for block in &mut blocks {
            self.leaves.extend(self.geometry.hash(block));
        }
        self.partial.extend_from_slice(blocks.remainder());
    }

    /// The finished tree.
    ///
    /// # Errors
    /// [`VerityError::WrongDataLength`] when more or less than the announced data arrived.
    pub fn finish(self) -> Result<Tree, VerityError> {
        ensure!(
            self.length == self.geometry.data_length() && self.partial.is_empty(),
            WrongDataLengthSnafu {
                length: self.length,
                blocks: self.geometry.data_blocks,
                block_size: self.geometry.data_block_size
            }
        );
        Ok(Tree::over(self.geometry, self.leaves))
    }
}

/// A finished hash tree.
#[derive(Debug)]
pub struct Tree {
    geometry: Geometry,
    /// Packed hash blocks of each level, the leaves' level first.
    levels: Vec<Vec<u8>>,
    root_hash: [u8; DIGEST_BYTES],
}

impl Tree {
    /// The tree over leaves.
    ///
    /// # Errors
    /// [`VerityError::WrongDataLength`] when they are not as many as `geometry` has data blocks.
    pub fn from_leaves(
        geometry: Geometry,
        leaves: Vec<[u8; DIGEST_BYTES]>,
    ) -> Result<Self, VerityError> {
        let blocks = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        ensure!(
            blocks == geometry.data_blocks,
            WrongDataLengthSnafu {
                length: blocks.saturating_mul(u64::from(geometry.data_block_size)),
                blocks: geometry.data_blocks,
                block_size: geometry.data_block_size
            }
        );
        Ok(Self::over(geometry, leaves.into_flattened()))
    }

    /// The tree over whole leaves, of which there is at least one.
    fn over(geometry: Geometry, leaves: Vec<u8>) -> Self {
        let block_size =
            usize::try_from(geometry.hash_block_size).expect("at most 65,536: checked");
        let mut levels = Vec::new();
        // Not copied: there are 32 bytes for each block of the image.
        let mut level = leaves;
        while level.len() > DIGEST_BYTES {
            level.resize(level.len().next_multiple_of(block_size), 0);
            let above = level
                .chunks_exact(block_size)
                .flat_map(|b| geometry.hash(b));
            let above = above.collect();
            levels.push(level);
            level = above;
        }
        let root_hash = *level
            .first_chunk()
            .expect("at least one leaf, by the callers");
        Self {
            geometry,
            levels,
            root_hash,
        }
    }

    /// The hash that stands for the whole data image.
    pub fn root_hash(&self) -> Digest {
        Digest::from(self.root_hash)
    }

    /// What was hashed and how.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The facts that a manifest carries about this tree.
    ///
    /// # Panics
    /// Never: the salt's length was checked when the geometry was made.
    pub fn facts(&self) -> Verity {
        Verity {
            algorithm: VerityAlgorithm::Sha256,
            root_hash: self.root_hash(),
            salt: Salt::new(self.geometry.salt.clone()).expect("at most 256 bytes: checked"),
            data_block_size: self.geometry.data_block_size,
            hash_block_size: self.geometry.hash_block_size,
            data_blocks: self.geometry.data_blocks,
        }
    }

    /// The tree's bytes as they follow the superblock's block in the hash image: top level first.
    pub fn levels_from_top(&self) -> impl Iterator<Item = &[u8]> {
        self.levels.iter().rev().map(Vec::as_slice)
    }

    /// The hash of data block `index`.
    pub fn leaf(&self, index: usize) -> Option<&[u8; DIGEST_BYTES]> {
        let at = index.checked_mul(DIGEST_BYTES)?;
        match self.levels.first() {
            Some(leaves) => leaves.get(at..)?.first_chunk(),
            // The image is one block.
            None => (index == 0).then_some(&self.root_hash),
        }
    }

    /// The whole hash image, as `veritysetup format --uuid` would write it.
    pub fn to_hash_image(&self, uuid: [u8; 16]) -> Vec<u8> {
        let mut image = self.geometry.to_superblock(uuid).to_vec();
        image.resize(
            usize::try_from(self.geometry.hash_block_size).expect("at most 65,536: checked"),
            0,
        );
        for level in self.levels_from_top() {
            image.extend_from_slice(level);
        }
        image
    }
}

fn expect_value(
    field: &'static str,
    value: u32,
    wanted: u32,
    expected: &'static str,
) -> Result<(), VerityError> {
    ensure!(
        value == wanted,
        UnsupportedSnafu {
            field,
            value: value.to_string(),
            expected
        }
    );
    Ok(())
}

fn u32_at(block: &[u8; SUPERBLOCK_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn u64_at(block: &[u8; SUPERBLOCK_BYTES], at: usize) -> u64 {
    u64::from(u32_at(block, at)) | (u64::from(u32_at(block, at + 4)) << 32)
}

#[cfg(test)]
mod tests;
