//! The centre: custody of the CA, the store, the registry, the API and the console.
//!
//! Each capability has its own folder with up to three rooms: its routes, its queries, its job.
//! [`custody`] is a process of its own; [`run`] is the other one, and holds no signing key.

pub mod backup;
pub mod custody;
pub mod fuzz;

mod api;
mod body;
mod centre;
mod clock;
mod console;
mod enrolment;
mod listener;
mod live;
mod metrics;
mod people;
mod policies;
mod problem;
mod record;
mod registry;
mod response;
mod standing;
mod store;

use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use identity::certificate::ServerName;
use identity::{Certificate, Fingerprint, SiteId};
use journal::vault::SealingKey;
use ledger::VerifierKey;
use tokio::sync::{broadcast, mpsc, watch};
use tracing::{info, warn};
use zeroize::Zeroizing;

pub use api::description;
pub use store::StoreError;

use backup::{Desk, Restored};
use centre::Centre;
use custody::Custody;
use record::{Actor, Draft};
use store::Store;

/// What the supervisor hands to control.
pub struct Setup {
    /// The folder that only control may open.
    pub folder: PathBuf,
    /// What it seals under.
    pub secret: Zeroizing<[u8; 32]>,
    /// A PostgreSQL address, where the store is not the file in the folder.
    pub store: Option<String>,
    /// The other end is custody's.
    pub custody: UnixStream,
    /// The other end is the gateway's.
    pub gateway: UnixStream,
    /// Bound already.
    pub https: TcpListener,
    /// Bound already, and open to nobody else.
    pub local: UnixListener,
    /// The names under which servers are reached; the first is the common name.
    pub names: Vec<ServerName>,
    /// Where devices are told to go.
    pub addresses: Addresses,
    /// Whether to make a sign-in link where nobody can sign in yet. Not when control was started
    /// anew by itself: the link that was shown stays good.
    pub invite: bool,
    /// The program's version.
    pub version: &'static str,
}

/// Where devices and people are told to go.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Console and API, as `https://host:port`.
    pub server: String,
    /// The broker, as `host:port`.
    pub broker: String,
}

/// What control says when it serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Path and fragment of the sign-in page, where nobody can sign in yet.
    pub sign_in_link: Option<String>,
    /// The fingerprint of the root authority.
    pub root: Fingerprint,
}

/// The name of the administrator that the first run makes.
const ADMINISTRATOR: &str = "admin";
/// The site that the first run makes, so that a first device has a place.
const FIRST_SITE: (&str, &str) = ("main", "Main site");
/// How long the last events may take into the ledger.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// How often time's own changes are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Serves until told to stop; what was acknowledged before is durable.
pub async fn run(
    setup: Setup,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let custody = Custody::start(setup.custody).context("cannot use the link to custody")?;
    let store = match &setup.store {
        Some(url) => Store::connect(url).await.context("cannot use the PostgreSQL store")?,
        None => Store::open_file(&setup.folder.join("store.sqlite"))
            .await
            .context("cannot use the store")?,
    };
    let secret = SealingKey::new(&setup.secret);
    let (centre, moves) =
        assemble(custody, store.clone(), setup.folder, secret, setup.addresses, setup.version)
            .await?;
    let root = centre.root;
    let sign_in_link = first_steps(&centre, setup.invite).await?;
    serve(
        &centre,
        setup.https,
        setup.local,
        setup.gateway,
        setup.names,
        moves,
        || {
            ready(Ready { sign_in_link, root });
        },
        stop,
    )
    .await?;

    if let Err(error) = record_the_end(&centre, &store).await {
        warn!(%error, "not everything was recorded before control stopped; the next run does it");
    }
    if let Err(error) = centre.recorder.sign_all(&centre.custody).await {
        warn!(%error, "the last checkpoint was not signed");
    }
    store.close().await;
    drop(centre);
    info!("control has stopped");
    Ok(())
}

/// Notes that control stops, and waits until that and all before it is in the ledger.
async fn record_the_end(centre: &Centre, store: &Store) -> anyhow::Result<()> {
    let mut write = store.write().await?;
    let stopped = Draft::new("system.stopped", &Actor::System("control"));
    centre.note(&mut write.connection(), stopped, clock::now()).await?;
    write.commit().await?;
    tokio::time::timeout(LAST_EVENTS, centre.recorder.settle(store)).await??;
    Ok(())
}

