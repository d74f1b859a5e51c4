//! Reading the record: events, the live stream, checkpoints, tiles and proofs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::future::ready;
use futures_util::{Stream, StreamExt as _, stream};
use identity::Time;
use journal::{Entry, Record, RecordError};
use ledger::{Field, Tile};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::sentence::{Told, sentence};
use super::witnesses::{Cosigned, NewWitness};
use crate::body::Query;
use crate::centre::Centre;
use crate::fuzz::{self, Read};
use crate::live::Live;
use crate::people::{AsViewer, FORGOTTEN, Watcher};
use crate::problem::Problem;
use crate::registry::view;

/// All routes of the record.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    super::witnesses::routes()
        .routes(routes!(events))
        .routes(routes!(device_events))
        .routes(routes!(stream))
        .routes(routes!(checkpoint))
        .routes(routes!(key))
        .routes(routes!(consistency))
        .routes(routes!(inclusion))
        .route("/v1/ledger/tile/{*path}", axum::routing::get(tile))
}

/// One event, told for people and programs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Event {
    index: u64,
    at: String,
    kind: String,
    actor: ActorView,
    subject: Option<SubjectView>,
    decision: Option<String>,
    count: u64,
    /// The event in one sentence.
    text: String,
    details: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ActorView {
    /// `operator`, `device`, `system` or `token`.
    #[serde(rename = "type")]
    sort: &'static str,
    name: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct SubjectView {
    #[serde(rename = "type")]
    sort: String,
    name: String,
}

#[derive(Serialize, ToSchema)]
struct Page {
    items: Vec<Event>,
    /// Ask for events before this number to go on.
    next: Option<u64>,
}

#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Ask {
    /// Events with smaller numbers only.
    before: Option<u64>,
    /// At most 500.
    limit: Option<u16>,
    /// About this device only.
    device: String,
    /// Of this kind, or of the kinds that begin so.
    kind: String,
    /// Not older than this time.
    since: String,
}

/// How many events one request looks through at most.
const MAX_SEARCH: usize = 50_000;

/// Lists events, the newest first.
#[utoipa::path(get, path = "/v1/events", tag = "record", params(Ask), responses((status = 200, body = Page)))]
async fn events(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Query(ask): Query<Ask>,
) -> Result<Answer<Page>, Problem> {
    Ok(Answer(search(&centre, ask).await?))
}

/// Lists events about one device, the newest first.
#[utoipa::path(get, path = "/v1/devices/{id}/events", tag = "record", params(("id" = String, Path), Ask),
    responses((status = 200, body = Page)))]
async fn device_events(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Path(id): Path<String>,
    Query(ask): Query<Ask>,
) -> Result<Answer<Page>, Problem> {
    Ok(Answer(search(&centre, Ask { device: id, ..ask }).await?))
}

async fn search(centre: &Arc<Centre>, ask: Ask) -> Result<Page, Problem> {
    let (since, limit) = ask.parsed()?;
    let centre = Arc::clone(centre);
    let work = move || find(&centre, &ask, since, limit);
    let found = tokio::task::spawn_blocking(work).await.map_err(|e| Problem::internal(&e))?;
    found.map_err(|e| Problem::internal(&e))
}

impl Ask {
    fn parsed(&self) -> Result<(Time, usize), Problem> {
        let limit = usize::from(self.limit.unwrap_or(100));
        if !(1..=500).contains(&limit) {
            return Err(Problem::malformed("a limit is 1 to 500"));
        }
        match self.since.as_str() {
            "" => Ok((Time::EPOCH, limit)),
            text => Ok((text.parse().map_err(Problem::malformed)?, limit)),
        }
    }
}

fn find(centre: &Centre, ask: &Ask, since: Time, limit: usize) -> Result<Page, RecordError> {
    let record = centre.recorder.record();
    let filtered = !ask.device.is_empty() || !ask.kind.is_empty();
    let chunk = if filtered { 1000 } else { limit };
    let (mut items, mut before, mut looked) = (Vec::new(), ask.before, 0);
    loop {
        let entries = record.newest(before, chunk)?;
        let last = entries.last().map(|entry| entry.index);
        for entry in entries {
            let Ok(event) = entry.event() else { continue };
            if event.at < since {
                return Ok(Page { items, next: None });
            }
            if wanted(&event, ask) {
                items.push(tell(centre, entry.index, &event));
            }
            if items.len() == limit {
                return Ok(Page { items, next: (entry.index > 0).then_some(entry.index) });
            }
        }
        looked += chunk;
        match last {
            None | Some(0) => return Ok(Page { items, next: None }),
            // A long search answers what it has, and from where to go on.
            Some(last) if looked >= MAX_SEARCH => return Ok(Page { items, next: Some(last) }),
            Some(last) => before = Some(last),
        }
    }
}

