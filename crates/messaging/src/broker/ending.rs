//! How connections and sessions end, and what they leave: a will, a session that waits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::connection::{Open, State, put};
use super::group::Unfinished;
use super::message::{Message, Outgoing};
use super::row::{Row, RowKey};
use super::session::{LastWill, Session};
use super::slab::Key;
use super::{
    Action, Broker, ConnId, Event, Guard, Holder, Ruling, Share, Timer, Why, farewell, set_timer,
};
use crate::mqtt::{Disconnect, QoS, Reason, Version};
use crate::text::Text;
use crate::time::Instant;

/// What one input causes elsewhere.
#[derive(Debug)]
pub(super) enum Chore<P> {
    /// A client doesn't take what is sent to it.
    EndSlow(Key),
    /// A client was lost.
    PublishWill(Box<Lost<P>>),
    /// A member of groups has left messages unfinished.
    HandOver(Unfinished),
}

/// A lost client's will.
#[derive(Debug)]
pub(super) struct Lost<P> {
    principal: P,
    client_id: Text,
    message: Message,
}

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn handle_disconnect(
        &mut self,
        key: Key,
        open: &Open,
        disconnect: &Disconnect,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return;
        };
        if let (Version::V5, Some(expiry)) = (open.version, disconnect.properties.session_expiry) {
            if session.expiry == 0 && expiry > 0 && self.limits.session_expiry > 0 {
                let text =
                    "DISCONNECT sets a session expiry where CONNECT had none; set it in CONNECT";
                return self.fail(key, Reason::ProtocolError, text, now); // MQTT-3.14.2-3
            }
            session.expiry = expiry.min(self.limits.session_expiry);
        }
        if disconnect.reason == Reason::Success {
            session.will = None; // MQTT-3.14.4-3
        }
        self.end(key, Why::ByClient { reason: disconnect.reason }, None, now);
    }

    /// Ends a connection: the peer gets what waits in `out`, a word of farewell in MQTT 5.0, and is closed.
    pub(super) fn end(
        &mut self,
        key: Key,
        why: Why,
        word: Option<(Reason, Option<Text>)>,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let principal = connection.principal.clone();
        let open = match core::mem::replace(&mut connection.state, State::Closing) {
            State::Closing => return,
            State::Waiting { .. } => None,
            State::Open(open) => Some(open),
        };
        let is_greeted = self.changes.is_durable(connection.greeted);
        if let (Some(open), Some((reason, text))) = (&open, word)
            && open.version == Version::V5
            && is_greeted
        {
            let reason =
                if reason.is_allowed(crate::mqtt::Kind::Disconnect, crate::mqtt::Side::Client) {
                    reason
                } else {
                    Reason::Unspecified
                };
            if why == Why::SlowConsumer {
                connection.out.clear();
            }
            if !put(&mut connection.out, &farewell(reason, text), open.version, open.max_packet) {
                put(&mut connection.out, &farewell(reason, None), open.version, open.max_packet);
            }
        }
        // What was held back would promise what is not yet durable.
        connection.held.clear();
        for batch in self.changes.not_durable() {
            self.waiting.remove(&(batch, key));
        }
        self.set_connection_timer(key, None);
        self.mark_ready(key);
        let session = open.map(|open| open.session);
        let client_id = session
            .and_then(|session| self.sessions.get(session))
            .map(|held| held.client_id.clone());
        self.record(Event::Disconnected { conn: ConnId(key), principal, client_id, why });
        if let Some(session) = session {
            self.leave(session, now);
        }
    }

    /// Ends a connection whose client doesn't take what is sent to it.
    pub(super) fn end_slow(&mut self, key: Key, now: Instant) {
        let Some(session) = self.connections.get(key).and_then(|connection| connection.session())
        else {
            return;
        };
        if let Some(held) = self.sessions.get(session) {
            let (principal, client_id) = (held.principal.clone(), held.client_id.clone());
            let (n_queued, queued_bytes) = (held.queue.len(), held.queue.n_bytes());
            self.record(Event::SlowConsumer {
                conn: ConnId(key),
                principal,
                client_id,
                n_queued,
                queued_bytes,
            });
        }
        self.end(key, Why::SlowConsumer, Some((Reason::QuotaExceeded, None)), now);
    }

    /// A session's connection is gone: the session waits or ends, its will waits or is published.
    fn leave(&mut self, session: Key, now: Instant) {
        let Some(held) = self.sessions.get_mut(session) else {
            return;
        };
        held.conn = None;
        held.searches.clear();
        if held.expiry == 0 {
            return self.end_session(session);
        }
        held.queue.keep(|outgoing| outgoing.qos != QoS::AtMostOnce);
        self.pool.settle(held, &mut self.shares, &self.limits);
        held.ends_at = Some(now.plus(Duration::from_secs(held.expiry.into())));
        match held.will.as_ref().map(|will| will.delay) {
            None => {}
            Some(0) => self.lose(session),
            Some(delay) => held.will_at = Some(now.plus(Duration::from_secs(delay.into()))),
        }
        self.note_session(session);
        self.set_session_timer(session);
    }

    /// Tells the store what has become of a session.
    pub(super) fn note_session(&mut self, session: Key) {
        if let Some(held) = self.sessions.get(session)
            && held.is_kept
        {
            self.changes.put(Row::Session(held.row()), false);
        }
    }

    /// Takes a session out of the store, with all that is its.
    pub(super) fn forget_session(&mut self, session: Key) {
        let Some(held) = self.sessions.get_mut(session) else { return };
        if !core::mem::take(&mut held.is_kept) {
            return;
        }
        let (id, changes) = (held.id, &mut self.changes);
        for filter in &held.subscriptions {
            changes.forget(RowKey::Subscription(id, filter.clone()));
        }
        let waiting = held.queue.iter().filter(|outgoing| outgoing.qos != QoS::AtMostOnce);
        for outgoing in waiting {
            changes.forget(RowKey::Message(id, outgoing.id));
        }
        for (_, flown, _) in held.flights.iter() {
            changes.forget(RowKey::Message(id, flown.message));
        }
        for received in &held.received {
            changes.forget(RowKey::Received(id, *received));
        }
        changes.forget(RowKey::Session(id));
    }

    /// Ends a session; its will is published if it still waits.
    pub(super) fn end_session(&mut self, session: Key) {
        self.lose(session);
        self.remove_session(session);
    }

    pub(super) fn remove_session(&mut self, session: Key) {
        self.forget_session(session);
        let Some(mut held) = self.sessions.remove(session) else {
            return;
        };
        self.pool.give_back(&held, &mut self.shares);
        for filter in &held.subscriptions {
            if self.withdraw(filter, session.slot) {
                let share = Share::of_subscription(filter.levels().count());
                self.shares.give_back(held.principal.name(), share);
            }
        }
        let mut messages = held.flights.unfinished();
        messages.extend(held.queue.take_where(|outgoing| outgoing.group.is_some()));
        self.hand_over_later(held.version, messages);
        self.shares.give_back(held.principal.name(), Share::SESSION);
        self.by_client.remove(&held.client_id);
        set_timer(&mut self.timers, Timer::Session(session), held.timer, None);
    }

    /// Lets others of their groups have messages.
    pub(super) fn hand_over_later(&mut self, version: Version, mut messages: Vec<Outgoing>) {
        messages.retain(|outgoing| outgoing.qos != QoS::AtMostOnce);
        if !messages.is_empty() {
            self.chores.push_back(Chore::HandOver(Unfinished { version, messages }));
        }
    }

    pub(super) fn handle_session_timer(&mut self, key: Key, now: Instant) {
        let Some(held) = self.sessions.get_mut(key) else {
            return;
        };
        held.timer = None;
        if held.ends_at.is_some_and(|at| at <= now) {
            return self.end_session(key);
        }
        if held.will_at.is_some_and(|at| at <= now) {
            held.will_at = None;
            self.lose(key);
            self.note_session(key);
        }
        self.set_session_timer(key);
    }

    pub(super) fn set_session_timer(&mut self, key: Key) {
        if let Some(held) = self.sessions.get_mut(key) {
            let at = [held.will_at, held.ends_at].into_iter().flatten().min();
            let earlier = core::mem::replace(&mut held.timer, at);
            set_timer(&mut self.timers, Timer::Session(key), earlier, at);
        }
    }

    fn lose(&mut self, session: Key) {
        let Some(held) = self.sessions.get_mut(session) else {
            return;
        };
        let Session { principal, client_id, will, .. } = held;
        if let Some(LastWill { message, .. }) = will.take() {
            let lost = Lost { principal: principal.clone(), client_id: client_id.clone(), message };
            self.chores.push_back(Chore::PublishWill(Box::new(lost)));
        }
    }

    /// Publishes a will if its client may still publish it.
    pub(super) fn publish_will<G: Guard<P>>(&mut self, lost: Lost<P>, guard: &mut G, now: Instant) {
        let Lost { principal, client_id, mut message } = lost;
        message.begin(now);
        let n_payload = message.payload.len();
        if let Ruling::Deny { reason, .. } =
            guard.publish(&principal, &message.topic, message.retain, message.qos, n_payload)
        {
            self.counters.denied_publishes += 1;
            let action = Action::Will { topic: message.topic };
            return self.record(Event::Denied { conn: None, principal, client_id, action, reason });
        }
        if message.retain {
            self.retain(Some(&principal), &message, now);
        }
        self.route(&message, None, guard, now);
        self.record(Event::WillPublished { principal, client_id, topic: message.topic });
    }
}
