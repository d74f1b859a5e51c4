//! What goes out: answers first, then messages, as many as one TLS record carries.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use super::changes::Changes;
use super::connection::{Open, State};
use super::group::Groups;
use super::message::Outgoing;
use super::publish::row;
use super::row::{MessageRow, MessageStage, Row, RowKey};
use super::session::{Due, Session};
use super::slab::Key;
use super::{Broker, ConnId, Counters, Holder, Limits};
use crate::mqtt::{PacketId, QoS};
use crate::time::Instant;

/// Bytes for one connection, to be written in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The bytes; mostly one buffer, more if large payloads are shared rather than copied.
    pub buffers: Vec<Bytes>,
    /// Whether the connection is to be closed when they are written.
    pub then_close: bool,
}

impl Batch {
    /// Returns how many bytes there are.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.buffers.iter().map(Bytes::len).sum()
    }
}

impl<P: Clone + Holder> Broker<P> {
    /// Returns bytes for a connection whose transport takes some.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(ConnId, Batch)> {
        while let Some(key) = self.ready.pop_front() {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.is_ready = false;
            let out = core::mem::take(&mut connection.out);
            let open = match &connection.state {
                State::Closing => {
                    self.connections.remove(key);
                    let buffers =
                        if out.is_empty() { Vec::new() } else { alloc::vec![out.freeze()] };
                    return Some((ConnId(key), Batch { buffers, then_close: true }));
                }
                State::Open(open) if connection.credit > 0 => *open,
                State::Open(_) | State::Waiting { .. } => {
                    connection.out = out;
                    continue;
                }
            };
            if let Some(buffers) = self.fill(key, &open, out, now) {
                return Some((ConnId(key), Batch { buffers, then_close: false }));
            }
        }
        None
    }

    /// Fills a batch; `None` if there is nothing to send.
    fn fill(&mut self, key: Key, open: &Open, out: BytesMut, now: Instant) -> Option<Vec<Bytes>> {
        let max_len = self.limits.batch_bytes;
        let mut batch = Filling { buffers: Vec::new(), current: out, n_closed: 0 };
        let mut is_full = false;
        let connection = self.connections.get_mut(key)?;
        if self.changes.is_durable(connection.greeted)
            && let Some(session) = self.sessions.get_mut(open.session)
        {
            let mut books = Books {
                counters: &mut self.counters,
                changes: &mut self.changes,
                groups: &self.groups,
            };
            loop {
                let room =
                    if batch.len() == 0 { usize::MAX } else { max_len.saturating_sub(batch.len()) };
                let bounds = (room, &self.limits);
                match next(session, open, bounds, &mut books, now) {
                    Next::Message(mut sending) => {
                        connection.told.rename(
                            &mut sending.outgoing,
                            open.max_packet,
                            &self.limits,
                        );
                        let n_waiting =
                            session.queue.n_bytes().min(max_len.saturating_sub(batch.len()));
                        batch.push(sending, n_waiting, now);
                    }
                    Next::Full => {
                        is_full = true;
                        break;
                    }
                    Next::Nothing => break,
                }
            }
            self.pool.settle(session, &mut self.shares, &self.limits);
            if let Some(due) = session.flights.due.back()
                && !self.changes.is_durable(due.after)
            {
                self.waiting.insert((due.after, key));
            }
        }
        let buffers = batch.finish();
        if buffers.is_empty() {
            return None;
        }
        connection.credit -= 1;
        if is_full {
            self.mark_ready(key);
        }
        Some(buffers)
    }
}

/// A message as it goes to one receiver.
struct Sending {
    outgoing: Outgoing,
    id: Option<PacketId>,
    dup: bool,
}

enum Next {
    Message(Sending),
    /// There is a message, but no room for it.
    Full,
    Nothing,
}

