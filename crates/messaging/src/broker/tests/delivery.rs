//! Messages: who gets them, how surely, in which form.

use super::*;
use crate::mqtt::PublishProperties;

const BOTH: [Version; 2] = [Version::V311, Version::V5];

#[test]
fn message_reaches_those_who_subscribed() {
    for version in BOTH {
        let mut rig = Rig::new();
        let (pump, watcher, other) = (
            rig.join("pump", version),
            rig.join("watcher", Version::V5),
            rig.join("other", version),
        );
        rig.subscribe(watcher, "site/+/level", QoS::AtLeastOnce);
        rig.subscribe(other, "site/+/other", QoS::AtLeastOnce);
        rig.publish(pump, "site/1/level", "21");
        let publish = rig.receive_message(watcher);
        assert_eq!(
            (publish.payload.as_ref(), publish.delivery),
            (&b"21"[..], Delivery::AtMostOnce)
        );
        assert_eq!(rig.receive(other), None);
    }
}

#[test]
fn qos_is_the_lesser_of_both_and_each_receiver_has_its_own_packet_ids() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let (zero, one, two) = (
        rig.join("zero", Version::V311),
        rig.join("one", Version::V5),
        rig.join("two", Version::V5),
    );
    rig.subscribe(zero, "#", QoS::AtMostOnce);
    rig.subscribe(one, "#", QoS::AtLeastOnce);
    rig.subscribe(two, "#", QoS::ExactlyOnce);
    rig.send(pump, Packet::Publish(sure(500, "a", "x")));
    assert_eq!(rig.receive(pump), Some(Packet::PubAck(Ack::of(id(500), Reason::Success))));
    assert_eq!(rig.receive_message(zero).delivery, Delivery::AtMostOnce);
    for conn in [one, two] {
        let delivery = rig.receive_message(conn).delivery;
        assert_eq!(delivery, Delivery::AtLeastOnce { id: id(1), dup: false });
    }
}

#[test]
fn exactly_once_goes_its_four_steps_on_both_sides() {
    for version in BOTH {
        let mut rig = Rig::new();
        let (pump, watcher) = (rig.join("pump", version), rig.join("watcher", version));
        rig.subscribe(watcher, "#", QoS::ExactlyOnce);
        let publish = Publish {
            delivery: Delivery::ExactlyOnce { id: id(9), dup: false },
            ..message("a", "x")
        };
        let again = Publish {
            delivery: Delivery::ExactlyOnce { id: id(9), dup: true },
            ..message("a", "x")
        };
        rig.send(pump, Packet::Publish(publish));
        rig.send(pump, Packet::Publish(again));
        for _ in 0..2 {
            assert_eq!(rig.receive(pump), Some(Packet::PubRec(Ack::of(id(9), Reason::Success))));
        }
        rig.send(pump, Packet::PubRel(Ack::of(id(9), Reason::Success)));
        assert_eq!(rig.receive(pump), Some(Packet::PubComp(Ack::of(id(9), Reason::Success))));

        let delivery = rig.receive_message(watcher).delivery;
        assert_eq!(delivery, Delivery::ExactlyOnce { id: id(1), dup: false });
        assert_eq!(rig.receive(watcher), None, "the repeated PUBLISH was the same message");
        rig.send(watcher, Packet::PubRec(Ack::of(id(1), Reason::Success)));
        assert_eq!(rig.receive(watcher), Some(Packet::PubRel(Ack::of(id(1), Reason::Success))));
        rig.send(watcher, Packet::PubComp(Ack::of(id(1), Reason::Success)));
        assert_eq!(rig.broker.counters().unknown_acks, 0);
    }
}

