//! The broker's task: it alone owns the broker, the standing and the decisions, so that no message
//! waits for a lock.
//!
//! It turns in one loop: what comes down from control first, then what connections bring, then
//! time. Work that a change of policy makes for every session is done in slices between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use identity::{DeviceId, Fingerprint};
use messaging::broker::{Batch, Broker, ConnId, Holder};
use messaging::mqtt::{DecodeError, Packet, Reason};
use policy::{Refusal, Slot};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::info;

use crate::clock::{self, Clock};
use crate::guard::Gate;
use crate::limits::Limits;
use crate::link::Update;
use crate::metrics::Metrics;
use crate::observations::{Backlog, Refusals};
use crate::revoked::Revoked;
use crate::shelf::Keeper;
use crate::tls::certificate::Presented;
use crate::tls::{Leaf, Refused};

mod change;
mod line;
mod lobby;
mod own;
mod report;
mod start;

use line::Lines;
use lobby::Lobby;
pub(crate) use start::Beginning;

/// Who holds a connection: what the handshake proved and the standing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) slot: Slot,
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) peer: SocketAddr,
}

impl Holder for Principal {
    type Name = DeviceId;

    fn name(&self) -> &DeviceId {
        &self.device
    }
}

/// What connections bring.
pub(crate) enum Input {
    Open(Box<Opening>),
    Packets { conn: ConnId, packets: Vec<Packet> },
    Fault { conn: ConnId, error: DecodeError },
    Closed(ConnId),
    Refused { peer: SocketAddr, refused: Refused },
}

/// A proven peer that asks to be let in.
pub(crate) struct Opening {
    leaf: Leaf,
    peer: SocketAddr,
    batches: mpsc::Sender<Batch>,
    answer: oneshot::Sender<Result<ConnId, Refusal>>,
}

impl Opening {
    pub(crate) fn of(
        leaf: Leaf,
        peer: SocketAddr,
        batches: mpsc::Sender<Batch>,
    ) -> (Self, oneshot::Receiver<Result<ConnId, Refusal>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { leaf, peer, batches, answer }, receiver)
    }
}

/// How connections reach the broker's task.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) inputs: mpsc::Sender<Input>,
    /// Batches that were written. They have a way of their own: what comes in must not stand in
    /// the way of what lets messages out.
    pub(crate) sent: mpsc::Sender<ConnId>,
}

/// The task's ways in and out.
pub(crate) struct Ways {
    pub(crate) updates: mpsc::Receiver<Update>,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) sent: mpsc::Receiver<ConnId>,
    /// Word that the changes that were handed over last are durable.
    pub(crate) durable: mpsc::Receiver<()>,
    /// Encoded messages to control.
    pub(crate) uplink: mpsc::Sender<Vec<u8>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// The state that the broker's task owns.
pub(crate) struct Hub {
    broker: Broker<Arc<Principal>>,
    keeper: Keeper,
    gate: Gate,
    lines: Lines,
    lobby: Lobby,
    presented: Presented,
    revoked: Revoked,
    refusals: Refusals,
    backlog: Backlog,
    metrics: Arc<Metrics>,
    ways: Ways,
    clock: Clock,
    /// Devices whose sessions are to be decided again, and for which sequence.
    pending: VecDeque<Slot>,
    reaching: Option<change::Reaching>,
    needs_snapshot: bool,
    asked_snapshot: Option<Instant>,
    next_beat: Instant,
    next_round: Instant,
    next_telling: Instant,
    n_overloaded: u64,
    is_stopping: bool,
}

