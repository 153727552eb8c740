//! Block maps.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::block_map::run(data));
