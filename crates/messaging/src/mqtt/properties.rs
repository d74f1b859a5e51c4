//! Properties of MQTT 5.0 (§2.2.2): one struct per packet, so that a packet can't have what it may not have.

use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, BytesMut};

use super::error::DecodeError;
use super::packet::{QoS, SubscriptionId};
use super::wire::{Reader, put_field, put_variable, variable_len};
use super::{MAX_SUBSCRIPTION_IDS, MAX_USER_PROPERTIES};
use crate::text::{Binary, Text};
use crate::topic::Topic;

/// The properties of one kind of packet.
pub(super) trait Properties: Default {
    /// Reads the value of the property `id` into its place.
    fn fill(&mut self, id: u8, reader: &mut Reader) -> Result<(), DecodeError>;
    /// Returns how many bytes the properties take, without their length.
    fn body_len(&self) -> usize;
    /// Writes the properties, without their length.
    fn put_body(&self, out: &mut BytesMut);

    /// Reads properties with their length.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let len = reader.variable()?;
        if len == 0 {
            return Ok(properties);
        }
        reader.within(len, |reader| {
            while !reader.is_empty() {
                // Identifiers are variable byte integers; all that exist take one byte.
                let id = reader.u8()?;
                properties.fill(id, reader)?;
            }
            Ok(properties)
        })
    }

    /// Returns how many bytes the properties take with their length.
    fn len(&self) -> usize {
        let body_len = self.body_len();
        body_len.saturating_add(variable_len(body_len))
    }

    /// Writes the properties with their length.
    fn put(&self, out: &mut BytesMut) {
        put_variable(out, self.body_len());
        self.put_body(out);
    }
}

macro_rules! properties {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $id:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Properties for $name {
            fn fill(&mut self, id: u8, reader: &mut Reader) -> Result<(), DecodeError> {
                match id {
                    $($id => self.$field.fill(id, reader),)*
                    _ => Err(DecodeError::Property { kind: reader.kind, id }),
                }
            }

            fn body_len(&self) -> usize {
                0_usize $(.saturating_add(self.$field.wire_len()))*
            }

            fn put_body(&self, out: &mut BytesMut) {
                $(self.$field.put($id, out);)*
            }
        }
    };
}

properties! {
    /// Properties of CONNECT.
    ConnectProperties {
        /// Seconds that the session outlives its connection; all ones for always.
        session_expiry: Option<u32> = 0x11,
        /// How many messages of QoS 1 and 2 the client takes at once.
        receive_maximum: Option<NonZeroU16> = 0x21,
        /// The largest packet that the client takes.
        maximum_packet_size: Option<NonZeroU32> = 0x27,
        /// The highest topic alias that the client takes.
        topic_alias_maximum: Option<u16> = 0x22,
        /// Whether the client asks for response information.
        request_response_information: Option<bool> = 0x19,
        /// Whether the client wants reason strings and user properties beside failures.
        request_problem_information: Option<bool> = 0x17,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
        /// The method of an enhanced authentication.
        authentication_method: Option<Text> = 0x15,
        /// What the method says.
        authentication_data: Option<Binary> = 0x16,
    }
}

properties! {
    /// Properties of a will.
    WillProperties {
        /// Seconds to wait before the will is published.
        delay: Option<u32> = 0x18,
        /// Whether the payload is UTF-8 text.
        payload_is_text: Option<bool> = 0x01,
        /// Seconds that the message is worth delivering.
        message_expiry: Option<u32> = 0x02,
        /// What the payload is.
        content_type: Option<Text> = 0x03,
        /// Where a response goes.
        response_topic: Option<Topic> = 0x08,
        /// What a response repeats.
        correlation_data: Option<Binary> = 0x09,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
    }
}

