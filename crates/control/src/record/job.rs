//! The jobs of the record: moving the outbox into the ledger, and having checkpoints signed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use journal::{Record, RecordError};
use ledger::Event;
use tokio::sync::{Mutex, Notify, broadcast, oneshot};
use tracing::{error, warn};

use super::reconcile::{numbered, set_recorded};
use crate::custody::Custody;
use crate::live::Live;
use crate::store::{Store, StoreError, many, params};

/// Writes events into the ledger.
#[derive(Clone)]
pub(crate) struct Recorder {
    record: Arc<Record>,
    outbox: Arc<Notify>,
    /// Told whenever the outbox was found empty.
    drained: Arc<Notify>,
    /// Set when the store is about to close.
    ended: Arc<AtomicBool>,
    /// Held while the outbox is being emptied: who ends that waits for a job that is under way.
    draining: Arc<Mutex<()>>,
    /// Held by the one who has a checkpoint signed: a second would prove from what the first left.
    signing: Arc<Mutex<()>>,
    live: broadcast::Sender<Live>,
}

/// How long after a checkpoint the next one is signed, when there is something new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// After how many new events a checkpoint is signed before its time.
const CHECKPOINT_EVENTS: u64 = 10_000;
/// How many events leave the outbox at once.
const BATCH: i64 = 1000;

/// Starts the jobs.
pub(crate) fn start(
    record: Arc<Record>,
    store: Store,
    custody: Custody,
    live: broadcast::Sender<Live>,
) -> Recorder {
    let (outbox, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ended, draining, signing) = (Arc::default(), Arc::default(), Arc::default());
    let recorder = Recorder { record, outbox, drained, ended, draining, signing, live };
    recorder.outbox.notify_one();
    tokio::spawn(drain(recorder.clone(), store));
    tokio::spawn(sign_checkpoints(recorder.clone(), custody));
    recorder
}

impl Recorder {
    /// Says that a transaction with events was committed.
    pub(crate) fn committed(&self) {
        self.outbox.notify_one();
    }

    /// Waits until all events of committed transactions are in the ledger; none follow.
    pub(crate) async fn settle(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let drained = self.drained.notified();
            let mut read = store.read().await?;
            let waiting =
                read.connection().row("select seq from outbox limit 1", params![]).await?;
            drop(read);
            if waiting.is_none() {
                let _at_rest = self.draining.lock().await;
                self.ended.store(true, Ordering::Relaxed);
                return Ok(());
            }
            self.outbox.notify_one();
            drained.await;
        }
    }

    /// Lends the ledger for reading.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Writes events that do not belong to a change in the store, durable when it answers; gives
    /// how many the record then has.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<u64, String> {
        if events.is_empty() {
            return Ok(self.record.n_events());
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
        let end = range.end;
        let _ = self.live.send(Live::Events(range));
        Ok(end)
    }
}

/// What left the outbox for the ledger and is still to be struck out.
struct Written {
    sequences: Vec<i64>,
    /// How many events the record had then.
    end: u64,
}

async fn drain(recorder: Recorder, store: Store) {
    // Kept over a failure: what was written once is struck, not written again.
    let mut written = None;
    loop {
        recorder.outbox.notified().await;
        let _at_work = recorder.draining.lock().await;
        if recorder.ended.load(Ordering::Relaxed) {
            return;
        }
        while let Err(error) = drain_all(&recorder, &store, &mut written).await {
            error!(%error, "events wait in the outbox because the record cannot be written");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        recorder.drained.notify_waiters();
    }
}

async fn drain_all(
    recorder: &Recorder,
    store: &Store,
    written: &mut Option<Written>,
) -> Result<(), String> {
    let text = |e: StoreError| e.to_string();
    loop {
        if let Some(batch) = written {
            strike(store, batch).await.map_err(text)?;
            *written = None;
        }
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
            let event: Vec<u8> = row.get(1).map_err(text)?;
            events.push(numbered(seq, &event).map_err(text)?);
            sequences.push(seq);
        }
        let end = recorder.append(events).await?;
        *written = Some(Written { sequences, end });
    }
}

async fn strike(store: &Store, written: &Written) -> Result<(), StoreError> {
    static STRIKE: LazyLock<String> =
        LazyLock::new(|| format!("delete from outbox where seq in ({})", many::places_from(1)));
    let mut write = store.write().await?;
    let mut c = write.connection();
    for run in many::runs(&written.sequences) {
        c.execute(&STRIKE, run).await?;
    }
    set_recorded(&mut c, written.end).await?;
    write.commit().await
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
    let _alone = recorder.signing.lock().await;
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
