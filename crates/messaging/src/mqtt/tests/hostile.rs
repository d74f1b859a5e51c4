//! Bytes that lie, and how each is refused.

use super::*;
use crate::text::TextError;
use crate::topic::TopicError;

#[test]
fn packets_that_break_the_specification_are_refused() {
    use DecodeError as E;
    let (v311, v5, server, client) = (Version::V311, Version::V5, Side::Server, Side::Client);
    let kind = Kind::Publish;
    let table: Vec<(Version, Side, &str, DecodeError)> = alloc::vec![
        // Fixed header.
        (v5, server, "00 00", E::UnknownKind { found: 0 }),
        (v311, server, "f0 00", E::UnknownKind { found: 0xf0 }),
        (v5, server, "c1 00", E::Flags { kind: Kind::PingReq, found: 0xc1 }),
        (v5, server, "80 06 00 0a 00 00 01 61", E::Flags { kind: Kind::Subscribe, found: 0x80 }),
        (v5, server, "60 02 00 0a", E::Flags { kind: Kind::PubRel, found: 0x60 }),
        (v5, server, "c0 80 00", E::Length),
        (v5, server, "c0 ff ff ff ff", E::Length),
        (v5, server, "c0 01 00", E::Trailing { kind: Kind::PingReq, n_bytes: 1 }),
        (v5, server, "c0 00 00", E::Trailing { kind: Kind::PingReq, n_bytes: 1 }),
        (v5, server, "30 ff 7f 00", E::Short { kind }),
        // Direction.
        (v5, server, "20 03 00 00 00", E::Direction { kind: Kind::ConnAck }),
        (v5, server, "90 04 00 0a 00 00", E::Direction { kind: Kind::SubAck }),
        (v5, server, "b0 04 00 0a 00 00", E::Direction { kind: Kind::UnsubAck }),
        (v5, server, "d0 00", E::Direction { kind: Kind::PingResp }),
        (v311, client, "e0 00", E::Direction { kind: Kind::Disconnect }),
        // PUBLISH.
        (v311, server, "38 05 00 03 61 2f 62", E::DupOnQoS0),
        (v311, server, "36 07 00 03 61 2f 62 00 01", E::QoS { kind }),
        (v311, server, "32 07 00 03 61 2f 62 00 00", E::PacketId { kind }),
        (v311, server, "30 02 00 00", E::Topic { kind, error: TopicError::Empty }),
        (v5, server, "30 03 00 00 00", E::NoTopic),
        (v311, server, "30 05 00 03 61 2f 2b", E::Topic { kind, error: TopicError::Wildcard }),
        (v311, server, "30 05 00 03 61 2f 23", E::Topic { kind, error: TopicError::Wildcard }),
        (v311, server, "30 05 00 03 61 00 62", E::Topic { kind, error: TopicError::Nul }),
        (v311, server, "30 05 00 03 61 ff 62", E::Topic { kind, error: TopicError::Utf8 }),
        (v311, server, "30 05 00 09 61 2f 62", E::Short { kind }),
        (v311, server, "32 06 00 03 61 2f 62 00", E::Short { kind }),
        (v5, server, "30 08 00 01 61 04 01 00 01 00", E::PropertyRepeated { kind, id: 1 }),
        (v5, server, "30 06 00 01 61 02 01 02", E::PropertyValue { kind, id: 1 }),
        (v5, server, "30 07 00 01 61 03 23 00 00", E::PropertyValue { kind, id: 0x23 }),
        (v5, server, "30 06 00 01 61 02 0b 01", E::Property { kind, id: 0x0b }),
        (v5, client, "30 06 00 01 61 02 0b 00", E::PropertyValue { kind, id: 0x0b }),
        (v5, server, "30 07 00 01 61 03 11 00 00", E::Property { kind, id: 0x11 }),
        (v5, server, "30 06 00 01 61 09 01 00", E::Short { kind }),
        (v5, server, "30 08 00 01 61 02 02 00 00 00", E::Short { kind }),
        // CONNECT.
        (v5, server, "10 0c 00 04 4d 51 54 53 04 02 00 0a 00 00", E::ProtocolName),
        (v5, server, "10 0c 00 04 6d 71 74 74 04 02 00 0a 00 00", E::ProtocolName),
        (v5, server, "10 0c 00 04 4d 51 54 54 06 02 00 0a 00 00", E::ProtocolLevel { found: 6 }),
        (
            v5,
            server,
            "10 0e 00 06 4d 51 49 73 64 70 03 02 00 0a 00 00",
            E::ProtocolLevel { found: 3 }
        ),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 03 00 0a 00 00", connect_flags(0x03)),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 0a 00 0a 00 00", connect_flags(0x0a)),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 22 00 0a 00 00", connect_flags(0x22)),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 42 00 0a 00 00", connect_flags(0x42)),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 1e 00 0a 00 00", E::QoS { kind: Kind::Connect }),
        (v5, server, "10 0d 00 04 4d 51 54 54 04 02 00 0a 00 01 00", nul_at(0)),
        (v5, server, "10 0e 00 04 4d 51 54 54 04 02 00 0a 00 02 61 ff", bad_utf8_at(1)),
        (
            v5,
            server,
            "10 0d 00 04 4d 51 54 54 04 02 00 0a 00 00 61",
            E::Trailing { kind: Kind::Connect, n_bytes: 1 }
        ),
        (v5, server, "10 0c 00 04 4d 51 54 54 04 02 00 0a 00 09", E::Short { kind: Kind::Connect }),
        (
            v5,
            server,
            "10 10 00 04 4d 51 54 54 05 02 00 0a 03 21 00 00 00 00",
            value(Kind::Connect, 0x21)
        ),
        (
            v5,
            server,
            "10 12 00 04 4d 51 54 54 05 02 00 0a 05 27 00 00 00 00 00 00",
            value(Kind::Connect, 0x27)
        ),
        (
            v5,
            server,
            "10 0f 00 04 4d 51 54 54 05 02 00 0a 02 17 02 00 00",
            value(Kind::Connect, 0x17)
        ),
        (
            v5,
            server,
            "10 11 00 04 4d 51 54 54 05 02 00 0a 04 16 00 01 01 00 00",
            E::NoAuthenticationMethod { kind: Kind::Connect }
        ),
        // Acknowledgements.
        (v5, server, "40 02 00 00", E::PacketId { kind: Kind::PubAck }),
        (v311, server, "40 03 00 0a 00", E::Trailing { kind: Kind::PubAck, n_bytes: 1 }),
        (v5, server, "40 03 00 0a 01", E::ReasonCode { kind: Kind::PubAck, found: 1 }),
        (v5, server, "62 03 00 0a 80", E::ReasonCode { kind: Kind::PubRel, found: 0x80 }),
        (v5, server, "40 05 00 0a 00 00 00", E::Trailing { kind: Kind::PubAck, n_bytes: 1 }),
        (v5, client, "20 03 02 00 00", E::PacketFlags { kind: Kind::ConnAck, found: 2 }),
        (v5, client, "20 03 01 87 00", E::PacketFlags { kind: Kind::ConnAck, found: 1 }),
        (v311, client, "20 02 00 06", E::ReasonCode { kind: Kind::ConnAck, found: 6 }),
        (v5, client, "20 05 00 00 02 24 02", value(Kind::ConnAck, 0x24)),
        (v311, client, "90 03 00 0a 03", E::ReasonCode { kind: Kind::SubAck, found: 3 }),
        (v311, client, "90 03 00 0a 87", E::ReasonCode { kind: Kind::SubAck, found: 0x87 }),
        (v5, client, "90 03 00 0a 00", E::Empty { kind: Kind::SubAck }),
        // SUBSCRIBE and UNSUBSCRIBE.
        (v311, server, "82 02 00 0a", E::Empty { kind: Kind::Subscribe }),
        (v311, server, "a2 02 00 0a", E::Empty { kind: Kind::Unsubscribe }),
        (v311, server, "82 06 00 00 00 01 61 00", E::PacketId { kind: Kind::Subscribe }),
        (v311, server, "82 06 00 0a 00 01 61 03", E::QoS { kind: Kind::Subscribe }),
        (v311, server, "82 06 00 0a 00 01 61 04", E::SubscriptionOptions { found: 4 }),
        (v5, server, "82 07 00 0a 00 00 01 61 40", E::SubscriptionOptions { found: 0x40 }),
        (v5, server, "82 07 00 0a 00 00 01 61 30", E::SubscriptionOptions { found: 0x30 }),
        (
            v5,
            server,
            "82 10 00 0a 00 00 0a 24 73 68 61 72 65 2f 67 2f 61 04",
            E::SubscriptionOptions { found: 4 }
        ),
        (v5, server, "82 09 00 0a 02 0b 00 00 01 61 00", value(Kind::Subscribe, 0x0b)),
        (v5, server, "82 0b 00 0a 04 0b 01 0b 02 00 01 61 00", repeated(Kind::Subscribe, 0x0b)),
        (v311, server, "82 07 00 0a 00 02 61 23 00", filter_error(TopicError::Wildcard)),
        (v311, server, "82 05 00 0a 00 00 00", filter_error(TopicError::Empty)),
        (v311, server, "82 05 00 0a 00 01 61", E::Short { kind: Kind::Subscribe }),
        // DISCONNECT and AUTH.
        (v311, server, "e0 01 00", E::Trailing { kind: Kind::Disconnect, n_bytes: 1 }),
        (v5, server, "e0 01 8e", E::ReasonCode { kind: Kind::Disconnect, found: 0x8e }),
        (v5, client, "e0 01 04", E::ReasonCode { kind: Kind::Disconnect, found: 4 }),
        (
            v5,
            client,
            "e0 07 00 05 11 00 00 00 01",
            E::Property { kind: Kind::Disconnect, id: 0x11 }
        ),
        (v5, server, "f0 00", E::ReasonCode { kind: Kind::Auth, found: 0 }),
        (v5, server, "f0 02 18 00", E::NoAuthenticationMethod { kind: Kind::Auth }),
    ];
    for (version, side, bytes, expected) in table {
        assert_eq!(decode(version, side, hex(bytes)), Err(expected), "{bytes}");
    }
}

