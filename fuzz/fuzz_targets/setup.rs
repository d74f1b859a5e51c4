//! What supervisor and roles tell each other.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palisade::fuzz::setup(bytes));
