//! What control and a gateway say to each other: one message has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| policy::fuzz::link(bytes));
