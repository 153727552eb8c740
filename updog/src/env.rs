//! What a verb works with, wired once by the program.

use chrono::{DateTime, Utc};
use snafu::{ResultExt, Snafu};
use update_metadata::Host;

use crate::config::Config;
use crate::event::Observer;
use crate::os_release::{self, OsRelease, OsReleaseError};
use crate::repository::RepositorySettings;
use crate::sets::{FactsStore, Verified};

/// The outside of a session: settings, the time of the run, and who looks on.
pub struct Env {
    /// Validated settings.
    pub config: Config,
    /// The one time of this run.
    pub now: DateTime<Utc>,
    /// Which boot this is; empty where the kernel does not say.
    pub boot_id: String,
    /// Sees what happens.
    pub observer: Box<dyn Observer>,
}

/// The running system is not known, so nothing can be chosen for it.
#[derive(Debug, Snafu)]
#[snafu(display("finding out what runs here"))]
pub struct HostError {
    source: OsReleaseError,
}

impl Env {
    /// The host that chooses, with the variant replaced where an operator asks for another.
    ///
    /// # Errors
    /// When the os-release file is unreadable or says too little.
    pub fn host(&self, variant: Option<&str>) -> Result<Host, HostError> {
        let os = OsRelease::load(&self.config.os_release).context(HostSnafu)?;
        Ok(Host {
            variant: variant.map_or(os.variant, str::to_owned),
            arch: os_release::ARCH.to_owned(),
            version: os.version,
            seed: self.config.seed,
        })
    }

    /// The records of what the sets hold.
    pub fn facts(&self) -> FactsStore {
        FactsStore::new(&self.config.state_dir)
    }

    /// The mark of a verification in this run.
    pub fn verified_now(&self) -> Verified {
        Verified {
            at: self.now,
            boot_id: self.boot_id.clone(),
        }
    }

    /// How the repository is reached by `host`. Every request tells version and seed, so that a
    /// server can see how far a rollout has come.
    pub fn repository_settings(&self, host: &Host) -> RepositorySettings {
        let config = &self.config;
        RepositorySettings {
            metadata_base_url: config.metadata_base_url.clone(),
            targets_base_url: config.targets_base_url.clone(),
            trusted_root: config.trusted_root.clone(),
            trust_dir: config.state_dir.join("tuf"),
            connect_timeout: config.connect_timeout,
            stall_timeout: config.stall_timeout,
            https_proxy: config.https_proxy.clone(),
            no_proxy: config.no_proxy.clone(),
            query: vec![
                ("version", host.version.to_string()),
                ("seed", host.seed.get().to_string()),
            ],
        }
    }
}
