//! Reads one whole packet, strictly.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::MAX_FILTERS;
use super::error::DecodeError;
use super::packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Kind, Packet, Password, Publish, QoS,
    RetainHandling, Side, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe, Version, Will,
};
use super::properties::WillProperties;
use super::properties::{
    AckProperties, AuthProperties, ConnectProperties, DisconnectProperties, Properties,
};
use super::properties::{
    ConnAckProperties, PublishProperties, SubscribeProperties, UnsubscribeProperties,
};
use super::reason::Reason;
use super::wire::{Reader, variable};

/// Reads one packet that fills `frame` to its last byte, as `reader` is allowed to be sent it.
pub fn decode(version: Version, reader: Side, frame: Bytes) -> Result<Packet, DecodeError> {
    let (Some(&first), Some(after_first)) = (frame.first(), frame.get(1..)) else {
        return Err(DecodeError::Length);
    };
    let Some((remaining, n_length_bytes)) = variable(after_first)? else {
        return Err(DecodeError::Length);
    };
    let kind = kind_of(first, version, reader)?;
    let body_at = 1 + n_length_bytes;
    match frame.len().checked_sub(body_at) {
        Some(found) if found == remaining => {
            decode_body(version, reader, first, kind, frame, body_at)
        }
        Some(found) if found > remaining => {
            Err(DecodeError::Trailing { kind, n_bytes: found - remaining })
        }
        _ => Err(DecodeError::Short { kind }),
    }
}

/// Reads the packet type and checks that the reader may be sent it and that the reserved bits are right.
#[inline]
pub(super) fn kind_of(first: u8, version: Version, reader: Side) -> Result<Kind, DecodeError> {
    let kind = Kind::of_first_byte(first).ok_or(DecodeError::UnknownKind { found: first })?;
    if kind == Kind::Auth && version == Version::V311 {
        return Err(DecodeError::UnknownKind { found: first });
    }
    if !kind.is_read_by(reader, version) {
        return Err(DecodeError::Direction { kind });
    }
    if kind != Kind::Publish && first != kind.first_byte() {
        return Err(DecodeError::Flags { kind, found: first });
    }
    Ok(kind)
}

/// Reads what follows the fixed header, which `kind_of` has checked and which ends at `body_at`.
#[inline]
pub(super) fn decode_body(
    version: Version,
    side: Side,
    first: u8,
    kind: Kind,
    frame: Bytes,
    body_at: usize,
) -> Result<Packet, DecodeError> {
    let mut reader = Reader::of(kind, frame, body_at);
    if kind == Kind::Publish {
        return publish(version, side, first, reader).map(Packet::Publish);
    }
    let packet = match kind {
        Kind::Connect => Packet::Connect(Box::new(connect(&mut reader)?)),
        Kind::ConnAck => Packet::ConnAck(Box::new(conn_ack(version, &mut reader)?)),
        Kind::PubAck => Packet::PubAck(ack(version, side, &mut reader)?),
        Kind::PubRec => Packet::PubRec(ack(version, side, &mut reader)?),
        Kind::PubRel => Packet::PubRel(ack(version, side, &mut reader)?),
        Kind::PubComp => Packet::PubComp(ack(version, side, &mut reader)?),
        Kind::Subscribe => Packet::Subscribe(subscribe(version, &mut reader)?),
        Kind::SubAck => Packet::SubAck(sub_ack(version, side, &mut reader)?),
        Kind::Unsubscribe => Packet::Unsubscribe(unsubscribe(version, &mut reader)?),
        Kind::UnsubAck => Packet::UnsubAck(unsub_ack(version, side, &mut reader)?),
        Kind::PingReq => Packet::PingReq,
        Kind::PingResp => Packet::PingResp,
        Kind::Disconnect => Packet::Disconnect(disconnect(version, side, &mut reader)?),
        Kind::Auth => Packet::Auth(auth(side, &mut reader)?),
        Kind::Publish => return Err(DecodeError::UnknownKind { found: first }), // read above
    };
    reader.finish()?;
    Ok(packet)
}

#[inline]
fn publish(
    version: Version,
    side: Side,
    first: u8,
    mut reader: Reader,
) -> Result<Publish, DecodeError> {
    let dup = first & 0b1000 != 0;
    let qos = QoS::of_bits((first >> 1) & 0b11).ok_or(DecodeError::QoS { kind: Kind::Publish })?;
    if dup && qos == QoS::AtMostOnce {
        return Err(DecodeError::DupOnQoS0); // MQTT-3.3.1-2
    }
    let topic = reader.field()?;
    let topic = match topic.is_empty() && version == Version::V5 {
        true => None,
        false => {
            let kind = Kind::Publish;
            Some(
                crate::topic::Topic::parse(topic)
                    .map_err(|error| DecodeError::Topic { kind, error })?,
            )
        }
    };
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: reader.packet_id()?, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: reader.packet_id()?, dup },
    };
    let properties = match version {
        Version::V311 => None,
        Version::V5 => publish_properties(side, &mut reader)?,
    };
    if topic.is_none()
        && properties.as_ref().is_none_or(|properties| properties.topic_alias.is_none())
    {
        return Err(DecodeError::NoTopic);
    }
    Ok(Publish { delivery, retain: first & 1 != 0, topic, properties, payload: reader.rest() })
}

