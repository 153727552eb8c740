//! Bytes that should be one LZ4 frame.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::lz4::run(data));
