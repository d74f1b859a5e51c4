//! What has changed since a store last took it: the newest row of each key, so that what came and went meanwhile is
//! never written.
//!
//! The owner takes a batch of changes when its store is free, and says when the batch is durable. An answer that
//! promises something waits for the batch that holds what it promises.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::row::{Change, Row, RowKey};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Changes<P> {
    /// Whether there is a store.
    is_kept: bool,
    dirty: BTreeMap<RowKey, Entry<P>>,
    /// The batch that is being gathered.
    gathering: u64,
    /// The last batch that is durable.
    durable: u64,
    /// Whether the batch before the one that is gathered is with the store.
    is_out: bool,
    /// Whether the input that is being handled has changed anything.
    is_touched: bool,
    /// Whether something waits for the batch that is gathered.
    is_urgent: bool,
    /// Since when there has been something to write.
    since: Option<Instant>,
}

#[derive(Debug)]
enum Entry<P> {
    /// The store doesn't have the key.
    New(Row<P>),
    /// The store may have an earlier row.
    Changed(Row<P>),
    Gone,
}

impl<P> Changes<P> {
    pub(super) const fn new(is_kept: bool) -> Self {
        Self {
            is_kept,
            dirty: BTreeMap::new(),
            gathering: 1,
            durable: 0,
            is_out: false,
            is_touched: false,
            is_urgent: false,
            since: None,
        }
    }

    /// Tells whether there is a store.
    pub(super) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Notes a row; a new one is known not to be in the store.
    pub(super) fn put(&mut self, row: Row<P>, is_new: bool) {
        if !self.is_kept {
            return;
        }
        self.is_touched = true;
        let key = row.key();
        let entry = match self.dirty.get(&key) {
            None if is_new => Entry::New(row),
            Some(Entry::New(_)) => Entry::New(row),
            None | Some(Entry::Changed(_) | Entry::Gone) => Entry::Changed(row),
        };
        self.dirty.insert(key, entry);
    }

    /// Notes that a row is no more.
    pub(super) fn forget(&mut self, key: RowKey) {
        if !self.is_kept {
            return;
        }
        self.is_touched = true;
        if let Some(Entry::New(_)) = self.dirty.get(&key) {
            self.dirty.remove(&key);
        } else {
            self.dirty.insert(key, Entry::Gone);
        }
    }

    /// An input begins to be handled.
    pub(super) const fn begin(&mut self) {
        self.is_touched = false;
    }

    /// Returns the batch that must be durable before the input that is being handled is answered; 0 if none must.
    pub(super) const fn promised(&mut self) -> u64 {
        if !self.is_touched {
            return 0;
        }
        self.is_urgent = true;
        self.gathering
    }

    /// Tells whether a batch is durable.
    pub(super) const fn is_durable(&self, batch: u64) -> bool {
        batch <= self.durable
    }

    /// Gives the batches that are not durable: the one that is gathered, and the one before if it is with the store.
    pub(super) fn not_durable(&self) -> impl Iterator<Item = u64> + use<P> {
        self.durable + 1..=self.gathering
    }

    /// Returns when the changes are to be taken; none while there are none or the store is at work.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.is_out {
            true => None,
            false if self.is_urgent => Some(Instant::default()),
            false => self.since.map(|since| since.plus(PATIENCE)),
        }
    }

    /// Tells whether the store is at work.
    pub(super) const fn is_out(&self) -> bool {
        self.is_out
    }

    /// Takes the changes for the store, if they are due.
    pub(super) fn take(&mut self, now: Instant) -> Taken<P> {
        if self.since.is_none() && !self.dirty.is_empty() {
            self.since = Some(now);
        }
        if self.due().is_none_or(|due| due > now) {
            return Taken::Nothing;
        }
        self.take_all()
    }

    /// Takes the changes for the store unless it is at work.
    pub(super) fn take_all(&mut self) -> Taken<P> {
        if self.is_out {
            return Taken::Nothing;
        }
        self.gathering += 1;
        self.since = None;
        self.is_urgent = false;
        if self.dirty.is_empty() {
            // All that was promised has come and gone.
            self.durable = self.gathering - 1;
            return Taken::Durable;
        }
        self.is_out = true;
        let changes =
            core::mem::take(&mut self.dirty).into_iter().map(|(key, entry)| match entry {
                Entry::New(row) | Entry::Changed(row) => Change::Put(row),
                Entry::Gone => Change::Gone(key),
            });
        Taken::Changes(changes.collect())
    }

    /// The changes that were taken are durable.
    pub(super) const fn keep(&mut self) {
        if self.is_out {
            self.is_out = false;
            self.durable = self.gathering - 1;
        }
    }
}

pub(super) enum Taken<P> {
    Changes(Vec<Change<P>>),
    /// There is nothing to write, and what was promised is durable.
    Durable,
    Nothing,
}

/// How long changes that nobody waits for may lie before they are written.
const PATIENCE: Duration = Duration::from_secs(1);
