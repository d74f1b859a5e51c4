//! Why bytes are no packet, whose fault that is, and what MQTT 5.0 answers.

use super::packet::Kind;
use super::reason::Reason;
use super::{MAX_FILTERS, MAX_SUBSCRIPTION_IDS, MAX_USER_PROPERTIES};
use crate::text::TextError;
use crate::topic::TopicError;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// The peer speaks something that is not spoken here.
    Incompatible,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first packet isn't CONNECT.
    #[error("first byte is `{found:#04x}`, expected CONNECT `0x10`; connect before anything else")]
    NotConnect {
        /// The first byte.
        found: u8,
    },
    /// The packet type is reserved, or the version has none such.
    #[error("first byte `{found:#04x}` is no packet type of this version")]
    UnknownKind {
        /// The first byte.
        found: u8,
    },
    /// Only the other side sends such packets.
    #[error("{kind} may not be sent to this side")]
    Direction {
        /// The packet.
        kind: Kind,
    },
    /// The reserved bits of the first byte are wrong.
    #[error("{kind} begins with `{found:#04x}`, whose reserved bits are wrong")]
    Flags {
        /// The packet.
        kind: Kind,
        /// The first byte.
        found: u8,
    },
    /// A variable length isn't in its shortest form, or has more than four bytes.
    #[error(
        "a variable length is longer than four bytes or than it need be; encode it in its shortest form"
    )]
    Length,
    /// The packet is larger than allowed.
    #[error("packet has {found} bytes, expected at most {limit}; send smaller packets")]
    TooLarge {
        /// How many bytes it would have.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A field ends after the packet.
    #[error("{kind} ends before its fields do")]
    Short {
        /// The packet.
        kind: Kind,
    },
    /// Bytes follow the last field.
    #[error("{kind} has {n_bytes} bytes after its last field")]
    Trailing {
        /// The packet.
        kind: Kind,
        /// How many.
        n_bytes: usize,
    },
    /// A text field holds no text.
    #[error("{kind} holds bad text: {error}")]
    Text {
        /// The packet.
        kind: Kind,
        /// What is wrong.
        error: TextError,
    },
    /// A topic isn't one.
    #[error("{kind} names a bad topic: {error}")]
    Topic {
        /// The packet.
        kind: Kind,
        /// What is wrong.
        error: TopicError,
    },
    /// A PUBLISH has neither topic nor topic alias.
    #[error("PUBLISH has neither a topic nor a topic alias; name the topic")]
    NoTopic,
    /// A topic filter isn't one.
    #[error("{kind} names a bad topic filter: {error}")]
    Filter {
        /// The packet.
        kind: Kind,
        /// What is wrong.
        error: TopicError,
    },
    /// The packet may not have this property.
    #[error("{kind} may not have a property `{id:#04x}`")]
    Property {
        /// The packet.
        kind: Kind,
        /// The property.
        id: u8,
    },
    /// A property stands twice that may stand once.
    #[error("{kind} has the property `{id:#04x}` twice, expected once")]
    PropertyRepeated {
        /// The packet.
        kind: Kind,
        /// The property.
        id: u8,
    },
    /// A property has a value that it may not have.
    #[error("{kind} has a property `{id:#04x}` with a value that it may not have")]
    PropertyValue {
        /// The packet.
        kind: Kind,
        /// The property.
        id: u8,
    },
    /// A property lacks another one that it needs.
    #[error(
        "{kind} has authentication data without a method, or no method at all; name the method"
    )]
    NoAuthenticationMethod {
        /// The packet.
        kind: Kind,
    },
    /// The packet may not have this reason code.
    #[error("{kind} may not have the reason code `{found:#04x}`")]
    ReasonCode {
        /// The packet.
        kind: Kind,
        /// The code.
        found: u8,
    },
    /// The packet id is zero.
    #[error("{kind} has packet id 0, expected 1 to 65535")]
    PacketId {
        /// The packet.
        kind: Kind,
    },
    /// A PUBLISH of QoS 0 says that it was sent before.
    #[error("PUBLISH of QoS 0 has the DUP flag; only QoS 1 and 2 are sent again")]
    DupOnQoS0,
    /// The quality of service is 3.
    #[error("{kind} has QoS 3, expected 0, 1 or 2")]
    QoS {
        /// The packet.
        kind: Kind,
    },
    /// The protocol isn't named MQTT.
    #[error("CONNECT names another protocol, expected `MQTT`; speak MQTT 3.1.1 or 5.0")]
    ProtocolName,
    /// The protocol level is none of ours.
    #[error("CONNECT has protocol level {found}, expected 4 or 5; speak MQTT 3.1.1 or 5.0")]
    ProtocolLevel {
        /// The level.
        found: u8,
    },
    /// The connect flags or the acknowledge flags contradict themselves.
    #[error("{kind} has flags `{found:#010b}`, which contradict each other or are reserved")]
    PacketFlags {
        /// The packet.
        kind: Kind,
        /// The flags.
        found: u8,
    },
    /// The options of a subscription are reserved, or ask for what a shared subscription can't have.
    #[error("SUBSCRIBE has options `{found:#010b}`, which are reserved or contradict the filter")]
    SubscriptionOptions {
        /// The options.
        found: u8,
    },
    /// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK is about nothing.
    #[error("{kind} has no entry, expected at least one")]
    Empty {
        /// The packet.
        kind: Kind,
    },
    /// There are more entries than kept.
    #[error(
        "{kind} has too many entries, expected at most {MAX_FILTERS} filters, {MAX_USER_PROPERTIES} user properties \
         and {MAX_SUBSCRIPTION_IDS} subscription identifiers"
    )]
    TooMany {
        /// The packet.
        kind: Kind,
    },
}

impl DecodeError {
    /// Tells whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::ProtocolName | Self::ProtocolLevel { .. } => Fault::Incompatible,
            _ => Fault::Peer,
        }
    }

    /// Returns the reason with which MQTT 5.0 disconnects; MQTT 3.1.1 closes without a word.
    ///
    /// Before CONNECT has been read only `ProtocolLevel` is answered, with a CONNACK.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::ProtocolName | Self::ProtocolLevel { .. } => Reason::UnsupportedVersion,
            Self::TooLarge { .. } => Reason::PacketTooLarge,
            Self::NotConnect { .. }
            | Self::Direction { .. }
            | Self::NoTopic
            | Self::PropertyRepeated { .. }
            | Self::PropertyValue { .. }
            | Self::NoAuthenticationMethod { .. }
            | Self::Empty { .. } => Reason::ProtocolError,
            Self::Topic { error, .. } => match error {
                TopicError::Utf8 | TopicError::Nul => Reason::MalformedPacket,
                _ => Reason::TopicNameInvalid,
            },
            Self::Filter { error, .. } => match error {
                TopicError::Long { .. } | TopicError::Deep { .. } => Reason::TopicFilterInvalid,
                _ => Reason::MalformedPacket,
            },
            Self::TooMany { .. } => Reason::QuotaExceeded,
            Self::UnknownKind { .. }
            | Self::Flags { .. }
            | Self::Length
            | Self::Short { .. }
            | Self::Trailing { .. }
            | Self::Text { .. }
            | Self::Property { .. }
            | Self::ReasonCode { .. }
            | Self::PacketId { .. }
            | Self::DupOnQoS0
            | Self::QoS { .. }
            | Self::PacketFlags { .. }
            | Self::SubscriptionOptions { .. } => Reason::MalformedPacket,
        }
    }
}
