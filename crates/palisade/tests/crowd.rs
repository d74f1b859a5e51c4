//! Thousands of slow and malformed clients at the devices' door do not disturb those who are in.
//!
//! `PALISADE_CROWD=COUNT:SEED` says how many honest sessions there are, and with a fifth as many of
//! each of the others; `cargo xtask soak crowd` runs the full count, where the honest ones' p99
//! must stay within twice what it was.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

#[path = "revocation/fleet.rs"]
#[allow(dead_code, reason = "revocation needs more of it")]
mod fleet;
#[path = "crowd/rude.rs"]
mod rude;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use messaging::mqtt::Packet;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use fleet::Fleet;
use rig::device::Session;
use rig::dice::{Dice, wanted};
use rig::measure::{Times, show_weights};
use rig::run::Run;
use rude::{Manner, Rude, Tries};

/// From how many sessions on the figures are held against each other.
const FULL: usize = 10_000;
/// How long the honest are measured.
const SPAN: Duration = Duration::from_secs(30);
/// The same in the reduction.
const SHORT: Duration = Duration::from_secs(2);
/// What is noise, however much larger it is than before.
const NOISE: Duration = Duration::from_millis(2);

#[test]
fn the_slow_and_the_malformed_do_not_disturb_the_honest() {
    let (n_sessions, seed) = wanted("PALISADE_CROWD", 60);
    let n_sessions = usize::try_from(n_sessions).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(crowd(n_sessions, seed));
}

async fn crowd(n_sessions: usize, seed: u64) {
    let place = tempfile::tempdir().unwrap();
    rig::keep_program(place.path());
    let data = place.path().join("data");
    let mut run = Run::start(&data, &[]);
    let ready = run.ready().await.unwrap();
    // The rude share the machine: as many tries as there are in full would be its whole work.
    let (span, pause) = if n_sessions < FULL { (SHORT, 300) } else { (SPAN, 5_000) };
    let mut dice = Dice::seeded(seed);

    let mut fleet = Fleet::enrol(&data, &ready, n_sessions, seed).await;
    fleet.connect(n_sessions).await;
    let (pump, ear) = (fleet.one("probe", "pump").await, fleet.one("ear", "application").await);
    let mut tells = pump.connect(&fleet.home).await.unwrap();
    let mut hears = ear.connect(&fleet.home).await.unwrap();
    hears.subscribe(&pump.topic("pump")).await.unwrap();
    let mut probe = async || {
        let mut times = Times::default();
        let begun = Instant::now();
        while begun.elapsed() < span {
            times.add(round(&mut tells, &mut hears, &pump.topic("pump")).await);
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        times
    };
    let _ = probe().await;
    let before = probe().await;
    before.show("among the honest, from one to another");
    show_weights(&format!("{} sessions", fleet.n_open()), &run.pids());

    let tries = Arc::new(Tries::default());
    let mut crowd = JoinSet::new();
    let outside = Outside::begin();
    let (mut n_rude, mut devices) = (0, Vec::new());
    for idx in 0..20.min(n_sessions / 3) {
        devices.push(fleet.one(&format!("rude-{idx:02}"), "pump").await);
    }
    for manner in Manner::ALL {
        for idx in 0..n_sessions / 5 / (Manner::ALL.len() / 2) {
            let device = devices[idx % devices.len()].clone();
            let rude = Rude { manner, idx: n_rude, device, pause, tries: Arc::clone(&tries) };
            n_rude += 1;
            let goes_on = rude.go_on(fleet.home.clone(), Dice::seeded(dice.throw()));
            crowd.spawn_on(goes_on, &outside.handle);
        }
    }
    tokio::time::sleep(span / 4).await;
    let among = probe().await;
    among.show(&format!("the same, while {n_rude} slow and malformed ones try"));
    show_weights("then", &run.pids());
    crowd.shutdown().await;
    for (manner, n_tries) in Manner::ALL.iter().zip(&tries.by_manner) {
        let n_tries = n_tries.load(Ordering::Relaxed);
        println!("{n_tries} tries: {manner:?}");
        assert!(n_tries > 0, "nobody tried: {manner:?}");
    }
    fleet.check_others().await;
    if n_sessions >= FULL {
        let (was, is) = (before.of_thousand(990), among.of_thousand(990));
        assert!(is <= 2 * was || is < NOISE, "p99 was {was:?} and is {is:?}");
    }
    drop(fleet);
    run.stop();
}

/// A thread for the rude, behind all others: what they compute themselves is not the server's.
struct Outside {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Outside {
    fn begin() -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            setpriority_process(Some(gettid()), 19).unwrap();
            // Whichever way it ends.
            let _ = runtime.block_on(ended);
        });
        Self { handle, _end: end }
    }
}

/// Lets one message go from one to another; gives how long it took.
async fn round(tells: &mut Session, hears: &mut Session, topic: &str) -> Duration {
    let begun = Instant::now();
    tells.publish(topic, b"21.5 C").await.unwrap();
    let Packet::Publish(publish) = hears.receive().await.unwrap() else { panic!("no message") };
    let took = begun.elapsed();
    hears.acknowledge(&publish).await.unwrap();
    assert!(matches!(tells.receive().await.unwrap(), Packet::PubAck(_)));
    took
}
