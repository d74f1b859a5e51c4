//! One security-relevant fact: who did what to what, when, and because of which decision.
//!
//! Wire form: one CBOR map with integer keys, which new versions may only add to. What is hashed
//! and kept is the bytes as first written; decoding is for reading, never for proving.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use identity::Time;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::field::Field;
use crate::kind::Kind;

/// A fact as it goes into the record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// When it happened.
    #[n(0)]
    pub at: Time,
    /// What happened.
    #[n(1)]
    pub kind: Kind,
    /// Who did it.
    #[n(2)]
    pub actor: Actor,
    /// To what it was done.
    #[n(3)]
    pub subject: Option<Subject>,
    /// The decision that led to it.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub decision: Option<Vec<u8>>,
    /// How many such facts it stands for: repeated denials are one event.
    #[n(5)]
    pub count: u64,
    /// What else is worth keeping, by name.
    #[cbor(n(6), encode_with = "encode_details", decode_with = "decode_details")]
    pub details: BTreeMap<String, Field>,
    /// Its number in the store's outbox, by which it is recorded exactly once.
    #[n(7)]
    pub outbox: Option<u64>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Actor {
    /// What sort of actor.
    #[n(0)]
    pub sort: ActorSort,
    /// Its name, sealed under the field name `actor` where it is personal.
    #[n(1)]
    pub name: Field,
}

/// The sorts of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ActorSort {
    /// A person who signed in.
    #[n(0)]
    Operator,
    /// A device with its certificate.
    #[n(1)]
    Device,
    /// The program itself.
    #[n(2)]
    System,
    /// A program with an API token.
    #[n(3)]
    Token,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subject {
    /// The sort of thing in one word: `device`, `zone`, `operator`.
    #[n(0)]
    pub sort: Kind,
    /// Its name, sealed under the field name `subject` where it is personal.
    #[n(1)]
    pub name: Field,
}

/// An event can't be written, or bytes are not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A text is too long.
    #[error("the text `{0}` of an event is longer than 4096 bytes")]
    LongText(String),
    /// The decision id is too long.
    #[error("a decision id has `{0}` bytes, more than 32")]
    LongDecision(usize),
    /// A detail's name is empty, too long or no plain word.
    #[error("`{}` can't name a detail; use at most 64 bytes of `a-z A-Z 0-9 . _ -`", identity::excerpt(.0))]
    DetailName(String),
    /// The whole event is too long.
    #[error("an event has `{0}` bytes, more than 16384; leave details out")]
    LongEvent(usize),
    /// The bytes are no event.
    #[error("the bytes are not an event: {0}")]
    Malformed(String),
}

impl Event {
    /// The longest event in bytes; a tlog entry bundle could carry up to 65,535.
    pub const MAX_BYTES: usize = 16_384;

    /// Starts an event that stands for one fact and has no subject, decision or details yet.
    pub fn new(at: Time, kind: Kind, actor: Actor) -> Self {
        Self {
            at,
            kind,
            actor,
            subject: None,
            decision: None,
            count: 1,
            details: BTreeMap::new(),
            outbox: None,
        }
    }

    /// Writes the bytes that are kept and hashed.
    pub fn encode(&self) -> Result<Vec<u8>, EventError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(256);
        // Writing into a vector can't fail; the error type is uninhabited but for custom messages.
        minicbor::encode(self, &mut bytes).map_err(|e| EventError::Malformed(e.to_string()))?;
        if bytes.len() > Self::MAX_BYTES {
            Err(EventError::LongEvent(bytes.len()))
        } else {
            Ok(bytes)
        }
    }

    /// Reads the bytes of an event; keys of newer versions are passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(EventError::LongEvent(bytes.len()));
        }
        let mut decoder = Decoder::new(bytes);
        let event: Self = decoder.decode().map_err(|e| EventError::Malformed(e.to_string()))?;
        if decoder.position() != bytes.len() {
            return Err(EventError::Malformed("something follows its end".to_string()));
        }
        event.check()?;
        Ok(event)
    }

    /// Reads no more of an event's bytes than its number in the store's outbox.
    pub fn outbox_of(bytes: &[u8]) -> Option<u64> {
        let mut decoder = Decoder::new(bytes);
        for _ in 0..decoder.map().ok()?? {
            if decoder.u64().ok()? == OUTBOX_KEY {
                return decoder.u64().ok();
            }
            decoder.skip().ok()?;
        }
        None
    }

    fn check(&self) -> Result<(), EventError> {
        let subject = self.subject.iter().map(|subject| ("subject", &subject.name));
        let details = self.details.iter().map(|(name, field)| (name.as_str(), field));
        let fields = [("actor", &self.actor.name)].into_iter().chain(subject).chain(details);
        if let Some((name, _)) = fields.clone().find(|(_, field)| field.is_too_long()) {
            return Err(EventError::LongText(name.to_string()));
        }
        if let Some((name, _)) = fields.into_iter().find(|(name, _)| !is_detail_name(name)) {
            return Err(EventError::DetailName(name.to_string()));
        }
        match &self.decision {
            Some(decision) if decision.len() > 32 => Err(EventError::LongDecision(decision.len())),
            _ => Ok(()),
        }
    }
}

impl Actor {
    /// Names the program itself, by the part of it that acts.
    pub fn system(part: &str) -> Self {
        Self { sort: ActorSort::System, name: Field::plain(part) }
    }

    /// Names a device.
    pub fn device(id: &identity::DeviceId) -> Self {
        Self { sort: ActorSort::Device, name: Field::plain(id.as_str()) }
    }
}

impl Subject {
    /// Names a device.
    pub fn device(id: &identity::DeviceId) -> Self {
        Self { sort: Kind::known("device"), name: Field::plain(id.as_str()) }
    }
}

impl ActorSort {
    /// Gives the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Device => "device",
            Self::System => "system",
            Self::Token => "token",
        }
    }
}

/// The key of `outbox` in the wire form.
const OUTBOX_KEY: u64 = 7;

fn is_detail_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_fine)
}

fn encode_details<C, W: encode::Write>(
    details: &BTreeMap<String, Field>,
    e: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    details.encode(e, context)
}

/// Names must rise strictly: one set of details has one encoding, and none can hide behind another.
fn decode_details<'b, C>(
    d: &mut Decoder<'b>,
    context: &mut C,
) -> Result<BTreeMap<String, Field>, decode::Error> {
    let at = d.position();
    let n_details =
        d.map()?.ok_or_else(|| decode::Error::message("details of unknown number").at(at))?;
    let mut details = BTreeMap::new();
    for _ in 0..n_details {
        let at = d.position();
        let name = d.str()?.to_string();
        if details.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(decode::Error::message("details out of order").at(at));
        }
        details.insert(name, Field::decode(d, context)?);
    }
    Ok(details)
}

#[cfg(test)]
mod tests;
