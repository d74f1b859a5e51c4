//! A broker that is killed at any moment, with a store that may or may not have finished its work: nothing that was
//! acknowledged is lost, nothing of QoS 2 comes twice, and the order of each publisher is kept.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// A client that keeps its half of the session as the specification says.
struct Client {
    name: &'static str,
    version: Version,
    conn: Option<ConnId>,
    has_session: bool,
    /// Whether CONNACK has come on this connection.
    is_greeted: bool,
    /// What it has published and is not done with, in order.
    unfinished: VecDeque<Sent>,
    /// The quality of each that it has published.
    qualities: Vec<QoS>,
    next_id: u16,
    /// Ids of received messages of QoS 2 that were not released.
    unreleased: BTreeSet<PacketId>,
    received: Vec<Note>,
    subscribes: Option<QoS>,
    is_subscribed: bool,
}

struct Sent {
    id: PacketId,
    note: Note,
    is_released: bool,
}

/// What a message says: who published it, with which quality, and which of theirs it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    from: String,
    qos: u8,
    number: u32,
}

#[derive(Clone, Debug)]
enum Act {
    Connect(usize),
    Cut(usize),
    Publish(usize, QoS),
    /// A client reads one packet and answers it.
    Read(usize),
    BeginWork,
    EndWork,
    /// The broker is killed; whether the store finishes first what it is at work on.
    Crash(bool),
    Wait,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_of_qos_2_comes_twice(acts in prop::collection::vec(acts(), 1..400)) {
        let mut rig = Rig::kept(limits());
        let mut clients = clients();
        for client in &mut clients {
            client.connect(&mut rig);
            while client.read(&mut rig) {}
        }
        rig.store.is_prompt = false;
        for act in acts {
            perform(&mut rig, &mut clients, act);
        }
        finish(&mut rig, &mut clients);
        let published: Vec<Note> = clients.iter().flat_map(Client::published).collect();
        for client in clients.iter().filter(|client| client.subscribes.is_some()) {
            check(client, &published)?;
        }
        prop_assert_eq!(&rig.store.rows, &rig.broker.rows());
    }
}

fn limits() -> Limits {
    Limits { session_expiry: 100_000, ..Limits::default() }
}

fn clients() -> [Client; 4] {
    let client = |name, version, subscribes| Client {
        name,
        version,
        conn: None,
        has_session: false,
        is_greeted: false,
        unfinished: VecDeque::new(),
        qualities: Vec::new(),
        next_id: 1,
        unreleased: BTreeSet::new(),
        received: Vec::new(),
        subscribes,
        is_subscribed: false,
    };
    [
        client("first", Version::V5, None),
        client("second", Version::V311, Some(QoS::ExactlyOnce)),
        client("twice", Version::V5, Some(QoS::ExactlyOnce)),
        client("once", Version::V5, Some(QoS::AtLeastOnce)),
    ]
}

impl Client {
    fn connect(&mut self, rig: &mut Rig) {
        let conn = rig.open(self.name);
        let mut connect = connect(self.name, self.version);
        connect.clean_start = false;
        connect.properties.session_expiry = Some(100_000).filter(|_| self.version == Version::V5);
        rig.send(conn, connected(connect));
        (self.conn, self.is_greeted) = (Some(conn), false);
    }

    /// The connection is gone, with all that was on its way.
    fn lose(&mut self) {
        self.conn = None;
    }

    fn publish(&mut self, rig: &mut Rig, qos: QoS) {
        if self.unfinished.len() >= 8 || !self.is_greeted {
            return;
        }
        let Some(conn) = self.conn else { return };
        let number = u32::try_from(self.qualities.len()).expect("few");
        let note = Note::of(self.name, qos, number);
        self.qualities.push(qos);
        let id = id(self.next_id);
        self.next_id = self.next_id % 50 + 1;
        let sent = Sent { id, note, is_released: false };
        rig.send(conn, Packet::Publish(sent.packet(false)));
        self.unfinished.push_back(sent);
    }

