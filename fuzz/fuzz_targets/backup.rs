//! A backup: its first lines, its pieces, and all of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| journal::fuzz::backup(bytes));
