//! A table that never grows beyond its bound: sets of four, the oldest of a set makes room.

use std::sync::Arc;

use policy::{Decision, DeviceStanding};

/// Decisions, found by device and bytes.
pub(super) struct Table {
    // Invariant: the length is a power of two, at least `WAYS`.
    entries: Vec<Option<Entry>>,
    n_most: usize,
}

/// What a decision is found by.
pub(super) struct Key<'a> {
    pub(super) hash: u64,
    pub(super) device: &'a Arc<DeviceStanding>,
    pub(super) tag: u8,
    pub(super) bytes: &'a [u8],
}

struct Entry {
    hash: u64,
    // Kept alive, so that no other device comes to lie at its address.
    device: Arc<DeviceStanding>,
    tag: u8,
    bytes: Box<[u8]>,
    decision: Arc<Decision>,
}

impl Table {
    pub(super) fn new(n_most: usize) -> Self {
        let mut table = Self { entries: Vec::new(), n_most: n_most.next_power_of_two().max(WAYS) };
        table.clear();
        table
    }

    pub(super) fn find(&self, key: &Key<'_>) -> Option<Arc<Decision>> {
        let set = self.entries.get(self.set(key.hash))?;
        let entry = set.iter().flatten().find(|entry| entry.is_at(key))?;
        Some(Arc::clone(&entry.decision))
    }

    pub(super) fn keep(&mut self, key: &Key<'_>, decision: Arc<Decision>) {
        let entry = Entry {
            hash: key.hash,
            device: Arc::clone(key.device),
            tag: key.tag,
            bytes: key.bytes.into(),
            decision,
        };
        let full = |set: &[Option<Entry>]| set.iter().all(Option::is_some);
        if self.entries.len() < self.n_most
            && self.entries.get(self.set(key.hash)).is_some_and(full)
        {
            self.grow();
        }
        self.put(entry);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.entries.resize_with(self.n_most.min(FIRST), || None);
    }

    #[cfg(test)]
    pub(super) fn n_entries(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    fn grow(&mut self) {
        let larger = self.entries.len().saturating_mul(2).min(self.n_most);
        let entries = std::mem::take(&mut self.entries);
        self.entries.resize_with(larger, || None);
        // Backwards, so that the youngest of a set is put in last and stays at its front.
        for entry in entries.into_iter().rev().flatten() {
            self.put(entry);
        }
    }

    /// Puts an entry at the front of its set; what was last falls out.
    fn put(&mut self, entry: Entry) {
        let range = self.set(entry.hash);
        let Some(set) = self.entries.get_mut(range) else { return };
        set.rotate_right(1);
        if let Some(front) = set.first_mut() {
            *front = Some(entry);
        }
    }

    fn set(&self, hash: u64) -> std::ops::Range<usize> {
        let n_sets = self.entries.len() / WAYS;
        // The remainder is below the number of sets, which is a `usize`.
        let first = usize::try_from(hash % n_sets.max(1) as u64).unwrap_or(0) * WAYS;
        first..first + WAYS
    }
}

impl Entry {
    fn is_at(&self, key: &Key<'_>) -> bool {
        self.hash == key.hash
            && self.tag == key.tag
            && Arc::ptr_eq(&self.device, key.device)
            && *self.bytes == *key.bytes
    }
}

const WAYS: usize = 4;
/// How large a table is at first.
const FIRST: usize = 1024;
