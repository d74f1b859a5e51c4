//! Thousands of devices with certificates of their own, whose sessions talk until they are ended.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use messaging::mqtt::{Packet, Reason};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::rig::api::Line;
use crate::rig::device::{Device, Home, Session};
use crate::rig::dice::Dice;
use crate::rig::measure::{Times, load};

/// All of them.
pub(crate) struct Fleet {
    pub(crate) data: PathBuf,
    pub(crate) home: Home,
    devices: Vec<Device>,
    /// Those from here on have not connected yet.
    n_connected: usize,
    open: BTreeSet<usize>,
    ends: mpsc::Receiver<Ended>,
    tells: mpsc::Sender<Ended>,
    early: HashMap<usize, Ended>,
    traffic: Arc<Traffic>,
    period: Duration,
    dice: Dice,
}

/// A session that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) idx: usize,
    /// When the socket was seen to be closed.
    pub(crate) at: Instant,
    /// Whether the reason was told before.
    pub(crate) told: bool,
}

#[derive(Default)]
struct Traffic {
    n_sent: AtomicU64,
    n_acknowledged: AtomicU64,
    n_heard: AtomicU64,
}

/// How many applications hear everything.
const N_LISTENERS: usize = 2;
/// How many handshakes and enrolments are under way at once.
const AT_ONCE: usize = 64;

impl Fleet {
    /// Enrols devices, and lets applications listen.
    pub(crate) async fn enrol(data: &Path, ready: &Value, n_devices: usize, seed: u64) -> Self {
        let started = Instant::now();
        let mut dice = Dice::seeded(seed);
        let mut line = Line::local(data).await.unwrap();
        let home = Home::of(ready, &mut line).await.unwrap();
        let shares: Vec<_> =
            (0..AT_ONCE).map(|share| (share, Dice::seeded(dice.throw()))).collect();
        let enrolling = shares.into_iter().map(|(share, mut dice)| {
            let data = data.to_owned();
            tokio::spawn(async move {
                let mut line = Line::local(&data).await.unwrap();
                let mut devices = Vec::new();
                for idx in (share..n_devices).step_by(AT_ONCE) {
                    let id = format!("pump-{idx:05}");
                    let mut device = Device::add(&mut line, &id, "pump", &mut dice).await.unwrap();
                    device.enrol(&mut line).await.unwrap();
                    devices.push(device);
                }
                devices
            })
        });
        let mut devices = Vec::with_capacity(n_devices);
        for share in enrolling.collect::<Vec<_>>() {
            devices.extend(share.await.unwrap());
        }
        println!("{n_devices} devices enrolled in {:.1} s", started.elapsed().as_secs_f64());
        let (tells, ends) = mpsc::channel(n_devices);
        let period = Duration::from_secs(if n_devices > 1_000 { 10 } else { 1 });
        let traffic = Arc::new(Traffic::default());
        let mut fleet = Self {
            data: data.to_owned(),
            home,
            devices,
            n_connected: 0,
            open: BTreeSet::new(),
            ends,
            tells,
            early: HashMap::new(),
            traffic,
            period,
            dice,
        };
        fleet.listen().await;
        fleet
    }

    async fn listen(&mut self) {
        for idx in 0..N_LISTENERS {
            let device = self.one(&format!("listener-{idx}"), "application").await;
            let mut session = device.connect(&self.home).await.unwrap();
            session.subscribe("main/+/+/telemetry/#").await.unwrap();
            let traffic = Arc::clone(&self.traffic);
            tokio::spawn(async move {
                while let Ok(packet) = session.receive().await {
                    if let Packet::Publish(publish) = packet {
                        traffic.n_heard.fetch_add(1, Ordering::Relaxed);
                        let _ = session.acknowledge(&publish).await;
                    }
                }
            });
        }
    }

    /// Enrols one more device.
    pub(crate) async fn one(&mut self, id: &str, kind: &str) -> Device {
        let line = &mut Line::local(&self.data).await.unwrap();
        let mut device = Device::add(line, id, kind, &mut self.dice).await.unwrap();
        device.enrol(line).await.unwrap();
        device
    }

    /// Connects so many more devices, each of which subscribes and begins to talk.
    pub(crate) async fn connect(&mut self, n_devices: usize) {
        let started = Instant::now();
        let first = self.n_connected;
        self.n_connected += n_devices;
        assert!(self.n_connected <= self.devices.len(), "too few devices were enrolled");
        let home = &self.home;
        let sessions = stream::iter(self.devices.iter().enumerate().skip(first).take(n_devices));
        let sessions = sessions.map(|(idx, device)| async move {
            let mut session = device.connect(home).await.unwrap();
            session.subscribe(&format!("main/pump/{}/command/#", device.id)).await.unwrap();
            (idx, session)
        });
        let mut sessions = sessions.buffer_unordered(AT_ONCE);
        while let Some((idx, session)) = sessions.next().await {
            let talker = Talker {
                idx,
                topic: self.devices[idx].topic("pump"),
                period: self.period,
                offset: Duration::from_millis(
                    self.dice.below(u64::try_from(self.period.as_millis()).unwrap()),
                ),
                traffic: Arc::clone(&self.traffic),
                tells: self.tells.clone(),
            };
            self.open.insert(idx);
            tokio::spawn(talker.talk(session));
        }
        let took = started.elapsed().as_secs_f64();
        println!("{n_devices} sessions opened in {took:.1} s, {} are open", self.open.len());
    }

