//! A listener without TLS and with an open policy, for suites that try what a broker does.
//!
//! It has a broker of its own, on a thread of its own: nothing that comes in here meets a device,
//! a standing or a decision, and whoever opens it has opened nothing else.

use std::collections::HashMap;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::Context;
use bytes::BytesMut;
use messaging::broker::{Batch, Broker, ConnId, Guard, Holder, Limits, Ruling, Share};
use messaging::mqtt::{Connect, QoS, Reason};
use messaging::text::Text;
use messaging::topic::{Filter, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use crate::clock::Clock;
use crate::connection;
use crate::hub::{Calls, Input};

/// Serves whoever comes until the runtime ends; if that fails, says so.
pub(crate) async fn keep_or_say(listener: TcpListener, limits: Limits) {
    if let Err(error) = keep(listener, limits).await {
        error!(%error, "the test listener is closed");
    }
}

async fn keep(listener: TcpListener, limits: Limits) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the test listener is not usable")?;
    anyhow::ensure!(address.ip().is_loopback(), "the test listener must listen on loopback only");
    let listener = crate::listen(listener)?;
    warn!(%address, "whoever reaches this listener may do anything on it: it is for tests only");
    let limits = limits_for_tests(limits);
    let packets = limits.packet;
    let room = limits.batches_in_flight.max(1) + 1;
    let (inputs_in, inputs) = mpsc::channel(ROOM);
    let (sent_in, sent) = mpsc::channel(ROOM);
    let (visitors_in, visitors) = mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("the test broker's runtime could not be made")?;
    std::thread::Builder::new()
        .name("test broker".to_owned())
        .spawn(move || runtime.block_on(turn(Broker::new(limits), inputs, sent, visitors)))
        .context("the test broker's thread could not be started")?;
    let calls = Calls { inputs: inputs_in, sent: sent_in };
    loop {
        let accepted = listener.accept().await;
        let Ok(stream) = accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream))
        else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (batches_in, batches) = mpsc::channel(room);
        let (answer, answered) = oneshot::channel();
        visitors_in.send((batches_in, answer)).await.context("the test broker has ended")?;
        let calls = calls.clone();
        tokio::spawn(async move {
            if let Ok(conn) = answered.await {
                connection::serve(stream, conn, batches, &calls, packets, BytesMut::new()).await;
            }
        });
    }
}

/// What suites expect beyond the specification: a keep-alive that is told to those who want a longer
/// one, and room for all their clients at once.
fn limits_for_tests(limits: Limits) -> Limits {
    let per_holder = Share {
        sessions: limits.sessions,
        subscriptions: limits.subscriptions,
        filter_levels: limits.filter_levels,
        retained_messages: limits.retained_messages,
        retained_bytes: limits.retained_bytes,
        pooled_bytes: limits.queue_bytes_pool,
    };
    Limits { keep_alive: KEEP_ALIVE, per_holder, connections: CONNECTIONS, ..limits }
}

type Visitor = (mpsc::Sender<Batch>, oneshot::Sender<ConnId>);

/// Turns the broker as the gateway's own is turned.
async fn turn(
    mut broker: Broker<Anyone>,
    mut inputs: mpsc::Receiver<Input>,
    mut sent: mpsc::Receiver<ConnId>,
    mut visitors: mpsc::Receiver<Visitor>,
) {
    let clock = Clock::start();
    let mut lines: HashMap<ConnId, mpsc::Sender<Batch>> = HashMap::new();
    let mut n_visitors = 0_u64;
    loop {
        let due = broker.poll_timeout().map(|moment| clock.at(moment));
        tokio::select! {
            biased;
            Some(conn) = sent.recv() => broker.handle_sent(conn),
            Some((batches, answer)) = visitors.recv() => {
                n_visitors += 1;
                let assigned = Text::clipped(&format!("visitor-{n_visitors}"));
                if let Ok(conn) = broker.open(Anyone, assigned, clock.moment()) {
                    lines.insert(conn, batches);
                    // The broker's time limit ends a connection that nobody waits for any more.
                    let _ = answer.send(conn);
                }
            }
            input = inputs.recv() => match input {
                Some(Input::Packets { conn, packets }) => {
                    for packet in packets {
                        broker.handle_packet(conn, packet, &mut Open, clock.moment());
                    }
                }
                Some(Input::Fault { conn, error }) => {
                    broker.handle_fault(conn, &error, &mut Open, clock.moment());
                }
                Some(Input::Closed(conn)) => {
                    lines.remove(&conn);
                    broker.handle_closed(conn, &mut Open, clock.moment());
                }
                Some(Input::Open(_) | Input::Refused { .. }) => {}
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(|| Instant::now() + IDLE)) => {}
        }
        if broker.poll_timeout().is_some_and(|due| due <= clock.moment()) {
            broker.handle_timeout(&mut Open, clock.moment());
        }
        while let Some((conn, batch)) = broker.poll_transmit(clock.moment()) {
            let closes = batch.then_close;
            let is_sent = lines.get(&conn).is_some_and(|line| line.try_send(batch).is_ok());
            if closes || !is_sent {
                lines.remove(&conn);
            }
            if !is_sent {
                broker.handle_closed(conn, &mut Open, clock.moment());
            }
        }
        // What happens here is nobody's record.
        while broker.poll_event().is_some() {}
    }
}

/// Nobody here proves who they are.
#[derive(Debug, Clone)]
struct Anyone;

impl Holder for Anyone {
    type Name = ();

    fn name(&self) -> &() {
        &()
    }
}

/// Everything is allowed but one subscription, by which suites see a refusal.
struct Open;

impl Guard<Anyone> for Open {
    fn connect(&mut self, _: &Anyone, _: &Text, _: &Connect) -> Ruling {
        Ruling::Allow
    }

    fn publish(&mut self, _: &Anyone, _: &Topic, _: bool, _: QoS, _: usize) -> Ruling {
        Ruling::Allow
    }

    fn subscribe(&mut self, _: &Anyone, filter: &Filter) -> Ruling {
        match filter.as_str() {
            REFUSED => {
                let reason = Text::from_static("this filter is always refused");
                Ruling::Deny { code: Reason::Unspecified, reason }
            }
            _ => Ruling::Allow,
        }
    }

    fn receive(&mut self, _: &Anyone, _: &Topic) -> Ruling {
        Ruling::Allow
    }
}

/// The filter that nobody may subscribe to.
const REFUSED: &str = "test/nosubscribe";
/// The longest keep-alive, in seconds.
const KEEP_ALIVE: NonZeroU16 = NonZeroU16::new(60).expect("it isn't zero");
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// The most connections: descriptors are shared with the devices' door.
const CONNECTIONS: usize = 1_000;
/// How many inputs may wait.
const ROOM: usize = 256;
/// How long the broker sleeps when it waits for nothing.
const IDLE: Duration = Duration::from_secs(3600);
