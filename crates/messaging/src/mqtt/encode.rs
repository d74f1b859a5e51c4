//! Writes packets; what MQTT 3.1.1 lacks is left out.

use core::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Kind, Packet, PacketId, Publish, QoS, Side,
    SubAck, Subscribe, Subscription, SubscriptionId, UnsubAck, Unsubscribe, Version,
};
use super::properties::{AuthProperties, DisconnectProperties, Properties, PublishProperties};
use super::reason::Reason;
use super::wire::{put_field, put_variable, variable, variable_len};
use super::{MAX_REMAINING, decode};
use crate::topic::Topic;

/// Appends one packet to the buffer; on an error the buffer is as it was.
///
/// CONNECT is written in the version that it names itself. In MQTT 3.1.1 properties and reasons are left out, a
/// refusal in CONNACK becomes the nearest return code and every failure in SUBACK `0x80`.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    match packet {
        Packet::Connect(connect) => put_connect(connect, out),
        Packet::ConnAck(conn_ack) => put_conn_ack(conn_ack, version, out),
        Packet::Publish(publish) => put_publish(&Parts::of(publish), version, out).map(|_| ()),
        Packet::PubAck(ack) => put_ack(Kind::PubAck, ack, version, out),
        Packet::PubRec(ack) => put_ack(Kind::PubRec, ack, version, out),
        Packet::PubRel(ack) => put_ack(Kind::PubRel, ack, version, out),
        Packet::PubComp(ack) => put_ack(Kind::PubComp, ack, version, out),
        Packet::Subscribe(subscribe) => put_subscribe(subscribe, version, out),
        Packet::SubAck(sub_ack) => put_sub_ack(sub_ack, version, out),
        Packet::Unsubscribe(unsubscribe) => put_unsubscribe(unsubscribe, version, out),
        Packet::UnsubAck(unsub_ack) => put_unsub_ack(unsub_ack, version, out),
        Packet::PingReq => put_header(Kind::PingReq.first_byte(), 0, out),
        Packet::PingResp => put_header(Kind::PingResp.first_byte(), 0, out),
        Packet::Disconnect(disconnect) => put_disconnect(disconnect, version, out),
        Packet::Auth(auth) => put_auth(auth, version, out),
    }
}

/// Why a packet can't be encoded; each is our own mistake, not the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The packet is larger than the protocol can say.
    #[error(
        "packet has {found} bytes after its header, expected at most {MAX_REMAINING}; send less"
    )]
    TooLarge {
        /// How many bytes there are.
        found: usize,
    },
    /// The version has no such packet.
    #[error("MQTT 3.1.1 has no {kind}; send it to MQTT 5.0 only")]
    NotInVersion {
        /// The packet.
        kind: Kind,
    },
    /// The packet may not have this reason.
    #[error("{kind} may not have the reason code `{found:#04x}`")]
    ReasonCode {
        /// The packet.
        kind: Kind,
        /// The code.
        found: u8,
    },
    /// The packet contradicts itself: no topic and no alias, no entry, a password without a name in MQTT 3.1.1.
    #[error("{kind} lacks what it needs or contradicts itself")]
    Incomplete {
        /// The packet.
        kind: Kind,
    },
}

/// A PUBLISH that many receivers share, with the places that differ between them.
#[derive(Clone, Debug)]
pub(crate) struct PublishFrame {
    /// The whole packet, with packet id 0.
    pub(crate) bytes: Bytes,
    /// Where the packet id stands; QoS 0 has none.
    pub(crate) id_at: Option<usize>,
    /// Where the message expiry stands, if there is one.
    pub(crate) expiry_at: Option<usize>,
}

impl PublishFrame {
    /// Returns the topic, which is always there.
    pub(crate) fn topic(&self) -> Option<Topic> {
        let (_, n_length_bytes) = variable(self.bytes.get(1..)?).ok()??;
        let at = n_length_bytes + 1;
        let len = self.bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)?;
        let start = at + 2;
        let end = start + usize::from(len);
        self.bytes.get(start..end)?;
        Topic::parse(self.bytes.slice(start..end)).ok()
    }
}

