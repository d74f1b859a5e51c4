//! Measures the codec and the way of a message through the broker on one core: `cargo run --release -p messaging
//! --example speed`. Medians of eleven runs.
#![expect(clippy::print_stdout, reason = "what it measures is what it is for")]

use std::hint::black_box;
use std::time::Instant as Clock;

use bytes::{Bytes, BytesMut};
use messaging::broker::{Broker, ConnId, Guard, Holder, Limits, Ruling};
use messaging::mqtt::{
    Connect, ConnectProperties, Decoder, Delivery, Packet, PacketId, Publish, QoS, RetainHandling,
    Subscribe, SubscribeProperties, Subscription, Version, encode,
};
use messaging::text::Text;
use messaging::time::Instant;
use messaging::topic::{Filter, Topic};

fn main() {
    for version in [Version::V311, Version::V5] {
        for (name, delivery) in [("QoS 0", Delivery::AtMostOnce), ("QoS 1", sure())] {
            let packet = Packet::Publish(publish(delivery, 128));
            println!(
                "decode PUBLISH of 128 bytes, {name}, MQTT {version}: {:>6.1} ns",
                decode(&packet, version)
            );
            println!(
                "encode PUBLISH of 128 bytes, {name}, MQTT {version}: {:>6.1} ns",
                encode_into(&packet, version)
            );
        }
    }
    for n_receivers in [1, 10, 1_000] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let nanos = fan_out(n_receivers, qos);
            println!(
                "publish to {n_receivers:>5} receivers with {qos:?}: {nanos:>6.1} ns per delivery"
            );
        }
    }
    println!(
        "publish among 10,000 devices with a filter each: {:>6.1} ns per message",
        among_many()
    );
}

fn decode(packet: &Packet, version: Version) -> f64 {
    let mut stream = BytesMut::new();
    for _ in 0..N_PACKETS {
        encode(packet, version, &mut stream).expect("a sound packet");
    }
    median(|| {
        let mut stream = BytesMut::from(stream.as_ref());
        let mut decoder = Decoder::for_client(version, 1 << 20);
        let start = Clock::now();
        while let Ok(Some(packet)) = decoder.decode(&mut stream) {
            black_box(packet);
        }
        per(start, N_PACKETS)
    })
}

fn encode_into(packet: &Packet, version: Version) -> f64 {
    let mut out = BytesMut::with_capacity(1 << 20);
    median(|| {
        let start = Clock::now();
        for _ in 0..N_PACKETS {
            if out.len() > 1 << 19 {
                out.clear();
            }
            encode(black_box(packet), version, &mut out).expect("a sound packet");
        }
        per(start, N_PACKETS)
    })
}

fn fan_out(n_receivers: u32, qos: QoS) -> f64 {
    let mut broker = Broker::new(Limits::default());
    for number in 0..n_receivers {
        let conn = join(&mut broker, number + 1);
        subscribe(&mut broker, conn, "plant-a/+/+/telemetry/#", qos);
    }
    let sender = join(&mut broker, 0);
    drain(&mut broker);
    let n_messages = 200_000 / n_receivers.max(10);
    median(|| {
        let start = Clock::now();
        for _ in 0..n_messages {
            let packet = Packet::Publish(publish(sure(), 128));
            broker.handle_packet(sender, packet, &mut Open, Instant::default());
            drain(&mut broker);
        }
        per(start, n_messages * n_receivers)
    })
}

fn among_many() -> f64 {
    let mut broker = Broker::new(Limits::default());
    for number in 0..10_000 {
        let conn = join(&mut broker, number);
        subscribe(
            &mut broker,
            conn,
            &format!("plant-a/pump/pump-{number}/commands/#"),
            QoS::AtMostOnce,
        );
    }
    let sender = join(&mut broker, 20_000);
    drain(&mut broker);
    let topics: Vec<Topic> = (0..10_000)
        .map(|number| format!("plant-a/pump/pump-{number}/commands/set").parse().expect("a topic"))
        .collect();
    median(|| {
        let start = Clock::now();
        for topic in &topics {
            let packet = Packet::Publish(Publish {
                topic: Some(topic.clone()),
                ..publish(Delivery::AtMostOnce, 128)
            });
            broker.handle_packet(sender, packet, &mut Open, Instant::default());
            drain(&mut broker);
        }
        per(start, 10_000)
    })
}

/// Who a client is.
#[derive(Clone)]
struct Number(u32);

impl Holder for Number {
    type Name = u32;

    fn name(&self) -> &u32 {
        &self.0
    }
}

/// Everything may be done: the guard's own time is measured elsewhere.
struct Open;

impl Guard<Number> for Open {
    fn connect(&mut self, _: &Number, _: &Text, _: &Connect) -> Ruling {
        Ruling::Allow
    }

    fn publish(&mut self, _: &Number, _: &Topic, _: bool, _: QoS, _: usize) -> Ruling {
        Ruling::Allow
    }

    fn subscribe(&mut self, _: &Number, _: &Filter) -> Ruling {
        Ruling::Allow
    }

    fn receive(&mut self, _: &Number, _: &Topic) -> Ruling {
        Ruling::Allow
    }
}

fn join(broker: &mut Broker<Number>, number: u32) -> ConnId {
    let conn =
        broker.open(Number(number), Text::default(), Instant::default()).expect("there is room");
    let connect = Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: Text::copy_of(&format!("client-{number}")).expect("text"),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    broker.handle_packet(conn, Packet::Connect(Box::new(connect)), &mut Open, Instant::default());
    drain(broker);
    conn
}

fn subscribe(broker: &mut Broker<Number>, conn: ConnId, filter: &str, qos: QoS) {
    let subscription = Subscription {
        filter: filter.parse().expect("a filter"),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Never,
    };
    let properties = SubscribeProperties::default();
    let packet = Subscribe { id: PacketId::FIRST, properties, subscriptions: vec![subscription] };
    broker.handle_packet(conn, Packet::Subscribe(packet), &mut Open, Instant::default());
    drain(broker);
}

/// Plays the transport, and receivers that acknowledge at once.
fn drain(broker: &mut Broker<Number>) {
    while let Some((conn, batch)) = broker.poll_transmit(Instant::default()) {
        broker.handle_sent(conn);
        for bytes in black_box(batch).buffers {
            if bytes.first().is_some_and(|first| first >> 4 == 3 && first & 0b110 != 0) {
                let ack =
                    messaging::mqtt::Ack::of(PacketId::FIRST, messaging::mqtt::Reason::Success);
                broker.handle_packet(conn, Packet::PubAck(ack), &mut Open, Instant::default());
            }
        }
    }
    while broker.poll_event().is_some() {}
}

fn publish(delivery: Delivery, n_payload: usize) -> Publish {
    Publish {
        delivery,
        retain: false,
        topic: Some("plant-a/pump/pump-7/telemetry/level".parse().expect("a topic")),
        properties: None,
        payload: Bytes::from(vec![b'x'; n_payload]),
    }
}

fn sure() -> Delivery {
    Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false }
}

fn per(start: Clock, n: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut runs: Vec<f64> = (0..11).map(|_| run()).collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

const N_PACKETS: u32 = 20_000;
