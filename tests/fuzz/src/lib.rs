//! What no bytes from a disk or a repository may make the programs do. A broken promise is a panic.
//!
//! For the partition table a fuzzer's input is a small disk with two partition sets and changes to
//! its tables ([`input`]). Everything that reads or changes a table is let loose on it ([`check`]),
//! on a disk that takes every change back afterwards ([`journal`]).
//!
//! The other targets each have a module with their promises: [`manifest`], [`wave_plan`],
//! [`verity`], [`lz4`], [`zstd`], [`block_map`], [`document`], [`announced`], [`api_request`]. What a
//! fuzzer would never guess, a right checksum or a date, is made from its bytes.

pub mod announced;
pub mod api_request;
pub mod block_map;
pub mod check;
pub mod document;
pub mod facts;
pub mod input;
pub mod journal;
pub mod lz4;
pub mod manifest;
/// The same judge by hand that the differential test uses.
#[path = "../../src/tables/raw.rs"]
pub mod raw;
pub mod seeds;
pub mod verity;
pub mod wave_plan;
pub mod zstd;

use input::Input;

/// Takes a fuzzer's input for a disk with sectors of this size and checks every promise on it.
pub fn run(data: &[u8], sector: usize) {
    if let Some(input) = Input::parse(data) {
        input.on_disk(sector, |disk, act| check::check(disk, sector, act));
    }
}
