//! The packets of both versions as one set of types; what a version lacks is left out when it is encoded.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::properties::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties, WillProperties,
};
use super::reason::Reason;
use crate::text::{Binary, Text};
use crate::topic::{Filter, Topic};

/// One control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The client asks to be connected.
    Connect(Box<Connect>),
    /// The server answers CONNECT.
    ConnAck(Box<ConnAck>),
    /// A message.
    Publish(Publish),
    /// Answers a PUBLISH of QoS 1.
    PubAck(Ack),
    /// Answers a PUBLISH of QoS 2.
    PubRec(Ack),
    /// Answers PUBREC.
    PubRel(Ack),
    /// Answers PUBREL.
    PubComp(Ack),
    /// The client asks for subscriptions.
    Subscribe(Subscribe),
    /// The server answers SUBSCRIBE.
    SubAck(SubAck),
    /// The client ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// The server answers UNSUBSCRIBE.
    UnsubAck(UnsubAck),
    /// The client says that it lives.
    PingReq,
    /// The server answers PINGREQ.
    PingResp,
    /// One side ends the connection.
    Disconnect(Disconnect),
    /// One step of an enhanced authentication; only MQTT 5.0.
    Auth(Auth),
}

impl Packet {
    /// Returns what kind of packet this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Connect(_) => Kind::Connect,
            Self::ConnAck(_) => Kind::ConnAck,
            Self::Publish(_) => Kind::Publish,
            Self::PubAck(_) => Kind::PubAck,
            Self::PubRec(_) => Kind::PubRec,
            Self::PubRel(_) => Kind::PubRel,
            Self::PubComp(_) => Kind::PubComp,
            Self::Subscribe(_) => Kind::Subscribe,
            Self::SubAck(_) => Kind::SubAck,
            Self::Unsubscribe(_) => Kind::Unsubscribe,
            Self::UnsubAck(_) => Kind::UnsubAck,
            Self::PingReq => Kind::PingReq,
            Self::PingResp => Kind::PingResp,
            Self::Disconnect(_) => Kind::Disconnect,
            Self::Auth(_) => Kind::Auth,
        }
    }
}

/// The kinds of packets, with their number on the wire (MQTT 5.0 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// CONNECT.
    Connect = 1,
    /// CONNACK.
    ConnAck = 2,
    /// PUBLISH.
    Publish = 3,
    /// PUBACK.
    PubAck = 4,
    /// PUBREC.
    PubRec = 5,
    /// PUBREL.
    PubRel = 6,
    /// PUBCOMP.
    PubComp = 7,
    /// SUBSCRIBE.
    Subscribe = 8,
    /// SUBACK.
    SubAck = 9,
    /// UNSUBSCRIBE.
    Unsubscribe = 10,
    /// UNSUBACK.
    UnsubAck = 11,
    /// PINGREQ.
    PingReq = 12,
    /// PINGRESP.
    PingResp = 13,
    /// DISCONNECT.
    Disconnect = 14,
    /// AUTH.
    Auth = 15,
}

impl Kind {
    /// Reads the packet type out of a packet's first byte; `None` for the reserved type 0.
    #[must_use]
    pub const fn of_first_byte(byte: u8) -> Option<Self> {
        Some(match byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Returns the first byte of a packet of this kind with its reserved bits; PUBLISH sets its own.
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        ((self as u8) << 4) | flags
    }

    /// Tells whether the reader may be sent this kind in this version.
    #[must_use]
    pub const fn is_read_by(self, reader: Side, version: Version) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq => {
                matches!(reader, Side::Server)
            }
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp => {
                matches!(reader, Side::Client)
            }
            Self::Publish | Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp => true,
            Self::Disconnect => matches!((reader, version), (Side::Server, _) | (_, Version::V5)),
            Self::Auth => matches!(version, Version::V5),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}

/// Which end of a connection reads a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server reads what a client sent.
    Server,
    /// A client reads what the server sent.
    Client,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// How surely a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// Reads the two bits; `None` for the reserved 3.
    #[must_use]
    pub const fn of_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Returns the reason with which a subscription of this quality is granted.
    #[must_use]
    pub const fn granted(self) -> Reason {
        match self {
            Self::AtMostOnce => Reason::Success,
            Self::AtLeastOnce => Reason::GrantedQoS1,
            Self::ExactlyOnce => Reason::GrantedQoS2,
        }
    }
}

