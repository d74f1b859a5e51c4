//! SQLite: one writer whose waiting commits share one fsync, and a pool of readers.
//!
//! Writers take turns on the one connection, each in a savepoint of a transaction that the first
//! of them opened. Who commits leaves its savepoint to be released by the next turn or the commit,
//! and waits; the committer stands in the same first-come queue, so whoever was waiting when it
//! lined up is in its batch. Each call of the connection is answered by another thread, which
//! costs more than most statements: hence what can go in one call does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Sqlite, SqliteConnection};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, oneshot};

use super::{StoreError, migration};

/// Handle on a SQLite store.
#[derive(Clone)]
pub(crate) struct Lite {
    readers: SqlitePool,
    writer: Arc<Mutex<Writer>>,
    work: Arc<Notify>,
}

/// The one connection that writes.
struct Writer {
    connection: Option<SqliteConnection>,
    open: bool,
    last: Last,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

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

/// How many turns may share one commit at most.
const MAX_BATCH: usize = 1000;

impl Lite {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("trusted_schema", "off")
            // What is deleted, such as a person's key, is overwritten.
            .pragma("secure_delete", "on")
            .pragma("cell_size_check", "on");
        let mut connection = options.clone().connect().await?;
        migration::sqlite(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            // A file does not go away as a server does.
            .test_before_acquire(false)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        let writer = Writer {
            connection: Some(connection),
            open: false,
            last: Last::Gone,
            waiting: Vec::new(),
        };
        let lite =
            Self { readers, writer: Arc::new(Mutex::new(writer)), work: Arc::new(Notify::new()) };
        tokio::spawn(commit_batches(Arc::clone(&lite.writer), Arc::clone(&lite.work)));
        Ok(lite)
    }

    pub(super) async fn reader(&self) -> Result<sqlx::pool::PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    pub(super) async fn turn(&self) -> Result<Turn, StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        // On a task of its own: several statements are not cut off between two of them when the
        // caller goes away.
        let work = Arc::clone(&self.work);
        let begin = async move {
            writer.begin().await?;
            Ok(Turn { writer, work, done: false })
        };
        let begun = tokio::spawn(begin).await;
        begun.map_err(|_| StoreError::Database(sqlx::Error::WorkerCrashed))?
    }

    /// Moves what stands in the write-ahead log into the file and empties the log, so that what
    /// was deleted lies in neither; a reader that is at work may keep it from that.
    pub(super) async fn empty_log(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        writer.finish().await;
        writer.run("pragma wal_checkpoint(truncate)").await
    }

    pub(super) async fn close(&self) {
        // The last to close empties the log and removes it, and that must be one who may write.
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        writer.finish().await;
        if let Some(connection) = writer.connection.take() {
            let _ = connection.close().await;
        }
        self.work.notify_one();
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Database(sqlx::Error::PoolClosed))
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql).execute(self.connection()?).await?;
        Ok(())
    }

    /// Begins a turn, in the open batch or in a new one.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.tidy().await?;
        if self.waiting.len() >= MAX_BATCH {
            self.commit().await;
        }
        let begin = match (self.open, self.last) {
            (false, _) => "begin immediate; savepoint turn",
            (true, Last::Done) => "release turn; savepoint turn",
            (true, _) => "savepoint turn",
        };
        if let Err(error) = self.run(begin).await {
            self.undo(&error).await;
            return Err(error);
        }
        // Whoever began it may have gone away meanwhile.
        (self.open, self.last) = (true, Last::Abandoned);
        Ok(())
    }

    /// Rolls back what an abandoned turn left behind.
    async fn tidy(&mut self) -> Result<(), StoreError> {
        if self.last != Last::Abandoned {
            return Ok(());
        }
        self.last = Last::Gone;
        let tidied = self.run("rollback to turn; release turn").await;
        if let Err(error) = &tidied {
            self.undo(error).await;
        }
        tidied
    }

    /// Commits what was done, without an abandoned turn.
    async fn finish(&mut self) {
        if self.tidy().await.is_ok() && self.open {
            self.commit().await;
        }
    }

    async fn commit(&mut self) {
        let waiting = self.end_batch();
        let result = self.run("commit").await.map_err(|e| e.to_string());
        if result.is_err() {
            // What was not committed is undone, so that the next batch begins clean.
            let _ = self.run("rollback").await;
        }
        tell(waiting, &result);
    }

    /// Undoes the whole batch, so that the next begins clean.
    async fn undo(&mut self, why: &StoreError) {
        let waiting = self.end_batch();
        let _ = self.run("rollback").await;
        tell(waiting, &Err(why.to_string()));
    }

    fn end_batch(&mut self) -> Vec<oneshot::Sender<Result<(), String>>> {
        (self.open, self.last) = (false, Last::Gone);
        std::mem::take(&mut self.waiting)
    }
}

fn tell(waiting: Vec<oneshot::Sender<Result<(), String>>>, result: &Result<(), String>) {
    for waiting in waiting {
        let _ = waiting.send(result.clone());
    }
}

async fn commit_batches(writer: Arc<Mutex<Writer>>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        let mut writer = writer.lock().await;
        if writer.connection.is_none() {
            return;
        }
        writer.finish().await;
    }
}

impl Turn {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.writer.connection.as_mut().expect("a turn is only given while the connection is open")
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.done = true;
        let (sender, receiver) = oneshot::channel();
        self.writer.waiting.push(sender);
        drop(self);
        match receiver.await {
            Ok(result) => result.map_err(StoreError::Commit),
            Err(_) => Err(StoreError::Commit("the store was closed".to_owned())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.writer.last = if self.done { Last::Done } else { Last::Abandoned };
        self.work.notify_one();
    }
}
