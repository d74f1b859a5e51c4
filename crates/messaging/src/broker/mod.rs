//! The broker: every connection, session, subscription and retained message of one gateway, as one state machine.
//!
//! One task owns it. Inputs are the verbs `open`, `handle_*`, `close` and `redecide*`; after each, the owner polls
//! `poll_transmit` and `poll_event` until they are empty and sleeps until `poll_timeout`. A key of a connection that
//! has ended is ignored everywhere, so that late inputs need no care.
//!
//! Invariant: whatever a peer can make grow is bounded by a field of `Limits`. Nothing here recurses: what one input
//! causes elsewhere (a slow receiver, a will) is a chore, and chores are done in a loop.

mod alias;
mod changes;
mod connect;
mod connection;
mod ending;
mod event;
mod group;
mod guard;
mod limits;
mod message;
mod pool;
mod publish;
mod restore;
pub mod row;
mod session;
mod share;
mod slab;
mod subscribe;
mod transmit;

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

pub use event::{Action, Counters, Event, Sizes, Why};
pub use guard::{Guard, Ruling};
pub use limits::Limits;
pub use row::{Change, Row};
pub use share::{Holder, Share};
pub use transmit::Batch;

use crate::mqtt::{
    AckProperties, DecodeError, Disconnect, DisconnectProperties, Packet, Reason, Version,
};
use crate::router::{Matches, Retained, Trie};
use crate::text::Text;
use crate::time::Instant;
use crate::topic::Topic;
use changes::{Changes, Taken};
use connection::{Connection, State};
use ending::Chore;
use group::Groups;
use message::{Kept, Message};
use pool::Pool;
use session::Session;
use share::Shares;
use slab::{Key, Slab};

/// A connection's name; it is never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(Key);

/// The broker of one gateway.
#[derive(Debug)]
pub struct Broker<P: Holder> {
    limits: Limits,
    connections: Slab<Connection<P>>,
    sessions: Slab<Session<P>>,
    by_client: BTreeMap<Text, Key>,
    trie: Trie,
    groups: Groups,
    matches: Matches,
    retained: Retained<Kept<P>>,
    shares: Shares<P::Name>,
    pool: Pool,
    timers: BTreeSet<(Instant, Timer)>,
    /// Connections that may have something to transmit.
    ready: VecDeque<Key>,
    /// Sessions whose search for retained messages can go on.
    searching: VecDeque<Key>,
    chores: VecDeque<Chore<P>>,
    changes: Changes<P>,
    /// Connections that wait for a batch of changes to be durable; there are two such batches at most.
    waiting: BTreeSet<(u64, Key)>,
    next_session: u64,
    next_message: u64,
    events: VecDeque<Event<P>>,
    n_lost_events: u64,
    counters: Counters,
}

/// Whose time comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Connection(Key),
    Session(Key),
    Group(Key),
    Retained(Topic),
}

/// There are as many connections as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {limit} connections, as many as there may be; close some, or raise the limit")]
pub struct OpenError {
    /// How many there may be.
    pub limit: usize,
}

