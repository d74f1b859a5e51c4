//! Shared subscriptions: those who subscribe to a filter under one name take turns at its messages.
//!
//! In the trie a group is one subscriber. A message goes to the member whose turn it is, if that one is connected,
//! may receive it and has room; otherwise to the next, and to one that waits for its client only if no other can
//! take it. If none can, it waits in the group, within bounds: nobody is cut off for what it was never sent. What a
//! member leaves unfinished when its session ends goes to another, except what was sent with QoS 2: the client may
//! have it already (MQTT 5.0 §4.8.2).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;

use super::message::{Encodings, Form, Message, Outgoing};
use super::pool::Pool;
use super::session::Session;
use super::share::Shares;
use super::slab::{Key, Slab};
use super::{Broker, Guard, Holder, Limits, Ruling, Timer, set_timer};
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
    /// What no member had room for, the oldest first.
    backlog: VecDeque<Message>,
    n_backlog_bytes: usize,
    /// When it is tried again.
    timer: Option<Instant>,
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
                let group = Group {
                    members: Vec::new(),
                    next: 0,
                    backlog: VecDeque::new(),
                    n_backlog_bytes: 0,
                    timer: None,
                };
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

    /// Removes a member; a group that has none left ends.
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
        let group = self.groups.remove(key)?;
        self.by_name.remove(&name);
        Some(Left::Nobody(Ended {
            subscriber: GROUP | key.slot,
            key,
            n_messages: group.backlog.len(),
            n_bytes: group.n_backlog_bytes,
            timer: group.timer,
        }))
    }

    /// Counts the bytes that wait in groups anew, and the timers.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let groups = || self.groups.iter().map(|(_, group)| group);
        let n_bytes = |group: &Group| group.backlog.iter().map(Message::n_bytes).sum::<usize>();
        (groups().map(n_bytes).sum(), groups().filter(|group| group.timer.is_some()).count())
    }
}

/// Who is left in a group.
pub(super) enum Left {
    Others,
    Nobody(Ended),
}

/// A group that has ended, and what it leaves.
pub(super) struct Ended {
    /// What is to be taken out of the trie.
    pub(super) subscriber: u32,
    pub(super) key: Key,
    pub(super) n_messages: usize,
    pub(super) n_bytes: usize,
    pub(super) timer: Option<Instant>,
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

/// What became of a message for a group.
enum Given {
    Taken,
    /// Those who may have it have no room now.
    NoRoom,
    /// There is nobody who may have it.
    Nobody,
}

impl<P: Clone + Holder> Broker<P> {
    /// Gives a message to one member of a group, now or when one has room.
    pub(super) fn deliver_to_one<G: Guard<P>>(
        &mut self,
        place: u32,
        encodings: &mut Encodings<'_>,
        message: &Message,
        guard: &mut G,
        now: Instant,
    ) {
        let Some(key) = self.groups.groups.key_at(place) else { return };
        // What waits already goes first.
        let is_free = self.groups.groups.get(key).is_some_and(|group| group.backlog.is_empty());
        let given = if is_free {
            self.give_to_one(key, encodings, message, guard, now)
        } else {
            Given::NoRoom
        };
        match given {
            Given::Taken => {}
            Given::Nobody => self.counters.dropped_offline += 1,
            Given::NoRoom => self.put_off(key, message.detached(now), now),
        }
    }

    fn give_to_one<G: Guard<P>>(
        &mut self,
        key: Key,
        encodings: &mut Encodings<'_>,
        message: &Message,
        guard: &mut G,
        now: Instant,
    ) -> Given {
        let Some(group) = self.groups.groups.get_mut(key) else { return Given::Nobody };
        let n_members = group.members.len();
        let (mut waits, mut is_anybody) = (None, false);
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
            let form = Form::of(message, held.version, interest);
            is_anybody |= held.conn.is_some() || form.qos != QoS::AtMostOnce;
            let Some(outgoing) = encodings.outgoing(form, interest.id.as_slice()) else { continue };
            if !has_room(held, outgoing.len(), &self.pool, &self.shares, &self.limits) {
                continue;
            }
            if held.conn.is_some() {
                group.next = (idx + 1) % n_members;
                self.offer(session, Outgoing { group: Some(key), ..outgoing }, now);
                return Given::Taken;
            }
            if waits.is_none() && form.qos != QoS::AtMostOnce {
                waits = Some((idx, session, outgoing));
            }
        }
        match waits {
            Some((idx, session, outgoing)) => {
                group.next = (idx + 1) % n_members;
                self.offer(session, Outgoing { group: Some(key), ..outgoing }, now);
                Given::Taken
            }
            None if is_anybody => Given::NoRoom,
            None => Given::Nobody,
        }
    }

