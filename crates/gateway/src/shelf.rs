//! The shelf: what sessions and messages need to outlive the gateway, in a SQLite file of its own.
//!
//! The broker hands over batches of changes; each becomes one transaction, durable when it is said
//! to be. Payloads are sealed, names are not. A file that is damaged is set aside and a new one
//! begun: devices are let in even then.

mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use identity::{DeviceId, Fingerprint, Time};
use journal::vault::{SealingKey, SystemRandom};
use messaging::broker::{Change, Row};
use messaging::time::Instant;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::clock::{self, Clock};
use crate::hub::Principal;
use crate::metrics::Metrics;

/// A change of what the broker of devices holds.
pub(crate) type DeviceChange = Change<Arc<Principal>>;
/// A part of what it holds.
pub(crate) type DeviceRow = Row<Arc<Principal>>;

/// The file, before anybody works on it.
pub(crate) struct Shelf {
    connection: Connection,
    sealing: Sealing,
    clock: Clock,
}

/// The thread that works on it.
pub(crate) struct Keeper {
    batches: SyncSender<Vec<DeviceChange>>,
    thread: JoinHandle<()>,
}

/// How payloads are sealed.
struct Sealing {
    key: SealingKey,
    random: SystemRandom,
}

/// Who a row says it belongs to.
pub(crate) struct Owner {
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) peer: std::net::SocketAddr,
}

/// Something on the shelf cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("it has format {0}, and this program knows up to {FORMAT}; run the newer program")]
    Newer(i64),
    #[error("a payload cannot be sealed or opened: {0}")]
    Sealing(#[from] journal::vault::VaultError),
    #[error("a row's {0} is not what was written there")]
    Unreadable(&'static str),
}

impl Shelf {
    /// Opens the file in the gateway's folder, or makes it.
    pub(crate) fn open(folder: &Path, secret: &[u8; 32], clock: Clock) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let sealing = Sealing { key: SealingKey::new(secret), random: SystemRandom::new() };
        let connection = match connect(&path) {
            Err(ShelfError::Sqlite(error)) if is_damage(&error) => {
                set_aside(&path, &error)?;
                connect(&path)
            }
            opened => opened,
        };
        let connection = connection
            .with_context(|| format!("what sessions left in `{}` is not usable", path.display()))?;
        Ok(Self { connection, sealing, clock })
    }

    /// Reads everything, in the order in which a broker takes it up. What belongs to nobody any
    /// more, or cannot be read, is thrown away.
    pub(crate) fn load(
        &mut self,
        owner: impl FnMut(Owner) -> Option<Arc<Principal>>,
    ) -> Result<Vec<DeviceRow>, ShelfError> {
        let transaction = self.connection.transaction()?;
        let times = Times::now(self.clock);
        let mut loading = rows::Loading::new(&transaction, &self.sealing, times, owner);
        let rows = loading.all()?;
        let n_lost = loading.n_lost();
        transaction.commit()?;
        if n_lost > 0 {
            warn!(n_rows = n_lost, "rows of sessions could not be read; they are thrown away");
        }
        Ok(rows)
    }

    /// Begins to work on a thread of its own, which says each time that a batch is durable.
    pub(crate) fn work(
        mut self,
        durable: mpsc::Sender<()>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Keeper> {
        let (batches, work) = sync_channel::<Vec<DeviceChange>>(1);
        let thread = std::thread::Builder::new().name("shelf".to_owned());
        let work = move || {
            while let Ok(batch) = work.recv() {
                let mut n_tries = 0_u64;
                while let Err(error) = self.write(&batch) {
                    metrics.shelf_failing.set(1);
                    if n_tries.is_multiple_of(TRIES_PER_WORD) {
                        error!(%error, "what sessions need is not durable; who waits for it waits on");
                    }
                    n_tries += 1;
                    // Nothing comes before this is durable: what ends the wait is time, or the end.
                    if let Err(RecvTimeoutError::Disconnected) = work.recv_timeout(TRY_AGAIN) {
                        return;
                    }
                }
                metrics.shelf_failing.set(0);
                metrics.shelf_changes.inc_by(batch.len() as u64);
                metrics.shelf_batches.inc();
                if durable.blocking_send(()).is_err() {
                    return;
                }
            }
        };
        let thread = thread.spawn(work).context("the shelf's thread could not be started")?;
        Ok(Keeper { batches, thread })
    }

    fn write(&mut self, batch: &[DeviceChange]) -> Result<(), ShelfError> {
        let transaction = self.connection.transaction()?;
        let times = Times::now(self.clock);
        rows::Writing::new(&transaction, &self.sealing, times).all(batch)?;
        Ok(transaction.commit()?)
    }
}

impl Keeper {
    /// Hands over a batch; the one before must be durable.
    pub(crate) fn keep(&self, batch: Vec<DeviceChange>) {
        // The thread ends only with the gateway, and it has taken the batch before.
        let _ = self.batches.try_send(batch);
    }

    /// Waits until the file is closed.
    pub(crate) fn close(self) {
        drop(self.batches);
        if self.thread.join().is_err() {
            error!("the shelf's thread has died");
        }
    }
}

impl Sealing {
    fn seal(&self, place: &str, bytes: &[u8]) -> Result<Vec<u8>, ShelfError> {
        Ok(self.key.seal(place, bytes, &self.random)?)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Bytes, ShelfError> {
        Ok(Bytes::copy_from_slice(&self.key.open(place, sealed)?))
    }
}

/// Moments of this run as times of day, and back.
#[derive(Clone, Copy)]
struct Times {
    now: Time,
    moment: Instant,
}

impl Times {
    fn now(clock: Clock) -> Self {
        Self { now: clock::now(), moment: clock.moment() }
    }

    fn of(self, moment: Instant) -> i64 {
        let time = if moment >= self.moment {
            self.now.plus(moment.since(self.moment))
        } else {
            self.now.minus(self.moment.since(moment))
        };
        time.millis()
    }

    fn moment(self, millis: i64) -> Instant {
        let time = Time::from_millis(millis);
        match time.since(self.now) {
            Some(ahead) => self.moment.plus(ahead),
            // What is over is over since this run began at the latest.
            None => {
                let ago = self.now.since(time).unwrap_or_default();
                Instant::from_start(self.moment.since_start().saturating_sub(ago))
            }
        }
    }
}

fn connect(path: &Path) -> Result<Connection, ShelfError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "trusted_schema", "off")?;
    connection.pragma_update(None, "cell_size_check", "on")?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        0 => connection.execute_batch(SCHEMA)?,
        FORMAT => {}
        newer => return Err(ShelfError::Newer(newer)),
    }
    let sound: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(sound)).into());
    }
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Moves a damaged file out of the way, for whoever wants to look at it; an older one goes.
fn set_aside(path: &Path, why: &rusqlite::Error) -> anyhow::Result<()> {
    let aside = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".damaged");
        PathBuf::from(name)
    };
    fs::rename(path, aside(path))
        .with_context(|| format!("cannot move `{}` out of the way", path.display()))?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        // It may not be there.
        let _ = fs::rename(&beside, aside(Path::new(&beside)));
    }
    error!(
        file = %aside(path).display(), error = %why,
        "what sessions left is damaged and was set aside; they begin anew"
    );
    Ok(())
}

