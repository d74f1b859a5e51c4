//! Clients that send any sound packet at any time, wires that break, decisions that change: what always holds.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::mqtt::Side;
use crate::mqtt::tests::arbitrary;

#[derive(Clone, Debug)]
enum Act {
    Open(usize),
    Join { client: usize, version: Version, clean_start: bool, expiry: Option<u32>, has_will: bool },
    Send(usize, Packet),
    Subscribe(usize, &'static str, QoS),
    Publish { client: usize, topic: &'static str, qos: QoS, retain: bool, n_payload: usize },
    AckAll(usize),
    Cut(usize),
    Close(usize),
    Stick(usize, bool),
    Wait(u64),
    Redecide(&'static str),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn broker_survives_anything_and_keeps_nothing_of_those_who_left(
        acts in prop::collection::vec(acts(), 1..80),
        is_kept in any::<bool>(),
    ) {
        let limits = Limits {
            queue_messages: 8,
            queue_bytes_own: 100,
            queue_bytes_pool: 12_000,
            inflight_bytes: 6_000,
            session_expiry: 100,
            subscriptions: 12,
            ..Limits::default()
        };
        let mut rig = if is_kept { Rig::kept(limits) } else { Rig::with(limits) };
        let mut conns: [Option<ConnId>; N_CLIENTS] = [None; N_CLIENTS];
        let mut n_opened = 0;
        for act in acts {
            perform(&mut rig, &mut conns, act, &mut n_opened);
            check(&rig)?;
            check_store(&mut rig)?;
        }
        for conn in conns.into_iter().flatten() {
            rig.cut(conn);
        }
        rig.wait(1_000);
        check_store(&mut rig)?;
        let sizes = rig.broker.sizes();
        prop_assert_eq!((sizes.connections, sizes.sessions, sizes.subscriptions), (0, 0, 0));
        prop_assert_eq!(sizes.pooled_bytes, 0);
        prop_assert_eq!(rig.whys().len(), n_opened, "every connection ends once");
    }
}

/// A store that has taken all changes has what the broker has, neither more nor less.
fn check_store(rig: &mut Rig) -> Result<(), TestCaseError> {
    if !rig.store.is_prompt {
        prop_assert!(rig.broker.poll_changes(rig.now).is_none());
        return Ok(());
    }
    if rig.broker.chores.is_empty() {
        rig.flush();
        let mut rows = rig.store.rows.clone();
        for row in rows.values_mut() {
            // A group that has ended has no name any more.
            if let Row::Message(row) = row {
                row.group.take_if(|name| rig.broker.groups.find(name).is_none());
            }
        }
        prop_assert_eq!(rows, rig.broker.rows());
    }
    Ok(())
}

/// What holds between all acts.
fn check(rig: &Rig) -> Result<(), TestCaseError> {
    let broker = &rig.broker;
    let n_subscriptions: usize =
        broker.sessions.iter().map(|(_, session)| session.subscriptions.len()).sum();
    prop_assert_eq!(broker.sizes().subscriptions, n_subscriptions);
    prop_assert_eq!(broker.by_client.len(), broker.sessions.len());
    let of_sessions = broker.sessions.iter().flat_map(|(_, session)| {
        let filters = session.subscriptions.iter();
        let shares = filters.map(|filter| Share::of_subscription(filter.levels().count()));
        let pooled = Share::of_pool(session.pooled);
        shares.chain([Share::SESSION, pooled]).map(|share| (session.principal.clone(), share))
    });
    let of_retained =
        broker.retained.messages().filter_map(|kept| Some((kept.principal.clone()?, kept.share())));
    prop_assert_eq!(broker.shares.taken(), &Shares::sum(of_sessions.chain(of_retained)));
    prop_assert!(broker.chores.is_empty());
    prop_assert!(broker.ready.is_empty());
    let beyond = broker.sessions.iter().map(|(_, session)| {
        let in_flight = session.flights.n_counted_bytes();
        super::super::pool::beyond(session.queue.n_bytes() + in_flight, &broker.limits)
    });
    let (n_waiting_bytes, n_group_timers) = broker.groups.waiting();
    prop_assert_eq!(broker.sizes().pooled_bytes, beyond.sum::<usize>() + n_waiting_bytes);
    for (key, session) in broker.sessions.iter() {
        prop_assert!(session.queue.len() <= broker.limits.queue_messages);
        prop_assert_eq!(broker.by_client.get(&session.client_id), Some(&key));
        let is_connected = session
            .conn
            .and_then(|conn| broker.connections.get(conn))
            .and_then(Connection::session);
        prop_assert_eq!(is_connected, session.conn.map(|_| key), "both know each other");
        prop_assert!(
            session.conn.is_some() || session.ends_at.is_some(),
            "who waits, waits for an end"
        );
    }
    prop_assert!(
        broker.waiting.iter().all(|(batch, key)| {
            !broker.changes.is_durable(*batch) && broker.connections.get(*key).is_some()
        }),
        "nobody waits for what is there, and nobody who is not there waits"
    );
    let n_timers =
        broker.connections.iter().filter(|(_, connection)| connection.timer.is_some()).count()
            + broker.sessions.iter().filter(|(_, session)| session.timer.is_some()).count();
    prop_assert!(
        broker.timers.len() <= n_timers + n_group_timers + broker.retained.len(),
        "no timer without an owner"
    );
    Ok(())
}

fn perform(rig: &mut Rig, conns: &mut [Option<ConnId>; N_CLIENTS], act: Act, n_opened: &mut usize) {
    let live = |rig: &Rig, client: usize| conns[client].filter(|&conn| !rig.is_closed(conn));
    match act {
        Act::Open(client) => {
            if let Some(old) = conns[client] {
                rig.cut(old);
            }
            conns[client] = Some(rig.open(&alloc::format!("c{client}")));
            *n_opened += 1;
        }
        Act::Join { client, version, clean_start, expiry, has_will } => {
            let conn = rig.open("c");
            *n_opened += 1;
            // The old connection stays: it is taken over, or its key is stale.
            let mut connect = connect(&alloc::format!("c{client}"), version);
            connect.clean_start = clean_start;
            connect.properties.session_expiry = expiry.filter(|_| version == Version::V5);
            connect.properties.topic_alias_maximum =
                Some(1).filter(|_| version == Version::V5 && client == 0);
            connect.will =
                has_will.then(|| will("a/will", Some(5).filter(|_| version == Version::V5)));
            rig.send(conn, connected(connect));
            if let Some(old) = conns[client].replace(conn) {
                rig.cut(old);
            }
        }
        Act::Send(client, packet @ Packet::Connect(_)) => {
            if let Some(conn) = live(rig, client) {
                rig.send(conn, packet); // the wire learns the version from it
            }
        }
        Act::Send(client, packet) => {
            if let Some(conn) = live(rig, client) {
                rig.broker.handle_packet(conn, packet, &mut rig.guard, rig.now);
                rig.drive();
            }
        }
        Act::Subscribe(client, filter, qos) => {
            if let Some(conn) = live(rig, client) {
                let packet = Subscribe {
                    id: id(1),
                    properties: SubscribeProperties::default(),
                    subscriptions: alloc::vec![subscription(filter, qos)],
                };
                rig.broker.handle_packet(conn, Packet::Subscribe(packet), &mut rig.guard, rig.now);
                rig.drive();
            }
        }
        Act::Publish { client, topic, qos, retain, n_payload } => {
            if let Some(conn) = live(rig, client) {
                let delivery = match qos {
                    QoS::AtMostOnce => Delivery::AtMostOnce,
                    QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(1), dup: false },
                    QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(2), dup: false },
                };
                let publish =
                    Publish { delivery, retain, ..message(topic, &"x".repeat(n_payload)) };
                rig.broker.handle_packet(conn, Packet::Publish(publish), &mut rig.guard, rig.now);
                rig.drive();
            }
        }
        Act::AckAll(client) => {
            let Some(conn) = live(rig, client) else {
                return;
            };
            while let Some(packet) = rig.receive(conn) {
                let answer = match packet {
                    Packet::Publish(publish) => match publish.delivery {
                        Delivery::AtMostOnce => continue,
                        Delivery::AtLeastOnce { id, .. } => {
                            Packet::PubAck(Ack::of(id, Reason::Success))
                        }
                        Delivery::ExactlyOnce { id, .. } => {
                            Packet::PubRec(Ack::of(id, Reason::Success))
                        }
                    },
                    Packet::PubRel(ack) => Packet::PubComp(Ack::of(ack.id, Reason::Success)),
                    _ => continue,
                };
                rig.broker.handle_packet(conn, answer, &mut rig.guard, rig.now);
                rig.drive();
            }
        }
        Act::Cut(client) => {
            if let Some(conn) = conns[client].take() {
                rig.cut(conn);
            }
        }
        Act::Close(client) => {
            if let Some(conn) = conns[client] {
                let text = Some(Text::from_static("closed"));
                rig.broker.close(conn, Reason::AdministrativeAction, text, &mut rig.guard, rig.now);
                rig.drive();
            }
        }
        Act::Stick(client, is_stuck) => {
            if let Some(conn) = live(rig, client) {
                rig.stick(conn, is_stuck);
            }
        }
        Act::Wait(seconds) => rig.wait(seconds),
        Act::Redecide(filter) => {
            if !rig.guard.subscribe.remove(filter) {
                rig.guard.subscribe.insert(filter.to_string());
            }
            rig.broker.redecide_where(|_| true, &mut rig.guard, rig.now);
            rig.drive();
        }
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let client = 0..N_CLIENTS;
    let filters = prop::sample::select(alloc::vec![
        "#",
        "a/#",
        "+/b",
        "a/b",
        "a/will",
        "$share/g/a/#",
        "$share/h/+/b",
    ]);
    let topics = prop::sample::select(alloc::vec!["a/b", "a", "c/b"]);
    let qualities =
        prop::sample::select(alloc::vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    let sound = arbitrary::packets().prop_filter_map("for a server", |(_, side, packet)| {
        (side == Side::Server).then_some(packet)
    });
    prop_oneof![
        1 => client.clone().prop_map(Act::Open),
        6 => (
            client.clone(),
            prop::sample::select(alloc::vec![Version::V311, Version::V5]),
            any::<bool>(),
            prop::option::of(0_u32..200),
            any::<bool>(),
        )
            .prop_map(|(client, version, clean_start, expiry, has_will)| Act::Join {
                client,
                version,
                clean_start,
                expiry,
                has_will,
            }),
        2 => (client.clone(), sound).prop_map(|(client, packet)| Act::Send(client, packet)),
        5 => (client.clone(), filters.clone(), qualities.clone())
            .prop_map(|(client, filter, qos)| Act::Subscribe(client, filter, qos)),
        8 => (client.clone(), topics, qualities, any::<bool>(), prop::sample::select(alloc::vec![0_usize, 10, 5_000]))
            .prop_map(|(client, topic, qos, retain, n_payload)| Act::Publish { client, topic, qos, retain, n_payload }),
        4 => client.clone().prop_map(Act::AckAll),
        1 => client.clone().prop_map(Act::Cut),
        1 => client.clone().prop_map(Act::Close),
        3 => (client, any::<bool>()).prop_map(|(client, is_stuck)| Act::Stick(client, is_stuck)),
        2 => (0_u64..80).prop_map(Act::Wait),
        1 => filters.prop_map(Act::Redecide),
    ]
}

const N_CLIENTS: usize = 4;