impl PublishFrame {
    /// Reads a frame that was written down; its packet id is 0, as in all of them.
    pub(crate) fn read(bytes: &[u8], version: Version) -> Option<(Self, QoS)> {
        let publish = Self::publish(bytes, version)?;
        let (flags, properties) =
            ((publish.delivery.qos(), publish.retain), publish.properties.as_deref());
        let topic = publish.topic.as_ref()?;
        let frame =
            encode_publish(version, flags, topic, properties, &[], &publish.payload).ok()?;
        Some((frame, flags.0))
    }

    /// Decodes a frame's bytes.
    pub(crate) fn publish(bytes: &[u8], version: Version) -> Option<Publish> {
        let mut bytes = BytesMut::from(bytes);
        let first = *bytes.first()?;
        if first & 0b110 != 0 {
            // The decoder takes no packet id that is 0.
            let (_, n_length_bytes) = variable(bytes.get(1..)?).ok()??;
            let topic_at = n_length_bytes + 3;
            let topic_len = bytes.get(topic_at - 2..topic_at)?.try_into().ok();
            let id_at = topic_at + usize::from(topic_len.map(u16::from_be_bytes)?);
            let id = PacketId::FIRST.number().to_be_bytes();
            bytes.get_mut(id_at..id_at + 2)?.copy_from_slice(&id);
        }
        match decode(version, Side::Client, bytes.freeze()) {
            Ok(Packet::Publish(publish)) => Some(publish),
            _ => None,
        }
    }

    /// Writes a packet of MQTT 5.0 anew with a topic alias, with its topic or without.
    pub(crate) fn with_alias(&self, alias: NonZeroU16, has_topic: bool) -> Option<Self> {
        let (_, n_length_bytes) = variable(self.bytes.get(1..)?).ok()??;
        let topic_at = n_length_bytes + 3;
        let topic_len = self.bytes.get(topic_at - 2..topic_at)?.try_into().ok();
        let id_at = topic_at + usize::from(topic_len.map(u16::from_be_bytes)?);
        let topic = self.bytes.get(topic_at..id_at).filter(|_| has_topic).unwrap_or_default();
        let body_at = id_at + if self.id_at.is_some() { 2 } else { 0 };
        let (body_len, n_length_bytes) = variable(self.bytes.get(body_at..)?).ok()??;
        let body = self.bytes.get(body_at + n_length_bytes..)?;
        let body_len = body_len + ALIAS_LEN;
        let before_body = 2 + topic.len() + (body_at - id_at) + variable_len(body_len);
        let mut out = BytesMut::new();
        let remaining = before_body + ALIAS_LEN + body.len();
        put_header(*self.bytes.first()?, remaining, &mut out).ok()?;
        put_field(&mut out, topic);
        let new_id_at = self.id_at.map(|_| out.len());
        out.put_slice(self.bytes.get(id_at..body_at)?);
        put_variable(&mut out, body_len);
        out.put_u8(0x23);
        out.put_u16(alias.get());
        let moved = |at: usize| Some(at.checked_sub(body_at + n_length_bytes)? + out.len());
        let expiry_at = self.expiry_at.and_then(moved);
        out.put_slice(body);
        Some(Self { bytes: out.freeze(), id_at: new_id_at, expiry_at })
    }
}

/// How many bytes a topic alias takes among the properties.
const ALIAS_LEN: usize = 3;

/// Encodes a PUBLISH to be shared.
pub(crate) fn encode_publish(
    version: Version,
    (qos, retain): (QoS, bool),
    topic: &Topic,
    properties: Option<&PublishProperties>,
    subscription_ids: &[SubscriptionId],
    payload: &[u8],
) -> Result<PublishFrame, EncodeError> {
    let mut out = BytesMut::with_capacity(topic.as_bytes().len() + payload.len() + 32);
    let parts = Parts {
        qos,
        dup: false,
        id: 0,
        retain,
        topic: Some(topic),
        properties,
        more_ids: subscription_ids,
        payload,
    };
    let places = put_publish(&parts, version, &mut out)?;
    Ok(PublishFrame { bytes: out.freeze(), id_at: places.id_at, expiry_at: places.expiry_at })
}

