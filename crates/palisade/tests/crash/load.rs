//! What goes on while the server is killed: devices are added, enrolled and revoked, the record is
//! watched, and messages are published that are to be acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use messaging::mqtt::{Packet, Reason};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::memory::Memory;
use crate::rig::api::{Line, Lost};
use crate::rig::device::{Device, Home};
use crate::rig::dice::Dice;

/// What the load works on.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) data: PathBuf,
    pub(crate) home: Home,
    pub(crate) memory: Memory,
    /// Names the devices of this round.
    pub(crate) round: String,
}

/// The devices that publish, and the one that hears them.
#[derive(Clone)]
pub(crate) struct Talkers {
    pumps: Vec<Device>,
    ear: Device,
}

/// What was published and heard in a round.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) n_sent: u64,
    pub(crate) n_acknowledged: u64,
    /// Acknowledged messages that were still on their way to the one who hears.
    pub(crate) n_under_way: u64,
}

/// What one task of the load saw until the server was gone.
pub(crate) enum Seen {
    Nothing,
    Published { pump: usize, n_sent: u64, n_acknowledged: u64 },
    Heard(Vec<(usize, u64)>),
}

impl Talkers {
    /// Enrols them.
    pub(crate) async fn enrol(scene: &Scene, dice: &mut Dice) -> Result<Self, Lost> {
        let mut line = Line::local(&scene.data).await?;
        let mut talkers = Vec::new();
        for idx in 0..=N_PUMPS {
            let kind = if idx < N_PUMPS { "pump" } else { "application" };
            let mut device = Device::add(&mut line, &format!("talker-{idx}"), kind, dice).await?;
            device.enrol(&mut line).await?;
            scene.memory.enrolling(&device.id);
            scene.memory.enrolled(&device);
            talkers.push(device);
        }
        let ear = talkers.pop().unwrap();
        Ok(Self { pumps: talkers, ear })
    }
}

/// Starts all of it.
pub(crate) fn start(scene: &Scene, talkers: &Talkers, dice: &mut Dice) -> JoinSet<Seen> {
    let mut tasks = JoinSet::new();
    for idx in 0..N_ENROLLERS {
        let mut own = Dice::seeded(dice.throw());
        let scene = scene.clone();
        tasks.spawn(async move {
            let _: Result<(), Lost> = enrol_devices(&scene, idx, &mut own).await;
            Seen::Nothing
        });
    }
    let (follower, reader) = (scene.clone(), scene.clone());
    tasks.spawn(async move {
        let _: Result<(), Lost> = follow(&follower).await;
        Seen::Nothing
    });
    tasks.spawn(async move {
        let _: Result<(), Lost> = read_events(&reader).await;
        Seen::Nothing
    });
    let (hears, heard) = watch::channel(false);
    let (ear, home) = (talkers.ear.clone(), scene.home.clone());
    tasks.spawn(async move { Seen::Heard(hear(&ear, &home, hears).await) });
    for (idx, pump) in talkers.pumps.iter().enumerate() {
        let (pump, home, heard) = (pump.clone(), scene.home.clone(), heard.clone());
        let own = Dice::seeded(dice.throw());
        tasks.spawn(async move {
            let (n_sent, n_acknowledged) = publish(&pump, idx, &home, heard, own).await;
            Seen::Published { pump: idx, n_sent, n_acknowledged }
        });
    }
    tasks
}

async fn enrol_devices(scene: &Scene, idx: usize, dice: &mut Dice) -> Result<(), Lost> {
    let memory = &scene.memory;
    let mut local = Line::local(&scene.data).await?;
    let mut remote = Line::remote(scene.home.https, &scene.home.roots).await?;
    for number in 0.. {
        let id = format!("{}-{idx}-{number}", scene.round);
        memory.adding(&id);
        let mut device = Device::add(&mut local, &id, "pump", dice).await?;
        memory.added(&device);
        memory.enrolling(&id);
        device.enrol(&mut remote).await?;
        memory.enrolled(&device);
        if dice.below(4) == 0 {
            memory.revoking(&id);
            let body = json!({ "reason": "lost" });
            local.post(&format!("/v1/devices/{id}/revoke"), &body).await?;
            memory.revoked(&id);
        }
    }
    Ok(())
}

