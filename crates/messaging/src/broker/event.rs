//! What the broker tells its caller: facts for the record, and counts.

use super::ConnId;
use crate::mqtt::{QoS, Reason, Version};
use crate::text::Text;
use crate::topic::{Filter, Topic};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// A client is connected.
    Connected {
        /// Its connection.
        conn: ConnId,
        /// Who it is.
        principal: P,
        /// Its client id.
        client_id: Text,
        /// What it speaks.
        version: Version,
        /// Whether a session went on that was waiting.
        resumed: bool,
    },
    /// The guard said no.
    Denied {
        /// The connection; `None` if the client isn't connected any more.
        conn: Option<ConnId>,
        /// Who asked.
        principal: P,
        /// Its client id.
        client_id: Text,
        /// What it asked for.
        action: Action,
        /// What the guard said.
        reason: Text,
    },
    /// A connection ended; there is one such event for every `open`.
    Disconnected {
        /// The connection.
        conn: ConnId,
        /// Who it was.
        principal: P,
        /// Its client id, if it had told one.
        client_id: Option<Text>,
        /// Why it ended.
        why: Why,
    },
    /// A client id connected again; `Disconnected` of the old connection follows.
    TakenOver {
        /// The old connection.
        conn: ConnId,
        /// The new one.
        by: ConnId,
        /// Who had the old one.
        principal: P,
        /// The client id.
        client_id: Text,
    },
    /// A client didn't take its messages; `Disconnected` follows.
    SlowConsumer {
        /// The connection.
        conn: ConnId,
        /// Who it is.
        principal: P,
        /// Its client id.
        client_id: Text,
        /// How many messages waited.
        n_queued: usize,
        /// How many bytes they had.
        queued_bytes: usize,
    },
    /// A peer broke the protocol; `Disconnected` follows.
    ProtocolError {
        /// The connection.
        conn: ConnId,
        /// Who it is.
        principal: P,
        /// Its client id, if it had told one.
        client_id: Option<Text>,
        /// MQTT 5.0's word for it.
        reason: Reason,
        /// What was found and what was expected.
        text: Text,
    },
    /// A lost client's will was published.
    WillPublished {
        /// Whose.
        principal: P,
        /// Its client id.
        client_id: Text,
        /// Where to.
        topic: Topic,
    },
    /// A subscription ended because the guard doesn't allow it any more.
    Withdrawn {
        /// The connection; `None` if the session waits for its client.
        conn: Option<ConnId>,
        /// Whose.
        principal: P,
        /// Its client id.
        client_id: Text,
        /// What it was subscribed to.
        filter: Filter,
        /// What the guard said.
        reason: Text,
    },
    /// Events were lost because they weren't polled.
    Lost {
        /// How many.
        n_events: u64,
    },
}

/// What was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To connect.
    Connect,
    /// To publish.
    Publish {
        /// Where to.
        topic: Topic,
        /// How surely.
        qos: QoS,
        /// Whether to be retained.
        retain: bool,
    },
    /// To leave a will, or to have it published.
    Will {
        /// Where to.
        topic: Topic,
    },
    /// To subscribe.
    Subscribe {
        /// To what.
        filter: Filter,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The client said goodbye.
    ByClient {
        /// Its reason.
        reason: Reason,
    },
    /// The transport ended.
    TransportClosed,
    /// The peer broke the protocol.
    ProtocolError {
        /// MQTT 5.0's word for it.
        reason: Reason,
    },
    /// CONNECT was refused.
    Refused {
        /// MQTT 5.0's word for it.
        reason: Reason,
    },
    /// Nothing was heard for one and a half keep-alive times.
    KeepAlive,
    /// No CONNECT came.
    ConnectTimeout,
    /// The client id connected again.
    TakenOver,
    /// The client didn't take its messages.
    SlowConsumer,
    /// The caller closed it.
    Closed {
        /// The reason that was given.
        reason: Reason,
    },
}

/// Counts since the broker began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received from clients.
    pub received: u64,
    /// Messages put into a receiver's queue.
    pub delivered: u64,
    /// Messages of QoS 0 dropped because a receiver's queue was full.
    pub dropped_full: u64,
    /// Messages dropped because a waiting session's queue was full, or it was of QoS 0.
    pub dropped_offline: u64,
    /// Messages dropped because they were larger than the receiver takes.
    pub dropped_too_large: u64,
    /// Messages dropped because they expired.
    pub dropped_expired: u64,
    /// CONNECTs that the guard denied.
    pub denied_connects: u64,
    /// Messages that the guard denied to publish.
    pub denied_publishes: u64,
    /// Subscriptions that the guard denied.
    pub denied_subscribes: u64,
    /// Messages that the guard denied to a receiver.
    pub denied_receives: u64,
    /// Messages that weren't retained because the store was full.
    pub refused_retained: u64,
    /// Packets that broke the protocol.
    pub protocol_errors: u64,
    /// Answers to packet ids that aren't in flight.
    pub unknown_acks: u64,
}

/// How much the broker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connections, those without a CONNECT yet among them.
    pub connections: usize,
    /// Sessions, connected and waiting.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
    /// Bytes of messages that sessions hold beyond what each has of its own.
    pub pooled_bytes: usize,
}
