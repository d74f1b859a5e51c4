//! CONNECT: who is it, may they, and does a session wait for them?

use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use super::alias::Told;
use super::connection::{Open, State, put};
use super::ending::Chore;
use super::guard::told;
use super::message::{Message, Outgoing};
use super::row::{Row, RowKey, SessionId};
use super::session::{LastWill, Session};
use super::slab::Key;
use super::{Action, Broker, ConnId, Event, Guard, Holder, Ruling, Share, Why};
use crate::mqtt::{
    Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Kind, MAX_REMAINING, Packet, QoS,
    Reason, Version,
};
use crate::text::Text;
use crate::time::Instant;

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn handle_connect<G: Guard<P>>(
        &mut self,
        key: Key,
        connect: Connect,
        guard: &mut G,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let State::Waiting { assigned } = &connection.state else {
            return;
        };
        let principal = connection.principal.clone();
        let assigned = assigned.clone();
        let name = match self.name_of(&connect, assigned) {
            Ok(name) => name,
            Err(refusal) => return self.refuse(key, &connect, refusal, now),
        };
        if let Err((refusal, action)) = rule(&principal, &name.client_id, &connect, guard) {
            let Refusal { text: reason, .. } = &refusal;
            self.counters.denied_connects += 1;
            let (client_id, reason) = (name.client_id.detach(), reason.clone());
            self.record(Event::Denied {
                conn: Some(ConnId(key)),
                principal,
                client_id,
                action,
                reason,
            });
            return self.refuse(key, &connect, refusal, now);
        }
        let client_id = name.client_id.detach();
        let waiting = self.take_over(key, &principal, &client_id, &connect, now);
        let (session, resumed) = match waiting {
            Some(session) => (session, true),
            None if self.sessions.len() >= self.limits.sessions => {
                let text = Text::from_static(
                    "there are as many sessions as there may be; come again later",
                );
                return self.refuse(
                    key,
                    &connect,
                    Refusal { reason: Reason::QuotaExceeded, text },
                    now,
                );
            }
            None if !self.shares.take(principal.name(), Share::SESSION) => {
                let text = Text::from_static(
                    "this device has as many sessions as one may have; end some, or come again later",
                );
                let refusal = Refusal { reason: Reason::QuotaExceeded, text };
                return self.refuse(key, &connect, refusal, now);
            }
            None => {
                let id = SessionId(self.next_session);
                self.next_session += 1;
                let session =
                    Session::begin(id, principal.clone(), client_id.clone(), connect.version);
                let session = self.sessions.insert(session);
                self.by_client.insert(client_id.clone(), session);
                (session, false)
            }
        };
        let terms = self.terms(&connect);
        if let Some(held) = self.sessions.get_mut(session) {
            held.conn = Some(key);
            held.principal = principal.clone();
            held.expiry = terms.expiry;
            held.will_at = None;
            held.ends_at = None;
            held.will = connect.will.as_ref().map(|will| LastWill {
                message: Message::of_will(will, now),
                delay: will.properties.delay.unwrap_or(0),
            });
        }
        self.keep_session(session, !resumed);
        self.set_session_timer(session);
        let version = connect.version;
        self.open_connection(key, session, &connect, &terms, now);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.greeted = self.changes.promised();
        }
        let assigned = name.is_assigned.then(|| client_id.clone());
        self.answer(
            key,
            Packet::ConnAck(alloc::boxed::Box::new(conn_ack(resumed, &terms, assigned))),
        );
        self.record(Event::Connected { conn: ConnId(key), principal, client_id, version, resumed });
        if resumed {
            self.resume(key, session, guard);
        }
    }

    /// Refuses a CONNECT in a version that isn't spoken here.
    pub(super) fn answer_unsupported(&mut self, key: Key, version: Version) {
        if let Some(connection) = self.connections.get_mut(key)
            && matches!(connection.state, State::Waiting { .. })
        {
            let packet = refusal(Reason::UnsupportedVersion, None);
            put(&mut connection.out, &packet, version, MAX_REMAINING);
        }
    }

    fn name_of(&self, connect: &Connect, assigned: Text) -> Result<Name, Refusal> {
        if connect.properties.authentication_method.is_some() {
            let text = Text::from_static("no authentication method is supported; leave it out");
            return Err(Refusal { reason: Reason::BadAuthenticationMethod, text });
        }
        if connect.client_id.is_empty() {
            if connect.version == Version::V311 && !connect.clean_start {
                let text = Text::from_static("client id is empty without clean session; name one"); // MQTT-3.1.3-8
                return Err(Refusal { reason: Reason::ClientIdNotValid, text });
            }
            return Ok(Name { client_id: assigned, is_assigned: true });
        }
        // A client id finds its way into logs and policies: no wildcard that could widen one, nothing unprintable.
        let is_odd = |char: char| matches!(char, '+' | '#') || char.is_control();
        if connect.client_id.len() > self.limits.client_id_bytes
            || connect.client_id.contains(is_odd)
        {
            let text = Text::from_static(
                "client id is too long or holds `+`, `#` or control characters; choose another",
            );
            return Err(Refusal { reason: Reason::ClientIdNotValid, text });
        }
        Ok(Name { client_id: connect.client_id.clone(), is_assigned: false })
    }

    fn refuse(&mut self, key: Key, connect: &Connect, of: Refusal, now: Instant) {
        let max_packet = max_packet_of(&connect.properties);
        if let Some(connection) = self.connections.get_mut(key) {
            let out = &mut connection.out;
            if !put(out, &refusal(of.reason, Some(of.text)), connect.version, max_packet) {
                put(out, &refusal(of.reason, None), connect.version, max_packet);
            }
        }
        self.end(key, Why::Refused { reason: of.reason }, None, now);
    }

    /// Ends another connection of the client id; returns the session that then waits, if it is to be gone on with.
    fn take_over(
        &mut self,
        by: Key,
        principal: &P,
        client_id: &Text,
        connect: &Connect,
        now: Instant,
    ) -> Option<Key> {
        let session = *self.by_client.get(client_id)?;
        if let Some(held) = self.sessions.get(session)
            && let Some(conn) = held.conn
        {
            let (principal, client_id) = (held.principal.clone(), client_id.clone());
            self.record(Event::TakenOver {
                conn: ConnId(conn),
                by: ConnId(by),
                principal,
                client_id,
            });
            self.end(conn, Why::TakenOver, Some((Reason::SessionTakenOver, None)), now);
        }
        let held = self.sessions.get(session)?;
        // What waits is its holder's, and encoded for the version that was spoken.
        let is_its_own = held.principal.name() == principal.name();
        if connect.clean_start || held.version != connect.version || !is_its_own {
            self.end_session(session);
            return None;
        }
        Some(session)
    }

    fn terms(&self, connect: &Connect) -> Terms {
        let wanted_expiry = match connect.version {
            Version::V311 if connect.clean_start => 0,
            Version::V311 => u32::MAX,
            Version::V5 => connect.properties.session_expiry.unwrap_or(0),
        };
        let expiry = wanted_expiry.min(self.limits.session_expiry);
        let cap = self.limits.keep_alive.get();
        let keep_alive = match (connect.version, connect.keep_alive) {
            (Version::V5, wanted) if wanted == 0 || wanted > cap => cap,
            (_, wanted) => wanted, // MQTT 3.1.1 has no way to tell another one
        };
        let largest = u32::try_from(self.limits.packet.packet).ok();
        Terms {
            expiry,
            told_expiry: (expiry != wanted_expiry).then_some(expiry),
            keep_alive,
            told_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            receive_maximum: self.limits.receive_maximum,
            maximum_packet_size: largest.and_then(NonZeroU32::new),
            topic_alias_maximum: self.limits.topic_aliases,
        }
    }

    fn open_connection(
        &mut self,
        key: Key,
        session: Key,
        connect: &Connect,
        terms: &Terms,
        now: Instant,
    ) {
        let properties = &connect.properties;
        // One and a half times the keep-alive (MQTT-3.1.2-22).
        let patience = Duration::from_millis(u64::from(terms.keep_alive) * 1_500);
        let patience = Some(patience).filter(|patience| !patience.is_zero());
        let quota = properties
            .receive_maximum
            .map_or(u16::MAX, NonZeroU16::get)
            .min(self.limits.inflight.get());
        let aliases = properties.topic_alias_maximum.unwrap_or(0).min(self.limits.topic_aliases);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.told = Told::up_to(aliases);
            connection.state = State::Open(Open {
                session,
                version: connect.version,
                max_packet: max_packet_of(properties),
                quota: usize::from(quota),
                explain: properties.request_problem_information.unwrap_or(true),
                patience,
                heard: now,
            });
        }
        self.set_connection_timer(key, patience.map(|patience| now.plus(patience)));
    }

    /// Goes on with a session: what is still allowed is sent, first what had been sent before.
    fn resume<G: Guard<P>>(&mut self, key: Key, session: Key, guard: &mut G) {
        self.redecide_session(session, guard);
        let Some(held) = self.sessions.get_mut(session) else {
            return;
        };
        let principal = &held.principal;
        let mut n_denied = 0;
        let (released, dropped) = held.flights.resume(|outgoing| {
            let is_allowed = outgoing
                .frame
                .topic()
                .is_some_and(|topic| matches!(guard.receive(principal, &topic), Ruling::Allow));
            n_denied += u64::from(!is_allowed);
            is_allowed
        });
        self.counters.denied_receives += n_denied;
        if held.is_kept {
            for outgoing in &dropped {
                self.changes.forget(RowKey::Message(held.id, outgoing.id));
            }
        }
        // What came through a group is for another member, unless the client may have it already.
        let is_shared = |sent: &Outgoing| sent.group.is_some() && sent.qos == QoS::AtLeastOnce;
        let (version, shared) = (held.version, dropped.into_iter().filter(is_shared).collect());
        self.hand_over_later(version, shared);
        self.settle_pool(session);
        for id in released {
            self.answer(key, Packet::PubRel(Ack::of(id, Reason::Success)));
        }
        self.mark_ready(key);
    }

    /// Decides whether a session that a client has come to is one for the store, and tells it so.
    fn keep_session(&mut self, session: Key, is_new: bool) {
        let Some(held) = self.sessions.get_mut(session) else { return };
        if held.expiry > 0 && self.changes.is_kept() {
            held.is_kept = true;
            self.changes.put(Row::Session(held.row()), is_new);
        } else {
            self.forget_session(session);
        }
    }

    /// Does what one input caused elsewhere, until nothing is left.
    pub(super) fn settle<G: Guard<P>>(&mut self, guard: &mut G, now: Instant) {
        while let Some(chore) = self.chores.pop_front() {
            match chore {
                Chore::EndSlow(key) => self.end_slow(key, now),
                Chore::PublishWill(lost) => self.publish_will(*lost, guard, now),
                Chore::HandOver(unfinished) => self.hand_over(unfinished, guard, now),
            }
        }
    }
}

