//! Subscriptions, and the retained messages that they bring.

use super::connection::Open;
use super::group::{Groups, Left};
use super::guard::told;
use super::message::{Form, Outgoing};
use super::row::{Row, RowKey, SubscriptionRow};
use super::session::Search;
use super::slab::Key;
use super::{Action, Broker, ConnId, Event, Guard, Holder, Ruling, Share};
use crate::mqtt::{
    AckProperties, Kind, Packet, QoS, Reason, RetainHandling, SubAck, Subscribe, Subscription,
    SubscriptionId, UnsubAck, Unsubscribe,
};
use crate::router::{Cursor, Interest, Step, Trie};
use crate::text::Text;
use crate::time::Instant;
use crate::topic::Filter;

impl<P: Clone + Holder> Broker<P> {
    pub(super) fn handle_subscribe<G: Guard<P>>(
        &mut self,
        key: Key,
        open: &Open,
        subscribe: Subscribe,
        guard: &mut G,
        now: Instant,
    ) {
        let Subscribe { id, properties, subscriptions } = subscribe;
        let mut reasons = alloc::vec::Vec::with_capacity(subscriptions.len());
        let mut text = None;
        for subscription in &subscriptions {
            match self.subscribe(key, open.session, subscription, properties.subscription_id, guard)
            {
                Ok(qos) => reasons.push(qos.granted()),
                Err(refusal) => {
                    reasons.push(refusal.reason);
                    text = text.or(refusal.text);
                }
            }
        }
        let properties = AckProperties {
            reason_string: text.filter(|_| open.explain),
            ..AckProperties::default()
        };
        self.answer(key, Packet::SubAck(SubAck { id, properties, reasons }));
        self.search(open.session, guard, now);
    }

