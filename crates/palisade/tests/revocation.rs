//! A device that is revoked is out within a second, one or a thousand at once, among many sessions
//! that go on talking.
//!
//! `PALISADE_SESSIONS=COUNT:SEED` says how many; `cargo xtask soak revocation` runs the full count.
//! A tenth of that many are revoked one after the other, and as many at once in each way there is.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

#[path = "revocation/fleet.rs"]
mod fleet;

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

use fleet::{Ended, Fleet};
use rig::api::Line;
use rig::dice::wanted;
use rig::measure::{Times, show_weights};
use rig::run::Run;

/// Within what a revoked session must have ended.
const BOUND: Duration = Duration::from_secs(1);
/// How many calls of the API are under way at once, where each revokes one device.
const CALLS: usize = 64;

#[test]
fn a_revoked_device_is_out_within_a_second() {
    let (n_sessions, seed) = wanted("PALISADE_SESSIONS", 200);
    let n_sessions = usize::try_from(n_sessions).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(revoke(n_sessions, seed));
}

async fn revoke(n_sessions: usize, seed: u64) {
    let place = tempfile::tempdir().unwrap();
    rig::keep_program(place.path());
    let data = place.path().join("data");
    let mut run = Run::start(&data, &[]);
    let ready = run.ready().await.unwrap();
    let (n_single, n_at_once) = (n_sessions / 10, (n_sessions / 10).max(50));
    let n_typed = if n_sessions > 1_000 { 50 } else { 3 };

    let mut fleet =
        Fleet::enrol(&data, &ready, n_sessions + n_single + n_typed + 3 * n_at_once, seed).await;
    fleet.connect(n_sessions + n_single + n_typed).await;
    show_weights(&format!("{} sessions", fleet.n_open()), &run.pids());
    fleet.show_traffic().await;

    let times = one_after_the_other(&mut fleet, n_single).await;
    finish("one by one, call to closed socket", &times);
    let times = typed(&mut fleet, n_typed).await;
    finish("one by one, `device revoke` started to closed socket", &times);

    fleet.connect(n_at_once).await;
    let chosen = fleet.choose(n_at_once);
    let started = Instant::now();
    let mut line = Line::local(&data).await.unwrap();
    let ids: Vec<_> = chosen.iter().map(|idx| fleet.id(*idx)).collect();
    let body = json!({ "ids": ids, "reason": "stolen" });
    let answer = line.post("/v1/devices/revoke", &body).await.unwrap();
    let answered = started.elapsed();
    assert_eq!(answer.get("certificates").and_then(Value::as_u64), u64::try_from(n_at_once).ok());
    let times = fleet.ended(&chosen, |_| started).await;
    println!("one call for {n_at_once} devices answered after {answered:?}");
    finish("at once, one call to closed socket", &times);

    fleet.connect(n_at_once).await;
    let chosen = fleet.choose(n_at_once);
    let (calls, times) = many_calls(&mut fleet, &chosen).await;
    calls.show(&format!("at once, {CALLS} calls under way, start of all calls to closed socket"));
    finish("at once, own call to closed socket", &times);

    fleet.connect(n_at_once).await;
    let times = listed(&mut fleet, n_at_once).await;
    finish("at once, `device revoke -` started to closed socket", &times);

    let times = deaf(&mut fleet).await;
    finish("at once, call to a full socket let go", &times);

    fleet.check_refused(n_sessions / 10).await;
    fleet.show_traffic().await;
    fleet.check_others().await;
    drop(fleet);
    run.stop();
}

fn finish(what: &str, times: &Times) {
    times.show(what);
    assert!(times.worst() < BOUND, "{what}: {:?}", times.worst());
}

/// Revokes devices one after the other over one connection, each when the one before is out.
async fn one_after_the_other(fleet: &mut Fleet, n_single: usize) -> Times {
    let mut line = Line::local(&fleet.data).await.unwrap();
    let mut times = Times::default();
    let mut answers = Times::default();
    for idx in fleet.choose(n_single) {
        let path = format!("/v1/devices/{}/revoke", fleet.id(idx));
        let started = Instant::now();
        line.post(&path, &json!({ "reason": "stolen" })).await.unwrap();
        answers.add(started.elapsed());
        let Ended { at, told, .. } = fleet.wait_ended(idx).await;
        assert!(told, "{} was not told why", fleet.id(idx));
        times.add(at.saturating_duration_since(started));
        fleet.check_refused_now(idx).await;
    }
    answers.show("one by one, call to answer");
    times
}

/// Revokes devices with the command, as a person types it.
async fn typed(fleet: &mut Fleet, n_typed: usize) -> Times {
    let mut times = Times::default();
    for idx in fleet.choose(n_typed) {
        let mut command = rig::palisade();
        command.args(["device", "revoke", fleet.id(idx), "--data"]).arg(&fleet.data);
        let started = Instant::now();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = fleet.wait_ended(idx).await;
        times.add(ended.at.saturating_duration_since(started));
        assert!(output.await.unwrap().status.success());
    }
    times
}

