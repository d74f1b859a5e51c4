//! SQLite: one writer whose waiting commits share one fsync, and a pool of readers.
//!
//! Writers take turns on the one connection, each in a savepoint of a transaction that the first
//! of them opened. Who commits releases its savepoint and waits; the committer stands in the same
//! first-come queue, so whoever was waiting when it lined up is in its batch.

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
    /// A turn ended without commit: its savepoint is to be rolled back before anything else.
    abandoned: bool,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// One writer's turn; rolled back when dropped.
pub(crate) struct Turn {
    writer: OwnedMutexGuard<Writer>,
    work: Arc<Notify>,
    released: bool,
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
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        let writer = Writer {
            connection: Some(connection),
            open: false,
            abandoned: false,
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
        writer.tidy().await?;
        if writer.waiting.len() >= MAX_BATCH {
            writer.commit().await;
        }
        if !writer.open {
            sqlx::query("begin immediate").execute(writer.connection()?).await?;
            writer.open = true;
        }
        sqlx::query("savepoint turn").execute(writer.connection()?).await?;
        Ok(Turn { writer, work: Arc::clone(&self.work), released: false })
    }

    pub(super) async fn close(&self) {
        let mut writer = self.writer.lock().await;
        // An abandoned turn that cannot be rolled back must not be committed with the others.
        if writer.tidy().await.is_ok() && writer.open {
            writer.commit().await;
        }
        if let Some(connection) = writer.connection.take() {
            let _ = connection.close().await;
        }
        self.work.notify_one();
        self.readers.close().await;
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Database(sqlx::Error::PoolClosed))
    }

    /// Rolls back what an abandoned turn left behind.
    async fn tidy(&mut self) -> Result<(), StoreError> {
        if !self.abandoned {
            return Ok(());
        }
        let connection = self.connection()?;
        sqlx::query("rollback to turn").execute(&mut *connection).await?;
        sqlx::query("release turn").execute(connection).await?;
        self.abandoned = false;
        Ok(())
    }

    async fn commit(&mut self) {
        let result = match self.connection() {
            Ok(connection) => match sqlx::query("commit").execute(&mut *connection).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    // What was not committed is undone, so that the next batch begins clean.
                    let _ = sqlx::query("rollback").execute(connection).await;
                    Err(error.to_string())
                }
            },
            Err(error) => Err(error.to_string()),
        };
        self.open = false;
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}

async fn commit_batches(writer: Arc<Mutex<Writer>>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        let mut writer = writer.lock().await;
        if writer.connection.is_none() {
            return;
        }
        if writer.open && writer.tidy().await.is_ok() {
            writer.commit().await;
        }
    }
}

impl Turn {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.writer.connection.as_mut().expect("a turn is only given while the connection is open")
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("release turn").execute(self.connection()).await?;
        self.released = true;
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
        if !self.released {
            self.writer.abandoned = true;
        }
        self.work.notify_one();
    }
}
