//! A claim's text, and the names, fingerprints and times that stand in URLs and settings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| identity::fuzz::claim(bytes));