/// What a PUBLISH is made of.
struct Parts<'a> {
    qos: QoS,
    dup: bool,
    id: u16,
    retain: bool,
    topic: Option<&'a Topic>,
    properties: Option<&'a PublishProperties>,
    more_ids: &'a [SubscriptionId],
    payload: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(publish: &'a Publish) -> Self {
        let (dup, id) = match publish.delivery {
            Delivery::AtMostOnce => (false, 0),
            Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
                (dup, id.number())
            }
        };
        Self {
            qos: publish.delivery.qos(),
            dup,
            id,
            retain: publish.retain,
            topic: publish.topic.as_ref(),
            properties: publish.properties.as_deref(),
            more_ids: &[],
            payload: &publish.payload,
        }
    }
}

struct Places {
    id_at: Option<usize>,
    expiry_at: Option<usize>,
}

fn put_publish(
    parts: &Parts<'_>,
    version: Version,
    out: &mut BytesMut,
) -> Result<Places, EncodeError> {
    let has_alias = parts.properties.is_some_and(|properties| properties.topic_alias.is_some());
    if parts.topic.is_none() && (version == Version::V311 || !has_alias) {
        return Err(EncodeError::Incomplete { kind: Kind::Publish });
    }
    let topic = parts.topic.map(Topic::as_bytes).unwrap_or_default();
    let has_id = parts.qos != QoS::AtMostOnce;
    let ids_len =
        parts.more_ids.iter().map(|id| 1 + variable_len(id.number() as usize)).sum::<usize>();
    let body_len = parts.properties.map_or(0, Properties::body_len).saturating_add(ids_len);
    let properties_len = match version {
        Version::V311 => 0,
        Version::V5 => body_len.saturating_add(variable_len(body_len)),
    };
    let remaining = (2 + topic.len() + if has_id { 2 } else { 0 })
        .saturating_add(properties_len)
        .saturating_add(parts.payload.len());
    let flags = u8::from(parts.dup) << 3 | (parts.qos as u8) << 1 | u8::from(parts.retain);
    let start = out.len();
    put_header(Kind::Publish.first_byte() | flags, remaining, out)?;
    put_field(out, topic);
    let mut places = Places { id_at: None, expiry_at: None };
    if has_id {
        places.id_at = Some(out.len() - start);
        out.put_u16(parts.id);
    }
    if version == Version::V5 {
        put_variable(out, body_len);
        if let Some(properties) = parts.properties {
            if properties.message_expiry.is_some() {
                // Before it stands only the payload's format, which takes two bytes; its own id takes one.
                let format_len = if properties.payload_is_text.is_some() { 2 } else { 0 };
                places.expiry_at = Some(out.len() - start + format_len + 1);
            }
            properties.put_body(out);
        }
        for id in parts.more_ids {
            out.put_u8(0x0B);
            put_variable(out, id.number() as usize);
        }
    }
    out.extend_from_slice(parts.payload);
    Ok(places)
}

