//! One connection: before its CONNECT, open, or about to be closed.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::BytesMut;

use super::alias::{Named, Told};
use super::slab::Key;
use crate::mqtt::{Packet, Version, encode};
use crate::text::Text;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Connection<P> {
    pub(super) principal: P,
    pub(super) state: State,
    /// Encoded answers that wait for the transport; messages wait in the session.
    pub(super) out: BytesMut,
    /// Answers after those, that wait for what they promise to be durable.
    pub(super) held: VecDeque<Held>,
    /// The batch of changes that CONNACK waits for; no message is sent before it.
    pub(super) greeted: u64,
    pub(super) named: Named,
    pub(super) told: Told,
    /// How many batches the transport may still be given.
    pub(super) credit: usize,
    /// Whether the connection stands in the broker's `ready`.
    pub(super) is_ready: bool,
    pub(super) timer: Option<Instant>,
}

/// Answers that wait for a batch of changes to be durable.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) after: u64,
    pub(super) bytes: BytesMut,
}

#[derive(Debug)]
pub(super) enum State {
    /// No CONNECT has come.
    Waiting {
        /// The client id to give if the client sends an empty one.
        assigned: Text,
    },
    /// The client is connected.
    Open(Open),
    /// What is in `out` is the last that the peer gets.
    Closing,
}

/// What was agreed with a connected client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) session: Key,
    pub(super) version: Version,
    /// The largest packet that the client takes.
    pub(super) max_packet: usize,
    /// How many messages of QoS 1 and 2 the client takes at once.
    pub(super) quota: usize,
    /// Whether the client wants explanations beside failures.
    pub(super) explain: bool,
    /// How long the client may be silent; `None` for ever.
    pub(super) patience: Option<Duration>,
    /// When something was last heard.
    pub(super) heard: Instant,
}

impl<P> Connection<P> {
    pub(super) fn waiting(principal: P, assigned: Text, credit: usize) -> Self {
        let state = State::Waiting { assigned };
        Self {
            principal,
            state,
            out: BytesMut::new(),
            held: VecDeque::new(),
            greeted: 0,
            named: Named::default(),
            told: Told::default(),
            credit,
            is_ready: false,
            timer: None,
        }
    }

    pub(super) fn session(&self) -> Option<Key> {
        match &self.state {
            State::Open(open) => Some(open.session),
            State::Waiting { .. } | State::Closing => None,
        }
    }

    /// Encodes a packet for an open connection unless it would be larger than the client takes; it goes out when a
    /// batch of changes is durable, and after all that was put before.
    pub(super) fn put(&mut self, packet: &Packet, max_packet: usize, after: u64) -> bool {
        let State::Open(open) = &self.state else { return false };
        let last = self.held.back().map_or(0, |held| held.after);
        if after > last {
            self.held.push_back(Held { after, bytes: BytesMut::new() });
        }
        let out = self.held.back_mut().map_or(&mut self.out, |held| &mut held.bytes);
        put(out, packet, open.version, max_packet)
    }

    /// Lets go of the answers whose batch is durable.
    pub(super) fn release(&mut self, is_durable: impl Fn(u64) -> bool) {
        while let Some(held) = self.held.pop_front_if(|held| is_durable(held.after)) {
            if self.out.is_empty() {
                self.out = held.bytes;
            } else {
                self.out.extend_from_slice(&held.bytes);
            }
        }
    }

    /// Counts the bytes of the answers that have not gone out.
    pub(super) fn n_answer_bytes(&self) -> usize {
        self.out.len() + self.held.iter().map(|held| held.bytes.len()).sum::<usize>()
    }
}

/// Encodes a packet unless it would have more than `max_packet` bytes.
pub(super) fn put(
    out: &mut BytesMut,
    packet: &Packet,
    version: Version,
    max_packet: usize,
) -> bool {
    let n_before = out.len();
    if encode(packet, version, out).is_ok() && out.len() - n_before <= max_packet {
        return true;
    }
    out.truncate(n_before);
    false
}
