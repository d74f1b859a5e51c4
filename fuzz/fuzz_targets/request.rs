//! A certificate request in DER.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| identity::fuzz::request(bytes));
