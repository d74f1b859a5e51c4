//! What is kept, for how long, and how much of it.

use super::*;
use crate::starter;
use crate::tests::{device, id, kind, set};
use identity::{Document, Ed25519Key, Signed, Signer, Stage, Time, Verified};
use policy::{Changes, Delta, Fact, PolicySet, Snapshot};
use proptest::prelude::*;
use zeroize::Zeroizing;

#[test]
fn a_repeated_denial_keeps_its_id() {
    let (mut rig, slot) = Rig::new("pump-7");
    let ask = Ask::Publish { topic: "plant-a/pump/pump-8/status", retain: false };
    let first = rig.decide(slot, ask);
    let second = rig.decide(slot, ask);
    assert!(!first.allows());
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(rig.cache.counters(), Counters { by_topic: 1, by_reading: 0, made: 1 });
}

#[test]
fn a_flood_of_invented_topics_is_one_decision() {
    let (mut rig, slot) = Rig::new("pump-7");
    let ids: std::collections::BTreeSet<DecisionId> = (0..5000)
        .map(|n| rig.decide(slot, Ask::Publish { topic: &format!("flood/{n}"), retain: false }).id)
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(rig.cache.counters().made, 1);
}

#[test]
fn an_application_needs_one_decision_for_its_site() {
    let (mut rig, _) = Rig::new("pump-7");
    let slot = rig.change(
        Delta::Device(Box::new(DeviceStanding { kind: kind("application"), ..device("board") })),
        "board",
    );
    for n in 0..5000 {
        assert!(
            rig.decide(slot, Ask::Receive { topic: &format!("plant-a/pump/pump-{n}/telemetry/t") })
                .allows()
        );
    }
    assert_eq!(rig.cache.counters().made, 1);
    assert!(!rig.decide(slot, Ask::Receive { topic: "plant-b/pump/pump-1/telemetry/t" }).allows());
}

#[test]
fn a_change_of_the_device_is_heeded_at_once() {
    let (mut rig, slot) = Rig::new("pump-7");
    let ask = Ask::Publish { topic: "plant-a/pump/pump-7/status", retain: false };
    assert!(rig.decide(slot, ask).allows());

    let mut quarantined = device("pump-7");
    quarantined.posture.hold(Fact::quarantine(true, "ada", Time::EPOCH, None));
    rig.change(Delta::Device(Box::new(quarantined)), "pump-7");
    assert_eq!(rig.decide(slot, ask).cause, Cause::Quarantined);

    rig.change(
        Delta::Device(Box::new(DeviceStanding { stage: Stage::Retired, ..device("pump-7") })),
        "pump-7",
    );
    assert_eq!(rig.decide(slot, ask).cause, Cause::NotActive);

    rig.change(Delta::Device(Box::new(device("pump-7"))), "pump-7");
    assert!(rig.decide(slot, ask).allows());
}

#[test]
fn a_device_that_is_gone_is_denied() {
    let (mut rig, slot) = Rig::new("pump-7");
    assert!(rig.decide(slot, Ask::Connect).allows());
    rig.apply(Delta::Gone("pump-7".parse().unwrap()));
    assert_eq!(rig.decide(slot, Ask::Connect).cause, Cause::UnknownDevice);
}

#[test]
fn another_policy_is_heeded_at_once_even_of_the_same_version() {
    let (mut rig, slot) = Rig::new("pump-7");
    assert!(rig.decide(slot, Ask::Connect).allows());
    rig.authority = Authority::compile(&PolicySet { version: 1, ..set("") }).unwrap();
    assert_eq!(rig.decide(slot, Ask::Connect).cause, Cause::NotGranted);
    rig.authority = Authority::closed(1);
    assert_eq!(rig.decide(slot, Ask::Connect).cause, Cause::PolicyUnusable);
}

#[test]
fn another_standing_is_never_answered_from_the_first() {
    let (mut rig, slot) = Rig::new("pump-7");
    assert!(rig.decide(slot, Ask::Connect).allows());
    let retired = DeviceStanding { stage: Stage::Retired, ..device("pump-7") };
    rig.standing = Standing::from_snapshot(snapshot(retired));
    assert_eq!(rig.decide(slot, Ask::Connect).cause, Cause::NotActive);
}

#[test]
fn tables_keep_to_their_bound() {
    let (mut rig, slot) = Rig::new("pump-7");
    rig.cache = Cache::new(2048, 9);
    for n in 0..20_000 {
        rig.decide(
            slot,
            Ask::Publish { topic: &format!("plant-a/pump/pump-{n}/status"), retain: false },
        );
    }
    assert!(rig.cache.by_topic.n_entries() <= 2048 && rig.cache.by_topic.n_entries() > 1900);
    assert!(rig.cache.by_reading.n_entries() <= 2048);
}

