//! What a verb works with, wired once by the program.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use signpost::store::Error as StoreError;
use signpost::{Access, ActiveChoice, DiskChoice, SlotStore};
use snafu::{ResultExt, Snafu};
use update_metadata::{Host, WaveCheck};

use crate::cancel::Cancel;
use crate::config::{Config, ConfigError};
use crate::event::Observer;
use crate::os_release::{self, OsRelease, OsReleaseError};
use crate::repository::RepositorySettings;
use crate::repository::cache::CacheFolders;
use crate::sets::{FactsStore, Verified};
use crate::watch::Watch;
use crate::{boot_id, clock};

/// The outside of a session: settings, the time of the run, and who looks on.
pub struct Env {
    /// Validated settings.
    pub config: Config,
    /// The one time of this run.
    pub now: DateTime<Utc>,
    /// The disk that carries the partition sets.
    pub disk: Box<dyn OpenDisk + Send + Sync>,
    /// Which boot this is; empty where the kernel does not say.
    pub boot_id: String,
    /// Sees what happens.
    pub observer: Arc<dyn Observer>,
    /// Whether to stop.
    pub cancel: Cancel,
}

/// Opens the disk that carries the partition sets, for reading and writing.
pub trait OpenDisk {
    /// The disk as it is now, with the running set known.
    ///
    /// # Errors
    /// When the disk or the running set cannot be found, or the disk cannot be opened.
    fn open(&self) -> Result<SlotStore, StoreError>;

    /// The same for whoever only looks.
    ///
    /// # Errors
    /// As [`OpenDisk::open`].
    fn look(&self) -> Result<SlotStore, StoreError> {
        self.open()
    }
}

/// The disk that the configuration names.
#[derive(Debug, Clone)]
pub struct ConfiguredDisk {
    /// Which disk.
    pub disk: DiskChoice,
    /// Which set runs.
    pub active: ActiveChoice,
}

impl OpenDisk for ConfiguredDisk {
    fn open(&self) -> Result<SlotStore, StoreError> {
        SlotStore::open(&self.disk, self.active, Access::ReadWrite)
    }

    fn look(&self) -> Result<SlotStore, StoreError> {
        SlotStore::open(&self.disk, self.active, Access::ReadOnly)
    }
}

/// The running system is not known, so nothing can be chosen for it.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum HostError {
    /// What runs is not known.
    #[snafu(display("finding out what runs here"))]
    OsRelease { source: OsReleaseError },
    /// The place in the waves is not known.
    #[snafu(display("finding this host's place in the waves"))]
    Seed { source: ConfigError },
}

impl Env {
    /// The outside as `config` describes it, now.
    pub fn of(config: Config, observer: Arc<dyn Observer>, cancel: Cancel) -> Self {
        let disk = ConfiguredDisk {
            disk: config.disk.clone(),
            active: config.active,
        };
        Self {
            config,
            disk: Box::new(disk),
            now: clock::now(),
            boot_id: boot_id::read(),
            observer,
            cancel,
        }
    }

    /// The host that chooses, with the variant replaced where an operator asks for another.
    ///
    /// # Errors
    /// When the os-release file is unreadable or says too little, or there is no seed.
    pub fn host(&self, variant: Option<&str>) -> Result<Host, HostError> {
        let os = OsRelease::load(&self.config.os_release).context(OsReleaseSnafu)?;
        Ok(Host {
            variant: variant.map_or(os.variant, str::to_owned),
            arch: os_release::ARCH.to_owned(),
            version: os.version,
            seed: self.config.seed.read().context(SeedSnafu)?,
        })
    }

    /// Whether to wait for the wave, by what was asked for and by the configuration.
    pub fn waves(&self, asked: WaveCheck) -> WaveCheck {
        if self.config.ignore_waves {
            WaveCheck::Ignore
        } else {
            asked
        }
    }

    /// What is handed down to whatever takes time.
    pub fn watch(&self) -> Watch {
        Watch::new(self.observer.clone(), self.cancel.clone())
    }

    /// The records of what the sets hold.
    pub fn facts(&self) -> FactsStore {
        FactsStore::new(&self.config.state_dir)
    }

    /// The two folders that the migrator of the next boot is given.
    pub fn cache_folders(&self) -> CacheFolders<'_> {
        CacheFolders {
            metadata: &self.config.metadata_cache,
            targets: &self.config.migrations_dir,
        }
    }

    /// The mark of a verification in this run.
    pub fn verified_now(&self) -> Verified {
        Verified {
            at: self.now,
            boot_id: self.boot_id.clone(),
        }
    }

    /// How the repository is reached, telling it nothing but what is asked for.
    pub fn repository_settings(&self) -> RepositorySettings {
        let config = &self.config;
        RepositorySettings {
            metadata_base_url: config.metadata_base_url.clone(),
            targets_base_url: config.targets_base_url.clone(),
            trusted_root: config.trusted_root.clone(),
            trust_dir: config.state_dir.join("tuf"),
            transport: config.transport.clone(),
            query: Vec::new(),
            watch: self.watch(),
        }
    }

    /// The same for an update of `host`: every request tells version and seed, so that a server
    /// can see how far a rollout has come.
    pub fn repository_settings_of(&self, host: &Host) -> RepositorySettings {
        RepositorySettings {
            query: vec![
                ("version", host.version.to_string()),
                ("seed", host.seed.get().to_string()),
            ],
            ..self.repository_settings()
        }
    }
}
