//! Measures decisions per second: made anew with 10, 50 and 200 policies, and kept.
//!
//! `cargo run --release -p authority --example measure`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use authority::{Authority, Cache, starter};
use identity::{Ed25519Key, Fingerprint, KindId, Signed, Signer, SiteId, Stage, Time, ZoneId};
use policy::{
    Ask, DecisionId, DeviceStanding, Labels, PolicySet, Posture, Request, Snapshot, Standing,
};
use zeroize::Zeroizing;

fn main() {
    for n_policies in [10, 50, 200] {
        made_anew(n_policies);
    }
    kept();
}

/// The starter's six policies and more: of which none concerns the topic that is asked for, and of
/// which all do.
fn made_anew(n_policies: usize) {
    let device = device("pump-7");
    let request = Request::publish(&device, "plant-a/pump/pump-7/telemetry/temp", false);
    let elsewhere = |n: usize| if n.is_multiple_of(2) { "command" } else { "status" };
    for (name, namespace) in [
        ("for other namespaces", &elsewhere as &dyn Fn(usize) -> _),
        ("for this namespace", &|_| "telemetry"),
    ] {
        let mut source = starter::SOURCE.to_string();
        for n in 6..n_policies {
            source += &format!(
                "@id(\"extra-{n}\") permit(principal in Kind::\"kind-{n}\", action == Action::\"publish\", \
                 resource in Namespace::\"{}\") when {{ resource has site && resource.site == principal.site }};\n",
                namespace(n)
            );
        }
        let started = Instant::now();
        let authority = Authority::compile(&PolicySet { source, ..starter::policy() }).unwrap();
        let compiled = started.elapsed();
        let nanos = time(|| {
            black_box(authority.decide(black_box(&request), DecisionId::from_random([0; 10])));
        });
        println!(
            "{n_policies:>4} policies, {name:<23} {nanos:>9.0} ns made anew ({:>9.0}/s), compiled in {compiled:.1?}",
            1e9 / nanos
        );
    }
}

fn kept() {
    let authority = Authority::compile(&starter::policy()).unwrap();
    let standing = standing();
    let mut cache = Cache::new(65_536, 7);
    let pump = standing.find(&"pump-7".parse().unwrap()).unwrap();
    let board = standing.find(&"board".parse().unwrap()).unwrap();
    let mut decide = |slot, ask| {
        cache.decide(&authority, &standing, slot, ask, || DecisionId::from_random([0; 10])).allows()
    };

    let own = Ask::Publish { topic: "plant-a/pump/pump-7/telemetry/temp", retain: false };
    println!(
        "{:>40} {:>7.0} ns",
        "kept, the same topic",
        time(|| assert!(decide(pump, black_box(own))))
    );

    let topics: Vec<String> =
        (0..10_000).map(|n| format!("plant-a/pump/pump-{n}/telemetry/temp")).collect();
    let mut idx = 0;
    let mut next = || {
        idx = (idx + 1) % topics.len();
        &topics[idx]
    };
    let nanos = time(|| assert!(decide(board, Ask::Receive { topic: next() })));
    println!("{:>40} {nanos:>7.0} ns", "kept, 10,000 topics in turn");

    let topics: Vec<String> =
        (0..1_000_000).map(|n| format!("plant-a/pump/pump-{n}/telemetry/temp")).collect();
    let mut idx = 0;
    let mut next = || {
        idx = (idx + 1) % topics.len();
        &topics[idx]
    };
    let nanos = time(|| assert!(decide(board, Ask::Receive { topic: next() })));
    println!("{:>40} {nanos:>7.0} ns", "kept, 1,000,000 topics in turn");

    let namespaces = starter::policy().namespaces;
    let nanos =
        time(|| assert!(namespaces.resolve(black_box("plant-a/pump/pump-7/command/x")).is_some()));
    println!("{:>40} {nanos:>7.0} ns", "a topic bound to the third namespace");
}

/// Times a call: the median of nine runs of about 50 ms each.
fn time(mut call: impl FnMut()) -> f64 {
    let mut n_calls = 1_u32;
    loop {
        let started = Instant::now();
        (0..n_calls).for_each(|_| call());
        if started.elapsed() > Duration::from_millis(50) {
            break;
        }
        n_calls *= 2;
    }
    let mut runs: Vec<f64> = (0..9)
        .map(|_| {
            let started = Instant::now();
            (0..n_calls).for_each(|_| call());
            started.elapsed().as_secs_f64() * 1e9 / f64::from(n_calls)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[4]
}

fn standing() -> Standing {
    let board =
        DeviceStanding { kind: "application".parse::<KindId>().unwrap().into(), ..device("board") };
    let devices = (0..10_000).map(|n| device(&format!("pump-{n}"))).chain([board]).collect();
    let policy = starter::policy();
    let snapshot =
        Snapshot { sequence: 1, issued: Time::EPOCH, policy, devices, revoked: Vec::new() };
    let key = Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap();
    let bytes = Signed::sign(&snapshot, None, &[&key]).unwrap();
    let keys = [key.public_key().clone()];
    Standing::from_snapshot(Signed::parse(&bytes).unwrap().verify(&keys, 1, Time::EPOCH).unwrap())
}

fn device(name: &str) -> DeviceStanding {
    DeviceStanding {
        id: name.parse().unwrap(),
        kind: "pump".parse::<KindId>().unwrap().into(),
        zone: "hall-1".parse::<ZoneId>().unwrap().into(),
        site: "plant-a".parse::<SiteId>().unwrap().into(),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![Fingerprint::of_der(name.as_bytes())],
    }
}
