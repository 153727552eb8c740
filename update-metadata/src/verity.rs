//! The dm-verity facts of a root image, signed with the manifest.
//!
//! An addition to Bottlerocket's manifest: clients that do not know it ignore it. With these facts
//! each block of the root image can be judged alone, up to a root hash that the repository signed.

use crate::digest::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use std::fmt;
use std::str::FromStr;

/// The longest salt dm-verity stores, in bytes.
pub const MAX_SALT_LEN: usize = 256;

const MIN_BLOCK_SIZE: u32 = 512;
const MAX_BLOCK_SIZE: u32 = 65_536;

/// What is needed to verify a root image block by block against its hash image.
///
/// One read from a manifest has passed [`Verity::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Verity {
    /// The hash function of the tree.
    pub algorithm: VerityAlgorithm,
    /// The hash of the tree's top block, salted.
    pub root_hash: Digest,
    /// The salt hashed in front of every block.
    pub salt: Salt,
    /// Bytes in a block of the root image; 4096 as a rule.
    pub data_block_size: u32,
    /// Bytes in a block of the hash tree; 4096 as a rule.
    pub hash_block_size: u32,
    /// Blocks of the root image that the tree covers.
    pub data_blocks: u64,
}

impl Verity {
    /// Checks what the types of the fields cannot say.
    ///
    /// Both block sizes are powers of two from 512 to 65536, at least one block is covered, and
    /// the covered bytes can be counted in a `u64`.
    pub fn check(&self) -> Result<(), VerityError> {
        for size in [self.data_block_size, self.hash_block_size] {
            ensure!(
                size.is_power_of_two() && (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&size),
                BlockSizeSnafu { size }
            );
        }
        ensure!(self.data_blocks > 0, NoBlocksSnafu);
        self.data_len().map(|_| ())
    }

    /// Bytes of the root image that the tree covers.
    pub fn data_len(&self) -> Result<u64, VerityError> {
        self.data_blocks
            .checked_mul(u64::from(self.data_block_size))
            .context(TooManyBlocksSnafu {
                blocks: self.data_blocks,
                size: self.data_block_size,
            })
    }
}

/// The hash functions of a verity tree. There is one: an unknown name is refused, because a tree
/// that cannot be checked must not pass for one that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerityAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
}

/// The salt of a verity tree: at most [`MAX_SALT_LEN`] bytes, possibly none; hexadecimal as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// Accepts at most [`MAX_SALT_LEN`] bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, VerityError> {
        ensure!(
            bytes.len() <= MAX_SALT_LEN,
            SaltLengthSnafu {
                length: bytes.len()
            }
        );
        Ok(Self(bytes))
    }

    /// The salt's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Salt {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<Self, VerityError> {
        Self::new(hex::decode(text).context(SaltDigitsSnafu)?)
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Why verity facts are refused.
#[derive(Clone, Debug, PartialEq, Snafu)]
#[non_exhaustive]
pub enum VerityError {
    /// A block size is no power of two from 512 to 65536.
    #[snafu(display(
        "block size {size} is not a power of two from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE}"
    ))]
    BlockSize {
        /// The size.
        size: u32,
    },

    /// The tree covers nothing.
    #[snafu(display("a verity tree covers at least one block"))]
    NoBlocks,

    /// The covered bytes do not fit in a `u64`.
    #[snafu(display("{blocks} blocks of {size} bytes are more than can be counted"))]
    TooManyBlocks {
        /// The number of blocks.
        blocks: u64,
        /// The size of each.
        size: u32,
    },

    /// The salt is longer than [`MAX_SALT_LEN`] bytes.
    #[snafu(display("the salt has {length} bytes, the longest allowed has {MAX_SALT_LEN}"))]
    SaltLength {
        /// The salt's length in bytes.
        length: usize,
    },

    /// The salt's text is not hexadecimal.
    #[snafu(display("the salt is not an even number of hexadecimal digits"))]
    SaltDigits {
        /// What is wrong with the digits.
        source: hex::FromHexError,
    },
}

#[derive(Deserialize)]
struct Unchecked {
    algorithm: VerityAlgorithm,
    root_hash: Digest,
    salt: Salt,
    data_block_size: u32,
    hash_block_size: u32,
    data_blocks: u64,
}

