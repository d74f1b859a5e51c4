//! Measures a standing of 100,000 devices: bytes on the wire and in memory, time to take it in.
//!
//! `cargo run --release -p policy --example standing`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use identity::{
    Ed25519Key, Fingerprint, KindId, Signed, Signer, SiteId, Stage, Time, Verified, ZoneId,
};
use policy::{DeviceStanding, Labels, Namespaces, PolicySet, Posture, Snapshot, Standing};
use zeroize::Zeroizing;

const N_DEVICES: usize = 100_000;

fn main() {
    // Another process signs, so that what that took is not counted here.
    if std::env::args().nth(1).is_some() {
        return std::io::stdout().write_all(&signed()).unwrap();
    }
    let signer = Command::new(std::env::current_exe().unwrap()).arg("sign").output().unwrap();
    let bytes = signer.stdout;
    println!("snapshot on the wire   {:>6} bytes/device", bytes.len() / N_DEVICES);

    let before = resident();
    let started = Instant::now();
    let verified = verify(&bytes);
    println!("verified and decoded   {:>6.0?}", started.elapsed());
    let started = Instant::now();
    let standing = Standing::from_snapshot(verified);
    println!("taken in               {:>6.0?}", started.elapsed());
    println!(
        "resident memory        {:>6} bytes/device (with what decoding left behind)",
        (resident() - before) / N_DEVICES
    );

    let before = resident();
    let copy = standing.clone();
    println!("a second view of it    {:>6} bytes/device", (resident() - before) / copy.len());

    let fingerprints: Vec<Fingerprint> = (0..N_DEVICES).map(fingerprint).collect();
    let started = Instant::now();
    assert!(fingerprints.iter().all(|fingerprint| standing.admit(fingerprint).is_ok()));
    println!("found by certificate   {:>6} ns", started.elapsed().as_nanos() / N_DEVICES as u128);
}

fn signed() -> Vec<u8> {
    let devices = (0..N_DEVICES).map(device).collect();
    let namespaces =
        Namespaces::parse([("telemetry", "{site}/{kind}/{device}/telemetry/#")]).unwrap();
    let policy = PolicySet { version: 1, source: String::new(), namespaces };
    let snapshot =
        Snapshot { sequence: 1, issued: Time::EPOCH, policy, devices, revoked: Vec::new() };
    Signed::sign(&snapshot, None, &[&key()]).unwrap()
}

fn verify(bytes: &[u8]) -> Verified<Snapshot> {
    Signed::parse(bytes).unwrap().verify(&[key().public_key().clone()], 1, Time::EPOCH).unwrap()
}

fn key() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn device(n: usize) -> DeviceStanding {
    DeviceStanding {
        id: format!("pump-{n:06}").parse().unwrap(),
        kind: format!("kind-{}", n % 20).parse::<KindId>().unwrap().into(),
        zone: format!("zone-{}", n % 50).parse::<ZoneId>().unwrap().into(),
        site: format!("site-{}", n % 5).parse::<SiteId>().unwrap().into(),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![fingerprint(n)],
    }
}

fn fingerprint(n: usize) -> Fingerprint {
    Fingerprint::of_der(&n.to_le_bytes())
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
