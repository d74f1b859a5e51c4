//! Our MQTT codec against another: what we read, the other reads too, and both write the same.
#![no_main]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use messaging::mqtt::{Packet, Side, Version, decode, encode};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

fuzz_target!(|bytes: &[u8]| {
    for version in [Version::V311, Version::V5] {
        for side in [Side::Client, Side::Server] {
            compare(version, side, bytes);
        }
    }
});

fn compare(version: Version, side: Side, bytes: &[u8]) {
    let Ok(packet) = decode(version, side, Bytes::copy_from_slice(bytes)) else { return };
    let version = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    if is_refused_elsewhere(&packet) {
        return;
    }
    let mut ours = BytesMut::new();
    encode(&packet, version, &mut ours).expect("what was read can be written");
    let theirs = match version {
        Version::V311 => of_v311(&ours),
        Version::V5 => of_v5(&ours),
    };
    assert_eq!(theirs.as_deref(), Ok(&ours[..]), "{packet:?}");
}

/// Names what the specification allows and the other does not read.
fn is_refused_elsewhere(packet: &Packet) -> bool {
    match packet {
        // MQTT 5.0 §3.1.2.9: a password may come without a user name.
        Packet::Connect(connect) => connect.password.is_some() && connect.username.is_none(),
        _ => false,
    }
}

/// Takes a frame apart: the first byte's flags and what follows the length.
fn parts(frame: &[u8]) -> (u8, u8, &[u8]) {
    let n_length_bytes = frame[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
    (frame[0] >> 4, frame[0] & 0x0f, &frame[1 + n_length_bytes..])
}

macro_rules! read {
    ($frame:expr, $module:ident, [$($number:pat => $kind:ident),* $(,)?]) => {{
        let (number, flags, body) = parts($frame);
        match number {
            3 => {
                let read = $module::Publish::parse(flags, Arc::from(body));
                read.map(|(packet, n_read)| {
                    assert_eq!(n_read, body.len());
                    packet.to_continuous_buffer()
                })
            }
            $($number => $module::$kind::parse(body).map(|(packet, n_read)| {
                assert_eq!(n_read, body.len());
                packet.to_continuous_buffer()
            }),)*
            other => panic!("packet {other}"),
        }
        .map_err(|error| format!("{error:?}"))
    }};
}

fn of_v311(frame: &[u8]) -> Result<Vec<u8>, String> {
    read!(frame, v3_1_1, [
        1 => Connect, 2 => Connack, 4 => Puback, 5 => Pubrec, 6 => Pubrel, 7 => Pubcomp, 8 => Subscribe,
        9 => Suback, 10 => Unsubscribe, 11 => Unsuback, 12 => Pingreq, 13 => Pingresp, 14 => Disconnect,
    ])
}

fn of_v5(frame: &[u8]) -> Result<Vec<u8>, String> {
    read!(frame, v5_0, [
        1 => Connect, 2 => Connack, 4 => Puback, 5 => Pubrec, 6 => Pubrel, 7 => Pubcomp, 8 => Subscribe,
        9 => Suback, 10 => Unsubscribe, 11 => Unsuback, 12 => Pingreq, 13 => Pingresp, 14 => Disconnect,
        15 => Auth,
    ])
}
