//! Every test of the store runs on both databases.

pub(crate) mod postgres;

use futures_util::FutureExt as _;

use super::*;

/// Runs a test on SQLite, and on PostgreSQL where it is installed.
pub(crate) async fn on_both(test: impl AsyncFn(Store)) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_file(&folder.path().join("store.sqlite")).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    let Some(url) = postgres::database() else {
        eprintln!("skipped on PostgreSQL: it is not installed");
        return;
    };
    let store = Store::connect(&url).await.unwrap();
    test(store.clone()).await;
    store.close().await;
}

async fn put(store: &Store, name: &str, commit: bool) {
    let mut write = store.write().await.unwrap();
    let sql = "insert into meta (name, value) values ($1, $2)";
    write.connection().execute(sql, params![name, vec![1_u8, 2]]).await.unwrap();
    if commit {
        write.commit().await.unwrap();
    }
}

async fn names(store: &Store) -> Vec<String> {
    let mut read = store.read().await.unwrap();
    let rows =
        read.connection().rows("select name from meta order by name", params![]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn what_is_committed_stays_and_what_is_dropped_goes() {
    on_both(async |store| {
        put(&store, "kept", true).await;
        put(&store, "dropped", false).await;
        put(&store, "kept too", true).await;
        assert_eq!(names(&store).await, ["kept", "kept too"]);
    })
    .await;
}

#[tokio::test]
async fn a_failed_statement_spoils_its_own_turn_only() {
    on_both(async |store| {
        put(&store, "one", true).await;
        let mut write = store.write().await.unwrap();
        let sql = "insert into meta (name, value) values ($1, $2)";
        assert!(write.connection().execute(sql, params!["one", vec![1_u8]]).await.is_err());
        drop(write);
        put(&store, "two", true).await;
        assert_eq!(names(&store).await, ["one", "two"]);
    })
    .await;
}

#[tokio::test]
async fn many_writers_at_once_all_get_their_turn() {
    on_both(async |store| {
        let writers = (0..200).map(|idx| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("{idx:03}"), idx % 3 != 0).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let expected: Vec<_> =
            (0..200).filter(|idx| idx % 3 != 0).map(|idx| format!("{idx:03}")).collect();
        assert_eq!(names(&store).await, expected);
    })
    .await;
}

#[tokio::test]
async fn who_goes_away_while_its_turn_begins_spoils_nothing() {
    on_both(async |store| {
        put(&store, "before", true).await;
        for n in 0..3 {
            // Polled once: on SQLite its first statement is under way then.
            drop(store.write().now_or_never());
            put(&store, &format!("{n}"), true).await;
        }
        assert_eq!(names(&store).await, ["0", "1", "2", "before"]);
    })
    .await;
}

#[tokio::test]
async fn values_of_every_type_come_back_and_absent_ones_stay_absent() {
    on_both(async |store| {
        let mut write = store.write().await.unwrap();
        let mut c = write.connection();
        let row = c
            .row(
                "select cast($1 as bigint), cast($2 as text), cast($3 as bigint), cast($4 as text)",
                params![7_i64, "seven", None::<i64>, None::<String>],
            )
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 7);
        assert_eq!(row.get::<String>(1).unwrap(), "seven");
        assert_eq!(row.get::<Option<i64>>(2).unwrap(), None);
        assert_eq!(row.get::<Option<String>>(3).unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn the_reader_cannot_write() {
    on_both(async |store| {
        let mut read = store.read().await.unwrap();
        let result = read.connection().execute("delete from meta", params![]).await;
        assert!(result.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_view_shows_one_state_however_often_it_is_asked() {
    on_both(async |store| {
        put(&store, "before", true).await;
        let mut read = store.read().await.unwrap();
        let sql = "select name from meta";
        assert_eq!(read.connection().rows(sql, params![]).await.unwrap().len(), 1);
        put(&store, "meanwhile", true).await;
        assert_eq!(read.connection().rows(sql, params![]).await.unwrap().len(), 1);
        drop(read);
        assert_eq!(names(&store).await, ["before", "meanwhile"]);
    })
    .await;
}

#[tokio::test]
async fn a_store_of_a_newer_or_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    for (sql, newer) in [
        ("insert into migration (number, digest) values (99, x'00')", true),
        ("update migration set digest = x'00' where number = 1", false),
    ] {
        let _ = std::fs::remove_file(&path);
        let store = Store::open_file(&path).await.unwrap();
        let mut write = store.write().await.unwrap();
        write.connection().execute(sql, params![]).await.unwrap();
        write.commit().await.unwrap();
        store.close().await;
        let error = Store::open_file(&path).await.err().unwrap();
        assert_eq!(matches!(error, StoreError::Newer { found: 99, .. }), newer, "{error}");
        assert_eq!(matches!(error, StoreError::Foreign(1)), !newer, "{error}");
    }
}

/// Both schemas, as each database itself describes them, in one spelling.
#[tokio::test]
async fn the_two_schemas_are_equal() {
    let Some(url) = postgres::database() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let pg = Store::connect(&url).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lite = Store::open_file(&folder.path().join("store.sqlite")).await.unwrap();
    let lite_columns = columns(
        &lite,
        "select m.name, c.name, lower(c.type), c.\"notnull\" = 1 or c.pk > 0 from sqlite_master m \
         join pragma_table_info(m.name) c where m.type = 'table' and m.name not like 'sqlite_%' \
         order by m.name, c.name",
    )
    .await;
    let pg_columns = columns(
        &pg,
        "select table_name::text, column_name::text, data_type::text, is_nullable = 'NO' \
         from information_schema.columns where table_schema = 'public' order by 1, 2",
    )
    .await;
    assert!(lite_columns.len() > 80, "{} columns", lite_columns.len());
    assert_eq!(lite_columns, pg_columns);
    let lite_indexes = indexes(
        &lite,
        "select name from sqlite_master where type = 'index' and name not like 'sqlite_%' order by name",
    )
    .await;
    let pg_indexes = indexes(
        &pg,
        "select indexname::text from pg_indexes where schemaname = 'public' \
         and indexname not like '%_pkey' and indexname not like '%_key' order by 1",
    )
    .await;
    assert_eq!(lite_indexes, pg_indexes);
}

async fn columns(store: &Store, sql: &'static str) -> Vec<(String, String, String, bool)> {
    let mut read = store.read().await.unwrap();
    let rows = read.connection().rows(sql, params![]).await.unwrap();
    let one_spelling = |kind: String| match kind.as_str() {
        "integer" | "bigint" => "integer".to_owned(),
        "blob" | "bytea" => "blob".to_owned(),
        other => other.to_owned(),
    };
    rows.iter()
        .map(|row| {
            let kind = one_spelling(row.get(2).unwrap());
            (row.get(0).unwrap(), row.get(1).unwrap(), kind, row.get(3).unwrap())
        })
        .collect()
}

async fn indexes(store: &Store, sql: &'static str) -> Vec<String> {
    let mut read = store.read().await.unwrap();
    let rows = read.connection().rows(sql, params![]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}
