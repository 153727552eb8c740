//! The program `updata`, as a publisher runs it: every verb, and what each refuses.

// Clippy exempts tests from this lint, but not the functions that they share.
#![allow(clippy::unwrap_used)]

mod lab;

mod block_maps;
mod delegations;
mod disk;
mod forge;
mod inspect;
mod key_forms;
mod keys;
mod lint;
mod manifest;
mod paths;
mod refresh;
mod release;
mod release_interrupted;
mod release_refused;
mod rotation;
mod rotation_interrupted;
mod rotation_refused;
mod signers;
mod signers_refused;
mod standing;
mod verity;
