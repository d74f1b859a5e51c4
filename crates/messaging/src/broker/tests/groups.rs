//! Shared subscriptions: who gets what, and what becomes of what one leaves.

use super::*;

fn lasting(client_id: &str) -> Connect {
    let mut connect = connect(client_id, Version::V5);
    connect.clean_start = false;
    connect.properties.session_expiry = Some(100);
    connect
}

fn payloads(rig: &mut Rig, conn: ConnId) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(packet) = rig.receive(conn) {
        if let Packet::Publish(publish) = packet {
            payloads.push(String::from_utf8_lossy(&publish.payload).to_string());
        }
    }
    payloads
}

#[test]
fn members_take_turns_and_each_message_reaches_one_of_them() {
    for version in [Version::V311, Version::V5] {
        let mut rig = Rig::new();
        let pump = rig.join("pump", version);
        let workers = ["w0", "w1", "w2"].map(|name| rig.join(name, version));
        for worker in workers {
            rig.subscribe(worker, "$share/g/a/#", QoS::AtMostOnce);
        }
        // Who subscribes alone besides gets all of it.
        rig.subscribe(workers[0], "a/+", QoS::AtMostOnce);
        for number in 0..6 {
            rig.publish(pump, "a/b", &number.to_string());
        }
        assert_eq!(payloads(&mut rig, workers[0]), ["0", "0", "1", "2", "3", "3", "4", "5"]);
        assert_eq!(payloads(&mut rig, workers[1]), ["1", "4"]);
        assert_eq!(payloads(&mut rig, workers[2]), ["2", "5"]);
    }
}

#[test]
fn groups_of_other_names_and_filters_get_their_own_copies() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let [first, second, third] = ["w0", "w1", "w2"].map(|name| rig.join(name, Version::V5));
    rig.subscribe(first, "$share/g/a", QoS::AtMostOnce);
    rig.subscribe(second, "$share/h/a", QoS::AtMostOnce);
    rig.subscribe(third, "$share/g/+", QoS::AtMostOnce);
    rig.publish(pump, "a", "x");
    for conn in [first, second, third] {
        assert_eq!(payloads(&mut rig, conn), ["x"]);
    }
}

#[test]
fn a_shared_subscription_brings_no_retained_messages_and_ends_like_any_other() {
    let mut rig = Rig::new();
    let (pump, worker) = (rig.join("pump", Version::V5), rig.join("worker", Version::V5));
    rig.send(pump, Packet::Publish(Publish { retain: true, ..message("a", "kept") }));
    rig.subscribe(worker, "$share/g/a", QoS::AtMostOnce);
    rig.wait(0);
    assert!(payloads(&mut rig, worker).is_empty());
    assert_eq!(rig.broker.sizes().subscriptions, 1);
    rig.unsubscribe(worker, "$share/g/a");
    assert!(
        matches!(rig.receive(worker), Some(Packet::UnsubAck(ack)) if ack.reasons == [Reason::Success])
    );
    assert_eq!(rig.broker.sizes().subscriptions, 0);
    rig.publish(pump, "a", "x");
    assert!(payloads(&mut rig, worker).is_empty());
    rig.unsubscribe(worker, "$share/g/a");
    assert!(
        matches!(rig.receive(worker), Some(Packet::UnsubAck(ack)) if ack.reasons == [Reason::NoSubscriptionExisted])
    );
}

#[test]
fn what_may_be_shared_is_decided_by_what_is_shared() {
    let mut rig = Rig::new();
    let [first, second] = ["w0", "w1"].map(|name| rig.join(name, Version::V5));
    let pump = rig.join("pump", Version::V5);
    rig.subscribe(first, "$share/g/a", QoS::AtMostOnce);
    rig.subscribe(second, "$share/g/a", QoS::AtMostOnce);
    // Whom the guard lets receive nothing is passed over.
    rig.guard.receive.insert("w0 a".to_string());
    for number in 0..3 {
        rig.publish(pump, "a", &number.to_string());
    }
    assert!(payloads(&mut rig, first).is_empty());
    assert_eq!(payloads(&mut rig, second), ["0", "1", "2"]);
    rig.guard.subscribe.insert("a".to_string());
    let sub_ack = rig.subscribe_with(first, subscription("$share/h/a", QoS::AtMostOnce), None);
    assert_eq!(sub_ack.reasons, [Reason::NotAuthorized]);
    rig.broker.redecide_where(|_| true, &mut rig.guard, rig.now);
    rig.drive();
    assert_eq!(rig.broker.sizes().subscriptions, 0);
}

