//! Requests to the API: bodies and query strings, each by the types of its own route.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| control::fuzz::request(bytes));
