//! Peers that break the rules, or bring too much.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| core::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

fn reason_of_end(rig: &Rig) -> Option<Reason> {
    match rig.whys().last() {
        Some(Why::ProtocolError { reason }) => Some(*reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn stranger_that_does_not_begin_with_connect_is_closed_without_a_word() {
    for bytes in [
        "30 07 00 03 61 2f 62 00 ff",
        "c0 00",
        "20 02 00 00",
        "16 03 01 02 00",
        "47 45 54 20",
        "10 ff ff ff 7f",
    ] {
        let mut rig = Rig::new();
        let conn = rig.open("stranger");
        rig.send_bytes(conn, &hex(bytes));
        assert!(rig.is_closed(conn), "{bytes}");
        assert_eq!(rig.receive(conn), None);
        assert_eq!((rig.broker.sizes().connections, rig.broker.sizes().sessions), (0, 0));
        assert!(reason_of_end(&rig).is_some());
    }
}

#[test]
fn first_packet_that_is_decoded_elsewhere_must_be_connect_too() {
    let mut rig = Rig::new();
    let conn = rig.open("stranger");
    rig.broker.handle_packet(conn, Packet::PingReq, &mut rig.guard, rig.now);
    rig.drive();
    assert!(rig.is_closed(conn));
}

#[test]
fn connect_that_is_never_finished_times_out() {
    let mut rig = Rig::new();
    let conn = rig.open("stranger");
    rig.send_bytes(conn, &hex("10 0c 00 04 4d"));
    rig.wait(4);
    assert!(!rig.is_closed(conn));
    rig.wait(2);
    assert!(rig.is_closed(conn));
    assert_eq!(rig.whys(), [Why::ConnectTimeout]);
}

#[test]
fn second_connect_is_a_protocol_error() {
    for version in [Version::V311, Version::V5] {
        let mut rig = Rig::new();
        let conn = rig.join("pump", version);
        rig.send(conn, connected(connect("pump", version)));
        assert!(rig.is_closed(conn));
        assert_eq!(reason_of_end(&rig), Some(Reason::ProtocolError));
        assert_eq!(rig.broker.sizes().sessions, 0);
    }
}

#[test]
fn broken_packets_of_a_connected_client_are_answered_in_its_version() {
    let table = [
        ("30 02 00 00", Reason::TopicNameInvalid),
        ("30 05 00 03 61 2f 23", Reason::TopicNameInvalid),
        ("30 05 00 03 61 ff 62", Reason::MalformedPacket),
        ("20 02 00 00", Reason::ProtocolError),
        ("38 05 00 03 61 2f 62", Reason::MalformedPacket),
        ("c0 80 00", Reason::MalformedPacket),
        ("30 ff ff ff 7f", Reason::PacketTooLarge),
    ];
    for (bytes, reason) in table {
        for version in [Version::V311, Version::V5] {
            let mut rig = Rig::new();
            let conn = rig.join("pump", version);
            rig.send_bytes(conn, &hex(bytes));
            assert!(rig.is_closed(conn), "{bytes}");
            match (version, rig.receive(conn)) {
                (Version::V311, None) => assert_eq!(reason_of_end(&rig), Some(reason), "{bytes}"),
                (Version::V5, Some(Packet::Disconnect(word))) => {
                    // An empty topic is an alias without a number there.
                    let expected =
                        if bytes == "30 02 00 00" { Reason::MalformedPacket } else { reason };
                    assert_eq!(word.reason, expected, "{bytes}");
                    assert!(word.properties.reason_string.is_some());
                }
                other => panic!("{bytes}: {other:?}"),
            }
        }
    }
}

#[test]
fn other_protocol_versions_are_told_so() {
    let table = [
        ("10 0e 00 06 4d 51 49 73 64 70 03 02 00 0a 00 00", "20 02 00 01"),
        ("10 0d 00 04 4d 51 54 54 06 02 00 0a 00 00 00", "20 03 00 84 00"),
    ];
    for (bytes, answer) in table {
        let mut broker = Broker::new(Limits::default());
        let mut guard = Rules::default();
        let conn =
            broker.open(String::new(), Text::default(), Instant::default()).expect("there is room");
        let mut decoder = Decoder::for_server(PacketLimits::default());
        let error = decoder
            .decode(&mut BytesMut::from(hex(bytes).as_slice()))
            .expect_err("another version");
        broker.handle_fault(conn, &error, &mut guard, Instant::default());
        let (_, batch) = broker.poll_transmit(Instant::default()).expect("an answer");
        assert!(batch.then_close);
        assert_eq!(batch.buffers.concat(), hex(answer));
    }
}

#[test]
fn client_ids_with_wildcards_or_without_end_are_refused() {
    for name in ["#", "+", "pump/#", "pump\n", &"x".repeat(300)] {
        for version in [Version::V311, Version::V5] {
            let mut rig = Rig::new();
            let conn = rig.open("pump");
            rig.send(conn, connected(connect(name, version)));
            let refused = matches!(rig.receive(conn), Some(Packet::ConnAck(ack)) if ack.reason == Reason::ClientIdNotValid);
            assert!(refused, "{name}");
            assert!(rig.is_closed(conn));
        }
    }
    let mut rig = Rig::new();
    let conn = rig.open("pump");
    rig.send(conn, connected(Connect { clean_start: false, ..connect("", Version::V311) }));
    assert!(
        matches!(rig.receive(conn), Some(Packet::ConnAck(ack)) if ack.reason == Reason::ClientIdNotValid)
    );
}

#[test]
fn what_is_not_supported_is_refused_by_its_name() {
    for lacking in ["$share/", "$share/group", "$share//a", "$share/group/", "$share/+/a"] {
        let mut rig = Rig::new();
        let old = rig.join("old", Version::V311);
        let sub_ack = rig.subscribe_with(old, subscription(lacking, QoS::AtMostOnce), None);
        assert_eq!(sub_ack.reasons, [Reason::Unspecified], "{lacking}");
        let new = rig.join("new", Version::V5);
        let subscriptions = alloc::vec![subscription(lacking, QoS::AtMostOnce)];
        let properties = SubscribeProperties::default();
        rig.send(new, Packet::Subscribe(Subscribe { id: id(7), properties, subscriptions }));
        assert_eq!(reason_of_end(&rig), Some(Reason::MalformedPacket), "{lacking}");
    }
    let mut rig = Rig::new();

    let conn = rig.open("pump");
    let mut connect = connect("pump", Version::V5);
    connect.properties.authentication_method = Some(Text::from_static("SCRAM-SHA-1"));
    rig.send(conn, connected(connect));
    assert!(
        matches!(rig.receive(conn), Some(Packet::ConnAck(ack)) if ack.reason == Reason::BadAuthenticationMethod)
    );
}

#[test]
fn full_queue_drops_qos_0_and_ends_the_receiver_of_qos_1() {
    let limits = Limits { queue_messages: 10, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let (pump, slow) = (rig.join("pump", Version::V5), rig.join("slow", Version::V5));
    rig.subscribe(slow, "#", QoS::AtLeastOnce);
    rig.stick(slow, true);
    for _ in 0..50 {
        rig.publish(pump, "a", "x");
    }
    assert!(!rig.is_closed(slow));
    assert_eq!(rig.broker.counters().dropped_full, 38, "two batches and ten messages were taken");
    rig.topics(slow);
    rig.send(pump, Packet::Publish(sure(1, "a", "x")));
    assert!(rig.is_closed(slow));
    assert_eq!(rig.whys(), [Why::SlowConsumer]);
    assert!(
        matches!(rig.receive(slow), Some(Packet::Disconnect(word)) if word.reason == Reason::QuotaExceeded)
    );
    assert!(rig.events.iter().any(
        |event| matches!(event, Event::SlowConsumer { conn, n_queued: 10, .. } if *conn == slow)
    ));
    assert!(matches!(rig.receive(pump), Some(Packet::PubAck(_))), "the sender isn't to blame");
}

#[test]
fn queue_is_bounded_in_bytes_too() {
    let limits = Limits { queue_bytes: 10_000, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let (pump, slow) = (rig.join("pump", Version::V5), rig.join("slow", Version::V5));
    rig.subscribe(slow, "#", QoS::AtMostOnce);
    rig.stick(slow, true);
    for _ in 0..20 {
        rig.publish(pump, "a", &"x".repeat(1_000));
    }
    assert_eq!(rig.broker.counters().dropped_full, 9, "two batches and nine messages were taken");
}

#[test]
fn client_that_asks_without_reading_is_ended() {
    let mut rig = Rig::new();
    let conn = rig.join("pump", Version::V5);
    rig.stick(conn, true);
    for _ in 0..40_000 {
        rig.send(conn, Packet::PingReq);
        if rig.is_closed(conn) {
            break;
        }
    }
    assert_eq!(rig.whys(), [Why::SlowConsumer]);
}

#[test]
fn slow_receivers_wills_and_their_receivers_end_one_after_the_other_without_recursion() {
    // Each client listens to the will of the one before it, and none of them reads.
    let limits = Limits { queue_messages: 1, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let pump = rig.join("pump", Version::V5);
    let n_clients = 2_000;
    let mut conns = Vec::new();
    for number in 0..n_clients {
        let name = alloc::format!("c{number}");
        let last = will(&alloc::format!("w/{number}"), None);
        let conn = rig.join_as(Connect { will: Some(last), ..connect(&name, Version::V5) });
        rig.subscribe(conn, &alloc::format!("w/{}", number - 1), QoS::AtLeastOnce);
        rig.subscribe(conn, "fill", QoS::AtMostOnce);
        rig.stick(conn, true);
        conns.push(conn);
    }
    for _ in 0..3 {
        rig.publish(pump, "fill", "x");
    }
    rig.send(pump, Packet::Publish(sure(1, "w/-1", "x")));
    assert_eq!(rig.whys().len(), conns.len());
    assert_eq!(rig.broker.sizes().connections, 1);
}

#[test]
fn subscriptions_sessions_connections_and_retained_messages_are_bounded() {
    let limits = Limits {
        subscriptions_per_session: 2,
        subscriptions: 3,
        sessions: 2,
        connections: 3,
        retained_messages: 1,
        ..Limits::default()
    };
    let mut rig = Rig::with(limits);
    let (one, two) = (rig.join("one", Version::V5), rig.join("two", Version::V5));
    let mut granted = |conn, filter| {
        rig.subscribe_with(conn, subscription(filter, QoS::AtMostOnce), None).reasons[0]
    };
    assert_eq!(
        ["a", "b", "c"].map(|filter| granted(one, filter).is_failure()),
        [false, false, true]
    );
    assert_eq!(["a", "b"].map(|filter| granted(two, filter).is_failure()), [false, true]);

    let third = rig.open("third");
    assert!(rig.broker.open("fourth".to_string(), Text::default(), rig.now).is_err());
    rig.send(third, connected(connect("third", Version::V5)));
    assert!(
        matches!(rig.receive(third), Some(Packet::ConnAck(ack)) if ack.reason == Reason::QuotaExceeded)
    );

    for (number, topic) in [(1, "r/1"), (2, "r/2")] {
        rig.send(one, Packet::Publish(Publish { retain: true, ..sure(number, topic, "x") }));
    }
    let reasons = [rig.receive(one), rig.receive(one)].map(|packet| match packet {
        Some(Packet::PubAck(ack)) => ack.reason,
        other => panic!("{other:?}"),
    });
    assert_eq!(reasons, [Reason::Success, Reason::QuotaExceeded]);
}

#[test]
fn one_holder_cannot_take_what_all_share() {
    let per_holder = Share {
        sessions: 2,
        subscriptions: 3,
        filter_levels: 7,
        retained_messages: 2,
        retained_bytes: 1_000,
        pooled_bytes: 1 << 20,
    };
    let mut rig = Rig::with(Limits { per_holder, ..Limits::default() });
    let enter = |rig: &mut Rig, client_id: &str| {
        let conn = rig.open("pump");
        let connect = Connect { clean_start: true, ..connect(client_id, Version::V5) };
        rig.send(conn, connected(connect));
        match rig.receive(conn) {
            Some(Packet::ConnAck(ack)) => (conn, ack.reason),
            other => panic!("{other:?}"),
        }
    };
    let (one, _) = enter(&mut rig, "pump");
    let (two, _) = enter(&mut rig, "pump/2");
    assert_eq!(enter(&mut rig, "pump/3").1, Reason::QuotaExceeded);

    let grant = |rig: &mut Rig, conn, filter| {
        !rig.subscribe_with(conn, subscription(filter, QoS::AtMostOnce), None).reasons[0]
            .is_failure()
    };
    assert!(grant(&mut rig, one, "a/b/c/d"));
    assert!(!grant(&mut rig, two, "a/b/c/e"), "8 levels");
    assert!(grant(&mut rig, two, "a"));
    assert!(grant(&mut rig, two, "b"));
    assert!(grant(&mut rig, two, "b"), "it is the same one");
    assert!(!grant(&mut rig, two, "c"), "4 subscriptions");

    let retain = |rig: &mut Rig, conn, topic, payload: &str| {
        rig.send(conn, Packet::Publish(Publish { retain: true, ..sure(1, topic, payload) }));
        match rig.receive(conn) {
            Some(Packet::PubAck(ack)) => ack.reason,
            other => panic!("{other:?}"),
        }
    };
    let large = "x".repeat(1_000);
    assert_eq!(retain(&mut rig, one, "r/1", "x"), Reason::Success);
    assert_eq!(retain(&mut rig, one, "r/1", &large), Reason::QuotaExceeded);
    assert_eq!(retain(&mut rig, one, "r/2", "x"), Reason::Success);
    assert_eq!(retain(&mut rig, two, "r/3", "x"), Reason::QuotaExceeded);
    assert_eq!(retain(&mut rig, two, "r/1", ""), Reason::Success);
    assert_eq!(retain(&mut rig, two, "r/3", "x"), Reason::Success);

    // Another one has a share of its own, and takes over what it writes upon.
    let other = rig.join("other", Version::V5);
    assert_eq!(retain(&mut rig, other, "r/2", "y"), Reason::Success);
    assert_eq!(retain(&mut rig, other, "r/4", "y"), Reason::Success);
    assert_eq!(retain(&mut rig, one, "r/5", "x"), Reason::Success);
    assert!(grant(&mut rig, other, "a/b/c"));
}

#[test]
fn nothing_is_left_of_who_is_forgotten() {
    let mut rig = Rig::new();
    let (pump, other) = (rig.join("pump", Version::V5), rig.join("other", Version::V5));
    for (conn, topic) in [(pump, "r/1"), (pump, "r/2"), (other, "r/3")] {
        rig.send(conn, Packet::Publish(Publish { retain: true, ..message(topic, "x") }));
    }
    rig.subscribe_with(pump, subscription("a", QoS::AtMostOnce), None);
    rig.cut(pump);
    rig.broker.forget_where(|principal| principal == "pump");
    assert_eq!(rig.broker.shares.taken().keys().collect::<Vec<_>>(), ["other"]);
    assert_eq!(rig.broker.sizes().retained, 1);
}

#[test]
fn messages_of_qos_2_that_are_never_released_are_bounded() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    for number in 1..=257 {
        let delivery = Delivery::ExactlyOnce { id: id(number), dup: false };
        rig.send(pump, Packet::Publish(Publish { delivery, ..message("a", "x") }));
    }
    assert_eq!(reason_of_end(&rig), Some(Reason::ReceiveMaximumExceeded));
}

#[test]
fn events_that_nobody_polls_are_bounded_and_counted() {
    let mut broker = Broker::new(Limits { events: 2, ..Limits::default() });
    let mut guard = Rules::default();
    for _ in 0..5 {
        let conn =
            broker.open(String::new(), Text::default(), Instant::default()).expect("there is room");
        broker.handle_closed(conn, &mut guard, Instant::default());
    }
    let events: Vec<Event<String>> = core::iter::from_fn(|| broker.poll_event()).collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events.last(), Some(&Event::Lost { n_events: 3 }));
}

#[test]
fn inputs_for_a_connection_that_ended_are_ignored() {
    let mut rig = Rig::new();
    let old = rig.join("pump", Version::V5);
    rig.cut(old);
    let new = rig.join("other", Version::V5);
    let (broker, guard, now) = (&mut rig.broker, &mut rig.guard, rig.now);
    broker.handle_packet(old, Packet::PingReq, guard, now);
    broker.handle_fault(old, &DecodeError::Length, guard, now);
    broker.handle_sent(old);
    broker.handle_closed(old, guard, now);
    broker.close(old, Reason::NotAuthorized, None, guard, now);
    broker.redecide(old, guard, now);
    assert_eq!(broker.principal(old), None);
    rig.drive();
    assert_eq!((rig.whys().len(), rig.is_closed(new)), (1, false));
}

#[test]
fn queues_within_their_bounds_do_not_fill_the_memory_together() {
    let limits = Limits { queue_bytes_own: 2_000, queue_bytes_pool: 300_000, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let pump = rig.join("pump", Version::V5);
    for number in 0..20 {
        let mut connect = connect(&alloc::format!("sleeper-{number}"), Version::V5);
        connect.properties.session_expiry = Some(1_000);
        let sleeper = rig.join_as(connect);
        rig.subscribe(sleeper, "load/#", QoS::AtLeastOnce);
        rig.subscribe(sleeper, &alloc::format!("own/{number}"), QoS::AtLeastOnce);
        rig.cut(sleeper);
    }
    for number in 1..200 {
        rig.send(pump, Packet::Publish(sure(number, "load/x", &"x".repeat(500))));
    }
    let pooled = rig.broker.sizes().pooled_bytes;
    assert!((140_000..=150_000).contains(&pooled), "those who wait have half of it: {pooled}");
    let held: Vec<_> = rig.broker.sessions.iter().map(|(_, held)| held.queue.n_bytes()).collect();
    assert!(held.iter().filter(|bytes| **bytes > 0).all(|bytes| *bytes >= 1_500), "{held:?}");
    // Who has something of its own left gets what is small, though the pool is empty.
    let late = rig.join("late", Version::V5);
    rig.subscribe(late, "own/#", QoS::AtLeastOnce);
    rig.stick(late, true);
    for number in 1..10 {
        rig.send(pump, Packet::Publish(sure(number, "own/99", "small")));
    }
    rig.stick(late, false);
    assert_eq!(rig.topics(late).len(), 9);
    rig.broker.forget_where(|principal| principal.starts_with("sleeper"));
    assert_eq!(rig.broker.sizes().pooled_bytes, 0);
}

#[test]
fn what_is_in_flight_is_bounded_in_bytes_and_a_larger_message_flies_alone() {
    let mut rig = Rig::with(Limits { inflight_bytes: 10_000, ..Limits::default() });
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe(watcher, "#", QoS::AtLeastOnce);
    for (number, n_payload) in [(1, 4_000), (2, 4_000), (3, 4_000), (4, 20_000), (5, 10)] {
        rig.send(pump, Packet::Publish(sure(number, "a", &"x".repeat(n_payload))));
    }
    // Each step takes what is there, and then acknowledges it.
    let mut step = || {
        let mut flown = Vec::new();
        while let Some(packet) = rig.receive(watcher) {
            if let Packet::Publish(publish) = packet {
                flown.push((publish.delivery.id().expect("QoS 1"), publish.payload.len()));
            }
        }
        for (id, _) in &flown {
            rig.send(watcher, Packet::PubAck(Ack::of(*id, Reason::Success)));
        }
        flown.into_iter().map(|(_, n_payload)| n_payload).collect::<Vec<_>>()
    };
    assert_eq!(step(), [4_000, 4_000]);
    assert_eq!(step(), [4_000]);
    assert_eq!(step(), [20_000]);
    assert_eq!(step(), [10]);
}

#[test]
fn one_holder_does_not_take_the_pool_and_the_prompt_are_served_when_it_is_empty() {
    let limits = Limits { queue_bytes_own: 1_000, queue_bytes_pool: 100_000, ..Limits::default() };
    let per_holder = Share { pooled_bytes: 20_000, ..limits.per_holder };
    let mut rig = Rig::with(Limits { per_holder, ..limits });
    let pump = rig.join("pump", Version::V5);
    let mut stuck = Vec::new();
    for number in 0..8 {
        // Several sessions of one holder, and of others.
        let conn = rig.open(if number < 4 { "hoarder" } else { "other" });
        let connect = connect(&alloc::format!("stuck-{number}"), Version::V5);
        rig.send(conn, connected(connect));
        rig.subscribe(conn, "load", QoS::AtMostOnce);
        rig.stick(conn, true);
        stuck.push(conn);
    }
    for _ in 0..100 {
        rig.publish(pump, "load", &"x".repeat(1_000));
    }
    let taken = |rig: &Rig, name: &str| {
        rig.broker.shares.taken().get(name).map_or(0, |share| share.pooled_bytes)
    };
    assert!((16_000..=20_000).contains(&taken(&rig, "hoarder")), "{}", taken(&rig, "hoarder"));
    assert!((16_000..=20_000).contains(&taken(&rig, "other")), "{}", taken(&rig, "other"));
    // Whoever takes what it is sent gets also what is larger than what it has of its own.
    rig.broker.pool.take(50_000, &Limits { queue_bytes_pool: 1 << 20, ..Limits::default() });
    rig.broker.pool.take(50_000, &Limits { queue_bytes_pool: 1 << 20, ..Limits::default() });
    let prompt = rig.join("prompt", Version::V5);
    rig.subscribe(prompt, "command", QoS::AtLeastOnce);
    rig.send(pump, Packet::Publish(sure(1, "command", &"x".repeat(20_000))));
    assert_eq!(rig.receive_message(prompt).payload.len(), 20_000);
    assert!(rig.whys().is_empty());
}

#[test]
fn what_is_released_and_never_completed_has_an_end() {
    let limits =
        Limits { inflight: core::num::NonZeroU16::new(4).expect("not zero"), ..Limits::default() };
    let mut rig = Rig::with(limits);
    let pump = rig.join("pump", Version::V5);
    let rejoin = |rig: &mut Rig| {
        let mut connect = connect("liar", Version::V5);
        connect.clean_start = false;
        connect.properties.session_expiry = Some(1_000);
        rig.join_as(connect)
    };
    let liar = rejoin(&mut rig);
    rig.subscribe(liar, "#", QoS::ExactlyOnce);
    rig.cut(liar);
    for number in 1..100 {
        let delivery = Delivery::ExactlyOnce { id: id(number), dup: false };
        rig.send(pump, Packet::Publish(Publish { delivery, ..message("a", "x") }));
        rig.send(pump, Packet::PubRel(Ack::of(id(number), Reason::Success)));
    }
    let mut n_got = 0;
    for _ in 0..20 {
        let liar = rejoin(&mut rig);
        while let Some(packet) = rig.receive(liar) {
            if let Packet::Publish(publish) = packet
                && let Some(id) = publish.delivery.id()
            {
                n_got += 1;
                rig.send(liar, Packet::PubRec(Ack::of(id, Reason::Success)));
            }
        }
        rig.cut(liar);
    }
    assert_eq!(n_got, 8, "twice what it takes at once");
}
