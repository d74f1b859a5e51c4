//! How a broker takes up what an earlier one has left in a store.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::message::{Kept, Message, Outgoing};
use super::row::{MessageRow, MessageStage, Row, SessionId, SessionRow, SubscriptionRow};
use super::session::{LastWill, Session, Stage};
use super::slab::Key;
use super::subscribe::place;
use super::{Broker, Holder, Share};
use crate::time::Instant;

impl<P: Clone + Holder> Broker<P> {
    /// Takes up what was kept: sessions first, then what is theirs, messages in their order. The clients of all of
    /// them are gone since now, if they were not before.
    ///
    /// What has no place any more is forgotten, which the next changes say. Returns how many rows that were.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = Row<P>>, now: Instant) -> usize {
        let mut restored = BTreeMap::new();
        let mut n_forgotten = 0;
        for row in rows {
            let key = row.key();
            let is_restored = match row {
                Row::Session(row) => self.restore_session(row, &mut restored, now),
                Row::Subscription(row) => self.restore_subscription(row, &restored),
                Row::Message(row) => self.restore_message(row, &restored),
                Row::Received(id, packet_id) => {
                    let session = restored.get(&id).and_then(|key| self.sessions.get_mut(*key));
                    session.is_some_and(|held| held.received.insert(packet_id))
                }
                Row::Retained(row) => {
                    let message = Message::unpack(row.publish, row.expires, now);
                    let principal = Some(row.principal);
                    message.is_some_and(|message| self.keep(Kept { message, principal }))
                }
                Row::Shared(row) => self.restore_shared(row, now),
            };
            if !is_restored {
                n_forgotten += 1;
                self.changes.forget(key);
            }
        }
        for key in restored.into_values() {
            self.settle_pool(key);
        }
        n_forgotten
    }

    fn restore_session(
        &mut self,
        row: SessionRow<P>,
        restored: &mut BTreeMap<SessionId, Key>,
        now: Instant,
    ) -> bool {
        self.next_session = self.next_session.max(row.id.0.saturating_add(1));
        if self.by_client.contains_key(&row.client_id)
            || self.sessions.len() >= self.limits.sessions
            || !self.shares.take(row.principal.name(), Share::SESSION)
        {
            return false;
        }
        let mut held = Session::begin(row.id, row.principal, row.client_id.clone(), row.version);
        held.is_kept = true;
        held.expiry = row.expiry;
        let lasts = Duration::from_secs(row.expiry.into());
        held.ends_at = Some(row.ends_at.unwrap_or_else(|| now.plus(lasts)));
        if let Some(will) = row.will
            && let Some(message) = Message::unpack(will.publish, None, now)
        {
            let waits = Duration::from_secs(will.delay.into());
            held.will_at = Some(will.at.unwrap_or_else(|| now.plus(waits)));
            held.will = Some(LastWill { message, delay: will.delay });
        }
        let was_there = row.ends_at.is_none();
        let key = self.sessions.insert(held);
        self.by_client.insert(row.client_id, key);
        restored.insert(row.id, key);
        self.set_session_timer(key);
        if was_there {
            // It ends so long after now, however often the broker begins anew.
            self.note_session(key);
        }
        true
    }

    fn restore_subscription(
        &mut self,
        row: SubscriptionRow,
        restored: &BTreeMap<SessionId, Key>,
    ) -> bool {
        let SubscriptionRow { session, filter, interest } = row;
        let Some(&key) = restored.get(&session) else { return false };
        let Some(held) = self.sessions.get_mut(key) else { return false };
        let shared = filter.shared();
        if filter.is_shared() && shared.is_none() || held.subscriptions.contains(&filter) {
            return false;
        }
        let (name, share) =
            (held.principal.name(), Share::of_subscription(filter.levels().count()));
        if !self.shares.take(name, share) {
            return false;
        }
        let inner = shared.as_ref().map(|(_, inner)| inner);
        if !place(&mut self.trie, &mut self.groups, &filter, inner, key.slot, interest) {
            self.shares.give_back(name, share);
            return false;
        }
        held.subscriptions.insert(filter);
        true
    }

    fn restore_message(&mut self, row: MessageRow, restored: &BTreeMap<SessionId, Key>) -> bool {
        self.next_message = self.next_message.max(row.id.0.saturating_add(1));
        let session = restored.get(&row.session).and_then(|key| self.sessions.get_mut(*key));
        let Some(held) = session else { return false };
        let group = row.group.and_then(|name| self.groups.find(&name));
        match row.stage {
            MessageStage::Waiting(frame) => {
                let outgoing = Outgoing::of_row(&frame, held.version, row.id, group);
                outgoing.map(|outgoing| held.queue.push(outgoing)).is_some()
            }
            MessageStage::Sent(id, frame) => {
                let outgoing = Outgoing::of_row(&frame, held.version, row.id, group);
                let stage = outgoing.map(Stage::Sent);
                stage.and_then(|stage| held.flights.restore(id, row.id, group, stage)).is_some()
            }
            MessageStage::Released(id) => {
                held.flights.restore(id, row.id, group, Stage::Released).is_some()
            }
        }
    }

    /// Writes down all that a store should have.
    #[cfg(test)]
    pub(super) fn rows(&self) -> BTreeMap<super::row::RowKey, Row<P>> {
        use crate::mqtt::QoS;
        let mut rows = alloc::vec::Vec::new();
        for (key, held) in self.sessions.iter().filter(|(_, held)| held.is_kept) {
            rows.push(Row::Session(held.row()));
            for filter in &held.subscriptions {
                let interest = match filter.is_shared() {
                    true => self.groups.interest(filter, key.slot),
                    false => self.trie.interest(filter, key.slot),
                };
                let interest = interest.expect("a subscription has its place");
                let row = SubscriptionRow { session: held.id, filter: filter.clone(), interest };
                rows.push(Row::Subscription(row));
            }
            for outgoing in held.queue.iter().filter(|outgoing| outgoing.qos != QoS::AtMostOnce) {
                rows.push(Row::Message(super::publish::row(held.id, outgoing, &self.groups)));
            }
            for (id, flown, stage) in held.flights.iter() {
                let stage = match stage {
                    Stage::Sent(outgoing) => MessageStage::Sent(id, outgoing.row()),
                    Stage::Released => MessageStage::Released(id),
                };
                let group = flown.group.and_then(|group| self.groups.name(group)).cloned();
                let (session, id) = (held.id, flown.message);
                rows.push(Row::Message(MessageRow { session, id, stage, group }));
            }
            rows.extend(held.received.iter().map(|id| Row::Received(held.id, *id)));
        }
        let retained = self.retained.messages().filter_map(super::publish::retained_row);
        rows.extend(retained.map(Row::Retained));
        rows.extend(self.groups.rows().map(Row::Shared));
        rows.into_iter().map(|row| (row.key(), row)).collect()
    }
}