/// A packet id, which is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// Makes a packet id; `None` for zero.
    #[must_use]
    pub const fn of(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// Returns the id after this one; 1 follows 65,535.
    #[must_use]
    pub const fn following(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self(NonZeroU16::MIN),
        }
    }

    /// The first id.
    pub const FIRST: Self = Self(NonZeroU16::MIN);
}

/// A subscription identifier: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// Makes an identifier; `None` for zero and for what four bytes can't say.
    #[must_use]
    pub const fn of(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(nonzero) if number <= 268_435_455 => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version that the client speaks.
    pub version: Version,
    /// Whether a session that may be there is ended first (3.1.1: clean session).
    pub clean_start: bool,
    /// Seconds after which the client will have said something; 0 for never.
    pub keep_alive: u16,
    /// The client id; may be empty.
    pub client_id: Text,
    /// What is published when the client is lost.
    pub will: Option<Will>,
    /// The user name.
    pub username: Option<Text>,
    /// The password.
    pub password: Option<Password>,
    /// Properties of MQTT 5.0.
    pub properties: ConnectProperties,
}

/// A password, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Binary);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The message that is published when the client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: Topic,
    /// What.
    pub payload: Binary,
    /// How surely.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Properties of MQTT 5.0.
    pub properties: WillProperties,
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server goes on with a session that was there.
    pub session_present: bool,
    /// The answer.
    pub reason: Reason,
    /// Properties of MQTT 5.0.
    pub properties: ConnAckProperties,
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Quality of service with what belongs to it.
    pub delivery: Delivery,
    /// Whether the message is (to be) retained.
    pub retain: bool,
    /// The topic; `None` if only a topic alias tells it.
    pub topic: Option<Topic>,
    /// Properties of MQTT 5.0; `None` if there are none.
    pub properties: Option<Box<PublishProperties>>,
    /// The message.
    pub payload: Bytes,
}

/// Quality of service of a PUBLISH, with the packet id and DUP flag that only some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The packet id.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The packet id.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
}

impl Delivery {
    /// Returns the quality of service.
    #[must_use]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// Returns the packet id, which QoS 0 lacks.
    #[must_use]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// Tells whether the packet may have been sent before.
    #[must_use]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which PUBLISH it is about.
    pub id: PacketId,
    /// The answer.
    pub reason: Reason,
    /// Properties of MQTT 5.0.
    pub properties: AckProperties,
}

impl Ack {
    /// Makes an answer without properties.
    #[must_use]
    pub fn of(id: PacketId, reason: Reason) -> Self {
        Self { id, reason, properties: AckProperties::default() }
    }
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet id.
    pub id: PacketId,
    /// Properties of MQTT 5.0.
    pub properties: SubscribeProperties,
    /// What is asked for; at least one.
    pub subscriptions: Vec<Subscription>,
}

/// One topic filter of a SUBSCRIBE with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which topics.
    pub filter: Filter,
    /// The best quality that the client wants.
    pub qos: QoS,
    /// Whether the client's own messages are left out; MQTT 5.0.
    pub no_local: bool,
    /// Whether the retain flag stays as it was published; MQTT 5.0.
    pub retain_as_published: bool,
    /// When retained messages are sent; MQTT 5.0.
    pub retain_handling: RetainHandling,
}

/// When a SUBSCRIBE brings the retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Always = 0,
    /// Only if the subscription is new.
    IfNew = 1,
    /// Never.
    Never = 2,
}

/// SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// Which SUBSCRIBE it is about.
    pub id: PacketId,
    /// Properties of MQTT 5.0.
    pub properties: AckProperties,
    /// One answer per filter, in their order.
    pub reasons: Vec<Reason>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet id.
    pub id: PacketId,
    /// Properties of MQTT 5.0.
    pub properties: UnsubscribeProperties,
    /// Which subscriptions end; at least one.
    pub filters: Vec<Filter>,
}

/// UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// Which UNSUBSCRIBE it is about.
    pub id: PacketId,
    /// Properties of MQTT 5.0.
    pub properties: AckProperties,
    /// One answer per filter, in their order; MQTT 3.1.1 has none.
    pub reasons: Vec<Reason>,
}

/// DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: Reason,
    /// Properties of MQTT 5.0.
    pub properties: DisconnectProperties,
}

/// AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Which step.
    pub reason: Reason,
    /// Its properties.
    pub properties: AuthProperties,
}
