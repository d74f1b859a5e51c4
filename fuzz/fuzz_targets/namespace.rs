//! Namespace templates, and topics and filters bound by them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| policy::fuzz::namespace(bytes));