/// Revokes devices with a call each, many under way; gives the times from the start of all and
/// from the start of each.
async fn many_calls(fleet: &mut Fleet, chosen: &[usize]) -> (Times, Times) {
    let lines = stream::iter(0..CALLS).then(|_| Line::local(&fleet.data)).collect::<Vec<_>>();
    let lines: Vec<_> = lines.await.into_iter().map(Result::unwrap).collect();
    let begun = Instant::now();
    let shares = chosen.chunks(chosen.len().div_ceil(CALLS));
    let calls = lines.into_iter().zip(shares).map(|(mut line, share)| {
        let ids: Vec<_> = share.iter().map(|idx| (*idx, fleet.id(*idx).to_owned())).collect();
        tokio::spawn(async move {
            let mut started = Vec::new();
            for (idx, id) in ids {
                started.push((idx, Instant::now()));
                let path = format!("/v1/devices/{id}/revoke");
                line.post(&path, &json!({ "reason": "stolen" })).await.unwrap();
            }
            started
        })
    });
    let mut started = std::collections::HashMap::new();
    for call in calls.collect::<Vec<_>>() {
        started.extend(call.await.unwrap());
    }
    let ended = fleet.ends(chosen).await;
    let since = |from: Instant, ended: &Ended| ended.at.saturating_duration_since(from);
    let all = ended.iter().map(|ended| since(begun, ended)).collect();
    let own = ended.iter().map(|ended| since(started[&ended.idx], ended)).collect();
    (all, own)
}

/// Revokes devices with one command that reads their ids.
async fn listed(fleet: &mut Fleet, n_at_once: usize) -> Times {
    let chosen = fleet.choose(n_at_once);
    let ids: String = chosen.iter().map(|idx| format!("{}\n", fleet.id(*idx))).collect();
    let mut command = rig::palisade();
    command.args(["device", "revoke", "-", "--reason", "stolen", "--data"]).arg(&fleet.data);
    let started = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ids.as_bytes()).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let times = fleet.ended(&chosen, |_| started).await;
    assert!(status.await.unwrap().success());
    times
}

/// Revokes applications that take nothing of what is sent to them, so that no last word reaches
/// them; gives how long it takes until the gateway has let go of their sockets.
async fn deaf(fleet: &mut Fleet) -> Times {
    let shouter = fleet.one("shouter", "pump").await;
    let (mut ids, mut sessions, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for idx in 0..10 {
        let device = fleet.one(&format!("deaf-{idx}"), "application").await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(fleet.home.mqtt).await.unwrap();
        ports.push(stream.local_addr().unwrap().port());
        let mut session = device.connect_over(stream, &fleet.home).await.unwrap();
        session.subscribe(&shouter.topic("pump")).await.unwrap();
        sessions.push(session);
        ids.push(device.id);
    }
    let mut shouting = shouter.connect(&fleet.home).await.unwrap();
    for _ in 0..12 {
        shouting.publish(&shouter.topic("pump"), &[7; 64 << 10]).await.unwrap();
        shouting.receive().await.unwrap();
    }
    let server = fleet.home.mqtt.port();
    assert!(sockets(server, &ports).iter().all(|socket| socket.is_open), "not all are connected");
    let mut line = Line::local(&fleet.data).await.unwrap();
    let started = Instant::now();
    line.post("/v1/devices/revoke", &json!({ "ids": ids, "reason": "stolen" })).await.unwrap();
    let times = tokio::task::spawn_blocking(move || {
        let mut times = Times::default();
        while !ports.is_empty() {
            let open = sockets(server, &ports);
            let open: Vec<_> = open.iter().filter(|s| s.is_open).map(|s| s.peer).collect();
            let n_before = ports.len();
            ports.retain(|port| open.contains(port));
            (ports.len()..n_before).for_each(|_| times.add(started.elapsed()));
            assert!(started.elapsed() < 10 * BOUND, "{} sockets are still open", ports.len());
        }
        times
    });
    let times = times.await.unwrap();
    drop(sessions);
    times
}

/// A server's socket.
struct Socket {
    peer: u16,
    is_open: bool,
}

/// Reads the server's sockets to these ports of clients, as the kernel has them.
fn sockets(server: u16, clients: &[u16]) -> Vec<Socket> {
    let port = |address: &str| {
        address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (own, peer) = (port(fields.next()?)?, port(fields.next()?)?);
        let is_open = fields.next()? == ESTABLISHED;
        (own == server && clients.contains(&peer)).then_some(Socket { peer, is_open })
    };
    table.lines().filter_map(socket).collect()
}

/// How the kernel writes that neither side has closed.
const ESTABLISHED: &str = "01";
