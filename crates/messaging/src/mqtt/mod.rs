//! MQTT 3.1.1 and 5.0 on the wire: every packet with every property, decoded and encoded strictly.
//!
//! `Decoder` cuts packets out of a stream of bytes, `decode` reads one whole packet, `encode` writes one. Payloads,
//! topics and texts are views over the received bytes.

mod decode;
mod decoder;
mod encode;
mod error;
mod packet;
mod properties;
mod reason;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use decode::decode;
pub use decoder::{Decoder, PacketLimits};
pub use encode::{EncodeError, encode};
pub(crate) use encode::{PublishFrame, encode_publish};
pub use error::{DecodeError, Fault};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Kind, Packet, PacketId, Password, Publish,
    QoS, RetainHandling, Side, SubAck, Subscribe, Subscription, SubscriptionId, UnsubAck,
    Unsubscribe, Version, Will,
};
pub use properties::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties, UserProperty, WillProperties,
};
pub use reason::Reason;

/// The most user properties of one packet: each may take five bytes on the wire and far more in memory.
pub const MAX_USER_PROPERTIES: usize = 128;

/// The most topic filters of one SUBSCRIBE or UNSUBSCRIBE, for the same reason.
pub const MAX_FILTERS: usize = 512;

/// The most subscription identifiers of one PUBLISH.
pub const MAX_SUBSCRIPTION_IDS: usize = 128;

/// The largest remaining length that four bytes can say (MQTT 5.0 §1.5.5).
pub const MAX_REMAINING: usize = 268_435_455;
