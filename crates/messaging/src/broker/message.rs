//! A message inside the broker, and its encodings, each made once and shared by all who get the same.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::row::{Frame, MessageId};
use super::share::Share;
use super::slab::Key;
use crate::mqtt::{
    Delivery, Packet, PacketId, Publish, PublishFrame, QoS, Side, SubscriptionId, Version, Will,
    decode, encode, encode_publish,
};
use crate::router::Interest;
use crate::time::Instant;
use crate::topic::Topic;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) topic: Topic,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Option<Box<crate::mqtt::PublishProperties>>,
    pub(super) payload: Bytes,
    pub(super) expires: Option<Instant>,
}

/// A retained message.
#[derive(Debug)]
pub(super) struct Kept<P> {
    pub(super) message: Message,
    /// Who is charged with it: who published it last; none for the server's own.
    pub(super) principal: Option<P>,
}

impl<P> Kept<P> {
    pub(super) fn share(&self) -> Share {
        Share::of_retained(self.message.n_bytes())
    }
}

impl Message {
    /// Takes a message out of its packet; `None` if the packet names no topic.
    pub(super) fn of(publish: Publish, now: Instant) -> Option<Self> {
        let expiry = publish.properties.as_ref().and_then(|properties| properties.message_expiry);
        Some(Self {
            topic: publish.topic?,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            properties: publish.properties,
            payload: publish.payload,
            expires: expiry.map(|seconds| now.plus(Duration::from_secs(seconds.into()))),
        })
    }

    /// Makes a message of the server's own.
    pub(super) const fn of_own(topic: Topic, payload: Bytes) -> Self {
        let qos = QoS::AtMostOnce;
        Self { topic, qos, retain: true, properties: None, payload, expires: None }
    }

    /// Makes the message that a will becomes when it is published.
    pub(super) fn of_will(will: &Will, now: Instant) -> Self {
        let of = &will.properties;
        let properties = crate::mqtt::PublishProperties {
            payload_is_text: of.payload_is_text,
            message_expiry: of.message_expiry,
            topic_alias: None,
            response_topic: of.response_topic.clone(),
            correlation_data: of.correlation_data.clone(),
            user: of.user.clone(),
            subscription_ids: alloc::vec::Vec::new(),
            content_type: of.content_type.clone(),
        };
        Self {
            topic: will.topic.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: Some(Box::new(properties)),
            payload: will.payload.clone().into_bytes(),
            expires: None,
        }
        .detached(now)
    }

    /// Sets the expiry anew, counted from now.
    pub(super) fn begin(&mut self, now: Instant) {
        let expiry = self.properties.as_ref().and_then(|properties| properties.message_expiry);
        self.expires = expiry.map(|seconds| now.plus(Duration::from_secs(seconds.into())));
    }

    /// Copies the message into one allocation of its own, so that it keeps no read buffer alive.
    pub(super) fn detached(&self, now: Instant) -> Self {
        let copy = self.packed().and_then(|bytes| Self::unpack(bytes, self.expires, now));
        copy.unwrap_or_else(|| self.clone()) // a message that was decoded can be encoded
    }

    /// Encodes the message as a PUBLISH of MQTT 5.0.
    pub(super) fn packed(&self) -> Option<Bytes> {
        let delivery = match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: PacketId::FIRST, dup: false },
        };
        let publish = Publish {
            delivery,
            retain: self.retain,
            topic: Some(self.topic.clone()),
            properties: self.properties.clone(),
            payload: self.payload.clone(),
        };
        let mut buffer = BytesMut::new();
        encode(&Packet::Publish(publish), Version::V5, &mut buffer).ok()?;
        Some(buffer.freeze())
    }

    /// Decodes a message that was packed.
    pub(super) fn unpack(bytes: Bytes, expires: Option<Instant>, now: Instant) -> Option<Self> {
        match decode(Version::V5, Side::Client, bytes) {
            Ok(Packet::Publish(publish)) => Some(Self { expires, ..Self::of(publish, now)? }),
            _ => None,
        }
    }
    /// Returns about how many bytes the message takes, without its topic.
    pub(super) fn n_bytes(&self) -> usize {
        self.topic.as_bytes().len()
            + self.payload.len()
            + self.properties.as_ref().map_or(0, |properties| {
                let user = properties
                    .user
                    .iter()
                    .map(|user| user.name.len() + user.value.len() + 64)
                    .sum::<usize>();
                user + properties.content_type.as_ref().map_or(0, |text| text.len())
                    + properties.correlation_data.as_ref().map_or(0, |data| data.as_bytes().len())
                    + properties.response_topic.as_ref().map_or(0, |topic| topic.as_bytes().len())
                    + size_of::<crate::mqtt::PublishProperties>()
            })
    }

    /// Encodes the message for a receiver.
    pub(super) fn encode(&self, form: Form, ids: &[SubscriptionId]) -> Option<Outgoing> {
        let properties = self.properties.as_deref();
        let flags = (form.qos, form.retain);
        let frame =
            encode_publish(form.version, flags, &self.topic, properties, ids, &self.payload)
                .ok()?;
        let id = MessageId::default();
        Some(Outgoing { id, frame, qos: form.qos, expires: self.expires, group: None })
    }
}

/// In which ways the encodings of one message differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) version: Version,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Form {
    /// Gives the form in which a receiver gets a message.
    pub(super) fn of(message: &Message, version: Version, interest: Interest) -> Self {
        let retain = message.retain && interest.retain_as_published;
        Self { version, qos: message.qos.min(interest.qos), retain }
    }
}

/// An encoded message on its way to one receiver; the bytes are shared.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// Its number, once it has come to its receiver.
    pub(super) id: MessageId,
    pub(super) frame: PublishFrame,
    pub(super) qos: QoS,
    pub(super) expires: Option<Instant>,
    /// The group whose member got it.
    pub(super) group: Option<Key>,
}

impl Outgoing {
    /// Takes up what was written down.
    pub(super) fn of_row(
        row: &Frame,
        version: Version,
        id: MessageId,
        group: Option<Key>,
    ) -> Option<Self> {
        let (frame, qos) = PublishFrame::read(&row.bytes, version)?;
        Some(Self { id, frame, qos, expires: row.expires, group })
    }

    /// Writes down what a store has of its encoding.
    pub(super) fn row(&self) -> Frame {
        Frame { bytes: self.frame.bytes.clone(), expires: self.expires }
    }

    pub(super) fn len(&self) -> usize {
        self.frame.bytes.len()
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The encodings of one message that have been made so far.
pub(super) struct Encodings<'a> {
    message: &'a Message,
    made: [Option<Outgoing>; 12],
}

impl<'a> Encodings<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        Self { message, made: [const { None }; 12] }
    }

    /// Returns the encoding for a receiver, made now if it is the first of its form.
    pub(super) fn outgoing(&mut self, form: Form, ids: &[SubscriptionId]) -> Option<Outgoing> {
        if !ids.is_empty() && form.version == Version::V5 {
            return self.message.encode(form, ids);
        }
        let version_idx = match form.version {
            Version::V311 => 0,
            Version::V5 => 6,
        };
        let place =
            self.made.get_mut(version_idx + form.qos as usize * 2 + usize::from(form.retain))?;
        if place.is_none() {
            *place = self.message.encode(form, &[]);
        }
        place.clone()
    }
}
