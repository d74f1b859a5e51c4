//! What store and record know of each other, put right when control starts.
//!
//! With every batch that leaves the outbox the store keeps how many events the record then had. At
//! the next start only events behind that number are in question. Each of them either still waits
//! in the outbox, since a crash came between writing and striking: it is struck. Or the store does
//! not know of it: then the store is older than the record, as after a restore, and what the
//! events say was cut off is cut off again. A record that ends before that number has lost its
//! end; that is only gone on with where a restore says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::Time;
use journal::vault::SealingKey;
use journal::{Entry, Record, RecordError};
use ledger::Event;
use tracing::warn;

use super::{Actor, Draft, put};
use crate::backup::Restored;
use crate::backup::cuts::{Cuts, Made};
use crate::people::load_keys;
use crate::store::{Connection, Store, StoreError, params};

/// Store and record do not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record lacks its end.
    #[error(
        "the record holds `{found}` events, and the store has put `{known}` into it: its end is missing; restore both from one backup"
    )]
    Short {
        /// How many there are.
        found: u64,
        /// How many the store knows of.
        known: u64,
    },
    /// The store is not the one that the record was written from.
    #[error(
        "the record holds `{found}` events, and the store knows of none: its file is gone or it is another one; restore both from one backup"
    )]
    Strange {
        /// How many there are.
        found: u64,
    },
    /// The work was cut off.
    #[error("reading the record was cut off")]
    CutOff,
}

/// Events of the record that the store does not know of.
#[derive(Default)]
struct Unknown {
    n_events: u64,
    kinds: BTreeMap<String, u64>,
    cuts: Cuts,
}

/// How many events are read at once.
const PAGE: u64 = 10_000;
/// How far back is looked where the store does not say how far it knows the record.
const LOOK_BACK: u64 = 65_536;
/// What leaves nothing in the store that somebody would miss.
const OBSERVED: [&str; 14] = [
    "system.started",
    "system.stopped",
    "data.restored",
    "backup.made",
    "device.connected",
    "device.disconnected",
    "session.ended",
    "consumer.slow",
    "access.denied",
    "handshake.refused",
    "claim.refused",
    "operator.signed-in",
    "operator.refused",
    "operator.locked",
];
const RECORDED: &str = "recorded";
const RESTORED: &str = "restored";

/// Puts right what a crash or a restore left; says whether the data was restored.
pub(crate) async fn reconcile(
    record: &Arc<Record>,
    store: &Store,
    secret: &SealingKey,
    restored: Option<&Restored>,
    now: Time,
) -> Result<bool, ReconcileError> {
    let mut write = store.write().await?;
    let mut c = write.connection();
    let n_events = record.n_events();
    let known = recorded(&mut c).await?;
    let restored = match restored {
        Some(restored) if !is_noted(&mut c, restored).await? => Some(restored),
        Some(_) | None => None,
    };
    if let Some(known) = known.filter(|known| *known > n_events)
        && restored.is_none()
    {
        return Err(ReconcileError::Short { found: n_events, known });
    }
    let mut waiting = waiting(&mut c).await?;
    let mut unknown = Unknown::default();
    let mut from = known.unwrap_or(n_events.saturating_sub(LOOK_BACK));
    while from < n_events {
        let entries = page(record, from).await?;
        from = from.saturating_add(PAGE);
        for event in entries.iter().filter_map(|entry| entry.event().ok()) {
            let Some(seq) = event.outbox.and_then(|seq| i64::try_from(seq).ok()) else { continue };
            if waiting.get(&seq) == Some(&event) {
                waiting.remove(&seq);
                let strike = "delete from outbox where seq = $1";
                c.execute(strike, params![seq]).await?;
            } else {
                unknown.take(event);
            }
        }
    }
    if known.is_none() && restored.is_none() && unknown.n_events > 0 {
        return Err(ReconcileError::Strange { found: n_events });
    }
    let is_older = restored.is_some() || unknown.n_events > 0;
    if is_older {
        let people = load_keys(&mut c, secret).await?;
        let made = unknown.cuts.make(&mut c, &people, now).await?;
        let n_lost = known.unwrap_or(0).saturating_sub(n_events);
        note(&mut c, restored, &unknown, made, n_lost, now).await?;
    }
    set_recorded(&mut c, n_events).await?;
    write.commit().await?;
    Ok(is_older)
}

/// Reads how many events the store knows to be in the record; none before the first.
pub(crate) async fn recorded(c: &mut Connection<'_>) -> Result<Option<u64>, StoreError> {
    let value = meta(c, RECORDED).await?;
    let number = |value: Vec<u8>| value.try_into().map(u64::from_be_bytes);
    value.map(number).transpose().map_err(|_| StoreError::Unreadable("how far the record goes"))
}

