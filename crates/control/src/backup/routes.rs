//! The one route of backups, for the command line on this machine.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::io::AsyncReadExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::copy::Copy;
use crate::centre::Centre;
use crate::people::{AsAdministrator, FromHere};
use crate::problem::Problem;
use crate::record::Draft;

/// All routes of backups.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new().routes(routes!(store))
}

/// The path to which a copy of the store is asked for, with POST and on the local socket.
pub const STORE: &str = "/v1/backup/store";
const CHUNK_BYTES: usize = 256 * 1024;

/// Copies the store as it is now, for a backup; on this machine's socket alone.
///
/// A store on a database server is not copied.
#[utoipa::path(post, path = "/v1/backup/store", tag = "backup",
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.sqlite3"), (status = 204),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
async fn store(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    _here: FromHere,
) -> Result<Response, Problem> {
    let copy = centre.desk.copy(&centre.store).await?;
    let mut write = centre.store.write().await?;
    let made = Draft::new("backup.made", &principal.actor);
    centre.note(&mut write.connection(), made, centre.now()).await?;
    write.commit().await?;
    centre.recorder.committed();
    let Some(Copy { file, n_bytes }) = copy else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response =
        Response::new(Body::from_stream(stream::try_unfold(tokio::fs::File::from_std(file), read)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3"));
    headers.insert(header::CONTENT_LENGTH, n_bytes.into());
    Ok(response)
}

async fn read(mut file: tokio::fs::File) -> std::io::Result<Option<(Bytes, tokio::fs::File)>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let n_read = file.read(&mut chunk).await?;
    chunk.truncate(n_read);
    Ok((n_read > 0).then(|| (chunk.into(), file)))
}
