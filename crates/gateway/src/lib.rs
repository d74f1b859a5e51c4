//! The devices' front door: TLS, the decision per message, routing.
//!
//! A device comes in over TLS 1.3 with its own certificate, and every connection, message and
//! subscription of it is decided here, by what control has signed: the standing. The gateway knows
//! nothing else of control, and goes on without it.
//!
//! - Connections' tasks do TLS, read, decode and write (`door`, `tls`, `connection`).
//! - One task on a thread of its own owns the broker, the standing and the decisions, and takes
//!   what connections bring in turn: no message waits for a lock (`hub`, `guard`).
//! - What comes down the link is verified before anything acts on it (`link`); what is reported up
//!   it is folded and bounded (`observations`).
//!
//! - What sessions and retained messages need to outlive the gateway lies on the `shelf`; answers
//!   that promise it wait until it is durable there.
//!
//! Reports that control has not recorded yet live in memory only: a kill of the gateway loses them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use identity::certificate::ServerName;
use identity::{Anchor, PublicKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info};
use zeroize::Zeroizing;

mod address;
mod clock;
mod connection;
mod door;
mod guard;
mod hub;
mod insecure;
mod limits;
pub mod link;
mod metrics;
mod observations;
mod revoked;
mod shelf;
mod tls;
mod websocket;

pub use limits::Limits;
pub use tls::OldestTls;

use clock::Clock;
use door::Door;
use hub::{Beginning, Calls, Ways};
use metrics::Metrics;
use revoked::Revoked;
use shelf::Shelf;
use tls::Tls;
use tls::certificate::Presented;

/// What a gateway is given to start with.
pub struct Setup {
    /// The link to control.
    pub link: UnixStream,
    /// Where devices connect.
    pub mqtt: TcpListener,
    /// Where Prometheus may ask for counts.
    pub metrics: Option<TcpListener>,
    /// Where suites may try a broker of its own, without TLS and with an open policy; on loopback.
    pub insecure: Option<TcpListener>,
    /// The oldest version of TLS that devices may speak.
    pub oldest_tls: OldestTls,
    /// The names by which devices reach the gateway: its certificate must have them.
    pub names: Vec<ServerName>,
    /// The key that signs standing.
    pub standing_key: PublicKey,
    /// The issuing authority's certificate in DER: what devices' certificates are anchored on.
    pub issuing: Vec<u8>,
    /// The gateway's own folder.
    pub folder: PathBuf,
    /// What payloads are sealed with in it.
    pub secret: Zeroizing<[u8; 32]>,
    /// How far peers can make the gateway grow.
    pub limits: Limits,
}

/// Runs a gateway until `stop` or control tells it to end; `ready` is called when devices can
/// connect.
///
/// Connections are served on the runtime that this is called on; give it a thread or two.
pub async fn run(
    setup: Setup,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Setup { link, mqtt, metrics: scrapes, insecure, names, limits, .. } = setup;
    let (standing_key, issuing, oldest_tls) = (setup.standing_key, setup.issuing, setup.oldest_tls);
    let anchor =
        || Anchor::trust(&issuing).context("the issuing authority's certificate is not usable");
    let revoked = Revoked::default();
    let metrics = Metrics::new();
    let (current, certified) = watch::channel(None);
    let (inputs_in, inputs) = mpsc::channel(INPUTS);
    let (sent_in, sent) = mpsc::channel(SENT);
    let (durable_in, durable) = mpsc::channel(1);
    let (updates_in, updates) = mpsc::channel(UPDATES);
    let (uplink, messages) = mpsc::channel(MESSAGES);
    let (stop_hub, stop_heard) = watch::channel(false);

    // Dropping the set ends the tasks in it, whichever way this function is left.
    let mut tasks = JoinSet::new();
    link.set_nonblocking(true).context("the link to control is not usable")?;
    let link =
        tokio::net::UnixStream::from_std(link).context("the link to control is not usable")?;
    let (reader, writer) = link.into_split();
    tasks.spawn(link::receive(reader, standing_key, updates_in));
    tasks.spawn(link::send(writer, messages));
    if let Some(listener) = scrapes {
        tasks.spawn(metrics::serve(listen(listener)?, Arc::clone(&metrics)));
    }

    if let Some(listener) = insecure {
        tasks.spawn(insecure::keep_or_say(listener, limits.broker.clone()));
    }

    let clock = Clock::start();
    let shelf = Shelf::open(&setup.folder, &setup.secret, clock)?;
    let beginning = Beginning {
        clock,
        shelf,
        durable: durable_in,
        presented: Presented::new(anchor()?, names, current),
        revoked: revoked.clone(),
        metrics,
        ways: Ways { updates, inputs, sent, durable, uplink, stop: stop_heard },
    };
    let (opened_in, opened) = oneshot::channel();
    let mut ended = hub::spawn(beginning, opened_in, limits.clone())?;

    let mut doors = JoinSet::new();
    let calls = Calls { inputs: inputs_in, sent: sent_in };
    let keep_door = async {
        if opened.await.is_err() {
            // The task has ended already and says why.
            return std::future::pending().await;
        }
        let door = Door::new(Tls::new(anchor()?, revoked, certified, oldest_tls), calls, limits);
        let listener = listen(mqtt)?;
        let address = listener.local_addr().context("the listener is not usable")?;
        info!(%address, "devices can connect");
        doors.spawn(door.keep(listener));
        ready();
        doors.join_next().await;
        anyhow::bail!("the door has closed by itself")
    };
    let outcome: anyhow::Result<()> = tokio::select! {
        failed = keep_door => failed,
        ended = &mut ended => return ended.context("the broker's task has died")?,
        () = stop => Ok(()),
    };
    if let Err(error) = &outcome {
        error!(%error, "the door cannot be opened");
    }
    doors.shutdown().await;
    // Whoever has the receiver has ended by itself.
    let _ = stop_hub.send(true);
    ended.await.context("the broker's task has died")?.and(outcome)
}

fn listen(listener: TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    let failed = "the listener is not usable";
    listener.set_nonblocking(true).context(failed)?;
    tokio::net::TcpListener::from_std(listener).context(failed)
}

/// How many inputs may wait for the broker's task: with the largest of packets, 64 MiB.
const INPUTS: usize = 256;
/// How many notes of written batches may wait.
const SENT: usize = 1_024;
/// How many messages of control may wait, verified.
const UPDATES: usize = 16;
/// How many messages to control may wait to be written.
const MESSAGES: usize = 4;
