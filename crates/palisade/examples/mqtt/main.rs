//! Measures a running server as devices meet it, beside a Mosquitto of its own, in turns.
//!
//! `cargo xtask bench mqtt` starts the server and calls this with what is to be measured, what the
//! server said when it was ready, its data folder, and a folder for the peer. The servers share one core, of which only one is at
//! work at a time, and the devices have another. A rate is by the second of processor time that
//! the server took, all its processes together. Each line of output is one turn.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code, reason = "this needs a part of what the tests need")]
#[path = "../../tests/rig"]
mod rig {
    pub(crate) mod api;
    pub(crate) mod device;
    pub(crate) mod dice;
}

mod flow;
mod peer;
mod process;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rig::api::Line;
use rig::device::{Device, Home};
use rig::dice::Dice;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use peer::Mosquitto;
use process::Processes;
use wire::Target;

/// How often each measurement is repeated.
const TURNS: usize = 5;
/// How long each goes on.
const SPAN: Duration = Duration::from_secs(3);
/// How many devices connect anew in turn.
const VISITORS: usize = 400;
/// How many publish to one, and how many one publishes to.
const FAN: usize = 50;
/// How many connections are held idle.
const IDLE: usize = 2_000;

/// Who takes part.
struct Cast {
    pumps: Vec<Device>,
    applications: Vec<Device>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, ready, data, folder] = &arguments[..] else {
        panic!("call this as `cargo xtask bench mqtt`")
    };
    let mut cores = CpuSet::new();
    cores.set(1);
    sched_setaffinity(None, &cores).unwrap();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // What comes is looked for at every turn: who waits for the moment to send does not hide it.
    let runtime = builder.event_interval(1).enable_all().build().unwrap();
    runtime.block_on(measure(what, ready, PathBuf::from(data), PathBuf::from(folder)));
}

async fn measure(what: &str, ready: &str, data: PathBuf, folder: PathBuf) {
    let ready: serde_json::Value = serde_json::from_str(ready).unwrap();
    let mut line = Line::local(&data).await.unwrap();
    let home = Home::of(&ready, &mut line).await.unwrap();
    let authority = line.get("/v1/authority").await.unwrap();
    let pem = |path: &str| authority.pointer(path).and_then(|pem| pem.as_str()).unwrap().to_owned();
    let mut dice = Dice::seeded(7);
    let cast = Cast {
        pumps: enrol(&mut line, "pump", VISITORS, &mut dice).await,
        applications: enrol(&mut line, "application", FAN, &mut dice).await,
    };
    let anchors = format!("{}{}", pem("/root/pem"), pem("/issuing/pem"));
    let mosquitto = Mosquitto::start(&folder, &anchors, &cast.applications);
    let ours = (Target::ours(&home), Processes::of(&ready));
    let peer = (mosquitto.target(), mosquitto.processes());

    if what == "idle" {
        return idle(&ours, &peer, &cast).await;
    }
    for _ in 0..TURNS {
        let handshakes = [handshakes(&ours, &cast).await, handshakes(&peer, &cast).await];
        show("full handshakes, CONNECT and CONNACK", "per CPU s", handshakes);
        for qos in 0..=1 {
            let before = ours.1.weight();
            let (pumps, ear) = (&cast.pumps[..FAN], &cast.applications[0]);
            let name = format!("{FAN} to 1, 128 B, QoS {qos}");
            let ours_came = flow::many_to_one(&ours, pumps, ear, qos, SPAN).await;
            let weight = ours.1.weight().max(before);
            let peer_came = flow::many_to_one(&peer, pumps, ear, qos, SPAN).await;
            show(&name, "messages per CPU s", [ours_came.rate, peer_came.rate]);
            show(&format!("{name}, by the clock"), "messages/s", [ours_came.pace, peer_came.pace]);
            show(&format!("{name}, memory"), "MB", [weight, peer.1.weight()].map(megabytes));
        }
        let (pump, ears) = (&cast.pumps[0], &cast.applications[..]);
        let ours_came = flow::one_to_many(&ours, pump, ears, SPAN).await;
        let peer_came = flow::one_to_many(&peer, pump, ears, SPAN).await;
        let name = format!("1 to {FAN}, 128 B, QoS 0");
        show(&name, "deliveries per CPU s", [ours_came.rate, peer_came.rate]);
        show(&format!("{name}, by the clock"), "deliveries/s", [ours_came.pace, peer_came.pace]);
        let (pumps, ear) = (&cast.pumps[..FAN], &cast.applications[0]);
        let ours_came = flow::latency(&ours.0, pumps, ear, SPAN).await;
        let peer_came = flow::latency(&peer.0, pumps, ear, SPAN).await;
        let name = format!("{FAN} to 1, QoS 0, 5,000/s offered");
        show(&format!("{name}, p50"), "µs", [ours_came.p50, peer_came.p50]);
        show(&format!("{name}, p99"), "µs", [ours_came.p99, peer_came.p99]);
    }
}

async fn enrol(line: &mut Line, kind: &str, n_devices: usize, dice: &mut Dice) -> Vec<Device> {
    let mut devices = Vec::new();
    for idx in 0..n_devices {
        let mut device = Device::add(line, &format!("{kind}-{idx:03}"), kind, dice).await.unwrap();
        device.enrol(line).await.unwrap();
        devices.push(device);
    }
    devices
}

async fn idle(ours: &(Target, Processes), peer: &(Target, Processes), cast: &Cast) {
    let mut weights = [0.0; 2];
    for (weight, (target, processes)) in weights.iter_mut().zip([ours, peer]) {
        let before = processes.weight();
        let mut lines = Vec::new();
        for idx in 0..IDLE {
            let device = &cast.pumps[idx % VISITORS];
            lines.push(target.connect(device, &format!("{}:{idx}", device.id)).await);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        *weight = (processes.weight() as f64 - before as f64) / 1024.0 / IDLE as f64;
        drop(lines);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    show(&format!("{IDLE} idle connections, memory of each"), "KiB", weights);
}

/// Connects one device after the other, eight at once.
async fn handshakes((target, processes): &(Target, Processes), cast: &Cast) -> f64 {
    let (begun, before) = (Instant::now(), processes.time());
    let visit = async |share: usize| {
        let mut n_visits = 0_u32;
        for device in cast.pumps.iter().skip(share).step_by(8).cycle() {
            if begun.elapsed() > SPAN {
                break;
            }
            drop(target.connect(device, &device.id).await);
            n_visits += 1;
        }
        n_visits
    };
    let visits = futures_util::future::join_all((0..8).map(visit)).await;
    f64::from(visits.iter().sum::<u32>()) / (processes.time() - before).as_secs_f64()
}

fn show(figure: &str, unit: &str, [ours, peer]: [f64; 2]) {
    let peer_name = "Mosquitto 2.0.11 with an ACL file";
    let turn = json!({
        "figure": figure, "unit": unit, "ours": ours, "peer": peer, "peer_name": peer_name,
    });
    println!("{turn}");
}

fn megabytes(n_bytes: u64) -> f64 {
    n_bytes as f64 / 1e6
}