#[test]
fn a_table_that_grew_finds_what_it_kept() {
    let (mut rig, slot) = Rig::new("pump-7");
    let topics: Vec<String> =
        (0..3000).map(|n| format!("plant-a/pump/pump-7/telemetry/{n}")).collect();
    for topic in &topics {
        rig.decide(slot, Ask::Publish { topic, retain: false });
    }
    let before = rig.cache.counters().by_topic;
    for topic in &topics {
        rig.decide(slot, Ask::Publish { topic, retain: false });
    }
    assert!(rig.cache.counters().by_topic - before > 2900);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_kept_decision_is_the_one_that_would_be_made(
        asks in proptest::collection::vec((0_usize..3, 0_u8..4, 0_usize..12, any::<bool>()), 1..120),
    ) {
        let (mut rig, pump) = Rig::new("pump-7");
        rig.cache = Cache::new(4, 1);
        let other = rig.change(Delta::Device(Box::new(device("pump-8"))), "pump-8");
        let board = DeviceStanding { kind: kind("application"), ..device("board") };
        let board = rig.change(Delta::Device(Box::new(board)), "board");
        for (who, action, topic_idx, retain) in asks {
            let slot = [pump, other, board][who];
            let topic = TOPICS[topic_idx];
            let ask = match action {
                0 => Ask::Connect,
                1 => Ask::Publish { topic, retain },
                2 => Ask::Subscribe { filter: topic },
                _ => Ask::Receive { topic },
            };
            let kept = rig.decide(slot, ask);
            let device = rig.standing.device(slot).unwrap();
            let made = rig.authority.decide(&Request { device, ask }, kept.id);
            prop_assert_eq!(&*kept, &made);
        }
    }
}

const TOPICS: [&str; 12] = [
    "plant-a/pump/pump-7/status",
    "plant-a/pump/pump-8/status",
    "plant-b/pump/pump-7/status",
    "plant-a/pump/pump-7/telemetry/a",
    "plant-a/pump/pump-7/telemetry/b",
    "plant-a/pump/pump-7/command/c",
    "plant-a/pump/pump-8/command/c",
    "plant-a/+/+/telemetry/#",
    "plant-a/pump/+/command/#",
    "#",
    "",
    "other",
];

struct Rig {
    cache: Cache,
    authority: Authority,
    standing: Standing,
    sequence: u64,
    n_ids: u8,
}

impl Rig {
    fn new(name: &str) -> (Self, Slot) {
        let standing = Standing::from_snapshot(snapshot(device(name)));
        let slot = standing.find(&name.parse().unwrap()).unwrap();
        let authority = Authority::compile(&starter::policy()).unwrap();
        (Self { cache: Cache::new(65_536, 3), authority, standing, sequence: 1, n_ids: 0 }, slot)
    }

    fn decide(&mut self, slot: Slot, ask: Ask<'_>) -> Arc<Decision> {
        let n_ids = &mut self.n_ids;
        self.cache.decide(&self.authority, &self.standing, slot, ask, || {
            *n_ids = n_ids.wrapping_add(1);
            DecisionId::from_random([*n_ids; 10])
        })
    }

    fn apply(&mut self, delta: Delta) {
        let (from, to) = (self.sequence, self.sequence + 1);
        let changes = Changes { from, to, issued: Time::EPOCH, deltas: vec![delta] };
        self.standing.apply(verified(&changes)).unwrap();
        self.sequence = to;
    }

    fn change(&mut self, delta: Delta, name: &str) -> Slot {
        self.apply(delta);
        self.standing.find(&name.parse().unwrap()).unwrap()
    }
}

fn snapshot(device: DeviceStanding) -> Verified<Snapshot> {
    let (policy, devices) = (starter::policy(), vec![device]);
    verified(&Snapshot { sequence: 1, issued: Time::EPOCH, policy, devices, revoked: vec![] })
}

fn verified<T: Document>(document: &T) -> Verified<T> {
    let key = Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap();
    let bytes = Signed::sign(document, None, &[&key]).unwrap();
    Signed::parse(&bytes).unwrap().verify(&[key.public_key().clone()], 1, Time::EPOCH).unwrap()
}

#[test]
fn no_id_is_drawn_for_what_is_kept() {
    let (mut rig, slot) = Rig::new("pump-7");
    rig.decide(slot, Ask::Connect);
    let kept = rig
        .cache
        .decide(&rig.authority, &rig.standing, slot, Ask::Connect, || unreachable!("kept"));
    assert_ne!(kept.id, id());
}
