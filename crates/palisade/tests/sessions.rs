//! Kills a whole server, again and again, under sessions that talk with QoS 1 and 2: nothing that
//! was acknowledged is lost, nothing of QoS 2 comes twice, the order of each publisher is kept.
//!
//! `PALISADE_SESSION_KILLS=COUNT:SEED` says how often; `cargo xtask soak sessions` runs the full
//! count. SIGKILL leaves what the kernel has written, so this says nothing of a power cut.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

#[path = "sessions/client.rs"]
mod client;

use std::sync::Arc;
use std::time::Duration;

use messaging::mqtt::QoS;
use tokio::sync::watch;
use tokio::task::JoinSet;

use client::{Client, Counts};
use rig::api::Line;
use rig::device::{Device, Home};
use rig::dice::{Dice, wanted};
use rig::run::Run;

/// How long messages go on at most before the blow falls, in milliseconds.
const LOAD: u64 = 700;
/// How long what is left may take to arrive.
const REST: Duration = Duration::from_secs(60);

#[test]
fn nothing_acknowledged_is_lost_and_nothing_comes_twice_when_the_server_is_killed() {
    let (n_kills, seed) = wanted("PALISADE_SESSION_KILLS", 6);
    let kept = tempfile::tempdir().unwrap();
    rig::keep_program(kept.path());
    tokio::runtime::Runtime::new().unwrap().block_on(kill_again_and_again(n_kills, seed));
}

async fn kill_again_and_again(n_kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut dice = Dice::seeded(seed);
    let mut clients = Vec::new();
    let (mut n_before_ready, mut n_stopped) = (0, 0);
    for round in 0..n_kills {
        let mut run = Run::start(&data, &[]);
        if round > 0 && dice.below(5) == 0 {
            let moment = Duration::from_millis(dice.below(500));
            if tokio::time::timeout(moment, run.ready()).await.is_err() {
                n_before_ready += 1;
            }
            run.kill(dice.below(2) == 0);
            continue;
        }
        let ready = run.ready().await.unwrap_or_else(|line| panic!("round {round}: {line}"));
        let home = Home::of(&ready, &mut Line::local(&data).await.unwrap()).await.unwrap();
        if clients.is_empty() {
            clients = enrol(&data, &mut dice).await;
            for client in &mut clients {
                client.begin(&home).await;
            }
        }
        let (_going, goes) = watch::channel(true);
        let tasks = talk(&mut clients, &home, &goes, &mut dice);
        tokio::time::sleep(Duration::from_millis(dice.below(LOAD))).await;
        // Some ends are ordinary.
        if dice.below(10) == 0 {
            n_stopped += 1;
            run.stop();
        } else {
            run.kill(dice.below(2) == 0);
        }
        clients = tasks.join_all().await;
    }

    let mut run = Run::start(&data, &[]);
    let ready = run.ready().await.unwrap();
    let home = Home::of(&ready, &mut Line::local(&data).await.unwrap()).await.unwrap();
    let (going, goes) = watch::channel(true);
    let tasks = talk(&mut clients, &home, &goes, &mut dice);
    going.send(false).unwrap();
    let rest = tokio::time::timeout(REST, tasks.join_all()).await;
    clients = rest.expect("what is left does not arrive");
    run.stop();
    let published: Vec<_> = clients.iter().filter_map(Client::published).collect();
    for client in &clients {
        client.check(&published);
    }
    let counts: Counts = clients.iter().map(|client| client.counts).sum();
    println!(
        "{n_kills} ends, {n_before_ready} before it was ready, {n_stopped} ordinary: {counts:?}"
    );
}

/// Lets all of them talk until the server is gone, or until they have nothing more to say.
fn talk(
    clients: &mut Vec<Client>,
    home: &Home,
    goes: &watch::Receiver<bool>,
    dice: &mut Dice,
) -> JoinSet<Client> {
    let clients = std::mem::take(clients).into_iter();
    let talk =
        clients.map(|client| client.talk(home.clone(), goes.clone(), Dice::seeded(dice.throw())));
    talk.collect()
}

/// Two who publish, and two who hear all of it.
async fn enrol(data: &std::path::Path, dice: &mut Dice) -> Vec<Client> {
    let mut line = Line::local(data).await.unwrap();
    let wanted = [
        ("pump-1", "pump", None),
        ("pump-2", "pump", None),
        ("once", "application", Some(QoS::AtLeastOnce)),
        ("twice", "application", Some(QoS::ExactlyOnce)),
    ];
    let (mut clients, pace) = (Vec::new(), Arc::default());
    for (id, kind, hears) in wanted {
        let mut device = Device::add(&mut line, id, kind, dice).await.unwrap();
        device.enrol(&mut line).await.unwrap();
        clients.push(Client::of(device, hears, Arc::clone(&pace)));
    }
    clients
}
