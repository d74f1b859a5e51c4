//! The guard's word: what is denied, what is told, what is recorded.

use super::*;

fn deny(set: &mut BTreeSet<String>, what: &str) {
    set.insert(what.to_string());
}

fn denied_actions(rig: &Rig) -> Vec<Action> {
    let actions = rig.events.iter().filter_map(|event| match event {
        Event::Denied { action, .. } => Some(action.clone()),
        _ => None,
    });
    actions.collect()
}

#[test]
fn denied_client_is_told_in_its_version() {
    for (version, code) in
        [(Version::V311, Reason::NotAuthorized), (Version::V5, Reason::NotAuthorized)]
    {
        let mut rig = Rig::new();
        deny(&mut rig.guard.connect, "pump");
        let conn = rig.open("pump");
        rig.send(conn, connected(connect("pump", version)));
        let Some(Packet::ConnAck(conn_ack)) = rig.receive(conn) else {
            panic!("a CONNACK");
        };
        assert_eq!(conn_ack.reason, code);
        let told = conn_ack.properties.reason_string.as_deref() == Some("decision 42: not allowed");
        assert_eq!(told, version == Version::V5);
        assert!(rig.is_closed(conn));
        assert_eq!(denied_actions(&rig), [Action::Connect]);
        assert_eq!(rig.whys(), [Why::Refused { reason: Reason::NotAuthorized }]);
        assert_eq!(rig.broker.sizes().sessions, 0);
    }
}

#[test]
fn denied_message_of_qos_1_is_refused_in_mqtt_5_and_acknowledged_in_3() {
    for (version, reason) in
        [(Version::V5, Reason::NotAuthorized), (Version::V311, Reason::Success)]
    {
        let mut rig = Rig::new();
        deny(&mut rig.guard.publish, "secret");
        let (pump, watcher) = (rig.join("pump", version), rig.join("watcher", Version::V5));
        rig.subscribe(watcher, "#", QoS::AtLeastOnce);
        rig.send(pump, Packet::Publish(Publish { retain: true, ..sure(1, "secret", "x") }));
        let Some(Packet::PubAck(ack)) = rig.receive(pump) else {
            panic!("a PUBACK");
        };
        assert_eq!(ack.reason, reason);
        assert_eq!(ack.properties.reason_string.is_some(), version == Version::V5);
        assert_eq!(rig.receive(watcher), None);
        assert_eq!((rig.broker.sizes().retained, rig.broker.counters().denied_publishes), (0, 1));
        let topic = "secret".parse().expect("a topic");
        assert_eq!(
            denied_actions(&rig),
            [Action::Publish { topic, qos: QoS::AtLeastOnce, retain: true }]
        );
        assert!(!rig.is_closed(pump));
    }
}

#[test]
fn denied_message_of_qos_2_ends_with_pubrec_and_its_id_is_free() {
    let mut rig = Rig::new();
    deny(&mut rig.guard.publish, "secret");
    let pump = rig.join("pump", Version::V5);
    for topic in ["secret", "open"] {
        let delivery = Delivery::ExactlyOnce { id: id(3), dup: false };
        rig.send(pump, Packet::Publish(Publish { delivery, ..message(topic, "x") }));
    }
    let reasons = [rig.receive(pump), rig.receive(pump)].map(|packet| match packet {
        Some(Packet::PubRec(ack)) => ack.reason,
        other => panic!("{other:?}"),
    });
    assert_eq!(reasons, [Reason::NotAuthorized, Reason::Success]);
}

#[test]
fn denied_message_of_qos_0_is_dropped_and_recorded() {
    let mut rig = Rig::new();
    deny(&mut rig.guard.publish, "secret");
    let pump = rig.join("pump", Version::V5);
    rig.publish(pump, "secret", "x");
    assert_eq!(rig.receive(pump), None);
    assert_eq!(denied_actions(&rig).len(), 1);
}

#[test]
fn client_that_wants_no_explanations_gets_none() {
    let mut rig = Rig::new();
    deny(&mut rig.guard.publish, "secret");
    deny(&mut rig.guard.subscribe, "secret");
    let mut terse = connect("pump", Version::V5);
    terse.properties.request_problem_information = Some(false);
    let pump = rig.join_as(terse);
    rig.send(pump, Packet::Publish(sure(1, "secret", "x")));
    assert!(
        matches!(rig.receive(pump), Some(Packet::PubAck(ack)) if ack.properties.reason_string.is_none())
    );
    let sub_ack = rig.subscribe_with(pump, subscription("secret", QoS::AtMostOnce), None);
    assert_eq!(sub_ack.properties.reason_string, None);
}

#[test]
fn denied_subscription_is_told_and_brings_nothing() {
    for (version, reason) in
        [(Version::V5, Reason::NotAuthorized), (Version::V311, Reason::Unspecified)]
    {
        let mut rig = Rig::new();
        deny(&mut rig.guard.subscribe, "#");
        let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", version));
        let sub_ack = rig.subscribe_with(watcher, subscription("#", QoS::AtMostOnce), None);
        assert_eq!(sub_ack.reasons, [reason]);
        rig.publish(pump, "a", "x");
        assert_eq!(rig.receive(watcher), None);
        assert_eq!(rig.broker.sizes().subscriptions, 0);
        assert_eq!(
            denied_actions(&rig),
            [Action::Subscribe { filter: "#".parse().expect("a filter") }]
        );
    }
}

