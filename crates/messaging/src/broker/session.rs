//! One client's session: its subscriptions, what waits for it and what is in flight; it may outlive connections.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::message::{Message, Outgoing};
use super::row::{MessageId, SessionId, SessionRow, WillRow};
use super::slab::Key;
use crate::mqtt::{PacketId, QoS, Version};
use crate::router::{Cursor, Interest};
use crate::text::Text;
use crate::time::Instant;
use crate::topic::Filter;

#[derive(Debug)]
pub(super) struct Session<P> {
    pub(super) id: SessionId,
    /// Whether a store has it too.
    pub(super) is_kept: bool,
    pub(super) principal: P,
    pub(super) client_id: Text,
    pub(super) version: Version,
    pub(super) conn: Option<Key>,
    /// Seconds that the session outlives its connection.
    pub(super) expiry: u32,
    pub(super) subscriptions: BTreeSet<Filter>,
    pub(super) queue: Queue,
    pub(super) flights: Flights,
    /// How many bytes it has taken from the pool that all share.
    pub(super) pooled: usize,
    /// Ids of received messages of QoS 2 that the client hasn't released.
    pub(super) received: BTreeSet<PacketId>,
    /// Searches for retained messages that haven't come to their end.
    pub(super) searches: VecDeque<Search>,
    /// Whether the session stands in the broker's `searching`.
    pub(super) is_searching: bool,
    pub(super) will: Option<LastWill>,
    pub(super) will_at: Option<Instant>,
    pub(super) ends_at: Option<Instant>,
    pub(super) timer: Option<Instant>,
}

/// What is published when the client is lost.
#[derive(Debug)]
pub(super) struct LastWill {
    pub(super) message: Message,
    /// Seconds to wait first.
    pub(super) delay: u32,
}

/// A search for retained messages on behalf of a subscription.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) cursor: Cursor,
    pub(super) interest: Interest,
}

impl<P> Session<P> {
    pub(super) fn begin(id: SessionId, principal: P, client_id: Text, version: Version) -> Self {
        Self {
            id,
            is_kept: false,
            principal,
            client_id,
            version,
            conn: None,
            expiry: 0,
            subscriptions: BTreeSet::new(),
            queue: Queue::default(),
            flights: Flights::default(),
            pooled: 0,
            received: BTreeSet::new(),
            searches: VecDeque::new(),
            is_searching: false,
            will: None,
            will_at: None,
            ends_at: None,
            timer: None,
        }
    }
}

impl<P> Session<P> {
    /// Counts the bytes of the messages that it holds.
    pub(super) const fn n_held_bytes(&self) -> usize {
        self.queue.n_bytes() + self.flights.n_bytes()
    }

    /// Writes down what a store has of it.
    pub(super) fn row(&self) -> SessionRow<P>
    where
        P: Clone,
    {
        let will = |will: &LastWill| {
            let publish = will.message.packed()?;
            Some(WillRow { publish, delay: will.delay, at: self.will_at })
        };
        SessionRow {
            id: self.id,
            client_id: self.client_id.clone(),
            principal: self.principal.clone(),
            version: self.version,
            expiry: self.expiry,
            ends_at: self.ends_at,
            will: self.will.as_ref().and_then(will),
        }
    }
}

/// Messages that wait for the transport or for room in flight.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Outgoing>,
    n_bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    pub(super) fn front(&self) -> Option<&Outgoing> {
        self.messages.front()
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.n_bytes = self.n_bytes.saturating_add(outgoing.len());
        self.messages.push_back(outgoing);
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let outgoing = self.messages.pop_front()?;
        self.n_bytes = self.n_bytes.saturating_sub(outgoing.len());
        Some(outgoing)
    }

    /// Takes out those that are selected, in their order.
    pub(super) fn take_where(
        &mut self,
        mut select: impl FnMut(&Outgoing) -> bool,
    ) -> Vec<Outgoing> {
        let (taken, kept) = self.messages.drain(..).partition(|outgoing| select(outgoing));
        self.messages = kept;
        self.n_bytes = self.messages.iter().map(Outgoing::len).sum();
        Vec::from(taken)
    }

    /// Gives the messages in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.messages.iter()
    }

    pub(super) fn keep(&mut self, keep: impl FnMut(&Outgoing) -> bool) {
        self.messages.retain(keep);
        self.n_bytes = self.messages.iter().map(Outgoing::len).sum();
    }
}