#[test]
fn who_waits_for_its_client_gets_only_what_nobody_else_can_take() {
    let mut rig = Rig::new();
    let (pump, sleeper) = (rig.join("pump", Version::V5), rig.join_as(lasting("sleeper")));
    let awake = rig.join("awake", Version::V5);
    for worker in [sleeper, awake] {
        rig.subscribe(worker, "$share/g/a", QoS::AtLeastOnce);
    }
    rig.cut(sleeper);
    for number in 1..4 {
        rig.send(pump, Packet::Publish(sure(number, "a", &number.to_string())));
    }
    assert_eq!(payloads(&mut rig, awake), ["1", "2", "3"]);
    rig.cut(awake);
    rig.send(pump, Packet::Publish(sure(4, "a", "4")));
    rig.publish(pump, "a", "not sure");
    let sleeper = rig.join_as(lasting("sleeper"));
    // What the other left when its session ended came here, before what was published later.
    assert_eq!(payloads(&mut rig, sleeper), ["1", "2", "3", "4"]);
}

#[test]
fn what_a_member_leaves_goes_to_others_but_what_was_sent_exactly_once() {
    let limits = Limits {
        inflight: core::num::NonZeroU16::new(2).expect("it isn't zero"),
        ..Limits::default()
    };
    let mut rig = Rig::with(limits);
    let pump = rig.join("pump", Version::V5);
    let leaver = rig.join("leaver", Version::V5);
    rig.subscribe(leaver, "$share/g/+", QoS::ExactlyOnce);
    let sent = [
        (1, QoS::AtLeastOnce),
        (2, QoS::ExactlyOnce),
        (3, QoS::ExactlyOnce),
        (4, QoS::AtLeastOnce),
    ];
    for (number, qos) in sent {
        let delivery = match qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(number), dup: false },
            _ => Delivery::AtLeastOnce { id: id(number), dup: false },
        };
        let publish =
            Publish { delivery, ..message(&alloc::format!("t{number}"), &number.to_string()) };
        rig.send(pump, Packet::Publish(publish));
    }
    assert_eq!(payloads(&mut rig, leaver), ["1", "2"], "two are in flight, two wait");
    let heir = rig.join("heir", Version::V311);
    rig.subscribe(heir, "$share/g/+", QoS::AtLeastOnce);
    rig.cut(leaver);
    let got: Vec<Publish> = (0..2).map(|_| rig.receive_message(heir)).collect();
    rig.send(heir, Packet::PubAck(Ack::of(id(1), Reason::Success)));
    let last = rig.receive_message(heir);
    let all: Vec<_> = got.iter().chain([&last]).map(|of| of.payload.as_ref()).collect();
    assert_eq!(all, [b"1", b"3", b"4"], "2 may be there already");
    assert!(matches!(last.delivery, Delivery::AtLeastOnce { dup: false, .. }));
}

#[test]
fn a_member_without_room_is_passed_over_and_none_is_ended_while_another_has_room() {
    let mut rig = Rig::with(Limits { queue_messages: 4, ..Limits::default() });
    let pump = rig.join("pump", Version::V5);
    let [stuck, well] = ["w0", "w1"].map(|name| rig.join(name, Version::V5));
    for worker in [stuck, well] {
        rig.subscribe(worker, "$share/g/a", QoS::AtLeastOnce);
    }
    rig.stick(stuck, true);
    let mut n_got = 0;
    for number in 1..200 {
        rig.send(pump, Packet::Publish(sure(number, "a", "x")));
        while let Some(packet) = rig.receive(well) {
            if let Packet::Publish(publish) = packet
                && let Delivery::AtLeastOnce { id, .. } = publish.delivery
            {
                n_got += 1;
                rig.send(well, Packet::PubAck(Ack::of(id, Reason::Success)));
            }
        }
    }
    assert!(n_got > 180, "{n_got}");
    assert!(rig.whys().is_empty());
}

