//! Pure: the update manifest, waves and migration paths as types and decisions. No I/O, no clock,
//! no async: what a decision depends on is passed to it as a value.
//!
#![doc = include_str!("../README.md")]

pub mod block_map;
pub mod edit;
#[cfg(feature = "lz4")]
pub mod lz4;
pub mod manifest;
pub mod migrations;
pub mod release_toml;
pub mod select;
pub mod version_lock;
pub mod wave;
pub mod wave_plan;

mod bounded;
mod chain;
mod digest;
mod gate;
mod held;
mod images;
mod migration_key;
mod migration_path;
mod os_release;
mod seed;
mod start_after;
mod stored;
mod target_name;
mod verity;

pub use digest::{Digest, DigestError};
pub use edit::{EditError, NewUpdate};
pub use held::{Held, HeldKind};
pub use images::{BlockMaps, ImageKind, Images, RawImage, RawImages};
pub use manifest::{
    MANIFEST_TARGET, MAX_MANIFEST_BYTES, MAX_UPDATES, Manifest, ManifestError, Update,
};
pub use migration_path::{Direction, MigrationPath, MissingMigration};
pub use migrations::{MAX_MIGRATION_TARGETS, MAX_MIGRATIONS, MigrationError, MigrationGraph};
pub use os_release::{MAX_OS_RELEASE_BYTES, OsRelease, OsReleaseError};
pub use release_toml::{Release, ReleaseError};
pub use seed::{MAX_SEED, Seed, SeedError};
pub use select::{
    Decision, Explanation, Gate, GateName, Host, Selection, UpdateDirection, UpdatePolicy,
    WaveCheck, candidates, select,
};
pub use stored::Stored;
pub use target_name::{MAX_NAME_LEN, NameError, check_target_name};
pub use verity::{MAX_SALT_LEN, Salt, Verity, VerityAlgorithm, VerityError};
pub use version_lock::{VersionLock, VersionLockError, parse_friendly_version};
pub use wave::{MAX_WAVES, Wave, WaveError, WaveSchedule};
pub use wave_plan::{StartAfter, StartAfterError, WavePlan, WavePlanError};
