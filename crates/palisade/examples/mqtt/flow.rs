//! Messages through a server, as many as it takes without losing one: who publishes has so much
//! credit, and who hears gives it back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use messaging::mqtt::{self, Ack, Delivery, Packet, PacketId, Publish, QoS, Reason, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::process::Processes;
use crate::rig::device::Device;
use crate::wire::{Target, Wire};

/// What a flow came to.
pub(crate) struct Came {
    /// By the second of processor time.
    pub(crate) rate: f64,
    /// By the second.
    pub(crate) pace: f64,
}

/// Delays in microseconds.
pub(crate) struct Delays {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// How many messages may be between those who publish and those who hear.
const CREDIT: usize = 2_000;
/// How many packets are written together.
const TOGETHER: usize = 20;
/// How many messages of QoS 1 one publisher may have without acknowledgement.
const WINDOW: usize = 100;
/// What comes before the measurement.
const WARM: Duration = Duration::from_millis(500);
const ALL: &str = "main/pump/+/telemetry/#";

/// Lets many publish and one hear.
pub(crate) async fn many_to_one(
    (target, processes): &(Target, Processes),
    pumps: &[Device],
    ear: &Device,
    qos: u8,
    span: Duration,
) -> Came {
    let (credit, heard) = (Arc::new(Semaphore::new(CREDIT)), Arc::new(AtomicU64::new(0)));
    let qos = QoS::of_bits(qos).unwrap();
    let mut tasks = JoinSet::new();
    let mut wire = target.connect(ear, &ear.id).await;
    wire.subscribe(ALL, qos).await;
    tasks.spawn(hear(wire, Arc::clone(&credit), Arc::clone(&heard)));
    let stop = Arc::new(AtomicBool::new(false));
    for pump in pumps {
        let wire = target.connect(pump, &pump.id).await;
        let (credit, stop) = (Arc::clone(&credit), Arc::clone(&stop));
        let packet = encoded(pump, qos);
        match qos {
            QoS::AtMostOnce => tasks.spawn(tell(wire, packet, credit, stop, 1)),
            _ => tasks.spawn(tell_and_wait(wire, packet, credit, stop)),
        };
    }
    let came = watch(&heard, processes, span).await;
    stop.store(true, Ordering::Relaxed);
    tasks.shutdown().await;
    came
}

/// Lets one publish and many hear.
pub(crate) async fn one_to_many(
    (target, processes): &(Target, Processes),
    pump: &Device,
    ears: &[Device],
    span: Duration,
) -> Came {
    let credit = Arc::new(Semaphore::new(CREDIT * ears.len()));
    let heard = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for ear in ears {
        let mut wire = target.connect(ear, &ear.id).await;
        wire.subscribe(ALL, QoS::AtMostOnce).await;
        tasks.spawn(hear(wire, Arc::clone(&credit), Arc::clone(&heard)));
    }
    let wire = target.connect(pump, &pump.id).await;
    let stop = Arc::new(AtomicBool::new(false));
    let packet = encoded(pump, QoS::AtMostOnce);
    tasks.spawn(tell(wire, packet, Arc::clone(&credit), stop, ears.len()));
    let came = watch(&heard, processes, span).await;
    tasks.shutdown().await;
    came
}

/// Lets many publish 5,000 messages a second together, and measures how long they take to one.
pub(crate) async fn latency(
    target: &Target,
    pumps: &[Device],
    ear: &Device,
    span: Duration,
) -> Delays {
    let mut wire = target.connect(ear, &ear.id).await;
    wire.subscribe(ALL, QoS::AtMostOnce).await;
    let begun = Instant::now();
    let mut tellers = Vec::new();
    for pump in pumps {
        let packet = BytesMut::from(&*encoded(pump, QoS::AtMostOnce));
        tellers.push((target.connect(pump, &pump.id).await, packet));
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut due = Instant::now();
        for idx in (0..tellers.len()).cycle() {
            // The runtime's clock counts milliseconds, which is too coarse.
            while Instant::now() < due {
                tokio::task::yield_now().await;
            }
            due += Duration::from_micros(200);
            let (wire, packet) = &mut tellers[idx];
            let at = packet.len() - 128;
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap();
            packet[at..at + 8].copy_from_slice(&nanos.to_be_bytes());
            wire.stream.write_all(packet).await.unwrap();
            wire.stream.flush().await.unwrap();
        }
    });
    let mut delays = Vec::new();
    let from = Instant::now() + WARM;
    while from.elapsed() < span {
        let Packet::Publish(publish) = wire.receive().await else { continue };
        let sent = u64::from_be_bytes(publish.payload[..8].try_into().unwrap());
        let delay = begun.elapsed() - Duration::from_nanos(sent);
        if Instant::now() > from {
            delays.push(delay);
        }
    }
    tasks.shutdown().await;
    delays.sort_unstable();
    let of = |share: usize| delays[delays.len() * share / 100].as_secs_f64() * 1e6;
    Delays { p50: of(50), p99: of(99) }
}

