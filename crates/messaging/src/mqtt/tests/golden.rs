//! Bytes as the two specifications lay them out, packet by packet; the same bytes stand in `corpus/mqtt`.

use alloc::boxed::Box;
use core::num::{NonZeroU16, NonZeroU32};

use super::*;

struct Golden {
    name: &'static str,
    version: Version,
    side: Side,
    hex: &'static str,
    packet: Packet,
}

#[test]
fn packets_have_the_bytes_of_the_specifications() {
    for Golden { name, version, side, hex: bytes, packet } in goldens() {
        let bytes = hex(bytes);
        assert_eq!(decode(version, side, bytes.clone()).as_ref(), Ok(&packet), "{name} decoded");
        let mut out = BytesMut::new();
        assert_eq!(encode(&packet, version, &mut out), Ok(()), "{name}");
        assert_eq!(out, bytes, "{name} encoded");
    }
}

#[test]
fn corpus_holds_every_golden_packet() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/mqtt");
    for Golden { name, hex: bytes, .. } in goldens() {
        let path = folder.join(std::format!("{name}.bin"));
        assert_eq!(
            std::fs::read(&path).ok().as_deref(),
            Some(hex(bytes).as_ref()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn short_forms_are_read_like_the_long_ones() {
    let long = [
        ("40 03 00 0a 00", "40 02 00 0a"),
        ("40 04 00 0a 00 00", "40 02 00 0a"),
        ("50 04 00 0a 97 00", "50 03 00 0a 97"),
        ("62 04 00 0a 00 00", "62 02 00 0a"),
        ("e0 01 00", "e0 00"),
        ("e0 02 00 00", "e0 00"),
    ];
    for (long, short) in long {
        let read = |bytes| decode(Version::V5, Side::Client, hex(bytes));
        assert!(read(long).is_ok(), "{long}");
        assert_eq!(read(long), read(short));
    }
}

fn goldens() -> Vec<Golden> {
    let mut goldens = both_versions();
    goldens.extend(of_v311());
    goldens.extend(of_v5());
    goldens
}

/// Packets that are the same in both.
fn both_versions() -> Vec<Golden> {
    let (v311, server, client) = (Version::V311, Side::Server, Side::Client);
    alloc::vec![
        golden(
            "puback-v311",
            v311,
            server,
            "40 02 00 0a",
            Packet::PubAck(Ack::of(id(10), Reason::Success))
        ),
        golden(
            "pubrec-v311",
            v311,
            server,
            "50 02 00 0a",
            Packet::PubRec(Ack::of(id(10), Reason::Success))
        ),
        golden(
            "pubrel-v311",
            v311,
            server,
            "62 02 00 0a",
            Packet::PubRel(Ack::of(id(10), Reason::Success))
        ),
        golden(
            "pubcomp-v311",
            v311,
            server,
            "70 02 00 0a",
            Packet::PubComp(Ack::of(id(10), Reason::Success))
        ),
        golden("pingreq", v311, server, "c0 00", Packet::PingReq),
        golden("pingresp", v311, client, "d0 00", Packet::PingResp),
        golden(
            "puback-v5-short",
            Version::V5,
            server,
            "40 02 00 0a",
            Packet::PubAck(Ack::of(id(10), Reason::Success))
        ),
        golden("pingreq-v5", Version::V5, server, "c0 00", Packet::PingReq),
        golden("pingresp-v5", Version::V5, client, "d0 00", Packet::PingResp),
    ]
}

fn of_v311() -> Vec<Golden> {
    let (version, server, client) = (Version::V311, Side::Server, Side::Client);
    let will = Will {
        topic: topic("w"),
        payload: binary(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    alloc::vec![
        // 3.1.1 §3.1.2, figure 3.6: flags 0xCE, keep alive 10; the payload follows §3.1.3.
        golden(
            "connect-v311",
            version,
            server,
            "10 1f 00 04 4d 51 54 54 04 ce 00 0a 00 02 69 64 00 01 77 00 04 67 6f 6e 65 00 01 75 00 03 00 ff 01",
            Packet::Connect(Box::new(Connect {
                version,
                clean_start: true,
                keep_alive: 10,
                client_id: text("id"),
                will: Some(will),
                username: Some(text("u")),
                password: Some(Password(binary(b"\x00\xff\x01"))),
                properties: ConnectProperties::default(),
            })),
        ),
        golden(
            "connack-v311",
            version,
            client,
            "20 02 01 00",
            Packet::ConnAck(Box::new(conn_ack(true, Reason::Success))),
        ),
        golden(
            "connack-v311-refused",
            version,
            client,
            "20 02 00 05",
            Packet::ConnAck(Box::new(conn_ack(false, Reason::NotAuthorized))),
        ),
        // 3.1.1 §3.3.2, figure 3.11: topic a/b, packet id 10.
        golden(
            "publish-v311",
            version,
            server,
            "3b 0a 00 03 61 2f 62 00 0a 32 31 2e",
            Packet::Publish(Publish {
                delivery: Delivery::AtLeastOnce { id: id(10), dup: true },
                retain: true,
                topic: Some(topic("a/b")),
                properties: None,
                payload: Bytes::from_static(b"21."),
            }),
        ),
        golden(
            "publish-v311-qos0",
            version,
            server,
            "30 07 00 03 61 2f 62 00 ff",
            Packet::Publish(publish(Delivery::AtMostOnce, None, b"\x00\xff")),
        ),
        // 3.1.1 §3.8.3, figure 3.23: a/b with QoS 1, c/d with QoS 2.
        golden(
            "subscribe-v311",
            version,
            server,
            "82 0e 00 0a 00 03 61 2f 62 01 00 03 63 2f 64 02",
            Packet::Subscribe(Subscribe {
                id: id(10),
                properties: SubscribeProperties::default(),
                subscriptions: alloc::vec![
                    subscription("a/b", QoS::AtLeastOnce),
                    subscription("c/d", QoS::ExactlyOnce)
                ],
            }),
        ),
        // 3.1.1 §3.9.3, figure 3.27: QoS 0, QoS 2, failure.
        golden(
            "suback-v311",
            version,
            client,
            "90 05 00 0a 00 02 80",
            Packet::SubAck(SubAck {
                id: id(10),
                properties: AckProperties::default(),
                reasons: alloc::vec![Reason::Success, Reason::GrantedQoS2, Reason::Unspecified],
            }),
        ),
        // 3.1.1 §3.10.3, figure 3.30.
        golden(
            "unsubscribe-v311",
            version,
            server,
            "a2 0c 00 0a 00 03 61 2f 62 00 03 63 2f 64",
            Packet::Unsubscribe(Unsubscribe {
                id: id(10),
                properties: UnsubscribeProperties::default(),
                filters: alloc::vec![filter("a/b"), filter("c/d")],
            }),
        ),
        golden(
            "unsuback-v311",
            version,
            client,
            "b0 02 00 0a",
            Packet::UnsubAck(UnsubAck {
                id: id(10),
                properties: AckProperties::default(),
                reasons: Vec::new()
            }),
        ),
        golden(
            "disconnect-v311",
            version,
            server,
            "e0 00",
            Packet::Disconnect(disconnect(Reason::Success))
        ),
    ]
}

fn of_v5() -> Vec<Golden> {
    let mut goldens = v5_connecting();
    goldens.extend(v5_messages());
    goldens.extend(v5_subscribing());
    goldens.extend(v5_ending());
    goldens
}

fn v5_connecting() -> Vec<Golden> {
    let (version, server, client) = (Version::V5, Side::Server, Side::Client);
    let will = Will {
        topic: topic("w"),
        payload: binary(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: WillProperties {
            delay: Some(5),
            payload_is_text: Some(true),
            message_expiry: Some(60),
            content_type: Some(text("t")),
            response_topic: Some(topic("r")),
            correlation_data: Some(binary(b"\x07")),
            user: alloc::vec![user("k", "v")],
        },
    };
    alloc::vec![
        // 5.0 §3.1.2, figure 3-6: session expiry of 10 seconds, keep alive 10.
        golden(
            "connect-v5",
            version,
            server,
            "10 14 00 04 4d 51 54 54 05 02 00 0a 05 11 00 00 00 0a 00 02 69 64",
            Packet::Connect(Box::new(Connect {
                version,
                clean_start: true,
                keep_alive: 10,
                client_id: text("id"),
                will: None,
                username: None,
                password: None,
                properties: ConnectProperties { session_expiry: Some(10), ..ConnectProperties::default() },
            })),
        ),
        golden(
            "connect-v5-everything",
            version,
            server,
            "10 64 00 04 4d 51 54 54 05 ec 00 3c
             27 11 ff ff ff ff 21 00 14 27 00 01 00 00 22 00 05 19 01 17 00 26 00 01 6b 00 01 76
                15 00 05 53 43 52 41 4d 16 00 01 01
             00 02 69 64
             1f 18 00 00 00 05 01 01 02 00 00 00 3c 03 00 01 74 08 00 01 72 09 00 01 07 26 00 01 6b 00 01 76
             00 01 77 00 04 67 6f 6e 65
             00 01 75 00 00",
            Packet::Connect(Box::new(Connect {
                version,
                clean_start: false,
                keep_alive: 60,
                client_id: text("id"),
                will: Some(will),
                username: Some(text("u")),
                password: Some(Password(binary(b""))),
                properties: ConnectProperties {
                    session_expiry: Some(u32::MAX),
                    receive_maximum: NonZeroU16::new(20),
                    maximum_packet_size: NonZeroU32::new(65_536),
                    topic_alias_maximum: Some(5),
                    request_response_information: Some(true),
                    request_problem_information: Some(false),
                    user: alloc::vec![user("k", "v")],
                    authentication_method: Some(text("SCRAM")),
                    authentication_data: Some(binary(b"\x01")),
                },
            })),
        ),
        golden(
            "connack-v5",
            version,
            client,
            "20 03 00 00 00",
            Packet::ConnAck(Box::new(conn_ack(false, Reason::Success))),
        ),
        golden(
            "connack-v5-everything",
            version,
            client,
            "20 40 01 00
             3d 11 00 00 00 00 21 00 0a 24 01 25 00 27 00 00 04 00 12 00 02 69 64 22 00 03 1f 00 01 72
                26 00 01 6b 00 01 76 28 00 29 01 2a 00 13 00 1e 1a 00 01 69 1c 00 01 73 15 00 01 6d 16 00 01 02",
            Packet::ConnAck(Box::new(ConnAck {
                session_present: true,
                reason: Reason::Success,
                properties: ConnAckProperties {
                    session_expiry: Some(0),
                    receive_maximum: NonZeroU16::new(10),
                    maximum_qos: Some(QoS::AtLeastOnce),
                    retain_available: Some(false),
                    maximum_packet_size: NonZeroU32::new(1_024),
                    assigned_client_id: Some(text("id")),
                    topic_alias_maximum: Some(3),
                    reason_string: Some(text("r")),
                    user: alloc::vec![user("k", "v")],
                    wildcard_available: Some(false),
                    subscription_ids_available: Some(true),
                    shared_available: Some(false),
                    server_keep_alive: Some(30),
                    response_information: Some(text("i")),
                    server_reference: Some(text("s")),
                    authentication_method: Some(text("m")),
                    authentication_data: Some(binary(b"\x02")),
                },
            })),
        ),
        golden(
            "auth-v5",
            version,
            server,
            "f0 12 18 10 15 00 01 6d 16 00 01 03 1f 00 05 61 67 61 69 6e",
            Packet::Auth(Auth {
                reason: Reason::ContinueAuthentication,
                properties: AuthProperties {
                    authentication_method: Some(text("m")),
                    authentication_data: Some(binary(b"\x03")),
                    reason_string: Some(text("again")),
                    user: Vec::new(),
                },
            }),
        ),
    ]
}

fn v5_messages() -> Vec<Golden> {
    let (version, server, client) = (Version::V5, Side::Server, Side::Client);
    let everything = PublishProperties {
        payload_is_text: Some(true),
        message_expiry: Some(2),
        topic_alias: None,
        response_topic: Some(topic("r")),
        correlation_data: Some(binary(b"\x07")),
        user: alloc::vec![user("k", "v"), user("k", "w")],
        subscription_ids: [1, 128].into_iter().filter_map(SubscriptionId::of).collect(),
        content_type: Some(text("t")),
    };
    let alias =
        PublishProperties { topic_alias: NonZeroU16::new(9), ..PublishProperties::default() };
    let denied = Ack {
        id: id(10),
        reason: Reason::NotAuthorized,
        properties: AckProperties {
            reason_string: Some(text("no")),
            user: alloc::vec![user("k", "v")],
        },
    };
    alloc::vec![
        // 5.0 §3.3.2, figure 3-9: topic a/b, packet id 10, no properties.
        golden(
            "publish-v5",
            version,
            server,
            "32 0b 00 03 61 2f 62 00 0a 00 32 31 2e",
            Packet::Publish(publish(Delivery::AtLeastOnce { id: id(10), dup: false }, None, b"21.")),
        ),
        golden(
            "publish-v5-everything",
            version,
            client,
            "34 2f 00 03 61 2f 62 00 0a
             26 01 01 02 00 00 00 02 08 00 01 72 09 00 01 07 26 00 01 6b 00 01 76 26 00 01 6b 00 01 77
                0b 01 0b 80 01 03 00 01 74
             21",
            Packet::Publish(publish(Delivery::ExactlyOnce { id: id(10), dup: false }, Some(everything), b"!")),
        ),
        golden(
            "publish-v5-alias",
            version,
            server,
            "30 06 00 00 03 23 00 09",
            Packet::Publish(Publish { topic: None, ..publish(Delivery::AtMostOnce, Some(alias), b"") }),
        ),
        golden(
            "puback-v5-denied",
            version,
            client,
            "40 10 00 0a 87 0c 1f 00 02 6e 6f 26 00 01 6b 00 01 76",
            Packet::PubAck(denied),
        ),
        golden(
            "pubrec-v5",
            version,
            client,
            "50 03 00 0a 97",
            Packet::PubRec(Ack::of(id(10), Reason::QuotaExceeded)),
        ),
        golden("pubrel-v5", version, client, "62 03 00 0a 92", Packet::PubRel(unknown_id())),
        golden("pubcomp-v5", version, client, "70 03 00 0a 92", Packet::PubComp(unknown_id())),
    ]
}

fn v5_subscribing() -> Vec<Golden> {
    let (version, server, client) = (Version::V5, Side::Server, Side::Client);
    alloc::vec![
        // 5.0 §3.8.3, figure 3-22, here with an identifier and options.
        golden(
            "subscribe-v5",
            version,
            server,
            "82 12 00 0a 03 0b ac 02 00 03 61 2f 62 01 00 03 63 2f 64 2e",
            Packet::Subscribe(Subscribe {
                id: id(10),
                properties: SubscribeProperties {
                    subscription_id: SubscriptionId::of(300),
                    user: Vec::new()
                },
                subscriptions: alloc::vec![
                    subscription("a/b", QoS::AtLeastOnce),
                    Subscription {
                        no_local: true,
                        retain_as_published: true,
                        retain_handling: RetainHandling::Never,
                        ..subscription("c/d", QoS::ExactlyOnce)
                    },
                ],
            }),
        ),
        golden(
            "suback-v5",
            version,
            client,
            "90 06 00 0a 00 00 02 87",
            Packet::SubAck(SubAck {
                id: id(10),
                properties: AckProperties::default(),
                reasons: alloc::vec![Reason::Success, Reason::GrantedQoS2, Reason::NotAuthorized],
            }),
        ),
        golden(
            "unsubscribe-v5",
            version,
            server,
            "a2 0d 00 0a 00 00 03 61 2f 62 00 03 63 2f 64",
            Packet::Unsubscribe(Unsubscribe {
                id: id(10),
                properties: UnsubscribeProperties::default(),
                filters: alloc::vec![filter("a/b"), filter("c/d")],
            }),
        ),
        golden(
            "unsuback-v5",
            version,
            client,
            "b0 05 00 0a 00 00 11",
            Packet::UnsubAck(UnsubAck {
                id: id(10),
                properties: AckProperties::default(),
                reasons: alloc::vec![Reason::Success, Reason::NoSubscriptionExisted],
            }),
        ),
    ]
}

fn v5_ending() -> Vec<Golden> {
    let (version, server, client) = (Version::V5, Side::Server, Side::Client);
    let properties = DisconnectProperties {
        session_expiry: None,
        reason_string: Some(text("bye")),
        user: Vec::new(),
        server_reference: Some(text("s")),
    };
    alloc::vec![
        golden(
            "disconnect-v5",
            version,
            server,
            "e0 00",
            Packet::Disconnect(disconnect(Reason::Success))
        ),
        golden(
            "disconnect-v5-will",
            version,
            server,
            "e0 07 04 05 11 00 00 00 3c",
            Packet::Disconnect(Disconnect {
                reason: Reason::DisconnectWithWill,
                properties: DisconnectProperties {
                    session_expiry: Some(60),
                    ..DisconnectProperties::default()
                },
            }),
        ),
        golden(
            "disconnect-v5-server",
            version,
            client,
            "e0 0c 8e 0a 1f 00 03 62 79 65 1c 00 01 73",
            Packet::Disconnect(Disconnect { reason: Reason::SessionTakenOver, properties }),
        ),
    ]
}

fn golden(
    name: &'static str,
    version: Version,
    side: Side,
    hex: &'static str,
    packet: Packet,
) -> Golden {
    Golden { name, version, side, hex, packet }
}

fn publish(
    delivery: Delivery,
    properties: Option<PublishProperties>,
    payload: &'static [u8],
) -> Publish {
    Publish {
        delivery,
        retain: false,
        topic: Some(topic("a/b")),
        properties: properties.map(Box::new),
        payload: Bytes::from_static(payload),
    }
}

fn conn_ack(session_present: bool, reason: Reason) -> ConnAck {
    ConnAck { session_present, reason, properties: ConnAckProperties::default() }
}

fn subscription(of: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: filter(of),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    }
}

fn disconnect(reason: Reason) -> Disconnect {
    Disconnect { reason, properties: DisconnectProperties::default() }
}

fn unknown_id() -> Ack {
    Ack::of(id(10), Reason::PacketIdNotFound)
}

fn user(name: &str, value: &str) -> UserProperty {
    UserProperty { name: text(name), value: text(value) }
}