properties! {
    /// Properties of CONNACK.
    ConnAckProperties {
        /// Seconds that the session outlives its connection, if not what was asked.
        session_expiry: Option<u32> = 0x11,
        /// How many messages of QoS 1 and 2 the server takes at once.
        receive_maximum: Option<NonZeroU16> = 0x21,
        /// The best quality that the server has, if not 2.
        maximum_qos: Option<QoS> = 0x24,
        /// Whether messages can be retained.
        retain_available: Option<bool> = 0x25,
        /// The largest packet that the server takes.
        maximum_packet_size: Option<NonZeroU32> = 0x27,
        /// The client id that the server chose.
        assigned_client_id: Option<Text> = 0x12,
        /// The highest topic alias that the server takes.
        topic_alias_maximum: Option<u16> = 0x22,
        /// Why, for people.
        reason_string: Option<Text> = 0x1F,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
        /// Whether filters may have wildcards.
        wildcard_available: Option<bool> = 0x28,
        /// Whether subscriptions may have identifiers.
        subscription_ids_available: Option<bool> = 0x29,
        /// Whether subscriptions may be shared.
        shared_available: Option<bool> = 0x2A,
        /// The keep-alive seconds that hold instead of the client's.
        server_keep_alive: Option<u16> = 0x13,
        /// From what response topics are made.
        response_information: Option<Text> = 0x1A,
        /// Another server to use.
        server_reference: Option<Text> = 0x1C,
        /// The method of an enhanced authentication.
        authentication_method: Option<Text> = 0x15,
        /// What the method says.
        authentication_data: Option<Binary> = 0x16,
    }
}

properties! {
    /// Properties of PUBLISH.
    PublishProperties {
        /// Whether the payload is UTF-8 text.
        payload_is_text: Option<bool> = 0x01,
        /// Seconds that the message is worth delivering.
        message_expiry: Option<u32> = 0x02,
        /// A number for the topic.
        topic_alias: Option<NonZeroU16> = 0x23,
        /// Where a response goes.
        response_topic: Option<Topic> = 0x08,
        /// What a response repeats.
        correlation_data: Option<Binary> = 0x09,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
        /// The identifiers of the subscriptions that brought the message.
        subscription_ids: Vec<SubscriptionId> = 0x0B,
        /// What the payload is.
        content_type: Option<Text> = 0x03,
    }
}

properties! {
    /// Properties of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    AckProperties {
        /// Why, for people.
        reason_string: Option<Text> = 0x1F,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
    }
}

properties! {
    /// Properties of SUBSCRIBE.
    SubscribeProperties {
        /// The identifier of these subscriptions.
        subscription_id: Option<SubscriptionId> = 0x0B,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
    }
}

properties! {
    /// Properties of UNSUBSCRIBE.
    UnsubscribeProperties {
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
    }
}

properties! {
    /// Properties of DISCONNECT.
    DisconnectProperties {
        /// Seconds that the session outlives its connection.
        session_expiry: Option<u32> = 0x11,
        /// Why, for people.
        reason_string: Option<Text> = 0x1F,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
        /// Another server to use.
        server_reference: Option<Text> = 0x1C,
    }
}

properties! {
    /// Properties of AUTH.
    AuthProperties {
        /// The method of the authentication.
        authentication_method: Option<Text> = 0x15,
        /// What the method says.
        authentication_data: Option<Binary> = 0x16,
        /// Why, for people.
        reason_string: Option<Text> = 0x1F,
        /// The user properties.
        user: Vec<UserProperty> = 0x26,
    }
}

/// A name and a value whose meaning is the users'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserProperty {
    /// The name.
    pub name: Text,
    /// The value.
    pub value: Text,
}

/// The value of a property.
trait Value: Sized {
    /// Reads a value; `None` if it is one that may not be.
    fn read(reader: &mut Reader) -> Result<Option<Self>, DecodeError>;
    fn len(&self) -> usize;
    fn put(&self, out: &mut BytesMut);
}

/// The place of a property that may stand once, or often.
trait Place {
    fn fill(&mut self, id: u8, reader: &mut Reader) -> Result<(), DecodeError>;
    /// Not `len`, which a vector has already.
    fn wire_len(&self) -> usize;
    fn put(&self, id: u8, out: &mut BytesMut);
}

