//! Messages in, messages out to queues, and the answers of both sides.

use alloc::vec::Vec;

use super::connection::Open;
use super::ending::Chore;
use super::group::{Groups, has_room, place_of};
use super::guard::told;
use super::message::{Encodings, Form, Kept, Message, Outgoing};
use super::row::{MessageId, MessageRow, MessageStage, RetainedRow, Row, RowKey, SessionId};
use super::session::Stage;
use super::slab::Key;
use super::{Action, Broker, ConnId, Event, Guard, Holder, Ruling, Timer};
use crate::mqtt::{
    Ack, Delivery, Kind, Packet, PacketId, Publish, QoS, Reason, SubscriptionId, Version,
};
use crate::router::Interest;
use crate::text::Text;
use crate::time::Instant;
use crate::topic::Topic;

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn handle_publish<G: Guard<P>>(
        &mut self,
        key: Key,
        open: &Open,
        mut publish: Publish,
        guard: &mut G,
        now: Instant,
    ) {
        let alias =
            publish.properties.as_mut().and_then(|properties| properties.topic_alias.take());
        if let (Some(alias), Some(connection)) = (alias, self.connections.get_mut(key)) {
            match connection.named.topic(alias, publish.topic.take(), &self.limits) {
                Ok(topic) => publish.topic = Some(topic),
                Err((reason, text)) => return self.fail(key, reason, text, now),
            }
        }
        let delivery = publish.delivery;
        if let Delivery::ExactlyOnce { id, .. } = delivery
            && !self.receive_once(key, open, id, now)
        {
            return;
        }
        let Some(message) = Message::of(publish, now) else {
            return self.fail(key, Reason::ProtocolError, "PUBLISH has no topic; send one", now);
        };
        self.counters.received += 1;
        let refused = self.accept(key, open, &message, guard, now);
        let (reason, text) =
            refused.map_or((Reason::Success, None), |(reason, text)| (reason, Some(text)));
        let text = text.filter(|_| open.explain);
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => {
                self.answer(key, Packet::PubAck(ack(id, reason, text)))
            }
            Delivery::ExactlyOnce { id, .. } => {
                // MQTT 3.1.1 can't refuse: its client goes on to PUBREL.
                if reason.is_failure()
                    && open.version == Version::V5
                    && let Some(session) = self.sessions.get_mut(open.session)
                {
                    session.received.remove(&id);
                    if session.is_kept {
                        self.changes.forget(RowKey::Received(session.id, id));
                    }
                }
                self.answer(key, Packet::PubRec(ack(id, reason, text)));
            }
        }
    }

    /// Tells whether a message of QoS 2 is a new one; if it isn't, or one too many, it is answered here.
    fn receive_once(&mut self, key: Key, open: &Open, id: PacketId, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return false;
        };
        if session.received.contains(&id) {
            self.answer(key, Packet::PubRec(Ack::of(id, Reason::Success)));
            return false;
        }
        let limit = self.limits.receive_maximum.get();
        if session.received.len() >= usize::from(limit) {
            let text =
                alloc::format!("more than {limit} messages of QoS 2 in flight; wait for PUBCOMP");
            self.fail(key, Reason::ReceiveMaximumExceeded, &text, now);
            return false;
        }
        session.received.insert(id);
        if session.is_kept {
            self.changes.put(Row::Received(session.id, id), true);
        }
        true
    }

    /// Retains and routes a message if the guard allows it; returns why not.
    fn accept<G: Guard<P>>(
        &mut self,
        key: Key,
        open: &Open,
        message: &Message,
        guard: &mut G,
        now: Instant,
    ) -> Option<(Reason, Text)> {
        let held = self.sessions.get(open.session)?;
        let Message { topic, qos, retain, payload, .. } = message;
        if let Ruling::Deny { code, reason } =
            guard.publish(&held.principal, topic, *retain, *qos, payload.len())
        {
            self.counters.denied_publishes += 1;
            let (principal, client_id) = (held.principal.clone(), held.client_id.clone());
            let action = Action::Publish { topic: topic.detach(), qos: *qos, retain: *retain };
            let conn = Some(ConnId(key));
            self.record(Event::Denied {
                conn,
                principal,
                client_id,
                action,
                reason: reason.clone(),
            });
            return Some((told(code, Kind::PubAck), reason));
        }
        if message.retain {
            let principal = held.principal.clone();
            let is_retained = self.retain(Some(&principal), message, now);
            if !is_retained && message.qos != QoS::AtMostOnce && open.version == Version::V5 {
                // Whoever can be told is told, and then nobody gets the message.
                return Some((
                    Reason::QuotaExceeded,
                    Text::from_static("no more messages can be retained"),
                ));
            }
        }
        self.route(message, Some(open.session.slot), guard, now);
        None
    }

    /// Keeps or clears a topic's retained message; false if there is no room for it.
    pub(super) fn retain(
        &mut self,
        principal: Option<&P>,
        message: &Message,
        now: Instant,
    ) -> bool {
        if message.payload.is_empty() {
            self.forget_retained(&message.topic); // MQTT-3.3.1-6
            return true;
        }
        let kept = Kept { message: message.detached(now), principal: principal.cloned() };
        let row = retained_row(&kept).filter(|_| self.changes.is_kept());
        let is_new = self.retained.message(&message.topic).is_none();
        let is_kept = self.keep(kept);
        if is_kept && let Some(row) = row {
            self.changes.put(Row::Retained(row), is_new);
        }
        self.counters.refused_retained += u64::from(!is_kept);
        is_kept
    }

    pub(super) fn keep(&mut self, kept: Kept<P>) -> bool {
        let share = kept.share();
        let name = kept.principal.as_ref().map(|principal| principal.name().clone());
        let (topic, expires) = (kept.message.topic.clone(), kept.message.expires);
        let earlier = self.retained.message(&topic).map(|earlier| {
            let name = earlier.principal.as_ref().map(|principal| principal.name().clone());
            (name, earlier.share(), earlier.message.expires)
        });
        // The earlier one gives its place to this one.
        if let Some((Some(name), share, _)) = &earlier {
            self.shares.give_back(name, *share);
        }
        let is_granted = name.as_ref().is_none_or(|name| self.shares.take(name, share));
        if is_granted && self.retained.set(&topic, kept, share.retained_bytes).is_ok() {
            if let Some((_, _, Some(expires))) = earlier {
                self.timers.remove(&(expires, Timer::Retained(topic.clone())));
            }
            if let Some(expires) = expires {
                self.timers.insert((expires, Timer::Retained(topic)));
            }
            return true;
        }
        if let Some(name) = name.filter(|_| is_granted) {
            self.shares.give_back(&name, share);
        }
        if let Some((Some(name), share, _)) = &earlier {
            // It was within the bounds a moment ago.
            self.shares.take(name, *share);
        }
        false
    }

    /// Drops a topic's retained message.
    pub(super) fn forget_retained(&mut self, topic: &Topic) {
        if let Some(kept) = self.retained.clear(topic) {
            if kept.principal.is_some() {
                self.changes.forget(RowKey::Retained(topic.clone()));
            }
            if let Some(principal) = &kept.principal {
                self.shares.give_back(principal.name(), kept.share());
            }
            if let Some(expires) = kept.message.expires {
                self.timers.remove(&(expires, Timer::Retained(topic.clone())));
            }
        }
    }

    /// Puts a message into the queue of everyone who subscribed and may receive it.
    pub(super) fn route<G: Guard<P>>(
        &mut self,
        message: &Message,
        origin: Option<u32>,
        guard: &mut G,
        now: Instant,
    ) {
        let mut matches = core::mem::take(&mut self.matches);
        self.trie.matches(&message.topic, &mut matches);
        let mut encodings = Encodings::of(message);
        let mut ids = Vec::new();
        for of_one in matches.found.chunk_by(|(one, _), (other, _)| one == other) {
            if let Some(place) = of_one.first().and_then(|(subscriber, _)| place_of(*subscriber)) {
                self.deliver_to_one(place, &mut encodings, message, guard, now);
                continue;
            }
            // Overlapping subscriptions bring one copy, with the best quality and every identifier (MQTT-3.3.4-2).
            ids.clear();
            let mut merged: Option<Interest> = None;
            for &(subscriber, interest) in of_one {
                if interest.no_local && origin == Some(subscriber) {
                    continue; // MQTT-3.8.3-3
                }
                ids.extend(interest.id);
                merged = Some(merged.map_or(interest, |merged| Interest {
                    qos: merged.qos.max(interest.qos),
                    retain_as_published: merged.retain_as_published || interest.retain_as_published,
                    ..interest
                }));
            }
            let (Some(interest), Some(&(subscriber, _))) = (merged, of_one.first()) else {
                continue;
            };
            if let Some(session) = self.sessions.key_at(subscriber) {
                self.deliver(session, &mut encodings, message, interest, &ids, guard, now);
            }
        }
        self.matches = matches;
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one message, one receiver and what stands between them"
    )]
    fn deliver<G: Guard<P>>(
        &mut self,
        session: Key,
        encodings: &mut Encodings<'_>,
        message: &Message,
        interest: Interest,
        ids: &[SubscriptionId],
        guard: &mut G,
        now: Instant,
    ) {
        let Some(held) = self.sessions.get(session) else {
            return;
        };
        if let Ruling::Deny { .. } = guard.receive(&held.principal, &message.topic) {
            self.counters.denied_receives += 1;
            return;
        }
        let form = Form::of(message, held.version, interest);
        if let Some(outgoing) = encodings.outgoing(form, ids) {
            self.offer(session, outgoing, now);
        }
    }

    /// Puts an encoded message into a session's queue, or says what becomes of it instead.
    pub(super) fn offer(&mut self, session: Key, outgoing: Outgoing, now: Instant) {
        let Some(held) = self.sessions.get_mut(session) else {
            return;
        };
        if outgoing.is_expired(now) {
            self.counters.dropped_expired += 1;
            return;
        }
        let is_full = !has_room(held, outgoing.len(), &self.pool, &self.shares, &self.limits);
        let is_sure = outgoing.qos != QoS::AtMostOnce;
        match held.conn {
            None if is_full || !is_sure => {
                self.counters.dropped_offline += 1;
                return;
            }
            Some(conn) if is_full => {
                self.counters.dropped_full += 1;
                if is_sure {
                    self.chores.push_back(Chore::EndSlow(conn));
                }
                return;
            }
            None | Some(_) => {}
        }
        self.counters.delivered += 1;
        let outgoing = Outgoing { id: MessageId(self.next_message), ..outgoing };
        self.next_message += 1;
        if is_sure && held.is_kept {
            let row = row(held.id, &outgoing, &self.groups);
            self.changes.put(Row::Message(row), true);
        }
        held.queue.push(outgoing);
        self.pool.settle(held, &mut self.shares, &self.limits);
        if let Some(conn) = held.conn {
            self.mark_ready(conn);
        }
    }

    pub(super) fn handle_pub_ack(&mut self, key: Key, open: &Open, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return;
        };
        match session.flights.stage(ack.id) {
            Some(Stage::Sent(outgoing)) if outgoing.qos == QoS::AtLeastOnce => {
                self.land(key, open.session, ack.id);
            }
            _ => self.counters.unknown_acks += 1,
        }
    }

    pub(super) fn handle_pub_rec(&mut self, key: Key, open: &Open, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return;
        };
        let reason = match session.flights.stage(ack.id) {
            Some(Stage::Sent(outgoing)) if outgoing.qos == QoS::ExactlyOnce => {
                if ack.reason.is_failure() {
                    return self.land(key, open.session, ack.id);
                }
                if let Some(flown) = session.flights.release(ack.id)
                    && session.is_kept
                {
                    let group = flown.group.and_then(|group| self.groups.name(group)).cloned();
                    let stage = MessageStage::Released(ack.id);
                    let (session, id) = (session.id, flown.message);
                    let row = MessageRow { session, id, stage, group };
                    self.changes.put(Row::Message(row), false);
                }
                self.settle_pool(open.session);
                Reason::Success
            }
            Some(Stage::Released) => Reason::Success,
            Some(Stage::Sent(_)) | None => {
                self.counters.unknown_acks += 1;
                Reason::PacketIdNotFound
            }
        };
        self.answer(key, Packet::PubRel(Ack::of(ack.id, reason)));
    }

    pub(super) fn handle_pub_rel(&mut self, key: Key, open: &Open, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return;
        };
        let reason = match session.received.remove(&ack.id) {
            true => {
                if session.is_kept {
                    self.changes.forget(RowKey::Received(session.id, ack.id));
                }
                Reason::Success
            }
            false => Reason::PacketIdNotFound,
        };
        self.answer(key, Packet::PubComp(Ack::of(ack.id, reason)));
    }

    pub(super) fn handle_pub_comp(&mut self, key: Key, open: &Open, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(open.session) else {
            return;
        };
        match session.flights.stage(ack.id) {
            Some(Stage::Released) => self.land(key, open.session, ack.id),
            _ => self.counters.unknown_acks += 1,
        }
    }

    /// A message has reached its client: there is room in flight for another.
    fn land(&mut self, key: Key, session: Key, id: PacketId) {
        if let Some(held) = self.sessions.get_mut(session)
            && let Some(flown) = held.flights.end(id)
            && held.is_kept
        {
            self.changes.forget(RowKey::Message(held.id, flown.message));
        }
        self.settle_pool(session);
        self.search_later(session);
        self.mark_ready(key);
    }
}

/// Writes down a retained message, unless it is the server's own.
pub(super) fn retained_row<P: Clone>(kept: &Kept<P>) -> Option<RetainedRow<P>> {
    let Kept { message, principal } = kept;
    let (topic, principal, expires) = (message.topic.clone(), principal.clone()?, message.expires);
    Some(RetainedRow { topic, principal, publish: message.packed()?, expires })
}

/// Writes down a message that waits for its client.
pub(super) fn row(session: SessionId, outgoing: &Outgoing, groups: &Groups) -> MessageRow {
    let group = outgoing.group.and_then(|group| groups.name(group)).cloned();
    MessageRow { session, id: outgoing.id, stage: MessageStage::Waiting(outgoing.row()), group }
}

fn ack(id: PacketId, reason: Reason, text: Option<Text>) -> Ack {
    let mut ack = Ack::of(id, reason);
    ack.properties.reason_string = text;
    ack
}
