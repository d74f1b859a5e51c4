//! Numbered migrations, the same numbers for both databases; each is applied once, whole or not
//! at all, and its digest is kept so that a changed one is noticed.

use sha2::{Digest, Sha256};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

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

macro_rules! migrate {
    ($connection:expr, $text:ident, $begin:literal, $blob:literal) => {{
        let connection = $connection;
        let table = concat!(
            "create table if not exists migration (number bigint not null primary key, digest ",
            $blob,
            " not null)"
        );
        sqlx::query(table).execute(&mut *connection).await?;
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select number, digest from migration order by number")
                .fetch_all(&mut *connection)
                .await?;
        check(&applied, |migration| migration.$text)?;
        for migration in MIGRATIONS.iter().skip(applied.len()) {
            let mut transaction = connection.begin_with($begin).await?;
            sqlx::raw_sql(migration.$text).execute(&mut *transaction).await?;
            sqlx::query("insert into migration (number, digest) values ($1, $2)")
                .bind(migration.number)
                .bind(digest(migration.$text))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        Ok(())
    }};
}

pub(super) async fn sqlite(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    migrate!(connection, sqlite, "begin immediate", "blob")
}

pub(super) async fn postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    migrate!(connection, postgres, "begin", "bytea")
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
