//! Who else watches the record: witnesses that an administrator has declared by their key, and the
//! cosignatures that they leave. A cosignature needs no right but its own signature.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ledger::{Note, VerifierKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Draft;
use super::routes::blocking;
use crate::body::Json;
use crate::centre::Centre;
use crate::people::{AsAdministrator, AsViewer};
use crate::problem::Problem;
use crate::store::{Connection, StoreError, params};

/// All routes of witnesses.
pub(super) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new()
        .routes(routes!(witnesses, add_witness))
        .routes(routes!(remove_witness))
        .routes(routes!(cosign))
}

/// How many witnesses a record has at most: each costs one check of a signature and one line.
const MAX_WITNESSES: i64 = 16;

#[derive(Serialize, ToSchema)]
struct Witnesses {
    items: Vec<Witness>,
}

#[derive(Serialize, ToSchema)]
struct Witness {
    name: String,
    /// Its verifier key, as `palisade ledger witness` shows it.
    key: String,
    added: String,
    /// How many events the last checkpoint had that it cosigned.
    size: Option<u64>,
    /// When it left that cosignature.
    seen: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWitness {
    /// Its verifier key, which holds its name.
    key: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cosigned {
    /// The checkpoint's note with the witness's signature.
    note: String,
}

impl NewWitness {
    pub(super) fn parsed(&self) -> Result<VerifierKey, Problem> {
        let key: VerifierKey = self.key.trim().parse().map_err(Problem::malformed)?;
        if key.purpose() != ledger::Purpose::Witness {
            return Err(Problem::malformed(
                "this is the key of a log, no witness's; `palisade ledger witness` shows its own",
            ));
        }
        if key.name().len() > MAX_NAME_LEN {
            return Err(Problem::malformed(format!(
                "a witness's name has at most {MAX_NAME_LEN} bytes"
            )));
        }
        Ok(key)
    }
}

impl Cosigned {
    pub(super) fn parsed(&self) -> Result<Note, Problem> {
        Note::parse(self.note.as_bytes()).map_err(Problem::malformed)
    }
}

async fn read(c: &mut Connection<'_>) -> Result<Vec<Witness>, StoreError> {
    let sql = "select name, key, added, size, seen from witness order by name";
    let mut items = Vec::new();
    for row in &c.rows(sql, params![]).await? {
        items.push(Witness {
            name: row.get(0)?,
            key: row.get(1)?,
            added: row.time(2)?.to_string(),
            size: row.get::<Option<i64>>(3)?.and_then(|size| u64::try_from(size).ok()),
            seen: row.time_if(4)?.map(|seen| seen.to_string()),
        });
    }
    Ok(items)
}

/// Lists the witnesses and what each saw last.
#[utoipa::path(get, path = "/v1/ledger/witnesses", tag = "record",
    responses((status = 200, body = Witnesses)))]
async fn witnesses(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<Answer<Witnesses>, Problem> {
    let items = read(&mut centre.store.read().await?.connection()).await?;
    Ok(Answer(Witnesses { items }))
}

/// Declares a witness, whose cosignatures are kept from now on.
#[utoipa::path(post, path = "/v1/ledger/witnesses", tag = "record", request_body = NewWitness,
    responses((status = 201, body = Witness), (status = 400, body = Problem), (status = 409, body = Problem)))]
async fn add_witness(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(who): AsAdministrator,
    Json(body): Json<NewWitness>,
) -> Result<(StatusCode, Answer<Witness>), Problem> {
    let key = body.parsed()?;
    let (name, text, now) = (key.name().to_owned(), key.to_string(), centre.now());
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let same = "select name from witness where name = $1 or key = $2";
    if c.row(same, params![&name, &text]).await?.is_some() {
        return Err(Problem::conflict(format!(
            "there is a witness `{name}` already; remove it first if its key has changed, or give the new one another --name"
        )));
    }
    let count = c.row("select count(*) from witness", params![]).await?;
    let n_witnesses: i64 = count.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    if n_witnesses >= MAX_WITNESSES {
        return Err(Problem::conflict(format!(
            "there are {MAX_WITNESSES} witnesses, the most; remove one first"
        )));
    }
    let sql = "insert into witness (name, key, added) values ($1, $2, $3)";
    c.execute(sql, params![&name, &text, now]).await?;
    let draft = Draft::new("witness.added", &who.actor).on("witness", &name).with("key", &text);
    centre.note(&mut c, draft, now).await?;
    write.commit().await?;
    centre.recorder.committed();
    let witness = Witness { name, key: text, added: now.to_string(), size: None, seen: None };
    Ok((StatusCode::CREATED, Answer(witness)))
}

/// Removes a witness; its cosignatures are kept no more.
#[utoipa::path(delete, path = "/v1/ledger/witnesses/{name}", tag = "record",
    params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
async fn remove_witness(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(who): AsAdministrator,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if c.execute("delete from witness where name = $1", params![&name]).await? == 0 {
        return Err(Problem::not_found("witness", name));
    }
    let draft = Draft::new("witness.removed", &who.actor).on("witness", &name);
    centre.note(&mut c, draft, centre.now()).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a declared witness's cosignature of a checkpoint.
#[utoipa::path(post, path = "/v1/ledger/cosignatures", tag = "record", request_body = Cosigned,
    responses((status = 204), (status = 400, body = Problem), (status = 409, body = Problem)))]
async fn cosign(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Json(body): Json<Cosigned>,
) -> Result<StatusCode, Problem> {
    let note = body.parsed()?;
    let known = read(&mut centre.store.read().await?.connection()).await?;
    let keys = known.iter().filter_map(|witness| witness.key.parse::<VerifierKey>().ok());
    let mut keys = keys.filter(|key| note.cosigned_at(key).is_ok());
    let key = keys.next().ok_or_else(|| {
        Problem::conflict("no declared witness has signed this; an administrator declares one with `palisade witness add KEY`")
    })?;
    let name = key.name().to_owned();
    let kept = move |record: &journal::Record| record.store_cosignature(body.note.as_bytes(), &key);
    let checkpoint = blocking(&centre, kept).await?;
    let size = i64::try_from(checkpoint.size).unwrap_or(i64::MAX);
    let mut write = centre.store.write().await?;
    let sql = "update witness set size = $1, seen = $2 where name = $3 and coalesce(size, 0) <= $1";
    write.connection().execute(sql, params![size, centre.now(), name]).await?;
    write.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The longest name of a witness.
const MAX_NAME_LEN: usize = 128;
