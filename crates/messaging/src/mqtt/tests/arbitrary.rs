//! Sound packets of every kind, version and direction.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};

use super::*;

pub(crate) fn packets() -> impl Strategy<Value = (Version, Side, Packet)> {
    (versions(), prop::sample::select(SIDES.to_vec())).prop_flat_map(|(version, side)| {
        let kinds: Vec<BoxedStrategy<Packet>> = match side {
            Side::Server => alloc::vec![
                connects(version).prop_map(|connect| Packet::Connect(Box::new(connect))).boxed(),
                subscribes(version).prop_map(Packet::Subscribe).boxed(),
                unsubscribes(version).prop_map(Packet::Unsubscribe).boxed(),
                Just(Packet::PingReq).boxed(),
            ],
            Side::Client => alloc::vec![
                conn_acks(version).prop_map(|conn_ack| Packet::ConnAck(Box::new(conn_ack))).boxed(),
                sub_acks(version).prop_map(Packet::SubAck).boxed(),
                unsub_acks(version).prop_map(Packet::UnsubAck).boxed(),
                Just(Packet::PingResp).boxed(),
            ],
        };
        let mut kinds = kinds;
        kinds.push(publish(version, side).prop_map(Packet::Publish).boxed());
        kinds.push(acks(version, Kind::PubAck).prop_map(Packet::PubAck).boxed());
        kinds.push(acks(version, Kind::PubRec).prop_map(Packet::PubRec).boxed());
        kinds.push(acks(version, Kind::PubRel).prop_map(Packet::PubRel).boxed());
        kinds.push(acks(version, Kind::PubComp).prop_map(Packet::PubComp).boxed());
        if side == Side::Server || version == Version::V5 {
            kinds.push(disconnects(version, side).prop_map(Packet::Disconnect).boxed());
        }
        if version == Version::V5 {
            kinds.push(auths(side).prop_map(Packet::Auth).boxed());
        }
        (Just(version), Just(side), prop::strategy::Union::new(kinds))
    })
}

pub(super) fn publishes() -> impl Strategy<Value = Publish> {
    publish(Version::V5, Side::Client)
}

fn versions() -> impl Strategy<Value = Version> {
    prop::sample::select(BOTH.to_vec())
}

fn publish(version: Version, side: Side) -> impl Strategy<Value = Publish> {
    let properties = v5(
        version,
        (
            prop::option::of(any::<bool>()),
            prop::option::of(any::<u32>()),
            prop::option::of(any::<NonZeroU16>()),
            prop::option::of(topics()),
            prop::option::of(binaries()),
            users(),
            prop::collection::vec(subscription_ids(), 0..if side == Side::Client { 4 } else { 1 }),
            prop::option::of(texts()),
        )
            .prop_map(
                |(
                    format,
                    expiry,
                    alias,
                    response_topic,
                    correlation_data,
                    user,
                    ids,
                    content_type,
                )| {
                    PublishProperties {
                        payload_is_text: format,
                        message_expiry: expiry,
                        topic_alias: alias,
                        response_topic,
                        correlation_data,
                        user,
                        subscription_ids: ids,
                        content_type,
                    }
                },
            ),
    );
    let payload = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let parts = (
        0_u8..3,
        ids(),
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.8, topics()),
        properties,
    );
    (parts, payload).prop_map(|((qos, id, dup, retain, topic, properties), payload)| {
        let has_alias = properties.topic_alias.is_some();
        Publish {
            delivery: match qos {
                0 => Delivery::AtMostOnce,
                1 => Delivery::AtLeastOnce { id, dup },
                _ => Delivery::ExactlyOnce { id, dup },
            },
            retain,
            topic: topic.or_else(|| (!has_alias).then(|| super::topic("a/b"))),
            properties: (properties != PublishProperties::default()).then(|| Box::new(properties)),
            payload,
        }
    })
}

fn connects(version: Version) -> impl Strategy<Value = Connect> {
    let properties = v5(version, connect_properties());
    let will = (topics(), binaries(), qualities(), any::<bool>(), v5(version, will_properties()))
        .prop_map(|(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        });
    (
        (any::<bool>(), any::<u16>(), texts(), prop::option::of(will)),
        (prop::option::of(texts()), prop::option::of(binaries()), properties),
    )
        .prop_map(
            move |(
                (clean_start, keep_alive, client_id, will),
                (username, password, properties),
            )| {
                let can_have_password = version == Version::V5 || username.is_some();
                let password = password.filter(|_| can_have_password).map(Password);
                Connect {
                    version,
                    clean_start,
                    keep_alive,
                    client_id,
                    will,
                    username,
                    password,
                    properties,
                }
            },
        )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    (
        (
            prop::option::of(any::<u32>()),
            prop::option::of(any::<NonZeroU16>()),
            prop::option::of(any::<NonZeroU32>()),
            prop::option::of(any::<u16>()),
        ),
        (
            prop::option::of(any::<bool>()),
            prop::option::of(any::<bool>()),
            users(),
            prop::option::of((texts(), prop::option::of(binaries()))),
        ),
    )
        .prop_map(
            |(
                (expiry, receive_maximum, largest, alias),
                (response, problem, user, authentication),
            )| {
                let (method, data) =
                    authentication.map_or((None, None), |(method, data)| (Some(method), data));
                ConnectProperties {
                    session_expiry: expiry,
                    receive_maximum,
                    maximum_packet_size: largest,
                    topic_alias_maximum: alias,
                    request_response_information: response,
                    request_problem_information: problem,
                    user,
                    authentication_method: method,
                    authentication_data: data,
                }
            },
        )
}

