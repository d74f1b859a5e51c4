//! Checks a whole log with nothing but its public key, and names the first bad event.
//!
//! `Verifier` takes leaves and checkpoints in their order and keeps the right edge of the tree
//! only, so that a log of any length takes the same memory. A checkpoint says that something is
//! wrong before its size; to say what and where, the log's own stored leaf hashes are compared on
//! the way, and the checkpoint then decides which of the two was changed.
//!
//! Not to be seen from one copy of a log: that events after the last checkpoint are missing, and
//! that the whole log, checkpoints and all, was put back to an earlier state. For the second, hold
//! a checkpoint that a witness or browser remembers against it (`Verifier::remember`).

use alloc::vec::Vec;

use crate::checkpoint::Checkpoint;
use crate::hash::{Hash, leaf_hash};
use crate::note::{NoteError, VerifierKey};
use crate::tree::Tree;

/// The first bad event and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", Place(*event, *until))]
pub struct Finding {
    /// The first event that can't be trusted.
    pub event: u64,
    /// The event before which the fault lies; one more than `event` where it is known exactly.
    pub until: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An event has other bytes than were recorded.
    #[error("its bytes were changed after they were recorded")]
    Changed,
    /// Events are missing.
    #[error("`{0}` event(s) were dropped here")]
    Dropped(u64),
    /// Events were slipped in.
    #[error("`{0}` event(s) were slipped in here")]
    Inserted(u64),
    /// Two events stand in each other's place.
    #[error("it stands in the place of event `{0}`, and that one in its place")]
    Swapped(u64),
    /// The stored hash was changed; the event is what was signed.
    #[error("the event is as it was signed, but its stored hash was changed")]
    HashChanged,
    /// No checkpoint covers the event, and its stored hash differs.
    #[error("it and its stored hash differ, and no checkpoint says which of them was changed")]
    Unsigned,
    /// Events and stored hashes agree with each other but not with the signed root.
    #[error(
        "history was rewritten: the root over `{size}` events is `{found}`, but `{signed}` was signed"
    )]
    Rewritten {
        /// The checkpoint's size.
        size: u64,
        /// The root of what is there.
        found: Hash,
        /// The root of what was signed.
        signed: Hash,
    },
    /// The log ends before what was signed.
    #[error("the log was cut off: it ends here, but `{signed}` events were signed")]
    CutOff {
        /// How many events were signed.
        signed: u64,
    },
    /// A checkpoint is not one, or not signed by the log.
    #[error("the checkpoint that should follow is bad: {0}")]
    Checkpoint(NoteError),
    /// Checkpoints stand in the wrong order.
    #[error("the next checkpoint is of only `{0}` events; checkpoints were swapped or put back")]
    Order(u64),
    /// Two checkpoints of one size have different roots: the log signed two histories.
    #[error(
        "the log has signed two histories of `{size}` events, with roots `{first}` and `{second}`"
    )]
    Forked {
        /// The size of both.
        size: u64,
        /// The root that came first.
        first: Hash,
        /// The other root.
        second: Hash,
    },
    /// A remembered checkpoint is of another history.
    #[error(
        "the log has forked: a checkpoint kept elsewhere has root `{remembered}` at `{size}` events, this log has `{found}`"
    )]
    OtherHistory {
        /// The size of the remembered checkpoint.
        size: u64,
        /// Its root.
        remembered: Hash,
        /// The root of this log at that size.
        found: Hash,
    },
    /// A remembered checkpoint is of a longer log.
    #[error(
        "the log was rolled back: a checkpoint kept elsewhere has `{0}` events, this log ends here"
    )]
    RolledBack(u64),
}

/// What was found to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many events the log has.
    pub n_events: u64,
    /// How many checkpoints were checked.
    pub n_checkpoints: u64,
    /// The last checkpoint; events from its size on are not signed yet.
    pub last: Option<Checkpoint>,
}

/// Checks leaves against checkpoints as they come.
#[derive(Debug, Clone)]
pub struct Verifier {
    key: VerifierKey,
    tree: Tree,
    last: Option<Checkpoint>,
    n_checkpoints: u64,
    next: Option<Checkpoint>,
    remembered: Option<Checkpoint>,
    suspicion: Option<Suspicion>,
}

