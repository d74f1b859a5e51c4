//! Topics by number: each side of a connection may name a topic once and send its number from then on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::num::NonZeroU16;

use super::Limits;
use super::message::Outgoing;
use crate::mqtt::Reason;
use crate::topic::Topic;

/// The topics that a client has given numbers to.
#[derive(Debug, Default)]
pub(super) struct Named {
    topics: BTreeMap<NonZeroU16, Topic>,
    n_bytes: usize,
}

impl Named {
    /// Gives the topic that a number stands for; a topic beside it gives it that meaning from now on.
    pub(super) fn topic(
        &mut self,
        alias: NonZeroU16,
        topic: Option<Topic>,
        limits: &Limits,
    ) -> Result<Topic, (Reason, &'static str)> {
        if alias.get() > limits.topic_aliases {
            let text =
                "PUBLISH has a topic alias beyond the maximum that CONNACK told; send the topic";
            return Err((Reason::TopicAliasInvalid, text));
        }
        let Some(topic) = topic else {
            let known = self.topics.get(&alias).cloned();
            return known.ok_or((
                Reason::ProtocolError,
                "PUBLISH has a topic alias that stands for no topic yet; send the topic with it",
            ));
        };
        let earlier = self.topics.get(&alias).map_or(0, |earlier| earlier.as_bytes().len());
        let n_bytes = self.n_bytes.saturating_sub(earlier).saturating_add(topic.as_bytes().len());
        if n_bytes > limits.topic_alias_bytes {
            let text = "the topics behind the topic aliases are too long together; send topics";
            return Err((Reason::QuotaExceeded, text));
        }
        self.n_bytes = n_bytes;
        self.topics.insert(alias, topic.detach());
        Ok(topic)
    }
}

/// The numbers that a client has been told for topics.
#[derive(Debug, Default)]
pub(super) struct Told {
    numbers: BTreeMap<Box<[u8]>, NonZeroU16>,
    n_bytes: usize,
    /// How many it takes.
    max: u16,
}

impl Told {
    /// Begins with a client that takes so many.
    pub(super) fn up_to(max: u16) -> Self {
        Self { max, ..Self::default() }
    }

    /// Writes a message with the number of its topic: with the topic too when it is told first, and without it from
    /// then on. It stays as it is if there is no number left, or if it would become too large.
    pub(super) fn rename(&mut self, outgoing: &mut Outgoing, max_packet: usize, limits: &Limits) {
        if self.max == 0 {
            return;
        }
        let Some(topic) = outgoing.frame.topic() else { return };
        let known = self.numbers.get(topic.as_bytes()).copied();
        let alias = known.or_else(|| {
            let n_bytes = self.n_bytes.saturating_add(topic.as_bytes().len());
            let next = u16::try_from(self.numbers.len()).ok()?.checked_add(1)?;
            let fits = next <= self.max && n_bytes <= limits.topic_alias_bytes;
            NonZeroU16::new(next).filter(|_| fits)
        });
        let Some(alias) = alias else { return };
        let Some(renamed) = outgoing.frame.with_alias(alias, known.is_none()) else { return };
        if renamed.bytes.len() > max_packet {
            return;
        }
        if known.is_none() {
            self.n_bytes = self.n_bytes.saturating_add(topic.as_bytes().len());
            self.numbers.insert(topic.as_bytes().into(), alias);
        }
        outgoing.frame = renamed;
    }
}
