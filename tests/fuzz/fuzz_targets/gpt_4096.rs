//! Tables on sectors of 4096 bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::run(data, 4096));