/// From the first leaf on whose stored hash differs, both histories are followed.
#[derive(Debug, Clone)]
struct Suspicion {
    event: u64,
    recorded: Tree,
    found_leaves: Vec<Hash>,
    recorded_leaves: Vec<Hash>,
}

/// How far to look for an event that stands elsewhere.
const WINDOW: usize = 64;

impl Verifier {
    /// Starts at the log's beginning.
    pub fn new(key: VerifierKey) -> Self {
        let tree = Tree::new();
        Self {
            key,
            tree,
            last: None,
            n_checkpoints: 0,
            next: None,
            remembered: None,
            suspicion: None,
        }
    }

    /// Holds the log against a checkpoint that was kept elsewhere.
    pub fn remember(&mut self, note: &[u8]) -> Result<(), NoteError> {
        self.remembered = Some(Checkpoint::open(note, &self.key)?);
        Ok(())
    }

    /// Says whether the next checkpoint should be handed in before the next leaf.
    pub fn wants_checkpoint(&self) -> bool {
        self.next.is_none()
    }

    /// Counts the leaves so far.
    pub fn n_events(&self) -> u64 {
        self.tree.size()
    }

    /// Says whether a leaf differs from its stored hash and no checkpoint has decided yet.
    pub fn suspects(&self) -> bool {
        self.suspicion.is_some()
    }

    /// Takes the next checkpoint of the log's history, and gives its size.
    pub fn handle_checkpoint(&mut self, note: &[u8]) -> Result<u64, Finding> {
        let checkpoint = Checkpoint::open(note, &self.key)
            .map_err(|e| self.after_signed(Fault::Checkpoint(e)))?;
        let size = checkpoint.size;
        if size < self.tree.size() || self.next.is_some() {
            return Err(self.after_signed(Fault::Order(size)));
        }
        if let Some(last) =
            self.last.as_ref().filter(|last| last.size == size && last.root != checkpoint.root)
        {
            let fault = Fault::Forked { size, first: last.root, second: checkpoint.root };
            return Err(self.after_signed(fault));
        }
        self.next = Some(checkpoint);
        self.settle().map(|()| size)
    }

    /// Takes the next leaf, and the hash that the log itself has stored for it.
    pub fn handle_leaf(&mut self, found: Hash, recorded: Option<Hash>) -> Result<(), Finding> {
        let recorded = recorded.unwrap_or(found);
        if found != recorded && self.suspicion.is_none() {
            let (found_leaves, recorded_leaves) = (Vec::new(), Vec::new());
            let recorded = self.tree.clone();
            self.suspicion = Some(Suspicion {
                event: self.tree.size(),
                recorded,
                found_leaves,
                recorded_leaves,
            });
        }
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.recorded.push(recorded);
            if suspicion.found_leaves.len() < WINDOW {
                suspicion.found_leaves.push(found);
                suspicion.recorded_leaves.push(recorded);
            }
        }
        self.tree.push(found);
        self.settle()
    }

    /// Takes 256 leaves at once by their root, where no checkpoint lies between and nothing is
    /// suspected; answers false if they must be handed in one by one.
    pub fn handle_tile(&mut self, root: Hash) -> Result<bool, Finding> {
        let size = self.tree.size();
        let mut stops = self.next.iter().chain(&self.remembered);
        let is_divided = stops.any(|stop| size < stop.size && stop.size - size < 256);
        if is_divided || self.suspicion.is_some() || !self.tree.push_tile(root) {
            return Ok(false);
        }
        self.settle().map(|()| true)
    }

    /// Ends the log.
    pub fn finish(mut self) -> Result<Summary, Finding> {
        let size = self.tree.size();
        if let Some(suspicion) = self.suspicion.take() {
            return Err(match &self.next {
                Some(_) => suspicion.classified(),
                None => suspicion.finding(Fault::Unsigned),
            });
        }
        if let Some(next) = &self.next {
            return Err(Finding {
                event: size,
                until: next.size,
                fault: Fault::CutOff { signed: next.size },
            });
        }
        if let Some(remembered) =
            self.remembered.as_ref().filter(|remembered| remembered.size > size)
        {
            return Err(Finding {
                event: size,
                until: remembered.size,
                fault: Fault::RolledBack(remembered.size),
            });
        }
        Ok(Summary { n_events: size, n_checkpoints: self.n_checkpoints, last: self.last })
    }

    /// Settles what has to hold at this size.
    fn settle(&mut self) -> Result<(), Finding> {
        let size = self.tree.size();
        if let Some(next) = self.next.take_if(|next| next.size == size) {
            self.settle_checkpoint(next)?;
        }
        let Some(remembered) =
            self.remembered.as_ref().filter(|remembered| remembered.size == size)
        else {
            return Ok(());
        };
        let found = self.tree.root();
        if found == remembered.root {
            return Ok(());
        }
        Err(Finding {
            event: 0,
            until: size,
            fault: Fault::OtherHistory { size, remembered: remembered.root, found },
        })
    }

    fn settle_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Finding> {
        let found = self.tree.root();
        let is_met = found == checkpoint.root;
        match self.suspicion.take() {
            Some(suspicion) if is_met => return Err(suspicion.finding(Fault::HashChanged)),
            Some(suspicion) if suspicion.recorded.root() == checkpoint.root => {
                return Err(suspicion.classified());
            }
            _ if !is_met => {
                let fault =
                    Fault::Rewritten { size: checkpoint.size, found, signed: checkpoint.root };
                return Err(Finding { until: checkpoint.size, ..self.after_signed(fault) });
            }
            _ => {}
        }
        self.n_checkpoints += 1;
        self.last = Some(checkpoint);
        Ok(())
    }

    /// The first event that no good checkpoint covers.
    fn after_signed(&self, fault: Fault) -> Finding {
        let event = self.last.as_ref().map_or(0, |last| last.size);
        Finding { event, until: self.tree.size().max(event + 1), fault }
    }
}