#[test]
fn no_more_are_in_flight_than_the_receiver_takes() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let mut slow = connect("slow", Version::V5);
    slow.properties.receive_maximum = core::num::NonZeroU16::new(2);
    let slow = rig.join_as(slow);
    rig.subscribe(slow, "#", QoS::AtLeastOnce);
    for number in 1..=5 {
        rig.send(pump, Packet::Publish(sure(number, "a", "x")));
    }
    let (first, second) = (rig.receive_message(slow), rig.receive_message(slow));
    assert_eq!((first.delivery.id(), second.delivery.id()), (Some(id(1)), Some(id(2))));
    assert_eq!(rig.receive(slow), None);
    rig.send(slow, Packet::PubAck(Ack::of(id(2), Reason::Success)));
    assert_eq!(rig.receive_message(slow).delivery.id(), Some(id(2)), "its number is free again");
    assert_eq!(rig.receive(slow), None);
}

#[test]
fn overlapping_subscriptions_bring_one_copy_with_the_best_quality_and_every_identifier() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe_with(watcher, subscription("a/#", QoS::AtMostOnce), Some(3));
    rig.subscribe_with(watcher, subscription("a/+", QoS::AtLeastOnce), Some(200));
    rig.send(pump, Packet::Publish(sure(1, "a/b", "x")));
    let publish = rig.receive_message(watcher);
    assert_eq!(publish.delivery.qos(), QoS::AtLeastOnce);
    let mut ids = publish.properties.expect("it has identifiers").subscription_ids;
    ids.sort();
    assert_eq!(ids, [3, 200].map(|number| SubscriptionId::of(number).expect("an id")));
    assert_eq!(rig.receive(watcher), None);
}

#[test]
fn no_local_leaves_out_the_own_messages_only() {
    let mut rig = Rig::new();
    let (pump, other) = (rig.join("pump", Version::V5), rig.join("other", Version::V5));
    rig.subscribe_with(
        pump,
        Subscription { no_local: true, ..subscription("a", QoS::AtMostOnce) },
        None,
    );
    rig.publish(pump, "a", "mine");
    rig.publish(other, "a", "theirs");
    assert_eq!(rig.receive_message(pump).payload.as_ref(), b"theirs");
    assert_eq!(rig.receive(pump), None);
}

#[test]
fn retained_message_waits_for_those_who_come_later() {
    for version in BOTH {
        let mut rig = Rig::new();
        let pump = rig.join("pump", version);
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a/1", "old") }));
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a/1", "new") }));
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a/2", "gone") }));
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a/2", "") }));
        let watcher = rig.join("watcher", version);
        rig.subscribe(watcher, "a/+", QoS::AtLeastOnce);
        let publish = rig.receive_message(watcher);
        assert_eq!((publish.retain, publish.payload.as_ref()), (true, &b"new"[..]));
        assert_eq!(rig.receive(watcher), None);
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a/1", "live") }));
        assert!(!rig.receive_message(watcher).retain, "who is there already gets it as a live one");
        assert_eq!(rig.broker.sizes().retained, 1);
    }
}

#[test]
fn retain_options_are_followed() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a", "x") }));
    let with = |retain_handling| Subscription {
        retain_handling,
        retain_as_published: true,
        ..subscription("a", QoS::AtMostOnce)
    };
    let mut n_received = Vec::new();
    for retain_handling in [
        RetainHandling::Never,
        RetainHandling::IfNew,
        RetainHandling::Always,
        RetainHandling::IfNew,
    ] {
        rig.subscribe_with(watcher, with(retain_handling), None);
        n_received.push(rig.topics(watcher).len());
    }
    rig.unsubscribe(watcher, "a");
    rig.subscribe_with(watcher, with(RetainHandling::IfNew), None);
    n_received.push(rig.topics(watcher).len());
    assert_eq!(n_received, [0, 0, 1, 0, 1]);
    rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a", "y") }));
    assert!(rig.receive_message(watcher).retain, "as it was published");
}

