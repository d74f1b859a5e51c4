//! SQLite: one writer whose waiting commits share one fsync, and a pool of readers.
//!
//! Writers take turns on the one connection, each in a savepoint of a transaction that the first
//! of them opened. Who commits leaves its savepoint to be released by the next turn or the commit,
//! and waits; the committer stands in the same first-come queue, so whoever was waiting when it
//! lined up is in its batch.
//!
//! A statement of a turn takes some microseconds and runs where it is asked for: handing it to
//! another thread would cost more than it does. What may take long, a query or a commit, runs on a
//! thread that may block.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{OpenFlags, Statement};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{coop, spawn_blocking};

use super::{StoreError, Value, migration};

/// How many may read at once.
const READERS: u32 = 4;
/// How many queries a connection keeps compiled.
const COMPILED: usize = 256;

/// Handle on a SQLite store.
#[derive(Clone)]
pub(crate) struct Lite {
    readers: Arc<Readers>,
    writer: Arc<Mutex<Writer>>,
    work: Arc<Notify>,
}

/// The connections that read, as far as they are open and not lent.
struct Readers {
    path: PathBuf,
    free: std::sync::Mutex<Vec<rusqlite::Connection>>,
    places: Arc<Semaphore>,
}

/// The one connection that writes.
struct Writer {
    connection: Option<rusqlite::Connection>,
    open: bool,
    last: Last,
    waiting: Vec<Waiting>,
}

/// Who waits for a commit.
type Waiting = oneshot::Sender<Result<(), Arc<StoreError>>>;

/// What is left of the turn before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing.
    Gone,
    /// It is to be committed: its savepoint is to be released.
    Done,
    /// It ended without commit: its savepoint is to be rolled back before anything else.
    Abandoned,
}

/// One writer's turn; rolled back when dropped.
pub(crate) struct Turn {
    writer: OwnedMutexGuard<Writer>,
    work: Arc<Notify>,
    done: bool,
}

/// One who reads.
pub(crate) struct Reader {
    /// Away while a query runs; a query that nobody waits for any more keeps its place until it
    /// ends.
    lent: Option<Lent>,
}

struct Lent {
    connection: rusqlite::Connection,
    readers: Option<Arc<Readers>>,
    _place: Option<OwnedSemaphorePermit>,
}

/// A row's columns.
pub(crate) type Columns = Vec<rusqlite::types::Value>;

impl Lite {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let (readers, writer) = blocking(move || {
            let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", "on")?;
            // What a savepoint would restore need not outlive this process.
            connection.pragma_update(None, "temp_store", "memory")?;
            // What is deleted, such as a person's key, is overwritten.
            connection.pragma_update(None, "secure_delete", "on")?;
            connection.pragma_update(None, "cell_size_check", "on")?;
            migration::sqlite(&mut connection)?;
            let places = Arc::new(Semaphore::new(READERS as usize));
            let readers = Readers { path, free: std::sync::Mutex::default(), places };
            let waiting = Vec::new();
            let writer =
                Writer { connection: Some(connection), open: false, last: Last::Gone, waiting };
            Ok((readers, writer))
        })
        .await?;
        let writer = Arc::new(Mutex::new(writer));
        let lite = Self { readers: Arc::new(readers), writer, work: Arc::new(Notify::new()) };
        tokio::spawn(commit_batches(Arc::clone(&lite.writer), Arc::clone(&lite.work)));
        Ok(lite)
    }

    pub(super) async fn reader(&self) -> Result<Reader, StoreError> {
        let place = Arc::clone(&self.readers.places).acquire_owned().await;
        let place = place.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(&self.readers);
        let connection = match readers.free.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(connection) => connection,
            None => connect(&readers.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        // Its first query fixes the state that all of them see.
        connection.execute_batch("begin")?;
        let lent = Lent { connection, readers: Some(readers), _place: Some(place) };
        Ok(Reader { lent: Some(lent) })
    }

    pub(super) async fn turn(&self) -> Result<Turn, StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        writer.begin()?;
        Ok(Turn { writer, work: Arc::clone(&self.work), done: false })
    }

    /// Copies the store as it is now into a new file.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.readers.path.clone(), Value::from(&*path.to_string_lossy()));
        blocking(move || {
            let connection = connect(&from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            execute(&connection, "vacuum into $1", &[to]).map(drop)
        })
        .await
    }

    /// Moves what stands in the write-ahead log into the file and empties the log, so that what
    /// was deleted lies in neither; a reader that is at work may keep it from that.
    pub(super) async fn empty_log(&self) -> Result<(), StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        blocking(move || {
            writer.finish();
            let connection = writer.connection()?;
            Ok(connection.query_row("pragma wal_checkpoint(truncate)", (), |_| Ok(()))?)
        })
        .await
    }

    pub(super) async fn close(&self) {
        // The last to close empties the log and removes it, and that must be one who may write.
        if let Ok(places) = self.readers.places.acquire_many(READERS).await {
            self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.readers.places.close();
            drop(places);
        }
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let closed = spawn_blocking(move || {
            writer.finish();
            drop(writer.connection.take());
        });
        let _ = closed.await;
        self.work.notify_one();
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&mut rusqlite::Connection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Closed)
    }

    fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.connection()?.prepare_cached(sql)?.execute(())?;
        Ok(())
    }

    /// Begins a turn, in the open batch or in a new one.
    fn begin(&mut self) -> Result<(), StoreError> {
        self.tidy()?;
        let begun = match (self.open, self.last) {
            (false, _) => self.run("begin immediate"),
            (true, Last::Done) => self.run("release turn"),
            (true, _) => Ok(()),
        };
        if let Err(error) = begun.and_then(|()| self.run("savepoint turn")) {
            return Err(self.undo(error));
        }
        self.open = true;
        Ok(())
    }

    /// Rolls back what an abandoned turn left behind.
    fn tidy(&mut self) -> Result<(), StoreError> {
        if self.last != Last::Abandoned {
            return Ok(());
        }
        self.last = Last::Gone;
        let tidied = self.run("rollback to turn").and_then(|()| self.run("release turn"));
        tidied.map_err(|error| self.undo(error))
    }

    /// Commits what was done, without an abandoned turn.
    fn finish(&mut self) {
        if self.tidy().is_ok() && self.open {
            let waiting = self.end_batch();
            let result = self.run("commit").map_err(Arc::new);
            if result.is_err() {
                // What was not committed is undone, so that the next batch begins clean.
                let _ = self.run("rollback");
            }
            tell(waiting, &result);
        }
    }

    /// Undoes the whole batch, so that the next begins clean; gives what its turns are told.
    fn undo(&mut self, why: StoreError) -> StoreError {
        let waiting = self.end_batch();
        let _ = self.run("rollback");
        let why = Arc::new(why);
        tell(waiting, &Err(Arc::clone(&why)));
        StoreError::Commit(why)
    }

    fn end_batch(&mut self) -> Vec<Waiting> {
        (self.open, self.last) = (false, Last::Gone);
        std::mem::take(&mut self.waiting)
    }
}