    fn subscribe<G: Guard<P>>(
        &mut self,
        key: Key,
        session: Key,
        subscription: &Subscription,
        id: Option<SubscriptionId>,
        guard: &mut G,
    ) -> Result<QoS, Refusal> {
        let n_subscriptions = self.n_subscriptions();
        let held = self.sessions.get_mut(session).ok_or(Refusal::of(Reason::Unspecified))?;
        let Subscription { filter, qos, no_local, retain_as_published, retain_handling } =
            subscription;
        let group = match (filter.is_shared(), filter.shared()) {
            (true, None) => return Err(Refusal::of(Reason::TopicFilterInvalid)), // MQTT-4.8.2-1
            (_, group) => group,
        };
        // To share a subscription allows no more and no less than to have it alone.
        let asked = group.as_ref().map_or(filter, |(_, filter)| filter);
        if let Ruling::Deny { code, reason } = guard.subscribe(&held.principal, asked) {
            self.counters.denied_subscribes += 1;
            let (principal, client_id) = (held.principal.clone(), held.client_id.clone());
            let action = Action::Subscribe { filter: filter.detach() };
            let conn = Some(ConnId(key));
            self.record(Event::Denied {
                conn,
                principal,
                client_id,
                action,
                reason: reason.clone(),
            });
            return Err(Refusal { reason: told(code, Kind::SubAck), text: Some(reason) });
        }
        let is_known = held.subscriptions.contains(filter);
        if !is_known && held.subscriptions.len() >= self.limits.subscriptions_per_session {
            return Err(Refusal::of(Reason::QuotaExceeded));
        }
        let n_groups = || held.subscriptions.iter().filter(|filter| filter.is_shared()).count();
        if !is_known && group.is_some() && n_groups() >= self.limits.groups_per_session {
            return Err(Refusal::of(Reason::QuotaExceeded));
        }
        let (no_local, retain_as_published) = (*no_local, *retain_as_published);
        let interest = Interest { qos: *qos, no_local, retain_as_published, id };
        let share = Share::of_subscription(filter.levels().count());
        let name = held.principal.name();
        if !is_known && !self.shares.take(name, share) {
            return Err(Refusal::of(Reason::QuotaExceeded));
        }
        let is_full = !is_known && n_subscriptions >= self.limits.subscriptions;
        if is_full
            || !place(
                &mut self.trie,
                &mut self.groups,
                filter,
                group.as_ref().map(|(_, inner)| inner),
                session.slot,
                interest,
            )
        {
            if !is_known {
                self.shares.give_back(name, share);
            }
            return Err(Refusal::of(Reason::QuotaExceeded));
        }
        let filter = filter.detach();
        held.searches.retain(|search| *search.cursor.filter() != filter);
        let wants_retained = match retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => !is_known,
            RetainHandling::Never => false,
        };
        // Whose turn it would be to get them, nobody can say.
        if wants_retained && group.is_none() {
            held.searches.push_back(Search { cursor: Cursor::over(filter.clone()), interest });
        }
        if held.is_kept {
            let row = SubscriptionRow { session: held.id, filter: filter.clone(), interest };
            self.changes.put(Row::Subscription(row), !is_known);
        }
        held.subscriptions.insert(filter);
        Ok(*qos)
    }

    pub(super) fn handle_unsubscribe(&mut self, key: Key, open: &Open, unsubscribe: &Unsubscribe) {
        let filters = &unsubscribe.filters;
        let reasons = filters.iter().map(|filter| match self.unsubscribe(open.session, filter) {
            true => Reason::Success,
            false => Reason::NoSubscriptionExisted,
        });
        let reasons = reasons.collect();
        let unsub_ack =
            UnsubAck { id: unsubscribe.id, properties: AckProperties::default(), reasons };
        self.answer(key, Packet::UnsubAck(unsub_ack));
    }

    fn unsubscribe(&mut self, session: Key, filter: &Filter) -> bool {
        let Some(held) = self.sessions.get_mut(session) else {
            return false;
        };
        let was_held = held.subscriptions.remove(filter);
        held.searches.retain(|search| search.cursor.filter() != filter);
        let name = held.principal.name().clone();
        if was_held && held.is_kept {
            self.changes.forget(RowKey::Subscription(held.id, filter.clone()));
        }
        let was_there = self.withdraw(filter, session.slot);
        if was_there {
            let share = Share::of_subscription(filter.levels().count());
            self.shares.give_back(&name, share);
        }
        was_there
    }

    /// Takes a subscription out of the trie; tells whether it was there.
    pub(super) fn withdraw(&mut self, filter: &Filter, slot: u32) -> bool {
        let Some((_, inner)) = filter.shared() else {
            return self.trie.remove(filter, slot);
        };
        match self.groups.leave(filter, slot) {
            None => false,
            Some(Left::Others) => true,
            Some(Left::Nobody(ended)) => {
                self.end_group(&ended);
                self.trie.remove(&inner, ended.subscriber)
            }
        }
    }

    /// Drops what the guard doesn't allow a session any more: subscriptions, and messages that wait.
    pub(super) fn redecide_session<G: Guard<P>>(&mut self, session: Key, guard: &mut G) {
        let Some(held) = self.sessions.get_mut(session) else {
            return;
        };
        let (principal, client_id) = (held.principal.clone(), held.client_id.clone());
        let conn = held.conn.map(ConnId);
        let denied = held.subscriptions.iter().filter_map(|filter| {
            let shared = filter.shared();
            let asked = shared.as_ref().map_or(filter, |(_, filter)| filter);
            match guard.subscribe(&principal, asked) {
                Ruling::Allow => None,
                Ruling::Deny { reason, .. } => Some((filter.clone(), reason)),
            }
        });
        let denied: alloc::vec::Vec<(Filter, Text)> = denied.collect();
        let dropped = held.queue.take_where(|outgoing| {
            let topic = outgoing.frame.topic();
            topic.is_none_or(|topic| !matches!(guard.receive(&principal, &topic), Ruling::Allow))
        });
        self.pool.settle(held, &mut self.shares, &self.limits);
        if held.is_kept {
            for outgoing in &dropped {
                self.changes.forget(RowKey::Message(held.id, outgoing.id));
            }
        }
        self.counters.denied_receives += dropped.len() as u64;
        let (version, shared) = (held.version, |outgoing: &Outgoing| outgoing.group.is_some());
        let dropped = dropped.into_iter().filter(shared).collect();
        for (filter, reason) in denied {
            self.unsubscribe(session, &filter);
            let (principal, client_id) = (principal.clone(), client_id.clone());
            self.record(Event::Withdrawn { conn, principal, client_id, filter, reason });
        }
        self.hand_over_later(version, dropped);
    }

    /// Lets a session's searches go on at the next timeout, which is now.
    pub(super) fn search_later(&mut self, session: Key) {
        if let Some(held) = self.sessions.get_mut(session)
            && !held.is_searching
            && !held.searches.is_empty()
        {
            held.is_searching = true;
            self.searching.push_back(session);
        }
    }

    /// Takes a step of a session's searches: as far as its queue has room, and a bounded number of topics.
    pub(super) fn search<G: Guard<P>>(&mut self, session: Key, guard: &mut G, now: Instant) {
        let mut n_steps = self.limits.retained_steps.max(1);
        loop {
            let Some(held) = self.sessions.get_mut(session) else {
                return;
            };
            // Half the queue stays free for what is published meanwhile. When it drains, the search goes on.
            let has_room = held.queue.len() == 0
                || (held.queue.len() < self.limits.queue_messages / 2
                    && held.queue.n_bytes() < self.limits.queue_bytes / 2);
            let Some(search) = held.searches.front_mut().filter(|_| has_room) else {
                return;
            };
            let interest = search.interest;
            let message = match self.retained.step(&mut search.cursor, &mut n_steps) {
                Step::Found(kept) => &kept.message,
                Step::Paused => return self.search_later(session),
                Step::Ended => {
                    held.searches.pop_front();
                    continue;
                }
            };
            if let Ruling::Deny { .. } = guard.receive(&held.principal, &message.topic) {
                self.counters.denied_receives += 1;
                continue;
            }
            let form =
                Form { version: held.version, qos: message.qos.min(interest.qos), retain: true };
            let outgoing = message.encode(form, interest.id.as_slice());
            if let Some(outgoing) = outgoing {
                self.offer(session, outgoing, now);
            }
        }
    }
}

/// Puts a subscription into the trie, through its group if it is shared; false if there is no room.
pub(super) fn place(
    trie: &mut Trie,
    groups: &mut Groups,
    filter: &Filter,
    inner: Option<&Filter>,
    slot: u32,
    interest: Interest,
) -> bool {
    let Some(inner) = inner else {
        return trie.insert(filter, slot, interest).is_ok();
    };
    let Some(number) = groups.join(filter, slot, interest) else { return true };
    let is_placed = trie.insert(inner, number, interest).is_ok();
    if !is_placed {
        groups.leave(filter, slot);
    }
    is_placed
}

struct Refusal {
    reason: Reason,
    text: Option<Text>,
}

impl Refusal {
    const fn of(reason: Reason) -> Self {
        Self { reason, text: None }
    }
}
