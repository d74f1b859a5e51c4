//! What all sessions hold of messages, so that many queues that are each within their bound do not fill the memory
//! together: each has some bytes of its own, and what it holds beyond them it takes from a pool that all share.
//!
//! No holder takes more than its share of the pool, and those who wait for their client only half of it, so that
//! neither a few devices nor many absent ones leave those without room who take what they are sent at once.

use super::session::Session;
use super::share::Shares;
use super::slab::Key;
use super::{Broker, Holder, Limits, Share};

/// How many bytes are taken.
#[derive(Debug, Default)]
pub(super) struct Pool {
    n_bytes: usize,
}

impl Pool {
    /// Tells whether a session may hold one more message of so many bytes.
    pub(super) fn has_room<P: Holder>(
        &self,
        held: &Session<P>,
        len: usize,
        shares: &Shares<P::Name>,
        limits: &Limits,
    ) -> bool {
        let wanted = beyond(held.n_held_bytes().saturating_add(len), limits);
        let more = wanted.saturating_sub(held.pooled);
        // Who is there and holds nothing is not behind: it takes this one at once.
        let is_prompt = held.conn.is_some() && held.n_held_bytes() == 0;
        let most = match held.conn {
            Some(_) => limits.queue_bytes_pool,
            None => limits.queue_bytes_pool / 2,
        };
        more == 0
            || is_prompt
            || (self.n_bytes.saturating_add(more) <= most
                && shares.has_room(held.principal.name(), Share::of_pool(more)))
    }

    /// Brings the pool up to date with what a session holds now.
    pub(super) fn settle<P: Holder>(
        &mut self,
        held: &mut Session<P>,
        shares: &mut Shares<P::Name>,
        limits: &Limits,
    ) {
        let taken = beyond(held.n_held_bytes(), limits);
        if taken == held.pooled {
            return;
        }
        self.n_bytes = self.n_bytes.saturating_sub(held.pooled).saturating_add(taken);
        let name = held.principal.name();
        shares.give_back(name, Share::of_pool(held.pooled));
        shares.charge(name, Share::of_pool(taken));
        held.pooled = taken;
    }

    /// Takes back what a session had taken that is no more.
    pub(super) fn give_back<P: Holder>(&mut self, held: &Session<P>, shares: &mut Shares<P::Name>) {
        self.n_bytes = self.n_bytes.saturating_sub(held.pooled);
        shares.give_back(held.principal.name(), Share::of_pool(held.pooled));
    }

    /// Takes bytes that are no session's, if there is room.
    pub(super) fn take(&mut self, len: usize, limits: &Limits) -> bool {
        let total = self.n_bytes.saturating_add(len);
        let is_granted = total <= limits.queue_bytes_pool / 2;
        if is_granted {
            self.n_bytes = total;
        }
        is_granted
    }

    /// Takes them back.
    pub(super) fn put_back(&mut self, len: usize) {
        self.n_bytes = self.n_bytes.saturating_sub(len);
    }

    /// Counts the bytes that are taken.
    pub(super) const fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

/// Counts what is beyond a session's own, by steps: most messages change nothing in the pool.
pub(super) const fn beyond(n_bytes: usize, limits: &Limits) -> usize {
    n_bytes.saturating_sub(limits.queue_bytes_own).next_multiple_of(STEP)
}

const STEP: usize = 4 << 10;

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn settle_pool(&mut self, session: Key) {
        if let Some(held) = self.sessions.get_mut(session) {
            self.pool.settle(held, &mut self.shares, &self.limits);
        }
    }
}
