//! Reads a record: events by number, pages of them, tiles, bundles and proofs.

use std::ops::ControlFlow;
use std::sync::Arc;

use ledger::proof::{self, ProofError};
use ledger::tile::append_entry;
use ledger::{Hash, Tile};

use super::{Entry, Record, RecordError};
use crate::levels::LevelsError;

impl Record {
    /// Counts the durable events.
    pub fn n_events(&self) -> u64 {
        self.state().tree.size()
    }

    /// Tells how many bytes are free on the disk that it is kept on.
    pub fn room(&self) -> std::io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.lock)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Reads one event; none behind the last.
    pub fn event(&self, index: u64) -> Result<Option<Entry>, RecordError> {
        Ok(self.range(index, 1)?.pop())
    }

    /// Reads events before number `before`, or the last ones, newest first.
    pub fn newest(&self, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, RecordError> {
        let end = before.unwrap_or(u64::MAX).min(self.n_events());
        let n_events = u64::try_from(limit.min(MAX_PAGE)).unwrap_or(u64::MAX).min(end);
        let mut entries =
            self.range(end - n_events, usize::try_from(n_events).unwrap_or(MAX_PAGE))?;
        entries.reverse();
        Ok(entries)
    }

    /// Reads events from number `from` on, oldest first, at most 10,000.
    pub fn range(&self, from: u64, limit: usize) -> Result<Vec<Entry>, RecordError> {
        let limit = limit.min(MAX_PAGE);
        if let Some(entries) = self.range_of_tail(from, limit) {
            return Ok(entries);
        }
        let n_events = self.n_events();
        let mut entries = Vec::new();
        self.reader.walk(from, |index, bytes| {
            if index >= n_events || entries.len() >= limit {
                return ControlFlow::Break(());
            }
            entries.push(Entry { index, bytes: Arc::from(bytes) });
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// Reads from memory; none if the first event asked for is not there.
    fn range_of_tail(&self, from: u64, limit: usize) -> Option<Vec<Entry>> {
        let state = self.state();
        let tail_first = state.tree.size() - u64::try_from(state.tail.len()).ok()?;
        let skip = usize::try_from(from.checked_sub(tail_first)?).ok()?;
        let events = state.tail.iter().skip(skip).take(limit);
        Some(
            (from..)
                .zip(events)
                .map(|(index, bytes)| Entry { index, bytes: bytes.clone() })
                .collect(),
        )
    }

    /// Reads a tile's hashes; none if the record has not as many yet.
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, RecordError> {
        let state = self.state();
        let range = state.levels.range(tile.level(), tile.first_hash(), usize::from(tile.width()));
        let hashes = range.map_err(LevelsError::from)?;
        Ok(hashes.map(|hashes| hashes.iter().flat_map(|hash| hash.0).collect()))
    }

    /// Reads the events of a level 0 tile as a bundle; none if the record has not as many yet.
    pub fn entries(&self, tile: Tile) -> Result<Option<Vec<u8>>, RecordError> {
        let width = usize::from(tile.width());
        let entries = self.range(tile.first_hash(), width)?;
        if tile.level() != 0 || entries.len() < width {
            return Ok(None);
        }
        let mut bundle = Vec::new();
        for entry in &entries {
            append_entry(&mut bundle, &entry.bytes)
                .map_err(|e| RecordError::Outside(e.to_string()))?;
        }
        Ok(Some(bundle))
    }

    /// Gives an event's leaf and the proof that it is among the first `size` events.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<(Hash, Vec<Hash>), RecordError> {
        let state = self.state();
        outside(size, state.tree.size())?;
        let proof = proof::inclusion(index, size, &state.levels).map_err(of_proof)?;
        let leaf = proof::Hashes::hash(&state.levels, 0, index)?;
        Ok((leaf, proof))
    }

    /// Gives the proof that the first `from` events are the beginning of the first `to`.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, RecordError> {
        let state = self.state();
        outside(to, state.tree.size())?;
        proof::consistency(from, to, &state.levels).map_err(of_proof)
    }

    /// Gives the root over the first `size` events.
    pub fn root(&self, size: u64) -> Result<Hash, RecordError> {
        let state = self.state();
        outside(size, state.tree.size())?;
        Ok(proof::root(size, &state.levels)?)
    }
}

fn outside(size: u64, n_events: u64) -> Result<(), RecordError> {
    if size <= n_events {
        return Ok(());
    }
    Err(RecordError::Outside(format!("the record has `{n_events}` events, not `{size}`")))
}

fn of_proof(e: ProofError<LevelsError>) -> RecordError {
    match e {
        ProofError::Hashes(e) => e.into(),
        e @ (ProofError::Outside { .. } | ProofError::Backwards { .. } | ProofError::Mismatch) => {
            RecordError::Outside(e.to_string())
        }
    }
}

const MAX_PAGE: usize = 10_000;
