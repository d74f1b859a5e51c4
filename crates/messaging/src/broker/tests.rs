//! A rig of virtual clients around a broker, in virtual time, and what they live through.

mod aliases;
mod breakers;
mod chaos;
mod decisions;
mod delivery;
mod durable;
mod groups;
mod model;
mod sessions;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::mqtt::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, PacketId, PacketLimits, Publish, QoS,
    RetainHandling, SubAck, Subscribe, SubscribeProperties, Subscription, SubscriptionId,
    Unsubscribe, UnsubscribeProperties, Will, WillProperties, encode,
};
use crate::text::Binary;
use crate::topic::Filter;

/// A broker, its clients and their wires.
pub(super) struct Rig {
    pub(super) broker: Broker<String>,
    pub(super) guard: Rules,
    pub(super) now: Instant,
    pub(super) events: Vec<Event<String>>,
    pub(super) store: Store,
    wires: BTreeMap<ConnId, Wire>,
    limits: PacketLimits,
}

/// A store that does what it is told when it is told to.
#[derive(Default)]
pub(super) struct Store {
    pub(super) rows: BTreeMap<row::RowKey, Row<String>>,
    /// What it is at work on.
    pub(super) out: Option<Vec<Change<String>>>,
    /// Whether it takes up and finishes work by itself, at once.
    pub(super) is_prompt: bool,
}

/// What lies between the broker and one client.
struct Wire {
    from_client: Decoder,
    to_client: Option<Decoder>,
    received: VecDeque<Packet>,
    buffer: BytesMut,
    is_closed: bool,
    /// Whether the transport takes nothing more.
    is_stuck: bool,
    n_batches: usize,
}