/// Remembers what the live stream shows.
async fn follow(scene: &Scene) -> Result<(), Lost> {
    let mut following = Line::local(&scene.data).await?.follow().await?;
    loop {
        let (name, data) = following.next().await?;
        match name.as_str() {
            "event" => scene.memory.showed(data),
            "checkpoint" => scene.memory.showed_checkpoint(data.as_str().unwrap()),
            _ => {}
        }
    }
}

/// Remembers what the list of events shows.
async fn read_events(scene: &Scene) -> Result<(), Lost> {
    let mut line = Line::local(&scene.data).await?;
    loop {
        let page = line.get("/v1/events?limit=20").await?;
        for event in page.get("items").and_then(Value::as_array).unwrap() {
            scene.memory.showed(event.clone());
        }
    }
}

async fn publish(
    pump: &Device,
    idx: usize,
    home: &Home,
    mut heard: watch::Receiver<bool>,
    mut dice: Dice,
) -> (u64, u64) {
    let (mut n_sent, mut n_acknowledged) = (0, 0);
    let Ok(mut session) = pump.connect(home).await else { return (0, 0) };
    if heard.wait_for(|hears| *hears).await.is_err() {
        return (0, 0);
    }
    let topic = pump.topic("pump");
    loop {
        let n_burst = 1 + dice.below(16);
        for _ in 0..n_burst {
            let payload = format!("{idx} {n_sent}");
            n_sent += 1;
            if session.publish(&topic, payload.as_bytes()).await.is_err() {
                break;
            }
        }
        for _ in 0..n_burst {
            match session.receive().await {
                Ok(Packet::PubAck(ack)) => {
                    assert_eq!(ack.reason, Reason::Success);
                    n_acknowledged += 1;
                }
                Ok(_) => {}
                Err(_) => return (n_sent, n_acknowledged),
            }
        }
    }
}

async fn hear(ear: &Device, home: &Home, hears: watch::Sender<bool>) -> Vec<(usize, u64)> {
    let mut heard = Vec::new();
    let Ok(mut session) = ear.connect(home).await else { return heard };
    if session.subscribe("main/+/+/telemetry/#").await.is_err() {
        return heard;
    }
    hears.send_replace(true);
    // What was sent before the end is read to its end.
    while let Ok(packet) = session.receive().await {
        if let Packet::Publish(publish) = packet {
            let text = String::from_utf8(publish.payload.to_vec()).unwrap();
            let (pump, number) = text.split_once(' ').unwrap();
            heard.push((pump.parse().unwrap(), number.parse().unwrap()));
            let _ = session.acknowledge(&publish).await;
        }
    }
    heard
}

/// Holds what was heard against what was sent: of each pump everything, once and in order, up to
/// some message; what was acknowledged beyond that one was on its way when the end came.
pub(crate) fn check_talk(seen: &[Seen]) -> Talk {
    let mut heard: BTreeMap<usize, u64> = BTreeMap::new();
    for (pump, number) in seen.iter().flat_map(Seen::heard) {
        let next = heard.entry(*pump).or_default();
        assert_eq!(number, next, "of pump {pump} not everything is heard, once and in order");
        *next += 1;
    }
    let mut talk = Talk::default();
    for seen in seen {
        if let Seen::Published { pump, n_sent, n_acknowledged } = seen {
            let n_heard = heard.get(pump).copied().unwrap_or_default();
            assert!(n_heard <= *n_sent, "more is heard of pump {pump} than it said");
            talk.n_sent += n_sent;
            talk.n_acknowledged += n_acknowledged;
            talk.n_under_way += n_acknowledged.saturating_sub(n_heard);
        }
    }
    talk
}

impl Seen {
    fn heard(&self) -> &[(usize, u64)] {
        match self {
            Self::Heard(heard) => heard,
            Self::Nothing | Self::Published { .. } => &[],
        }
    }
}

const N_ENROLLERS: usize = 3;
const N_PUMPS: usize = 3;
