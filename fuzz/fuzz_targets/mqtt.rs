//! MQTT packets of both versions, from both sides: what is read is written back as it came.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use messaging::mqtt::{self, Side, Version};

fuzz_target!(|bytes: &[u8]| {
    for version in [Version::V311, Version::V5] {
        for side in [Side::Client, Side::Server] {
            let Ok(packet) = mqtt::decode(version, side, Bytes::copy_from_slice(bytes)) else { continue };
            let mut again = bytes::BytesMut::new();
            mqtt::encode(&packet, version, &mut again).expect("what was read can be written");
            let read = mqtt::decode(version, side, again.freeze()).expect("what was written can be read");
            assert_eq!(read, packet);
        }
    }
});