impl TryFrom<Unchecked> for Verity {
    type Error = VerityError;

    fn try_from(raw: Unchecked) -> Result<Self, VerityError> {
        let verity = Self {
            algorithm: raw.algorithm,
            root_hash: raw.root_hash,
            salt: raw.salt,
            data_block_size: raw.data_block_size,
            hash_block_size: raw.hash_block_size,
            data_blocks: raw.data_blocks,
        };
        verity.check()?;
        Ok(verity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verity() -> Verity {
        Verity {
            algorithm: VerityAlgorithm::Sha256,
            root_hash: Digest::from([0xab; 32]),
            salt: Salt::new(vec![0x0b, 0xad]).unwrap(),
            data_block_size: 4096,
            hash_block_size: 4096,
            data_blocks: 1000,
        }
    }

    fn json() -> String {
        format!(
            r#"{{"algorithm":"sha256","root_hash":"{}","salt":"0bad","data_block_size":4096,"hash_block_size":4096,"data_blocks":1000}}"#,
            "ab".repeat(32)
        )
    }

    fn refused(json: &str) -> String {
        serde_json::from_str::<Verity>(json)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn verity_facts_have_one_written_form() {
        assert_eq!(serde_json::to_string(&verity()).unwrap(), json());
        assert_eq!(serde_json::from_str::<Verity>(&json()).unwrap(), verity());
        assert_eq!(verity().data_len(), Ok(4_096_000));
    }

    #[test]
    fn an_unknown_algorithm_is_refused() {
        assert_eq!(
            refused(&json().replace("sha256", "sha1")),
            "unknown variant `sha1`, expected `sha256` at line 1 column 19"
        );
    }

    #[test]
    fn block_sizes_are_powers_of_two_within_bounds() {
        for size in [512, 1024, 4096, 65_536] {
            let verity = Verity {
                data_block_size: size,
                hash_block_size: size,
                ..verity()
            };
            assert_eq!(verity.check(), Ok(()), "{size}");
        }
        for size in [0, 1, 256, 511, 513, 4095, 4097, 12_288, 131_072, u32::MAX] {
            let error = Err(VerityError::BlockSize { size });
            assert_eq!(
                Verity {
                    data_block_size: size,
                    ..verity()
                }
                .check(),
                error
            );
            assert_eq!(
                Verity {
                    hash_block_size: size,
                    ..verity()
                }
                .check(),
                error
            );
        }
        assert_eq!(
            refused(&json().replace("4096", "4097")),
            "block size 4097 is not a power of two from 512 to 65536"
        );
    }

    #[test]
    fn the_covered_bytes_are_countable_and_not_none() {
        let blocks = u64::MAX / 4096;
        assert_eq!(
            Verity {
                data_blocks: blocks,
                ..verity()
            }
            .check(),
            Ok(())
        );
        assert_eq!(
            Verity {
                data_blocks: blocks + 1,
                ..verity()
            }
            .check(),
            Err(VerityError::TooManyBlocks {
                blocks: blocks + 1,
                size: 4096
            })
        );
        assert_eq!(
            Verity {
                data_blocks: 0,
                ..verity()
            }
            .check(),
            Err(VerityError::NoBlocks)
        );
    }

    #[test]
    fn a_salt_has_any_length_up_to_256_bytes() {
        for length in [0, 1, 32, 256] {
            let salt = Salt::new(vec![0x5a; length]).unwrap();
            assert_eq!(salt.to_string(), "5a".repeat(length));
            assert_eq!(salt.to_string().parse(), Ok(salt));
        }
        assert_eq!(
            Salt::new(vec![0; 257]),
            Err(VerityError::SaltLength { length: 257 })
        );
        assert_eq!(
            "00".repeat(257).parse::<Salt>(),
            Err(VerityError::SaltLength { length: 257 })
        );
        for text in ["0", "0g", " 00", "0x00"] {
            assert_eq!(
                text.parse::<Salt>().unwrap_err().to_string(),
                "the salt is not an even number of hexadecimal digits"
            );
        }
    }
}
