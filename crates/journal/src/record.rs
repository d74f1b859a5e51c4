//! The ledger on disk: segments of events, the tree's hashes, and the signed checkpoints.
//!
//! | file | holds |
//! |---|---|
//! | `segments/N.seg` | events from number N on |
//! | `tiles/L` | the hashes of level L |
//! | `checkpoints`, `checkpoint` | every signed checkpoint, and the last one |
//! | `cosigned` | the last checkpoint that a witness has cosigned |
//! | `lock` | nothing; one process at a time may hold it |
//!
//! An event counts once it is durable in a segment; all else follows from events and signatures.
//! The signing key is elsewhere: `pending_checkpoint` says what to sign, `store_checkpoint` takes
//! the signed note. Before a checkpoint is stored the hashes below it are made durable, so that
//! opening hashes only the events behind the last checkpoint again.

mod checkpoints;
mod open;
mod read;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use ledger::{Event, EventError, Hash, Tree, VerifierKey, leaf_hash};

pub use self::checkpoints::Pending;
pub(crate) use self::open::{SEGMENTS, TILES, log_id};
use crate::committer::{AppendError, Busy, Committed, Committer};
use crate::history::History;
pub use crate::history::HistoryError;
use crate::levels::{Levels, LevelsError};
pub use crate::reader::ReadError;
use crate::reader::Reader;
use crate::writer::OpenError;

/// The ledger in a folder, open for one writer and any number of readers.
pub struct Record {
    dir: PathBuf,
    key: VerifierKey,
    committer: Committer,
    reader: Reader,
    state: Arc<Mutex<State>>,
    history: Mutex<History>,
    // Held until all else is dropped; the system lets go of it when the process ends.
    lock: File,
}

/// What follows from the durable events.
struct State {
    tree: Tree,
    levels: Levels,
    tail: VecDeque<Arc<[u8]>>,
    n_tail_max: usize,
    last_outbox: Option<u64>,
}

/// How a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// From how many bytes on a segment is sealed.
    pub segment_bytes: u64,
    /// How many events may wait for the disk.
    pub queue_events: usize,
    /// How many of the newest events are kept in memory.
    pub tail_events: usize,
}

/// What was found and mended when a record was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// How many events it has.
    pub n_events: u64,
    /// How many bytes of a write that was never acknowledged were cut off.
    pub n_cut_bytes: usize,
    /// How many events were hashed again.
    pub n_rehashed: u64,
}

/// An event as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub index: u64,
    /// Its bytes, which its leaf hashes.
    pub bytes: Arc<[u8]>,
}

/// A record can't be opened, read or signed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its events can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its events can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its checkpoints can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Another file or folder of it can't be used.
    #[error("`{}` could not be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("`{}` is in use by another process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// Signed events are missing.
    #[error(
        "`{signed}` events were signed, but only `{found}` are there; verify the record and restore it from a backup"
    )]
    SignedLost {
        /// How many were signed.
        signed: u64,
        /// How many are there.
        found: u64,
    },
    /// The events have another root than was signed.
    #[error(
        "the first `{size}` events have root `{found}`, but `{signed}` was signed; verify the record and restore it from a backup"
    )]
    Rewritten {
        /// The last checkpoint's size.
        size: u64,
        /// The root of what is there.
        found: Hash,
        /// The root of what was signed.
        signed: Hash,
    },
    /// Hashes could not be kept.
    #[error(
        "the record's hashes could not be stored: {0}; free space or check the disk, then restart"
    )]
    Hashes(String),
    /// An event or size lies outside the record.
    #[error("{0}")]
    Outside(String),
    /// A note is not what it should be.
    #[error(transparent)]
    Note(#[from] ledger::NoteError),
    /// A checkpoint does not follow the last.
    #[error("a checkpoint of `{found}` events can't follow one of `{last}`")]
    Order {
        /// The offered checkpoint's size.
        found: u64,
        /// The last checkpoint's size.
        last: u64,
    },
}

impl Record {
    /// Appends events, waiting while the queue is full; `done` is called on the writer's thread
    /// once they are durable, with their numbers, or can't be. It should only pass that on.
    pub fn append(
        &self,
        events: Vec<Event>,
        done: impl FnOnce(Result<Range<u64>, AppendError>) + Send + 'static,
    ) {
        match encode(&events) {
            Ok(events) => self.committer.append(events, done),
            Err(e) => done(Err(e.into())),
        }
    }

    /// Appends events unless the queue is full; then `done` is dropped without a call.
    pub fn try_append(
        &self,
        events: Vec<Event>,
        done: impl FnOnce(Result<Range<u64>, AppendError>) + Send + 'static,
    ) -> Result<(), Busy> {
        match encode(&events) {
            Ok(events) => self.committer.try_append(events, done),
            Err(e) => {
                done(Err(e.into()));
                Ok(())
            }
        }
    }

    /// Appends events and waits until they are durable.
    pub fn append_and_wait(&self, events: Vec<Event>) -> Result<Range<u64>, AppendError> {
        let (send, receive) = mpsc::sync_channel(1);
        self.append(events, move |range| {
            // Whoever asked is waiting below.
            let _ = send.send(range);
        });
        receive.recv().unwrap_or_else(|_| Err(AppendError::Stuck("its thread has ended".into())))
    }

    /// Gives the highest number of the store's outbox among the durable events.
    pub fn last_outbox(&self) -> Option<u64> {
        self.state().last_outbox
    }

    /// Makes durable what was appended so far and closes the record.
    pub fn close(self) {
        self.committer.close();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in events that have become durable, and gives the number for the segment's seal.
    fn take(&mut self, committed: Committed<'_>) -> u64 {
        for event in committed.events {
            self.push(event);
            if self.tail.len() == self.n_tail_max {
                self.tail.pop_front();
            }
            if self.n_tail_max > 0 {
                self.tail.push_back(event.clone());
            }
        }
        // What can't be stored now waits in memory; the next checkpoint says so if it still can't.
        if let Err(e) = self.levels.store_if_long() {
            tracing::warn!(error = %e, "the record's hashes could not be stored");
        }
        carry(self.last_outbox)
    }

    fn push(&mut self, event: &[u8]) {
        let leaf = leaf_hash(event);
        self.tree.push(leaf);
        self.levels.push(leaf);
        self.last_outbox = self.last_outbox.max(Event::outbox_of(event));
    }
}

impl Entry {
    /// Reads the event.
    pub fn event(&self) -> Result<Event, EventError> {
        Event::decode(&self.bytes)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 32 << 20, queue_events: 65_536, tail_events: 4096 }
    }
}

impl From<LevelsError> for RecordError {
    fn from(e: LevelsError) -> Self {
        Self::Hashes(e.to_string())
    }
}

fn encode(events: &[Event]) -> Result<Vec<Arc<[u8]>>, EventError> {
    events.iter().map(|event| event.encode().map(Arc::from)).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A seal has nought for none.
fn carry(outbox: Option<u64>) -> u64 {
    outbox.map_or(0, |outbox| outbox.saturating_add(1))
}

#[cfg(test)]
mod tests;
