//! Numbered migrations, the same numbers for both databases; each is applied once, whole or not
//! at all, and its digest is kept so that a changed one is noticed.

use rusqlite::TransactionBehavior;
use sha2::{Digest, Sha256};
use sqlx::{Connection as _, PgConnection};

use super::StoreError;

struct Migration {
    number: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            number: $number,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),*]
    };
}

const MIGRATIONS: &[Migration] = migrations![1 "0001_house", 2 "0002_witness", 3 "0003_fleet"];

macro_rules! table {
    ($blob:literal) => {
        concat!(
            "create table if not exists migration (number bigint not null primary key, digest ",
            $blob,
            " not null)"
        )
    };
}

const APPLIED: &str = "select number, digest from migration order by number";
const APPLY: &str = "insert into migration (number, digest) values ($1, $2)";

pub(super) fn sqlite(connection: &mut rusqlite::Connection) -> Result<(), StoreError> {
    connection.execute(table!("blob"), ())?;
    let mut statement = connection.prepare(APPLIED)?;
    let applied = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let applied = applied.collect::<Result<Vec<_>, _>>()?;
    drop(statement);
    check(&applied, |migration| migration.sqlite)?;
    for migration in MIGRATIONS.iter().skip(applied.len()) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sqlite)?;
        transaction.execute(APPLY, (migration.number, digest(migration.sqlite)))?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) async fn postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(table!("bytea")).execute(&mut *connection).await?;
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(APPLIED).fetch_all(&mut *connection).await?;
    check(&applied, |migration| migration.postgres)?;
    for migration in MIGRATIONS.iter().skip(applied.len()) {
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(migration.postgres).execute(&mut *transaction).await?;
        let apply = sqlx::query(APPLY).bind(migration.number).bind(digest(migration.postgres));
        apply.execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

fn check(
    applied: &[(i64, Vec<u8>)],
    text: fn(&Migration) -> &'static str,
) -> Result<(), StoreError> {
    for (idx, (number, found)) in applied.iter().enumerate() {
        let Some(migration) = MIGRATIONS.get(idx) else {
            let known =
                MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default();
            return Err(StoreError::Newer { found: *number, known });
        };
        if migration.number != *number || digest(text(migration)) != *found {
            return Err(StoreError::Foreign(*number));
        }
    }
    Ok(())
}

fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text).to_vec()
}
