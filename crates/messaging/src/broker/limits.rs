//! How far a peer can make the broker grow, and how long it may keep it waiting.

use core::num::NonZeroU16;
use core::time::Duration;

use super::share::Share;
use crate::mqtt::PacketLimits;

/// Every bound of a broker; whatever a peer can make grow has one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How large packets may be; give the same to the connections' decoders.
    pub packet: PacketLimits,
    /// How long a connection may stay without a CONNECT.
    pub connect_timeout: Duration,
    /// The most connections.
    pub connections: usize,
    /// The most sessions, connected and waiting.
    pub sessions: usize,
    /// The longest client id in bytes.
    pub client_id_bytes: usize,
    /// The longest keep-alive in seconds; MQTT 5.0 clients that ask for more or for none are told this one.
    pub keep_alive: NonZeroU16,
    /// The longest that a session waits for its client, in seconds; 0 ends every session with its connection.
    pub session_expiry: u32,
    /// The most subscriptions of one session.
    pub subscriptions_per_session: usize,
    /// The most subscriptions of all sessions.
    pub subscriptions: usize,
    /// The most levels of all filters together, those that filters share counted once.
    pub filter_levels: usize,
    /// The most retained messages.
    pub retained_messages: usize,
    /// The most bytes of retained messages.
    pub retained_bytes: usize,
    /// The most of all these that one holder may have, over all of its sessions.
    pub per_holder: Share,
    /// How many topics one step of a search for retained messages looks at.
    pub retained_steps: usize,
    /// The most messages that wait for one receiver.
    pub queue_messages: usize,
    /// The most bytes that wait for one receiver (messages that several wait for count for each).
    pub queue_bytes: usize,
    /// How many bytes every session may hold, in its queue and in flight, however much the others hold.
    pub queue_bytes_own: usize,
    /// The most bytes that all sessions may hold beyond that together.
    pub queue_bytes_pool: usize,
    /// The most groups that one session shares subscriptions in.
    pub groups_per_session: usize,
    /// The most bytes in flight to one receiver; a larger message is in flight alone.
    pub inflight_bytes: usize,
    /// The most bytes of answers that wait for one receiver.
    pub control_bytes: usize,
    /// The most messages in flight to one receiver; it may want fewer.
    pub inflight: NonZeroU16,
    /// The most messages of QoS 2 in flight from one sender.
    pub receive_maximum: NonZeroU16,
    /// The most topic aliases of one connection, in each direction.
    pub topic_aliases: u16,
    /// The most bytes of the topics behind them, in each direction.
    pub topic_alias_bytes: usize,
    /// How many bytes a batch has before it is full: what one TLS record carries.
    pub batch_bytes: usize,
    /// How many batches of one connection may be with the transport.
    pub batches_in_flight: usize,
    /// The most events that wait to be polled.
    pub events: usize,
}

impl Default for Limits {
    /// Bounds for a site of ten thousand devices on a small machine.
    fn default() -> Self {
        Self {
            packet: PacketLimits::default(),
            connect_timeout: Duration::from_secs(5),
            connections: 20_000,
            sessions: 40_000,
            client_id_bytes: 256,
            keep_alive: const { NonZeroU16::new(1_200).expect("it isn't zero") },
            session_expiry: 7 * 24 * 3_600,
            subscriptions_per_session: 1_000,
            subscriptions: 400_000,
            filter_levels: 1_000_000,
            retained_messages: 100_000,
            retained_bytes: 64 << 20,
            per_holder: Share {
                sessions: 16,
                subscriptions: 4_000,
                filter_levels: 20_000,
                retained_messages: 2_000,
                retained_bytes: 2 << 20,
                pooled_bytes: 4 << 20,
            },
            retained_steps: 256,
            queue_messages: 4_096,
            queue_bytes: 1 << 20,
            queue_bytes_own: 8 << 10,
            queue_bytes_pool: 256 << 20,
            groups_per_session: 100,
            inflight_bytes: 512 << 10,
            control_bytes: 64 << 10,
            inflight: const { NonZeroU16::new(256).expect("it isn't zero") },
            receive_maximum: const { NonZeroU16::new(256).expect("it isn't zero") },
            topic_aliases: 32,
            topic_alias_bytes: 8 << 10,
            batch_bytes: 16 << 10,
            batches_in_flight: 2,
            events: 65_536,
        }
    }
}