    fn read(&mut self, rig: &mut Rig) -> bool {
        let Some(conn) = self.conn else { return false };
        let Some(packet) = rig.receive(conn) else {
            if rig.is_closed(conn) {
                self.lose();
            }
            return false;
        };
        match packet {
            Packet::ConnAck(conn_ack) => {
                assert_eq!(conn_ack.reason, Reason::Success);
                assert!(
                    conn_ack.session_present || !self.has_session,
                    "{} lost its session",
                    self.name
                );
                (self.has_session, self.is_greeted) = (true, true);
                for sent in &self.unfinished {
                    let packet = match sent.is_released {
                        true => Packet::PubRel(Ack::of(sent.id, Reason::Success)),
                        false => Packet::Publish(sent.packet(true)),
                    };
                    rig.send(conn, packet);
                }
                if let Some(qos) = self.subscribes.filter(|_| !self.is_subscribed) {
                    let subscriptions = alloc::vec![subscription("t/#", qos)];
                    let properties = SubscribeProperties::default();
                    rig.send(
                        conn,
                        Packet::Subscribe(Subscribe { id: id(100), properties, subscriptions }),
                    );
                }
            }
            Packet::SubAck(_) => self.is_subscribed = true,
            Packet::Publish(publish) => self.take(rig, conn, &publish),
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.id);
                rig.send(conn, Packet::PubComp(Ack::of(ack.id, Reason::Success)));
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                self.unfinished.retain(|sent| sent.id != ack.id);
            }
            Packet::PubRec(ack) => {
                let sent = self.unfinished.iter_mut().find(|sent| sent.id == ack.id);
                if let Some(sent) = sent {
                    sent.is_released = true;
                }
                rig.send(conn, Packet::PubRel(Ack::of(ack.id, Reason::Success)));
            }
            Packet::Disconnect(_) | Packet::PingResp => {}
            other => panic!("{other:?}"),
        }
        true
    }

    fn take(&mut self, rig: &mut Rig, conn: ConnId, publish: &Publish) {
        let note = || Note::read(&publish.payload);
        match publish.delivery {
            Delivery::AtMostOnce => panic!("everything is published with more than QoS 0"),
            Delivery::AtLeastOnce { id, .. } => {
                self.received.push(note());
                rig.send(conn, Packet::PubAck(Ack::of(id, Reason::Success)));
            }
            Delivery::ExactlyOnce { id, dup } => {
                if self.unreleased.insert(id) {
                    self.received.push(note());
                } else {
                    assert!(dup, "an id in use is given to another message");
                }
                rig.send(conn, Packet::PubRec(Ack::of(id, Reason::Success)));
            }
        }
    }

    fn published(&self) -> Vec<Note> {
        assert!(self.unfinished.is_empty(), "all is acknowledged in the end");
        let notes = (0..).zip(&self.qualities);
        notes.map(|(number, qos)| Note::of(self.name, *qos, number)).collect()
    }
}

impl Sent {
    fn packet(&self, dup: bool) -> Publish {
        let delivery = match self.note.qos {
            1 => Delivery::AtLeastOnce { id: self.id, dup },
            _ => Delivery::ExactlyOnce { id: self.id, dup },
        };
        let Note { from, qos, number } = &self.note;
        let payload = alloc::format!("{from} {qos} {number}");
        Publish { delivery, ..message(&alloc::format!("t/{from}"), &payload) }
    }
}

impl Note {
    fn of(from: &str, qos: QoS, number: u32) -> Self {
        Self { from: from.to_string(), qos: qos as u8, number }
    }

    fn read(payload: &[u8]) -> Self {
        let text = core::str::from_utf8(payload).expect("text");
        let words: Vec<&str> = text.split(' ').collect();
        let [from, qos, number] = words[..] else { panic!("{text}") };
        let (qos, number) = (qos.parse().expect("a quality"), number.parse().expect("a number"));
        Self { from: from.to_string(), qos, number }
    }
}

fn exact(number: u16, topic: &str, payload: &str) -> Publish {
    let delivery = Delivery::ExactlyOnce { id: id(number), dup: false };
    Publish { delivery, ..message(topic, payload) }
}