/// Keeps how many events are in the record, in the transaction that strikes them from the outbox.
pub(super) async fn set_recorded(c: &mut Connection<'_>, n: u64) -> Result<(), StoreError> {
    set_meta(c, RECORDED, n.to_be_bytes().to_vec()).await
}

/// A restore is noted once, even if control is killed before it removes what tells of it.
async fn is_noted(c: &mut Connection<'_>, restored: &Restored) -> Result<bool, StoreError> {
    Ok(meta(c, RESTORED).await?.as_deref() == Some(restored.id.as_bytes()))
}

async fn meta(c: &mut Connection<'_>, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = c.row("select value from meta where name = $1", params![name]).await?;
    row.map(|row| row.get(0)).transpose()
}

async fn set_meta(c: &mut Connection<'_>, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
    let sql = "insert into meta (name, value) values ($1, $2) \
               on conflict (name) do update set value = excluded.value";
    c.execute(sql, params![name, value]).await?;
    Ok(())
}

/// Reads the events that wait in the outbox, each as it would stand in the record.
async fn waiting(c: &mut Connection<'_>) -> Result<BTreeMap<i64, Event>, StoreError> {
    let rows = c.rows("select seq, event from outbox order by seq", params![]).await?;
    let mut waiting = BTreeMap::new();
    for row in &rows {
        let seq: i64 = row.get(0)?;
        waiting.insert(seq, numbered(seq, &row.get::<Vec<u8>>(1)?)?);
    }
    Ok(waiting)
}

/// Reads an event of the outbox as it stands in the record: with its number.
pub(super) fn numbered(seq: i64, bytes: &[u8]) -> Result<Event, StoreError> {
    let mut event =
        Event::decode(bytes).map_err(|_| StoreError::Unreadable("an event of the outbox"))?;
    event.outbox = u64::try_from(seq).ok();
    Ok(event)
}

async fn page(record: &Arc<Record>, from: u64) -> Result<Vec<Entry>, ReconcileError> {
    let record = Arc::clone(record);
    let limit = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let read = tokio::task::spawn_blocking(move || record.range(from, limit));
    Ok(read.await.map_err(|_| ReconcileError::CutOff)??)
}

impl Unknown {
    fn take(&mut self, event: Event) {
        self.n_events += 1;
        let is_change = !OBSERVED.contains(&event.kind.as_str());
        if !self.cuts.take(&event) && is_change {
            *self.kinds.entry(event.kind.as_str().to_owned()).or_default() += 1;
        }
    }
}

/// Notes the restore in the record and the log, with what was mended and what was not.
async fn note(
    c: &mut Connection<'_>,
    restored: Option<&Restored>,
    unknown: &Unknown,
    made: Made,
    n_lost: u64,
    now: Time,
) -> Result<(), StoreError> {
    end_what_was_to_be_used_once(c, now).await?;
    let mut draft = Draft::new("data.restored", &Actor::System("control"));
    if let Some(Restored { made, at, events, seen_elsewhere, id }) = restored {
        draft = draft.with("backup_made", made).with("restored", at).with("events", events);
        if let Some(seen) = seen_elsewhere {
            draft = draft.with("missing", seen.saturating_sub(*events));
        }
        set_meta(c, RESTORED, id.as_bytes().to_vec()).await?;
    }
    if n_lost > 0 {
        draft = draft.with("lost", n_lost);
    }
    let kinds: Vec<_> = unknown.kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
    let kinds = kinds.join(", ");
    draft = draft.with("unknown", unknown.n_events).with("cut_again", made.n_cuts);
    if !kinds.is_empty() {
        draft = draft.with("not_mended", &kinds);
    }
    warn!(
        unknown = unknown.n_events,
        cut_again = made.n_cuts,
        not_mended = kinds,
        lost = n_lost,
        "the store is older than the record, or both were restored: see `palisade events --kind data.restored`"
    );
    put(c, &draft.finish(now, None, None)).await?;
    for event in made.events {
        put(c, &event).await?;
    }
    Ok(())
}

/// An older store does not know what was used up, signed out or renewed since: all of it ends.
async fn end_what_was_to_be_used_once(c: &mut Connection<'_>, now: Time) -> Result<(), StoreError> {
    c.execute("delete from session", params![]).await?;
    c.execute("update operator set link = null, link_expires = null", params![]).await?;
    let claims = "update claim set expires = $1 where used is null and expires > $1";
    c.execute(claims, params![now]).await?;
    Ok(())
}
