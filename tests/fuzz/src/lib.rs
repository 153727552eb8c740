//! What no bytes on a disk may make signpost do.
//!
//! A fuzzer's input is a small disk with two partition sets and changes to its tables ([`input`]).
//! Everything that reads or changes a table is let loose on it ([`check`]), on a disk that takes
//! every change back afterwards ([`journal`]). A broken promise is a panic.

pub mod check;
pub mod facts;
pub mod input;
pub mod journal;
/// The same judge by hand that the differential test uses.
#[path = "../../src/tables/raw.rs"]
pub mod raw;
pub mod seeds;

use input::Input;

/// Takes a fuzzer's input for a disk with sectors of this size and checks every promise on it.
pub fn run(data: &[u8], sector: usize) {
    if let Some(input) = Input::parse(data) {
        input.on_disk(sector, |disk, act| check::check(disk, sector, act));
    }
}