    pub(crate) fn n_open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn id(&self, idx: usize) -> &str {
        &self.devices[idx].id
    }

    /// Chooses so many open sessions, which are no longer counted as open.
    pub(crate) fn choose(&mut self, n_devices: usize) -> Vec<usize> {
        let mut open: Vec<_> = self.open.iter().copied().collect();
        let mut chosen = Vec::new();
        for _ in 0..n_devices {
            let at = self.dice.below(u64::try_from(open.len()).unwrap());
            let idx = open.swap_remove(usize::try_from(at).unwrap());
            self.open.remove(&idx);
            chosen.push(idx);
        }
        chosen
    }

    /// Waits until a session has ended.
    pub(crate) async fn wait_ended(&mut self, idx: usize) -> Ended {
        let wait = async {
            loop {
                if let Some(ended) = self.early.remove(&idx) {
                    return ended;
                }
                let ended = self.ends.recv().await.unwrap();
                self.early.insert(ended.idx, ended);
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the session has not ended")
    }

    /// Waits until sessions have ended.
    pub(crate) async fn ends(&mut self, chosen: &[usize]) -> Vec<Ended> {
        let mut ends = Vec::with_capacity(chosen.len());
        for idx in chosen {
            ends.push(self.wait_ended(*idx).await);
        }
        ends
    }

    /// Waits until sessions have ended, and gives how long each took from its start on.
    pub(crate) async fn ended(
        &mut self,
        chosen: &[usize],
        started: impl Fn(usize) -> Instant,
    ) -> Times {
        let ends = self.ends(chosen).await;
        ends.iter().map(|ended| ended.at.saturating_duration_since(started(ended.idx))).collect()
    }

    /// The next handshake of a revoked device is refused, and says why.
    pub(crate) async fn check_refused_now(&self, idx: usize) {
        let refused = self.devices[idx].connect(&self.home).await.err().unwrap();
        assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");
    }

    /// The same of so many of all that were revoked.
    pub(crate) async fn check_refused(&mut self, n_devices: usize) {
        let revoked: Vec<_> =
            (0..self.n_connected).filter(|idx| !self.open.contains(idx)).collect();
        for idx in revoked.iter().rev().take(n_devices) {
            self.check_refused_now(*idx).await;
        }
    }

    /// Whoever was not revoked is still there.
    pub(crate) async fn check_others(&mut self) {
        while let Ok(ended) = self.ends.try_recv() {
            self.early.insert(ended.idx, ended);
        }
        assert!(self.early.is_empty(), "{} others were ended too", self.early.len());
    }

    /// Shows how much is said in a while.
    pub(crate) async fn show_traffic(&self) {
        let count = || {
            let Traffic { n_sent, n_acknowledged, n_heard } = &*self.traffic;
            [n_sent, n_acknowledged, n_heard].map(|n| n.load(Ordering::Relaxed))
        };
        let (before, started) = (count(), Instant::now());
        let mut ticks = tokio::time::interval(self.period / 2);
        ticks.tick().await;
        ticks.tick().await;
        let span = started.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let [sent, acknowledged, heard] =
            [0, 1, 2].map(|idx| (count()[idx] - before[idx]) as f64 / span);
        println!(
            "messages per second: {sent:.0} sent, {acknowledged:.0} acknowledged, {heard:.0} \
             heard by {N_LISTENERS}; load {}",
            load()
        );
    }
}

/// One device's session.
struct Talker {
    idx: usize,
    topic: String,
    period: Duration,
    offset: Duration,
    traffic: Arc<Traffic>,
    tells: mpsc::Sender<Ended>,
}

impl Talker {
    async fn talk(self, mut session: Session) {
        let mut told = false;
        let mut ticks =
            tokio::time::interval_at(tokio::time::Instant::now() + self.offset, self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                packet = session.receive() => match packet {
                    Ok(Packet::PubAck(_)) => {
                        self.traffic.n_acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Packet::Disconnect(words)) => {
                        told = words.reason == Reason::AdministrativeAction;
                    }
                    Ok(_) => {}
                    Err(_) => break,
                },
                _ = ticks.tick() => {
                    self.traffic.n_sent.fetch_add(1, Ordering::Relaxed);
                    // A session that ended meanwhile is noticed by reading.
                    let _ = session.publish(&self.topic, b"21.5 C, 2.7 bar, 1450 rpm").await;
                }
            }
        }
        let ended = Ended { idx: self.idx, at: Instant::now(), told };
        // The fleet is gone once the test is over.
        let _ = self.tells.send(ended).await;
    }
}

/// How long an end is waited for: far longer than it may take.
const PATIENCE: Duration = Duration::from_secs(30);