/// Opens the record and puts the shared state together.
async fn assemble(
    custody: Custody,
    store: Store,
    folder: PathBuf,
    secret: SealingKey,
    addresses: Addresses,
    version: &'static str,
) -> anyhow::Result<(Arc<Centre>, mpsc::Receiver<centre::Moved>)> {
    let authorities = custody.describe().await.context("custody does not answer")?;
    let key: VerifierKey = authorities.record.parse().context("custody's record key")?;
    let ledger = folder.join("ledger");
    let open = move || journal::Record::open(&ledger, key, journal::Options::default());
    let (record, recovery) =
        tokio::task::spawn_blocking(open).await?.context("cannot use the record")?;
    if recovery.n_cut_bytes > 0 {
        let n_bytes = recovery.n_cut_bytes;
        warn!(n_bytes, "the record ended in the middle of an event that was never acknowledged");
    }
    let (live, _) = broadcast::channel(live::BACKLOG);
    let record = Arc::new(record);
    let restored = Restored::read(&folder)?;
    record::reconcile(&record, &store, &secret, restored.as_ref(), clock::now()).await?;
    if restored.is_some() {
        Restored::remove(&folder)?;
    }
    let recorder = record::start(record, store.clone(), custody.clone(), live.clone());
    let now = clock::now();
    let abandoned = enrolment::finish_intents(&store).await?;
    if abandoned > 0 {
        warn!(abandoned, "certificates that were being issued when control stopped were abandoned");
    }
    let mut write = store.write().await?;
    let mut c = write.connection();
    let rules = policies::load(&mut c, now).await?;
    let people = people::load_keys(&mut c, &secret).await?;
    standing::forget_connections(&mut c, now).await?;
    write.commit().await?;
    let (moved, moves) = mpsc::channel(standing::MOVED);
    let (rules, _) = watch::channel(rules);
    let root = Fingerprint::of_der(&authorities.root);
    let issuing = Certificate::parse(&authorities.issuing).context("the issuing authority")?;
    let centre = Centre {
        store,
        custody,
        authorities,
        root,
        issuing,
        recorder,
        secret,
        live,
        moved,
        rules,
        people: RwLock::new(people),
        guesses: people::Guesses::new(),
        sessions: Mutex::default(),
        addresses,
        version,
        metrics: metrics::Metrics::new(),
        desk: Desk::in_folder(folder).context("cannot use control's folder")?,
    };
    Ok((Arc::new(centre), moves))
}

/// Makes what a first run needs, and notes that control started.
async fn first_steps(centre: &Arc<Centre>, invite: bool) -> anyhow::Result<Option<String>> {
    let problem =
        |_: problem::Problem| anyhow::anyhow!("the first administrator could not be made");
    let link = match invite {
        true => people::administrator_link(centre, ADMINISTRATOR).await.map_err(problem)?,
        false => None,
    };
    let now = clock::now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if c.row("select id from site limit 1", Vec::new()).await?.is_none() {
        let id: SiteId = FIRST_SITE.0.parse()?;
        registry::places::add_site(&mut c, &id, FIRST_SITE.1, now).await?;
    }
    let started =
        Draft::new("system.started", &Actor::System("control")).with("version", centre.version);
    centre.note(&mut c, started, now).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok(link)
}

#[expect(clippy::too_many_arguments, reason = "each is one way in or out, named at the one caller")]
async fn serve(
    centre: &Arc<Centre>,
    https: TcpListener,
    local: UnixListener,
    gateway: UnixStream,
    names: Vec<ServerName>,
    moves: mpsc::Receiver<centre::Moved>,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let tls = listener::tls(centre, &names).await?;
    let router = api::router(Arc::clone(centre));
    https.set_nonblocking(true)?;
    local.set_nonblocking(true)?;
    let https = tokio::net::TcpListener::from_std(https)?;
    let local = tokio::net::UnixListener::from_std(local)?;
    let (stopping, stopped) = watch::channel(false);
    let (renewed, tls) = watch::channel(tls);
    let renewing = tokio::spawn(listener::renew(Arc::clone(centre), names.clone(), renewed));
    let https = tokio::spawn(listener::https(https, tls, router.clone(), stopped.clone()));
    let local = tokio::spawn(listener::local(local, router, stopped));
    let mut gateway = tokio::spawn(standing::serve(Arc::clone(centre), gateway, moves, names));
    let sweeping = tokio::spawn(sweep(Arc::clone(centre)));
    ready();
    tokio::pin!(stop);
    let result = tokio::select! {
        // Told to stop, that the gateway ends at the same time is no accident.
        biased;
        () = &mut stop => Ok(()),
        ended = &mut gateway => match ended {
            Ok(Ok(())) => Err(anyhow::anyhow!("the gateway closed its link")),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        },
    };
    // The gateway goes first, so what it observed last is still taken while it ends.
    if result.is_ok() {
        let _ = tokio::time::timeout(Duration::from_secs(5), &mut gateway).await;
    }
    stopping.send_replace(true);
    let _ = tokio::join!(https, local);
    sweeping.abort();
    renewing.abort();
    result
}

/// Looks for what time alone changes.
async fn sweep(centre: Arc<Centre>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        centre.guesses.tidy();
        if let Err(error) = sweep_once(&centre).await {
            warn!(%error, "what time changed could not be looked for");
        }
    }
}

async fn sweep_once(centre: &Centre) -> Result<(), StoreError> {
    let now = clock::now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let changed = registry::attention::sweep(&mut c, now).await?;
    policies::forget_old(&mut c, now).await?;
    write.commit().await?;
    if !changed.is_empty() {
        centre.devices_seen(changed);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
