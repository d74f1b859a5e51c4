//! The store: SQLite by default, PostgreSQL by configuration, one SQL text for both.
//!
//! Everything that is kept here changes inside a [`Write`], and a write is durable when `commit`
//! answers. On SQLite one connection writes and every commit that waits shares one fsync; reads
//! go through a pool that cannot write.

mod lite;
pub(crate) mod many;
mod migration;
mod row;
mod value;

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, SqliteConnection};

pub(crate) use row::Row;
pub(crate) use value::{Value, params};

use lite::Lite;

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
    /// The database refused or failed.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
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
    Commit(String),
}

/// A connection that reads, or that reads and writes inside a transaction.
pub(crate) enum Connection<'a> {
    /// SQLite.
    Lite(&'a mut SqliteConnection),
    /// PostgreSQL.
    Pg(&'a mut PgConnection),
}

/// A view for reading.
pub(crate) enum Read {
    Lite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    Pg(sqlx::pool::PoolConnection<sqlx::Postgres>),
}

/// A transaction: nothing of it remains unless `commit` answers `Ok`.
pub(crate) enum Write {
    Lite(lite::Turn),
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
        let pool = PgPoolOptions::new().max_connections(16).connect_with(options).await?;
        migration::postgres(&mut *pool.acquire().await?).await?;
        Ok(Self::Pg(pool))
    }

    /// Begins to read.
    pub(crate) async fn read(&self) -> Result<Read, StoreError> {
        match self {
            Self::Lite(lite) => Ok(Read::Lite(lite.reader().await?)),
            Self::Pg(pool) => Ok(Read::Pg(pool.acquire().await?)),
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
    /// Lends the connection for queries.
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Lite(connection) => Connection::Lite(connection),
            Self::Pg(connection) => Connection::Pg(connection),
        }
    }
}

impl Write {
    /// Lends the connection for queries.
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Lite(turn) => Connection::Lite(turn.connection()),
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

/// Binds values to a query of either database.
macro_rules! bound {
    ($sql:expr, $params:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $params {
            query = match value {
                Value::Int(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
                Value::Blob(v) => query.bind(v),
                Value::Flag(v) => query.bind(v),
            };
        }
        query
    }};
}

impl Connection<'_> {
    /// Runs a statement and says how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Lite(c) => bound!(sql, params).execute(&mut **c).await?.rows_affected(),
            Self::Pg(c) => bound!(sql, params).execute(&mut **c).await?.rows_affected(),
        })
    }

    /// Gives all rows of a query.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Lite(c) => {
                bound!(sql, params).fetch_all(&mut **c).await?.into_iter().map(Row::Lite).collect()
            }
            Self::Pg(c) => {
                bound!(sql, params).fetch_all(&mut **c).await?.into_iter().map(Row::Pg).collect()
            }
        })
    }

    /// Gives the first row of a query, if there is one.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Lite(c) => bound!(sql, params).fetch_optional(&mut **c).await?.map(Row::Lite),
            Self::Pg(c) => bound!(sql, params).fetch_optional(&mut **c).await?.map(Row::Pg),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
