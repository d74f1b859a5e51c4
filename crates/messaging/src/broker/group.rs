//! Shared subscriptions: those who subscribe to a filter under one name take turns at its messages.
//!
//! In the trie a group is one subscriber. A message goes to the member whose turn it is, if that one is connected,
//! may receive it and has room; otherwise to the next, and to one that waits for its client only if no other can
//! take it. What a member leaves unfinished when its session ends goes to another, except what was sent with QoS 2:
//! the client may have it already (MQTT 5.0 §4.8.2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::message::{Encodings, Form, Message, Outgoing};
use super::session::Session;
use super::slab::{Key, Slab};
use super::{Broker, Guard, Holder, Limits, Ruling};
use crate::mqtt::{Packet, PacketId, QoS, Side, Version, decode};
use crate::router::Interest;
use crate::time::Instant;
use crate::topic::Filter;

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Slab<Group>,
    by_name: BTreeMap<Name, Key>,
    n_members: usize,
}

#[derive(Debug)]
struct Group {
    /// Sessions by their slots.
    members: Vec<(u32, Interest)>,
    /// Whose turn it is.
    next: usize,
}

/// The group's own name, and what its members subscribe to.
type Name = (Box<[u8]>, Filter);

/// What sets a group apart from a session where subscribers are numbers.
const GROUP: u32 = 1 << 31;

impl Groups {
    pub(super) const fn new() -> Self {
        Self { groups: Slab::new(), by_name: BTreeMap::new(), n_members: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) const fn n_members(&self) -> usize {
        self.n_members
    }

    /// Adds a member or changes its interest; gives the group's number if the trie does not have it yet.
    pub(super) fn join(
        &mut self,
        name: &[u8],
        filter: &Filter,
        slot: u32,
        interest: Interest,
    ) -> Option<u32> {
        let name = (Box::from(name), filter.detach());
        let (key, is_new) = match self.by_name.get(&name) {
            Some(&key) => (key, false),
            None => {
                let group = Group { members: Vec::new(), next: 0 };
                let key = self.groups.insert(group);
                self.by_name.insert(name, key);
                (key, true)
            }
        };
        let group = self.groups.get_mut(key)?;
        match group.members.iter_mut().find(|(held, _)| *held == slot) {
            Some((_, held)) => *held = interest,
            None => {
                group.members.push((slot, interest));
                self.n_members += 1;
            }
        }
        is_new.then_some(GROUP | key.slot)
    }

    /// Removes a member; gives the group's number if it was the last.
    pub(super) fn leave(&mut self, name: &[u8], filter: &Filter, slot: u32) -> Option<Left> {
        let name = (Box::from(name), filter.clone());
        let key = *self.by_name.get(&name)?;
        let group = self.groups.get_mut(key)?;
        let idx = group.members.iter().position(|(held, _)| *held == slot)?;
        group.members.remove(idx);
        self.n_members -= 1;
        // Whoever's turn it is stays so.
        if idx < group.next {
            group.next -= 1;
        }
        if !group.members.is_empty() {
            return Some(Left::Others);
        }
        self.groups.remove(key);
        self.by_name.remove(&name);
        Some(Left::Nobody(GROUP | key.slot))
    }
}

/// Who is left in a group.
pub(super) enum Left {
    Others,
    /// Nobody: this subscriber is to be taken out of the trie.
    Nobody(u32),
}

/// Tells which place among the groups a subscriber has, if it is one.
pub(super) const fn place_of(subscriber: u32) -> Option<u32> {
    if subscriber & GROUP == 0 { None } else { Some(subscriber & !GROUP) }
}

/// Messages that a group's member has not finished.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) version: Version,
    pub(super) messages: Vec<Outgoing>,
}

impl<P: Clone + Holder> Broker<P> {
    /// Gives a message to one member of a group.
    pub(super) fn deliver_to_one<G: Guard<P>>(
        &mut self,
        place: u32,
        encodings: &mut Encodings<'_>,
        message: &Message,
        guard: &mut G,
        now: Instant,
    ) {
        let Some(key) = self.groups.groups.key_at(place) else { return };
        let Some(group) = self.groups.groups.get_mut(key) else { return };
        let n_members = group.members.len();
        let (mut taker, mut waits, mut late) = (None, None, None);
        for step in 0..n_members {
            let idx = (group.next + step) % n_members;
            let Some(&(slot, interest)) = group.members.get(idx) else { continue };
            let session = self.sessions.key_at(slot);
            let Some((session, held)) =
                session.and_then(|key| Some((key, self.sessions.get(key)?)))
            else {
                continue;
            };
            if let Ruling::Deny { .. } = guard.receive(&held.principal, &message.topic) {
                self.counters.denied_receives += 1;
                continue;
            }
            let qos = message.qos.min(interest.qos);
            let taken = Some((idx, session, interest));
            let has_room = has_room(held, &self.limits)
                && self.pool.has_room(held, message.n_bytes(), &self.limits);
            match (held.conn.is_some(), has_room) {
                (true, true) => {
                    taker = taken;
                    break;
                }
                (true, false) => late = late.or(taken),
                (false, true) if qos != QoS::AtMostOnce => waits = waits.or(taken),
                (false, _) => {}
            }
        }
        let Some((idx, session, interest)) = taker.or(waits).or(late) else {
            self.counters.dropped_offline += u64::from(n_members > 0);
            return;
        };
        group.next = (idx + 1) % n_members;
        let Some(held) = self.sessions.get(session) else { return };
        let form = Form {
            version: held.version,
            qos: message.qos.min(interest.qos),
            retain: message.retain && interest.retain_as_published,
        };
        if let Some(outgoing) = encodings.outgoing(form, interest.id.as_slice()) {
            self.offer(session, Outgoing { group: Some(key), ..outgoing }, now);
        }
    }

    /// Gives what a member has not finished to others of its groups.
    pub(super) fn hand_over<G: Guard<P>>(
        &mut self,
        unfinished: Unfinished,
        guard: &mut G,
        now: Instant,
    ) {
        for outgoing in unfinished.messages {
            let place = outgoing.group.filter(|key| self.groups.groups.get(*key).is_some());
            let message = reread(&outgoing, unfinished.version, now);
            match (place, message) {
                (Some(key), Some(message)) => {
                    let mut encodings = Encodings::of(&message);
                    self.deliver_to_one(key.slot, &mut encodings, &message, guard, now);
                }
                _ => self.counters.dropped_offline += 1,
            }
        }
    }
}

fn has_room<P>(held: &Session<P>, limits: &Limits) -> bool {
    held.queue.len() < limits.queue_messages && held.queue.n_bytes() < limits.queue_bytes
}

/// Reads a message out of its encoding for one receiver.
fn reread(outgoing: &Outgoing, version: Version, now: Instant) -> Option<Message> {
    let mut bytes = BytesMut::from(outgoing.frame.bytes.as_ref());
    if let Some(at) = outgoing.frame.id_at {
        // The encoding leaves the place of the packet id empty.
        bytes
            .get_mut(at..at.checked_add(2)?)?
            .copy_from_slice(&PacketId::FIRST.number().to_be_bytes());
    }
    let Ok(Packet::Publish(mut publish)) = decode(version, Side::Client, bytes.freeze()) else {
        return None;
    };
    if let Some(properties) = &mut publish.properties {
        properties.subscription_ids.clear();
    }
    let message = Message::of(publish, now)?;
    Some(Message { expires: outgoing.expires, ..message })
}
