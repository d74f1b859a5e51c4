//! What each holder of connections takes up of what all share, so that none can take it all.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

/// Whose a connection is. One may have many, and what they take up is counted together.
pub trait Holder {
    /// What tells holders apart.
    type Name: Clone + Ord + fmt::Debug;

    /// Names the holder.
    fn name(&self) -> &Self::Name;
}

impl<T: Holder> Holder for Arc<T> {
    type Name = T::Name;

    fn name(&self) -> &Self::Name {
        T::name(self)
    }
}

/// A part of what all share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Sessions, connected and waiting.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Levels of the filters of all subscriptions.
    pub filter_levels: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
    /// Bytes of the pool that queues share.
    pub pooled_bytes: usize,
}

/// What each holder has taken.
#[derive(Debug)]
pub(super) struct Shares<N> {
    taken: BTreeMap<N, Share>,
    most: Share,
}

impl<N: Clone + Ord> Shares<N> {
    pub(super) const fn bounded(most: Share) -> Self {
        Self { taken: BTreeMap::new(), most }
    }

    /// Takes more for a holder, all of it or nothing; tells whether there was so much left.
    pub(super) fn take(&mut self, holder: &N, more: Share) -> bool {
        match self.taken.get_mut(holder) {
            Some(taken) => {
                let total = taken.with(more, usize::saturating_add);
                let is_granted = total.is_within(self.most);
                if is_granted {
                    *taken = total;
                }
                is_granted
            }
            None => {
                let is_granted = more.is_within(self.most);
                if is_granted {
                    self.taken.insert(holder.clone(), more);
                }
                is_granted
            }
        }
    }

    /// Tells whether a holder may take more.
    pub(super) fn has_room(&self, holder: &N, more: Share) -> bool {
        let taken = self.taken.get(holder).copied().unwrap_or_default();
        taken.with(more, usize::saturating_add).is_within(self.most)
    }

    /// Counts what a holder has come to hold; it was seen before that there is room, or it is let pass.
    pub(super) fn charge(&mut self, holder: &N, more: Share) {
        if more == Share::NONE {
            return;
        }
        match self.taken.get_mut(holder) {
            Some(taken) => *taken = taken.with(more, usize::saturating_add),
            None => drop(self.taken.insert(holder.clone(), more)),
        }
    }

    /// Gives back what a holder had taken.
    pub(super) fn give_back(&mut self, holder: &N, less: Share) {
        if let Some(taken) = self.taken.get_mut(holder) {
            *taken = taken.with(less, usize::saturating_sub);
            if *taken == Share::default() {
                self.taken.remove(holder);
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn taken(&self) -> &BTreeMap<N, Share> {
        &self.taken
    }

    #[cfg(test)]
    pub(super) fn sum(shares: impl IntoIterator<Item = (N, Share)>) -> BTreeMap<N, Share> {
        let mut all = Self::bounded(Share::NONE.with(Share::NONE, |_, _| usize::MAX));
        for (holder, share) in shares {
            assert!(all.take(&holder, share));
        }
        all.taken
    }
}

impl Share {
    pub(super) const SESSION: Self = Self { sessions: 1, ..Self::NONE };
    const NONE: Self = Self {
        sessions: 0,
        subscriptions: 0,
        filter_levels: 0,
        retained_messages: 0,
        retained_bytes: 0,
        pooled_bytes: 0,
    };

    pub(super) const fn of_subscription(filter_levels: usize) -> Self {
        Self { subscriptions: 1, filter_levels, ..Self::NONE }
    }

    pub(super) const fn of_retained(retained_bytes: usize) -> Self {
        Self { retained_messages: 1, retained_bytes, ..Self::NONE }
    }

    pub(super) const fn of_pool(pooled_bytes: usize) -> Self {
        Self { pooled_bytes, ..Self::NONE }
    }

    fn with(self, other: Self, sum: fn(usize, usize) -> usize) -> Self {
        Self {
            sessions: sum(self.sessions, other.sessions),
            subscriptions: sum(self.subscriptions, other.subscriptions),
            filter_levels: sum(self.filter_levels, other.filter_levels),
            retained_messages: sum(self.retained_messages, other.retained_messages),
            retained_bytes: sum(self.retained_bytes, other.retained_bytes),
            pooled_bytes: sum(self.pooled_bytes, other.pooled_bytes),
        }
    }

    const fn is_within(self, most: Self) -> bool {
        self.sessions <= most.sessions
            && self.subscriptions <= most.subscriptions
            && self.filter_levels <= most.filter_levels
            && self.retained_messages <= most.retained_messages
            && self.retained_bytes <= most.retained_bytes
            && self.pooled_bytes <= most.pooled_bytes
    }
}