async fn watch(heard: &AtomicU64, processes: &Processes, span: Duration) -> Came {
    tokio::time::sleep(WARM).await;
    let (begun, time, before) = (Instant::now(), processes.time(), heard.load(Ordering::Relaxed));
    tokio::time::sleep(span).await;
    let n_heard = (heard.load(Ordering::Relaxed) - before) as f64;
    let (took, worked) = (begun.elapsed(), processes.time() - time);
    Came { rate: n_heard / worked.as_secs_f64(), pace: n_heard / took.as_secs_f64() }
}

/// Hears messages, acknowledges them where they ask for it, and gives credit back.
async fn hear(mut wire: Wire, credit: Arc<Semaphore>, heard: Arc<AtomicU64>) {
    let mut answers = BytesMut::new();
    loop {
        let mut n_heard = 0;
        while let Some(packet) = wire.decoder.decode(&mut wire.received).unwrap() {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            n_heard += 1;
            if let Some(id) = publish.delivery.id() {
                let ack = Packet::PubAck(Ack::of(id, Reason::Success));
                mqtt::encode(&ack, Version::V5, &mut answers).unwrap();
            }
        }
        heard.fetch_add(n_heard as u64, Ordering::Relaxed);
        credit.add_permits(n_heard);
        if !answers.is_empty() {
            wire.stream.write_all(&answers.split()).await.unwrap();
            wire.stream.flush().await.unwrap();
        }
        assert!(wire.stream.read_buf(&mut wire.received).await.unwrap() > 0);
    }
}

/// Publishes with QoS 0; each message costs so much credit.
async fn tell(
    mut wire: Wire,
    packet: Bytes,
    credit: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    cost: usize,
) {
    let together = packet.repeat(TOGETHER);
    let cost = u32::try_from(TOGETHER * cost).unwrap();
    while !stop.load(Ordering::Relaxed) {
        credit.acquire_many(cost).await.unwrap().forget();
        wire.stream.write_all(&together).await.unwrap();
        wire.stream.flush().await.unwrap();
    }
}

/// Publishes with QoS 1, and takes what is acknowledged.
async fn tell_and_wait(wire: Wire, packet: Bytes, credit: Arc<Semaphore>, stop: Arc<AtomicBool>) {
    let Wire { stream, mut decoder, mut received } = wire;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let window = Arc::new(Semaphore::new(WINDOW));
    let acknowledged = Arc::clone(&window);
    let listen = async move {
        loop {
            let mut n_acknowledged = 0;
            while let Some(packet) = decoder.decode(&mut received).unwrap() {
                let is_taken = matches!(&packet, Packet::PubAck(ack) if !ack.reason.is_failure());
                assert!(is_taken, "{packet:?}");
                n_acknowledged += 1;
            }
            acknowledged.add_permits(n_acknowledged);
            assert!(reader.read_buf(&mut received).await.unwrap() > 0);
        }
    };
    let tell = async move {
        let mut id = PacketId::FIRST;
        let at = id_place(&packet);
        let mut together = BytesMut::from(&*packet.repeat(TOGETHER));
        while !stop.load(Ordering::Relaxed) {
            let n_together = u32::try_from(TOGETHER).unwrap();
            window.acquire_many(n_together).await.unwrap().forget();
            credit.acquire_many(n_together).await.unwrap().forget();
            for one in together.chunks_mut(packet.len()) {
                one[at..at + 2].copy_from_slice(&id.number().to_be_bytes());
                id = id.following();
            }
            writer.write_all(&together).await.unwrap();
            writer.flush().await.unwrap();
        }
    };
    either(listen, tell).await;
}

async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

fn encoded(pump: &Device, qos: QoS) -> Bytes {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
    };
    let publish = Publish {
        delivery,
        retain: false,
        topic: Some(pump.topic("pump").parse().unwrap()),
        properties: None,
        payload: Bytes::from_static(&[7; 128]),
    };
    let mut bytes = BytesMut::new();
    mqtt::encode(&Packet::Publish(publish), Version::V5, &mut bytes).unwrap();
    bytes.freeze()
}

/// Finds the packet id of an encoded PUBLISH whose length takes two bytes.
fn id_place(packet: &[u8]) -> usize {
    5 + usize::from(u16::from_be_bytes([packet[3], packet[4]]))
}
