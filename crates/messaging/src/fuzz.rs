//! What a fuzz target calls: any bytes give packets or an error, however they arrive, and a packet
//! that is written out and read again is the same.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::mqtt::{DecodeError, Decoder, Packet, PacketLimits, Side, Version, decode, encode};
use crate::topic::{Filter, Topic};

/// Reads bytes as one packet, as a stream of them, and as a topic and a filter.
pub fn mqtt(bytes: &[u8]) {
    for version in [Version::V311, Version::V5] {
        for side in [Side::Client, Side::Server] {
            packet(version, side, bytes);
        }
        stream(|| Decoder::for_client(version, 200), bytes);
    }
    stream(|| Decoder::for_server(PacketLimits { connect: 100, packet: 200 }), bytes);
    let topic = Topic::parse(Bytes::copy_from_slice(bytes));
    let filter = Filter::parse(Bytes::copy_from_slice(bytes));
    if let (Ok(topic), Ok(filter)) = (&topic, &filter) {
        assert!(filter.matches(topic), "a topic does not match itself");
    }
    topic.err().iter().for_each(|error| told(error));
    filter.err().iter().for_each(|error| told(error));
}

fn packet(version: Version, side: Side, bytes: &[u8]) {
    let packet = match decode(version, side, Bytes::copy_from_slice(bytes)) {
        Ok(packet) => packet,
        Err(error) => return told(&error),
    };
    // A CONNECT says its own version.
    let written = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut out = BytesMut::new();
    encode(&packet, written, &mut out).expect("what was read can be written");
    // A reader takes some packets without the reason or the length that we write out.
    assert!(out.len() <= bytes.len() + 2, "what was read is written longer than it came");
    assert_eq!(decode(version, side, out.freeze()), Ok(packet));
}

/// Reads a stream as it comes whole, and as it comes byte by byte.
fn stream(decoder: impl Fn() -> Decoder, bytes: &[u8]) {
    let (whole, dripped) = (read(decoder(), bytes, bytes.len().max(1)), read(decoder(), bytes, 1));
    assert_eq!(whole, dripped);
}

fn read(
    mut decoder: Decoder,
    bytes: &[u8],
    n_at_once: usize,
) -> (Vec<Packet>, Option<DecodeError>) {
    let (mut packets, mut buffer) = (Vec::new(), BytesMut::new());
    for piece in bytes.chunks(n_at_once) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    told(&error);
                    return (packets, Some(error));
                }
            }
        }
    }
    (packets, None)
}

fn told(error: &dyn fmt::Display) {
    let text = error.to_string();
    assert!(text.len() <= 500 && !text.chars().any(char::is_control), "{text:?}");
}