impl Suspicion {
    fn finding(&self, fault: Fault) -> Finding {
        Finding { event: self.event, until: self.event + 1, fault }
    }

    /// The stored hashes are what was signed: says what became of the events.
    fn classified(&self) -> Finding {
        self.finding(classify(&self.found_leaves, &self.recorded_leaves, self.event))
    }
}

/// Says what turned the recorded leaves into those found; the first of both differ.
pub fn classify(found: &[Hash], recorded: &[Hash], event: u64) -> Fault {
    let (Some(first_found), Some(first_recorded)) = (found.first(), recorded.first()) else {
        return Fault::Changed;
    };
    let recorded_later =
        recorded.iter().skip(1).position(|hash| hash == first_found).map(|at| at + 1);
    let found_later = found.iter().skip(1).position(|hash| hash == first_recorded).map(|at| at + 1);
    let count = |at: usize| u64::try_from(at).unwrap_or(u64::MAX);
    match (recorded_later, found_later) {
        (Some(later), Some(same)) if later == same => {
            Fault::Swapped(event.saturating_add(count(later)))
        }
        (Some(later), _) => Fault::Dropped(count(later)),
        (None, Some(later)) => Fault::Inserted(count(later)),
        (None, None) => Fault::Changed,
    }
}

/// Verifies a log from its entries, stored leaf hashes (as far as there are any) and checkpoints.
pub fn verify<E: AsRef<[u8]>, N: AsRef<[u8]>>(
    key: &VerifierKey,
    entries: impl IntoIterator<Item = E>,
    recorded: impl IntoIterator<Item = Hash>,
    checkpoints: impl IntoIterator<Item = N>,
) -> Result<Summary, Finding> {
    let mut verifier = Verifier::new(key.clone());
    let (mut recorded, mut checkpoints) = (recorded.into_iter(), checkpoints.into_iter());
    for entry in entries {
        hand_in_checkpoints(&mut verifier, &mut checkpoints)?;
        verifier.handle_leaf(leaf_hash(entry.as_ref()), recorded.next())?;
    }
    hand_in_checkpoints(&mut verifier, &mut checkpoints)?;
    verifier.finish()
}

fn hand_in_checkpoints<N: AsRef<[u8]>>(
    verifier: &mut Verifier,
    checkpoints: &mut impl Iterator<Item = N>,
) -> Result<(), Finding> {
    while verifier.wants_checkpoint() {
        let Some(note) = checkpoints.next() else { break };
        verifier.handle_checkpoint(note.as_ref())?;
    }
    Ok(())
}

/// Words where the fault lies.
struct Place(u64, u64);

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(event, until) = *self;
        if until <= event.saturating_add(1) {
            write!(f, "event `{event}`: ")
        } else {
            write!(f, "events `{event}` to `{}`: ", until - 1)
        }
    }
}

#[cfg(test)]
mod tests;
