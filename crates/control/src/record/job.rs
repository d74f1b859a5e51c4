//! The jobs of the record: moving the outbox into the ledger, and having checkpoints signed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::{Record, RecordError};
use ledger::Event;
use tokio::sync::{Notify, broadcast, oneshot};
use tracing::{error, warn};

use crate::custody::Custody;
use crate::live::Live;
use crate::store::{Store, StoreError, params};

/// Writes events into the ledger.
#[derive(Clone)]
pub(crate) struct Recorder {
    record: Arc<Record>,
    outbox: Arc<Notify>,
    live: broadcast::Sender<Live>,
}

/// How long after a checkpoint the next one is signed, when there is something new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// After how many new events a checkpoint is signed before its time.
const CHECKPOINT_EVENTS: u64 = 10_000;
/// How many events leave the outbox at once.
const BATCH: i64 = 1000;
/// How far back a restart looks for events that left the outbox but were not struck from it.
const LOOK_BACK: usize = 65_536;

/// Starts the jobs.
pub(crate) async fn start(
    record: Arc<Record>,
    store: Store,
    custody: Custody,
    live: broadcast::Sender<Live>,
) -> Result<Recorder, StoreError> {
    let recorder = Recorder { record, outbox: Arc::new(Notify::new()), live };
    strike_recorded(&recorder.record, &store).await?;
    recorder.outbox.notify_one();
    tokio::spawn(drain(recorder.clone(), store));
    tokio::spawn(sign_checkpoints(recorder.clone(), custody));
    Ok(recorder)
}

impl Recorder {
    /// Says that a transaction with events was committed.
    pub(crate) fn committed(&self) {
        self.outbox.notify_one();
    }

    /// Lends the ledger for reading.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Writes events that do not belong to a change in the store; durable when it answers.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<(), String> {
        if events.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let record = Arc::clone(&self.record);
        // A full queue blocks, which belongs on a thread that may.
        let submitted = tokio::task::spawn_blocking(move || {
            record.append(events, move |result| {
                let _ = sender.send(result);
            });
        });
        submitted.await.map_err(|e| e.to_string())?;
        let range = receiver.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let _ = self.live.send(Live::Events(range));
        Ok(())
    }
}

