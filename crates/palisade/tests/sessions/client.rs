//! A client that keeps its half of a session over every connection, and notes what must not happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::iter::Sum;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use messaging::mqtt::{
    Ack, Connect, ConnectProperties, Delivery, Packet, PacketId, Publish, QoS, Reason,
    RetainHandling, Subscribe, SubscribeProperties, Subscription, Version,
};
use messaging::text::Text;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::rig::device::{Device, Home, Session};
use crate::rig::dice::Dice;

/// One client, with what it must remember between two connections.
pub(crate) struct Client {
    device: Device,
    hears: Option<QoS>,
    /// What it has published and is not done with, in order.
    unfinished: VecDeque<Sent>,
    /// How many it has published with each quality.
    n_published: BTreeMap<u8, u64>,
    next_id: PacketId,
    /// Ids of received messages of QoS 2 that were not released.
    unreleased: BTreeSet<PacketId>,
    /// How many have come, without repetitions, from whom and with which quality.
    n_heard: BTreeMap<(String, u8), u64>,
    pub(crate) counts: Counts,
    pace: Arc<Pace>,
    /// Its place among those who hear.
    place: usize,
}

/// What was seen on the way.
#[derive(Debug, Default, Clone, Copy)]
#[allow(dead_code, reason = "shown at the end")]
pub(crate) struct Counts {
    n_sessions_resumed: u64,
    n_acknowledged: u64,
    n_sent_again: u64,
    n_heard: u64,
    n_repeated: u64,
}

/// How far those who hear are behind, so that nobody's queue overflows while it is away.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    n_published: AtomicU64,
    n_heard: [AtomicU64; 2],
}

/// How many messages a client has published, by quality.
pub(crate) type Published<'a> = (&'a str, &'a BTreeMap<u8, u64>);

struct Sent {
    id: PacketId,
    qos: u8,
    number: u64,
    is_released: bool,
}

impl Client {
    pub(crate) fn of(device: Device, hears: Option<QoS>, pace: Arc<Pace>) -> Self {
        let place = usize::from(hears == Some(QoS::ExactlyOnce));
        Self {
            device,
            hears,
            unfinished: VecDeque::new(),
            n_published: BTreeMap::new(),
            next_id: PacketId::FIRST,
            unreleased: BTreeSet::new(),
            n_heard: BTreeMap::new(),
            counts: Counts::default(),
            pace,
            place,
        }
    }