    /// Lets a message wait in its group, unless too many wait there.
    fn put_off(&mut self, key: Key, message: Message, now: Instant) {
        let Some(group) = self.groups.groups.get_mut(key) else { return };
        let n_bytes = message.n_bytes();
        let fits = message.qos != QoS::AtMostOnce
            && group.backlog.len() < self.limits.queue_messages
            && group.n_backlog_bytes.saturating_add(n_bytes) <= self.limits.queue_bytes
            && self.pool.take(n_bytes, &self.limits);
        if !fits {
            self.counters.dropped_full += 1;
            return;
        }
        group.n_backlog_bytes = group.n_backlog_bytes.saturating_add(n_bytes);
        group.backlog.push_back(message);
        self.try_later(key, now);
    }

    fn try_later(&mut self, key: Key, now: Instant) {
        if let Some(group) = self.groups.groups.get_mut(key)
            && group.timer.is_none()
            && !group.backlog.is_empty()
        {
            let at = now.plus(TRY_AGAIN);
            group.timer = Some(at);
            set_timer(&mut self.timers, Timer::Group(key), None, Some(at));
        }
    }

    /// Tries again to give what waits in a group.
    pub(super) fn handle_group_timer<G: Guard<P>>(
        &mut self,
        key: Key,
        guard: &mut G,
        now: Instant,
    ) {
        if let Some(group) = self.groups.groups.get_mut(key) {
            group.timer = None;
        }
        self.drain_group(key, guard, now);
    }

    fn drain_group<G: Guard<P>>(&mut self, key: Key, guard: &mut G, now: Instant) {
        loop {
            let group = self.groups.groups.get_mut(key);
            let Some(message) = group.and_then(|group| group.backlog.pop_front()) else { return };
            let given = {
                let mut encodings = Encodings::of(&message);
                self.give_to_one(key, &mut encodings, &message, guard, now)
            };
            let Some(group) = self.groups.groups.get_mut(key) else { return };
            if let Given::NoRoom = given {
                group.backlog.push_front(message);
                return self.try_later(key, now);
            }
            let n_bytes = message.n_bytes();
            group.n_backlog_bytes = group.n_backlog_bytes.saturating_sub(n_bytes);
            self.pool.put_back(n_bytes);
            self.counters.dropped_offline += u64::from(matches!(given, Given::Nobody));
        }
    }

    /// Gives what a member has not finished to others of its groups: it is older than what waits there.
    pub(super) fn hand_over<G: Guard<P>>(
        &mut self,
        unfinished: Unfinished,
        guard: &mut G,
        now: Instant,
    ) {
        let mut touched: Vec<Key> = Vec::new();
        for outgoing in unfinished.messages.into_iter().rev() {
            let message = reread(&outgoing, unfinished.version, now);
            let group =
                outgoing.group.and_then(|key| Some((key, self.groups.groups.get_mut(key)?)));
            let (Some((key, group)), Some(message)) = (group, message) else {
                self.counters.dropped_offline += 1;
                continue;
            };
            let n_bytes = message.n_bytes();
            if !self.pool.take(n_bytes, &self.limits) {
                self.counters.dropped_full += 1;
                continue;
            }
            group.n_backlog_bytes = group.n_backlog_bytes.saturating_add(n_bytes);
            group.backlog.push_front(message);
            if !touched.contains(&key) {
                touched.push(key);
            }
        }
        for key in touched {
            self.drain_group(key, guard, now);
        }
    }

    /// Forgets what a group has left that has ended.
    pub(super) fn end_group(&mut self, ended: &Ended) {
        self.pool.put_back(ended.n_bytes);
        self.counters.dropped_offline += ended.n_messages as u64;
        set_timer(&mut self.timers, Timer::Group(ended.key), ended.timer, None);
    }
}

/// Tells whether a session may hold one more message of so many bytes.
pub(super) fn has_room<P: Holder>(
    held: &Session<P>,
    len: usize,
    pool: &Pool,
    shares: &Shares<P::Name>,
    limits: &Limits,
) -> bool {
    let fits =
        held.queue.len() == 0 || held.queue.n_bytes().saturating_add(len) <= limits.queue_bytes;
    fits && held.queue.len() < limits.queue_messages && pool.has_room(held, len, shares, limits)
}

/// After how long what waits in a group is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

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