fn wanted(event: &ledger::Event, ask: &Ask) -> bool {
    let about = |event: &ledger::Event| {
        let subject = event.subject.as_ref();
        subject.is_some_and(|s| {
            s.sort.as_str() == "device" && s.name == Field::plain(ask.device.as_str())
        })
    };
    (ask.device.is_empty() || about(event)) && event.kind.as_str().starts_with(ask.kind.as_str())
}

/// Tells an event; sealed names are opened, unless the person was forgotten.
fn tell(centre: &Centre, index: u64, event: &ledger::Event) -> Event {
    let open = |name: &str, field: &Field| match field {
        Field::Plain(text) => text.clone(),
        Field::Sealed { key, .. } => {
            let key = centre.key_of(*key);
            let opened = key.and_then(|key| field.open(name, &key).ok());
            opened.unwrap_or_else(|| FORGOTTEN.to_owned())
        }
    };
    let details: BTreeMap<_, _> =
        event.details.iter().map(|(name, field)| (name.clone(), open(name, field))).collect();
    let actor = open("actor", &event.actor.name);
    let subject = event.subject.as_ref().map(|subject| SubjectView {
        sort: subject.sort.as_str().to_owned(),
        name: open("subject", &subject.name),
    });
    let told = Told {
        kind: event.kind.as_str(),
        actor: &actor,
        subject: subject.as_ref().map_or("", |subject| subject.name.as_str()),
        details: &details,
    };
    let decision =
        event.decision.as_ref().and_then(|bytes| <[u8; 10]>::try_from(bytes.as_slice()).ok());
    Event {
        index,
        at: event.at.to_string(),
        kind: event.kind.as_str().to_owned(),
        text: sentence(&told),
        actor: ActorView { sort: event.actor.sort.as_str(), name: actor.clone() },
        subject,
        decision: decision.map(|bits| policy::DecisionId::from_random(bits).to_string()),
        count: event.count,
        details,
    }
}

/// Streams what changes: `event`, `device`, `fleet` and `checkpoint` messages.
#[utoipa::path(get, path = "/v1/events/stream", tag = "record",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn stream(
    State(centre): State<Arc<Centre>>,
    watcher: Watcher,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let receiver: broadcast::Receiver<Live> = centre.live.subscribe();
    let watcher = Arc::new(watcher);
    let batches = BroadcastStream::new(receiver).then(move |live| {
        let (centre, watcher) = (Arc::clone(&centre), Arc::clone(&watcher));
        async move {
            match live {
                // Who was signed out or whose token was revoked hears nothing more.
                _ if !watcher.may_watch(&centre).await => None,
                Ok(live) => Some(messages(&centre, live).await),
                // The watcher was too slow: it reads everything anew.
                Err(_) => Some(vec![Message::default().event("lagged").data("{}")]),
            }
        }
    });
    let batches = batches.take_while(|batch| ready(batch.is_some()));
    let single = batches.flat_map(|batch| stream::iter(batch.unwrap_or_default()).map(Ok));
    Sse::new(single).keep_alive(KeepAlive::default())
}

/// How many of one batch's events or devices are sent one by one; beyond that a watcher is told
/// to read anew.
const MAX_MESSAGES: usize = 100;

async fn messages(centre: &Arc<Centre>, live: Live) -> Vec<Message> {
    match live {
        Live::Checkpoint(note) => message("checkpoint", &note),
        Live::Events(range) => {
            let n = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            if n > MAX_MESSAGES {
                return vec![Message::default().event("lagged").data("{}")];
            }
            let centre = Arc::clone(centre);
            let read = tokio::task::spawn_blocking(move || {
                let entries = centre.recorder.record().range(range.start, n).unwrap_or_default();
                let tell = |entry: &Entry| Some(tell(&centre, entry.index, &entry.event().ok()?));
                entries.iter().filter_map(tell).collect::<Vec<_>>()
            });
            let events = read.await.unwrap_or_default();
            events.iter().flat_map(|event| message("event", event)).collect()
        }
        Live::Devices(ids) if ids.len() > MAX_MESSAGES => {
            vec![Message::default().event("lagged").data("{}")]
        }
        Live::Devices(ids) => {
            let mut messages = Vec::new();
            if let Ok(mut read) = centre.store.read().await {
                for id in &ids {
                    if let Ok(Some(device)) = view::one(&mut read.connection(), id).await {
                        messages.extend(message("device", &device));
                    }
                }
            }
            messages.push(Message::default().event("fleet").data("{}"));
            messages
        }
    }
}