impl<P: Clone + Holder> Broker<P> {
    /// Makes a broker without connections, of which nothing outlives it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with(limits, Changes::new(false))
    }

    /// Makes a broker without connections, whose changes the caller keeps: see `poll_changes`.
    #[must_use]
    pub fn kept(limits: Limits) -> Self {
        Self::with(limits, Changes::new(true))
    }

    fn with(limits: Limits, changes: Changes<P>) -> Self {
        Self {
            connections: Slab::new(),
            sessions: Slab::new(),
            by_client: BTreeMap::new(),
            trie: Trie::bounded(limits.subscriptions, limits.filter_levels),
            groups: Groups::new(),
            matches: Matches::default(),
            retained: Retained::bounded(limits.retained_messages, limits.retained_bytes),
            shares: Shares::bounded(limits.per_holder),
            pool: Pool::default(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            searching: VecDeque::new(),
            chores: VecDeque::new(),
            changes,
            waiting: BTreeSet::new(),
            next_session: 1,
            next_message: 1,
            events: VecDeque::new(),
            n_lost_events: 0,
            counters: Counters::default(),
            limits,
        }
    }

    /// Takes up a connection whose peer the transport has proven to be `principal`.
    ///
    /// `assigned` is the client id that it gets if it sends an empty one.
    pub fn open(
        &mut self,
        principal: P,
        assigned: Text,
        now: Instant,
    ) -> Result<ConnId, OpenError> {
        if self.connections.len() >= self.limits.connections {
            return Err(OpenError { limit: self.limits.connections });
        }
        let credit = self.limits.batches_in_flight.max(1);
        let key = self.connections.insert(Connection::waiting(principal, assigned, credit));
        self.set_connection_timer(key, Some(now.plus(self.limits.connect_timeout)));
        Ok(ConnId(key))
    }

    /// Does what a packet asks for.
    pub fn handle_packet<G: Guard<P>>(
        &mut self,
        conn: ConnId,
        packet: Packet,
        guard: &mut G,
        now: Instant,
    ) {
        self.changes.begin();
        self.take_packet(conn.0, packet, guard, now);
        self.settle(guard, now);
    }

    /// Answers bytes that the connection's decoder refused, as the version demands, and closes.
    pub fn handle_fault<G: Guard<P>>(
        &mut self,
        conn: ConnId,
        error: &DecodeError,
        guard: &mut G,
        now: Instant,
    ) {
        if let DecodeError::ProtocolLevel { found } = *error {
            let version = if found < 5 { Version::V311 } else { Version::V5 };
            self.answer_unsupported(conn.0, version);
        }
        self.fail(conn.0, error.reason(), &alloc::format!("{error}"), now);
        self.settle(guard, now);
    }

    /// Takes note that the transport ended without our asking.
    pub fn handle_closed<G: Guard<P>>(&mut self, conn: ConnId, guard: &mut G, now: Instant) {
        self.end(conn.0, Why::TransportClosed, None, now);
        self.connections.remove(conn.0);
        self.settle(guard, now);
    }

    /// Takes note that the transport has taken one batch.
    pub fn handle_sent(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn.0) else {
            return;
        };
        connection.credit =
            connection.credit.saturating_add(1).min(self.limits.batches_in_flight.max(1));
        if let Some(session) = connection.session() {
            self.search_later(session);
        }
        self.mark_ready(conn.0);
    }

    /// Ends a connection by a decision from outside; a client of MQTT 5.0 is told the reason.
    pub fn close<G: Guard<P>>(
        &mut self,
        conn: ConnId,
        reason: Reason,
        text: Option<Text>,
        guard: &mut G,
        now: Instant,
    ) {
        self.end(conn.0, Why::Closed { reason }, Some((reason, text)), now);
        self.settle(guard, now);
    }

    /// Asks the guard again about everything that is open on a connection.
    ///
    /// Subscriptions that it denies end, and messages that wait for the client are dropped if it may not receive
    /// them. MQTT has no word for that, so the client isn't told; an event tells it.
    pub fn redecide<G: Guard<P>>(&mut self, conn: ConnId, guard: &mut G, now: Instant) {
        if let Some(session) = self.connections.get(conn.0).and_then(Connection::session) {
            self.redecide_session(session, guard);
        }
        self.settle(guard, now);
    }

    /// Asks the guard again about every session, connected or waiting, whose principal is selected.
    pub fn redecide_where<G: Guard<P>>(
        &mut self,
        mut select: impl FnMut(&P) -> bool,
        guard: &mut G,
        now: Instant,
    ) {
        let selected: Vec<Key> = self
            .sessions
            .iter()
            .filter(|(_, session)| select(&session.principal))
            .map(|(key, _)| key)
            .collect();
        for session in selected {
            self.redecide_session(session, guard);
        }
        self.settle(guard, now);
    }

    /// Ends the sessions that wait for selected principals, with all that waits in them, and drops the messages that
    /// were retained for them; no will is published.
    pub fn forget_where(&mut self, mut select: impl FnMut(&P) -> bool) {
        let selected: Vec<Key> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.conn.is_none() && select(&session.principal))
            .map(|(key, _)| key)
            .collect();
        for session in selected {
            self.remove_session(session);
        }
        let retained = self.retained.messages();
        let retained = retained.filter(|kept| kept.principal.as_ref().is_some_and(&mut select));
        let topics: Vec<Topic> = retained.map(|kept| kept.message.topic.clone()).collect();
        for topic in topics {
            self.forget_retained(&topic);
        }
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        match self.events.pop_front() {
            None if self.n_lost_events > 0 => {
                Some(Event::Lost { n_events: core::mem::take(&mut self.n_lost_events) })
            }
            event => event,
        }
    }

    /// Returns when `handle_timeout` is due; that may have been already.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.searching.is_empty() || !self.chores.is_empty() {
            return Some(Instant::default());
        }
        let timer = self.timers.first().map(|&(at, _)| at);
        [timer, self.changes.due()].into_iter().flatten().min()
    }

    /// Returns changes that are to be made durable, together and before any that come later.
    ///
    /// There are no others before `handle_durable`: answers that promise what these hold wait for it. Poll it after
    /// `poll_transmit`, which may give a message its number, and then poll that again.
    pub fn poll_changes(&mut self, now: Instant) -> Option<Vec<Change<P>>> {
        if !self.chores.is_empty() {
            return None;
        }
        match self.changes.take(now) {
            Taken::Changes(changes) => Some(changes),
            Taken::Durable => {
                self.release();
                None
            }
            Taken::Nothing => None,
        }
    }

    /// Returns the changes that are not durable, although nobody waits for them, if those before are.
    pub fn take_changes(&mut self) -> Option<Vec<Change<P>>> {
        match self.changes.take_all() {
            Taken::Changes(changes) => Some(changes),
            Taken::Durable | Taken::Nothing => None,
        }
    }

    /// Tells whether changes were polled that are not durable yet.
    #[must_use]
    pub const fn waits_for_durable(&self) -> bool {
        self.changes.is_out()
    }

    /// Takes note that the changes that were polled last are durable.
    pub fn handle_durable(&mut self) {
        self.changes.keep();
        self.release();
    }

    fn release(&mut self) {
        while let Some(&(batch, key)) = self.waiting.first()
            && self.changes.is_durable(batch)
        {
            self.waiting.pop_first();
            let changes = &self.changes;
            if let Some(connection) = self.connections.get_mut(key) {
                connection.release(|batch| changes.is_durable(batch));
            }
            self.mark_ready(key);
        }
    }

    /// Does what is due.
    pub fn handle_timeout<G: Guard<P>>(&mut self, guard: &mut G, now: Instant) {
        while self.timers.first().is_some_and(|&(at, _)| at <= now) {
            match self.timers.pop_first() {
                Some((_, Timer::Connection(key))) => self.handle_connection_timer(key, now),
                Some((_, Timer::Session(key))) => self.handle_session_timer(key, now),
                Some((_, Timer::Group(key))) => self.handle_group_timer(key, guard, now),
                Some((_, Timer::Retained(topic))) => self.forget_retained(&topic),
                None => break,
            }
        }
        // A few at a time: whoever searches for everything doesn't hold up those who wait for a message.
        for _ in 0..self.searching.len().min(SEARCHES_AT_ONCE) {
            if let Some(session) = self.searching.pop_front() {
                if let Some(held) = self.sessions.get_mut(session) {
                    held.is_searching = false;
                }
                self.search(session, guard, now);
            }
        }
        self.settle(guard, now);
    }

    /// Publishes a message of the server's own, to be retained, with QoS 0.
    pub fn publish_own<G: Guard<P>>(
        &mut self,
        topic: Topic,
        payload: Bytes,
        guard: &mut G,
        now: Instant,
    ) {
        let message = Message::of_own(topic, payload);
        self.retain(None, &message, now);
        self.route(&message, None, guard, now);
        self.settle(guard, now);
    }

    /// Returns whose connection it is.
    #[must_use]
    pub fn principal(&self, conn: ConnId) -> Option<&P> {
        self.connections.get(conn.0).map(|connection| &connection.principal)
    }

    /// Returns the counts since the broker began.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns how much the broker holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            connections: self.connections.len(),
            sessions: self.sessions.len(),
            subscriptions: self.n_subscriptions(),
            retained: self.retained.len(),
            retained_bytes: self.retained.n_bytes(),
            pooled_bytes: self.pool.n_bytes(),
        }
    }

    /// Counts the subscriptions: a group has one place in the trie, and several members.
    fn n_subscriptions(&self) -> usize {
        self.trie.len() - self.groups.len() + self.groups.n_members()
    }

    fn take_packet<G: Guard<P>>(&mut self, key: Key, packet: Packet, guard: &mut G, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let open = match (&mut connection.state, packet) {
            (State::Closing, _) => return,
            (State::Waiting { .. }, Packet::Connect(connect)) => {
                return self.handle_connect(key, *connect, guard, now);
            }
            (State::Waiting { .. }, other) => {
                let text = alloc::format!("first packet is {}, expected CONNECT", other.kind());
                return self.fail(key, Reason::ProtocolError, &text, now);
            }
            (State::Open(open), packet) => {
                open.heard = now;
                (*open, packet)
            }
        };
        match open {
            (open, Packet::Publish(publish)) => {
                self.handle_publish(key, &open, publish, guard, now)
            }
            (open, Packet::PubAck(ack)) => self.handle_pub_ack(key, &open, &ack),
            (open, Packet::PubRec(ack)) => self.handle_pub_rec(key, &open, &ack),
            (open, Packet::PubRel(ack)) => self.handle_pub_rel(key, &open, &ack),
            (open, Packet::PubComp(ack)) => self.handle_pub_comp(key, &open, &ack),
            (open, Packet::Subscribe(subscribe)) => {
                self.handle_subscribe(key, &open, subscribe, guard, now)
            }
            (open, Packet::Unsubscribe(unsubscribe)) => {
                self.handle_unsubscribe(key, &open, &unsubscribe)
            }
            (_, Packet::PingReq) => self.answer(key, Packet::PingResp),
            (open, Packet::Disconnect(disconnect)) => {
                self.handle_disconnect(key, &open, &disconnect, now)
            }
            (_, Packet::Connect(_)) => {
                self.fail(key, Reason::ProtocolError, "a second CONNECT, expected one", now)
            }
            (_, Packet::Auth(_)) => {
                let text = "AUTH without an authentication method in CONNECT; connect without AUTH";
                self.fail(key, Reason::ProtocolError, text, now);
            }
            (
                _,
                packet @ (Packet::ConnAck(_)
                | Packet::SubAck(_)
                | Packet::UnsubAck(_)
                | Packet::PingResp),
            ) => {
                let text = alloc::format!("{} may not be sent to a server", packet.kind());
                self.fail(key, Reason::ProtocolError, &text, now);
            }
        }
    }

    /// Ends a connection whose peer broke the protocol.
    fn fail(&mut self, key: Key, reason: Reason, text: &str, now: Instant) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if matches!(connection.state, State::Closing) {
            return;
        }
        let text = Text::clipped(text);
        self.counters.protocol_errors += 1;
        let (principal, client_id) = (connection.principal.clone(), self.client_id_of(connection));
        self.record(Event::ProtocolError {
            conn: ConnId(key),
            principal,
            client_id,
            reason,
            text: text.clone(),
        });
        self.end(key, Why::ProtocolError { reason }, Some((reason, Some(text))), now);
    }

    fn client_id_of(&self, connection: &Connection<P>) -> Option<Text> {
        let session = self.sessions.get(connection.session()?)?;
        Some(session.client_id.clone())
    }

    /// Puts a packet that isn't a PUBLISH out to a client.
    fn answer(&mut self, key: Key, mut packet: Packet) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let State::Open(open) = &connection.state else {
            return;
        };
        let max_packet = open.max_packet;
        let after = self.changes.promised();
        let is_put = connection.put(&packet, max_packet, after) || {
            // MQTT-3.4.2-2 and its like: what is too large goes without its explanations.
            strip_explanations(&mut packet);
            connection.put(&packet, max_packet, after)
        };
        if !is_put {
            self.counters.dropped_too_large += 1;
        }
        if !self.changes.is_durable(after) {
            self.waiting.insert((after, key));
        }
        if connection.n_answer_bytes() > self.limits.control_bytes {
            self.chores.push_back(Chore::EndSlow(key));
        }
        self.mark_ready(key);
    }

    fn mark_ready(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_ready
        {
            connection.is_ready = true;
            self.ready.push_back(key);
        }
    }

    fn record(&mut self, event: Event<P>) {
        if self.events.len() >= self.limits.events {
            self.n_lost_events = self.n_lost_events.saturating_add(1);
        } else {
            self.events.push_back(event);
        }
    }

    fn set_connection_timer(&mut self, key: Key, at: Option<Instant>) {
        if let Some(connection) = self.connections.get_mut(key) {
            let earlier = core::mem::replace(&mut connection.timer, at);
            set_timer(&mut self.timers, Timer::Connection(key), earlier, at);
        }
    }

    fn handle_connection_timer(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.timer = None;
        match &connection.state {
            State::Waiting { .. } => self.end(key, Why::ConnectTimeout, None, now),
            State::Open(open) => {
                // Packets only note when they came; the timer is moved here.
                let due = open.patience.map(|patience| open.heard.plus(patience));
                match due {
                    Some(due) if due <= now => {
                        self.end(key, Why::KeepAlive, Some((Reason::KeepAliveTimeout, None)), now);
                    }
                    due => self.set_connection_timer(key, due),
                }
            }
            State::Closing => {}
        }
    }
}

fn set_timer(
    timers: &mut BTreeSet<(Instant, Timer)>,
    timer: Timer,
    earlier: Option<Instant>,
    at: Option<Instant>,
) {
    let timer = match earlier {
        Some(earlier) => {
            let entry = (earlier, timer);
            timers.remove(&entry);
            entry.1
        }
        None => timer,
    };
    if let Some(at) = at {
        timers.insert((at, timer));
    }
}

fn strip_explanations(packet: &mut Packet) {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.properties = AckProperties::default();
        }
        Packet::SubAck(sub_ack) => sub_ack.properties = AckProperties::default(),
        Packet::UnsubAck(unsub_ack) => unsub_ack.properties = AckProperties::default(),
        Packet::ConnAck(conn_ack) => conn_ack.properties.reason_string = None,
        Packet::Disconnect(disconnect) => disconnect.properties = DisconnectProperties::default(),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Auth(_) => {}
    }
}

fn farewell(reason: Reason, text: Option<Text>) -> Packet {
    let properties =
        DisconnectProperties { reason_string: text, ..DisconnectProperties::default() };
    Packet::Disconnect(Disconnect { reason, properties })
}

/// How many sessions' searches for retained messages take a step at one timeout.
const SEARCHES_AT_ONCE: usize = 32;
