//! Topic aliases, in both directions.

use core::num::NonZeroU16;

use super::*;
use crate::mqtt::PublishProperties;

fn with_alias(publish: Publish, alias: u16) -> Publish {
    let topic_alias = NonZeroU16::new(alias);
    let properties = PublishProperties { topic_alias, ..PublishProperties::default() };
    Publish { properties: Some(alloc::boxed::Box::new(properties)), ..publish }
}

fn alias_of(publish: &Publish) -> Option<u16> {
    Some(publish.properties.as_ref()?.topic_alias?.get())
}

#[test]
fn a_client_names_a_topic_once_and_may_name_another_by_the_same_number() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V311));
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    for (topic, payload) in [(Some("a/b"), "1"), (None, "2"), (Some("c"), "3"), (None, "4")] {
        let publish = message(topic.unwrap_or("x"), payload);
        let topic = topic.and(publish.topic.clone());
        rig.send(pump, Packet::Publish(with_alias(Publish { topic, ..publish }, 32)));
    }
    assert_eq!(rig.topics(watcher), ["a/b", "a/b", "c", "c"]);
}

#[test]
fn a_topic_behind_a_number_is_decided_like_any_other() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    rig.guard.publish.insert("secret".to_string());
    rig.send(pump, Packet::Publish(with_alias(message("secret", "1"), 1)));
    let by_number = Publish { topic: None, ..sure(5, "x", "2") };
    rig.send(pump, Packet::Publish(with_alias(by_number, 1)));
    assert!(rig.topics(watcher).is_empty());
    match rig.receive(pump) {
        Some(Packet::PubAck(ack)) => assert_eq!(ack.reason, Reason::NotAuthorized),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_duplicate_of_qos_2_still_names_its_topic() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    let once =
        |dup| Publish { delivery: Delivery::ExactlyOnce { id: id(9), dup }, ..message("a", "") };
    rig.send(pump, Packet::Publish(once(false)));
    rig.send(pump, Packet::Publish(with_alias(once(true), 3)));
    rig.send(pump, Packet::Publish(with_alias(Publish { topic: None, ..message("x", "") }, 3)));
    assert_eq!(rig.topics(watcher), ["a", "a"]);
}

#[test]
fn numbers_beyond_the_bound_unknown_ones_and_endless_topics_end_the_connection() {
    let named = |topic: &str, alias| with_alias(message(topic, ""), alias);
    let unnamed = |alias| with_alias(Publish { topic: None, ..message("x", "") }, alias);
    let long = "x".repeat(crate::topic::MAX_BYTES);
    let endless: Vec<_> = (1..=9).map(|alias| named(&long, alias)).collect();
    let cases: [(&[Publish], Reason); 4] = [
        (&[named("a", 33)], Reason::TopicAliasInvalid),
        (&[unnamed(1)], Reason::ProtocolError),
        (&[named("a", 1), unnamed(2)], Reason::ProtocolError),
        (&endless, Reason::QuotaExceeded),
    ];
    for (sent, reason) in cases {
        let mut rig = Rig::new();
        let pump = rig.join("pump", Version::V5);
        for publish in sent {
            rig.send(pump, Packet::Publish(publish.clone()));
        }
        assert_eq!(rig.whys(), [Why::ProtocolError { reason }]);
    }
    // Naming the same number anew takes no more room.
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    for _ in 0..10 {
        rig.send(pump, Packet::Publish(named(&long, 1)));
    }
    assert!(!rig.is_closed(pump));
}

#[test]
fn a_client_that_takes_numbers_is_told_them_until_none_is_left() {
    let mut rig = Rig::new();
    let mut connect = connect("watcher", Version::V5);
    connect.properties.topic_alias_maximum = Some(1);
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join_as(connect));
    rig.subscribe(watcher, "#", QoS::ExactlyOnce);
    let expiring = PublishProperties { message_expiry: Some(100), ..PublishProperties::default() };
    let expiring = Some(alloc::boxed::Box::new(expiring));
    rig.send(pump, Packet::Publish(Publish { properties: expiring, ..sure(1, "a/b", "first") }));
    rig.wait(3);
    for (number, topic) in [(2, "a/b"), (3, "c"), (4, "a/b")] {
        rig.send(pump, Packet::Publish(sure(number, topic, topic)));
    }
    let got: Vec<_> = (0..4).map(|_| rig.receive_message(watcher)).collect();
    let shape = |publish: &Publish| {
        (publish.topic.as_ref().map(ToString::to_string), alias_of(publish), publish.delivery)
    };
    let delivery = |number| Delivery::AtLeastOnce { id: id(number), dup: false };
    assert_eq!(shape(&got[0]), (Some("a/b".to_string()), Some(1), delivery(1)));
    assert_eq!(got[0].properties.as_ref().and_then(|of| of.message_expiry), Some(100));
    assert_eq!(shape(&got[1]), (None, Some(1), delivery(2)));
    assert_eq!(shape(&got[2]), (Some("c".to_string()), None, delivery(3)));
    assert_eq!(shape(&got[3]), (None, Some(1), delivery(4)));
    assert_eq!(
        got.iter().map(|of| of.payload.as_ref()).collect::<Vec<_>>(),
        [&b"first"[..], b"a/b", b"c", b"a/b"]
    );
}

#[test]
fn numbers_end_with_their_connection_and_what_is_sent_again_is_named_anew() {
    let mut rig = Rig::new();
    let connect = || {
        let mut connect = connect("watcher", Version::V5);
        connect.clean_start = false;
        connect.properties.session_expiry = Some(100);
        connect.properties.topic_alias_maximum = Some(5);
        connect
    };
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join_as(connect()));
    rig.subscribe(watcher, "#", QoS::AtLeastOnce);
    rig.send(pump, Packet::Publish(sure(1, "a/b", "x")));
    rig.send(pump, Packet::Publish(sure(2, "a/b", "y")));
    rig.cut(watcher);
    let watcher = rig.join_as(connect());
    let again: Vec<_> = (0..2).map(|_| rig.receive_message(watcher)).collect();
    assert_eq!(again.iter().map(alias_of).collect::<Vec<_>>(), [Some(1), Some(1)]);
    assert_eq!(again[0].topic.as_ref().map(Topic::as_str), Some("a/b"));
    assert_eq!(again[1].topic, None);
    assert_eq!(again[1].delivery, Delivery::AtLeastOnce { id: id(2), dup: true });
}

#[test]
fn a_message_that_a_number_would_make_too_large_goes_without() {
    let mut rig = Rig::new();
    let mut connect = connect("watcher", Version::V5);
    connect.properties.topic_alias_maximum = Some(5);
    connect.properties.maximum_packet_size = core::num::NonZeroU32::new(20);
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join_as(connect));
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    rig.publish(pump, "a", "0123456789abcd");
    let publish = rig.receive_message(watcher);
    assert_eq!((publish.topic.as_ref().map(Topic::as_str), alias_of(&publish)), (Some("a"), None));
    rig.publish(pump, "a", "0123456789a");
    assert_eq!(alias_of(&rig.receive_message(watcher)), Some(1));
}