fn put_connect(connect: &Connect, out: &mut BytesMut) -> Result<(), EncodeError> {
    let Connect {
        version,
        clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    } = connect;
    let lone_password = *version == Version::V311 && password.is_some() && username.is_none();
    let lone_data =
        properties.authentication_data.is_some() && properties.authentication_method.is_none();
    if lone_password || (*version == Version::V5 && lone_data) {
        return Err(EncodeError::Incomplete { kind: Kind::Connect });
    }
    let field_len = |bytes: &[u8]| bytes.len() + 2;
    let will_len = will.as_ref().map_or(0, |will| {
        let fields_len = field_len(will.topic.as_bytes()) + field_len(will.payload.as_bytes());
        fields_len.saturating_add(v5_len(*version, &will.properties))
    });
    let names_len = username.as_ref().map_or(0, |name| field_len(name.as_bytes()))
        + password.as_ref().map_or(0, |password| field_len(password.0.as_bytes()));
    let fixed_len = 10 + field_len(client_id.as_bytes()) + names_len;
    let remaining = fixed_len.saturating_add(v5_len(*version, properties)).saturating_add(will_len);
    put_header(Kind::Connect.first_byte(), remaining, out)?;
    put_field(out, b"MQTT");
    out.put_u8(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    let will_flags =
        will.as_ref().map_or(0, |will| 0b100 | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
    let name_flags = u8::from(username.is_some()) << 7 | u8::from(password.is_some()) << 6;
    out.put_u8(name_flags | will_flags | u8::from(*clean_start) << 1);
    out.put_u16(*keep_alive);
    put_if_v5(*version, properties, out);
    put_field(out, client_id.as_bytes());
    if let Some(will) = will {
        put_if_v5(*version, &will.properties, out);
        put_field(out, will.topic.as_bytes());
        put_field(out, will.payload.as_bytes());
    }
    if let Some(username) = username {
        put_field(out, username.as_bytes());
    }
    if let Some(password) = password {
        put_field(out, password.0.as_bytes());
    }
    Ok(())
}

fn put_conn_ack(
    conn_ack: &ConnAck,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let ConnAck { session_present, reason, properties } = conn_ack;
    check_reason(Kind::ConnAck, *reason)?;
    if *session_present && *reason != Reason::Success {
        return Err(EncodeError::Incomplete { kind: Kind::ConnAck });
    }
    put_header(Kind::ConnAck.first_byte(), 2 + v5_len(version, properties), out)?;
    out.put_u8(u8::from(*session_present));
    out.put_u8(match version {
        Version::V311 => reason.return_code(),
        Version::V5 => reason.code(),
    });
    put_if_v5(version, properties, out);
    Ok(())
}

fn put_ack(kind: Kind, ack: &Ack, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    check_reason(kind, ack.reason)?;
    let has_properties = version == Version::V5 && ack.properties.body_len() > 0;
    let has_reason = version == Version::V5 && (has_properties || ack.reason != Reason::Success);
    let properties_len = if has_properties { ack.properties.len() } else { 0 };
    put_header(kind.first_byte(), 2 + usize::from(has_reason) + properties_len, out)?;
    out.put_u16(ack.id.number());
    if has_reason {
        out.put_u8(ack.reason.code());
    }
    if has_properties {
        ack.properties.put(out);
    }
    Ok(())
}

fn put_subscribe(
    subscribe: &Subscribe,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let Subscribe { id, properties, subscriptions } = subscribe;
    if subscriptions.is_empty() {
        return Err(EncodeError::Incomplete { kind: Kind::Subscribe });
    }
    let filters_len = subscriptions
        .iter()
        .map(|subscription| subscription.filter.as_bytes().len() + 3)
        .sum::<usize>();
    put_header(
        Kind::Subscribe.first_byte(),
        2 + filters_len.saturating_add(v5_len(version, properties)),
        out,
    )?;
    out.put_u16(id.number());
    put_if_v5(version, properties, out);
    for Subscription { filter, qos, no_local, retain_as_published, retain_handling } in
        subscriptions
    {
        put_field(out, filter.as_bytes());
        let flags = u8::from(*no_local) << 2
            | u8::from(*retain_as_published) << 3
            | (*retain_handling as u8) << 4;
        out.put_u8(match version {
            Version::V311 => *qos as u8,
            Version::V5 => *qos as u8 | flags,
        });
    }
    Ok(())
}

fn put_sub_ack(sub_ack: &SubAck, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let SubAck { id, properties, reasons } = sub_ack;
    if reasons.is_empty() {
        return Err(EncodeError::Incomplete { kind: Kind::SubAck });
    }
    for reason in reasons {
        check_reason(Kind::SubAck, *reason)?;
    }
    put_header(
        Kind::SubAck.first_byte(),
        2 + v5_len(version, properties).saturating_add(reasons.len()),
        out,
    )?;
    out.put_u16(id.number());
    put_if_v5(version, properties, out);
    for reason in reasons {
        out.put_u8(match version {
            Version::V311 if reason.is_failure() => Reason::Unspecified.code(),
            _ => reason.code(),
        });
    }
    Ok(())
}

fn put_unsubscribe(
    unsubscribe: &Unsubscribe,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let Unsubscribe { id, properties, filters } = unsubscribe;
    if filters.is_empty() {
        return Err(EncodeError::Incomplete { kind: Kind::Unsubscribe });
    }
    let filters_len = filters.iter().map(|filter| filter.as_bytes().len() + 2).sum::<usize>();
    put_header(
        Kind::Unsubscribe.first_byte(),
        2 + filters_len.saturating_add(v5_len(version, properties)),
        out,
    )?;
    out.put_u16(id.number());
    put_if_v5(version, properties, out);
    for filter in filters {
        put_field(out, filter.as_bytes());
    }
    Ok(())
}

fn put_unsub_ack(
    unsub_ack: &UnsubAck,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let UnsubAck { id, properties, reasons } = unsub_ack;
    if version == Version::V311 {
        put_header(Kind::UnsubAck.first_byte(), 2, out)?;
        out.put_u16(id.number());
        return Ok(());
    }
    if reasons.is_empty() {
        return Err(EncodeError::Incomplete { kind: Kind::UnsubAck });
    }
    for reason in reasons {
        check_reason(Kind::UnsubAck, *reason)?;
    }
    put_header(
        Kind::UnsubAck.first_byte(),
        2 + properties.len().saturating_add(reasons.len()),
        out,
    )?;
    out.put_u16(id.number());
    properties.put(out);
    for reason in reasons {
        out.put_u8(reason.code());
    }
    Ok(())
}

fn put_disconnect(
    disconnect: &Disconnect,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let Disconnect { reason, properties } = disconnect;
    check_reason(Kind::Disconnect, *reason)?;
    let is_bare = *reason == Reason::Success && *properties == DisconnectProperties::default();
    if version == Version::V311 || is_bare {
        return put_header(Kind::Disconnect.first_byte(), 0, out);
    }
    put_header(Kind::Disconnect.first_byte(), 1 + properties.len(), out)?;
    out.put_u8(reason.code());
    properties.put(out);
    Ok(())
}

fn put_auth(auth: &Auth, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let Auth { reason, properties } = auth;
    let kind = Kind::Auth;
    check_reason(kind, *reason)?;
    if version == Version::V311 {
        return Err(EncodeError::NotInVersion { kind });
    }
    if *reason == Reason::Success && *properties == AuthProperties::default() {
        return put_header(kind.first_byte(), 0, out);
    }
    if properties.authentication_method.is_none() {
        return Err(EncodeError::Incomplete { kind });
    }
    put_header(kind.first_byte(), 1 + properties.len(), out)?;
    out.put_u8(reason.code());
    properties.put(out);
    Ok(())
}

fn check_reason(kind: Kind, reason: Reason) -> Result<(), EncodeError> {
    if reason.is_allowed(kind, Side::Client) || reason.is_allowed(kind, Side::Server) {
        Ok(())
    } else {
        Err(EncodeError::ReasonCode { kind, found: reason.code() })
    }
}

fn put_header(first: u8, remaining: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    if remaining > MAX_REMAINING {
        return Err(EncodeError::TooLarge { found: remaining });
    }
    out.reserve(remaining + 5);
    out.put_u8(first);
    put_variable(out, remaining);
    Ok(())
}

fn v5_len(version: Version, properties: &impl Properties) -> usize {
    match version {
        Version::V311 => 0,
        Version::V5 => properties.len(),
    }
}

fn put_if_v5(version: Version, properties: &impl Properties, out: &mut BytesMut) {
    if version == Version::V5 {
        properties.put(out);
    }
}
