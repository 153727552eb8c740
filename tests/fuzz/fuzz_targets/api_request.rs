//! The bytes of a connection to the update API.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| updog_fuzz::api_request::run(data));