    /// Has a session made, and subscribes if it is one who hears.
    pub(crate) async fn begin(&mut self, home: &Home) {
        let (mut session, is_known) = self.connect(home).await.unwrap();
        assert!(!is_known);
        let Some(qos) = self.hears else { return };
        let subscription = Subscription {
            filter: "main/pump/+/telemetry/#".parse().unwrap(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let subscribe = Subscribe {
            id: PacketId::FIRST,
            properties: SubscribeProperties::default(),
            subscriptions: vec![subscription],
        };
        session.send(&Packet::Subscribe(subscribe)).await.unwrap();
        let answer = session.receive().await.unwrap();
        assert!(
            matches!(&answer, Packet::SubAck(ack) if ack.reasons == [qos.granted()]),
            "{answer:?}"
        );
    }

    /// Talks until the connection is lost, or until there is nothing more to say or to hear.
    pub(crate) async fn talk(
        mut self,
        home: Home,
        goes: watch::Receiver<bool>,
        mut dice: Dice,
    ) -> Self {
        // A connection that is lost is what this is about.
        let _: io::Result<()> = self.converse(&home, goes, &mut dice).await;
        self
    }

    async fn converse(
        &mut self,
        home: &Home,
        mut goes: watch::Receiver<bool>,
        dice: &mut Dice,
    ) -> io::Result<()> {
        let (mut session, is_known) = self.connect(home).await?;
        assert!(is_known, "the session of {} is lost", self.device.id);
        self.counts.n_sessions_resumed += 1;
        for sent in &self.unfinished {
            self.counts.n_sent_again += 1;
            session.send(&sent.packet(&self.device, true)).await?;
        }
        loop {
            let is_going = *goes.borrow();
            while self.hears.is_none()
                && is_going
                && self.unfinished.len() < WINDOW
                && self.pace.allows_more()
            {
                self.publish(&mut session, dice).await?;
            }
            if !is_going && self.hears.is_none() && self.unfinished.is_empty() {
                return Ok(());
            }
            tokio::select! {
                packet = session.receive() => self.handle(&mut session, packet?).await?,
                changed = goes.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = tokio::time::sleep(PAUSE), if is_going && self.hears.is_none() => {}
                // All others have long been done.
                () = tokio::time::sleep(QUIET), if !is_going && self.hears.is_some() => return Ok(()),
            }
        }
    }

    async fn connect(&self, home: &Home) -> io::Result<(Session, bool)> {
        let connect = Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 600,
            client_id: Text::copy_of(&self.device.id).unwrap(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry: Some(100_000),
                ..ConnectProperties::default()
            },
        };
        let stream = TcpStream::connect(home.mqtt).await?;
        self.device.connect_with(stream, home, connect).await
    }

    async fn publish(&mut self, session: &mut Session, dice: &mut Dice) -> io::Result<()> {
        let qos = if dice.below(2) == 0 { 1 } else { 2 };
        let n_published = self.n_published.entry(qos).or_default();
        let sent = Sent { id: self.next_id, qos, number: *n_published, is_released: false };
        *n_published += 1;
        self.pace.n_published.fetch_add(1, Ordering::Relaxed);
        self.next_id = self.next_id.following();
        let packet = sent.packet(&self.device, false);
        self.unfinished.push_back(sent);
        session.send(&packet).await
    }

    async fn handle(&mut self, session: &mut Session, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                // The id that it releases again may have been released already.
                let is_done = ack.reason == Reason::PacketIdNotFound;
                assert!(is_done || ack.reason == Reason::Success, "{ack:?}");
                self.counts.n_acknowledged += 1;
                self.unfinished.retain(|sent| sent.id != ack.id);
                Ok(())
            }
            Packet::PubRec(ack) => {
                assert_eq!(ack.reason, Reason::Success, "{:?}", ack.properties.reason_string);
                let sent = self.unfinished.iter_mut().find(|sent| sent.id == ack.id);
                sent.expect("it was published").is_released = true;
                session.send(&Packet::PubRel(Ack::of(ack.id, Reason::Success))).await
            }
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => panic!("a message has lost its quality"),
                Delivery::AtLeastOnce { id, .. } => {
                    self.hear(&publish);
                    session.send(&Packet::PubAck(Ack::of(id, Reason::Success))).await
                }
                Delivery::ExactlyOnce { id, .. } => {
                    if self.unreleased.insert(id) {
                        self.hear(&publish);
                    }
                    session.send(&Packet::PubRec(Ack::of(id, Reason::Success))).await
                }
            },
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.id);
                session.send(&Packet::PubComp(Ack::of(ack.id, Reason::Success))).await
            }
            Packet::Disconnect(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            other => panic!("{other:?}"),
        }
    }

    /// Notes a message: the next one of its line, or one that may come again.
    fn hear(&mut self, publish: &Publish) {
        let topic = publish.topic.as_ref().unwrap().as_str();
        let from = topic.split('/').nth(2).unwrap().to_owned();
        let text = std::str::from_utf8(&publish.payload).unwrap();
        let (qos, number) = text.split_once(' ').unwrap();
        let (qos, number): (u8, u64) = (qos.parse().unwrap(), number.parse().unwrap());
        let is_exact = qos == 2 && self.hears == Some(QoS::ExactlyOnce);
        let next = self.n_heard.entry((from, qos)).or_default();
        self.counts.n_heard += 1;
        if number < *next && !is_exact {
            self.counts.n_repeated += 1;
            return;
        }
        assert_eq!(number, *next, "{} hears `{text}` of {topic}", self.device.id);
        *next += 1;
        self.pace.n_heard[self.place].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives how many messages it has published, if it is one who does.
    pub(crate) fn published(&self) -> Option<Published<'_>> {
        self.hears.is_none().then_some((&self.device.id, &self.n_published))
    }

    /// Checks that it has heard everything, if it is one who hears.
    pub(crate) fn check(&self, published: &[Published<'_>]) {
        assert!(self.unfinished.is_empty(), "{} has not been acknowledged all", self.device.id);
        if self.hears.is_none() {
            return;
        }
        for (from, by_quality) in published {
            for (qos, n_published) in *by_quality {
                let n_heard = self.n_heard.get(&((*from).to_owned(), *qos)).copied();
                assert_eq!(n_heard, Some(*n_published), "{} of {from}, QoS {qos}", self.device.id);
            }
        }
    }
}

impl Pace {
    fn allows_more(&self) -> bool {
        let n_heard = self.n_heard.iter().map(|n_heard| n_heard.load(Ordering::Relaxed)).min();
        let n_published = self.n_published.load(Ordering::Relaxed);
        n_published.saturating_sub(n_heard.unwrap_or(0)) < FAR_BEHIND
    }
}

impl Sent {
    fn packet(&self, device: &Device, dup: bool) -> Packet {
        if self.is_released {
            return Packet::PubRel(Ack::of(self.id, Reason::Success));
        }
        let delivery = match self.qos {
            1 => Delivery::AtLeastOnce { id: self.id, dup },
            _ => Delivery::ExactlyOnce { id: self.id, dup },
        };
        Packet::Publish(Publish {
            delivery,
            retain: false,
            topic: Some(device.topic("pump").parse().unwrap()),
            properties: None,
            payload: Bytes::from(format!("{} {}", self.qos, self.number)),
        })
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            n_sessions_resumed: sum.n_sessions_resumed + one.n_sessions_resumed,
            n_acknowledged: sum.n_acknowledged + one.n_acknowledged,
            n_sent_again: sum.n_sent_again + one.n_sent_again,
            n_heard: sum.n_heard + one.n_heard,
            n_repeated: sum.n_repeated + one.n_repeated,
        })
    }
}

/// How many messages are under way from one publisher.
const WINDOW: usize = 16;
/// After how long a silence there is nothing more to come.
const QUIET: Duration = Duration::from_secs(5);
/// How long one who publishes waits for the others.
const PAUSE: Duration = Duration::from_millis(5);
/// How many messages nobody is to be behind: far fewer than a queue holds.
const FAR_BEHIND: u64 = 1_000;