/// Asks the guard about the connection and about the will that it would leave.
fn rule<P, G: Guard<P>>(
    principal: &P,
    client_id: &Text,
    connect: &Connect,
    guard: &mut G,
) -> Result<(), (Refusal, Action)> {
    if let Ruling::Deny { code, reason: text } = guard.connect(principal, client_id, connect) {
        return Err((Refusal { reason: told(code, Kind::ConnAck), text }, Action::Connect));
    }
    let Some(will) = &connect.will else {
        return Ok(());
    };
    let n_payload = will.payload.as_bytes().len();
    match guard.publish(principal, &will.topic, will.retain, will.qos, n_payload) {
        Ruling::Allow => Ok(()),
        Ruling::Deny { code, reason: text } => {
            let reason = told(code, Kind::ConnAck);
            Err((Refusal { reason, text }, Action::Will { topic: will.topic.detach() }))
        }
    }
}

struct Name {
    client_id: Text,
    is_assigned: bool,
}

struct Refusal {
    reason: Reason,
    text: Text,
}

/// What is agreed with a client beyond what it asked for.
struct Terms {
    expiry: u32,
    told_expiry: Option<u32>,
    keep_alive: u16,
    told_keep_alive: Option<u16>,
    receive_maximum: NonZeroU16,
    maximum_packet_size: Option<NonZeroU32>,
    topic_alias_maximum: u16,
}

fn conn_ack(session_present: bool, terms: &Terms, assigned: Option<Text>) -> ConnAck {
    let properties = ConnAckProperties {
        session_expiry: terms.told_expiry,
        receive_maximum: Some(terms.receive_maximum),
        maximum_packet_size: terms.maximum_packet_size,
        assigned_client_id: assigned,
        topic_alias_maximum: Some(terms.topic_alias_maximum),
        server_keep_alive: terms.told_keep_alive,
        ..ConnAckProperties::default()
    };
    ConnAck { session_present, reason: Reason::Success, properties }
}

fn refusal(reason: Reason, text: Option<Text>) -> Packet {
    let properties = ConnAckProperties { reason_string: text, ..ConnAckProperties::default() };
    Packet::ConnAck(alloc::boxed::Box::new(ConnAck { session_present: false, reason, properties }))
}

fn max_packet_of(properties: &ConnectProperties) -> usize {
    properties
        .maximum_packet_size
        .and_then(|max| usize::try_from(max.get()).ok())
        .unwrap_or(MAX_REMAINING + 5)
}
