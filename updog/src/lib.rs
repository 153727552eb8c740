//! A/B updates from a signed repository.
//!
//! The client (`updog`) chooses an update for this host from a TUF-signed manifest and streams its
//! root, boot and dm-verity hash images into the inactive partition set; nothing becomes bootable
//! that was not read back from the disk and matched against signed digests. The publisher's side
//! (`updata`) builds and signs such repositories.
//!
//! Decisions are pure and live in `update-metadata`, `signpost` and [`image::verity`]; what touches
//! network, disk, clock or processes sits behind small ports gathered in [`env::Env`].

pub mod api;
pub mod apiclient;
pub mod boot_id;
pub mod cancel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod digest;
pub mod durable;
pub mod env;
pub mod event;
pub mod exit;
pub mod image;
pub mod lock;
pub mod os_release;
pub mod publish;
pub mod reboot;
pub mod rehearsal;
pub mod render;
pub mod repository;
pub mod scratch;
pub mod session;
pub mod sets;
pub mod state_file;
pub mod thar_be_updates;
pub mod watch;
