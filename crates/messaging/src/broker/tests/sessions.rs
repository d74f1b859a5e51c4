//! Sessions and connections: how they begin, wait, are taken over and end.

use super::*;
use crate::mqtt::{Disconnect, DisconnectProperties};

fn lasting(client_id: &str, seconds: u32) -> Connect {
    let mut connect = connect(client_id, Version::V5);
    connect.properties.session_expiry = Some(seconds);
    connect
}

fn goodbye(reason: Reason) -> Packet {
    Packet::Disconnect(Disconnect { reason, properties: DisconnectProperties::default() })
}

fn conn_ack_of(rig: &mut Rig, connect: Connect) -> (ConnId, crate::mqtt::ConnAck) {
    let conn = rig.open(&connect.client_id);
    rig.send(conn, connected(connect));
    match rig.receive(conn) {
        Some(Packet::ConnAck(conn_ack)) => (conn, *conn_ack),
        other => panic!("{other:?}"),
    }
}

#[test]
fn conn_ack_tells_what_holds_instead_of_what_was_asked() {
    let mut rig = Rig::with(Limits { session_expiry: 60, ..Limits::default() });
    let (_, conn_ack) =
        conn_ack_of(&mut rig, Connect { client_id: Text::default(), ..lasting("", 1_000) });
    let properties = conn_ack.properties;
    assert!(!conn_ack.session_present);
    assert_eq!(properties.session_expiry, Some(60));
    assert_eq!(properties.server_keep_alive, Some(1_200), "none was asked for");
    assert_eq!(properties.assigned_client_id.as_deref(), Some("/assigned"));
    assert_eq!(properties.topic_alias_maximum, Some(32));
    assert_eq!(properties.maximum_packet_size.map(|size| size.get()), Some(262_144));
    assert_eq!(
        (properties.maximum_qos, properties.retain_available, properties.shared_available),
        (None, None, None),
        "all are there"
    );
}