fn will_properties() -> impl Strategy<Value = WillProperties> {
    (
        prop::option::of(any::<u32>()),
        prop::option::of(any::<bool>()),
        prop::option::of(any::<u32>()),
        prop::option::of(texts()),
        prop::option::of(topics()),
        prop::option::of(binaries()),
        users(),
    )
        .prop_map(
            |(delay, format, expiry, content_type, response_topic, correlation_data, user)| {
                WillProperties {
                    delay,
                    payload_is_text: format,
                    message_expiry: expiry,
                    content_type,
                    response_topic,
                    correlation_data,
                    user,
                }
            },
        )
}

fn conn_acks(version: Version) -> impl Strategy<Value = ConnAck> {
    let told = match version {
        Version::V5 => reasons(Kind::ConnAck, Side::Client).boxed(),
        Version::V311 => {
            (0_u8..6).prop_map(|code| Reason::of_return_code(code).expect("it is one")).boxed()
        }
    };
    (any::<bool>(), told, v5(version, conn_ack_properties())).prop_map(
        |(present, reason, properties)| ConnAck {
            session_present: present && reason == Reason::Success,
            reason,
            properties,
        },
    )
}

fn conn_ack_properties() -> impl Strategy<Value = ConnAckProperties> {
    (
        (
            prop::option::of(any::<u32>()),
            prop::option::of(any::<NonZeroU16>()),
            prop::option::of(prop::sample::select(alloc::vec![QoS::AtMostOnce, QoS::AtLeastOnce])),
            prop::option::of(any::<bool>()),
            prop::option::of(any::<NonZeroU32>()),
            prop::option::of(texts()),
            prop::option::of(any::<u16>()),
            prop::option::of(texts()),
            users(),
        ),
        (
            prop::option::of(any::<bool>()),
            prop::option::of(any::<bool>()),
            prop::option::of(any::<bool>()),
            prop::option::of(any::<u16>()),
            prop::option::of(texts()),
            prop::option::of(texts()),
            prop::option::of((texts(), prop::option::of(binaries()))),
        ),
    )
        .prop_map(|(first, second)| {
            let (
                expiry,
                receive_maximum,
                maximum_qos,
                retain,
                largest,
                assigned,
                alias,
                reason_string,
                user,
            ) = first;
            let (wildcard, ids, shared, keep_alive, information, reference, authentication) =
                second;
            let (method, data) =
                authentication.map_or((None, None), |(method, data)| (Some(method), data));
            ConnAckProperties {
                session_expiry: expiry,
                receive_maximum,
                maximum_qos,
                retain_available: retain,
                maximum_packet_size: largest,
                assigned_client_id: assigned,
                topic_alias_maximum: alias,
                reason_string,
                user,
                wildcard_available: wildcard,
                subscription_ids_available: ids,
                shared_available: shared,
                server_keep_alive: keep_alive,
                response_information: information,
                server_reference: reference,
                authentication_method: method,
                authentication_data: data,
            }
        })
}

fn acks(version: Version, kind: Kind) -> impl Strategy<Value = Ack> {
    (ids(), v5_reason(version, kind, Side::Client), v5(version, ack_properties()))
        .prop_map(|(id, reason, properties)| Ack { id, reason, properties })
}

fn subscribes(version: Version) -> impl Strategy<Value = Subscribe> {
    let properties = (prop::option::of(subscription_ids()), users())
        .prop_map(|(subscription_id, user)| SubscribeProperties { subscription_id, user });
    let options = v5(version, (any::<bool>(), any::<bool>(), 0_u8..3));
    let subscription = (filters(), qualities(), options).prop_map(
        |(filter, qos, (no_local, as_published, handling))| {
            let retain_handling = match handling {
                0 => RetainHandling::Always,
                1 => RetainHandling::IfNew,
                _ => RetainHandling::Never,
            };
            Subscription {
                filter,
                qos,
                no_local,
                retain_as_published: as_published,
                retain_handling,
            }
        },
    );
    (ids(), v5(version, properties), prop::collection::vec(subscription, 1..5))
        .prop_map(|(id, properties, subscriptions)| Subscribe { id, properties, subscriptions })
}

