//! What all sessions hold of messages, so that many queues that are each within their bound do not fill the memory
//! together: each has some bytes of its own, and what it holds beyond them it takes from a pool that all share.

use super::session::Session;
use super::slab::Key;
use super::{Broker, Holder, Limits};

/// How many bytes are taken.
#[derive(Debug, Default)]
pub(super) struct Pool {
    n_bytes: usize,
}

impl Pool {
    /// Tells whether a session may hold one more message of so many bytes.
    pub(super) fn has_room<P>(&self, held: &Session<P>, len: usize, limits: &Limits) -> bool {
        let wanted = beyond(held.n_held_bytes().saturating_add(len), limits);
        wanted == 0
            || self.n_bytes.saturating_sub(held.pooled).saturating_add(wanted)
                <= limits.queue_bytes_pool
    }

    /// Brings the pool up to date with what a session holds now.
    pub(super) fn settle<P>(&mut self, held: &mut Session<P>, limits: &Limits) {
        let taken = beyond(held.n_held_bytes(), limits);
        self.n_bytes = self.n_bytes.saturating_sub(held.pooled).saturating_add(taken);
        held.pooled = taken;
    }

    /// Takes back what a session had taken that is no more.
    pub(super) fn give_back<P>(&mut self, held: &Session<P>) {
        self.n_bytes = self.n_bytes.saturating_sub(held.pooled);
    }

    /// Counts the bytes that are taken.
    pub(super) const fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

const fn beyond(n_bytes: usize, limits: &Limits) -> usize {
    n_bytes.saturating_sub(limits.queue_bytes_own)
}

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn settle_pool(&mut self, session: Key) {
        if let Some(held) = self.sessions.get_mut(session) {
            self.pool.settle(held, &self.limits);
        }
    }
}
