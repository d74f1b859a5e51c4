//! What control asks custody, which certifies nothing that it must not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| control::fuzz::ask(bytes));
