//! `updata verity`: the root hash and salt that go into a boot image, and the hash image.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use snafu::Snafu;
use update_metadata::{Digest, Salt};

use super::durable::{self, DurableError};
use super::event::Observer;
use super::hash_image::{self, HashImageError, HashSource};
use super::image_file::{ImageFile, ImageFileError};

/// Which root image, and where its hash image goes.
#[derive(Debug, Clone, Args)]
pub struct VerityArgs {
    /// The root image; a whole number of 4,096-byte blocks
    #[arg(value_name = "ROOT")]
    pub root_image: PathBuf,
    /// Write the hash image here; an older one is replaced
    #[arg(long, value_name = "FILE")]
    pub hash_out: Option<PathBuf>,
    /// The salt, at most 256 bytes; without it 32 random ones. Give one to all releases of a variant
    #[arg(long, value_name = "HEX")]
    pub salt: Option<Salt>,
}

/// What a boot image has to say about the root image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerityOutcome {
    /// The hash of the whole tree.
    pub root_hash: Digest,
    /// What was hashed before each block.
    pub salt: Salt,
    /// Blocks of the root image.
    pub data_blocks: u64,
    /// Bytes of one.
    pub data_block_size: u32,
    /// Bytes of a block of the tree.
    pub hash_block_size: u32,
    /// Bytes of the hash image.
    pub hash_length: u64,
    /// Where the hash image was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_image: Option<PathBuf>,
}

/// Why there is no tree.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The root image cannot be opened.
    #[snafu(transparent)]
    File { source: ImageFileError },
    /// The root image has no tree.
    #[snafu(transparent)]
    Hash { source: HashImageError },
    /// The hash image cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Durable { source } if source.is_refusal())
    }
}

/// Hashes the root image, and writes the hash image where one is asked for.
pub fn run(args: &VerityArgs, observer: Observer<'_>) -> Result<VerityOutcome, Error> {
    let mut root = ImageFile::open(&args.root_image)?;
    let source = HashSource::from_options(None, args.salt.as_ref());
    let hashed = hash_image::hash_root(&mut root, source, observer)?;
    if let Some(path) = &args.hash_out {
        durable::replace(path, &hashed.hash_image)?;
    }
    let facts = hashed.tree.facts();
    Ok(VerityOutcome {
        root_hash: facts.root_hash,
        salt: facts.salt,
        data_blocks: facts.data_blocks,
        data_block_size: facts.data_block_size,
        hash_block_size: facts.hash_block_size,
        hash_length: hashed.tree.geometry().hash_length(),
        hash_image: args.hash_out.clone(),
    })
}

impl fmt::Display for VerityOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "root hash  {}", self.root_hash)?;
        writeln!(f, "salt       {}", self.salt)?;
        write!(
            f,
            "blocks     {} of {} bytes",
            self.data_blocks, self.data_block_size
        )?;
        if let Some(path) = &self.hash_image {
            write!(
                f,
                "\nhash image {} ({} bytes)",
                path.display(),
                self.hash_length
            )?;
        }
        Ok(())
    }
}