fn message(name: &str, data: &impl Serialize) -> Vec<Message> {
    Message::default().event(name).json_data(data).into_iter().collect()
}

#[derive(Serialize, ToSchema)]
struct Consistency {
    from: u64,
    to: u64,
    /// Hashes in base64, in the order of RFC 6962.
    hashes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Inclusion {
    leaf: String,
    hashes: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Span {
    from: u64,
    to: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Place {
    index: u64,
    size: u64,
}

pub(super) async fn blocking<T: Send + 'static>(
    centre: &Centre,
    work: impl FnOnce(&Record) -> Result<T, RecordError> + Send + 'static,
) -> Result<T, Problem> {
    let record = Arc::clone(centre.recorder.record());
    let result = tokio::task::spawn_blocking(move || work(&record)).await;
    result.map_err(|e| Problem::internal(&e))?.map_err(Problem::malformed)
}

/// Gives the newest signed checkpoint, as a C2SP signed note.
#[utoipa::path(get, path = "/v1/ledger/checkpoint", tag = "record",
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem)))]
async fn checkpoint(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<String, Problem> {
    let note = centre.recorder.record().checkpoint_note();
    note.ok_or_else(|| Problem::not_found("checkpoint", "newest"))
}

/// Gives the key that checkpoints are signed with, as a verifier key of a signed note.
#[utoipa::path(get, path = "/v1/ledger/key", tag = "record",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn key(State(centre): State<Arc<Centre>>) -> String {
    centre.authorities.record.clone()
}

/// Proves that a later state of the record continues an earlier one.
#[utoipa::path(get, path = "/v1/ledger/consistency", tag = "record", params(Span),
    responses((status = 200, body = Consistency), (status = 400, body = Problem)))]
async fn consistency(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Query(Span { from, to }): Query<Span>,
) -> Result<Answer<Consistency>, Problem> {
    let hashes = blocking(&centre, move |record| record.consistency(from, to)).await?;
    Ok(Answer(Consistency { from, to, hashes: hashes.iter().map(ToString::to_string).collect() }))
}

/// Proves that an event is in the record.
#[utoipa::path(get, path = "/v1/ledger/inclusion", tag = "record", params(Place),
    responses((status = 200, body = Inclusion), (status = 400, body = Problem)))]
async fn inclusion(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Query(Place { index, size }): Query<Place>,
) -> Result<Answer<Inclusion>, Problem> {
    let (leaf, hashes) = blocking(&centre, move |record| record.inclusion(index, size)).await?;
    let hashes = hashes.iter().map(ToString::to_string).collect();
    Ok(Answer(Inclusion { leaf: leaf.to_string(), hashes }))
}

/// Gives a hash tile, in the layout of C2SP tlog-tiles.
async fn tile(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Path(path): Path<String>,
) -> Result<Vec<u8>, Problem> {
    if let Some(entries) = path.strip_prefix("entries/") {
        let tile: Tile = format!("0/{entries}").parse().map_err(Problem::malformed)?;
        let bytes = blocking(&centre, move |record| record.entries(tile)).await?;
        return bytes.ok_or_else(|| Problem::not_found("bundle of entries", path));
    }
    let tile: Tile = path.parse().map_err(Problem::malformed)?;
    let bytes = blocking(&centre, move |record| record.tile(tile)).await?;
    bytes.ok_or_else(|| Problem::not_found("tile", path))
}

const READ_ASK: fn(&[u8]) -> Result<(), Problem> =
    |bytes| fuzz::query::<Ask>(bytes)?.parsed().map(drop);

/// What these routes read, as far as they read it without the store.
pub(crate) const READS: &[Read] = &[
    ("GET /v1/events", READ_ASK),
    ("GET /v1/devices/{id}/events", READ_ASK),
    ("GET /v1/ledger/consistency", |bytes| fuzz::query::<Span>(bytes).map(drop)),
    ("GET /v1/ledger/inclusion", |bytes| fuzz::query::<Place>(bytes).map(drop)),
    ("POST /v1/ledger/witnesses", |bytes| fuzz::body::<NewWitness>(bytes)?.parsed().map(drop)),
    ("POST /v1/ledger/cosignatures", |bytes| fuzz::body::<Cosigned>(bytes)?.parsed().map(drop)),
];
