//! Manifests, and what a host decides on them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::manifest::run(data));