#[test]
fn thousands_of_retained_messages_come_in_steps_and_all() {
    let limits = Limits { queue_messages: 50, retained_steps: 7, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let pumps = ["pump-1", "pump-2"].map(|pump| rig.join(pump, Version::V5));
    for number in 0..3_000 {
        rig.send(
            pumps[number % 2],
            Packet::Publish(Publish {
                retain: true,
                ..message(&alloc::format!("a/{number}"), "x")
            }),
        );
    }
    let watcher = rig.join("watcher", Version::V5);
    rig.stick(watcher, true);
    rig.subscribe(watcher, "a/#", QoS::AtMostOnce);
    rig.wait(1);
    assert!(rig.topics(watcher).len() < 200, "a stuck transport holds the search back");
    let before = rig.broker.counters().delivered;
    assert!(before < 200);
    rig.stick(watcher, false);
    rig.wait(1);
    assert_eq!(rig.broker.counters().delivered, 3_000);
    assert!(!rig.is_closed(watcher), "retained messages never make a slow consumer");
}

#[test]
fn message_that_expired_is_not_delivered_and_the_rest_of_its_time_is_told() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let mut sleeper = connect("sleeper", Version::V5);
    sleeper.properties.session_expiry = Some(1_000);
    let conn = rig.join_as(sleeper.clone());
    rig.subscribe(conn, "#", QoS::AtLeastOnce);
    rig.cut(conn);
    for (number, expiry) in [(1, 10), (2, 100)] {
        let properties = PublishProperties {
            payload_is_text: Some(true),
            message_expiry: Some(expiry),
            ..PublishProperties::default()
        };
        let publish = Publish { properties: Some(properties.into()), ..sure(number, "a", "x") };
        rig.send(pump, Packet::Publish(Publish { retain: number == 1, ..publish }));
    }
    assert_eq!(rig.broker.sizes().retained, 1);
    rig.wait(30);
    assert_eq!(rig.broker.sizes().retained, 0, "retained messages expire too");
    sleeper.clean_start = false;
    let conn = rig.join_as(sleeper);
    let properties = rig.receive_message(conn).properties.expect("it has an expiry");
    assert_eq!((properties.message_expiry, properties.payload_is_text), (Some(70), Some(true)));
    assert_eq!(rig.receive(conn), None);
    assert_eq!(rig.broker.counters().dropped_expired, 1);
}

#[test]
fn properties_of_a_message_are_passed_on_to_mqtt_5_and_left_out_for_3() {
    let mut rig = Rig::new();
    let (pump, new, old) = (
        rig.join("pump", Version::V5),
        rig.join("new", Version::V5),
        rig.join("old", Version::V311),
    );
    rig.subscribe(new, "#", QoS::AtMostOnce);
    rig.subscribe(old, "#", QoS::AtMostOnce);
    let properties = PublishProperties {
        content_type: Some(Text::from_static("t")),
        ..PublishProperties::default()
    };
    rig.send(
        pump,
        Packet::Publish(Publish {
            properties: Some(properties.clone().into()),
            ..message("a", "x")
        }),
    );
    assert_eq!(rig.receive_message(new).properties.as_deref(), Some(&properties));
    assert_eq!(rig.receive_message(old).properties, None);
}

#[test]
fn packet_larger_than_the_receiver_takes_is_not_sent() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let mut small = connect("small", Version::V5);
    small.properties.maximum_packet_size = core::num::NonZeroU32::new(60);
    let small = rig.join_as(small);
    rig.subscribe(small, "#", QoS::AtLeastOnce);
    rig.send(pump, Packet::Publish(sure(1, "a", &"x".repeat(100))));
    rig.send(pump, Packet::Publish(sure(2, "a", "y")));
    assert_eq!(rig.receive_message(small).payload.as_ref(), b"y");
    assert_eq!(rig.broker.counters().dropped_too_large, 1);
}

#[test]
fn many_small_messages_ride_in_one_batch_and_large_payloads_are_shared() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    rig.stick(watcher, true);
    rig.publish(pump, "a", "x");
    rig.publish(pump, "a", "x");
    let n_before = rig.n_batches(watcher);
    for _ in 0..100 {
        rig.publish(pump, "a", &"x".repeat(100));
    }
    rig.publish(pump, "a", &"x".repeat(50_000));
    assert_eq!(rig.n_batches(watcher), n_before, "no credit, no batch");
    rig.stick(watcher, false);
    assert_eq!(
        rig.n_batches(watcher),
        n_before + 2,
        "what doesn't fit one TLS record goes with the next"
    );
    assert_eq!(rig.topics(watcher).len(), 103);
}