impl<V: Value> Place for Option<V> {
    fn fill(&mut self, id: u8, reader: &mut Reader) -> Result<(), DecodeError> {
        if self.is_some() {
            return Err(DecodeError::PropertyRepeated { kind: reader.kind, id });
        }
        let value = V::read(reader)?.ok_or(DecodeError::PropertyValue { kind: reader.kind, id })?;
        *self = Some(value);
        Ok(())
    }

    fn wire_len(&self) -> usize {
        self.as_ref().map_or(0, |value| value.len().saturating_add(1))
    }

    fn put(&self, id: u8, out: &mut BytesMut) {
        if let Some(value) = self {
            out.put_u8(id);
            value.put(out);
        }
    }
}

impl<V: Value + Bounded> Place for Vec<V> {
    fn fill(&mut self, id: u8, reader: &mut Reader) -> Result<(), DecodeError> {
        if self.len() >= V::MAX {
            return Err(DecodeError::TooMany { kind: reader.kind });
        }
        let value = V::read(reader)?.ok_or(DecodeError::PropertyValue { kind: reader.kind, id })?;
        self.push(value);
        Ok(())
    }

    fn wire_len(&self) -> usize {
        self.iter().fold(0, |sum, value| sum.saturating_add(value.len()).saturating_add(1))
    }

    fn put(&self, id: u8, out: &mut BytesMut) {
        for value in self {
            out.put_u8(id);
            value.put(out);
        }
    }
}

/// How often a property may stand that may stand more than once.
trait Bounded {
    const MAX: usize;
}

impl Bounded for UserProperty {
    const MAX: usize = MAX_USER_PROPERTIES;
}

impl Bounded for SubscriptionId {
    const MAX: usize = MAX_SUBSCRIPTION_IDS;
}

macro_rules! values {
    ($($type:ty: |$reader:ident| $read:expr, |$value:ident| $len:expr, |$out:ident| $put:expr;)*) => {
        $(impl Value for $type {
            fn read($reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
                Ok($read)
            }

            fn len(&self) -> usize {
                let $value = self;
                let _ = $value; // a fixed length doesn't look at it
                $len
            }

            fn put(&self, $out: &mut BytesMut) {
                let $value = self;
                $put
            }
        })*
    };
}

values! {
    bool: |reader| match reader.u8()? { 0 => Some(false), 1 => Some(true), _ => None },
        |value| 1, |out| out.put_u8(u8::from(*value));
    QoS: |reader| QoS::of_bits(reader.u8()?).filter(|&qos| qos < QoS::ExactlyOnce),
        |value| 1, |out| out.put_u8(*value as u8);
    u16: |reader| Some(reader.u16()?), |value| 2, |out| out.put_u16(*value);
    u32: |reader| Some(reader.u32()?), |value| 4, |out| out.put_u32(*value);
    NonZeroU16: |reader| NonZeroU16::new(reader.u16()?), |value| 2, |out| out.put_u16(value.get());
    NonZeroU32: |reader| NonZeroU32::new(reader.u32()?), |value| 4, |out| out.put_u32(value.get());
    SubscriptionId: |reader| u32::try_from(reader.variable()?).ok().and_then(SubscriptionId::of),
        |value| variable_len(value.number() as usize), |out| put_variable(out, value.number() as usize);
    Text: |reader| Some(reader.text()?), |value| value.as_bytes().len() + 2, |out| put_field(out, value.as_bytes());
    Binary: |reader| Some(reader.binary()?), |value| value.as_bytes().len() + 2, |out| put_field(out, value.as_bytes());
    Topic: |reader| Some(reader.topic()?), |value| value.as_bytes().len() + 2, |out| put_field(out, value.as_bytes());
    UserProperty: |reader| Some(UserProperty { name: reader.text()?, value: reader.text()? }),
        |user| user.name.as_bytes().len() + user.value.as_bytes().len() + 4,
        |out| { put_field(out, user.name.as_bytes()); put_field(out, user.value.as_bytes()); };
}