/// A guard of plain sets: what is named is denied.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) connect: BTreeSet<String>,
    pub(super) publish: BTreeSet<String>,
    pub(super) subscribe: BTreeSet<String>,
    pub(super) receive: BTreeSet<String>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let packet = limits.packet;
        Self {
            broker: Broker::new(limits),
            guard: Rules::default(),
            now: Instant::default(),
            events: Vec::new(),
            store: Store::default(),
            wires: BTreeMap::new(),
            limits: packet,
        }
    }

    /// A rig whose broker is kept by a store that is prompt.
    pub(super) fn kept(limits: Limits) -> Self {
        let broker = Broker::kept(limits.clone());
        let store = Store { is_prompt: true, ..Store::default() };
        Self { broker, store, ..Self::with(limits) }
    }

    /// Kills the broker and begins a new one with what the store has.
    pub(super) fn crash(&mut self, limits: Limits) {
        self.broker = Broker::kept(limits);
        self.store.out = None;
        self.wires.clear();
        let rows = self.store.rows.values().cloned();
        let n_forgotten = self.broker.restore(rows, self.now);
        assert_eq!(n_forgotten, 0, "what was kept has its place again");
        self.drive();
    }

    /// Opens a connection that has said nothing yet.
    pub(super) fn open(&mut self, principal: &str) -> ConnId {
        let assigned = Text::clipped(&alloc::format!("{principal}/assigned"));
        let conn =
            self.broker.open(principal.to_string(), assigned, self.now).expect("there is room");
        let from_client = Decoder::for_server(self.limits);
        let (received, buffer) = (VecDeque::new(), BytesMut::new());
        let wire = Wire {
            from_client,
            to_client: None,
            received,
            buffer,
            is_closed: false,
            is_stuck: false,
            n_batches: 0,
        };
        self.wires.insert(conn, wire);
        conn
    }

    /// Opens a connection and connects; the client id is the principal.
    pub(super) fn join(&mut self, principal: &str, version: Version) -> ConnId {
        self.join_as(connect(principal, version))
    }

    pub(super) fn join_as(&mut self, connect: Connect) -> ConnId {
        let conn = self.open(&connect.client_id);
        self.send(conn, connected(connect));
        match self.receive(conn) {
            Some(Packet::ConnAck(conn_ack)) => assert_eq!(conn_ack.reason, Reason::Success),
            other => panic!("{other:?}"),
        }
        conn
    }

    /// Sends a packet over the wire, through both codecs.
    pub(super) fn send(&mut self, conn: ConnId, packet: Packet) {
        let wire = self.wires.get_mut(&conn).expect("a wire");
        if let Packet::Connect(connect) = &packet
            && wire.to_client.is_none()
        {
            wire.to_client = Some(Decoder::for_client(connect.version, 1 << 20));
        }
        let version = wire.from_client.version().unwrap_or(Version::V5);
        let mut bytes = BytesMut::new();
        encode(&packet, version, &mut bytes).expect("a sound packet");
        self.send_bytes(conn, &bytes);
    }

    /// Sends bytes as they are.
    pub(super) fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let wire = self.wires.get_mut(&conn).expect("a wire");
        let mut buffer = BytesMut::from(bytes);
        loop {
            match wire.from_client.decode(&mut buffer) {
                Ok(Some(packet)) => {
                    self.broker.handle_packet(conn, packet, &mut self.guard, self.now)
                }
                Ok(None) => break,
                Err(error) => {
                    self.broker.handle_fault(conn, &error, &mut self.guard, self.now);
                    break;
                }
            }
        }
        self.drive();
    }

    /// Lets time pass; the transport and the timers keep up.
    pub(super) fn wait(&mut self, seconds: u64) {
        let until = self.now.plus(Duration::from_secs(seconds));
        while let Some(at) = self.broker.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.broker.handle_timeout(&mut self.guard, self.now);
            self.drive();
            self.begin_work();
        }
        self.now = until;
    }

    /// Cuts a client's wire.
    pub(super) fn cut(&mut self, conn: ConnId) {
        self.broker.handle_closed(conn, &mut self.guard, self.now);
        self.drive();
    }

    /// Stops or frees a client's transport.
    pub(super) fn stick(&mut self, conn: ConnId, is_stuck: bool) {
        self.wires.get_mut(&conn).expect("a wire").is_stuck = is_stuck;
        if !is_stuck {
            self.broker.handle_sent(conn);
            self.broker.handle_sent(conn);
            self.drive();
        }
    }

    /// Returns the next packet that a client got.
    pub(super) fn receive(&mut self, conn: ConnId) -> Option<Packet> {
        self.wires.get_mut(&conn).expect("a wire").received.pop_front()
    }

    /// Returns the next packet, which is a message.
    pub(super) fn receive_message(&mut self, conn: ConnId) -> Publish {
        match self.receive(conn) {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("expected a PUBLISH, found {other:?}"),
        }
    }

    /// Returns the topics of all messages that a client got, and drops the rest.
    pub(super) fn topics(&mut self, conn: ConnId) -> Vec<String> {
        let received = core::mem::take(&mut self.wires.get_mut(&conn).expect("a wire").received);
        received
            .into_iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => publish.topic.map(|topic| topic.to_string()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn is_closed(&self, conn: ConnId) -> bool {
        self.wires.get(&conn).expect("a wire").is_closed
    }

    pub(super) fn n_batches(&self, conn: ConnId) -> usize {
        self.wires.get(&conn).expect("a wire").n_batches
    }

    pub(super) fn subscribe(&mut self, conn: ConnId, filter: &str, qos: QoS) {
        self.subscribe_with(conn, subscription(filter, qos), None);
    }

    pub(super) fn subscribe_with(
        &mut self,
        conn: ConnId,
        subscription: Subscription,
        number: Option<u32>,
    ) -> SubAck {
        let properties = SubscribeProperties {
            subscription_id: number.and_then(SubscriptionId::of),
            ..Default::default()
        };
        self.send(
            conn,
            Packet::Subscribe(Subscribe {
                id: id(7),
                properties,
                subscriptions: alloc::vec![subscription],
            }),
        );
        // Messages may come before the answer.
        let received = &mut self.wires.get_mut(&conn).expect("a wire").received;
        let at = received
            .iter()
            .position(|packet| matches!(packet, Packet::SubAck(_)))
            .expect("a SUBACK");
        match received.remove(at) {
            Some(Packet::SubAck(sub_ack)) => sub_ack,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn unsubscribe(&mut self, conn: ConnId, filter: &str) {
        let filters = alloc::vec![filter.parse().expect("a filter")];
        self.send(
            conn,
            Packet::Unsubscribe(Unsubscribe {
                id: id(8),
                properties: UnsubscribeProperties::default(),
                filters,
            }),
        );
    }

    pub(super) fn publish(&mut self, conn: ConnId, topic: &str, payload: &str) {
        self.send(conn, Packet::Publish(message(topic, payload)));
    }

    pub(super) fn whys(&self) -> Vec<Why> {
        let whys = self.events.iter().filter_map(|event| match event {
            Event::Disconnected { why, .. } => Some(*why),
            _ => None,
        });
        whys.collect()
    }

    /// Lets the transport and a prompt store take what there is.
    pub(super) fn drive(&mut self) {
        loop {
            self.transmit();
            if !self.store.is_prompt || !self.begin_work() {
                break;
            }
            self.end_work();
        }
        while let Some(event) = self.broker.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets the store begin to work if there is something to do.
    pub(super) fn begin_work(&mut self) -> bool {
        let changes = self.broker.poll_changes(self.now);
        let has_work = changes.is_some();
        self.store.out = changes.or(self.store.out.take());
        has_work
    }

    /// Lets the store finish what it is at work on.
    pub(super) fn end_work(&mut self) {
        if self.store.out.is_some() {
            self.store.apply();
            self.broker.handle_durable();
        }
    }

    /// Has everything kept that there is.
    pub(super) fn flush(&mut self) {
        self.end_work();
        self.store.out = self.broker.take_changes();
        self.end_work();
        self.drive();
    }

    fn transmit(&mut self) {
        while let Some((conn, batch)) = self.broker.poll_transmit(self.now) {
            let wire = self.wires.get_mut(&conn).expect("a wire");
            assert!(!wire.is_closed, "nothing comes after the end");
            wire.n_batches += 1;
            wire.is_closed = batch.then_close;
            for bytes in batch.buffers {
                wire.buffer.extend_from_slice(&bytes);
            }
            if let Some(decoder) = &mut wire.to_client {
                while let Some(packet) =
                    decoder.decode(&mut wire.buffer).expect("the broker speaks soundly")
                {
                    wire.received.push_back(packet);
                }
            }
            assert!(wire.buffer.is_empty(), "whole packets only");
            if !wire.is_stuck && !wire.is_closed {
                self.broker.handle_sent(conn);
            }
        }
    }
}

impl Store {
    /// Makes durable what it is at work on.
    pub(super) fn apply(&mut self) {
        for change in self.out.take().into_iter().flatten() {
            match change {
                Change::Put(row) => drop(self.rows.insert(row.key(), row)),
                Change::Gone(key) => drop(self.rows.remove(&key)),
            }
        }
    }
}

impl Holder for String {
    type Name = Self;

    fn name(&self) -> &Self {
        self
    }
}

impl Guard<String> for Rules {
    fn connect(&mut self, _: &String, client_id: &Text, _: &Connect) -> Ruling {
        ruling(&self.connect, client_id)
    }

    fn publish(&mut self, _: &String, topic: &Topic, _: bool, _: QoS, _: usize) -> Ruling {
        ruling(&self.publish, topic.as_str())
    }

    fn subscribe(&mut self, _: &String, filter: &Filter) -> Ruling {
        ruling(&self.subscribe, filter.as_str())
    }

    fn receive(&mut self, principal: &String, topic: &Topic) -> Ruling {
        ruling(&self.receive, &alloc::format!("{principal} {topic}"))
    }
}

fn ruling(denied: &BTreeSet<String>, what: &str) -> Ruling {
    match denied.contains(what) {
        true => Ruling::not_authorized(Text::from_static("decision 42: not allowed")),
        false => Ruling::Allow,
    }
}

pub(super) fn connect(client_id: &str, version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id: Text::clipped(client_id),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

pub(super) fn connected(connect: Connect) -> Packet {
    Packet::Connect(alloc::boxed::Box::new(connect))
}

pub(super) fn will(topic: &str, delay: Option<u32>) -> Will {
    Will {
        topic: topic.parse().expect("a topic"),
        payload: Binary::parse(Bytes::from_static(b"gone")).expect("it is short"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties { delay, ..WillProperties::default() },
    }
}

pub(super) fn message(topic: &str, payload: &str) -> Publish {
    Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: Some(topic.parse().expect("a topic")),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(super) fn sure(number: u16, topic: &str, payload: &str) -> Publish {
    Publish {
        delivery: Delivery::AtLeastOnce { id: id(number), dup: false },
        ..message(topic, payload)
    }
}

pub(super) fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: filter.parse().expect("a filter"),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    }
}

pub(super) fn id(number: u16) -> PacketId {
    PacketId::of(number).expect("it isn't zero")
}
