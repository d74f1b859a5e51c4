//! What of a broker can outlive it: rows for a store, each a part of the state that can be put or taken away alone.

use bytes::Bytes;

use crate::mqtt::{PacketId, Version};
use crate::router::Interest;
use crate::text::Text;
use crate::time::Instant;
use crate::topic::{Filter, Topic};

/// A session's number in the store; it is never given to another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A message's number in the store, in the order in which messages came to their receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

/// A change of what is to be kept; a later one of the same key takes an earlier one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<P> {
    /// The row is to be kept in place of the one that has its key.
    Put(Row<P>),
    /// The row with this key is to be forgotten; with a session, all rows that are its.
    Gone(RowKey),
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<P> {
    /// A session that outlives its connection.
    Session(SessionRow<P>),
    /// One of its subscriptions.
    Subscription(SubscriptionRow),
    /// A message that waits for its client or is in flight to it.
    Message(MessageRow),
    /// The id of a message of QoS 2 that its client has not released.
    Received(SessionId, PacketId),
    /// A retained message.
    Retained(RetainedRow<P>),
    /// A message that waits in a group until a member has room.
    Shared(SharedRow),
}

/// What tells rows apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// A session.
    Session(SessionId),
    /// A session's subscription.
    Subscription(SessionId, Filter),
    /// A session's message.
    Message(SessionId, MessageId),
    /// An id that a session's client has not released.
    Received(SessionId, PacketId),
    /// A topic's retained message.
    Retained(Topic),
    /// A group, as its members subscribe to it, and a place in its line.
    Shared(Filter, i64),
}

/// A session, without what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow<P> {
    /// Its number.
    pub id: SessionId,
    /// Its client id.
    pub client_id: Text,
    /// Whose it is.
    pub principal: P,
    /// The version that its client spoke; what waits is encoded for it.
    pub version: Version,
    /// Seconds that it outlives its connection.
    pub expiry: u32,
    /// When it ends; none while its client is connected.
    pub ends_at: Option<Instant>,
    /// What is published when its client is lost.
    pub will: Option<WillRow>,
}

/// A will that has not been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillRow {
    /// The message, as a PUBLISH of MQTT 5.0.
    pub publish: Bytes,
    /// Seconds to wait first.
    pub delay: u32,
    /// When it is due; none while its client is connected.
    pub at: Option<Instant>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// Whose it is.
    pub session: SessionId,
    /// What it asks for.
    pub filter: Filter,
    /// What it wants of the messages.
    pub interest: Interest,
}

/// A message on its way to a session's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Whose client it is for.
    pub session: SessionId,
    /// Its number.
    pub id: MessageId,
    /// How far it has come.
    pub stage: MessageStage,
    /// The group that it came through, as its members subscribe to it.
    pub group: Option<Filter>,
}

/// How far a message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageStage {
    /// It waits.
    Waiting(Frame),
    /// It was or is being sent under this id.
    Sent(PacketId, Frame),
    /// Its client has it, and was or is being told to forget the id.
    Released(PacketId),
}

/// A PUBLISH as a client gets it, in its version and with packet id 0. Receivers of the same share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The packet.
    pub bytes: Bytes,
    /// When it is no longer worth sending.
    pub expires: Option<Instant>,
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow<P> {
    /// Its topic.
    pub topic: Topic,
    /// Who is charged with it.
    pub principal: P,
    /// The message, as a PUBLISH of MQTT 5.0.
    pub publish: Bytes,
    /// When it ends.
    pub expires: Option<Instant>,
}

/// A message that waits in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRow {
    /// The group, as its members subscribe to it.
    pub group: Filter,
    /// Its place in the line, the lowest first.
    pub place: i64,
    /// The message, as a PUBLISH of MQTT 5.0.
    pub publish: Bytes,
    /// When it ends.
    pub expires: Option<Instant>,
}

impl<P> Row<P> {
    /// Returns what tells the row apart.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Session(row) => RowKey::Session(row.id),
            Self::Subscription(row) => RowKey::Subscription(row.session, row.filter.clone()),
            Self::Message(row) => RowKey::Message(row.session, row.id),
            Self::Received(session, id) => RowKey::Received(*session, *id),
            Self::Retained(row) => RowKey::Retained(row.topic.clone()),
            Self::Shared(row) => RowKey::Shared(row.group.clone(), row.place),
        }
    }
}

impl RowKey {
    /// Returns the session that the row is part of.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(session)
            | Self::Subscription(session, _)
            | Self::Message(session, _)
            | Self::Received(session, _) => Some(*session),
            Self::Retained(_) | Self::Shared(..) => None,
        }
    }
}
