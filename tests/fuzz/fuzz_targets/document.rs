//! Declarative migrations, and what they do to settings.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::document::run(data));