#[test]
fn session_waits_for_its_client_with_messages_and_subscriptions() {
    for version in [Version::V311, Version::V5] {
        let mut rig = Rig::new();
        let mut sleeper = lasting("sleeper", 100);
        sleeper.version = version;
        sleeper.clean_start = false;
        if version == Version::V311 {
            sleeper.properties = ConnectProperties::default();
        }
        let pump = rig.join("pump", Version::V5);
        let conn = rig.join_as(sleeper.clone());
        rig.subscribe(conn, "#", QoS::AtLeastOnce);
        rig.cut(conn);
        rig.send(pump, Packet::Publish(sure(1, "a", "x")));
        rig.publish(pump, "b", "dropped, for it is of QoS 0");
        let (conn, conn_ack) = conn_ack_of(&mut rig, sleeper);
        assert!(conn_ack.session_present);
        assert_eq!(rig.topics(conn), ["a"]);
        rig.publish(pump, "c", "live");
        assert_eq!(rig.topics(conn), ["c"]);
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order_on_reconnect() {
    let mut rig = Rig::new();
    let mut sleeper = Connect { clean_start: false, ..lasting("sleeper", 100) };
    let pump = rig.join("pump", Version::V5);
    let conn = rig.join_as(sleeper.clone());
    rig.subscribe(conn, "#", QoS::ExactlyOnce);
    for (number, topic) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        let delivery = Delivery::ExactlyOnce { id: id(number), dup: false };
        rig.send(pump, Packet::Publish(Publish { delivery, ..message(topic, "x") }));
    }
    assert_eq!(rig.topics(conn), ["one", "two", "three", "four"]);
    rig.send(conn, Packet::PubRec(Ack::of(id(1), Reason::Success)));
    rig.send(conn, Packet::PubRec(Ack::of(id(3), Reason::Success)));
    rig.send(conn, Packet::PubComp(Ack::of(id(3), Reason::Success)));
    rig.cut(conn);
    sleeper.properties.receive_maximum = core::num::NonZeroU16::new(1);
    let (conn, _) = conn_ack_of(&mut rig, sleeper);
    assert_eq!(rig.receive(conn), Some(Packet::PubRel(Ack::of(id(1), Reason::Success))));
    let two = rig.receive_message(conn);
    assert_eq!(two.delivery, Delivery::ExactlyOnce { id: id(2), dup: true });
    assert_eq!(rig.receive(conn), None, "the client takes one at once now");
    rig.send(conn, Packet::PubRec(Ack::of(id(2), Reason::Success)));
    rig.receive(conn);
    rig.send(conn, Packet::PubComp(Ack::of(id(2), Reason::Success)));
    assert_eq!(rig.receive_message(conn).delivery, Delivery::ExactlyOnce { id: id(4), dup: true });
}

#[test]
fn session_ends_when_its_time_is_over_or_a_clean_start_is_asked() {
    let mut rig = Rig::new();
    let conn = rig.join_as(lasting("sleeper", 100));
    rig.subscribe(conn, "#", QoS::AtLeastOnce);
    rig.cut(conn);
    rig.wait(99);
    assert_eq!(rig.broker.sizes().sessions, 1);
    rig.wait(2);
    assert_eq!((rig.broker.sizes().sessions, rig.broker.sizes().subscriptions), (0, 0));

    let conn = rig.join_as(lasting("sleeper", 100));
    rig.cut(conn);
    let (_, conn_ack) = conn_ack_of(&mut rig, lasting("sleeper", 100));
    assert!(!conn_ack.session_present);
}

#[test]
fn session_does_not_outlive_its_connection_unless_asked() {
    for version in [Version::V311, Version::V5] {
        let mut rig = Rig::new();
        let conn = rig.join("pump", version);
        rig.subscribe(conn, "#", QoS::AtLeastOnce);
        rig.cut(conn);
        assert_eq!((rig.broker.sizes().sessions, rig.broker.sizes().subscriptions), (0, 0));
        assert_eq!(rig.broker.poll_timeout(), None);
    }
}

#[test]
fn second_connection_of_a_client_id_takes_over() {
    let mut rig = Rig::new();
    let old = rig.join("pump", Version::V5);
    let new = rig.join("pump", Version::V311);
    assert!(
        matches!(rig.receive(old), Some(Packet::Disconnect(word)) if word.reason == Reason::SessionTakenOver)
    );
    assert!(rig.is_closed(old));
    assert!(!rig.is_closed(new));
    assert!(rig.events.iter().any(
        |event| matches!(event, Event::TakenOver { conn, by, .. } if (*conn, *by) == (old, new))
    ));
    assert_eq!(rig.whys(), [Why::TakenOver]);
    assert_eq!(rig.broker.sizes().connections, 1);
    rig.cut(old); // the transport notices late
    assert_eq!(rig.whys().len(), 1);
}

#[test]
fn will_is_published_when_the_client_is_lost_and_not_when_it_says_goodbye() {
    let table: [(Option<Packet>, bool); 3] = [
        (None, true),
        (Some(goodbye(Reason::Success)), false),
        (Some(goodbye(Reason::DisconnectWithWill)), true),
    ];
    for (word, is_published) in table {
        let mut rig = Rig::new();
        let watcher = rig.join("watcher", Version::V5);
        rig.subscribe(watcher, "#", QoS::AtLeastOnce);
        let pump =
            rig.join_as(Connect { will: Some(will("bye", None)), ..connect("pump", Version::V5) });
        match word {
            Some(word) => rig.send(pump, word),
            None => rig.cut(pump),
        }
        assert_eq!(rig.topics(watcher).len(), usize::from(is_published));
        let told = rig.events.iter().any(|event| matches!(event, Event::WillPublished { .. }));
        assert_eq!(told, is_published);
    }
}

#[test]
fn delayed_will_waits_and_is_dropped_if_the_client_comes_back() {
    let mut rig = Rig::new();
    let watcher = rig.join("watcher", Version::V5);
    rig.subscribe(watcher, "#", QoS::AtLeastOnce);
    let pump =
        Connect { will: Some(will("bye", Some(10))), clean_start: false, ..lasting("pump", 100) };
    let conn = rig.join_as(pump.clone());
    rig.cut(conn);
    rig.wait(9);
    assert_eq!(rig.topics(watcher).len(), 0);
    let conn = rig.join_as(pump.clone());
    rig.wait(20);
    assert_eq!(rig.topics(watcher).len(), 0, "it came back in time");
    rig.cut(conn);
    rig.wait(11);
    assert_eq!(rig.topics(watcher).len(), 1);

    let short = Connect { will: Some(will("bye", Some(1_000))), ..lasting("short", 5) };
    let conn = rig.join_as(short);
    rig.cut(conn);
    rig.wait(6);
    assert_eq!(rig.topics(watcher).len(), 1, "the session's end comes before the delay's");
}

#[test]
fn silent_client_is_ended_after_one_and_a_half_keep_alives() {
    for version in [Version::V311, Version::V5] {
        let mut rig = Rig::new();
        let conn = rig.join_as(Connect { keep_alive: 10, ..connect("pump", version) });
        rig.wait(14);
        rig.send(conn, Packet::PingReq);
        assert_eq!(rig.receive(conn), Some(Packet::PingResp));
        rig.wait(14);
        assert!(!rig.is_closed(conn));
        rig.wait(2);
        assert!(rig.is_closed(conn));
        assert_eq!(rig.whys(), [Why::KeepAlive]);
        let word = rig.receive(conn);
        assert_eq!(word.is_some(), version == Version::V5);
    }
}

#[test]
fn server_keep_alive_holds_for_clients_that_ask_for_none() {
    let mut rig = Rig::new();
    let (new, old) = (rig.join("new", Version::V5), rig.join("old", Version::V311));
    rig.wait(1_801);
    assert!(rig.is_closed(new));
    assert!(!rig.is_closed(old), "MQTT 3.1.1 can't be told another one");
}

#[test]
fn session_expiry_can_be_changed_at_goodbye_but_not_from_none() {
    let word = |expiry| {
        let properties =
            DisconnectProperties { session_expiry: Some(expiry), ..Default::default() };
        Packet::Disconnect(Disconnect { reason: Reason::Success, properties })
    };
    let mut rig = Rig::new();
    let conn = rig.join_as(lasting("pump", 100));
    rig.send(conn, word(0));
    assert_eq!(rig.broker.sizes().sessions, 0);
    let conn = rig.join("pump", Version::V5);
    rig.send(conn, word(100));
    assert_eq!(rig.whys().last(), Some(&Why::ProtocolError { reason: Reason::ProtocolError }));
}

#[test]
fn session_in_another_version_begins_anew() {
    let mut rig = Rig::new();
    let conn = rig.join_as(lasting("pump", 100));
    rig.cut(conn);
    let (_, conn_ack) =
        conn_ack_of(&mut rig, Connect { clean_start: false, ..connect("pump", Version::V311) });
    assert!(!conn_ack.session_present);
    assert_eq!(rig.broker.sizes().sessions, 1);
}
