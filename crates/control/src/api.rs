//! The API as a whole: every route, the headers that every answer carries, and its description.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use tower_http::compression::CompressionLayer;
use tracing::warn;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::centre::Centre;
use crate::people::{AsViewer, Remote};
use crate::problem::Problem;
use crate::{backup, console, enrolment, people, policies, record, registry, response};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// How long a request may take, streams apart.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(info(
    title = "Palisade",
    description = "Know every device, decide every message, cut off what is hijacked, and prove it.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Description;

fn described() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(people::routes())
        .merge(registry::routes())
        .merge(enrolment::routes())
        .merge(response::routes())
        .merge(policies::routes())
        .merge(record::routes())
        .merge(backup::routes())
}

/// Describes the API in OpenAPI 3.1.
pub fn description() -> String {
    let (_, api) = described().split_for_parts();
    api.to_pretty_json().unwrap_or_default() + "\n"
}

/// Puts all routes together.
pub(crate) fn router(centre: Arc<Centre>) -> Router {
    let (router, _) = described().split_for_parts();
    let text = description();
    let describe = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    router
        .route("/v1/openapi.json", routing::get(describe))
        .route("/healthz", routing::get(|| async { "ok\n" }))
        .route("/readyz", routing::get(ready))
        .route("/metrics", routing::get(metrics))
        .fallback(console::serve)
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&centre), around))
        .with_state(centre)
}

/// Below so many free bytes nothing new is begun with confidence: a batch of events and a page of
/// the store's log may need as many.
const MIN_ROOM: u64 = 16 * 1024 * 1024;

async fn ready(State(centre): State<Arc<Centre>>) -> (StatusCode, &'static str) {
    let looked = async {
        if centre.store.read().await.is_err() {
            return Err("not ready: the store cannot be read\n");
        }
        if centre.custody.describe().await.is_err() {
            return Err("not ready: custody does not answer\n");
        }
        if room(&centre).is_none_or(|room| room < MIN_ROOM) {
            return Err("not ready: the disk is full\n");
        }
        Ok("ready\n")
    };
    let looked = tokio::time::timeout(Duration::from_secs(2), looked).await;
    match looked.unwrap_or(Err("not ready: store or custody takes too long\n")) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

/// Tells how many bytes are free where the record is kept, which the embedded store shares.
fn room(centre: &Centre) -> Option<u64> {
    let room = centre.recorder.record().room();
    room.inspect_err(|error| warn!(%error, "the disk's room cannot be told")).ok()
}

async fn metrics(State(centre): State<Arc<Centre>>, AsViewer(_who): AsViewer) -> String {
    let room = room(&centre).unwrap_or_default();
    centre.metrics.render(centre.recorder.record().n_events(), room)
}

/// What stands around every request: a count, a time limit, and the headers of the answer.
async fn around(State(centre): State<Arc<Centre>>, request: Request, next: Next) -> Response {
    centre.metrics.request();
    let api = request.uri().path().starts_with("/v1/");
    let streams = ["/v1/events/stream", backup::STORE].contains(&request.uri().path());
    let from = request.extensions().get::<Remote>().map(|Remote(ip)| *ip);
    let refused = from.and_then(|from| centre.guesses.request(from).err());
    let answering = next.run(request);
    let mut response = if let Some(refused) = refused {
        refused.into_response()
    } else if streams {
        answering.await
    } else {
        match tokio::time::timeout(TIMEOUT, answering).await {
            Ok(response) => response,
            Err(_) => Problem::unavailable("the request took too long; try again").into_response(),
        }
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, console::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if api && !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