#[test]
fn receiver_gets_only_what_it_may_receive_live_and_retained() {
    let mut rig = Rig::new();
    deny(&mut rig.guard.receive, "watcher b");
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    for topic in ["a", "b", "c"] {
        rig.send(pump, Packet::Publish(Publish { retain: true, ..message(topic, "x") }));
    }
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    rig.publish(pump, "b", "y");
    rig.publish(pump, "c", "y");
    assert_eq!(rig.topics(watcher), ["a", "c", "c"]);
    assert_eq!(rig.broker.counters().denied_receives, 2);
}

#[test]
fn will_that_may_not_be_published_refuses_the_connection() {
    let mut rig = Rig::new();
    deny(&mut rig.guard.publish, "secret");
    let conn = rig.open("pump");
    rig.send(
        conn,
        connected(Connect { will: Some(will("secret", None)), ..connect("pump", Version::V5) }),
    );
    assert!(
        matches!(rig.receive(conn), Some(Packet::ConnAck(ack)) if ack.reason == Reason::NotAuthorized)
    );
    assert_eq!(denied_actions(&rig), [Action::Will { topic: "secret".parse().expect("a topic") }]);
}

#[test]
fn will_is_decided_again_when_it_is_published() {
    let mut rig = Rig::new();
    let watcher = rig.join("watcher", Version::V5);
    rig.subscribe(watcher, "#", QoS::AtMostOnce);
    let pump =
        rig.join_as(Connect { will: Some(will("bye", None)), ..connect("pump", Version::V5) });
    deny(&mut rig.guard.publish, "bye");
    rig.broker.close(
        pump,
        Reason::NotAuthorized,
        Some(Text::from_static("revoked")),
        &mut rig.guard,
        rig.now,
    );
    rig.drive();
    assert_eq!(rig.receive(watcher), None);
    assert_eq!(denied_actions(&rig), [Action::Will { topic: "bye".parse().expect("a topic") }]);
    assert!(matches!(rig.receive(pump), Some(Packet::Disconnect(word))
        if word.reason == Reason::NotAuthorized && word.properties.reason_string.as_deref() == Some("revoked")));
    assert_eq!(rig.whys(), [Why::Closed { reason: Reason::NotAuthorized }]);
}

#[test]
fn subscription_that_is_withdrawn_stops_without_a_word() {
    let mut rig = Rig::new();
    let (pump, watcher) = (rig.join("pump", Version::V5), rig.join("watcher", Version::V5));
    rig.subscribe(watcher, "a/#", QoS::AtMostOnce);
    rig.subscribe(watcher, "b", QoS::AtMostOnce);
    rig.stick(watcher, true);
    for _ in 0..2 {
        rig.publish(pump, "b", "use up the credit");
    }
    rig.topics(watcher);
    rig.publish(pump, "a/1", "it waits");
    rig.publish(pump, "b", "it waits too");
    deny(&mut rig.guard.subscribe, "a/#");
    deny(&mut rig.guard.receive, "watcher a/1");
    rig.broker.redecide(watcher, &mut rig.guard, rig.now);
    rig.publish(pump, "a/1", "too late");
    rig.stick(watcher, false);
    assert_eq!(rig.topics(watcher), ["b"]);
    assert!(!rig.is_closed(watcher));
    let withdrawn = rig.events.iter().any(|event| {
        matches!(event, Event::Withdrawn { conn, filter, .. } if *conn == Some(watcher) && filter.as_str() == "a/#")
    });
    assert!(withdrawn);
    assert_eq!(rig.broker.sizes().subscriptions, 1);
}

#[test]
fn waiting_sessions_are_redecided_and_forgotten() {
    let mut rig = Rig::new();
    let mut sleeper = connect("sleeper", Version::V5);
    sleeper.properties.session_expiry = Some(1_000);
    let conn = rig.join_as(sleeper);
    rig.subscribe(conn, "a", QoS::AtLeastOnce);
    rig.subscribe(conn, "b", QoS::AtLeastOnce);
    rig.cut(conn);
    deny(&mut rig.guard.subscribe, "a");
    rig.broker.redecide_where(|principal| principal == "sleeper", &mut rig.guard, rig.now);
    assert_eq!(rig.broker.sizes().subscriptions, 1);
    rig.broker.forget_where(|principal| principal == "nobody");
    assert_eq!(rig.broker.sizes().sessions, 1);
    rig.broker.forget_where(|principal| principal == "sleeper");
    assert_eq!((rig.broker.sizes().sessions, rig.broker.sizes().subscriptions), (0, 0));
    assert_eq!(rig.broker.poll_timeout(), None, "its timer is gone too");
}
