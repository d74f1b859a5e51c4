//! The store: SQLite by default, PostgreSQL by configuration, one SQL text for both.
//!
//! Everything that is kept here changes inside a [`Write`], and a write is durable when `commit`
//! answers. On SQLite one connection writes and every commit that waits shares one fsync; reads
//! go through a pool that cannot write, and each sees one state of the store however much it asks.

mod lite;
pub(crate) mod many;
mod migration;
mod row;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ErrorCode;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use tracing::warn;

pub(crate) use row::Row;
pub(crate) use value::{Value, params};

use lite::{Lite, Reader, Turn};

/// Where the store lives.
#[derive(Clone)]
pub(crate) enum Store {
    /// One file on this machine.
    Lite(Lite),
    /// A PostgreSQL server.
    Pg(PgPool),
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed.
    #[error("the store failed: {0}")]
    Lite(#[from] rusqlite::Error),
    /// PostgreSQL refused, failed or is not there.
    #[error("the store failed: {0}")]
    Pg(#[from] sqlx::Error),
    /// The store was closed: this process ends.
    #[error("the store was closed")]
    Closed,
    /// The data was written by a newer version of this program.
    #[error(
        "the store has format {found}, and this program knows up to {known}; run the newer program"
    )]
    Newer {
        /// The format that was found.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// A migration that was applied is not the one that this program carries.
    #[error(
        "migration {0} of the store is not the one this program carries; restore a backup or the right program"
    )]
    Foreign(i64),
    /// What a column holds is not what was written there.
    #[error("the store holds something unreadable in {0}")]
    Unreadable(&'static str),
    /// The commit of the batch that this write was part of failed.
    #[error("the store could not commit: {0}")]
    Commit(Arc<StoreError>),
}

/// How long a request waits for a connection to PostgreSQL before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(3);

impl StoreError {
    /// Whether the server of the store is not there, and may come back.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Pg(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            // It shuts down, crashed, starts or cut the connection.
            Self::Pg(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
            }
            _ => false,
        }
    }

    /// Whether the disk of the store is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Lite(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            // `disk_full` of PostgreSQL.
            Self::Pg(sqlx::Error::Database(error)) => error.code().is_some_and(|it| it == "53100"),
            Self::Commit(error) => error.is_full(),
            _ => false,
        }
    }
}

/// A connection that reads, or that reads and writes inside a transaction.
pub(crate) enum Connection<'a> {
    /// SQLite, which cannot be written to.
    Reader(&'a mut Reader),
    /// SQLite, in a writer's turn.
    Turn(&'a mut Turn),
    /// PostgreSQL.
    Pg(&'a mut PgConnection),
}

/// A view for reading: all that is asked in it is answered from one state of the store.
pub(crate) enum Read {
    Lite(Reader),
    Pg(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A transaction: nothing of it remains unless `commit` answers `Ok`.
pub(crate) enum Write {
    Lite(Turn),
    Pg(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Store {
    /// Opens or makes the SQLite file, and brings it to the newest format.
    pub(crate) async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::Lite(Lite::open(path).await?))
    }

    /// Connects to a PostgreSQL database, and brings it to the newest format.
    pub(crate) async fn connect(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new().max_connections(16).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await?;
        migration::postgres(&mut *pool.acquire().await?).await?;
        Ok(Self::Pg(pool))
    }

    /// Begins to read.
    pub(crate) async fn read(&self) -> Result<Read, StoreError> {
        match self {
            Self::Lite(lite) => Ok(Read::Lite(lite.reader().await?)),
            Self::Pg(pool) => {
                let begin = "begin isolation level repeatable read read only";
                Ok(Read::Pg(pool.begin_with(begin).await?))
            }
        }
    }

    /// Begins to read, as soon as the store's server is there.
    pub(crate) async fn read_at_last(&self) -> Result<Read, StoreError> {
        loop {
            match self.read().await {
                Err(error) if error.is_away() => {
                    warn!(%error, "a job waits for the store's server");
                    tokio::time::sleep(PATIENCE).await;
                }
                read => return read,
            }
        }
    }

    /// Begins to write; waits for its turn.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        match self {
            Self::Lite(lite) => Ok(Write::Lite(lite.turn().await?)),
            Self::Pg(pool) => Ok(Write::Pg(pool.begin().await?)),
        }
    }

    /// Takes out of the store's files, as far as they are ours, what was deleted from it.
    pub(crate) async fn forget_deleted(&self) -> Result<(), StoreError> {
        match self {
            Self::Lite(lite) => lite.empty_log().await,
            // When old rows go is for that server to say.
            Self::Pg(_) => Ok(()),
        }
    }

    /// Ends all connections; what was committed stays.
    pub(crate) async fn close(&self) {
        match self {
            Self::Lite(lite) => lite.close().await,
            Self::Pg(pool) => pool.close().await,
        }
    }
}

impl Read {
    /// Opens a SQLite file that nobody else uses.
    pub(crate) fn of_file(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::Lite(Reader::alone(path)?))
    }

    /// Lends the connection for queries.
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Lite(reader) => Connection::Reader(reader),
            Self::Pg(transaction) => Connection::Pg(transaction),
        }
    }
}

impl Write {
    /// Lends the connection for queries.
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Lite(turn) => Connection::Turn(turn),
            Self::Pg(transaction) => Connection::Pg(transaction),
        }
    }

    /// Makes everything that was written durable.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Lite(turn) => turn.commit().await,
            Self::Pg(transaction) => Ok(transaction.commit().await?),
        }
    }
}

impl Connection<'_> {
    /// Runs a statement and says how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Reader(reader) => reader.execute(sql, params).await,
            Self::Turn(turn) => turn.execute(sql, &params).await,
            Self::Pg(c) => Ok(bound(sql, params).execute(&mut **c).await?.rows_affected()),
        }
    }

    /// Gives all rows of a query.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows_until(sql, params, usize::MAX).await
    }

    /// Gives the first row of a query, if there is one.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        if let Self::Pg(c) = self {
            return Ok(bound(sql, params).fetch_optional(&mut **c).await?.map(Row::Pg));
        }
        Ok(self.rows_until(sql, params, 1).await?.pop())
    }

    async fn rows_until(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match self {
            Self::Reader(reader) => reader.rows(sql, params, limit).await?,
            Self::Turn(turn) => turn.rows(sql, &params, limit).await?,
            Self::Pg(c) => {
                let rows = bound(sql, params).fetch_all(&mut **c).await?;
                return Ok(rows.into_iter().map(Row::Pg).collect());
            }
        };
        Ok(rows.into_iter().map(Row::Lite).collect())
    }
}

/// Binds values to a query of PostgreSQL.
fn bound(
    sql: &'static str,
    params: Vec<Value>,
) -> sqlx::query::Query<'static, sqlx::Postgres, PgArguments> {
    params.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
        Value::Flag(value) => query.bind(value),
    })
}

#[cfg(test)]
pub(crate) mod tests;