#[test]
fn what_nobody_has_room_for_waits_in_the_group_and_nobody_is_cut_off_for_it() {
    let mut rig = Rig::with(Limits { queue_messages: 4, ..Limits::default() });
    let pump = rig.join("pump", Version::V5);
    let [holder, prompt] = ["w0", "w1"].map(|name| rig.join(name, Version::V5));
    for worker in [holder, prompt] {
        rig.subscribe(worker, "$share/g/a", QoS::AtLeastOnce);
        rig.stick(worker, true);
    }
    for number in 1..=12 {
        rig.send(pump, Packet::Publish(sure(number, "a", &number.to_string())));
    }
    assert!(rig.whys().is_empty());
    rig.stick(prompt, false);
    rig.wait(1);
    // The other ends with what it held: that is older than what waits, and comes first.
    rig.cut(holder);
    rig.wait(1);
    let mut got: Vec<u32> =
        payloads(&mut rig, prompt).iter().map(|text| text.parse().unwrap()).collect();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got, (1..=12).collect::<Vec<_>>(), "each came once at least");
    assert_eq!(rig.whys(), [Why::TransportClosed]);
    assert_eq!(rig.broker.sizes().pooled_bytes, 0);
}

#[test]
fn a_large_inheritance_does_not_cut_off_the_heir() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let [hoarder, heir] = ["w0", "w1"].map(|name| rig.join(name, Version::V5));
    for worker in [hoarder, heir] {
        rig.subscribe(worker, "$share/g/a", QoS::AtLeastOnce);
    }
    let mut n_got = 0;
    let mut read = |rig: &mut Rig| {
        while let Some(packet) = rig.receive(heir) {
            if let Packet::Publish(publish) = packet
                && let Some(id) = publish.delivery.id()
            {
                n_got += 1;
                rig.send(heir, Packet::PubAck(Ack::of(id, Reason::Success)));
            }
        }
        n_got
    };
    for number in 1..=3_000 {
        rig.send(pump, Packet::Publish(sure(number, "a", &"x".repeat(600))));
        read(&mut rig);
    }
    rig.cut(hoarder);
    for _ in 0..20 {
        rig.wait(1);
        read(&mut rig);
    }
    assert_eq!(read(&mut rig), 3_000);
    assert_eq!(rig.whys(), [Why::TransportClosed]);
}

#[test]
fn a_session_is_in_so_many_groups_and_no_more() {
    let mut rig = Rig::with(Limits { groups_per_session: 2, ..Limits::default() });
    let worker = rig.join("worker", Version::V5);
    let mut subscribe = |name: &str| {
        let filter = alloc::format!("$share/{name}/a");
        rig.subscribe_with(worker, subscription(&filter, QoS::AtMostOnce), None).reasons
    };
    for (name, reason) in [
        ("g", Reason::Success),
        ("h", Reason::Success),
        ("i", Reason::QuotaExceeded),
        ("g", Reason::Success),
    ] {
        assert_eq!(subscribe(name), [reason], "{name}");
    }
}

#[test]
fn what_a_member_may_no_longer_have_when_it_comes_back_goes_to_another() {
    let mut rig = Rig::new();
    let pump = rig.join("pump", Version::V5);
    let first = rig.join_as(lasting("first"));
    rig.subscribe(first, "$share/g/a", QoS::AtLeastOnce);
    rig.send(pump, Packet::Publish(sure(1, "a", "job")));
    assert_eq!(payloads(&mut rig, first), ["job"]);
    rig.cut(first);
    let second = rig.join("second", Version::V5);
    rig.subscribe(second, "$share/g/a", QoS::AtLeastOnce);
    rig.guard.receive.insert("first a".to_string());
    let first = rig.join_as(lasting("first"));
    assert_eq!(payloads(&mut rig, second), ["job"]);
    assert!(payloads(&mut rig, first).is_empty());
    assert_eq!(rig.broker.sizes().pooled_bytes, 0);
}
