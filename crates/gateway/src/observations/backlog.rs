//! Observations on their way: bounded while control is away, numbered while it listens.

use std::collections::VecDeque;

use policy::link::{MAX_OBSERVATIONS, MAX_UPLINK};
use policy::{Observation, Uplink};

/// What waits to be reported, and what was and is not durable yet.
pub(crate) struct Backlog {
    waiting: VecDeque<Observation>,
    limit: usize,
    n_sent: u64,
    n_recorded: u64,
    n_dropped: u64,
}

impl Backlog {
    pub(crate) fn bounded(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit: limit.max(2),
            n_sent: 0,
            n_recorded: 0,
            n_dropped: 0,
        }
    }

    /// Adds an observation; if there is no room, the oldest ones go, counts last.
    pub(crate) fn push(&mut self, observation: Observation) {
        if let (Observation::Reached { .. }, Some(last @ Observation::Reached { .. })) =
            (&observation, self.waiting.back_mut())
        {
            // Who has reached a sequence has reached those before it.
            *last = observation;
            return;
        }
        if self.waiting.len() >= self.limit {
            self.make_room();
        }
        self.waiting.push_back(observation);
    }

    /// Gives the next message, unless as many are on their way as may be.
    pub(crate) fn next_message(&mut self) -> Option<Vec<u8>> {
        let n_under_way = self.n_sent.saturating_sub(self.n_recorded);
        if self.waiting.is_empty() || n_under_way >= WINDOW {
            return None;
        }
        let mut n_items = self.waiting.len().min(MAX_OBSERVATIONS);
        loop {
            let items = self.waiting.iter().take(n_items).cloned().collect();
            let number = self.n_sent.saturating_add(1);
            let message = Uplink::Observations { number, items }.encode();
            // One observation is far smaller than a message may be, so halving ends.
            if message.len() <= MAX_UPLINK || n_items <= 1 {
                self.waiting.drain(..n_items);
                self.n_sent = number;
                return Some(message);
            }
            n_items /= 2;
        }
    }

    /// Takes note that everything up to a number is durable.
    pub(crate) fn recorded(&mut self, number: u64) {
        self.n_recorded = self.n_recorded.max(number.min(self.n_sent));
    }

    /// Tells whether everything was reported and is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.n_recorded == self.n_sent
    }

    /// Counts what waits.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Gives how many observations were dropped since it was last asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.n_dropped)
    }

    /// Drops a quarter at once, so that a full backlog costs little per observation.
    fn make_room(&mut self) {
        let n_before = self.waiting.len();
        let mut n_excess = (self.limit / 4).max(1);
        let mut drop_if = |is_chosen: fn(&Observation) -> bool| {
            self.waiting.retain(|observation| {
                let drops = n_excess > 0 && is_chosen(observation);
                n_excess -= usize::from(drops);
                !drops
            });
        };
        drop_if(|observation| !is_count(observation));
        drop_if(|_| true);
        let n_dropped = n_before.saturating_sub(self.waiting.len());
        self.n_dropped =
            self.n_dropped.saturating_add(u64::try_from(n_dropped).unwrap_or(u64::MAX));
    }
}

/// Tells whether an observation stands for many.
fn is_count(observation: &Observation) -> bool {
    match observation {
        Observation::Denied { .. }
        | Observation::HandshakeRefused { .. }
        | Observation::Allowed { .. }
        | Observation::Ended { .. } => true,
        Observation::SessionOpened { .. }
        | Observation::SessionClosed { .. }
        | Observation::SlowConsumer { .. }
        | Observation::Reached { .. } => false,
    }
}

/// How many messages may be on their way to becoming durable.
const WINDOW: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Time;
    use policy::Cause;

    fn reached(sequence: u64) -> Observation {
        Observation::Reached { sequence, at: Time::EPOCH }
    }

    fn slow(queued: u64) -> Observation {
        let (device, client_id) = ("pump-7".parse().unwrap(), policy::Excerpt::of("pump-7"));
        Observation::SlowConsumer { device, client_id, queued, at: Time::EPOCH }
    }

    fn ended(sequence: u64) -> Observation {
        let device = "pump-7".parse().unwrap();
        Observation::Ended { device, sequence, count: 1, cause: Cause::Revoked, at: Time::EPOCH }
    }

    fn items(message: &[u8]) -> (u64, Vec<Observation>) {
        let Ok(Uplink::Observations { number, items }) = Uplink::decode(message) else { panic!() };
        (number, items)
    }

    #[test]
    fn the_oldest_goes_first_and_counts_go_last() {
        let mut backlog = Backlog::bounded(8);
        (0..4).for_each(|sequence| backlog.push(ended(sequence)));
        (4..9).for_each(|number| backlog.push(slow(number)));
        assert_eq!(backlog.take_dropped(), 2);
        let (number, held) = items(&backlog.next_message().unwrap());
        let expected: Vec<_> = (0..4).map(ended).chain((6..9).map(slow)).collect();
        assert_eq!((number, held), (1, expected));
        (0..9).for_each(|sequence| backlog.push(ended(sequence)));
        assert_eq!(backlog.take_dropped(), 2);
        assert_eq!(items(&backlog.next_message().unwrap()).1.first(), Some(&ended(2)));
    }

    #[test]
    fn only_the_last_sequence_that_was_reached_is_told() {
        let mut backlog = Backlog::bounded(8);
        (0..9).for_each(|sequence| backlog.push(reached(sequence)));
        assert_eq!(items(&backlog.next_message().unwrap()), (1, vec![reached(8)]));
    }

    #[test]
    fn messages_wait_for_those_that_are_not_durable() {
        let mut backlog = Backlog::bounded(100);
        for sequence in 0..8 {
            backlog.push(reached(sequence));
            assert_eq!(items(&backlog.next_message().unwrap()).0, sequence + 1);
        }
        backlog.push(reached(8));
        assert_eq!(backlog.next_message(), None);
        backlog.recorded(99); // a number that was never sent says nothing about the next
        assert!(!backlog.is_settled());
        assert_eq!(items(&backlog.next_message().unwrap()).0, 9);
        backlog.recorded(9);
        assert!(backlog.is_settled());
    }

    #[test]
    fn a_message_is_never_longer_than_the_link_takes() {
        let mut backlog = Backlog::bounded(4_096);
        for number in 0..2_048_u16 {
            let mut bits = [0; 10];
            bits[..2].copy_from_slice(&number.to_be_bytes());
            backlog.push(Observation::Denied {
                decision: policy::DecisionId::from_random(bits),
                device: "pump-7".parse().unwrap(),
                action: policy::Action::Publish,
                topic: Some(policy::Excerpt::of(&"t".repeat(256))),
                cause: Cause::Forbidden,
                policies: vec!["p".repeat(256).into(); 8],
                epoch: policy::Epoch::default(),
                count: 1,
                first: Time::EPOCH,
                last: Time::EPOCH,
            });
        }
        let mut n_items = 0;
        while let Some(message) = backlog.next_message() {
            let (number, held) = items(&message);
            n_items += held.len();
            backlog.recorded(number);
        }
        assert_eq!(n_items, 2_048);
    }
}
