//! Opens a record: mends what a crash left, refuses what only damage or a rewrite can have left.

use std::collections::VecDeque;
use std::fs::TryLockError;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ledger::{Checkpoint, Event, Tree, VerifierKey};

use super::{Options, Record, RecordError, Recovery, State, carry, lock};
use crate::committer::Committer;
use crate::disk;
use crate::history::History;
use crate::levels::Levels;
use crate::reader::Reader;
use crate::writer::Writer;

impl Record {
    /// Opens the record in a folder, making it if needed; the key's name is the log's origin.
    pub fn open(
        dir: &Path,
        key: VerifierKey,
        options: Options,
    ) -> Result<(Self, Recovery), RecordError> {
        let io = |source| RecordError::Io { path: dir.to_path_buf(), source };
        disk::make_dir(dir).map_err(io)?;
        let file = disk::open(&dir.join("lock")).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecordError::InUse(dir.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let (mut writer, recovered) =
            Writer::open(&dir.join(SEGMENTS), log_id(&key), options.segment_bytes)?;
        let reader = writer.reader();
        let history = History::open(dir, &key)?;
        let n_events = recovered.n_events;
        if let Some(last) = history.last().filter(|last| last.size > n_events) {
            return Err(RecordError::SignedLost { signed: last.size, found: n_events });
        }
        let tiles = dir.join(TILES);
        let mut hashed = match resume(&tiles, history.last())? {
            Some(hashed) => hashed,
            None => {
                tracing::warn!(dir = %dir.display(), "stored hashes are missing or damaged; all events are hashed again");
                (
                    Tree::new(),
                    open_levels(&tiles, 0)?
                        .ok_or(RecordError::Hashes("they can't be begun anew".into()))?,
                )
            }
        };
        let n_rehashed = n_events - hashed.0.size();
        rehash(&reader, &mut hashed, history.last())?;
        let (tree, levels) = hashed;
        let last_outbox = find_outbox(&reader, recovered.active_first, recovered.carry)?;
        writer.set_carry(carry(last_outbox));
        let (tail, n_tail_max) = (VecDeque::new(), options.tail_events);
        let state = Arc::new(Mutex::new(State { tree, levels, tail, n_tail_max, last_outbox }));
        let of_writer = state.clone();
        let tell =
            move |committed: crate::committer::Committed<'_>| lock(&of_writer).take(committed);
        let committer = Committer::start(writer, options.queue_events, tell).map_err(io)?;
        let recovery = Recovery { n_events, n_cut_bytes: recovered.n_cut_bytes, n_rehashed };
        let (dir, history) = (dir.to_path_buf(), Mutex::new(history));
        Ok((Self { dir, key, committer, reader, state, history, lock: file }, recovery))
    }
}

/// Takes up tree and hashes at the last checkpoint; none if they do not lead to its root.
fn resume(tiles: &Path, last: Option<&Checkpoint>) -> Result<Option<(Tree, Levels)>, RecordError> {
    let Some(last) = last else {
        return Ok(open_levels(tiles, 0)?.map(|levels| (Tree::new(), levels)));
    };
    let Some(levels) = open_levels(tiles, last.size)? else { return Ok(None) };
    let tree = levels.tree(last.size)?;
    Ok(if tree.root() == last.root { Some((tree, levels)) } else { None })
}

fn open_levels(tiles: &Path, size: u64) -> Result<Option<Levels>, RecordError> {
    Levels::open(tiles, size)
        .map_err(|source| RecordError::Io { path: tiles.to_path_buf(), source })
}

/// Hashes the events behind those that are hashed, and checks the root at the last checkpoint.
fn rehash(
    reader: &Reader,
    (tree, levels): &mut (Tree, Levels),
    last: Option<&Checkpoint>,
) -> Result<(), RecordError> {
    let mut failed = None;
    reader.walk(tree.size(), |_, event| {
        failed = rehash_one(event, tree, levels, last).err();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(()), Err)
}

fn rehash_one(
    event: &[u8],
    tree: &mut Tree,
    levels: &mut Levels,
    last: Option<&Checkpoint>,
) -> Result<(), RecordError> {
    let leaf = ledger::leaf_hash(event);
    tree.push(leaf);
    levels.push(leaf);
    levels.store_if_long().map_err(|e| RecordError::Hashes(e.to_string()))?;
    let Some(last) = last.filter(|last| last.size == tree.size()) else { return Ok(()) };
    let found = tree.root();
    if found == last.root {
        return Ok(());
    }
    Err(RecordError::Rewritten { size: last.size, found, signed: last.root })
}

/// Finds the highest outbox number: in the last segment, or what the one before it carries.
fn find_outbox(
    reader: &Reader,
    active_first: u64,
    carried: u64,
) -> Result<Option<u64>, RecordError> {
    let mut last = carried.checked_sub(1);
    reader.walk(active_first, |_, event| {
        last = last.max(Event::outbox_of(event));
        ControlFlow::Continue(())
    })?;
    Ok(last)
}

/// Tells the segments of one log from those of another.
pub(crate) fn log_id(key: &VerifierKey) -> [u8; 32] {
    ledger::leaf_hash(key.name().as_bytes()).0
}

pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const TILES: &str = "tiles";