/// Messages of QoS 1 and 2 that the client hasn't acknowledged; a packet id is a place here.
#[derive(Debug, Default)]
pub(super) struct Flights {
    places: Vec<Option<Flight>>,
    free: Vec<PacketId>,
    /// How many count against what the client takes at once.
    n_counted: usize,
    n_bytes: usize,
    /// What is to be sent under the id that it has, before anything else and in this order.
    pub(super) due: VecDeque<Due>,
}

/// What is to be sent under the id that it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) id: PacketId,
    /// Whether it may have been sent before.
    pub(super) is_repeated: bool,
    /// The batch of changes that must be durable first.
    pub(super) after: u64,
}

#[derive(Debug)]
struct Flight {
    message: MessageId,
    /// The group that it came through.
    group: Option<Key>,
    stage: Stage,
    is_counted: bool,
}

/// A message that is or was in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flown {
    pub(super) message: MessageId,
    pub(super) group: Option<Key>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// PUBLISH was sent.
    Sent(Outgoing),
    /// PUBREL was sent.
    Released,
}

impl Flights {
    /// Tells whether one more may be sent to a client that takes `quota` at once.
    pub(super) const fn has_room(&self, quota: usize) -> bool {
        self.n_counted < quota
    }

    /// Counts what is in flight, what was released on earlier connections and never completed among it: that does
    /// not count against what the client takes on this one.
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Counts the bytes of the messages that are in flight.
    pub(super) const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Gives a message the id under which it is sent; `None` if all 65,535 are in use.
    pub(super) fn begin(&mut self, outgoing: Outgoing) -> Option<PacketId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = PacketId::of(u16::try_from(self.places.len() + 1).ok()?)?;
                self.places.push(None);
                id
            }
        };
        let n_bytes = outgoing.len();
        let (message, group) = (outgoing.id, outgoing.group);
        let flight = Flight { message, group, stage: Stage::Sent(outgoing), is_counted: true };
        self.n_counted += 1;
        *self.place(id)? = Some(flight);
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        Some(id)
    }

    /// Returns what was sent under this id and isn't acknowledged.
    pub(super) fn sent(&self, id: PacketId) -> Option<&Outgoing> {
        match &self.places.get(usize::from(id.number()) - 1)?.as_ref()?.stage {
            Stage::Sent(outgoing) => Some(outgoing),
            Stage::Released => None,
        }
    }

    /// Returns what is to be sent again, and counts it.
    pub(super) fn repeat(&mut self, id: PacketId) -> Option<Outgoing> {
        let outgoing = self.sent(id)?.clone();
        if let Some(flight) = self.place(id).and_then(Option::as_mut)
            && !flight.is_counted
        {
            flight.is_counted = true;
            self.n_counted += 1;
        }
        Some(outgoing)
    }

    pub(super) fn stage(&self, id: PacketId) -> Option<&Stage> {
        self.places.get(usize::from(id.number()) - 1)?.as_ref().map(|flight| &flight.stage)
    }

    /// Takes note that PUBREL follows: the message itself is no longer needed.
    pub(super) fn release(&mut self, id: PacketId) -> Option<Flown> {
        let flight = self.place(id)?.as_mut()?;
        let flown = Flown { message: flight.message, group: flight.group };
        if let Stage::Sent(outgoing) = core::mem::replace(&mut flight.stage, Stage::Released) {
            self.n_bytes = self.n_bytes.saturating_sub(outgoing.len());
        }
        Some(flown)
    }

    /// Ends a flight; its id is free again.
    pub(super) fn end(&mut self, id: PacketId) -> Option<Flown> {
        let flight = self.place(id)?.take()?;
        if let Stage::Sent(outgoing) = &flight.stage {
            self.n_bytes = self.n_bytes.saturating_sub(outgoing.len());
        }
        self.n_counted -= usize::from(flight.is_counted);
        self.free.push(id);
        Some(Flown { message: flight.message, group: flight.group })
    }

    /// Takes up a flight of an earlier life; `None` if its id is taken.
    pub(super) fn restore(
        &mut self,
        id: PacketId,
        message: MessageId,
        group: Option<Key>,
        stage: Stage,
    ) -> Option<()> {
        while self.places.len() < usize::from(id.number()) {
            self.free.push(PacketId::of(u16::try_from(self.places.len() + 1).ok()?)?);
            self.places.push(None);
        }
        let n_bytes = match &stage {
            Stage::Sent(outgoing) => outgoing.len(),
            Stage::Released => 0,
        };
        let place = self.place(id)?;
        if place.is_some() {
            return None;
        }
        *place = Some(Flight { message, group, stage, is_counted: false });
        self.free.retain(|free| *free != id);
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        Some(())
    }

    /// Gives what is in flight, by its id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PacketId, Flown, &Stage)> {
        let ids = (1..=u16::MAX).filter_map(PacketId::of);
        ids.zip(&self.places).filter_map(|(id, place)| {
            let flight = place.as_ref()?;
            Some((id, Flown { message: flight.message, group: flight.group }, &flight.stage))
        })
    }

    /// Begins anew on another connection; returns what had been released, to be released again, and what was dropped.
    pub(super) fn resume(
        &mut self,
        mut keep: impl FnMut(&Outgoing) -> bool,
    ) -> (Vec<PacketId>, Vec<Outgoing>) {
        let (mut flying, mut dropped) = (Vec::new(), Vec::new());
        let ids = (1..=u16::MAX).filter_map(PacketId::of);
        for (id, place) in ids.zip(&mut self.places) {
            let is_dropped = |flight: &mut Flight| match &flight.stage {
                Stage::Released => false,
                Stage::Sent(outgoing) => !keep(outgoing),
            };
            if let Some(Flight { stage: Stage::Sent(outgoing), .. }) = place.take_if(is_dropped) {
                self.free.push(id);
                dropped.push(outgoing);
            }
            let Some(flight) = place else {
                continue;
            };
            flight.is_counted = false;
            flying.push((flight.message, id, matches!(flight.stage, Stage::Released)));
        }
        self.n_counted = 0;
        let n_dropped = dropped.iter().map(Outgoing::len).sum();
        self.n_bytes = self.n_bytes.saturating_sub(n_dropped);
        dropped.sort_unstable_by_key(|outgoing| outgoing.id);
        flying.sort_unstable_by_key(|&(order, ..)| order);
        let sent = flying.iter().filter(|&&(.., is_released)| !is_released);
        self.due = sent.map(|&(_, id, _)| Due { id, is_repeated: true, after: 0 }).collect();
        let released = flying.iter().filter(|&&(.., is_released)| is_released);
        (released.map(|&(_, id, _)| id).collect(), dropped)
    }

    /// Returns what others of a group may get in place of this client: what was sent with QoS 1, in order.
    pub(super) fn unfinished(&mut self) -> Vec<Outgoing> {
        let mut flying: Vec<_> = self.places.drain(..).flatten().collect();
        flying.sort_unstable_by_key(|flight| flight.message);
        let sent = flying.into_iter().filter_map(|flight| match flight.stage {
            Stage::Sent(outgoing) => Some(outgoing),
            Stage::Released => None,
        });
        sent.filter(|sent| sent.group.is_some() && sent.qos == QoS::AtLeastOnce).collect()
    }

    /// Counts the bytes in flight anew.
    #[cfg(test)]
    pub(super) fn n_counted_bytes(&self) -> usize {
        let flying = self.places.iter().flatten();
        let sent = flying.map(|flight| match &flight.stage {
            Stage::Sent(outgoing) => outgoing.len(),
            Stage::Released => 0,
        });
        sent.sum()
    }

    fn place(&mut self, id: PacketId) -> Option<&mut Option<Flight>> {
        self.places.get_mut(usize::from(id.number()) - 1)
    }
}
