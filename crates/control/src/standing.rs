//! The standing: what gateways must know of the registry, sent to them signed, as a snapshot and
//! then as changes; and what they observe, coming back.

mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anyhow::Context as _;
use identity::certificate::ServerName;
use identity::request::Request;
use identity::{DeviceId, Time};
use policy::standing::{Changes, Delta, Snapshot};
use policy::{Downlink, Observation, Uplink};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::centre::{Centre, Moved};
use crate::enrolment::server_certificate;
use crate::registry::device;
use crate::store::{StoreError, params};

/// How many changes of the registry may wait to be sent.
pub(crate) const MOVED: usize = 1024;
/// How often recording observations is tried before control gives up and is started anew; while
/// the store's server is not there that does not count.
const RECORD_TRIES: u32 = 30;
/// How many observations are recorded together: whoever else wants to write waits that long.
const RECORD_AT_ONCE: usize = 64;
/// How long it waits between two tries.
const RECORD_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// How many messages may wait for the gateway.
const QUEUE: usize = 64;

/// Serves one gateway until its link ends.
pub(crate) async fn serve(
    centre: Arc<Centre>,
    link: UnixStream,
    moved: mpsc::Receiver<Moved>,
    names: Vec<ServerName>,
) -> anyhow::Result<()> {
    link.set_nonblocking(true).context("cannot use the link to the gateway")?;
    let link =
        tokio::net::UnixStream::from_std(link).context("cannot use the link to the gateway")?;
    let (reader, writer) = link.into_split();
    let (down, queue) = mpsc::channel(QUEUE);
    let (heard, hears) = mpsc::channel(QUEUE);
    tokio::spawn(write_down(queue, writer));
    let listening = tokio::spawn(read_up(reader, heard));
    let result = converse(&centre, &names, moved, hears, &down).await;
    listening.abort();
    result
}

async fn converse(
    centre: &Arc<Centre>,
    names: &[ServerName],
    mut moved: mpsc::Receiver<Moved>,
    mut hears: mpsc::Receiver<Uplink>,
    down: &mpsc::Sender<Downlink>,
) -> anyhow::Result<()> {
    // The sequence that the gateway is brought to; none until it said hello.
    let mut at: Option<u64> = None;
    // Recording has its own task: no change of the standing waits for it.
    let (reports, reported) = mpsc::channel(QUEUE);
    let mut recording = tokio::spawn(record(Arc::clone(centre), reported, down.clone()));
    loop {
        tokio::select! {
            ended = &mut recording => return ended.context("recording has died")?,
            uplink = hears.recv() => match uplink {
                None => {
                    // What is reported already is recorded; of what changes nobody needs to be told.
                    drop(reports);
                    moved.close();
                    return recording.await.context("recording has died")?;
                }
                Some(Uplink::Hello { versions, csr, sequence }) => {
                    if !versions.contains(&policy::link::VERSION) {
                        anyhow::bail!("the gateway speaks versions {versions:?} of the link, and this is {}", policy::link::VERSION);
                    }
                    send(down, certificate(centre, names, &csr).await?).await?;
                    at = Some(snapshot(centre, sequence, down).await?);
                }
                Some(Uplink::NeedSnapshot) => at = Some(snapshot(centre, at.unwrap_or_default(), down).await?),
                Some(Uplink::Observations { number, items }) => {
                    // Were the task gone, the loop ends with why.
                    let _ = reports.send((number, items)).await;
                }
            },
            first = moved.recv() => {
                let Some(first) = first else { return Ok(()) };
                let mut all = vec![first];
                while let Ok(more) = moved.try_recv() {
                    all.push(more);
                }
                // Before the first snapshot there is nothing to change: it will hold all this.
                if let Some(from) = at {
                    at = Some(changes(centre, from, &all, down).await?);
                }
            }
        }
    }
}

/// Records what is reported, and acknowledges it only then: until then the gateway keeps it.
async fn record(
    centre: Arc<Centre>,
    mut reported: mpsc::Receiver<(u64, Vec<Observation>)>,
    down: mpsc::Sender<Downlink>,
) -> anyhow::Result<()> {
    while let Some((mut number, mut items)) = reported.recv().await {
        // What came meanwhile is recorded with it: the busier it is, the fewer commits for each.
        while items.len() < RECORD_AT_ONCE
            && let Ok((later, more)) = reported.try_recv()
        {
            number = later;
            items.extend(more);
        }
        let mut seen = Vec::new();
        for few in items.chunks(RECORD_AT_ONCE) {
            seen.append(&mut record_at_last(&centre, few).await?);
        }
        centre.devices_seen(seen);
        send(&down, Downlink::Recorded { number }).await?;
    }
    Ok(())
}

pub(crate) async fn record_at_last(
    centre: &Arc<Centre>,
    items: &[Observation],
) -> anyhow::Result<Vec<DeviceId>> {
    let mut n_tries = 0;
    while n_tries < RECORD_TRIES {
        match observed::record(centre, items).await {
            Ok(seen) => return Ok(seen),
            Err(problem) => {
                n_tries += u32::from(!problem.is_passing());
                error!(?problem, n_observations = items.len(), "observations wait to be recorded")
            }
        }
        tokio::time::sleep(RECORD_AGAIN).await;
    }
    anyhow::bail!("observations could not be recorded in {RECORD_TRIES} tries")
}