/// Takes the next message that may be sent: what is due under its id first, in order, then the queue.
fn next<P>(
    session: &mut Session<P>,
    open: &Open,
    (room, limits): (usize, &Limits),
    books: &mut Books<'_, P>,
    now: Instant,
) -> Next {
    let Books { counters, changes, groups } = books;
    while let Some(&Due { id, is_repeated, after }) = session.flights.due.front() {
        let has_room = !is_repeated || session.flights.has_room(open.quota);
        if !has_room || !changes.is_durable(after) {
            break;
        }
        // The message may have been acknowledged meanwhile, or be too large for what the client takes now.
        let len = session.flights.sent(id).map(Outgoing::len);
        if len.is_some_and(|len| len > room) {
            return Next::Full;
        }
        session.flights.due.pop_front();
        if len.is_some_and(|len| len > open.max_packet) {
            counters.dropped_too_large += 1;
            if let Some(flown) = session.flights.end(id)
                && session.is_kept
            {
                changes.forget(RowKey::Message(session.id, flown.message));
            }
        } else if let Some(outgoing) = session.flights.repeat(id) {
            return Next::Message(Sending { outgoing, id: Some(id), dup: is_repeated });
        }
    }
    while let Some(front) = session.queue.front() {
        let has_id = front.qos != QoS::AtMostOnce;
        // A client that got a message of QoS 2 under an id that nobody remembers would get it twice.
        let is_numbered_first = session.is_kept && front.qos == QoS::ExactlyOnce;
        if !session.flights.due.is_empty() && !is_numbered_first {
            return Next::Nothing;
        }
        let n_flying = session.flights.n_bytes();
        let is_heavy = n_flying > 0 && n_flying.saturating_add(front.len()) > limits.inflight_bytes;
        let is_crowded = session.flights.len() >= 2 * usize::from(limits.inflight.get());
        if has_id && (is_heavy || is_crowded || !session.flights.has_room(open.quota)) {
            return Next::Nothing;
        }
        if front.len() > room && !is_numbered_first {
            return Next::Full;
        }
        let Some(outgoing) = session.queue.pop() else {
            return Next::Nothing;
        };
        let is_expired = outgoing.is_expired(now);
        if is_expired || outgoing.len() > open.max_packet {
            counters.dropped_expired += u64::from(is_expired);
            counters.dropped_too_large += u64::from(!is_expired); // MQTT-3.1.2-25
            if has_id && session.is_kept {
                changes.forget(RowKey::Message(session.id, outgoing.id));
            }
        } else if !has_id {
            return Next::Message(Sending { outgoing, id: None, dup: false });
        } else if let Some(id) = session.flights.begin(outgoing.clone()) {
            if session.is_kept {
                let row = row(session.id, &outgoing, groups);
                let stage = MessageStage::Sent(id, outgoing.row());
                changes.put(Row::Message(MessageRow { stage, ..row }), false);
            }
            if !is_numbered_first {
                return Next::Message(Sending { outgoing, id: Some(id), dup: false });
            }
            let after = changes.promised();
            session.flights.due.push_back(Due { id, is_repeated: false, after });
        }
    }
    Next::Nothing
}

/// Where what becomes of messages is written down.
struct Books<'a, P> {
    counters: &'a mut Counters,
    changes: &'a mut Changes<P>,
    groups: &'a Groups,
}

struct Filling {
    buffers: Vec<Bytes>,
    current: BytesMut,
    /// How many bytes the buffers hold.
    n_closed: usize,
}

impl Filling {
    fn len(&self) -> usize {
        self.n_closed + self.current.len()
    }

    /// Appends a message with its own packet id, DUP flag and what is left of its time; about `n_waiting` bytes follow.
    fn push(&mut self, sending: Sending, n_waiting: usize, now: Instant) {
        let Sending { outgoing: Outgoing { frame, expires, .. }, id, dup } = sending;
        // Everything that differs stands before this place.
        let own_len = [frame.id_at.map(|at| at + 2), frame.expiry_at.map(|at| at + 4)]
            .into_iter()
            .flatten()
            .max();
        let is_alone = own_len.is_none() && n_waiting == 0 && self.current.is_empty();
        let is_shared = frame.bytes.len() >= SHARED_FROM || is_alone;
        let copied_len = if is_shared { own_len.unwrap_or(0) } else { frame.bytes.len() };
        if copied_len > 0 {
            let n_more = if is_shared { 0 } else { n_waiting };
            self.current.reserve(copied_len.saturating_add(n_more));
        }
        let start = self.current.len();
        self.current.put_slice(frame.bytes.get(..copied_len).unwrap_or_default());
        if let Some(copied) = self.current.get_mut(start..) {
            patch(copied, frame.id_at, &id.map_or(0, PacketId::number).to_be_bytes());
            if let (Some(at), Some(expires)) = (frame.expiry_at, expires) {
                let seconds = expires.since(now).as_millis().div_ceil(1_000);
                patch(copied, Some(at), &u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
            }
            if let Some(first) = copied.first_mut().filter(|_| dup) {
                *first |= 0b1000;
            }
        }
        if is_shared {
            self.close_current();
            self.close(frame.bytes.slice(copied_len..));
        }
    }

    fn close_current(&mut self) {
        if !self.current.is_empty() {
            let filled = core::mem::take(&mut self.current).freeze();
            self.close(filled);
        }
    }

    fn close(&mut self, filled: Bytes) {
        self.n_closed += filled.len();
        self.buffers.reserve_exact(1);
        self.buffers.push(filled);
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close_current();
        self.buffers
    }
}

fn patch(bytes: &mut [u8], at: Option<usize>, value: &[u8]) {
    if let Some(place) = at.and_then(|at| bytes.get_mut(at..at.checked_add(value.len())?)) {
        place.copy_from_slice(value);
    }
}

/// From this length on bytes are shared: below, copying them into the batch is cheaper than a buffer of their own.
const SHARED_FROM: usize = 4_096;
