//! What control and a gateway say to each other: one message has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::{Downlink, Uplink};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Uplink::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
    if let Ok(message) = Downlink::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
});