fn perform(rig: &mut Rig, clients: &mut [Client], act: Act) {
    match act {
        Act::Connect(client) => clients[client].connect(rig),
        Act::Cut(client) => {
            if let Some(conn) = clients[client].conn.take() {
                rig.cut(conn);
            }
        }
        Act::Publish(client, qos) => clients[client].publish(rig, qos),
        Act::Read(client) => drop(clients[client].read(rig)),
        Act::BeginWork => drop(rig.begin_work()),
        Act::EndWork => {
            rig.end_work();
            rig.drive();
        }
        Act::Crash(is_durable) => {
            if is_durable {
                rig.store.apply();
            }
            clients.iter_mut().for_each(Client::lose);
            rig.crash(limits());
        }
        Act::Wait => rig.wait(1),
    }
}

/// Lets everybody come back and do what is left to do.
fn finish(rig: &mut Rig, clients: &mut [Client]) {
    rig.end_work();
    rig.store.is_prompt = true;
    for client in clients.iter_mut() {
        client.connect(rig);
    }
    rig.drive();
    while clients.iter_mut().filter_map(|client| client.read(rig).then_some(())).count() > 0 {
        rig.wait(2);
    }
    rig.flush();
}

fn check(client: &Client, published: &[Note]) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(&str, u8), u32> = BTreeMap::new();
    for note in &client.received {
        let is_first = seen.insert(note);
        let is_exact = note.qos == 2 && client.subscribes == Some(QoS::ExactlyOnce);
        prop_assert!(is_first || !is_exact, "{} got {note:?} twice", client.name);
        if is_first {
            let before = last.insert((&note.from, note.qos), note.number);
            let is_later = before.is_none_or(|before| before < note.number);
            prop_assert!(is_later, "{} got {note:?} after {before:?}", client.name);
        }
    }
    for note in published {
        prop_assert!(seen.contains(note), "{} never got {note:?}", client.name);
    }
    prop_assert_eq!(seen.len(), published.len());
    Ok(())
}

fn acts() -> impl Strategy<Value = Act> {
    let client = 0..4_usize;
    let qos = prop::sample::select(alloc::vec![QoS::AtLeastOnce, QoS::ExactlyOnce]);
    prop_oneof![
        3 => client.clone().prop_map(Act::Connect),
        2 => client.clone().prop_map(Act::Cut),
        10 => (client.clone(), qos).prop_map(|(client, qos)| Act::Publish(client, qos)),
        24 => client.prop_map(Act::Read),
        6 => Just(Act::BeginWork),
        6 => Just(Act::EndWork),
        1 => any::<bool>().prop_map(Act::Crash),
        1 => Just(Act::Wait),
    ]
}

#[test]
fn an_answer_waits_for_what_it_promises_and_a_message_passes_it() {
    let mut rig = Rig::kept(limits());
    let mut receiver = clients().into_iter().nth(3).expect("a client");
    receiver.connect(&mut rig);
    while receiver.read(&mut rig) {}
    assert!(receiver.is_subscribed);
    let sender = rig.join("sender", Version::V5);
    rig.subscribe(sender, "news", QoS::AtMostOnce);
    rig.store.is_prompt = false;
    rig.send(sender, Packet::Publish(sure(1, "t/x", "sender 1 0")));
    assert_eq!(rig.receive(sender), None, "it is not durable");
    rig.publish(sender, "news", "fresh");
    assert_eq!(rig.receive_message(sender).payload, "fresh");
    assert!(rig.begin_work());
    rig.drive();
    assert_eq!(rig.receive(sender), None, "it may not be durable yet");
    rig.end_work();
    rig.drive();
    assert!(matches!(rig.receive(sender), Some(Packet::PubAck(_))));
}

