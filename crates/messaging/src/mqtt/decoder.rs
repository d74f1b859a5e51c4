//! Cuts packets out of a connection's stream of bytes, and never asks for more bytes than a packet may have.

use bytes::BytesMut;

use super::MAX_REMAINING;
use super::decode::{decode_body, kind_of};
use super::error::DecodeError;
use super::packet::{Kind, Packet, Side, Version};
use super::wire::variable;

/// How many bytes a packet may have, with its fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLimits {
    /// The first packet, which a stranger sends.
    pub connect: usize,
    /// Every later packet.
    pub packet: usize,
}

impl Default for PacketLimits {
    /// Room for a CONNECT with a will of a few kilobytes, and for messages of a quarter of a megabyte.
    fn default() -> Self {
        Self { connect: 8_192, packet: 262_144 }
    }
}

/// Decodes one connection's packets.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing but CONNECT may come.
    First(PacketLimits),
    /// The version is known.
    Open { version: Version, side: Side, limit: usize },
    /// The stream can't be read on.
    Failed(DecodeError),
}

impl Decoder {
    /// Begins to read what a client sends: CONNECT first, which tells the version.
    #[must_use]
    pub const fn for_server(limits: PacketLimits) -> Self {
        Self { state: State::First(limits) }
    }

    /// Begins to read what a server sends to a client of this version.
    #[must_use]
    pub const fn for_client(version: Version, limit: usize) -> Self {
        Self { state: State::Open { version, side: Side::Client, limit } }
    }

    /// Returns the version, once it is known.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        match self.state {
            State::Open { version, .. } => Some(version),
            State::First(_) | State::Failed(_) => None,
        }
    }

    /// Takes the next packet out of the buffer; `None` if not all of it is there yet.
    ///
    /// After an error the stream can't be read on: every further call returns the same error.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let result = self.decode_next(buffer);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Returns how many bytes at least must be read before there can be a packet.
    #[must_use]
    pub fn missing(&self, buffer: &BytesMut) -> usize {
        let whole = match buffer.get(1..).map(variable) {
            Some(Ok(Some((remaining, n_length_bytes)))) => {
                remaining.saturating_add(1 + n_length_bytes)
            }
            _ => buffer.len().saturating_add(1).max(2),
        };
        whole.saturating_sub(buffer.len()).clamp(1, MAX_REMAINING)
    }

    fn decode_next(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let (version, side, limit) = match &self.state {
            State::First(limits) => (Version::V5, Side::Server, limits.connect),
            State::Open { version, side, limit } => (*version, *side, *limit),
            State::Failed(error) => return Err(*error),
        };
        let Some(&first) = buffer.first() else {
            return Ok(None);
        };
        if matches!(self.state, State::First(_))
            && Kind::of_first_byte(first) != Some(Kind::Connect)
        {
            return Err(DecodeError::NotConnect { found: first });
        }
        let kind = kind_of(first, version, side)?;
        let Some((remaining, n_length_bytes)) = variable(buffer.get(1..).unwrap_or_default())?
        else {
            return Ok(None);
        };
        let body_at = 1 + n_length_bytes;
        let len = remaining.saturating_add(body_at);
        if len > limit {
            return Err(DecodeError::TooLarge { found: len, limit });
        }
        if buffer.len() < len {
            return Ok(None);
        }
        let frame = buffer.split_to(len).freeze();
        let packet = decode_body(version, side, first, kind, frame, body_at)?;
        if let (State::First(limits), Packet::Connect(connect)) = (&self.state, &packet) {
            self.state =
                State::Open { version: connect.version, side: Side::Server, limit: limits.packet };
        }
        Ok(Some(packet))
    }
}
