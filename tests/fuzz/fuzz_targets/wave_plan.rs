//! Wave policies, and when they let each host in.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::wave_plan::run(data));