/// After a crash between writing to the ledger and striking from the outbox, some events are in
/// both: they are struck without being written again. An event is the same only if all of it is:
/// a store that was restored from a backup counts its numbers anew.
async fn strike_recorded(record: &Arc<Record>, store: &Store) -> Result<(), StoreError> {
    let mut write = store.write().await?;
    let rows =
        write.connection().rows("select seq, event from outbox order by seq", params![]).await?;
    let mut waiting = BTreeMap::new();
    for row in &rows {
        let seq: i64 = row.get(0)?;
        waiting.insert(seq, numbered(seq, &row.get::<Vec<u8>>(1)?)?);
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let record = Arc::clone(record);
    let newest = tokio::task::spawn_blocking(move || record.newest(None, LOOK_BACK)).await;
    let newest = newest.ok().and_then(Result::ok).unwrap_or_default();
    for event in newest.iter().filter_map(|entry| entry.event().ok()) {
        let Some(seq) = event.outbox.and_then(|seq| i64::try_from(seq).ok()) else { continue };
        if waiting.get(&seq) == Some(&event) {
            write.connection().execute("delete from outbox where seq = $1", params![seq]).await?;
        }
    }
    write.commit().await
}

/// An event of the outbox as it stands in the ledger: with its number.
fn numbered(seq: i64, bytes: &[u8]) -> Result<Event, StoreError> {
    let mut event =
        Event::decode(bytes).map_err(|_| StoreError::Unreadable("an event of the outbox"))?;
    event.outbox = u64::try_from(seq).ok();
    Ok(event)
}

async fn drain(recorder: Recorder, store: Store) {
    loop {
        recorder.outbox.notified().await;
        while let Err(error) = drain_all(&recorder, &store).await {
            error!(%error, "events wait in the outbox because the record cannot be written");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn drain_all(recorder: &Recorder, store: &Store) -> Result<(), String> {
    let text = |e: StoreError| e.to_string();
    loop {
        let mut read = store.read().await.map_err(text)?;
        let select = "select seq, event from outbox order by seq limit $1";
        let rows = read.connection().rows(select, params![BATCH]).await.map_err(text)?;
        drop(read);
        if rows.is_empty() {
            return Ok(());
        }
        let mut events = Vec::with_capacity(rows.len());
        let mut sequences = Vec::with_capacity(rows.len());
        for row in &rows {
            let seq: i64 = row.get(0).map_err(text)?;
            let mut event =
                Event::decode(&row.get::<Vec<u8>>(1).map_err(text)?).map_err(|e| e.to_string())?;
            event.outbox = u64::try_from(seq).ok();
            events.push(event);
            sequences.push(seq);
        }
        recorder.append(events).await?;
        let mut write = store.write().await.map_err(text)?;
        for seq in sequences {
            let delete = "delete from outbox where seq = $1";
            write.connection().execute(delete, params![seq]).await.map_err(text)?;
        }
        write.commit().await.map_err(text)?;
    }
}

/// Signs what is new at once, and then no more often than once in a while.
async fn sign_checkpoints(recorder: Recorder, custody: Custody) {
    let mut live = recorder.live.subscribe();
    loop {
        more_events(&recorder, &mut live, 1).await;
        match sign_checkpoint(&recorder, &custody).await {
            Ok(None) => (),
            Ok(Some(note)) => {
                let _ = recorder.live.send(Live::Checkpoint(note));
            }
            Err(error) => warn!(%error, "the record's checkpoint was not signed"),
        }
        tokio::select! {
            () = tokio::time::sleep(CHECKPOINT_EVERY) => (),
            () = more_events(&recorder, &mut live, CHECKPOINT_EVENTS) => (),
        }
    }
}

/// Waits until so many events stand beyond the last checkpoint.
async fn more_events(recorder: &Recorder, live: &mut broadcast::Receiver<Live>, n_events: u64) {
    loop {
        let signed = recorder.record.last_checkpoint().map_or(0, |checkpoint| checkpoint.size);
        if recorder.record.n_events().saturating_sub(signed) >= n_events {
            return;
        }
        if let Err(broadcast::error::RecvError::Closed) = live.recv().await {
            return std::future::pending().await;
        }
    }
}

impl Recorder {
    /// Has everything that was written signed for, as when control stops.
    pub(crate) async fn sign_all(&self, custody: &Custody) -> Result<(), String> {
        sign_checkpoint(self, custody).await.map(|_| ())
    }
}

/// The proof leads from what custody signed last, which after a crash may be one checkpoint
/// further than what was stored here.
async fn sign_checkpoint(recorder: &Recorder, custody: &Custody) -> Result<Option<String>, String> {
    let Some(pending) = blocking(recorder, |record| record.pending_checkpoint()).await? else {
        return Ok(None);
    };
    let checkpoint = pending.checkpoint;
    let signed = custody.signed().await.map_err(|e| e.to_string())?;
    let size = checkpoint.size;
    let proof = match signed {
        // Nothing was signed yet, or this very state was, and then not stored.
        from if from == 0 || from == size => Vec::new(),
        from if from > size => {
            return Err(format!(
                "the record has {size} events, but {from} were signed: its end is missing"
            ));
        }
        from => blocking(recorder, move |record| record.consistency(from, size)).await?,
    };
    let proof = proof.iter().map(|hash| hash.0).collect();
    let note =
        custody.sign_checkpoint(checkpoint.text(), proof).await.map_err(|e| e.to_string())?;
    let stored = note.clone();
    blocking(recorder, move |record| record.store_checkpoint(stored.as_bytes())).await?;
    Ok(Some(note))
}

async fn blocking<T: Send + 'static>(
    recorder: &Recorder,
    work: impl FnOnce(&Record) -> Result<T, RecordError> + Send + 'static,
) -> Result<T, String> {
    let record = Arc::clone(&recorder.record);
    let result = tokio::task::spawn_blocking(move || work(&record)).await;
    result.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
