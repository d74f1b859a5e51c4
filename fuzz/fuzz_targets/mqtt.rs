//! MQTT packets of both versions, from both sides, one by one and as streams.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| messaging::fuzz::mqtt(bytes));
