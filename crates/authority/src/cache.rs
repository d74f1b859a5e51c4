//! Decisions kept for as long as they hold, so that a message that was decided before costs a look.
//!
//! Two tables: one by the topic as it came, one by what the rules read of the topic. The second
//! one is small where rules are: an application that may see its site has one entry for all the
//! devices there, and a device that invents topics has one for all that are in no namespace.
//!
//! A decision is kept for one device standing and one authority, told by the very object: a
//! device that changed is another object, and another authority empties the tables. So nothing
//! need be dropped by hand, and nothing stale can be answered.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use policy::{Ask, Cause, Decision, DecisionId, DeviceStanding, Epoch, Request, Slot, Standing};

use crate::authority::Authority;

mod table;

use table::{Key, Table};

/// A bounded memory of decisions; one task owns it, and there is no lock.
pub struct Cache {
    by_topic: Table,
    by_reading: Table,
    authority: Option<Arc<()>>,
    seed: u64,
    /// Reused for the key of the second table.
    reading: Vec<u8>,
    counters: Counters,
}

/// How often a decision was kept already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Found by the topic.
    pub by_topic: u64,
    /// Found by what the rules read of the topic.
    pub by_reading: u64,
    /// Made anew.
    pub made: u64,
}

impl Cache {
    /// Makes a cache of at most so many entries in each table. The seed is to be random: it keeps
    /// peers from choosing topics that meet in one place.
    pub fn new(n_entries: usize, seed: u64) -> Self {
        Self {
            by_topic: Table::new(n_entries),
            by_reading: Table::new(n_entries),
            authority: None,
            seed,
            reading: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Decides, or gives the decision that was made before; an id is drawn only for a new one, so
    /// that a denial that is repeated keeps its id.
    pub fn decide(
        &mut self,
        authority: &Authority,
        standing: &Standing,
        slot: Slot,
        ask: Ask<'_>,
        id: impl FnOnce() -> DecisionId,
    ) -> Arc<Decision> {
        let Some(device) = standing.device(slot) else {
            let epoch = Epoch { posture: 0, policy: authority.version() };
            return Arc::new(Decision::denied(id(), Cause::UnknownDevice, epoch));
        };
        self.serve(authority);
        let Some(topic) = ask.topic().filter(|topic| topic.len() <= MAX_TOPIC) else {
            return self.decide_by_reading(authority, device, ask, id);
        };
        let key = self.key(device, tag_of(&ask), topic.as_bytes());
        if let Some(decision) = self.by_topic.find(&key) {
            self.counters.by_topic += 1;
            return decision;
        }
        let hash = key.hash;
        let decision = self.decide_by_reading(authority, device, ask, id);
        let key = Key { hash, device, tag: tag_of(&ask), bytes: topic.as_bytes() };
        self.by_topic.keep(&key, Arc::clone(&decision));
        decision
    }

    /// Says how often decisions were kept already.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Decisions of another authority are worth nothing.
    fn serve(&mut self, authority: &Authority) {
        let same =
            self.authority.as_ref().is_some_and(|served| Arc::ptr_eq(served, authority.identity()));
        if !same {
            self.by_topic.clear();
            self.by_reading.clear();
            self.authority = Some(Arc::clone(authority.identity()));
        }
    }

    fn decide_by_reading(
        &mut self,
        authority: &Authority,
        device: &Arc<DeviceStanding>,
        ask: Ask<'_>,
        id: impl FnOnce() -> DecisionId,
    ) -> Arc<Decision> {
        let request = Request { device, ask };
        let scope = authority.scope(&request);
        self.reading.clear();
        match &scope {
            Ok(scope) => {
                let namespace_idx =
                    scope.binding.as_ref().map_or(u8::MAX, |b| narrow(b.namespace().idx()));
                self.reading.extend([0, namespace_idx]);
                for value in scope.read_values() {
                    // A value has at most 128 bytes; the length keeps neighbours apart.
                    let value = value.map(str::as_bytes);
                    self.reading.push(value.map_or(u8::MAX, |value| narrow(value.len())));
                    self.reading.extend(value.unwrap_or_default());
                }
            }
            Err(cause) => self.reading.extend([1, *cause as u8]),
        }
        let key = self.key(device, tag_of(&ask), &self.reading);
        if let Some(decision) = self.by_reading.find(&key) {
            self.counters.by_reading += 1;
            return decision;
        }
        self.counters.made += 1;
        let decision = Arc::new(match scope {
            Ok(scope) => authority.decide_in(&scope, &request, id()),
            Err(cause) => Decision::denied(id(), cause, authority.epoch(device)),
        });
        self.by_reading.keep(&key, Arc::clone(&decision));
        decision
    }

    fn key<'k>(&self, device: &'k Arc<DeviceStanding>, tag: u8, bytes: &'k [u8]) -> Key<'k> {
        let mut hasher = DefaultHasher::new();
        (self.seed, Arc::as_ptr(device).addr(), tag).hash(&mut hasher);
        hasher.write(bytes);
        Key { hash: hasher.finish(), device, tag, bytes }
    }
}

/// What of an ask makes a difference, beside its topic.
fn tag_of(ask: &Ask<'_>) -> u8 {
    match ask {
        Ask::Connect => 0,
        Ask::Publish { retain: false, .. } => 1,
        Ask::Publish { retain: true, .. } => 2,
        Ask::Receive { .. } => 3,
        Ask::Subscribe { filter } if filter.contains(['+', '#']) => 4,
        Ask::Subscribe { .. } => 5,
    }
}

fn narrow(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// The longest topic that is kept as it came; longer ones are found by what rules read of them.
const MAX_TOPIC: usize = 256;

#[cfg(test)]
mod tests;