async fn send(down: &mpsc::Sender<Downlink>, message: Downlink) -> anyhow::Result<()> {
    down.send(message).await.context("the gateway is gone")
}

/// Sequences never go back, also not over a restart or a clock that was set back.
fn next(after: u64, now: Time) -> u64 {
    u64::try_from(now.millis()).unwrap_or_default().max(after.saturating_add(1))
}

async fn snapshot(
    centre: &Centre,
    after: u64,
    down: &mpsc::Sender<Downlink>,
) -> anyhow::Result<u64> {
    let now = centre.now();
    let sequence = next(after, now);
    let mut read = centre.store.read_at_last().await?;
    let mut c = read.connection();
    let policy = centre.rules.borrow().policy.clone();
    let snapshot = Snapshot {
        sequence,
        issued: now,
        policy,
        devices: device::standings(&mut c).await?,
        revoked: device::revoked(&mut c, now).await?,
    };
    drop(read);
    let n_devices = snapshot.devices.len();
    let signed = centre.custody.sign_snapshot(minicbor::to_vec(&snapshot)?).await?;
    info!(sequence, n_devices, n_bytes = signed.len(), "standing sent to the gateway");
    send(down, Downlink::Snapshot(signed)).await?;
    Ok(sequence)
}

async fn changes(
    centre: &Centre,
    from: u64,
    moved: &[Moved],
    down: &mpsc::Sender<Downlink>,
) -> anyhow::Result<u64> {
    let now = centre.now();
    let to = next(from, now);
    let ids: BTreeSet<&DeviceId> = moved.iter().flat_map(Moved::devices).collect();
    let mut deltas = Vec::new();
    if moved.iter().any(|moved| matches!(moved, Moved::Policy)) {
        let policy = centre.rules.borrow().policy.clone();
        deltas.push(Delta::Policy(Box::new(policy)));
    }
    let ids: Vec<&DeviceId> = ids.into_iter().collect();
    let mut read = centre.store.read_at_last().await?;
    let mut c = read.connection();
    let revoked = device::revoked_of(&mut c, &ids, now).await?;
    let standings = device::standings_of(&mut c, &ids).await?;
    drop(read);
    let mut standings: BTreeMap<_, _> =
        standings.into_iter().map(|standing| (standing.id.clone(), standing)).collect();
    deltas.extend(ids.into_iter().map(|id| match standings.remove(id) {
        Some(standing) => Delta::Device(Box::new(standing)),
        None => Delta::Gone(id.clone()),
    }));
    if !revoked.is_empty() {
        // First, so that whoever reads the changes in order knows why a certificate went.
        deltas.insert(0, Delta::Revoked(revoked));
    }
    debug!(from, to, n_deltas = deltas.len(), "standing changed");
    let changes = Changes { from, to, issued: now, deltas };
    let signed = centre.custody.sign_changes(minicbor::to_vec(&changes)?).await?;
    send(down, Downlink::Changes(signed)).await?;
    Ok(to)
}

impl Moved {
    fn devices(&self) -> &[DeviceId] {
        match self {
            Self::Devices(ids) => ids,
            Self::Policy => &[],
        }
    }
}

async fn certificate(
    centre: &Centre,
    names: &[ServerName],
    csr: &[u8],
) -> anyhow::Result<Downlink> {
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let request =
        Request::parse(csr, algorithms.all).context("the gateway's certificate request")?;
    let chain = server_certificate(centre, names, request.key().clone()).await;
    let chain =
        chain.map_err(|_| anyhow::anyhow!("the gateway's certificate could not be issued"))?;
    // Devices have the root; the gateway sends what stands below it.
    Ok(Downlink::ServerCertificate { chain: chain.into_iter().take(2).collect() })
}

async fn write_down(mut queue: mpsc::Receiver<Downlink>, mut writer: OwnedWriteHalf) {
    while let Some(message) = queue.recv().await {
        let bytes = message.encode();
        let Ok(len) = u32::try_from(bytes.len()) else {
            warn!(n_bytes = bytes.len(), "a message to the gateway is too long");
            return;
        };
        if writer.write_u32(len).await.is_err() || writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_up(reader: OwnedReadHalf, heard: mpsc::Sender<Uplink>) {
    let mut reader = BufReader::new(reader);
    loop {
        let Ok(len) = reader.read_u32().await else { return };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > policy::link::MAX_UPLINK {
            warn!(n_bytes = len, "the gateway sent a message that is too long; its link ends");
            return;
        }
        let mut bytes = vec![0; len];
        if reader.read_exact(&mut bytes).await.is_err() {
            return;
        }
        match Uplink::decode(&bytes) {
            Ok(uplink) => {
                if heard.send(uplink).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "the gateway sent a message that is malformed; its link ends");
                return;
            }
        }
    }
}

/// Nobody is connected until a gateway says so.
pub(crate) async fn forget_connections(
    c: &mut crate::store::Connection<'_>,
    now: Time,
) -> Result<(), StoreError> {
    let sql = "update device set connection = 'away', connection_since = $1, peer = null, protocol = null \
               where connection = 'connected'";
    c.execute(sql, params![now]).await?;
    Ok(())
}