fn sub_acks(version: Version) -> impl Strategy<Value = SubAck> {
    let reason = match version {
        Version::V5 => reasons(Kind::SubAck, Side::Client).boxed(),
        Version::V311 => prop::sample::select(alloc::vec![
            Reason::Success,
            Reason::GrantedQoS1,
            Reason::GrantedQoS2,
            Reason::Unspecified
        ])
        .boxed(),
    };
    (ids(), v5(version, ack_properties()), prop::collection::vec(reason, 1..5))
        .prop_map(|(id, properties, reasons)| SubAck { id, properties, reasons })
}

fn unsubscribes(version: Version) -> impl Strategy<Value = Unsubscribe> {
    let properties = users().prop_map(|user| UnsubscribeProperties { user });
    (ids(), v5(version, properties), prop::collection::vec(filters(), 1..5))
        .prop_map(|(id, properties, filters)| Unsubscribe { id, properties, filters })
}

fn unsub_acks(version: Version) -> impl Strategy<Value = UnsubAck> {
    let reasons = match version {
        Version::V5 => prop::collection::vec(reasons(Kind::UnsubAck, Side::Client), 1..5).boxed(),
        Version::V311 => Just(Vec::new()).boxed(),
    };
    (ids(), v5(version, ack_properties()), reasons).prop_map(|(id, properties, reasons)| UnsubAck {
        id,
        properties,
        reasons,
    })
}

fn disconnects(version: Version, side: Side) -> impl Strategy<Value = Disconnect> {
    let properties = (
        prop::option::of(any::<u32>()),
        prop::option::of(texts()),
        users(),
        prop::option::of(texts()),
    )
        .prop_map(move |(expiry, reason_string, user, reference)| DisconnectProperties {
            session_expiry: expiry.filter(|_| side == Side::Server),
            reason_string,
            user,
            server_reference: reference.filter(|_| side == Side::Client),
        });
    (v5_reason(version, Kind::Disconnect, side), v5(version, properties))
        .prop_map(|(reason, properties)| Disconnect { reason, properties })
}

fn auths(side: Side) -> impl Strategy<Value = Auth> {
    (
        reasons(Kind::Auth, side),
        texts(),
        prop::option::of(binaries()),
        prop::option::of(texts()),
        users(),
    )
        .prop_map(|(reason, method, data, reason_string, user)| Auth {
            reason,
            properties: AuthProperties {
                authentication_method: Some(method),
                authentication_data: data,
                reason_string,
                user,
            },
        })
}

fn ack_properties() -> impl Strategy<Value = AckProperties> {
    (prop::option::of(texts()), users())
        .prop_map(|(reason_string, user)| AckProperties { reason_string, user })
}

fn reasons(kind: Kind, side: Side) -> impl Strategy<Value = Reason> {
    let allowed: Vec<Reason> =
        Reason::ALL.iter().copied().filter(|reason| reason.is_allowed(kind, side)).collect();
    prop::sample::select(allowed)
}

fn v5_reason(version: Version, kind: Kind, side: Side) -> BoxedStrategy<Reason> {
    match version {
        Version::V5 => reasons(kind, side).boxed(),
        Version::V311 => Just(Reason::Success).boxed(),
    }
}

/// What only MQTT 5.0 has; MQTT 3.1.1 has the default.
fn v5<T>(version: Version, strategy: impl Strategy<Value = T> + 'static) -> BoxedStrategy<T>
where
    T: Clone + Default + core::fmt::Debug + 'static,
{
    match version {
        Version::V5 => strategy.boxed(),
        Version::V311 => Just(T::default()).boxed(),
    }
}

fn users() -> impl Strategy<Value = Vec<UserProperty>> {
    prop::collection::vec(
        (texts(), texts()).prop_map(|(name, value)| UserProperty { name, value }),
        0..3,
    )
}

fn ids() -> impl Strategy<Value = PacketId> {
    (1_u16..=u16::MAX).prop_map(id)
}

fn subscription_ids() -> impl Strategy<Value = SubscriptionId> {
    (1_u32..=268_435_455).prop_map(|number| SubscriptionId::of(number).expect("it is in range"))
}

fn qualities() -> impl Strategy<Value = QoS> {
    (0_u8..3).prop_map(|bits| QoS::of_bits(bits).expect("it is below 3"))
}

fn texts() -> impl Strategy<Value = Text> {
    "[^\u{0}]{0,20}".prop_map(|string| text(&string))
}

fn binaries() -> impl Strategy<Value = Binary> {
    prop::collection::vec(any::<u8>(), 0..30)
        .prop_map(|bytes| Binary::parse(Bytes::from(bytes)).expect("it is short"))
}

fn topics() -> impl Strategy<Value = Topic> {
    "[^\u{0}+#]{1,20}".prop_map(|string| topic(&string))
}

fn filters() -> impl Strategy<Value = Filter> {
    prop::sample::select(alloc::vec!["#", "+", "a/+/b", "a/b", "/", "$SYS/#", "ü/+/#"])
        .prop_map(filter)
}
