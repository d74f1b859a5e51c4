//! How the broker's task begins: it says hello and waits for its first standing and certificate.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context;
use authority::Authority;
use identity::Verified;
use messaging::broker::Broker;
use policy::{Snapshot, Standing, Uplink, link};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use super::line::Lines;
use super::lobby::Lobby;
use super::{Hub, Principal, Ways};
use crate::clock::{self, Clock};
use crate::guard::Gate;
use crate::limits::Limits;
use crate::link::Update;
use crate::metrics::Metrics;
use crate::observations::{Backlog, Refusals};
use crate::revoked::Revoked;
use crate::shelf::{Owner, Shelf};
use crate::tls::certificate::Presented;

/// What there is before there is a standing: nobody is let in with this.
pub(crate) struct Beginning {
    pub(crate) clock: Clock,
    pub(crate) shelf: Shelf,
    /// How the shelf says that changes are durable.
    pub(crate) durable: mpsc::Sender<()>,
    pub(crate) presented: Presented,
    pub(crate) revoked: Revoked,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ways: Ways,
}

/// Writes the first message of the link, or the one that asks for the next certificate.
pub(super) fn hello(csr: Vec<u8>, sequence: u64) -> Vec<u8> {
    Uplink::Hello { versions: vec![link::VERSION], csr, sequence }.encode()
}

impl Beginning {
    /// Waits until all is there that is needed to let somebody in; none if it is told to stop.
    pub(crate) async fn complete(mut self, limits: Limits) -> anyhow::Result<Option<Hub>> {
        let csr = self.presented.ask(clock::now())?;
        self.ways.uplink.send(hello(csr, 0)).await.context("the link to control is closed")?;
        loop {
            let Some(update) = self.ways.next_update().await? else { return Ok(None) };
            match update {
                Update::Snapshot(snapshot, authority) => {
                    self.revoked.replace(&snapshot.revoked);
                    return self.hub(*snapshot, authority, limits)?.present().await;
                }
                Update::Certificate(chain) => self.presented.install(&chain, clock::now())?,
                Update::Changes(..) => self.ask_snapshot().await?,
                Update::Refused(text) => {
                    warn!(%text, "control sent what must not be acted on");
                    self.metrics.refused_documents.inc();
                    self.ask_snapshot().await?;
                }
                Update::Recorded(_) => {}
                Update::Shutdown => return Ok(None),
            }
        }
    }

    async fn ask_snapshot(&mut self) -> anyhow::Result<()> {
        // A pause: whoever sends nonsense shall not keep us busy asking.
        tokio::time::sleep(super::BEAT).await;
        let sent = self.ways.uplink.send(Uplink::NeedSnapshot.encode()).await;
        sent.context("the link to control is closed")
    }

    fn hub(
        self,
        snapshot: Verified<Snapshot>,
        authority: Authority,
        limits: Limits,
    ) -> anyhow::Result<Hub> {
        let Self { clock, mut shelf, durable, presented, revoked, metrics, ways } = self;
        let standing = Standing::from_snapshot(snapshot);
        let now = Instant::now();
        let mut broker = Broker::kept(limits.broker.clone());
        take_up(&mut broker, &mut shelf, &standing, clock)?;
        let keeper = shelf.work(durable, Arc::clone(&metrics))?;
        info!(sequence = standing.sequence(), n_devices = standing.len(), "standing held");
        let mut hub = Hub {
            gate: Gate::new(standing, authority, &limits, (clock::now(), clock.moment()))?,
            lines: Lines::bounded(&limits),
            lobby: Lobby::default(),
            backlog: Backlog::bounded(limits.observations),
            broker,
            keeper,
            refusals: Refusals::default(),
            presented,
            revoked,
            metrics,
            ways,
            clock,
            pending: VecDeque::new(),
            reaching: None,
            needs_snapshot: false,
            asked_snapshot: None,
            next_beat: now,
            next_round: now,
            next_telling: now,
            n_overloaded: 0,
            is_stopping: false,
        };
        hub.reach();
        Ok(hub)
    }
}

/// Takes up the sessions and retained messages of those who may still have any.
fn take_up(
    broker: &mut Broker<Arc<Principal>>,
    shelf: &mut Shelf,
    standing: &Standing,
    clock: Clock,
) -> anyhow::Result<()> {
    let owner = |owner: Owner| {
        let Owner { device, fingerprint, peer } = owner;
        let slot = standing.find(&device)?;
        let principal = Principal { slot, device, fingerprint, peer };
        (!super::change::is_lost(standing, &principal)).then(|| Arc::new(principal))
    };
    let rows = shelf.load(owner).context("what sessions left cannot be read")?;
    let n_rows = rows.len();
    let n_forgotten = broker.restore(rows, clock.moment());
    if n_rows > 0 {
        let sizes = broker.sizes();
        info!(
            n_sessions = sizes.sessions,
            n_retained = sizes.retained,
            n_rows,
            n_forgotten,
            "sessions taken up"
        );
    }
    Ok(())
}

impl Hub {
    /// Waits for the certificate, if it was not there when the standing was.
    async fn present(mut self) -> anyhow::Result<Option<Self>> {
        while !self.presented.is_there() {
            let Some(update) = self.ways.next_update().await? else { return Ok(None) };
            self.gate.set_time(clock::now(), self.clock.moment());
            match update {
                Update::Certificate(chain) => self.presented.install(&chain, self.gate.now())?,
                Update::Shutdown => return Ok(None),
                update => self.handle_update(update),
            }
            self.do_what_is_due()?;
        }
        Ok(Some(self))
    }
}

impl Ways {
    /// Waits for what comes down next; none if it is told to stop.
    async fn next_update(&mut self) -> anyhow::Result<Option<Update>> {
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => Ok(None),
            update = self.updates.recv() => {
                update.context("control closed the link before the gateway could open").map(Some)
            }
        }
    }
}
