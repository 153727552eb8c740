//! This host's place in the waves, from the configuration or from the machine id.

use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use snafu::ResultExt;
use update_metadata::Seed;

use super::{ConfigError, NoSeedSnafu};

pub(super) const MACHINE_ID: &str = "/etc/machine-id";

/// Where this host's place in the waves comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedSource {
    /// The configuration.
    Written(Seed),
    /// The machine id.
    MachineId {
        /// The configuration that has no seed, for the message.
        config: PathBuf,
    },
}

impl SeedSource {
    /// The seed; reads the machine id where it is needed, and not before.
    ///
    /// # Errors
    /// [`ConfigError::NoSeed`].
    pub fn read(&self) -> Result<Seed, ConfigError> {
        self.read_with(|| fs::read_to_string(MACHINE_ID))
    }

    pub(super) fn read_with(
        &self,
        machine_id: impl FnOnce() -> io::Result<String>,
    ) -> Result<Seed, ConfigError> {
        match self {
            Self::Written(seed) => Ok(*seed),
            Self::MachineId { config } => {
                let id = machine_id().context(NoSeedSnafu { path: config })?;
                Ok(derive(id.trim()))
            }
        }
    }
}

/// A host without a configured seed keeps one place in the waves for as long as it keeps its
/// machine id. The id itself is confidential (machine-id(5)), hence the keyed hash.
pub(super) fn derive(machine_id: &str) -> Seed {
    let hash = Sha256::new()
        .chain_update(b"updog wave seed\0")
        .chain_update(machine_id)
        .finalize();
    let first = hash
        .first_chunk::<8>()
        .expect("a SHA-256 digest has 32 bytes");
    Seed::from_u64(u64::from_be_bytes(*first))
}