/// Most messages have no properties, and then nothing is allocated for them.
fn publish_properties(
    side: Side,
    reader: &mut Reader,
) -> Result<Option<Box<PublishProperties>>, DecodeError> {
    let properties = match reader.take_zero() {
        true => return Ok(None),
        false => PublishProperties::read(reader)?,
    };
    if side == Side::Server && !properties.subscription_ids.is_empty() {
        return Err(DecodeError::Property { kind: Kind::Publish, id: 0x0B }); // MQTT-3.3.4-6
    }
    Ok(Some(Box::new(properties)))
}

fn connect(reader: &mut Reader) -> Result<Connect, DecodeError> {
    let kind = Kind::Connect;
    match reader.field()?.as_ref() {
        b"MQTT" => {}
        // MQTT 3.1 names itself so, with level 3: the peer is to learn that its version is the matter.
        b"MQIsdp" => return Err(DecodeError::ProtocolLevel { found: reader.u8()? }),
        _ => return Err(DecodeError::ProtocolName),
    }
    let version = match reader.u8()? {
        4 => Version::V311,
        5 => Version::V5,
        found => return Err(DecodeError::ProtocolLevel { found }),
    };
    let flags = ConnectFlags::parse(reader.u8()?, version)?;
    let keep_alive = reader.u16()?;
    let properties = read_if_v5::<ConnectProperties>(version, reader)?;
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(DecodeError::NoAuthenticationMethod { kind });
    }
    let client_id = reader.text()?;
    let will = match flags.will {
        None => None,
        Some((qos, retain)) => {
            let properties = read_if_v5::<WillProperties>(version, reader)?;
            Some(Will {
                properties,
                topic: reader.topic()?,
                payload: reader.binary()?,
                qos,
                retain,
            })
        }
    };
    let username = if flags.username { Some(reader.text()?) } else { None };
    let password = if flags.password { Some(Password(reader.binary()?)) } else { None };
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

struct ConnectFlags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl ConnectFlags {
    fn parse(found: u8, version: Version) -> Result<Self, DecodeError> {
        let wrong = DecodeError::PacketFlags { kind: Kind::Connect, found };
        let has = |bit: u8| found & bit != 0;
        let qos =
            QoS::of_bits((found >> 3) & 0b11).ok_or(DecodeError::QoS { kind: Kind::Connect })?;
        let will = match has(0b100) {
            true => Some((qos, has(0b10_0000))),
            false if qos == QoS::AtMostOnce && !has(0b10_0000) => None,
            false => return Err(wrong), // MQTT-3.1.2-11, -13, -15
        };
        let (username, password) = (has(0b1000_0000), has(0b100_0000));
        let lone_password = version == Version::V311 && password && !username; // MQTT-3.1.2-22 of 3.1.1
        if has(1) || lone_password {
            return Err(wrong);
        }
        Ok(Self { clean_start: has(0b10), will, username, password })
    }
}

fn conn_ack(version: Version, reader: &mut Reader) -> Result<ConnAck, DecodeError> {
    let kind = Kind::ConnAck;
    let flags = reader.u8()?;
    let code = reader.u8()?;
    let reason = match version {
        Version::V311 => {
            Reason::of_return_code(code).ok_or(DecodeError::ReasonCode { kind, found: code })?
        }
        Version::V5 => reason_of(code, kind, Side::Client)?,
    };
    let session_present = flags & 1 != 0;
    // MQTT-3.2.2-6: a refusal comes without a session.
    if flags > 1 || (session_present && reason != Reason::Success) {
        return Err(DecodeError::PacketFlags { kind, found: flags });
    }
    let properties = read_if_v5::<ConnAckProperties>(version, reader)?;
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(DecodeError::NoAuthenticationMethod { kind });
    }
    Ok(ConnAck { session_present, reason, properties })
}

fn ack(version: Version, side: Side, reader: &mut Reader) -> Result<Ack, DecodeError> {
    let id = reader.packet_id()?;
    if version == Version::V311 || reader.is_empty() {
        return Ok(Ack::of(id, Reason::Success));
    }
    let reason = reason_of(reader.u8()?, reader.kind, side)?;
    let properties =
        if reader.is_empty() { AckProperties::default() } else { AckProperties::read(reader)? };
    Ok(Ack { id, reason, properties })
}

fn subscribe(version: Version, reader: &mut Reader) -> Result<Subscribe, DecodeError> {
    let id = reader.packet_id()?;
    let properties = read_if_v5::<SubscribeProperties>(version, reader)?;
    let subscriptions = entries(reader, |reader| {
        let filter = reader.filter(version)?;
        let found = reader.u8()?;
        subscription(version, filter, found)
    })?;
    Ok(Subscribe { id, properties, subscriptions })
}