/// The file in the gateway's folder.
const NAME: &str = "sessions.sqlite";
/// What it is written in.
const FORMAT: i64 = 1;
/// KiB of pages that SQLite holds, as it wants them written.
const CACHE: i64 = -1024;
/// More than there are statements here.
const STATEMENTS: usize = 32;
/// How often it is tried between two lines in the log.
const TRIES_PER_WORD: u64 = 60;
/// How long to wait after a batch could not be written.
const TRY_AGAIN: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
begin immediate;
create table session (
    id integer primary key, client text not null, device text not null, fingerprint blob not null,
    peer text not null, version integer not null, expiry integer not null, ends integer,
    will blob, will_delay integer, will_at integer
) strict;
create table subscription (
    session integer not null, filter text not null, qos integer not null, no_local integer not null,
    as_published integer not null, number integer, primary key (session, filter)
) strict, without rowid;
create table message (
    id integer primary key, session integer not null, packet integer, line text, frame integer
) strict;
create table frame (
    id integer primary key, n_messages integer not null, expires integer, body blob not null
) strict;
create table received (
    session integer not null, packet integer not null, primary key (session, packet)
) strict, without rowid;
create table retained (
    topic text primary key, device text not null, fingerprint blob not null, peer text not null,
    expires integer, body blob not null
) strict, without rowid;
create table shared (
    line text not null, place integer not null, expires integer, body blob not null,
    primary key (line, place)
) strict, without rowid;
pragma user_version = 1;
commit;
";

#[cfg(test)]
mod tests;
