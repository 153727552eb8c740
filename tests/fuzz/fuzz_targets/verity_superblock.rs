//! Superblocks of dm-verity, and the trees of small images.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::verity::run(data));
