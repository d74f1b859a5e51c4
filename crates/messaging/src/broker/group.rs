//! Shared subscriptions: those who subscribe to a filter under one name take turns at its messages.
//!
//! In the trie a group is one subscriber. A message goes to the member whose turn it is, if that one is connected,
//! may receive it and has room; otherwise to the next, and to one that waits for its client only if no other can
//! take it. If none can, it waits in the group, within bounds: nobody is cut off for what it was never sent. What a
//! member leaves unfinished when its session ends goes to another, except what was sent with QoS 2: the client may
//! have it already (MQTT 5.0 §4.8.2).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::changes::Changes;
use super::message::{Encodings, Form, Message, Outgoing};
use super::pool::Pool;
use super::row::{Row, RowKey, SharedRow};
use super::session::Session;
use super::share::Shares;
use super::slab::{Key, Slab};
use super::{Broker, Guard, Holder, Limits, Ruling, Timer, set_timer};
use crate::mqtt::{PublishFrame, QoS, Version};
use crate::router::Interest;
use crate::time::Instant;
use crate::topic::Filter;

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Slab<Group>,
    by_name: BTreeMap<Filter, Key>,
    n_members: usize,
}

#[derive(Debug)]
struct Group {
    /// What its members subscribe to, with the group's own name.
    name: Filter,
    /// Sessions by their slots.
    members: Vec<(u32, Interest)>,
    /// Whose turn it is.
    next: usize,
    /// What no member had room for, the oldest first, by its place in the line.
    backlog: VecDeque<(i64, Message)>,
    n_backlog_bytes: usize,
    /// When it is tried again.
    timer: Option<Instant>,
}

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
    pub(super) fn join(&mut self, name: &Filter, slot: u32, interest: Interest) -> Option<u32> {
        let (key, is_new) = match self.by_name.get(name) {
            Some(&key) => (key, false),
            None => {
                let name = name.detach();
                let group = Group {
                    name: name.clone(),
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
    pub(super) fn leave(&mut self, name: &Filter, slot: u32) -> Option<Left> {
        let key = *self.by_name.get(name)?;
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
        self.by_name.remove(name);
        Some(Left::Nobody(Ended {
            subscriber: GROUP | key.slot,
            key,
            name: group.name,
            places: group.backlog.iter().map(|(place, _)| *place).collect(),
            n_bytes: group.n_backlog_bytes,
            timer: group.timer,
        }))
    }

    /// Finds a group by what its members subscribe to.
    pub(super) fn find(&self, name: &Filter) -> Option<Key> {
        self.by_name.get(name).copied()
    }

    /// Returns what a group's members subscribe to.
    pub(super) fn name(&self, key: Key) -> Option<&Filter> {
        Some(&self.groups.get(key)?.name)
    }

    /// Returns what a member wants of a group's messages.
    #[cfg(test)]
    pub(super) fn interest(&self, name: &Filter, slot: u32) -> Option<Interest> {
        let members = &self.groups.get(self.find(name)?)?.members;
        members.iter().find(|(member, _)| *member == slot).map(|(_, interest)| *interest)
    }

    /// Gives what waits in groups, as a store has it.
    #[cfg(test)]
    pub(super) fn rows(&self) -> impl Iterator<Item = SharedRow> {
        self.groups.iter().flat_map(|(_, group)| {
            let row = |(place, message): &(i64, Message)| row(&group.name, *place, message);
            group.backlog.iter().filter_map(row)
        })
    }

    /// Counts the bytes that wait in groups anew, and the timers.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let groups = || self.groups.iter().map(|(_, group)| group);
        let n_bytes = |group: &Group| {
            group.backlog.iter().map(|(_, message)| message.n_bytes()).sum::<usize>()
        };
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
    name: Filter,
    places: Vec<i64>,
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
    /// Takes up a message that waited in a group; false if nobody is in it.
    pub(super) fn restore_shared(&mut self, row: SharedRow, now: Instant) -> bool {
        let Some(key) = self.groups.find(&row.group) else { return false };
        let message = Message::unpack(row.publish, row.expires, now);
        let (Some(message), Some(group)) = (message, self.groups.groups.get_mut(key)) else {
            return false;
        };
        let n_bytes = message.n_bytes();
        if !self.pool.take(n_bytes, &self.limits) {
            return false;
        }
        group.n_backlog_bytes = group.n_backlog_bytes.saturating_add(n_bytes);
        group.backlog.push_back((row.place, message));
        self.try_later(key, now);
        true
    }

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
        let place = group.backlog.back().map_or(0, |(place, _)| place + 1);
        note(&mut self.changes, &group.name, place, &message);
        group.backlog.push_back((place, message));
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
            let Some((place, message)) = group.and_then(|group| group.backlog.pop_front()) else {
                return;
            };
            let given = {
                let mut encodings = Encodings::of(&message);
                self.give_to_one(key, &mut encodings, &message, guard, now)
            };
            let Some(group) = self.groups.groups.get_mut(key) else { return };
            if let Given::NoRoom = given {
                group.backlog.push_front((place, message));
                return self.try_later(key, now);
            }
            self.changes.forget(RowKey::Shared(group.name.clone(), place));
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
            let place = group.backlog.front().map_or(0, |(place, _)| place - 1);
            note(&mut self.changes, &group.name, place, &message);
            group.backlog.push_front((place, message));
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
        self.counters.dropped_offline += ended.places.len() as u64;
        for place in &ended.places {
            self.changes.forget(RowKey::Shared(ended.name.clone(), *place));
        }
        set_timer(&mut self.timers, Timer::Group(ended.key), ended.timer, None);
    }
}

/// Tells the store, if there is one, of a message that has begun to wait in a group.
fn note<P>(changes: &mut Changes<P>, group: &Filter, place: i64, message: &Message) {
    if changes.is_kept()
        && let Some(row) = row(group, place, message)
    {
        changes.put(Row::Shared(row), true);
    }
}

/// Writes down a message that waits in a group.
fn row(group: &Filter, place: i64, message: &Message) -> Option<SharedRow> {
    let publish = message.packed()?;
    Some(SharedRow { group: group.clone(), place, publish, expires: message.expires })
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
    let mut publish = PublishFrame::publish(&outgoing.frame.bytes, version)?;
    if let Some(properties) = &mut publish.properties {
        properties.subscription_ids.clear();
    }
    let message = Message::of(publish, now)?;
    Some(Message { expires: outgoing.expires, ..message })
}
