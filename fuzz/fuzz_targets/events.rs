//! Server-sent events, as the command line reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palisade::fuzz::events(bytes));