fn subscription(
    version: Version,
    filter: crate::topic::Filter,
    found: u8,
) -> Result<Subscription, DecodeError> {
    let wrong = DecodeError::SubscriptionOptions { found };
    let qos = QoS::of_bits(found & 0b11).ok_or(DecodeError::QoS { kind: Kind::Subscribe })?;
    let allowed = match version {
        Version::V311 => 0b11,
        Version::V5 => 0b11_1111,
    };
    if found & !allowed != 0 {
        return Err(wrong);
    }
    let no_local = found & 0b100 != 0;
    if no_local && filter.is_shared() {
        return Err(wrong); // MQTT-3.8.3-4
    }
    let retain_handling = match (found >> 4) & 0b11 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(wrong),
    };
    Ok(Subscription {
        filter,
        qos,
        no_local,
        retain_as_published: found & 0b1000 != 0,
        retain_handling,
    })
}

fn sub_ack(version: Version, side: Side, reader: &mut Reader) -> Result<SubAck, DecodeError> {
    let id = reader.packet_id()?;
    let properties = read_if_v5::<AckProperties>(version, reader)?;
    let reasons = entries(reader, |reader| {
        let found = reader.u8()?;
        let kind = Kind::SubAck;
        match (version, found) {
            (Version::V311, 0x00..=0x02 | 0x80) | (Version::V5, _) => reason_of(found, kind, side),
            (Version::V311, _) => Err(DecodeError::ReasonCode { kind, found }),
        }
    })?;
    Ok(SubAck { id, properties, reasons })
}

fn unsubscribe(version: Version, reader: &mut Reader) -> Result<Unsubscribe, DecodeError> {
    let id = reader.packet_id()?;
    let properties = read_if_v5::<UnsubscribeProperties>(version, reader)?;
    let filters = entries(reader, |reader| reader.filter(version))?;
    Ok(Unsubscribe { id, properties, filters })
}

fn unsub_ack(version: Version, side: Side, reader: &mut Reader) -> Result<UnsubAck, DecodeError> {
    let id = reader.packet_id()?;
    if version == Version::V311 {
        return Ok(UnsubAck { id, properties: AckProperties::default(), reasons: Vec::new() });
    }
    let properties = AckProperties::read(reader)?;
    let reasons = entries(reader, |reader| reason_of(reader.u8()?, Kind::UnsubAck, side))?;
    Ok(UnsubAck { id, properties, reasons })
}

fn disconnect(
    version: Version,
    side: Side,
    reader: &mut Reader,
) -> Result<Disconnect, DecodeError> {
    let kind = Kind::Disconnect;
    let mut properties = DisconnectProperties::default();
    if version == Version::V311 || reader.is_empty() {
        return Ok(Disconnect { reason: Reason::Success, properties });
    }
    let reason = reason_of(reader.u8()?, kind, side)?;
    if !reader.is_empty() {
        properties = DisconnectProperties::read(reader)?;
    }
    if side == Side::Client && properties.session_expiry.is_some() {
        return Err(DecodeError::Property { kind, id: 0x11 }); // MQTT-3.14.2-2
    }
    if side == Side::Server && properties.server_reference.is_some() {
        return Err(DecodeError::Property { kind, id: 0x1C });
    }
    Ok(Disconnect { reason, properties })
}

fn auth(side: Side, reader: &mut Reader) -> Result<Auth, DecodeError> {
    let kind = Kind::Auth;
    if reader.is_empty() {
        // Only success may be cut short, and only the server says it.
        let reason = reason_of(Reason::Success.code(), kind, side)?;
        return Ok(Auth { reason, properties: AuthProperties::default() });
    }
    let reason = reason_of(reader.u8()?, kind, side)?;
    let properties = AuthProperties::read(reader)?;
    if properties.authentication_method.is_none() {
        return Err(DecodeError::NoAuthenticationMethod { kind });
    }
    Ok(Auth { reason, properties })
}

fn reason_of(found: u8, kind: Kind, side: Side) -> Result<Reason, DecodeError> {
    Reason::of_code(found)
        .filter(|reason| reason.is_allowed(kind, side))
        .ok_or(DecodeError::ReasonCode { kind, found })
}

fn read_if_v5<P: Properties>(version: Version, reader: &mut Reader) -> Result<P, DecodeError> {
    match version {
        Version::V311 => Ok(P::default()),
        Version::V5 => P::read(reader),
    }
}

/// Reads entries to the packet's end: at least one, and no more than are kept.
fn entries<T>(
    reader: &mut Reader,
    mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let kind = reader.kind;
    if reader.is_empty() {
        return Err(DecodeError::Empty { kind });
    }
    let mut entries = Vec::new();
    while !reader.is_empty() {
        if entries.len() >= MAX_FILTERS {
            return Err(DecodeError::TooMany { kind });
        }
        entries.push(read(reader)?);
    }
    Ok(entries)
}
