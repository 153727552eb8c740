//! The publisher's side: what `updata` does, one verb a module.
//!
//! Each verb is a function from its arguments to its outcome (`XArgs`, `run`, `XOutcome`), with an
//! error of its own. The functions block: they start a small runtime for the TUF library where they
//! need one, and so must not be called from inside another. None of them prints, reads the clock or
//! ends the process; [`cli`] does the first, the caller passes `now`.
//!
//! | Verb                                                                | Module               |
//! |---------------------------------------------------------------------|----------------------|
//! | `keys new`, `keys public`                                           | [`keys`], [`keys_public`] |
//! | `root new`, `root rotate`, `root publish`                           | [`root`], [`root_rotate`], [`root_publish`] |
//! | `verity`                                                            | [`verity`]           |
//! | `release`, `add-block-maps`                                         | [`release`], [`add_block_maps`] |
//! | `sign`, `publish`                                                   | [`sign`], [`publish_staged`] |
//! | `refresh`, `inspect`                                                | [`refresh`], [`inspect`] |
//! | `lint`                                                              | [`lint`]             |
//! | `disk`                                                              | [`disk`]             |
//! | `init`, `validate`                                                  | [`init`], [`validate`] |
//! | `add-update`, `remove-update`                                       | [`add_update`], [`remove_update`] |
//! | `set-waves`, `set-max-version`, `set-migrations`                    | [`set_waves`], [`set_max_version`], [`set_migrations`] |
//!
//! What they have in common: a file is written whole or not at all ([`durable`]), nothing that
//! exists is overwritten unless it is a manifest that is being edited, and a refusal by rule
//! (`is_refusal`, exit code 4) is told apart from a failure.

pub mod add_block_maps;
pub mod add_update;
pub mod cli;
pub mod disk;
pub mod init;
pub mod inspect;
pub mod keys;
pub mod keys_public;
pub mod lint;
pub mod publish_staged;
pub mod refresh;
pub mod release;
pub mod remove_update;
pub mod root;
pub mod root_publish;
pub mod root_rotate;
pub mod set_max_version;
pub mod set_migrations;
pub mod set_waves;
pub mod sign;
pub mod validate;
pub mod verity;

pub mod block_map;
pub mod boot_check;
pub mod compression;
pub mod durable;
pub mod event;
pub mod file_transport;
pub mod hash_image;
pub mod image_file;
pub mod key_file;
pub mod keyring;
pub mod manifest_file;
pub mod period;
pub mod progress;
pub mod published;
pub mod random;
pub mod signatures;
pub mod stage;
pub mod standing;
pub mod tuf;
pub mod wave_file;
pub mod word;

mod bounded;
mod hashed;
mod instant;