#[test]
fn first_packet_is_connect() {
    for first in [0x00_u8, 0x20, 0x30, 0xc0, 0xe0, 0xf0, 0x16, 0x47] {
        let mut decoder = Decoder::for_server(PacketLimits::default());
        let expected = match first {
            0x16 => DecodeError::Flags { kind: Kind::Connect, found: first }, // a TLS handshake
            _ => DecodeError::NotConnect { found: first },
        };
        let mut buffer = BytesMut::from([first].as_slice());
        assert_eq!(decoder.decode(&mut buffer), Err(expected));
        assert_eq!(
            decoder.decode(&mut BytesMut::from(&b"\xc0\x00"[..])),
            Err(expected),
            "it stays failed"
        );
    }
}

#[test]
fn lying_length_is_refused_before_anything_is_buffered() {
    let limits = PacketLimits { connect: 100, packet: 1_000 };
    let mut decoder = Decoder::for_server(limits);
    let mut buffer = BytesMut::from(&b"\x10\xff\xff\xff\x7f"[..]);
    assert_eq!(
        decoder.decode(&mut buffer),
        Err(DecodeError::TooLarge { found: 268_435_460, limit: 100 })
    );

    let mut decoder = Decoder::for_server(limits);
    let mut buffer = BytesMut::from(hex("10 0c 00 04 4d 51 54 54 04 02 00 0a 00 00").as_ref());
    assert!(matches!(decoder.decode(&mut buffer), Ok(Some(Packet::Connect(_)))));
    assert_eq!(decoder.version(), Some(Version::V311));
    buffer.extend_from_slice(b"\x30\xe6\x07");
    assert_eq!(
        decoder.decode(&mut buffer),
        Err(DecodeError::TooLarge { found: 1_001, limit: 1_000 })
    );
}