fn tell(waiting: Vec<Waiting>, result: &Result<(), Arc<StoreError>>) {
    for waiting in waiting {
        let _ = waiting.send(result.clone());
    }
}

async fn commit_batches(writer: Arc<Mutex<Writer>>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        let mut writer = Arc::clone(&writer).lock_owned().await;
        if writer.connection.is_none() {
            return;
        }
        let _ = spawn_blocking(move || writer.finish()).await;
    }
}

impl Turn {
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        // A turn of a hundred thousand statements lets others onto its thread now and then.
        coop::consume_budget().await;
        execute(self.writer.connection()?, sql, params)
    }

    pub(super) async fn rows(
        &mut self,
        sql: &str,
        params: &[Value],
        limit: usize,
    ) -> Result<Vec<Columns>, StoreError> {
        coop::consume_budget().await;
        rows(self.writer.connection()?, sql, params, limit)
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.done = true;
        let (sender, receiver) = oneshot::channel();
        self.writer.waiting.push(sender);
        drop(self);
        match receiver.await {
            Ok(result) => result.map_err(StoreError::Commit),
            Err(_) => Err(StoreError::Closed),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.writer.last = if self.done { Last::Done } else { Last::Abandoned };
        self.work.notify_one();
    }
}

impl Reader {
    /// Opens a file that nobody else uses.
    pub(super) fn alone(path: &Path) -> Result<Self, StoreError> {
        let connection = connect_only(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Self { lent: Some(Lent { connection, readers: None, _place: None }) })
    }

    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
        limit: usize,
    ) -> Result<Vec<Columns>, StoreError> {
        self.ask(move |connection| rows(connection, sql, &params, limit)).await
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<u64, StoreError> {
        self.ask(move |connection| execute(connection, sql, &params)).await
    }

    async fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lent = self.lent.take().ok_or(StoreError::Closed)?;
        let (lent, result) = blocking(move || {
            let result = work(&lent.connection);
            Ok((lent, result))
        })
        .await?;
        self.lent = Some(lent);
        result
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(Lent { connection, readers: Some(readers), _place }) = self.lent.take() {
            // One that cannot end its view is let go with it.
            if connection.execute_batch("rollback").is_ok() {
                readers.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
        }
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<rusqlite::Connection, StoreError> {
    let create = match access {
        OpenFlags::SQLITE_OPEN_READ_ONLY => OpenFlags::empty(),
        _ => OpenFlags::SQLITE_OPEN_CREATE,
    };
    connect_only(path, access | create)
}

fn connect_only(path: &Path, flags: OpenFlags) -> Result<rusqlite::Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", "off")?;
    // Else each new value would have its query compiled anew, in case another plan suits it better.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(COMPILED);
    Ok(connection)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}

fn execute(
    connection: &rusqlite::Connection,
    sql: &str,
    params: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let n_changed = statement.raw_execute()?;
    Ok(u64::try_from(n_changed).unwrap_or_default())
}

fn rows(
    connection: &rusqlite::Connection,
    sql: &str,
    params: &[Value],
    limit: usize,
) -> Result<Vec<Columns>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let n_columns = statement.column_count();
    let (mut found, mut rows) = (Vec::new(), statement.raw_query());
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        found.push((0..n_columns).map(|idx| row.get(idx)).collect::<Result<_, _>>()?);
    }
    Ok(found)
}

/// Binds `$1`, `$2`, …, which SQLite takes for names and counts as they appear.
fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), StoreError> {
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).and_then(|name| name.strip_prefix('$'));
        let idx = name.and_then(|name| name.parse::<usize>().ok()?.checked_sub(1));
        let value = idx.and_then(|idx| params.get(idx));
        let value = value.ok_or(StoreError::Unreadable("the places of a query"))?;
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}