impl Hub {
    /// Turns until it is told to stop; then ends every session in good order.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(INPUTS_AT_ONCE);
        let mut has_control = true;
        while !self.is_stopping {
            let (wake, mut update) = (self.wake(), None);
            tokio::select! {
                biased;
                _ = self.ways.stop.wait_for(|stop| *stop) => self.is_stopping = true,
                received = self.ways.updates.recv(), if has_control => {
                    has_control = received.is_some();
                    update = received;
                }
                word = self.ways.durable.recv() => {
                    word.context("the shelf's thread has died")?;
                    self.broker.handle_durable();
                }
                Some(conn) = self.ways.sent.recv() => self.broker.handle_sent(conn),
                _ = self.ways.inputs.recv_many(&mut batch, INPUTS_AT_ONCE) => {}
                () = sleep_until(wake) => {}
            }
            self.gate.set_time(clock::now(), self.clock.moment());
            if let Some(update) = update {
                self.handle_update(update);
            }
            batch.drain(..).for_each(|input| self.handle_input(input));
            while let Ok(conn) = self.ways.sent.try_recv() {
                self.broker.handle_sent(conn);
            }
            self.do_what_is_due()?;
            self.pump();
        }
        self.end().await
    }

    fn wake(&self) -> Instant {
        if !self.pending.is_empty() {
            return Instant::now();
        }
        let due = self.broker.poll_timeout().map(|moment| self.clock.at(moment));
        due.unwrap_or(self.next_beat).min(self.next_beat)
    }

    fn handle_input(&mut self, input: Input) {
        let now = self.clock.moment();
        match input {
            Input::Packets { conn, packets } => {
                for packet in packets {
                    self.broker.handle_packet(conn, packet, &mut self.gate, now);
                }
            }
            Input::Open(opening) => self.open(*opening, Instant::now() + lobby::PATIENCE),
            Input::Fault { conn, error } => {
                self.broker.handle_fault(conn, &error, &mut self.gate, now)
            }
            Input::Closed(conn) => self.close_line(conn),
            Input::Refused { peer, refused } => self.refuse(refused, peer),
        }
    }

    fn do_what_is_due(&mut self) -> anyhow::Result<()> {
        let moment = self.clock.moment();
        if self.broker.poll_timeout().is_some_and(|due| due <= moment) {
            self.broker.handle_timeout(&mut self.gate, moment);
        }
        self.redecide_slice();
        let now = Instant::now();
        if self.next_round <= now {
            self.next_round = now + ROUND;
            self.end_expired();
            self.renew()?;
            self.lines.rest(now);
            self.report_round();
            self.tell_of_itself(now);
        }
        if self.next_beat <= now {
            self.next_beat = now + BEAT;
            self.lobby.send_away_late(now);
            self.report_due(false);
        }
        self.ask_snapshot();
        self.send_reports();
        Ok(())
    }

    /// Asks for the next certificate of our own in time.
    fn renew(&mut self) -> anyhow::Result<()> {
        let now = self.gate.now();
        if self.presented.is_due(now)
            && let Ok(permit) = self.ways.uplink.try_reserve()
        {
            info!("the server certificate ends soon: asking for the next one");
            let csr = self.presented.ask(now).context("no request for a server certificate")?;
            permit.send(start::hello(csr, self.gate.standing().sequence()));
        }
        Ok(())
    }

    /// Hands out what the broker has for connections and for the shelf, and reads what it tells.
    fn pump(&mut self) {
        let now = self.clock.moment();
        self.transmit(now);
        if let Some(changes) = self.broker.poll_changes(now) {
            self.keeper.keep(changes);
        }
        // What waited for changes that came to nothing goes out too.
        self.transmit(now);
    }

    fn transmit(&mut self, now: messaging::time::Instant) {
        loop {
            while let Some((conn, batch)) = self.broker.poll_transmit(now) {
                if !self.lines.send(conn, batch) {
                    self.close_line(conn);
                }
            }
            let Some(event) = self.broker.poll_event() else { return };
            self.note(event);
        }
    }

    /// Lets go of a connection whose task is no more, whether the broker had ended it before or not.
    fn close_line(&mut self, conn: ConnId) {
        self.lines.remove(conn);
        self.broker.handle_closed(conn, &mut self.gate, self.clock.moment());
    }

    /// Says goodbye to everyone, and waits for the last report to be durable.
    async fn end(mut self) -> anyhow::Result<()> {
        let now = self.clock.moment();
        self.gate.set_time(clock::now(), now);
        for conn in self.lines.all() {
            self.broker.close(conn, Reason::ServerShuttingDown, None, &mut self.gate, now);
        }
        self.pump();
        // Every connection's task holds a sender: with the last one gone, all was said.
        let deadline = Instant::now() + GOODBYE;
        while let Ok(Some(input)) = timeout_at(deadline, self.ways.inputs.recv()).await {
            // Who comes now is not answered, and so turned away.
            if let Input::Refused { peer, refused } = input {
                self.refuse(refused, peer);
            }
        }
        self.keep_all().await;
        self.report_due(true);
        let deadline = Instant::now() + LAST_REPORT;
        while !self.backlog.is_settled() {
            self.send_reports();
            let look_again = (Instant::now() + BEAT).min(deadline);
            match timeout_at(look_again, self.ways.updates.recv()).await {
                Ok(Some(Update::Recorded(number))) => self.backlog.recorded(number),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) if Instant::now() >= deadline => break,
                Err(_) => {}
            }
        }
        self.report_round();
        if !self.backlog.is_settled() {
            tracing::warn!(
                n_waiting = self.backlog.len(),
                "control has not recorded the last reports; they are lost"
            );
        }
        // Word of a last batch may be on its way to us: its sender must not wait for that.
        drop(self.ways.durable);
        self.keeper.close();
        Ok(())
    }

    /// Makes durable what is not yet.
    async fn keep_all(&mut self) {
        let deadline = Instant::now() + LAST_REPORT;
        // First what the shelf is at work on, if it is; then all the rest in one batch.
        for _ in 0..2 {
            if let Some(changes) = self.broker.take_changes() {
                self.keeper.keep(changes);
            } else if !self.broker.waits_for_durable() {
                return;
            }
            if !matches!(timeout_at(deadline, self.ways.durable.recv()).await, Ok(Some(()))) {
                tracing::warn!("the last changes of sessions are not durable");
                return;
            }
            self.broker.handle_durable();
        }
    }
}

/// Says when all of it is over.
pub(crate) type Ended = oneshot::Receiver<anyhow::Result<()>>;

/// Runs the task on a thread of its own.
pub(crate) fn spawn(
    beginning: Beginning,
    opened: oneshot::Sender<()>,
    limits: Limits,
) -> anyhow::Result<Ended> {
    let (sender, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("the broker's runtime could not be made")?;
    let task = async move {
        match Box::pin(beginning.complete(limits)).await? {
            Some(hub) => {
                // Nobody listens if the gateway is told to stop at this moment.
                let _ = opened.send(());
                Box::pin(hub.run()).await
            }
            None => Ok(()),
        }
    };
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            // Nobody waits any more if the caller was dropped.
            let _ = sender.send(runtime.block_on(task));
        })
        .context("the broker's thread could not be started")?;
    Ok(ended)
}

/// How many inputs are taken in before what they cause is handed out: more would let messages
/// pile up for a receiver that is fast enough.
const INPUTS_AT_ONCE: usize = 16;
/// How often folded observations are looked at.
const BEAT: Duration = Duration::from_millis(100);
/// How often the rest is: what has expired, what is to be renewed, counts.
const ROUND: Duration = Duration::from_secs(1);
/// How long sessions may take to hear the last words.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the last report may take to be durable.
const LAST_REPORT: Duration = Duration::from_secs(3);

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) use tests::principal as principal_of_tests;