#[test]
fn entries_beyond_the_bound_are_refused() {
    let mut body = hex("00 0a 00").to_vec();
    for _ in 0..=MAX_FILTERS {
        body.extend_from_slice(b"\x00\x01a\x00");
    }
    assert_eq!(
        decode(Version::V5, Side::Server, framed(0x82, &body)),
        Err(too_many(Kind::Subscribe))
    );

    let mut properties = BytesMut::new();
    for _ in 0..=MAX_USER_PROPERTIES {
        properties.extend_from_slice(b"\x26\x00\x00\x00\x00");
    }
    let mut body = BytesMut::from(&b"\x00\x01a"[..]);
    wire::put_variable(&mut body, properties.len());
    body.extend_from_slice(&properties);
    assert_eq!(
        decode(Version::V5, Side::Server, framed(0x30, &body)),
        Err(too_many(Kind::Publish))
    );
}

#[test]
fn thousands_of_slashes_are_refused() {
    let mut body = BytesMut::new();
    wire::put_field(&mut body, &[b'/'; 1_000]);
    let expected =
        DecodeError::Topic { kind: Kind::Publish, error: TopicError::Deep { found: 1_001 } };
    let refused = decode(Version::V311, Side::Server, framed(0x30, &body));
    assert_eq!(refused, Err(expected));
    assert_eq!(expected.reason(), Reason::TopicNameInvalid);
}

#[test]
fn errors_say_whose_fault_and_what_to_answer() {
    let unsupported = DecodeError::ProtocolLevel { found: 3 };
    assert_eq!(
        (unsupported.fault(), unsupported.reason()),
        (Fault::Incompatible, Reason::UnsupportedVersion)
    );
    let large = DecodeError::TooLarge { found: 2, limit: 1 };
    assert_eq!((large.fault(), large.reason()), (Fault::Peer, Reason::PacketTooLarge));
    assert_eq!(DecodeError::Length.reason(), Reason::MalformedPacket);
    assert_eq!(repeated(Kind::Publish, 1).reason(), Reason::ProtocolError);
}

fn framed(first: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::from([first].as_slice());
    wire::put_variable(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame.freeze()
}

fn connect_flags(found: u8) -> DecodeError {
    DecodeError::PacketFlags { kind: Kind::Connect, found }
}

fn nul_at(at: usize) -> DecodeError {
    DecodeError::Text { kind: Kind::Connect, error: TextError::Nul { at } }
}

fn bad_utf8_at(at: usize) -> DecodeError {
    DecodeError::Text { kind: Kind::Connect, error: TextError::Utf8 { at } }
}

fn filter_error(error: TopicError) -> DecodeError {
    DecodeError::Filter { kind: Kind::Subscribe, error }
}

fn value(kind: Kind, id: u8) -> DecodeError {
    DecodeError::PropertyValue { kind, id }
}

fn repeated(kind: Kind, id: u8) -> DecodeError {
    DecodeError::PropertyRepeated { kind, id }
}

fn too_many(kind: Kind) -> DecodeError {
    DecodeError::TooMany { kind }
}