#[test]
fn a_store_that_hangs_makes_nothing_grow() {
    let mut rig = Rig::kept(limits());
    let mut receiver = clients().into_iter().nth(2).expect("a client");
    receiver.connect(&mut rig);
    while receiver.read(&mut rig) {}
    let sender = rig.join("sender", Version::V5);
    rig.store.is_prompt = false;
    let conn = receiver.conn.expect("it is connected");
    rig.send(sender, Packet::Publish(exact(1, "t/x", "sender 2 0")));
    assert!(rig.begin_work());
    for round in 0..1_000 {
        rig.send(conn, Packet::PingReq);
        rig.send(sender, Packet::PingReq);
        let visitor = rig.open("visitor");
        let mut connect = connect("visitor", Version::V5);
        connect.properties.session_expiry = Some(round);
        rig.send(visitor, connected(connect));
        rig.cut(visitor);
    }
    let n_live = rig.broker.sizes().connections;
    assert!(rig.broker.waiting.len() <= 2 * n_live, "{} wait", rig.broker.waiting.len());
    rig.store.is_prompt = true;
    rig.end_work();
    rig.drive();
    assert!(rig.broker.waiting.is_empty());
    while receiver.read(&mut rig) {}
    assert_eq!(receiver.received, [Note::of("sender", QoS::ExactlyOnce, 0)]);
}

#[test]
fn what_concerns_no_waiting_session_is_answered_at_once_and_never_written() {
    let mut rig = Rig::kept(limits());
    let receiver = rig.join("receiver", Version::V5);
    rig.subscribe(receiver, "t", QoS::ExactlyOnce);
    let sender = rig.join("sender", Version::V5);
    rig.store.is_prompt = false;
    rig.send(sender, Packet::Publish(sure(1, "t", "plain")));
    assert!(matches!(rig.receive(sender), Some(Packet::PubAck(_))));
    assert_eq!(rig.receive_message(receiver).payload, "plain");
    assert!(!rig.begin_work());
    assert!(rig.store.rows.is_empty());
}

#[test]
fn what_comes_and_goes_before_the_store_is_free_is_never_written() {
    let mut rig = Rig::kept(limits());
    let mut receiver = clients().into_iter().nth(3).expect("a client");
    receiver.connect(&mut rig);
    while receiver.read(&mut rig) {}
    rig.flush();
    let rows = rig.store.rows.clone();
    let sender = rig.join("sender", Version::V5);
    rig.store.is_prompt = false;
    rig.send(sender, Packet::Publish(sure(1, "t/x", "sender 1 0")));
    assert!(receiver.read(&mut rig), "the message");
    assert!(!rig.begin_work(), "there is nothing to write");
    rig.drive();
    assert!(matches!(rig.receive(sender), Some(Packet::PubAck(_))));
    assert_eq!(rig.store.rows, rows);
}

#[test]
fn a_will_retained_messages_and_a_groups_messages_outlive_the_broker() {
    let mut rig = Rig::kept(limits());
    let mut worker = connect("worker", Version::V5);
    worker.properties.session_expiry = Some(1_000);
    let conn = rig.join_as(Connect { will: Some(will("gone", Some(5))), ..worker.clone() });
    rig.subscribe(conn, "$share/g/jobs", QoS::AtLeastOnce);
    let sender = rig.join("sender", Version::V5);
    let mut retained = sure(1, "state", "on");
    retained.retain = true;
    rig.send(sender, Packet::Publish(retained));
    rig.stick(conn, true);
    for number in 1..4 {
        rig.send(sender, Packet::Publish(sure(number, "jobs", "dig")));
    }
    rig.flush();
    rig.crash(limits());

    let listener = rig.join("listener", Version::V5);
    rig.subscribe(listener, "state", QoS::AtLeastOnce);
    rig.wait(0);
    let state = rig.receive_message(listener);
    assert_eq!((state.retain, &*state.payload), (true, &b"on"[..]));
    rig.subscribe(listener, "gone", QoS::AtLeastOnce);
    rig.wait(4);
    assert_eq!(rig.receive(listener), None);
    rig.wait(2);
    assert_eq!(rig.receive_message(listener).payload, "gone");
    let conn = rig.join_as(Connect { clean_start: false, ..worker });
    let jobs = rig.topics(conn);
    assert_eq!(jobs, ["jobs", "jobs", "jobs"]);
}
